//! A sorted array that begins inside the structure and moves out when it is full, and the arithmetic of regions on it.
//!
//! Everything here is pure: no memory is looked for and nothing fails half-way. A change is planned first (how many
//! entries it adds at most), room is made by the caller, then it is carried out. Finding a place is a binary search,
//! inserting moves the entries behind it. Linux: `memblock_add_range`, `memblock_isolate_range`,
//! `memblock_merge_regions` in mm/memblock.c.

#![forbid(unsafe_code)]

use super::region::{Entry, Traits};
use super::slice::BootSlice;
use crate::addr::{PhysAddr, PhysRange};

/// At first `N` items inside, later as many as were found room for.
pub(super) struct Table<A, T, const N: usize> {
    inside: [T; N],
    outside: Option<BootSlice<A, T>>,
    length: usize,
}

impl<A, T: Copy, const N: usize> Table<A, T, N> {
    pub(super) const fn new(unused: T) -> Self {
        Self { inside: [unused; N], outside: None, length: 0 }
    }

    fn storage(&mut self) -> &mut [T] {
        match &mut self.outside {
            Some(slice) => slice,
            None => &mut self.inside,
        }
    }

    pub(super) fn items(&self) -> &[T] {
        let storage: &[T] = match &self.outside {
            Some(slice) => slice,
            None => &self.inside,
        };
        storage.get(..self.length).unwrap_or_default()
    }

    pub(super) fn items_mut(&mut self) -> &mut [T] {
        let length = self.length;
        self.storage().get_mut(..length).unwrap_or_default()
    }

