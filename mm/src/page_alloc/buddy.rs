//! The buddy system of one zone: free blocks of each order on lists, split when a smaller one is asked for, merged
//! with their buddy when they come back.
//!
//! Block number `n` of an order has one buddy, number `n ^ 1`; together they are a block of the next order. A merge
//! needs a single look at the buddy's record: it is on the lists of this zone exactly when its head says free, with
//! the same order and the same zone. So blocks never cross zones, zone ends need no alignment, and holes, which have
//! zero records, are never merged with.
//!
//! Lists are doubly linked through the records by frame number, so taking a block out of the middle is O(1); a bit
//! per order says which lists hold something, so finding the least order that fits is O(1) too. A pair of splits and
//! merges costs O(orders). The caller holds the zone's lock.
//!
//! Invariants: a block is on the list of its order exactly when its head says free; every block is aligned to its
//! size; no two free blocks of one zone are buddies; only heads are not zero.
//!
//! Linux: `__free_one_page`, `expand`, `__rmqueue_smallest` in `mm/page_alloc.c`.

#![forbid(unsafe_code)]

use crate::addr::{Order, Pfn, PfnRange};
use crate::model::Memmap;
use crate::model::page::{Head, NO_LINK, Page, PageState, block_head};
use crate::zone::ZoneIndex;

#[derive(Clone, Copy, Debug)]
struct List {
    /// Frame number of the first block, or [`NO_LINK`].
    first: u64,
    /// Blocks on the list.
    count: u64,
}

/// The free lists of one zone.
#[derive(Debug)]
pub(crate) struct Buddy {
    lists: [List; Order::COUNT],
    /// Bit n: the list of order n holds something.
    occupied: u32,
    /// Frames on all lists.
    free: u64,
    zone: ZoneIndex,
}

impl Buddy {
    /// Empty lists.
    pub(crate) const fn new(zone: ZoneIndex) -> Self {
        Self { lists: [List { first: NO_LINK, count: 0 }; Order::COUNT], occupied: 0, free: 0, zone }
    }

    /// Frames on all lists.
    pub(crate) const fn free_frames(&self) -> u64 {
        self.free
    }

    /// Blocks on the list of `order`.
    pub(crate) fn blocks(&self, order: Order) -> u64 {
        self.lists.get(order.index()).map_or(0, |list| list.count)
    }

    /// The first block on the list of `order`.
    pub(crate) fn first(&self, order: Order) -> Option<Pfn> {
        self.lists.get(order.index()).and_then(|list| linked(list.first))
    }

    /// The head of a free block of this zone.
    pub(crate) const fn free_head(&self, order: Order) -> Head {
        Head::new(PageState::Free, order, self.zone)
    }

    /// Takes a block of `order` off the lists, splitting the least larger one when there is none. The caller writes its
    /// head. `None` when nothing fits.
    pub(crate) fn take(&mut self, map: &impl Memmap, order: Order) -> Option<Pfn> {
        let found = self.least(order)?;
        let pfn = self.first(found)?;
        self.unlink(map, map.page(pfn)?, found);
        let mut at = found;
        while at > order {
            at = lower(at);
            // The upper half goes back; the lower one is split further or handed out.
            self.link(map, pfn.saturating_add(at.frames()), at);
        }
        Some(pfn)
    }

    /// The least order from `order` up whose list holds something.
    fn least(&self, order: Order) -> Option<Order> {
        let fitting = self.occupied >> order.as_u8();
        if fitting == 0 {
            return None;
        }
        Order::new(order.as_u8() + fitting.trailing_zeros() as u8)
    }

