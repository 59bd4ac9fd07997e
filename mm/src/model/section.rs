//! `mem_section`: what is true of a section as a whole.
//!
//! Two levels: an array of roots, sized by the highest section that holds memory, and a page of entries under each
//! root that has memory below it; a root of 4 KiB covers 128 GiB. Made at boot by the page allocator, while it takes
//! memblock over; afterwards an entry only goes from untouched to described, when its granule is carved.
//!
//! A reader that sees `Described` may read the records: the entry is written with `Release` after the memmap is
//! there, and read with `Acquire`. Costs 4 bytes a section. Linux: `mem_section` in `mm/sparse.c`,
//! `sparse_index_init`, `valid_section`.

use super::granule::Granule;
use crate::addr::{NodeId, Pfn, PfnRange, PhysAddr, PhysRange};
use crate::arch::Arch;
use crate::machine::Owner;
use crate::memblock::{BootSlice, Memblock, NodeWish, OutOfMemory, Request};
use core::fmt;
use core::ops::RangeInclusive;
use core::slice;
use core::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Release},
};

/// What a section is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SectionState {
    /// No memory.
    Hole,
    /// Memory whose records are being made; only while the page allocator takes over.
    Pending,
    /// Memory without records, inside an untouched granule.
    Untouched,
    /// It has records.
    Described,
}

/// An entry: the state in bits 0 and 1, the node in bits 16 to 31. Zero is a hole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SectionEntry {
    /// What the section is.
    pub state: SectionState,
    /// The node of its memory, or of the first of it where nodes share the section. Meaningless in a hole.
    pub node: NodeId,
}

impl SectionEntry {
    const fn encode(self) -> u32 {
        let state = match self.state {
            SectionState::Hole => 0,
            SectionState::Pending => 1,
            SectionState::Untouched => 2,
            SectionState::Described => 3,
        };
        state | (self.node.as_u16() as u32) << 16
    }

    const fn decode(word: u32) -> Self {
        let state = match word & 3 {
            0 => SectionState::Hole,
            1 => SectionState::Pending,
            2 => SectionState::Untouched,
            _ => SectionState::Described,
        };
        Self { state, node: NodeId::new((word >> 16) as u16) }
    }
}

/// A root: nothing, or the page of entries at an address. Zero is nothing, so an address is stored plus one: frame 0
/// may hold a page of entries too.
#[derive(Clone, Copy)]
struct Root(u64);

// SAFETY: a transparent integer for which zero means that there is no page; no drop.
unsafe impl crate::memblock::Zeroed for Root {}

/// The table of all sections.
pub struct SectionTable<A> {
    access: A,
    roots: BootSlice<A, Root>,
}

impl<A: Arch> SectionTable<A> {
    /// Entries under a root.
    const PER_ROOT: u64 = A::PAGE_SIZE / size_of::<u32>() as u64;

    /// A table of holes that reaches up to the section of the last frame below `end`.
    ///
    /// # Errors
    /// When memblock has no memory for it.
    pub fn new(memblock: &mut Memblock<A>, end: Pfn) -> Result<Self, OutOfMemory> {
        let sections = end.as_u64().div_ceil(Granule::<A>::SECTION_FRAMES);
        let roots = usize::try_from(sections.div_ceil(Self::PER_ROOT)).unwrap_or(usize::MAX);
        let access = memblock.access();
        Ok(Self { access, roots: memblock.alloc_slice(roots, NodeWish::Any, Owner::new("mem_section"))? })
    }

