//! The memory model: from a frame number to its [`Page`] and back, and which frames have one.
//!
//! Five models, one question each about where records lie; the page allocator and all above take one as a type
//! parameter, [`Vmemmap`] if nothing is said, so none of them costs anything where another is used.
//!
//! | model | records lie | a hole costs | frame → record | record → frame |
//! |---|---|---|---|---|
//! | [`Vmemmap`] | in one array of virtual space, indexed by frame number | nothing | a shift, an addition | the same |
//! | [`SparseExtreme`], [`SparseStatic`] | in a map for each section | nothing | entry, shift, add | two loads more |
//! | [`Flat`] | in one array in RAM, from the first frame on | its records | subtract, compare, shift, add | the same |
//! | [`Discontig`] | in an array on each node | its records; not between nodes | as `Flat`, of the node | O(nodes) |
//!
//! In each of them `mem_section`, a table of *sections* (128 MiB, 512 MiB with 64 KiB pages), says whether a section is
//! a hole, memory that was never touched, or described, and which node it is on. The two stand side by side because
//! they answer different questions: an array cannot be asked whether an entry is there, and the table is small enough
//! to cover every section of the machine and to carry what is true of a section as a whole.
//!
//! What every model promises, whatever it has room for:
//! - A frame of memory has a record exactly when its section is described, and all memory is either that or untouched.
//! - A frame of a section without any memory has none.
//! - A frame that is no memory, in a section with memory, has a zeroed record if it lies in a block of the highest
//!   order with memory in it; otherwise it may have one.
//! - [`pfn_of`](MemoryModel::pfn_of) of a record is its frame; records do not move.
//!
//! So whoever holds a block may look at the record of any frame that a block around it could have as its buddy. A block
//! of the highest order never crosses a section.
//!
//! Memory that nobody touched costs no time at boot: a *granule* of it ([`Granule`]) gets its records when the zone
//! needs it. `Vmemmap` and `Sparse` take them from its own first pages, so it costs no memory either. `Flat` and
//! `Discontig` have taken theirs with the array and only clear that part of it.
//!
//! Costs: 32 bytes a described frame (0.78 % with 4 KiB pages), 4 bytes a section (`Sparse`: 8); a lookup touches the
//! root, the section's entry and the record.
//!
//! Linux: `include/asm-generic/memory_model.h`, `mm/sparse.c`, `mm/sparse-vmemmap.c`.

mod describe;
pub mod discontig;
pub mod flat;
pub mod granule;
pub mod page;
mod place;
mod section;
pub mod sparse;
mod table;
pub mod vmemmap;

pub use discontig::Discontig;
pub use flat::Flat;
pub use granule::Granule;
pub use page::{Page, PageState};
pub use place::{MEMMAP_OWNER, MemmapError};
pub use section::{SectionEntry, SectionState};
pub use sparse::{Sparse, SparseExtreme, SparseStatic};
pub use table::{FixedTable, SectionTable};
pub use vmemmap::Vmemmap;

pub(crate) use describe::Describe;
pub(crate) use section::Sections;

use crate::addr::{Order, Pfn};
use crate::arch::Arch;
use core::fmt;

/// Where records are found: a model, or a plain array in a test.
pub trait Memmap {
    /// The record of `pfn`; `None` when its section is not described.
    fn page(&self, pfn: Pfn) -> Option<&Page>;
}

/// A memory model: one of those here.
pub trait MemoryModel<A: Arch>: Describe<A> + fmt::Debug {
    /// Its name, as the boot log has it.
    const NAME: &'static str;

    /// The order of the block at the start of a granule that holds the granule's records once it is carved; `None`
    /// where they have a place already, and all of the granule can be handed out.
    const GRANULE_MEMMAP: Option<Order>;

    /// The frame whose record `page` is; `None` for any other record.
    fn pfn_of(&self, page: &Page) -> Option<Pfn>;

    /// What section `number` is.
    fn section(&self, number: u64) -> SectionEntry {
        self.sections().get(number)
    }

    /// Calls `each` with every section that is no hole, in ascending order, until one fails.
    ///
    /// # Errors
    /// The first of `each`.
    fn try_for_each_section<E>(&self, each: &mut dyn FnMut(u64, SectionEntry) -> Result<(), E>) -> Result<(), E> {
        self.sections().try_for_each(each)
    }
}
