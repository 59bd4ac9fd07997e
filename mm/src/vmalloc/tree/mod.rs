//! The areas of one space, by address, and the gaps between them by size.
//!
//! A balanced tree (AVL) of ranges that do not overlap. Each node knows the gap before its range, and the largest gap
//! of its subtree, so the lowest gap that is long enough is found by one descent. The gap behind the last range is
//! kept beside the root. Linux keeps two red-black trees for this, one of busy and one of free areas
//! (`vmap_area_root`, `free_vmap_area_root` with `subtree_max_size`); here one does, and a free area needs no record.
//!
//! The tree owns no memory: nodes lie where a [`Store`] has them, and are named by the store's references. So nothing
//! here can fail, and nothing here is unsafe. There is no recursion: the way from the root is kept in an array that is
//! longer than the tree can be deep.
//!
//! Costs: O(log n) for each of insert, remove, find, and the search for a gap; at most `1.44 * log2(n)` nodes deep.

#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;
mod verify;

pub use verify::TreeProblem;

use crate::addr::VirtAddr;
use crate::layout::VirtRange;
use arrayvec::ArrayVec;

/// More than an AVL tree is deep that fills a 64-bit address space with nodes of 100 bytes.
const DEEPEST: usize = 88;

/// What the tree keeps in each node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links<R> {
    pub(super) range: VirtRange,
    /// Bytes between the range before and this one.
    gap: u64,
    /// The longest gap of this node and all below it.
    longest: u64,
    left: Option<R>,
    right: Option<R>,
    /// Nodes on the longest way down from here, this one too.
    height: u8,
}

impl<R> Links<R> {
    /// Of a node that is in no tree.
    pub(super) const fn new(range: VirtRange) -> Self {
        Self { range, gap: 0, longest: 0, left: None, right: None, height: 1 }
    }
}

/// Where nodes lie.
pub(super) trait Store<R> {
    fn links(&self, node: R) -> &Links<R>;
    fn links_mut(&mut self, node: R) -> &mut Links<R>;
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Left,
    Right,
}

/// The way from the root to a node, without it: each node that was passed, and on which side it was left.
type Way<R> = ArrayVec<(R, Side), DEEPEST>;

/// The tree of the areas in `space`.
#[derive(Debug)]
pub(super) struct Tree<R> {
    space: VirtRange,
    root: Option<R>,
    /// Where the last range ends; the start of the space when there is none.
    last_end: VirtAddr,
    count: usize,
}

impl<R: Copy + Eq> Tree<R> {
    /// Nothing in `space`.
    pub(super) const fn new(space: VirtRange) -> Self {
        Self { space, root: None, last_end: space.start(), count: 0 }
    }

    /// The first address of the lowest gap in which `size` bytes fit at a multiple of `align`, which is a power of two
    /// and at least `page`, of which everything here is a multiple.
    ///
    /// A gap that is longer by `align - page` holds them wherever it begins, so it is found in one descent. Only when
    /// there is none is each gap tried that is long enough but may lie badly.
    pub(super) fn fit(&self, store: &impl Store<R>, size: u64, align: u64, page: u64) -> Option<VirtAddr> {
        let place = |gap: VirtRange| {
            let start = gap.start().checked_align_up(align)?;
            gap.contains_range(VirtRange::from_size(start, size)?).then_some(start)
        };
        let sure = size.checked_add(align.saturating_sub(page));
        let found = sure.and_then(|length| self.gap_from(store, self.space.start(), length)).and_then(place);
        if found.is_some() || align <= page {
            return found;
        }
        let mut from = self.space.start();
        while from < self.space.end() {
            let gap = self.gap_from(store, from, size)?;
            if let Some(start) = place(gap) {
                return Some(start);
            }
            from = gap.end();
        }
        None
    }

    /// The lowest gap of at least `length` bytes that ends above `from`.
    fn gap_from(&self, store: &impl Store<R>, from: VirtAddr, length: u64) -> Option<VirtRange> {
        // The nodes above `from` whose right subtree was not looked at, the lowest last.
        let mut above = ArrayVec::<R, DEEPEST>::new();
        let mut at = self.root;
        while let Some(node) = at {
            let links = store.links(node);
            if links.range.start() > from {
                keep(&mut above, node);
                at = links.left;
            } else {
                at = links.right;
            }
        }
        while let Some(node) = above.pop() {
            let links = store.links(node);
            if links.gap >= length {
                return Some(gap_before(links));
            }
            if let Some(right) = links.right.filter(|&right| store.links(right).longest >= length) {
                return Some(lowest_below(store, right, length));
            }
        }
        let rest = VirtRange::new(self.last_end, self.space.end());
        (rest.size() >= length).then_some(rest)
    }

