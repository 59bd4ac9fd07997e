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

use super::Memmap;
use super::granule::Granule;
use super::page::Page;
use super::section::{SectionEntry, SectionState, SectionTable};
use crate::addr::{NodeId, Pfn, PfnRange, PhysAddr, PhysRange, VirtAddr};
use crate::arch::Arch;
use crate::layout::Layout;
use crate::machine::Owner;
use crate::memblock::{Memblock, NodeWish, OutOfMemory, Request};
use crate::paging::{Access, BootFrames, MapError, Mapping, MemoryType, NoFrames, PageTables};
use core::fmt;

/// The name under which memblock holds the memmap of what is described at boot.
pub const MEMMAP_OWNER: &str = "memmap";

/// Why the memmap could not be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemmapError {
    /// Memblock has no memory for it.
    OutOfMemory(OutOfMemory),
    /// It could not be mapped.
    Map(MapError),
    /// The layout's vmemmap is too small for this frame, or not aligned as the leaves need it.
    Layout(Pfn),
}

impl fmt::Display for MemmapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfMemory(error) => write!(f, "memmap: {error}"),
            Self::Map(error) => write!(f, "memmap: {error}"),
            Self::Layout(pfn) => write!(f, "memmap: the vmemmap has no room for frame {:#x}", pfn.as_u64()),
        }
    }
}

impl core::error::Error for MemmapError {}

impl From<OutOfMemory> for MemmapError {
    fn from(error: OutOfMemory) -> Self {
        Self::OutOfMemory(error)
    }
}

impl From<MapError> for MemmapError {
    fn from(error: MapError) -> Self {
        Self::Map(error)
    }
}

const RECORDS: Mapping = Mapping { access: Access::ReadWrite, memory: MemoryType::Normal };

/// The memmap.
pub struct Vmemmap<A> {
    access: A,
    sections: SectionTable<A>,
    start: VirtAddr,
    root: PhysAddr,
}

impl<A: Arch> Memmap for Vmemmap<A> {
    fn page(&self, pfn: Pfn) -> Option<&Page> {
        if self.sections.get(Granule::<A>::section_of(pfn)).state != SectionState::Described {
            return None;
        }
        let address = self.start.saturating_add(pfn.as_u64().wrapping_mul(Page::BYTES));
        // SAFETY: the section is described, so the record is mapped, aligned (the area's start is, and records are as
        // long as their alignment) and was cleared, a value of `Page`, before the state said so; `Vmemmap::new` checked
        // that the area reaches beyond the last section of the table. It stays mapped as long as the handle lives, and
        // is only ever reached as atomics.
        Some(unsafe { &*self.access.virt_ptr(address).cast::<Page>() })
    }
}

impl<A: Arch> Vmemmap<A> {
    /// No section described, in the live `tables`, with room for the frames below `end`.
    ///
    /// # Errors
    /// When the layout has no room for them or memblock none for the table of sections.
    pub(crate) fn new(
        memblock: &mut Memblock<A>,
        tables: &PageTables<A>,
        layout: &Layout,
        end: Pfn,
    ) -> Result<Self, MemmapError> {
        let access = memblock.access();
        let start = layout.vmemmap.start();
        let granule_bytes = Granule::<A>::FRAMES * Page::BYTES;
        let room = layout.vmemmap.size() / Page::BYTES;
        // Whole sections, and whole granules, are described.
        let last = end.as_u64().checked_next_multiple_of(Granule::<A>::FRAMES).ok_or(MemmapError::Layout(end))?;
        if last > room || !start.is_aligned(granule_bytes) {
            return Err(MemmapError::Layout(end));
        }
        let sections = SectionTable::new(memblock, end)?;
        Ok(Self { access, sections, start, root: tables.root() })
    }

    /// The table of sections.
    pub fn sections(&self) -> &SectionTable<A> {
        &self.sections
    }

    pub(crate) fn sections_mut(&mut self) -> &mut SectionTable<A> {
        &mut self.sections
    }

    /// Where the records of `frames` lie.
    fn memmap_at(&self, frames: PfnRange) -> VirtAddr {
        self.start.saturating_add(frames.start().as_u64().wrapping_mul(Page::BYTES))
    }

    /// Describes every pending section. Returns how many there were.
    ///
    /// # Errors
    /// When memblock has no memory for the records or the tables that map them.
    pub(crate) fn describe_pending(
        &mut self,
        memblock: &mut Memblock<A>,
        tables: &mut PageTables<A>,
    ) -> Result<u64, MemmapError> {
        let mut described = 0;
        let mut from = 0;
        while let Some((section, entry)) = self.sections.next(from, SectionState::Pending) {
            let frames = self.together(section, entry);
            self.describe(memblock, tables, frames, entry.node)?;
            from = Granule::<A>::section_of(frames.end());
            for done in section..from {
                let node = self.sections.get(done).node;
                self.sections.set(done, SectionEntry { state: SectionState::Described, node });
                described += 1;
            }
        }
        Ok(described)
    }

