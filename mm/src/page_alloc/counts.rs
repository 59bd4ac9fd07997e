//! Numbers of a zone, for the views.
//!
//! Reading them costs O(orders): everything is counted where it changes, and untouched memory by arithmetic.

#![forbid(unsafe_code)]

use super::PageAllocator;
use crate::addr::Order;
use crate::arch::Arch;
use crate::model::MemoryModel;
use crate::zone::watermark::Watermarks;
use crate::zone::{ZoneIndex, ZoneKind};

/// How many pages a CPU will keep of a zone.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PageSet {
    /// At most.
    pub high: u64,
    /// How many move between it and the zone at once.
    pub batch: u64,
}

/// Numbers of a zone. Frames, where nothing else is said.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ZoneCounts {
    /// Free, those of untouched granules too.
    pub free: u64,
    /// Free blocks of each order, those that untouched granules would give too.
    pub free_blocks: [u64; Order::COUNT],
    /// Of `free`: those in untouched granules.
    pub untouched: u64,
    /// Frames that untouched granules will need for their memmap.
    pub future_memmap: u64,
    /// What the zone was given: present less reserved less all memmap, future memmap too.
    pub managed: u64,
    /// Frames of memory in the zone.
    pub present: u64,
    /// First to last frame, holes too.
    pub spanned: u64,
    /// How far it may be emptied.
    pub watermarks: Watermarks,
    /// Frames that requests which could go up to each kind of zone leave here.
    pub protection: [u64; ZoneKind::COUNT],
    /// What a CPU will hold of it.
    pub page_set: PageSet,
    /// How far a CPU's counters may be off.
    pub stat_threshold: u64,
}

impl<A: Arch, M: MemoryModel<A>> PageAllocator<A, M> {
    /// The numbers of a zone; all zero for a zone that there is not.
    #[must_use]
    pub fn counts(&self, zone: ZoneIndex) -> ZoneCounts {
        let Some(pool) = self.pool(zone) else { return ZoneCounts::default() };
        let lists = pool.lists.lock(self.access());
        let mut free_blocks = [0; Order::COUNT];
        for (order, blocks) in Order::all().zip(&mut free_blocks) {
            *blocks = lists.blocks(order);
        }
        ZoneCounts {
            free: pool.free_frames(),
            free_blocks,
            untouched: lists.untouched.usable_frames(),
            future_memmap: lists.untouched.memmap_frames(),
            managed: pool.managed,
            present: pool.span.present,
            spanned: pool.span.range.count(),
            watermarks: pool.watermarks,
            protection: pool.protection,
            page_set: pool.page_set,
            stat_threshold: pool.stat_threshold,
        }
    }
}
