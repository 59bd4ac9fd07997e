//! Regions as the arrays hold them, and as the rest of the crate sees them.
//!
//! Inside the arrays a region is an [`Entry`] of 24 bytes with the number of its owner's name; outside it is a
//! [`Region`], a small value in which the name is resolved. Entries of one array are sorted by address, never empty
//! and never overlap; two that touch differ in node, flags or owner.

#![forbid(unsafe_code)]

use crate::addr::{NodeId, PfnRange, PhysAddr, PhysRange};
use crate::machine::{Owner, RegionFlags};
use core::fmt;

/// Set in a reserved entry that an allocation made: somebody may use what lies there, so it is not simply freed.
pub(super) const HELD: u32 = 1 << 31;

/// Set in a reserved entry that ends with memblock: what lies there is needed no longer than that.
pub(super) const TEMPORARY: u32 = 1 << 30;

/// The number that stands for "on no node yet".
const NO_NODE: u16 = u16::MAX;

/// Everything about an entry except where it lies. Two entries that touch and agree in it are one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Traits {
    node: u16,
    owner: u16,
    pub(super) flags: u32,
}

impl Traits {
    /// Memory with no node and no flags.
    pub(super) const PLAIN: Self = Self { node: NO_NODE, owner: 0, flags: 0 };

    /// A reservation by the owner with this number.
    pub(super) const fn owned(owner: u16, flags: u32) -> Self {
        Self { node: NO_NODE, owner, flags }
    }

    /// The same on `node`.
    pub(super) const fn on(self, node: Option<NodeId>) -> Self {
        let node = match node {
            Some(node) => node.as_u16(),
            None => NO_NODE,
        };
        Self { node, ..self }
    }

    /// The same with exactly these flags.
    pub(super) const fn flagged(self, flags: u32) -> Self {
        Self { flags, ..self }
    }

    pub(super) const fn node(self) -> Option<NodeId> {
        if self.node == NO_NODE { None } else { Some(NodeId::new(self.node)) }
    }

    pub(super) const fn owner(self) -> u16 {
        self.owner
    }
}

/// A region inside an array.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) start: PhysAddr,
    pub(super) end: PhysAddr,
    pub(super) traits: Traits,
}

impl Entry {
    /// Fills the unused part of an array.
    pub(super) const UNUSED: Self = Self { start: PhysAddr::new(0), end: PhysAddr::new(0), traits: Traits::PLAIN };

    pub(super) const fn range(&self) -> PhysRange {
        PhysRange::new(self.start, self.end)
    }
}

/// A range of memory or of reserved memory, with what memblock knows of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Region {
    range: PhysRange,
    node: Option<NodeId>,
    flags: RegionFlags,
    owner: Owner,
}

impl Region {
    /// Its bytes.
    #[must_use]
    pub const fn range(&self) -> PhysRange {
        self.range
    }

    /// Its node, once [`set_node`](super::Memblock::set_node) has said so. A reserved region has none: ask the memory
    /// below it.
    #[must_use]
    pub const fn node(&self) -> Option<NodeId> {
        self.node
    }

    /// What is special about it.
    #[must_use]
    pub const fn flags(&self) -> RegionFlags {
        self.flags
    }

    /// Who reserved it; empty for memory.
    #[must_use]
    pub const fn owner(&self) -> Owner {
        self.owner
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.range)?;
        if let Some(node) = self.node {
            write!(f, " on node {node}")?;
        }
        if !self.flags.is_empty() {
            write!(f, " flags {:#x}", self.flags.bits())?;
        }
        if !self.owner.as_str().is_empty() {
            write!(f, " by {}", self.owner)?;
        }
        Ok(())
    }
}

/// The whole frames of one memory region.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frames {
    /// Their numbers.
    pub range: PfnRange,
    /// Their node, once nodes are known.
    pub node: Option<NodeId>,
}

/// The regions of one array, in ascending order. Reads like a slice whose items are values.
#[derive(Clone, Copy)]
pub struct Regions<'a> {
    entries: &'a [Entry],
    owners: &'a [Owner],
}

impl<'a> Regions<'a> {
    pub(super) const fn new(entries: &'a [Entry], owners: &'a [Owner]) -> Self {
        Self { entries, owners }
    }