    /// One more than the highest section that the table can hold.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.roots.len() as u64 * Self::PER_ROOT
    }

    fn entries(&self, section: u64) -> Option<&[AtomicU32]> {
        let root = self.roots.get(usize::try_from(section / Self::PER_ROOT).ok()?)?;
        let address = PhysAddr::new(root.0.checked_sub(1)?);
        // SAFETY: a root other than nothing names a page that `make_roots` took from memblock for good and filled with
        // zeroes, a value of every entry; it is mapped by the promise of `set_mapped`, and only reached as atomics.
        Some(unsafe { slice::from_raw_parts(self.access.phys_ptr(address).cast(), Self::PER_ROOT as usize) })
    }

    fn word(&self, section: u64) -> Option<&AtomicU32> {
        self.entries(section)?.get((section % Self::PER_ROOT) as usize)
    }

    /// What section `section` is.
    #[must_use]
    pub fn get(&self, section: u64) -> SectionEntry {
        SectionEntry::decode(self.word(section).map_or(0, |word| word.load(Acquire)))
    }

    /// Makes the roots of `sections`, so that they can be set.
    ///
    /// # Errors
    /// When memblock has no memory for a root's page.
    pub(crate) fn make_roots(
        &mut self,
        memblock: &mut Memblock<A>,
        sections: RangeInclusive<u64>,
        node: NodeId,
    ) -> Result<(), OutOfMemory> {
        for root in sections.start() / Self::PER_ROOT..=sections.end() / Self::PER_ROOT {
            self.make_root(memblock, root, node)?;
        }
        Ok(())
    }

    fn make_root(&mut self, memblock: &mut Memblock<A>, at: u64, node: NodeId) -> Result<(), OutOfMemory> {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let Some(root) = self.roots.get_mut(at) else { return Ok(()) };
        if root.0 != 0 {
            return Ok(());
        }
        let request = Request {
            size: A::PAGE_SIZE,
            align: A::PAGE_SIZE,
            within: memblock.mapped(),
            node: NodeWish::Prefer(node),
            owner: Owner::new("mem_section"),
        };
        let page: PhysRange = memblock.alloc(request)?;
        // SAFETY: memblock just handed the page out, it lies in mapped RAM, and nobody else knows it.
        unsafe { self.access.phys_ptr(page.start()).write_bytes(0, A::PAGE_SIZE as usize) };
        root.0 = page.start().as_u64() + 1;
        Ok(())
    }

    /// Marks the sections of `frames` that are holes as pending.
    pub(crate) fn want(&self, frames: PfnRange, node: NodeId) {
        self.replace(frames, SectionState::Hole, SectionEntry { state: SectionState::Pending, node });
    }

    /// Marks the sections of `frames`, whole granules, as memory that was never touched.
    pub(crate) fn leave_untouched(&self, frames: PfnRange, node: NodeId) {
        self.replace(frames, SectionState::Hole, SectionEntry { state: SectionState::Untouched, node });
    }

    fn replace(&self, frames: PfnRange, old: SectionState, new: SectionEntry) {
        if frames.is_empty() {
            return;
        }
        let last = Granule::<A>::section_of(Pfn::new(frames.end().as_u64() - 1));
        for section in Granule::<A>::section_of(frames.start())..=last {
            if self.get(section).state == old {
                self.set(section, new);
            }
        }
    }

    /// Sets what a section is. Does nothing without a root: [`SectionTable::make_roots`] comes first.
    pub(crate) fn set(&self, section: u64, entry: SectionEntry) {
        let word = self.word(section);
        debug_assert!(word.is_some(), "section {section} has no root");
        if let Some(word) = word {
            word.store(entry.encode(), Release);
        }
    }

    /// The first section at or above `from` that is in `state`.
    pub(crate) fn next(&self, from: u64, state: SectionState) -> Option<(u64, SectionEntry)> {
        let mut section = from;
        while section < self.end() {
            let Some(entries) = self.entries(section) else {
                section = (section / Self::PER_ROOT + 1) * Self::PER_ROOT;
                continue;
            };
            let skip = (section % Self::PER_ROOT) as usize;
            for (section, word) in (section..).zip(entries.iter().skip(skip)) {
                let entry = SectionEntry::decode(word.load(Acquire));
                if entry.state == state {
                    return Some((section, entry));
                }
            }
            section = (section / Self::PER_ROOT + 1) * Self::PER_ROOT;
        }
        None
    }

    /// Calls `each` with every section that is no hole, in ascending order, until one fails. Costs O(roots + sections
    /// of the roots that are there).
    ///
    /// # Errors
    /// The first of `each`.
    pub fn try_for_each<E>(&self, each: &mut dyn FnMut(u64, SectionEntry) -> Result<(), E>) -> Result<(), E> {
        for root in 0..self.roots.len() as u64 {
            let first = root * Self::PER_ROOT;
            let Some(entries) = self.entries(first) else { continue };
            for (section, word) in (first..).zip(entries) {
                let entry = SectionEntry::decode(word.load(Acquire));
                if entry.state != SectionState::Hole {
                    each(section, entry)?;
                }
            }
        }
        Ok(())
    }
}

impl<A: Arch> fmt::Debug for SectionTable<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        let _ = self.try_for_each::<()>(&mut |section, entry| {
            map.entry(&section, &entry);
            Ok(())
        });
        map.finish()
    }
}
