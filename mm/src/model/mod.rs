//! The memory model: from a frame number to its [`Page`], and which frames have one.
//!
//! [`Vmemmap`] is an array of records in kernel virtual space, indexed by frame number: finding a record is one shift
//! and one addition. Behind it lies memory only where a *section* (128 MiB, 512 MiB with 64 KiB pages) is described;
//! `mem_section` ([`SectionTable`]) says which are. The two stand side by side because they answer different
//! questions: the array cannot be asked whether an entry is there (looking would fault), and the table is small enough
//! (4 bytes a section) to cover every section of the machine and to carry what is true of a section as a whole: its
//! node, and whether it is a hole, memory that was never touched, or described.
//!
//! A section is described as a whole, holes in it too, and a block of the highest order never crosses a section. So
//! whoever holds a block may look at the record of any frame that a block around it could have as its buddy, without
//! asking the table again. That is why the memmap must be aligned to the highest order, and whole.
//!
//! Memory that nobody touched costs nothing but its entry in the table: a *granule* of it gets its records when
//! the zone needs it, out of its own first pages ([`Granule`]).
//!
//! Costs: 32 bytes a described frame (0.78 % with 4 KiB pages), 4 bytes a section; a lookup touches the root, the
//! section's entry and the record.
//!
//! Linux: `SPARSEMEM_VMEMMAP`; `include/asm-generic/memory_model.h`, `mm/sparse.c`, `mm/sparse-vmemmap.c`.

pub mod granule;
pub mod page;
pub mod section;
pub mod vmemmap;

pub use granule::Granule;
pub use page::{Page, PageState};
pub use section::{SectionState, SectionTable};
pub use vmemmap::Vmemmap;

use crate::addr::Pfn;

/// Where records are found: the vmemmap, or a plain array in a test.
pub trait Memmap {
    /// The record of `pfn`; `None` when its section is not described.
    fn page(&self, pfn: Pfn) -> Option<&Page>;
}
