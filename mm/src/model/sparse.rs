//! `Sparse`: each section has a map of its own, wherever there is room, and its entry in the table says where.
//!
//! Holes of whole sections cost nothing, and no page table is needed: maps are RAM in the direct map. At boot memblock
//! gives a section's map in one piece, out of the section's own granule when that has room. A granule that is carved
//! holds the maps of its sections in its own first frames, so untouched memory needs neither memory nor tables
//! beforehand. The table has entries of 64 bits; in two levels it is [`SparseExtreme`], in one of fixed length
//! [`SparseStatic`].
//!
//! From frame to record: the section's entry, a shift and an addition. From record to frame: Linux keeps the number of
//! the section in every record, but a record here is all zero until somebody has something to say of its frame. So it
//! is the record of the frame *in which the record lies* that knows: a frame of the memmap has nothing else to tell,
//! and its `next` is the first frame whose record it holds. Two loads besides the entry, and one word written for each
//! page of records.
//!
//! Linux: `CONFIG_SPARSEMEM` without `VMEMMAP`; `sparse_init_one_section`, `__pfn_to_page`, `__page_to_pfn`.

use super::describe::{Describe, clear, own_frames};
use super::page::Page;
use super::place::{MemmapError, take};
use super::section::{END_OF_MAPS, Sections, Word, map_of, sections_of, with_map};
use super::table::{FixedTable, SectionTable};
use super::{Granule, Memmap, MemoryModel};
use crate::addr::{NodeId, Order, Pfn, PfnRange};
use crate::arch::Arch;
use crate::layout::Layout;
use crate::memblock::Memblock;
use crate::paging::{MapError, PageTables};
use core::fmt;
use core::marker::PhantomData;
use core::sync::atomic::AtomicU64;

/// A map for each section, found by a table `S`.
pub struct Sparse<A, S> {
    access: A,
    sections: S,
}

/// [`Sparse`] with roots that are there where memory is.
pub type SparseExtreme<A> = Sparse<A, SectionTable<A, AtomicU64>>;

/// [`Sparse`] with a table of `COUNT` sections, from address 0 on: 8 bytes each.
pub type SparseStatic<A, const COUNT: usize> = Sparse<A, FixedTable<A, COUNT>>;

/// Frames whose records a page holds.
struct PerPage<A>(PhantomData<A>);

impl<A: Arch> PerPage<A> {
    const FRAMES: u64 = A::PAGE_SIZE / Page::BYTES;
    /// Pages of a section's map.
    const OF_SECTION: u64 = Granule::<A>::SECTION_FRAMES / Self::FRAMES;
}

impl<A: Arch, S: Sections<A, Word = AtomicU64>> Memmap for Sparse<A, S> {
    fn page(&self, pfn: Pfn) -> Option<&Page> {
        let map = map_of(Word::acquire(self.sections.word(Granule::<A>::section_of(pfn))?))?;
        let offset = (pfn.as_u64() & (Granule::<A>::SECTION_FRAMES - 1)) * Page::BYTES;
        let record = map.address(A::PAGE_SHIFT).saturating_add(offset);
        // SAFETY: the section is described, so its map, which is mapped RAM that is the memmap's for good, was
        // cleared, a value of `Page`, before the entry said so. Records are as long as their alignment and a map
        // begins at a page. They are only ever reached as atomics.
        Some(unsafe { &*self.access.phys_ptr(record).cast::<Page>() })
    }
}

impl<A: Arch, S: Sections<A, Word = AtomicU64>> MemoryModel<A> for Sparse<A, S> {
    const NAME: &'static str = "sparse";
    const GRANULE_MEMMAP: Option<Order> = Some(Granule::<A>::MEMMAP_ORDER);

    fn pfn_of(&self, page: &Page) -> Option<Pfn> {
        let address = self.access.ptr_phys((&raw const *page).cast())?;
        let first = self.page(Pfn::containing(address, A::PAGE_SHIFT))?.next();
        let pfn = Pfn::new(first).saturating_add(address.as_u64() % A::PAGE_SIZE / Page::BYTES);
        self.page(pfn).filter(|found| core::ptr::eq(*found, page)).map(|_| pfn)
    }
}

