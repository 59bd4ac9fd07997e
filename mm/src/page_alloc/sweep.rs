//! What memblock says, piece by piece: which frames are free and which are not, one zone at a time.
//!
//! The page allocator asks this several times while it decides what must be described, and a last time to fill its
//! pools; each time it gets the same pieces for the same regions. A frame is free when every byte of it is; a frame of
//! which a byte is reserved is reserved. O(memory regions + reserved regions + pieces × zones of a node).

#![forbid(unsafe_code)]

use crate::addr::{NodeId, PfnRange};
use crate::arch::Arch;
use crate::memblock::{Region, RegionFlags, Regions};
use crate::model::MEMMAP_OWNER;
use crate::model::page::PageState;
use crate::zone::{ZoneIndex, ZoneTable};

/// Frames of one zone that have one fate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Piece {
    pub(crate) frames: PfnRange,
    pub(crate) node: NodeId,
    pub(crate) zone: ZoneIndex,
    /// [`PageState::Free`], [`PageState::Reserved`] or [`PageState::Memmap`].
    pub(crate) state: PageState,
}

/// Regions that are handed over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sweep<'a, A> {
    pub(crate) memory: Regions<'a>,
    pub(crate) reserved: Regions<'a>,
    pub(crate) zones: &'a ZoneTable<A>,
}

impl<A: Arch> Sweep<'_, A> {
    /// Calls `each` with every piece, ascending by address.
    pub(crate) fn pieces(&self, each: &mut dyn FnMut(Piece)) {
        for region in self.memory {
            let all = PfnRange::inside(region.range(), A::PAGE_SHIFT);
            let mut emit = |frames: PfnRange, state| self.split(frames, &region, state, each);
            if region.flags().intersects(RegionFlags::NOMAP | RegionFlags::DRIVER_MANAGED) {
                emit(all, PageState::Reserved);
                continue;
            }
            let mut at = all.start();
            for reserved in self.reserved.overlapping(region.range()) {
                let touched = PfnRange::inside(reserved.range().expand_to(A::PAGE_SIZE), A::PAGE_SHIFT);
                // Two reservations may share a frame: the first one has it.
                let taken = PfnRange::new(touched.start().max(at), touched.end()).intersection(all);
                if taken.is_empty() {
                    continue;
                }
                emit(PfnRange::new(at, taken.start()), PageState::Free);
                emit(taken, state_of(&reserved));
                at = taken.end();
            }
            emit(PfnRange::new(at, all.end()), PageState::Free);
        }
    }

    /// Cuts `frames` at the ends of the node's zones.
    fn split(&self, frames: PfnRange, region: &Region, state: PageState, each: &mut dyn FnMut(Piece)) {
        let node = region.node().unwrap_or_default();
        let each = &mut |zone, frames| each(Piece { frames, node, zone, state });
        self.zones.parts(node, region.flags(), frames, each);
    }
}

fn state_of(reserved: &Region) -> PageState {
    if reserved.owner().as_str() == MEMMAP_OWNER { PageState::Memmap } else { PageState::Reserved }
}