    /// Puts a block onto the lists, merged with its buddy as long as that is free. The block's head must not say free
    /// yet.
    pub(crate) fn give(&mut self, map: &impl Memmap, pfn: Pfn, order: Order) {
        let (mut head, mut at) = (pfn, order);
        while let Some(next) = Order::new(at.as_u8() + 1) {
            let buddy = Pfn::new(head.as_u64() ^ at.frames());
            let Some(page) = map.page(buddy) else { break };
            if page.head() != self.free_head(at) {
                break;
            }
            self.unlink(map, page, at);
            page.set_head(Head::ZERO);
            head = block_head(head, next);
            at = next;
        }
        if head != pfn
            && let Some(page) = map.page(pfn)
        {
            page.set_head(Head::ZERO);
        }
        self.link(map, head, at);
    }

    /// Puts all of `frames` onto the lists, in the largest blocks that fit. None of them has a head.
    pub(crate) fn give_range(&mut self, map: &impl Memmap, frames: PfnRange) {
        for_each_block(frames, &mut |pfn, order| self.give(map, pfn, order));
    }

    /// Puts a block onto the list of its order as it is. For blocks that cannot merge.
    pub(crate) fn link(&mut self, map: &impl Memmap, pfn: Pfn, order: Order) {
        let (Some(page), Some(list)) = (map.page(pfn), self.lists.get_mut(order.index())) else {
            debug_assert!(false, "a block of frame {:#x} has no record", pfn.as_u64());
            return;
        };
        page.set_head(Head::new(PageState::Free, order, self.zone));
        page.set_previous(NO_LINK);
        page.set_next(list.first);
        if let Some(second) = linked(list.first).and_then(|second| map.page(second)) {
            second.set_previous(pfn.as_u64());
        }
        list.first = pfn.as_u64();
        list.count += 1;
        self.occupied |= 1 << order.as_u8();
        self.free += order.frames();
    }

    /// Takes a block off the list of its order. Its head stays as it is.
    fn unlink(&mut self, map: &impl Memmap, page: &Page, order: Order) {
        let Some(list) = self.lists.get_mut(order.index()) else { return };
        let (previous, next) = (linked(page.previous()), linked(page.next()));
        match previous.and_then(|previous| map.page(previous)) {
            Some(previous) => previous.set_next(page.next()),
            None => list.first = page.next(),
        }
        if let Some(next) = next.and_then(|next| map.page(next)) {
            next.set_previous(page.previous());
        }
        list.count = list.count.saturating_sub(1);
        if list.count == 0 {
            self.occupied &= !(1 << order.as_u8());
        }
        self.free = self.free.saturating_sub(order.frames());
    }
}

fn linked(number: u64) -> Option<Pfn> {
    if number == NO_LINK { None } else { Some(Pfn::new(number)) }
}

/// The order below; of order 0, order 0.
fn lower(order: Order) -> Order {
    Order::new(order.as_u8().saturating_sub(1)).unwrap_or_default()
}

