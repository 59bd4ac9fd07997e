//! What is true of a section as a whole: hole, pending, untouched or described, and its node.
//!
//! Every model has a table of these, `mem_section`, because the question "does this frame have a record?" is one about
//! a section in all of them. An entry is one word, so a reader sees a whole entry without a lock: it is written with
//! `Release` after the records are there, and read with `Acquire`, so whoever sees `Described` may read the records.
//! After boot an entry only goes from untouched to described, when its granule is carved.
//!
//! | bits | hold |
//! |---|---|
//! | 0–1 | the state; zero is a hole |
//! | 8–23 | the node |
//! | 24–63 | words of 64 bits: the first frame of the section's own map (`Sparse`) |
//!
//! Linux: `struct mem_section`, whose `section_mem_map` holds its flags in the lowest bits; `valid_section`.

use super::granule::Granule;
use super::place::MemmapError;
use crate::addr::{NodeId, Pfn, PfnRange};
use crate::arch::Arch;
use crate::memblock::{Memblock, Zeroed};
use core::fmt;
use core::sync::atomic::{
    AtomicU32, AtomicU64,
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

/// An entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SectionEntry {
    /// What the section is.
    pub state: SectionState,
    /// The node of its memory, or of the first of it where nodes share the section. Meaningless in a hole.
    pub node: NodeId,
}

/// Where the node stands in a word.
const NODE_SHIFT: u32 = 8;
/// Where the map stands in a word of 64 bits.
const MAP_SHIFT: u32 = 24;
/// The bits of the state.
const STATE_BITS: u64 = 3;
/// The state of a section that has records.
const DESCRIBED: u64 = 3;

impl SectionEntry {
    const fn encode(self) -> u64 {
        let state = match self.state {
            SectionState::Hole => 0,
            SectionState::Pending => 1,
            SectionState::Untouched => 2,
            SectionState::Described => DESCRIBED,
        };
        state | (self.node.as_u16() as u64) << NODE_SHIFT
    }

    const fn decode(word: u64) -> Self {
        let state = match word & STATE_BITS {
            0 => SectionState::Hole,
            1 => SectionState::Pending,
            2 => SectionState::Untouched,
            _ => SectionState::Described,
        };
        Self { state, node: NodeId::new((word >> NODE_SHIFT) as u16) }
    }
}

/// Words of 64 bits can name the frames below: 52 bits of physical address with 4 KiB pages, which is all there are.
pub(super) const END_OF_MAPS: Pfn = Pfn::new(1 << (u64::BITS - MAP_SHIFT));

/// The word of a described section whose map begins at frame `map`, below [`END_OF_MAPS`].
pub(super) const fn with_map(node: NodeId, map: Pfn) -> u64 {
    let described = SectionEntry { state: SectionState::Described, node };
    described.encode() | map.as_u64() << MAP_SHIFT
}

/// The first frame of the map that `word` names, if its section is described.
pub(super) const fn map_of(word: u64) -> Option<Pfn> {
    if word & STATE_BITS == DESCRIBED { Some(Pfn::new(word >> MAP_SHIFT)) } else { None }
}

/// What entries are stored in.
pub trait Word: Zeroed + fmt::Debug + Send + Sync + 'static {
    /// Reads it, and whatever was written before it.
    fn acquire(&self) -> u64;

    /// Writes it, after all that was written before.
    fn release(&self, word: u64);
}

// SAFETY: zero is a value of the integer, and it needs no drop.
unsafe impl Zeroed for AtomicU32 {}

impl Word for AtomicU32 {
    fn acquire(&self) -> u64 {
        u64::from(AtomicU32::load(self, Acquire))
    }

    fn release(&self, word: u64) {
        debug_assert!(word <= u64::from(u32::MAX), "an entry of 32 bits names a map");
        AtomicU32::store(self, word as u32, Release);
    }
}

// SAFETY: zero is a value of the integer, and it needs no drop.
unsafe impl Zeroed for AtomicU64 {}

impl Word for AtomicU64 {
    fn acquire(&self) -> u64 {
        AtomicU64::load(self, Acquire)
    }

    fn release(&self, word: u64) {
        AtomicU64::store(self, word, Release);
    }
}

/// A table of all sections: the two of [`table`](super::table).
pub trait Sections<A: Arch>: Sized + fmt::Debug {
    /// What its entries are stored in.
    type Word: Word;

    /// Entries are there or not there in pieces of so many.
    const PIECE: u64;

    /// A table of holes in which the sections of all memory can be set.
    ///
    /// # Errors
    /// When memblock has no memory for it, or it is too short.
    fn make(memblock: &mut Memblock<A>) -> Result<Self, MemmapError>;

    /// One more than the highest section that the table can hold.
    fn end(&self) -> u64;

