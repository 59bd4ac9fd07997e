//! The pages of one zone: its free lists, its untouched granules, its watermarks, behind one lock.
//!
//! A pool lies on its zone's node. Who wants a block asks the watermarks first, without the lock, by one counter
//! that holds all free frames; then takes the block under it: off the free lists, and when nothing there fits, out of
//! a granule that is carved for it. So touched memory is used first, and no request fails for lack of blocks while a
//! granule is left.
//!
//! Carving holds the lock while it clears the granule's memmap (2 MiB with 4 KiB pages); that happens once per 256 MiB
//! of memory ever. Per-CPU page sets come in front of this lock later and take their batches through it.
//!
//! Linux: `struct zone`, `rmqueue`, `__zone_watermark_ok`.

use super::buddy::Buddy;
use super::counts::PageSet;
use super::error::AllocError;
use super::untouched::Untouched;
use crate::addr::{Order, Pfn, PfnRange};
use crate::arch::Arch;
use crate::model::MemoryModel;
use crate::model::page::{Head, PageState};
use crate::sync::IrqLock;
use crate::zone::watermark::Watermarks;
use crate::zone::{ZoneIndex, ZoneKind, ZoneSpan};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The pages of one zone.
#[derive(Debug)]
pub(crate) struct Pool<A, M> {
    pub(crate) index: ZoneIndex,
    pub(crate) span: ZoneSpan,
    /// Frames that were ever free: what is present less what is reserved and all memmap, future memmap too.
    pub(crate) managed: u64,
    pub(crate) watermarks: Watermarks,
    /// Frames that a request which could go up to each kind of zone must leave here.
    pub(crate) protection: [u64; ZoneKind::COUNT],
    pub(crate) page_set: PageSet,
    pub(crate) stat_threshold: u64,
    /// Free frames, those of untouched granules too. Written under the lock.
    free: AtomicU64,
    pub(crate) lists: IrqLock<Lists<A, M>>,
}

/// What the lock of a pool guards.
#[derive(Debug)]
pub(crate) struct Lists<A, M> {
    pub(crate) buddy: Buddy,
    pub(crate) untouched: Untouched<A, M>,
}

impl<A: Arch, M: MemoryModel<A>> Lists<A, M> {
    fn free_frames(&self) -> u64 {
        self.buddy.free_frames() + self.untouched.usable_frames()
    }

    /// Free blocks of `order`, untouched ones by arithmetic.
    pub(crate) fn blocks(&self, order: Order) -> u64 {
        self.buddy.blocks(order) + self.untouched.blocks(order)
    }

    /// Gives the lowest untouched granule its records, and its blocks to the free lists.
    fn carve(&mut self, map: &M, zone: ZoneIndex) -> Result<Carved, AllocError> {
        let Some(granule) = self.untouched.first() else { return Ok(Carved::NothingLeft) };
        // SAFETY: the granule is on this zone's list of untouched ones, so it is RAM of nobody and whole; tables were
        // prepared for all of these by `take_over`; the lock keeps others away, and it leaves the list right below.
        unsafe { map.describe_granule(granule) }.map_err(|_| AllocError::Memmap(granule.start()))?;
        self.untouched.remove_first();
        let block = |pfn: u64| Pfn::new(granule.start().as_u64() + pfn);
        // The last one that is linked is the first one that is taken: low blocks first.
        let highest = Order::MAX.frames();
        (1..granule.count() / highest).rev().for_each(|at| self.buddy.link(map, block(at * highest), Order::MAX));
        let Some(order) = M::GRANULE_MEMMAP else {
            self.buddy.link(map, granule.start(), Order::MAX);
            return Ok(Carved::One);
        };
        if let Some(page) = map.page(granule.start()) {
            page.set_head(Head::new(PageState::Memmap, order, zone));
        }
        for order in Order::all().filter(|&at| order <= at && at < Order::MAX) {
            self.buddy.link(map, block(order.frames()), order);
        }
        Ok(Carved::One)
    }
}

enum Carved {
    One,
    NothingLeft,
}

/// The least that must stay free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Floor {
    Low,
    Min,
    HalfMin,
}

impl<A: Arch, M: MemoryModel<A>> Pool<A, M> {
    /// A pool without pages.
    pub(crate) fn new(access: A, index: ZoneIndex, span: ZoneSpan) -> Self {
        Self {
            index,
            span,
            managed: 0,
            watermarks: Watermarks::default(),
            protection: [0; ZoneKind::COUNT],
            page_set: PageSet::default(),
            stat_threshold: 0,
            free: AtomicU64::new(0),
            lists: IrqLock::new(Lists { buddy: Buddy::new(index), untouched: Untouched::new(access) }),
        }
    }

    /// Free frames, those of untouched granules too.
    pub(crate) fn free_frames(&self) -> u64 {
        self.free.load(Relaxed)
    }

    /// After a change of the lists outside of [`Pool::take`] and [`Pool::give`].
    pub(crate) fn recount(&mut self) {
        let free = self.lists.get_mut().free_frames();
        *self.free.get_mut() = free;
    }

    /// Whether a request that may go up to zone `highest` can have a block of `order` and leave as much as it must.
    pub(crate) fn can_spare(&self, order: Order, floor: Floor, highest: ZoneKind) -> bool {
        let mark = match floor {
            Floor::Low => self.watermarks.low,
            Floor::Min => self.watermarks.min,
            Floor::HalfMin => self.watermarks.min - self.watermarks.min / 2,
        };
        let reserve = self.protection.get(highest.index()).copied().unwrap_or(0);
        let free = self.free_frames();
        free >= order.frames() && free - (order.frames() - 1) > mark.saturating_add(reserve)
    }

    /// Takes a block of `order` and writes its head as `state`. `None` when nothing fits, and no granule is left.
    pub(crate) fn take(&self, access: A, map: &M, order: Order, state: PageState) -> Result<Option<Pfn>, AllocError> {
        let mut lists = self.lists.lock(access);
        let pfn = loop {
            if let Some(pfn) = lists.buddy.take(map, order) {
                break pfn;
            }
            match lists.carve(map, self.index)? {
                Carved::One => {}
                Carved::NothingLeft => return Ok(None),
            }
        };
        if let Some(page) = map.page(pfn) {
            page.set_head(Head::new(state, order, self.index));
            page.set_references(1);
        }
        self.free.store(lists.free_frames(), Relaxed);
        Ok(Some(pfn))
    }

    /// Takes a block back whose head is `expected`. `false`, and no change, when somebody else was faster.
    #[must_use]
    pub(crate) fn give(&self, access: A, map: &M, pfn: Pfn, expected: Head) -> bool {
        let mut lists = self.lists.lock(access);
        if map.page(pfn).is_none_or(|page| page.head() != expected) {
            return false;
        }
        lists.buddy.give(map, pfn, expected.order());
        self.free.store(lists.free_frames(), Relaxed);
        true
    }

    /// Whether all of `frames` lies in the zone.
    pub(crate) fn spans(&self, frames: PfnRange) -> bool {
        self.span.range.intersection(frames) == frames
    }
}