/// Cuts `frames` into the fewest blocks, in ascending order.
pub(crate) fn for_each_block(frames: PfnRange, each: &mut dyn FnMut(Pfn, Order)) {
    let (mut at, end) = (frames.start().as_u64(), frames.end().as_u64());
    while at < end {
        let aligned = at.trailing_zeros();
        let fits = (end - at).ilog2();
        let order = Order::new(aligned.min(fits).min(u32::from(Order::MAX.as_u8())) as u8).unwrap_or_default();
        each(Pfn::new(at), order);
        at += order.frames();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A memmap without sections.
    struct Flat(Vec<Page>);

    impl Flat {
        fn new(frames: usize) -> Self {
            Self((0..frames).map(|_| Page::default()).collect())
        }
    }

    impl Memmap for Flat {
        fn page(&self, pfn: Pfn) -> Option<&Page> {
            self.0.get(pfn.as_u64() as usize)
        }
    }

    const ZONE: ZoneIndex = ZoneIndex::new(3);

    fn range(start: u64, end: u64) -> PfnRange {
        PfnRange::new(Pfn::new(start), Pfn::new(end))
    }

    fn order(number: u8) -> Order {
        Order::new(number).unwrap()
    }

    /// Free blocks as the records say, not the lists.
    fn blocks(map: &Flat) -> Vec<(u64, u8)> {
        map.0
            .iter()
            .enumerate()
            .filter(|(_, page)| page.head().state() == PageState::Free)
            .map(|(at, page)| (at as u64, page.head().order().as_u8()))
            .collect()
    }

    #[test]
    fn ranges_are_cut_into_the_fewest_blocks() {
        let mut found = vec![];
        for_each_block(range(1, 24), &mut |pfn, order| found.push((pfn.as_u64(), order.as_u8())));
        assert_eq!(found, [(1, 0), (2, 1), (4, 2), (8, 3), (16, 3)]);
        found.clear();
        for_each_block(range(0, 2049), &mut |pfn, order| found.push((pfn.as_u64(), order.as_u8())));
        assert_eq!(found, [(0, 10), (1024, 10), (2048, 0)]);
        found.clear();
        for_each_block(range(5, 5), &mut |pfn, order| found.push((pfn.as_u64(), order.as_u8())));
        assert_eq!(found, []);
    }

    #[test]
    fn a_split_gives_the_lower_half_and_merging_restores_the_block() {
        let map = Flat::new(1024);
        let mut buddy = Buddy::new(ZONE);
        buddy.give_range(&map, range(0, 1024));
        assert_eq!(blocks(&map), [(0, 10)]);
        let pfn = buddy.take(&map, order(0)).unwrap();
        assert_eq!(pfn.as_u64(), 0);
        map.0[0].set_head(Head::new(PageState::Allocated, order(0), ZONE));
        let expected: Vec<_> = (0..10).map(|o| (1u64 << o, o)).collect();
        assert_eq!(blocks(&map), expected);
        assert_eq!(buddy.free_frames(), 1023);
        buddy.give(&map, pfn, order(0));
        assert_eq!(blocks(&map), [(0, 10)]);
        assert_eq!((buddy.free_frames(), buddy.blocks(Order::MAX)), (1024, 1));
    }

    #[test]
    fn a_zone_that_ends_in_the_middle_of_a_block_is_not_merged_across() {
        let map = Flat::new(64);
        let (mut low, mut high) = (Buddy::new(ZoneIndex::new(0)), Buddy::new(ZoneIndex::new(1)));
        low.give_range(&map, range(0, 24));
        high.give_range(&map, range(24, 64));
        assert_eq!(blocks(&map), [(0, 4), (16, 3), (24, 3), (32, 5)]);
        // 16..24 and 24..32 are buddies, but of different zones.
        let pfn = high.take(&map, order(3)).unwrap();
        high.give(&map, pfn, order(3));
        assert_eq!(blocks(&map), [(0, 4), (16, 3), (24, 3), (32, 5)]);
    }

    #[test]
    fn holes_are_not_merged_with() {
        let map = Flat::new(16);
        let mut buddy = Buddy::new(ZONE);
        buddy.give_range(&map, range(0, 3));
        buddy.give_range(&map, range(4, 8));
        assert_eq!(blocks(&map), [(0, 1), (2, 0), (4, 2)]);
    }

    #[test]
    fn frames_are_handed_out_once_and_come_back_in_any_order() {
        let frames: u64 = if cfg!(miri) { 64 } else { 3000 };
        let map = Flat::new(frames as usize);
        let mut buddy = Buddy::new(ZONE);
        buddy.give_range(&map, range(0, frames));
        let before = blocks(&map);
        let mut held = vec![];
        while let Some(pfn) = buddy.take(&map, order(0)) {
            map.0[pfn.as_u64() as usize].set_head(Head::new(PageState::Allocated, order(0), ZONE));
            held.push(pfn.as_u64());
        }
        assert_eq!(buddy.free_frames(), 0);
        let mut sorted = held.clone();
        sorted.sort_unstable();
        assert!(sorted.iter().copied().eq(0..frames));
        // A multiplicative walk over the frames: an order without neighbours.
        for step in 0..frames {
            let pfn = held[(step * 1013 % frames) as usize];
            buddy.give(&map, Pfn::new(pfn), order(0));
        }
        assert_eq!(blocks(&map), before);
    }
}
