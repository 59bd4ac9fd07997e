//! Free memory: memory minus reserved minus what is withheld, found by walking both arrays side by side.
//!
//! A whole walk costs O(regions); a walk that is limited to a range starts by binary search. Linux:
//! `for_each_free_mem_range`, `__next_mem_range` and its reverse.

#![forbid(unsafe_code)]

use super::region::{Entry, Traits};
use crate::addr::{NodeId, PhysAddr, PhysRange};
use crate::machine::RegionFlags;
use core::iter::FusedIterator;

/// Which memory a walk visits; the rest is passed over. Linux: `should_skip_region`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    /// On this node only.
    pub(super) node: Option<NodeId>,
    /// With all of these flags.
    pub(super) with: RegionFlags,
    /// With none of these flags.
    pub(super) without: RegionFlags,
}

impl Choice {
    /// All that may be handed out.
    pub(super) const FREE: Self =
        Self { node: None, with: RegionFlags::empty(), without: RegionFlags::NOMAP.union(RegionFlags::DRIVER_MANAGED) };

    fn takes(self, traits: Traits) -> bool {
        let flags = RegionFlags::from_bits_truncate(traits.flags);
        (self.node.is_none() || self.node == traits.node())
            && flags.contains(self.with)
            && !flags.intersects(self.without)
    }
}

/// Memory that nobody holds, on one node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FreeRange {
    /// Its bytes.
    pub range: PhysRange,
    /// Its node, once nodes are known.
    pub node: Option<NodeId>,
}

/// The free ranges between two addresses, from either end.
#[derive(Clone, Debug)]
pub struct FreeRanges<'a> {
    /// Memory and reserved entries that may still matter. Each end drops what it has passed.
    memory: &'a [Entry],
    reserved: &'a [Entry],
    /// What is below was yielded or skipped by `next` …
    front: PhysAddr,
    /// … and what is above by `next_back`.
    back: PhysAddr,
    choice: Choice,
}

impl<'a> FreeRanges<'a> {
    pub(super) fn new(memory: &'a [Entry], reserved: &'a [Entry], within: PhysRange, choice: Choice) -> Self {
        let cut = |entries: &'a [Entry]| {
            let from = entries.partition_point(|entry| entry.end <= within.start());
            let to = entries.partition_point(|entry| entry.start < within.end());
            entries.get(from..to).unwrap_or_default()
        };
        Self { memory: cut(memory), reserved: cut(reserved), front: within.start(), back: within.end(), choice }
    }
}

impl Iterator for FreeRanges<'_> {
    type Item = FreeRange;

    fn next(&mut self) -> Option<FreeRange> {
        while let Some((memory, memory_after)) = self.memory.split_first() {
            let start = memory.start.max(self.front);
            let end = memory.end.min(self.back);
            if start >= end || !self.choice.takes(memory.traits) {
                if memory.start >= self.back {
                    return None;
                }
                self.memory = memory_after;
                continue;
            }
            match self.reserved.split_first() {
                Some((reserved, after)) if reserved.end <= start => self.reserved = after,
                Some((reserved, _)) if reserved.start <= start => self.front = reserved.end,
                Some((reserved, _)) => {
                    self.front = end.min(reserved.start);
                    return Some(FreeRange { range: PhysRange::new(start, self.front), node: memory.traits.node() });
                }
                None => {
                    self.front = end;
                    return Some(FreeRange { range: PhysRange::new(start, end), node: memory.traits.node() });
                }
            }
        }
        None
    }
}

impl DoubleEndedIterator for FreeRanges<'_> {
    fn next_back(&mut self) -> Option<FreeRange> {
        while let Some((memory, memory_before)) = self.memory.split_last() {
            let start = memory.start.max(self.front);
            let end = memory.end.min(self.back);
            if start >= end || !self.choice.takes(memory.traits) {
                if memory.end <= self.front {
                    return None;
                }
                self.memory = memory_before;
                continue;
            }
            match self.reserved.split_last() {
                Some((reserved, before)) if reserved.start >= end => self.reserved = before,
                Some((reserved, _)) if reserved.end >= end => self.back = reserved.start,
                Some((reserved, _)) => {
                    self.back = start.max(reserved.end);
                    return Some(FreeRange { range: PhysRange::new(self.back, end), node: memory.traits.node() });
                }
                None => {
                    self.back = start;
                    return Some(FreeRange { range: PhysRange::new(start, end), node: memory.traits.node() });
                }
            }
        }
        None
    }
}

impl FusedIterator for FreeRanges<'_> {}
