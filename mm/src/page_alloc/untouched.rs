//! Memory of one zone that was never touched: whole granules, as ranges of frames.
//!
//! Nothing is known of these frames but that they are free: no record, no list. The zone takes the lowest granule when
//! its free lists have nothing that fits; what they held meanwhile is counted by arithmetic, as the blocks that carving
//! would give, so counts do not change when a granule is carved.
//!
//! The list is as long as the zone has free ranges with a whole granule in them, which was counted before its memory
//! was taken from memblock. Taking a granule is O(1).

#![forbid(unsafe_code)]

use crate::addr::{Order, PfnRange};
use crate::arch::Arch;
use crate::memblock::BootSlice;
use crate::model::{Granule, MemoryModel};
use core::marker::PhantomData;

/// The untouched granules of a zone.
#[derive(Debug)]
pub(crate) struct Untouched<A, M> {
    ranges: BootSlice<A, PfnRange>,
    /// How many were pushed, whether there was room or not.
    pushed: usize,
    /// The first range that is not used up.
    current: usize,
    granules: u64,
    /// Says what of a granule its memmap takes.
    model: PhantomData<fn() -> M>,
}

impl<A: Arch, M: MemoryModel<A>> Untouched<A, M> {
    pub(crate) fn new(access: A) -> Self {
        Self { ranges: BootSlice::empty(access), pushed: 0, current: 0, granules: 0, model: PhantomData }
    }

    /// Forgets all ranges; room for as many as `ranges` holds.
    pub(crate) fn reset(&mut self, ranges: Option<BootSlice<A, PfnRange>>) {
        if let Some(ranges) = ranges {
            self.ranges = ranges;
        }
        (self.pushed, self.current, self.granules) = (0, 0, 0);
    }

    /// Appends whole granules above all that are there. Without room only counts, see [`Untouched::missing`].
    pub(crate) fn push(&mut self, granules: PfnRange) {
        debug_assert_eq!(Granule::<A>::inside(granules), granules);
        if let Some(slot) = self.ranges.get_mut(self.pushed) {
            *slot = granules;
            self.granules += granules.count() / Granule::<A>::FRAMES;
        }
        self.pushed += 1;
    }

    /// How many ranges were pushed, when that is more than there is room for.
    pub(crate) fn missing(&self) -> Option<usize> {
        (self.pushed > self.ranges.len()).then_some(self.pushed)
    }

    /// The ranges that are left.
    pub(crate) fn ranges(&self) -> &[PfnRange] {
        self.ranges.get(self.current..self.pushed).unwrap_or_default()
    }

    /// Frames that their memmap will take.
    pub(crate) fn memmap_frames(&self) -> u64 {
        self.granules * M::GRANULE_MEMMAP.map_or(0, Order::frames)
    }

    /// Frames that carving all of them would give.
    pub(crate) fn usable_frames(&self) -> u64 {
        self.granules * Granule::<A>::usable_frames(M::GRANULE_MEMMAP)
    }

    /// Blocks of `order` that carving all of them would give.
    pub(crate) fn blocks(&self, order: Order) -> u64 {
        self.granules * Granule::<A>::free_blocks(M::GRANULE_MEMMAP, order)
    }

    /// The lowest granule.
    pub(crate) fn first(&self) -> Option<PfnRange> {
        let start = self.ranges().first()?.start();
        Some(PfnRange::new(start, start.saturating_add(Granule::<A>::FRAMES)))
    }

    /// Takes the lowest granule off.
    pub(crate) fn remove_first(&mut self) {
        let Some(range) = self.ranges.get_mut(self.current).filter(|_| self.current < self.pushed) else { return };
        *range = PfnRange::new(range.start().saturating_add(Granule::<A>::FRAMES), range.end());
        if range.is_empty() {
            self.current += 1;
        }
        self.granules -= 1;
    }
}