    /// The whole granule that begins with `section` if all of it is pending on one node, else the section.
    fn together(&self, section: u64, entry: SectionEntry) -> PfnRange {
        let alone = Granule::<A>::section_frames(section);
        let per_granule = Granule::<A>::FRAMES / Granule::<A>::SECTION_FRAMES;
        let whole = section.is_multiple_of(per_granule)
            && (section..section + per_granule).all(|section| self.sections.get(section) == entry);
        if whole { PfnRange::new(alone.start(), alone.start().saturating_add(Granule::<A>::FRAMES)) } else { alone }
    }

    /// Takes, clears and maps the memmap of `frames`, in one piece if memblock has one, else in two halves, and so on
    /// down to pages.
    fn describe(
        &mut self,
        memblock: &mut Memblock<A>,
        tables: &mut PageTables<A>,
        frames: PfnRange,
        node: NodeId,
    ) -> Result<(), MemmapError> {
        let size = frames.count() * Page::BYTES;
        let range = match self.take(memblock, frames, size, node) {
            Ok(range) => range,
            Err(error) if size == A::PAGE_SIZE => return Err(error.into()),
            Err(_) => {
                let middle = frames.start().saturating_add(frames.count() / 2);
                self.describe(memblock, tables, PfnRange::new(frames.start(), middle), node)?;
                return self.describe(memblock, tables, PfnRange::new(middle, frames.end()), node);
            }
        };
        // SAFETY: memblock just handed the range out of mapped RAM, so nobody else knows it.
        unsafe { self.access.phys_ptr(range.start()).write_bytes(0, range.size() as usize) };
        tables.map(self.memmap_at(frames), range, RECORDS, &mut BootFrames::new(memblock))?;
        Ok(())
    }

    /// Memory for the memmap of `frames`: from their own granule, else on the node, else from anywhere.
    fn take(
        &self,
        memblock: &mut Memblock<A>,
        frames: PfnRange,
        size: u64,
        node: NodeId,
    ) -> Result<PhysRange, OutOfMemory> {
        let mapped = memblock.mapped();
        let granule = frames.bytes(A::PAGE_SHIFT).expand_to(1 << Granule::<A>::SHIFT).intersection(mapped);
        // A memmap that fills a leaf is aligned to it.
        let leaf = Granule::<A>::leaf_level(self.access).span::<A>();
        let align = if size >= leaf { leaf } else { A::PAGE_SIZE };
        let request = |within, node| Request { size, align, within, node, owner: Owner::new(MEMMAP_OWNER) };
        memblock
            .alloc(request(granule, NodeWish::Only(node)))
            .or_else(|_| memblock.alloc(request(mapped, NodeWish::Prefer(node))))
    }

    /// Makes the tables through which the granules in `frames` will be described.
    ///
    /// # Errors
    /// When memblock has no memory for them.
    pub(crate) fn prepare(
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

    /// Gives an untouched granule its records, in its own first [`Granule::MEMMAP_ORDER`] frames.
    ///
    /// # Errors
    /// When they cannot be mapped; the granule is untouched then.
    ///
    /// # Safety
    /// `granule` is one whole untouched granule of mapped RAM for which [`Vmemmap::prepare`] was called; nobody uses
    /// its memory, and nobody else describes it.
    pub(crate) unsafe fn describe_granule(&self, granule: PfnRange) -> Result<(), MapError> {
        let memmap =
            PfnRange::new(granule.start(), granule.start().saturating_add(Granule::<A>::MEMMAP_ORDER.frames()))
                .bytes(A::PAGE_SHIFT);
        // SAFETY: the memory is RAM of nobody, as the caller says, so it may be overwritten.
        unsafe { self.access.phys_ptr(memmap.start()).write_bytes(0, memmap.size() as usize) };
        // SAFETY: the tables are the live ones that `new` was given. The vmemmap area is changed by this type alone,
        // and this granule's entries by this call alone; the tables above them are there, so none is made.
        let mut tables = unsafe { PageTables::new(self.access, self.root) };
        tables.map(self.memmap_at(granule), memmap, RECORDS, &mut NoFrames)?;
        let first = Granule::<A>::section_of(granule.start());
        for section in first..Granule::<A>::section_of(granule.end()) {
            let node = self.sections.get(section).node;
            self.sections.set(section, SectionEntry { state: SectionState::Described, node });
        }
        Ok(())
    }
}

impl<A: Arch> fmt::Debug for Vmemmap<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vmemmap").field("start", &self.start).field("sections", &self.sections).finish_non_exhaustive()
    }
}
