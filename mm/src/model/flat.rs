//! `Flat`: one array with a record for every frame from the first to the last of all memory.
//!
//! The simplest model, and the right one where memory is one run of addresses, wherever that begins: the first record
//! is that of the first frame, not of frame 0. Both ends are drawn out to whole blocks of the highest order, so that
//! whoever frees a block finds the record of every possible buddy. The array comes from memblock at once, in one piece,
//! on any node; nodes without memory have no part in it. It is RAM in the direct map, so it needs no page table.
//!
//! What it costs is what makes the others: 32 bytes for every frame of every hole inside, and memory in one piece for
//! that, so memory at both ends of a large address space cannot be described. Sections without any memory have no
//! records here either, although there would be room: [`page`](Memmap::page) answers alike for every model.
//!
//! Memory that was never touched costs no time: a granule's part of the array is cleared when the granule is carved,
//! and then all of the granule's frames can be handed out, since its records have their place already.
//!
//! Linux: `FLATMEM`; `alloc_node_mem_map` in `mm/page_alloc.c`, `ARCH_PFN_OFFSET` in
//! `include/asm-generic/memory_model.h`.

use super::describe::{Describe, clear};
use super::page::Page;
use super::place::{Array, MemmapError, whole_blocks};
use super::section::{SectionState, Sections};
use super::table::SectionTable;
use super::{Granule, Memmap, MemoryModel};
use crate::addr::{NodeId, Order, Pfn, PfnRange};
use crate::arch::Arch;
use crate::layout::Layout;
use crate::memblock::{Memblock, NodeWish};
use crate::paging::{MapError, PageTables};
use core::fmt;

/// One array for all memory.
pub struct Flat<A> {
    access: A,
    sections: SectionTable<A>,
    array: Array,
}

impl<A: Arch> Memmap for Flat<A> {
    fn page(&self, pfn: Pfn) -> Option<&Page> {
        if self.sections.get(Granule::<A>::section_of(pfn)).state != SectionState::Described {
            return None;
        }
        let record = self.array.record(pfn)?;
        // SAFETY: the section is described, so its part of the array, which memblock gave for good in mapped RAM, was
        // cleared, a value of `Page`, before the state said so. Records are as long as their alignment and the array
        // begins at a page. They are only ever reached as atomics.
        Some(unsafe { &*self.access.phys_ptr(record).cast::<Page>() })
    }
}

impl<A: Arch> MemoryModel<A> for Flat<A> {
    const NAME: &'static str = "flat";
    const GRANULE_MEMMAP: Option<Order> = None;

    fn pfn_of(&self, page: &Page) -> Option<Pfn> {
        let pfn = self.array.frame_at(self.access.ptr_phys((&raw const *page).cast())?)?;
        self.page(pfn).filter(|found| core::ptr::eq(*found, page)).map(|_| pfn)
    }
}

impl<A: Arch> Describe<A> for Flat<A> {
    type Sections = SectionTable<A>;

    fn make(memblock: &mut Memblock<A>, _: &PageTables<A>, _: &Layout) -> Result<Self, MemmapError> {
        let span = memblock.memory().span();
        let end = Pfn::at_or_above(span.end(), A::PAGE_SHIFT);
        let frames = PfnRange::new(Pfn::containing(span.start(), A::PAGE_SHIFT), end);
        let frames = whole_blocks(frames).ok_or(MemmapError::Beyond(end))?;
        let array = Array::make(memblock, frames, NodeWish::Any)?;
        Ok(Self { access: memblock.access(), sections: SectionTable::make(memblock)?, array })
    }

    fn sections(&self) -> &SectionTable<A> {
        &self.sections
    }

    fn describe(
        &mut self,
        _: &mut Memblock<A>,
        _: &mut PageTables<A>,
        frames: PfnRange,
        _: NodeId,
    ) -> Result<(), MemmapError> {
        // SAFETY: the array is mapped RAM that memblock gave it, and the sections of these frames are not described.
        unsafe { clear(self.access, self.array.records_of(frames)) };
        self.sections.set_described(frames);
        Ok(())
    }

    unsafe fn describe_granule(&self, granule: PfnRange) -> Result<(), MapError> {
        // SAFETY: as in `describe`; the caller keeps others from describing the granule.
        unsafe { clear(self.access, self.array.records_of(granule)) };
        self.sections.set_described(granule);
        Ok(())
    }
}

impl<A: Arch> fmt::Debug for Flat<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flat").field("array", &self.array).field("sections", &self.sections).finish_non_exhaustive()
    }
}

impl<A> Flat<A> {
    /// The frames that have room for a record, whether they are memory or not: whole blocks of the highest order.
    #[must_use]
    pub const fn frames(&self) -> PfnRange {
        self.array.frames()
    }
}
