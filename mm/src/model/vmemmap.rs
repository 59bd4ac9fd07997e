//! The memmap as one array in kernel virtual space, with memory behind it where sections are described.
//!
//! The page allocator makes it while it takes memblock over. Sections that must be described at boot get their memmap
//! from memblock: out of their own granule when it has room, so that no untouched granule is broken for it, else
//! on their node, else anywhere. Untouched granules get theirs later (`describe_granule`); the tables above
//! those leaves are made at boot, so that describing needs no frame and no lock but the zone's.
//!
//! Invariants: a section is `Described` only after the records of all its frames are mapped, and zero until somebody
//! describes a block; nothing of the vmemmap area is ever unmapped.
//!
//! Costs: describing clears 32 bytes a frame; a lookup is two dependent loads besides the record. Linux:
//! `vmemmap_populate_hugepages` and `__populate_section_memmap` in `mm/sparse-vmemmap.c`.

use super::describe::{Describe, clear, own_frames};
use super::page::Page;
use super::place::{MemmapError, take};
use super::section::{SectionState, Sections};
use super::table::SectionTable;
use super::{Granule, Memmap, MemoryModel};
use crate::addr::{NodeId, Order, Pfn, PfnRange, PhysAddr, VirtAddr};
use crate::arch::Arch;
use crate::layout::Layout;
use crate::memblock::Memblock;
use crate::paging::{Access, BootFrames, MapError, Mapping, MemoryType, NoFrames, PageTables};
use core::fmt;

const RECORDS: Mapping = Mapping { access: Access::ReadWrite, memory: MemoryType::Normal };

/// The memmap.
pub struct Vmemmap<A> {
    access: A,
    sections: SectionTable<A>,
    start: VirtAddr,
    /// Records up to the end of the last granule.
    frames: u64,
    root: PhysAddr,
}

impl<A: Arch> Memmap for Vmemmap<A> {
    fn page(&self, pfn: Pfn) -> Option<&Page> {
        if self.sections.get(Granule::<A>::section_of(pfn)).state != SectionState::Described {
            return None;
        }
        let address = self.start.saturating_add(pfn.as_u64().wrapping_mul(Page::BYTES));
        // SAFETY: the section is described, so the record is mapped, aligned (the area's start is, and records are as
        // long as their alignment) and was cleared, a value of `Page`, before the state said so; `make` checked
        // that the area reaches beyond the last section of the table. It stays mapped as long as the handle lives, and
        // is only ever reached as atomics.
        Some(unsafe { &*self.access.virt_ptr(address).cast::<Page>() })
    }
}

impl<A: Arch> MemoryModel<A> for Vmemmap<A> {
    const NAME: &'static str = "vmemmap";
    const GRANULE_MEMMAP: Option<Order> = Some(Granule::<A>::MEMMAP_ORDER);

    fn pfn_of(&self, page: &Page) -> Option<Pfn> {
        let offset = self.access.ptr_virt((&raw const *page).cast())?.checked_sub(self.start)?;
        let pfn = offset / Page::BYTES;
        (pfn < self.frames).then(|| Pfn::new(pfn))
    }
}

impl<A: Arch> Vmemmap<A> {
    /// Where the records of `frames` lie.
    fn memmap_at(&self, frames: PfnRange) -> VirtAddr {
        self.start.saturating_add(frames.start().as_u64().wrapping_mul(Page::BYTES))
    }

    /// Takes, clears and maps the memmap of `frames`, in one piece if memblock has one, else in two halves, and so on
    /// down to pages.
    fn describe_part(
        &self,
        memblock: &mut Memblock<A>,
        tables: &mut PageTables<A>,
        frames: PfnRange,
        node: NodeId,
    ) -> Result<(), MemmapError> {
        let size = frames.count() * Page::BYTES;
        let granule = frames.bytes(A::PAGE_SHIFT).expand_to(1 << Granule::<A>::SHIFT);
        // A memmap that fills a leaf is aligned to it.
        let leaf = Granule::<A>::leaf_level(self.access).span::<A>();
        let align = if size >= leaf { leaf } else { A::PAGE_SIZE };
        let range = match take(memblock, granule, size, align, node) {
            Ok(range) => range,
            Err(error) if size == A::PAGE_SIZE => return Err(error.into()),
            Err(_) => {
                let middle = frames.start().saturating_add(frames.count() / 2);
                self.describe_part(memblock, tables, PfnRange::new(frames.start(), middle), node)?;
                return self.describe_part(memblock, tables, PfnRange::new(middle, frames.end()), node);
            }
        };
        // SAFETY: memblock just handed the range out of mapped RAM, so nobody else knows it.
        unsafe { clear(self.access, range) };
        tables.map(self.memmap_at(frames), range, RECORDS, &mut BootFrames::new(memblock))?;
        Ok(())
    }
}

impl<A: Arch> Describe<A> for Vmemmap<A> {
    type Sections = SectionTable<A>;

    fn make(memblock: &mut Memblock<A>, tables: &PageTables<A>, layout: &Layout) -> Result<Self, MemmapError> {
        let access = memblock.access();
        let start = layout.vmemmap.start();
        let granule_bytes = Granule::<A>::FRAMES * Page::BYTES;
        let room = layout.vmemmap.size() / Page::BYTES;
        let end = Pfn::at_or_above(memblock.memory().span().end(), A::PAGE_SHIFT);
        // Whole sections, and whole granules, are described.
        let last = end.as_u64().checked_next_multiple_of(Granule::<A>::FRAMES).ok_or(MemmapError::Layout(end))?;
        if last > room || !start.is_aligned(granule_bytes) {
            return Err(MemmapError::Layout(end));
        }
        let sections = SectionTable::make(memblock)?;
        Ok(Self { access, sections, start, frames: last, root: tables.root() })
    }

    fn sections(&self) -> &SectionTable<A> {
        &self.sections
    }

    fn describe(
        &mut self,
        memblock: &mut Memblock<A>,
        tables: &mut PageTables<A>,
        frames: PfnRange,
        node: NodeId,
    ) -> Result<(), MemmapError> {
        self.describe_part(memblock, tables, frames, node)?;
        self.sections.set_described(frames);
        Ok(())
    }

    fn prepare(
        &self,
        memblock: &mut Memblock<A>,
        tables: &mut PageTables<A>,
        frames: PfnRange,
    ) -> Result<(), MemmapError> {
        let level = Granule::<A>::leaf_level(self.access);
        let bytes = frames.count() * Page::BYTES;
        let near = frames.start().address(A::PAGE_SHIFT);
        tables.make_tables(self.memmap_at(frames), bytes, level, near, &mut BootFrames::new(memblock))?;
        Ok(())
    }

    unsafe fn describe_granule(&self, granule: PfnRange) -> Result<(), MapError> {
        let memmap = own_frames::<A>(granule).bytes(A::PAGE_SHIFT);
        // SAFETY: the memory is RAM of nobody, as the caller says, so it may be overwritten.
        unsafe { clear(self.access, memmap) };
        // SAFETY: the tables are the live ones that `make` was given. The vmemmap area is changed by this type alone,
        // and this granule's entries by this call alone; the tables above them are there, so none is made.
        let mut tables = unsafe { PageTables::new(self.access, self.root) };
        tables.map(self.memmap_at(granule), memmap, RECORDS, &mut NoFrames)?;
        self.sections.set_described(granule);
        Ok(())
    }
}

impl<A: Arch> fmt::Debug for Vmemmap<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vmemmap").field("start", &self.start).field("sections", &self.sections).finish_non_exhaustive()
    }
}