    pub(super) fn capacity(&self) -> usize {
        match &self.outside {
            Some(slice) => slice.len(),
            None => N,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Puts `item` at `at`, moving what stands there and behind. Without room, or past the end, nothing happens:
    /// callers plan first.
    pub(super) fn insert(&mut self, at: usize, item: T) {
        let length = self.length;
        debug_assert!(at <= length && length < self.capacity(), "room was not made before inserting");
        let Some(behind) = self.storage().get_mut(at..=length) else { return };
        let Some(moved) = behind.len().checked_sub(1) else { return };
        behind.copy_within(..moved, 1);
        if let Some(slot) = behind.first_mut() {
            *slot = item;
        }
        self.length += 1;
    }

    /// Takes items `from..to` out.
    pub(super) fn remove(&mut self, from: usize, to: usize) {
        let Some(gone) = to.checked_sub(from) else { return };
        if let Some(behind) = self.items_mut().get_mut(from..).filter(|behind| gone <= behind.len()) {
            behind.copy_within(gone.., 0);
            self.length -= gone;
        }
    }

    /// Moves into `larger`. Returns where the items lay before, `None` when that was inside.
    pub(super) fn move_to(&mut self, mut larger: BootSlice<A, T>) -> Option<PhysRange> {
        debug_assert!(larger.len() >= self.length);
        for (slot, item) in larger.iter_mut().zip(self.items()) {
            *slot = *item;
        }
        self.outside.replace(larger).map(|old| old.place())
    }
}

impl<A, const N: usize> Table<A, Entry, N> {
    /// The first entry that ends above `address`: the one that holds it, or else the next one.
    pub(super) fn position(&self, address: PhysAddr) -> usize {
        self.items().partition_point(|entry| entry.end <= address)
    }

    /// The first part of `range` that no entry covers, and the entry before which it lies. No entry before `at` reaches
    /// into `range`.
    fn gap(&self, mut at: usize, range: PhysRange) -> Option<(usize, PhysRange)> {
        if range.is_empty() {
            return None;
        }
        let ahead = self.items().get(at..).unwrap_or_default();
        let (mut start, mut end) = (range.start(), range.end());
        for entry in ahead {
            if entry.start > start {
                end = end.min(entry.start);
                break;
            }
            start = entry.end;
            at += 1;
        }
        (start < end).then(|| (at, PhysRange::new(start, end)))
    }

    fn touches_before(&self, at: usize, start: PhysAddr, traits: Traits) -> bool {
        at.checked_sub(1)
            .and_then(|before| self.items().get(before))
            .is_some_and(|entry| entry.end == start && entry.traits == traits)
    }

    fn touches_after(&self, at: usize, end: PhysAddr, traits: Traits) -> bool {
        self.items().get(at).is_some_and(|entry| entry.start == end && entry.traits == traits)
    }

    /// Entries that [`Table::cover`] adds at most.
    pub(super) fn plan_cover(&self, range: PhysRange, traits: Traits) -> usize {
        let (mut from, mut rest, mut count) = (self.position(range.start()), range, 0);
        while let Some((at, gap)) = self.gap(from, rest) {
            let grows = self.touches_before(at, gap.start(), traits) || self.touches_after(at, gap.end(), traits);
            count += usize::from(!grows);
            (from, rest) = (at, PhysRange::new(gap.end(), range.end()));
        }
        count
    }

    /// Covers what `range` leaves uncovered; what is covered already keeps its traits.
    pub(super) fn cover(&mut self, range: PhysRange, traits: Traits) {
        let first = self.position(range.start());
        let (mut from, mut rest) = (first, range);
        while let Some((at, gap)) = self.gap(from, rest) {
            if self.touches_before(at, gap.start(), traits) {
                if let Some(entry) = at.checked_sub(1).and_then(|before| self.items_mut().get_mut(before)) {
                    entry.end = gap.end();
                }
            } else if self.touches_after(at, gap.end(), traits) {
                if let Some(entry) = self.items_mut().get_mut(at) {
                    entry.start = gap.start();
                }
            } else {
                self.insert(at, Entry { start: gap.start(), end: gap.end(), traits });
            }
            (from, rest) = (at, PhysRange::new(gap.end(), range.end()));
        }
        self.merge(first.saturating_sub(1), from + 1);
    }

    /// Entries that [`Table::uncover`] adds: one when `range` lies inside a single entry and touches neither end.
    pub(super) fn plan_uncover(&self, range: PhysRange) -> usize {
        let inside = self
            .items()
            .get(self.position(range.start()))
            .is_some_and(|entry| !range.is_empty() && entry.start < range.start() && entry.end > range.end());
        usize::from(inside)
    }

    /// Takes `range` out.
    pub(super) fn uncover(&mut self, range: PhysRange) {
        if range.is_empty() {
            return;
        }
        let mut from = self.position(range.start());
        if let Some(entry) = self.items_mut().get_mut(from).filter(|entry| entry.start < range.start()) {
            let upper = Entry { start: range.end(), ..*entry };
            entry.end = range.start();
            from += 1;
            if upper.end > upper.start {
                self.insert(from, upper);
                return;
            }
        }
        let to = self.position(range.end());
        if let Some(entry) = self.items_mut().get_mut(to) {
            entry.start = entry.start.max(range.end());
        }
        self.remove(from, to);
    }

    /// Whether an entry lies across `address`.
    fn straddles(&self, address: PhysAddr) -> bool {
        self.items().get(self.position(address)).is_some_and(|entry| entry.start < address)
    }

    /// Entries that [`Table::change`] adds at most.
    pub(super) fn plan_change(&self, range: PhysRange) -> usize {
        if range.is_empty() {
            return 0;
        }
        usize::from(self.straddles(range.start())) + usize::from(self.straddles(range.end()))
    }

    fn split(&mut self, address: PhysAddr) {
        let at = self.position(address);
        let Some(entry) = self.items_mut().get_mut(at) else { return };
        if entry.start < address {
            let upper = Entry { start: address, ..*entry };
            entry.end = address;
            self.insert(at + 1, upper);
        }
    }

    /// Splits entries so that none lies across an end of `range`.
    fn isolate(&mut self, range: PhysRange) {
        self.split(range.start());
        self.split(range.end());
    }

    /// Changes the traits of what `range` covers.
    pub(super) fn change(&mut self, range: PhysRange, change: impl Fn(Traits) -> Traits) {
        if range.is_empty() {
            return;
        }
        self.isolate(range);
        let from = self.position(range.start());
        let to = self.items().partition_point(|entry| entry.start < range.end());
        for entry in self.items_mut().get_mut(from..to).unwrap_or_default() {
            entry.traits = change(entry.traits);
        }
        self.merge(from.saturating_sub(1), to + 1);
    }

    /// Joins neighbours among entries `from..to` that touch and agree.
    fn merge(&mut self, from: usize, to: usize) {
        let to = to.min(self.len());
        let mut kept = from;
        for at in from + 1..to {
            let items = self.items_mut();
            let Some(&entry) = items.get(at) else { return };
            let Some(last) = items.get_mut(kept) else { return };
            if last.end == entry.start && last.traits == entry.traits {
                last.end = entry.end;
            } else {
                kept += 1;
                if let Some(slot) = items.get_mut(kept) {
                    *slot = entry;
                }
            }
        }
        self.remove(kept + 1, to);
    }

    /// Cuts every entry inward to multiples of `align`, a power of two; what is left without a byte goes.
    pub(super) fn trim(&mut self, align: u64) {
        let length = self.len();
        let mut kept = 0;
        for at in 0..length {
            let items = self.items_mut();
            let Some(&entry) = items.get(at) else { break };
            let range = entry.range().shrink_to(align);
            if range.is_empty() {
                continue;
            }
            if let Some(slot) = items.get_mut(kept) {
                *slot = Entry { start: range.start(), end: range.end(), ..entry };
            }
            kept += 1;
        }
        self.remove(kept, length);
    }
}