    /// The node whose range contains `address`.
    pub(super) fn find(&self, store: &impl Store<R>, address: VirtAddr) -> Option<R> {
        self.first_from(store, address).filter(|&node| store.links(node).range.contains(address))
    }

    /// The lowest node whose range ends above `address`.
    pub(super) fn first_from(&self, store: &impl Store<R>, address: VirtAddr) -> Option<R> {
        let (mut best, mut at) = (None, self.root);
        while let Some(node) = at {
            let links = store.links(node);
            if links.range.end() > address {
                best = Some(node);
                at = links.left;
            } else {
                at = links.right;
            }
        }
        best
    }

    /// Adds a node whose range, which is not empty, lies in a gap.
    pub(super) fn insert(&mut self, store: &mut impl Store<R>, node: R) {
        let range = store.links(node).range;
        let mut way = Way::new();
        let (mut before, mut next, mut at) = (self.space.start(), None, self.root);
        while let Some(parent) = at {
            let links = store.links(parent);
            if range.start() < links.range.start() {
                keep(&mut way, (parent, Side::Left));
                next = Some(parent);
                at = links.left;
            } else {
                keep(&mut way, (parent, Side::Right));
                before = links.range.end();
                at = links.right;
            }
        }
        let gap = range.start().checked_sub(before).unwrap_or(0);
        *store.links_mut(node) = Links { gap, longest: gap, ..Links::new(range) };
        match next {
            Some(next) => {
                let links = store.links_mut(next);
                links.gap = links.range.start().checked_sub(range.end()).unwrap_or(0);
            }
            None => self.last_end = range.end(),
        }
        self.count += 1;
        self.attach(store, way.last().copied(), Some(node));
        self.balance_up(store, way);
    }

    /// Takes a node out that is in the tree.
    pub(super) fn remove(&mut self, store: &mut impl Store<R>, node: R) {
        let links = *store.links(node);
        let Some(mut way) = self.way_to(store, node, links.range.start()) else { return };
        self.count = self.count.saturating_sub(1);
        // What follows has the range, and the gap before it, as its gap.
        let next = match links.right {
            Some(right) => Some(lowest(store, right)),
            None => way.iter().rev().find(|(_, side)| *side == Side::Left).map(|&(node, _)| node),
        };
        match next {
            Some(next) => store.links_mut(next).gap += links.gap + links.range.size(),
            None => self.last_end = gap_before(&links).start(),
        }
        let parent = way.last().copied();
        match (links.left, links.right) {
            (Some(left), Some(right)) => {
                let heir = self.take_lowest(store, &mut way, node, right);
                let right = store.links(node).right;
                let links = store.links_mut(heir);
                (links.left, links.right) = (Some(left), right);
                self.attach(store, parent, Some(heir));
            }
            (one, other) => {
                let child = one.or(other);
                if let Some(child) = child {
                    update(store, child);
                }
                self.attach(store, parent, child);
            }
        }
        self.balance_up(store, way);
    }

    /// Takes the lowest node below `right` out, which is the right child of `node`, and puts it into the place of
    /// `node` on the way, which then ends where it was.
    fn take_lowest(&mut self, store: &mut impl Store<R>, way: &mut Way<R>, node: R, right: R) -> R {
        let at = way.len();
        keep(way, (node, Side::Right));
        let mut heir = right;
        while let Some(left) = store.links(heir).left {
            keep(way, (heir, Side::Left));
            heir = left;
        }
        let below = store.links(heir).right;
        self.attach(store, way.last().copied(), below);
        if let Some(slot) = way.get_mut(at) {
            slot.0 = heir;
        }
        heir
    }

    /// The way to `node`, whose range begins at `start`; `None` when it is not in the tree.
    fn way_to(&self, store: &impl Store<R>, node: R, start: VirtAddr) -> Option<Way<R>> {
        let mut way = Way::new();
        let mut at = self.root?;
        while at != node {
            let links = store.links(at);
            let (side, next) =
                if start < links.range.start() { (Side::Left, links.left) } else { (Side::Right, links.right) };
            keep(&mut way, (at, side));
            at = next?;
        }
        Some(way)
    }

