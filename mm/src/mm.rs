//! All of memory management in one value: what a kernel keeps in its one static.
//!
//! [`Mm::new`] is the last step of the way: zones become pages, pages become objects and ranges of virtual space, and memblock's regions stay as a
//! record of what was there at hand-over.

use crate::arch::Arch;
use crate::layout::Layout;
use crate::memblock::Record;
use crate::model::{MemoryModel, Vmemmap};
use crate::page_alloc::{PageAllocator, PageCounts, PageFault, TakeOverError};
use crate::paging::PageTables;
use crate::slab::{Slab, SlabError, SlabFault, SlabTotals};
use crate::vmalloc::{Vmalloc, VmallocFault, VmallocTotals};
use crate::zone::Zones;
use core::fmt;

/// Pages, objects, ranges of virtual space, and the record of memblock; with the memory model `M`, which a kernel chooses once.
#[derive(Debug)]
pub struct Mm<A: Arch, M: MemoryModel<A> = Vmemmap<A>> {
    /// The page allocator.
    pub pages: PageAllocator<A, M>,
    /// The slab allocator.
    pub slab: Slab<A, M>,
    /// Ranges of virtual space.
    pub vmalloc: Vmalloc<A, M>,
    /// Memory and reservations at hand-over.
    pub record: Record<A>,
}

/// Why memory management could not start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartError {
    /// Not with pages.
    Pages(TakeOverError),
    /// Not with objects.
    Slab(SlabError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pages(error) => fmt::Display::fmt(error, f),
            Self::Slab(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl core::error::Error for StartError {}

/// What [`Mm::verify`] counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verified {
    /// Where all frames are.
    pub pages: PageCounts,
    /// Caches, slabs and objects.
    pub slab: SlabTotals,
    /// Ranges of virtual space.
    pub vmalloc: VmallocTotals,
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}; {}", self.pages, self.slab, self.vmalloc)
    }
}

/// The first fault that [`Mm::verify`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Among the pages.
    Pages(PageFault),
    /// Among the objects.
    Slab(SlabFault),
    /// Among the ranges of virtual space.
    Vmalloc(VmallocFault),
    /// The slab allocator counts other pages than the page allocator.
    SlabPages {
        /// What the caches counted.
        counted: u64,
        /// What the records say.
        found: u64,
    },
    /// The areas of virtual space, with their records, count other pages than the page allocator.
    VmallocPages {
        /// What they counted.
        counted: u64,
        /// What the records of frames say.
        found: u64,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pages(fault) => fmt::Display::fmt(fault, f),
            Self::Slab(fault) => fmt::Display::fmt(fault, f),
            Self::Vmalloc(fault) => fmt::Display::fmt(fault, f),
            Self::VmallocPages { counted, found } => {
                write!(f, "vmalloc counted {counted} pages, the memmap says {found}")
            }
            Self::SlabPages { counted, found } => {
                write!(f, "caches counted {counted} pages of slabs, the memmap says {found}")
            }
        }
    }
}

impl core::error::Error for Fault {}

impl<A: Arch, M: MemoryModel<A>> Mm<A, M> {
    /// Takes all memory over. All RAM is in the direct map of `layout`.
    ///
    /// # Safety
    /// As [`PageAllocator::take_over`]: `tables` are the active ones.
    ///
    /// # Errors
    /// [`StartError`]: there is not even memory for the allocators themselves, or not all memory is mapped.
    pub unsafe fn new(zones: Zones<A>, tables: PageTables<A>, layout: &Layout) -> Result<Self, StartError> {
        // SAFETY: the caller says the same.
        let taken_over = unsafe { PageAllocator::take_over(zones, tables, layout) };
        let (pages, record) = taken_over.map_err(StartError::Pages)?;
        let slab = Slab::new(pages).map_err(StartError::Slab)?;
        let vmalloc = Vmalloc::new(pages, layout);
        Ok(Self { pages, slab, vmalloc, record })
    }

    /// Walks every structure.
    ///
    /// # Errors
    /// The first [`Fault`].
    pub fn verify(&self) -> Result<Verified, Fault> {
        let pages = self.pages.verify().map_err(Fault::Pages)?;
        let slab = self.slab.verify().map_err(Fault::Slab)?;
        let vmalloc = self.vmalloc.verify().map_err(Fault::Vmalloc)?;
        let counted = self.slab.pages();
        if counted != pages.slab {
            return Err(Fault::SlabPages { counted, found: pages.slab });
        }
        let counted = vmalloc.pages + vmalloc.record_pages;
        if counted != pages.vmalloc {
            return Err(Fault::VmallocPages { counted, found: pages.vmalloc });
        }
        Ok(Verified { pages, slab, vmalloc })
    }
}
