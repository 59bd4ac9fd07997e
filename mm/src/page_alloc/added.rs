//! What memory that was added after zones were laid out is worth to the allocator: lines about what was there at boot
//! leave it out, as in Linux, where it comes later.

#![forbid(unsafe_code)]

use super::PageAllocator;
use super::sweep::Sweep;
use super::take_over::parts;
use crate::arch::Arch;
use crate::memblock::Record;
use crate::model::page::PageState;
use crate::model::{Granule, MemoryModel};

impl<A: Arch, M: MemoryModel<A>> PageAllocator<A, M> {
    /// Frames that were added.
    #[must_use]
    pub fn added_frames(&self) -> u64 {
        self.zones().added().iter().map(|added| added.frames.count()).sum()
    }

    /// Frames of those that were free when memory was taken over, less what their memmap will take. O(regions).
    #[must_use]
    pub fn added_free_frames(&self, record: &Record<A>) -> u64 {
        let mut free = 0;
        let sweep = Sweep { memory: record.memory(), reserved: record.reserved(), zones: self.zones() };
        sweep.pieces(&mut |piece| {
            if piece.state == PageState::Free && self.zones().was_added(piece.frames) {
                let [low, untouched, high] = parts::<A>(piece);
                let granules = untouched.count() / Granule::<A>::FRAMES;
                free += low.count() + high.count() + granules * Granule::<A>::usable_frames(M::GRANULE_MEMMAP);
            }
        });
        free
    }
}