    /// Makes `child` what stands at the end of a way.
    fn attach(&mut self, store: &mut impl Store<R>, parent: Option<(R, Side)>, child: Option<R>) {
        match parent {
            None => self.root = child,
            Some((parent, Side::Left)) => store.links_mut(parent).left = child,
            Some((parent, Side::Right)) => store.links_mut(parent).right = child,
        }
    }

    /// Puts heights, longest gaps and balance right along a way, from its end to the root.
    fn balance_up(&mut self, store: &mut impl Store<R>, mut way: Way<R>) {
        while let Some((node, _)) = way.pop() {
            let top = balance(store, node);
            self.attach(store, way.last().copied(), Some(top));
        }
    }
}

/// Adds to a way. It is longer than a tree can be deep, so there is always room.
fn keep<T>(way: &mut ArrayVec<T, DEEPEST>, step: T) {
    let kept = way.try_push(step);
    debug_assert!(kept.is_ok(), "a tree of areas is deeper than {DEEPEST}");
}

fn gap_before<R>(links: &Links<R>) -> VirtRange {
    let start = links.range.start();
    VirtRange::new(VirtAddr::new(start.as_u64().saturating_sub(links.gap)), start)
}

/// The lowest gap of at least `length` bytes below `node`, which has one.
fn lowest_below<R: Copy>(store: &impl Store<R>, mut node: R, length: u64) -> VirtRange {
    loop {
        let links = store.links(node);
        let longest = |child: R| store.links(child).longest;
        let next = match (links.left, links.right) {
            (Some(left), _) if longest(left) >= length => left,
            (_, Some(right)) if links.gap < length => right,
            _ => return gap_before(links),
        };
        node = next;
    }
}

fn lowest<R: Copy>(store: &impl Store<R>, mut node: R) -> R {
    while let Some(left) = store.links(node).left {
        node = left;
    }
    node
}

fn height<R: Copy>(store: &impl Store<R>, node: Option<R>) -> u8 {
    node.map_or(0, |node| store.links(node).height)
}

/// Height and longest gap of `node`, as its children have them.
fn told_by_children<R: Copy>(store: &impl Store<R>, node: R) -> (u8, u64) {
    let links = store.links(node);
    let longest = |child: Option<R>| child.map_or(0, |child| store.links(child).longest);
    let height = 1 + height(store, links.left).max(height(store, links.right));
    (height, links.gap.max(longest(links.left)).max(longest(links.right)))
}

fn update<R: Copy>(store: &mut impl Store<R>, node: R) {
    let (height, longest) = told_by_children(store, node);
    let links = store.links_mut(node);
    (links.height, links.longest) = (height, longest);
}

/// Puts the subtree under `node` right, whose children are, and whose heights differ by two at most. What stands at
/// its top then.
fn balance<R: Copy>(store: &mut impl Store<R>, node: R) -> R {
    update(store, node);
    let Links { left, right, .. } = *store.links(node);
    let (left_height, right_height) = (height(store, left), height(store, right));
    match (left, right) {
        (Some(left), _) if left_height > right_height + 1 => {
            let Links { left: outer, right: inner, .. } = *store.links(left);
            if height(store, inner) > height(store, outer) {
                let top = rotate_left(store, left);
                store.links_mut(node).left = Some(top);
            }
            rotate_right(store, node)
        }
        (_, Some(right)) if right_height > left_height + 1 => {
            let Links { left: inner, right: outer, .. } = *store.links(right);
            if height(store, inner) > height(store, outer) {
                let top = rotate_right(store, right);
                store.links_mut(node).right = Some(top);
            }
            rotate_left(store, node)
        }
        _ => node,
    }
}

/// Lifts the right child above `node`.
fn rotate_left<R: Copy>(store: &mut impl Store<R>, node: R) -> R {
    let Some(top) = store.links(node).right else { return node };
    store.links_mut(node).right = store.links(top).left;
    store.links_mut(top).left = Some(node);
    update(store, node);
    update(store, top);
    top
}

/// Lifts the left child above `node`.
fn rotate_right<R: Copy>(store: &mut impl Store<R>, node: R) -> R {
    let Some(top) = store.links(node).left else { return node };
    store.links_mut(node).left = store.links(top).right;
    store.links_mut(top).right = Some(node);
    update(store, node);
    update(store, top);
    top
}