    fn region(owners: &[Owner], entry: &Entry) -> Region {
        Region {
            range: entry.range(),
            node: entry.traits.node(),
            flags: RegionFlags::from_bits_truncate(entry.traits.flags),
            owner: owners.get(usize::from(entry.traits.owner())).copied().unwrap_or_default(),
        }
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Region `index`, counted from the lowest address.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Region> {
        self.entries.get(index).map(|entry| Self::region(self.owners, entry))
    }

    /// The lowest one.
    #[must_use]
    pub fn first(&self) -> Option<Region> {
        self.get(0)
    }

    /// The highest one.
    #[must_use]
    pub fn last(&self) -> Option<Region> {
        self.entries.last().map(|entry| Self::region(self.owners, entry))
    }

    /// The region that holds `address`. O(log n). Linux: `memblock_search`, and with it `memblock_is_memory`,
    /// `memblock_is_map_memory` and `memblock_is_reserved`.
    #[must_use]
    pub fn find(&self, address: PhysAddr) -> Option<Region> {
        let at = self.entries.partition_point(|entry| entry.end <= address);
        self.get(at).filter(|region| region.range.contains(address))
    }

    /// The regions that share a byte with `range`, in ascending order; none with an empty one. O(log n). Linux:
    /// `memblock_overlaps_region`, `memblock_is_region_reserved`.
    #[must_use]
    pub fn overlapping(&self, range: PhysRange) -> Self {
        let from = self.entries.partition_point(|entry| entry.end <= range.start());
        let to = self.entries.partition_point(|entry| entry.start < range.end());
        // An empty range inside a region lies behind its start and before its end, yet shares no byte with it.
        let to = if range.is_empty() { from } else { to };
        Self { entries: self.entries.get(from..to).unwrap_or_default(), owners: self.owners }
    }

    /// All of them, from either end. Linux: `for_each_mem_range`, `for_each_reserved_mem_range` and their reverses.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Region> + ExactSizeIterator + Clone + use<'a> {
        let owners = self.owners;
        self.entries.iter().map(move |entry| Self::region(owners, entry))
    }

    /// The whole frames in each region, where there is one; only of regions on `node` when one is given. From either
    /// end, each in O(1). Linux: `for_each_mem_pfn_range`.
    pub fn frames(
        &self,
        node: Option<NodeId>,
        page_shift: u32,
    ) -> impl DoubleEndedIterator<Item = Frames> + Clone + use<'a> {
        let chosen = self.entries.iter().filter(move |entry| node.is_none() || entry.traits.node() == node);
        let frames = chosen
            .map(move |entry| Frames { range: PfnRange::inside(entry.range(), page_shift), node: entry.traits.node() });
        frames.filter(|frames| !frames.range.is_empty())
    }

    /// From the first byte of the lowest to the last byte of the highest; empty when there is no region. O(1). Linux:
    /// `memblock_start_of_DRAM`, `memblock_end_of_DRAM`.
    #[must_use]
    pub fn span(&self) -> PhysRange {
        match (self.entries.first(), self.entries.last()) {
            (Some(first), Some(last)) => PhysRange::new(first.start, last.end),
            _ => PhysRange::EMPTY,
        }
    }

    /// Bytes of all of them together. O(n).
    #[must_use]
    pub fn size(&self) -> u64 {
        // They do not overlap, so the sum fits.
        self.entries.iter().map(|entry| entry.range().size()).sum()
    }
}

impl<'a> IntoIterator for Regions<'a> {
    type Item = Region;
    type IntoIter = RegionIter<'a>;

    fn into_iter(self) -> RegionIter<'a> {
        RegionIter { regions: self }
    }
}

impl<'a> IntoIterator for &Regions<'a> {
    type Item = Region;
    type IntoIter = RegionIter<'a>;

    fn into_iter(self) -> RegionIter<'a> {
        RegionIter { regions: *self }
    }
}

impl fmt::Debug for Regions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// What `for region in memblock.memory()` runs on.
#[derive(Clone, Debug)]
pub struct RegionIter<'a> {
    regions: Regions<'a>,
}

impl Iterator for RegionIter<'_> {
    type Item = Region;

    fn next(&mut self) -> Option<Region> {
        let (first, rest) = self.regions.entries.split_first()?;
        self.regions.entries = rest;
        Some(Regions::region(self.regions.owners, first))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.regions.len(), Some(self.regions.len()))
    }
}

impl DoubleEndedIterator for RegionIter<'_> {
    fn next_back(&mut self) -> Option<Region> {
        let (last, rest) = self.regions.entries.split_last()?;
        self.regions.entries = rest;
        Some(Regions::region(self.regions.owners, last))
    }
}

impl ExactSizeIterator for RegionIter<'_> {}