    /// The entries of the piece that holds `section`; `None` where all are holes for good.
    fn piece(&self, section: u64) -> Option<&[Self::Word]>;

    /// The entry of `section`; `None` where it is a hole for good.
    fn word(&self, section: u64) -> Option<&Self::Word> {
        self.piece(section)?.get((section % Self::PIECE) as usize)
    }

    /// What section `section` is.
    fn get(&self, section: u64) -> SectionEntry {
        SectionEntry::decode(self.word(section).map_or(0, Word::acquire))
    }

    /// Sets what a section is. Does nothing where there is no memory.
    fn set(&self, section: u64, entry: SectionEntry) {
        let word = self.word(section);
        debug_assert!(word.is_some(), "section {section} has no entry");
        if let Some(word) = word {
            word.release(entry.encode());
        }
    }

    /// Marks the sections of `frames` that are holes as pending.
    fn want(&self, frames: PfnRange, node: NodeId) {
        self.fill_holes(frames, SectionEntry { state: SectionState::Pending, node });
    }

    /// Marks the sections of `frames`, whole granules, as memory that was never touched.
    fn leave_untouched(&self, frames: PfnRange, node: NodeId) {
        self.fill_holes(frames, SectionEntry { state: SectionState::Untouched, node });
    }

    /// Marks the sections of `frames` as described, each on the node that it is on.
    fn set_described(&self, frames: PfnRange) {
        for section in sections_of::<A>(frames) {
            self.set(section, SectionEntry { state: SectionState::Described, node: self.get(section).node });
        }
    }

    /// Makes the sections of `frames` that are holes `new`.
    fn fill_holes(&self, frames: PfnRange, new: SectionEntry) {
        for section in sections_of::<A>(frames) {
            if self.get(section).state == SectionState::Hole {
                self.set(section, new);
            }
        }
    }

    /// The first section at or above `from` that is in `state`, which is not a hole.
    fn next(&self, from: u64, state: SectionState) -> Option<(u64, SectionEntry)> {
        let mut section = from;
        while section < self.end() {
            let first = section / Self::PIECE * Self::PIECE;
            let skip = (section - first) as usize;
            for (section, word) in (section..).zip(self.piece(section).unwrap_or_default().iter().skip(skip)) {
                let entry = SectionEntry::decode(word.acquire());
                if entry.state == state {
                    return Some((section, entry));
                }
            }
            section = first + Self::PIECE;
        }
        None
    }

    /// Calls `each` with every section that is no hole, in ascending order, until one fails. Costs O(pieces + sections
    /// of the pieces that are there).
    ///
    /// # Errors
    /// The first of `each`.
    fn try_for_each<E>(&self, each: &mut dyn FnMut(u64, SectionEntry) -> Result<(), E>) -> Result<(), E> {
        for first in (0..self.end()).step_by(Self::PIECE as usize) {
            for (section, word) in (first..).zip(self.piece(first).unwrap_or_default()) {
                let entry = SectionEntry::decode(word.acquire());
                if entry.state != SectionState::Hole {
                    each(section, entry)?;
                }
            }
        }
        Ok(())
    }

    /// For the `Debug` of tables: the sections that are no holes.
    ///
    /// # Errors
    /// As the formatter.
    fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        let _ = self.try_for_each::<()>(&mut |section, entry| {
            map.entry(&section, &entry);
            Ok(())
        });
        map.finish()
    }
}

/// The sections that `frames` touch.
pub(super) fn sections_of<A: Arch>(frames: PfnRange) -> core::ops::Range<u64> {
    if frames.is_empty() {
        return 0..0;
    }
    let last = Pfn::new(frames.end().as_u64() - 1);
    Granule::<A>::section_of(frames.start())..Granule::<A>::section_of(last) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_keeps_its_parts() {
        for state in [SectionState::Hole, SectionState::Pending, SectionState::Untouched, SectionState::Described] {
            for node in [0, 1, 1023, u16::MAX].map(NodeId::new) {
                let word = AtomicU32::new(0);
                let entry = SectionEntry { state, node };
                Word::release(&word, entry.encode());
                assert_eq!(SectionEntry::decode(Word::acquire(&word)), entry);
                assert_eq!(map_of(entry.encode()).is_some(), state == SectionState::Described);
            }
        }
    }

    #[test]
    fn a_word_names_the_map_of_a_described_section() {
        let node = NodeId::new(u16::MAX);
        for map in [0, 1, END_OF_MAPS.as_u64() - 1].map(Pfn::new) {
            let word = with_map(node, map);
            assert_eq!(map_of(word), Some(map));
            assert_eq!(SectionEntry::decode(word), SectionEntry { state: SectionState::Described, node });
        }
    }
}