impl<A: Arch, S: Sections<A, Word = AtomicU64>> Sparse<A, S> {
    /// The entry of `section` on `node` from now on: described, with the map at frame `map`.
    fn set_map(&self, section: u64, node: NodeId, map: Pfn) {
        let word = self.sections.word(section);
        debug_assert!(word.is_some(), "section {section} has no entry");
        if let Some(word) = word {
            word.release(with_map(node, map));
        }
    }
}

impl<A: Arch, S: Sections<A, Word = AtomicU64>> Describe<A> for Sparse<A, S> {
    type Sections = S;

    fn make(memblock: &mut Memblock<A>, _: &PageTables<A>, _: &Layout) -> Result<Self, MemmapError> {
        // Any frame may become part of a map, so every one must fit an entry.
        let end = Pfn::at_or_above(memblock.memory().span().end(), A::PAGE_SHIFT);
        if end > END_OF_MAPS {
            return Err(MemmapError::Beyond(END_OF_MAPS));
        }
        Ok(Self { access: memblock.access(), sections: S::make(memblock)? })
    }

    fn sections(&self) -> &S {
        &self.sections
    }

    fn describe(
        &mut self,
        memblock: &mut Memblock<A>,
        _: &mut PageTables<A>,
        frames: PfnRange,
        node: NodeId,
    ) -> Result<(), MemmapError> {
        let granule = frames.bytes(A::PAGE_SHIFT).expand_to(1 << Granule::<A>::SHIFT);
        let size = Granule::<A>::SECTION_FRAMES * Page::BYTES;
        for section in sections_of::<A>(frames) {
            let range = take(memblock, granule, size, A::PAGE_SIZE, node)?;
            // SAFETY: memblock just handed the range out of mapped RAM, so nobody else knows it.
            unsafe { clear(self.access, range) };
            self.set_map(section, node, Pfn::containing(range.start(), A::PAGE_SHIFT));
        }
        Ok(())
    }

    /// Writes into the record of each frame of the memmap whose records it holds.
    fn settle(&self) {
        let _ = self.sections.try_for_each::<()>(&mut |section, _| {
            let Some(map) = self.sections.word(section).and_then(|word| map_of(word.acquire())) else { return Ok(()) };
            let first = Granule::<A>::section_frames(section).start();
            for at in 0..PerPage::<A>::OF_SECTION {
                let page = self.page(map.saturating_add(at));
                debug_assert!(page.is_some(), "a frame of the memmap has no record");
                if let Some(page) = page {
                    page.set_next(first.saturating_add(at * PerPage::<A>::FRAMES).as_u64());
                }
            }
            Ok(())
        });
    }

    unsafe fn describe_granule(&self, granule: PfnRange) -> Result<(), MapError> {
        let map = own_frames::<A>(granule);
        let memory = map.bytes(A::PAGE_SHIFT);
        // SAFETY: the memory is RAM of nobody, as the caller says, so it may be overwritten.
        unsafe { clear(self.access, memory) };
        // The frames of the map are the granule's first ones, so their records are the first in the map.
        let records = self.access.phys_ptr(memory.start()).cast::<Page>();
        for at in 0..map.count() {
            // SAFETY: the map was just cleared, a value of every record; it has one for each frame of the granule, and
            // `at` is one of them. Nobody else knows the records yet.
            let record = unsafe { &*records.add(at as usize) };
            record.set_next(granule.start().saturating_add(at * PerPage::<A>::FRAMES).as_u64());
        }
        for (number, section) in (0..).zip(sections_of::<A>(granule)) {
            let node = self.sections.get(section).node;
            self.set_map(section, node, map.start().saturating_add(number * PerPage::<A>::OF_SECTION));
        }
        Ok(())
    }
}

impl<A: Arch, S: Sections<A, Word = AtomicU64>> fmt::Debug for Sparse<A, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sparse").field("sections", &self.sections).finish_non_exhaustive()
    }
}
