//! Zones: each node's memory, cut by what it can be used for.
//!
//! [`Zones::lay_out`] takes the nodes over and cuts each node's span at the [`ZoneLimits`] and where the command line
//! wants it Movable; [`Zones::build_zonelists`] says in which order an allocation goes through zones. The page
//! allocator takes it from there.
//!
//! A zone *spans* its limits as far as its node's span goes; it is *populated* when it has a page *present*. Spans of
//! different nodes may overlap where nodes interleave; those of one node do not, unless the kernel keeps to mirrored
//! memory ([`Share`]): then each of two zones has its part of the memory in both spans. Zones that span something are
//! numbered ([`ZoneIndex`]) by node, then by kind, so that a node's zones are neighbours.
//!
//! | file | holds |
//! |---|---|
//! | `limits` | kinds, and where each architecture draws the borders |
//! | `holes` | pages that a memory map will have although there is no memory |
//! | `movable` | where each node's Movable zone starts |
//! | `lists` | fallback orders and zonelists |
//! | `totals` | sums of pages, as boot lines show them |
//! | `grow` | memory that arrives later |
//! | `watermark` | watermarks, lowmem reserves, per-CPU set sizes, as arithmetic on counts |
//!
//! Costs: O(regions + zones) to lay out, O(n² log n) in nodes for the lists; 32 bytes a zone, 24 a node, and for the
//! lists 2 bytes a node and zone. Linux: `free_area_init`, `calculate_node_totalpages`, `build_all_zonelists` in
//! mm/page_alloc.c (6.1).

#![forbid(unsafe_code)]

mod grow;
mod holes;
mod limits;
mod lists;
mod movable;
pub mod totals;
pub mod watermark;

pub use grow::{Added, GrowError, Placement};
pub use holes::Unavailable;
pub use limits::{LowZones, ZoneKind, ZoneLimits};
pub use movable::{Amount, Mirroring, MovableRequest, Share};

pub use crate::memblock::MovableNode;

use crate::addr::{NodeId, Pfn, PfnRange, PhysAddr, PhysRange};
use crate::arch::{PageFormat, PhysMap};
use crate::machine::Owner;
use crate::memblock::{BootSlice, Memblock, NodeWish, OutOfMemory, RegionFlags};
use crate::numa::{NodeSet, Nodes, Topology};
use core::fmt;
use core::ops::Deref;
use grow::Grown;
use lists::Lists;
use movable::Movable;

/// A zone's number: its place in [`ZoneTable::spans`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
#[repr(transparent)]
pub struct ZoneIndex(u16);

impl ZoneIndex {
    /// The zone with this number.
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn as_u16(self) -> u16 {
        self.0
    }

    /// The number as an index into a table of zones.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ZoneSpan {
    /// Its node.
    pub node: NodeId,
    /// Its kind.
    pub kind: ZoneKind,
    /// Its frames, holes and other nodes' memory inside.
    pub range: PfnRange,
    /// Which memory among them it has.
    pub share: Share,
    /// Pages of that memory.
    pub present: u64,
}

impl ZoneSpan {
    const UNUSED: Self = Self {
        node: NodeId::new(0),
        kind: ZoneKind::Dma,
        range: PfnRange::EMPTY,
        share: Share::Everything,
        present: 0,
    };

    /// The part of `frames`, memory of its node with these flags, that is the zone's.
    #[must_use]
    pub fn part_of(&self, frames: PfnRange, flags: RegionFlags) -> PfnRange {
        self.share.of(self.range.intersection(frames), flags)
    }

    /// Whether it has memory.
    #[must_use]
    pub const fn is_populated(&self) -> bool {
        self.present > 0
    }
}

/// Why zones could not be laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ZoneError {
    /// There was no memory for a table.
    Table(OutOfMemory),
}

impl fmt::Display for ZoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(error) => write!(f, "the tables of zones cannot be placed: {error}"),
        }
    }
}

impl core::error::Error for ZoneError {}

impl From<OutOfMemory> for ZoneError {
    fn from(error: OutOfMemory) -> Self {
        Self::Table(error)
    }
}

/// A node's part of the tables.
#[derive(Clone, Copy)]
struct NodeZones {
    /// Its first zone …
    first: u16,
    /// … and how many it has.
    count: u16,
    /// Its place among the nodes that are online or possible.
    rank: u16,
    /// Where its Movable zone starts.
    movable: Option<Pfn>,
}

impl NodeZones {
    const NONE: Self = Self { first: 0, count: 0, rank: u16::MAX, movable: None };
}

/// The zones themselves and the lists over them: what stays when memblock is gone.
pub struct ZoneTable<A> {
    spans: BootSlice<A, ZoneSpan>,
    nodes: BootSlice<A, NodeZones>,
    ranges: [PfnRange; ZoneKind::COUNT],
    mirroring: Mirroring,
    lists: Lists<A>,
    grown: Grown<A>,
}

/// The machine's nodes and zones. Reads like a [`ZoneTable`].
pub struct Zones<A> {
    nodes: Nodes<A>,
    limits: ZoneLimits,
    table: ZoneTable<A>,
}

impl<A: PhysMap + PageFormat> Zones<A> {
    /// Cuts every node into zones.
    ///
    /// # Errors
    /// [`ZoneError::Table`] when there is no mapped memory for the tables.
    pub fn lay_out(nodes: Nodes<A>, limits: ZoneLimits, request: MovableRequest) -> Result<Self, ZoneError> {
        let mut nodes = nodes;
        let owner = Owner::new("zone tables");
        let memory = PfnRange::inside(nodes.memblock().memory().span(), A::PAGE_SHIFT);
        let ranges = limits.resolve(memory, A::PAGE_SHIFT);
        let cut = Cut { ranges, movable: Movable::plan(&mut nodes, &ranges, request)? };
        let count = nodes.iter().map(|node| cut.zones(node.id, node.span).count()).sum();
        let limit = nodes.id_limit();
        let memblock = nodes.memblock_mut();
        let mut spans = memblock.alloc_filled(count, ZoneSpan::UNUSED, NodeWish::Any, owner)?;
        let mut table = memblock.alloc_filled(limit, NodeZones::NONE, NodeWish::Any, owner)?;
        let mut used = 0;
        for node in nodes.iter() {
            let first = used;
            for (span, slot) in cut.zones(node.id, node.span).zip(spans.iter_mut().skip(usize::from(first))) {
                *slot = span;
                used += 1;
            }
            if let Some(entry) = table.get_mut(node.id.index()) {
                *entry = NodeZones { first, count: used - first, movable: cut.movable.start(node.id), ..*entry };
            }
        }
        rank(&nodes, &mut table);
        let lists = Lists::none(nodes.memblock().access());
        let mirroring = cut.movable.mirroring;
        cut.movable.release(nodes.memblock_mut());
        let grown = Grown::nothing(nodes.memblock().access());
        let table = ZoneTable { spans, nodes: table, ranges, mirroring, lists, grown };
        let mut zones = Self { nodes, limits, table };
        zones.count_present();
        Ok(zones)
    }

    fn count_present(&mut self) {
        for region in self.nodes.memblock().memory() {
            let pages = PfnRange::inside(region.range(), A::PAGE_SHIFT);
            let Some(node) = region.node() else { continue };
            for zone in self.table.spans_of_mut(node) {
                zone.present += zone.part_of(pages, region.flags()).count();
            }
        }
    }

    /// The kinds that have limits in this kernel, from the lowest.
    pub fn limited_kinds(&self) -> impl Iterator<Item = ZoneKind> {
        self.limits.kinds()
    }

    /// Orders nodes and zones for every node.
    ///
    /// # Errors
    /// [`ZoneError::Table`] when there is no mapped memory for the lists.
    pub fn build_zonelists(&mut self) -> Result<(), ZoneError> {
        self.table.lists = Lists::build(&mut self.nodes, &self.table)?;
        Ok(())
    }

    /// Pages that are there for use, as 'Total pages' counts them: present less what a memory map with
    /// `page_struct_bytes` a page takes; on x86, less what is reserved of the memory below 16 MiB.
    #[must_use]
    pub fn total_pages(&self, page_struct_bytes: u64) -> u64 {
        let (low, lowest) = (self.low_reservations(), self.limits.kinds().next());
        let of_zone = |zone: &ZoneSpan| {
            let map = totals::memmap_pages(zone.range.count(), zone.present, page_struct_bytes, A::PAGE_SHIFT);
            totals::usable_pages(zone.present, map, if Some(zone.kind) == lowest { low } else { 0 })
        };
        self.table.spans.iter().map(of_zone).sum()
    }

    /// Pages of the lowest memory that are reserved, where the architecture counts them: the lowest zone goes without.
    fn low_reservations(&self) -> u64 {
        let low = PhysRange::new(PhysAddr::new(0), self.limits.uncounted_below);
        let memblock = self.nodes.memblock();
        let pages = |range: PhysRange| PfnRange::inside(range.intersection(low), A::PAGE_SHIFT).count();
        let present: u64 = memblock.memory().overlapping(low).iter().map(|region| pages(region.range())).sum();
        let free: u64 = memblock.free_ranges_within(low).map(|free| pages(free.range)).sum();
        present - free
    }
}

/// Numbers the nodes that have lists.
fn rank<A>(nodes: &Topology<A>, table: &mut [NodeZones]) {
    for (node, rank) in nodes.possible().iter().zip(0..) {
        if let Some(entry) = table.get_mut(node.index()) {
            entry.rank = rank;
        }
    }
}

/// How a node's span is cut.
struct Cut<A> {
    ranges: [PfnRange; ZoneKind::COUNT],
    movable: Movable<A>,
}

impl<A: PhysMap + PageFormat> Cut<A> {
    /// The zones that span something on a node.
    fn zones(&self, node: NodeId, span: PfnRange) -> impl Iterator<Item = ZoneSpan> {
        let movable = self.movable.start(node);
        let shared = self.movable.keeps_mirrored();
        let cut = move |(kind, range): (ZoneKind, PfnRange)| {
            let (range, share) = match (kind, movable) {
                (ZoneKind::Movable, None) => (PfnRange::EMPTY, Share::Everything),
                (ZoneKind::Movable, Some(start)) => {
                    let share = if shared { Share::Unmirrored } else { Share::Everything };
                    (PfnRange::new(start.max(span.start()), span.end()), share)
                }
                (_, Some(start)) if shared => (range.intersection(span), Share::MirroredFrom(start)),
                (_, Some(start)) => {
                    let kernel = PfnRange::new(span.start(), start.min(span.end()));
                    (range.intersection(kernel), Share::Everything)
                }
                (_, None) => (range.intersection(span), Share::Everything),
            };
            (!range.is_empty()).then_some(ZoneSpan { node, kind, range, share, present: 0 })
        };
        ZoneKind::ALL.into_iter().zip(self.ranges).filter_map(cut)
    }
}

impl<A> Zones<A> {
    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> &Nodes<A> {
        &self.nodes
    }

    /// The nodes, to allocate near one of them.
    pub fn nodes_mut(&mut self) -> &mut Nodes<A> {
        &mut self.nodes
    }

    /// Memory, as the nodes hold it.
    #[must_use]
    pub fn memblock(&self) -> &Memblock<A> {
        self.nodes.memblock()
    }

    /// Memory, to allocate from and to reserve.
    pub fn memblock_mut(&mut self) -> &mut Memblock<A> {
        self.nodes.memblock_mut()
    }

    /// Memory, nodes and zones, each by itself, for who takes memory over.
    #[must_use]
    pub fn into_parts(self) -> (Memblock<A>, Topology<A>, ZoneTable<A>) {
        let (memblock, topology) = self.nodes.into_parts();
        (memblock, topology, self.table)
    }
}

impl<A> Deref for Zones<A> {
    type Target = ZoneTable<A>;

    fn deref(&self) -> &ZoneTable<A> {
        &self.table
    }
}

impl<A> ZoneTable<A> {
    /// The zones that span something, by node, then by kind.
    #[must_use]
    pub fn spans(&self) -> &[ZoneSpan] {
        &self.spans
    }

    /// The zone with this number.
    #[must_use]
    pub fn span(&self, zone: ZoneIndex) -> Option<&ZoneSpan> {
        self.spans.get(zone.index())
    }

    /// A node's zones with their numbers, by kind.
    pub fn zones_of(&self, node: NodeId) -> impl DoubleEndedIterator<Item = (ZoneIndex, &ZoneSpan)> {
        let zones = self.nodes.get(node.index()).copied().unwrap_or(NodeZones::NONE);
        let numbers = (zones.first..zones.first + zones.count).map(ZoneIndex);
        numbers.filter_map(|number| Some((number, self.span(number)?)))
    }

    fn spans_of_mut(&mut self, node: NodeId) -> &mut [ZoneSpan] {
        let zones = self.nodes.get(node.index()).copied().unwrap_or(NodeZones::NONE);
        let range = usize::from(zones.first)..usize::from(zones.first) + usize::from(zones.count);
        self.spans.get_mut(range).unwrap_or_default()
    }

    /// The zone of `node` that spans `pfn`; of two (see [`Share`]) the lower. Costs at most four comparisons.
    #[must_use]
    pub fn zone_of(&self, node: NodeId, pfn: Pfn) -> Option<ZoneIndex> {
        match self.added_at(pfn) {
            Some(added) => self.zone_of_kind(added.node, added.kind),
            None => {
                let zone = self.boot_spans().iter().find(|zone| zone.node == node && zone.range.contains(pfn))?;
                self.zone_of_kind(node, zone.kind)
            }
        }
    }

    /// The zone of `node` that has `pfn`, memory with these flags.
    #[must_use]
    pub fn zone_holding(&self, node: NodeId, pfn: Pfn, flags: RegionFlags) -> Option<ZoneIndex> {
        let mut found = None;
        self.parts(node, flags, PfnRange::new(pfn, pfn.saturating_add(1)), &mut |zone, _| found = Some(zone));
        found
    }

    /// The frames that a kind may have on this machine, from the first to the last page of memory; holes inside.
    #[must_use]
    pub fn range(&self, kind: ZoneKind) -> PfnRange {
        self.ranges.get(kind.index()).copied().unwrap_or(PfnRange::EMPTY)
    }

    /// Where the Movable zone of `node` starts, if it has one.
    #[must_use]
    pub fn movable_start(&self, node: NodeId) -> Option<Pfn> {
        self.nodes.get(node.index())?.movable
    }

    /// What became of the wish to keep the kernel in mirrored memory.
    #[must_use]
    pub fn mirroring(&self) -> Mirroring {
        self.mirroring
    }

    /// The nodes with memory that is not Movable.
    #[must_use]
    pub fn with_normal_memory(&self) -> NodeSet {
        let normal = self.spans.iter().filter(|zone| zone.is_populated() && zone.kind != ZoneKind::Movable);
        normal.map(|zone| zone.node).collect()
    }

    /// The highest kind of zone, Movable apart, that has memory: the one whose allocations memory policies steer.
    #[must_use]
    pub fn policy_zone(&self) -> ZoneKind {
        let populated = self.spans.iter().filter(|zone| zone.is_populated() && zone.kind != ZoneKind::Movable);
        populated.map(|zone| zone.kind).max().unwrap_or(ZoneKind::Dma)
    }

    /// Nodes in the order in which `node` asks them for memory, itself first. Empty before
    /// [`Zones::build_zonelists`], and for a node that nobody has named.
    #[must_use]
    pub fn fallback_order(&self, node: NodeId) -> &[NodeId] {
        self.rank(node).map_or(&[], |rank| self.lists.order(rank))
    }

    /// The zones that an allocation on `node` goes through when `kind` is the highest it may use. Empty before
    /// [`Zones::build_zonelists`].
    #[must_use]
    pub fn zonelist(&self, node: NodeId, kind: ZoneKind) -> &[ZoneIndex] {
        self.rank(node).map_or(&[], |rank| self.lists.general(rank, kind))
    }

    /// As [`ZoneTable::zonelist`], without other nodes' zones: the first part of that list.
    #[must_use]
    pub fn this_node_zonelist(&self, node: NodeId, kind: ZoneKind) -> &[ZoneIndex] {
        let own = self.zones_of(node).filter(|(_, zone)| zone.is_populated() && zone.kind <= kind).count();
        self.zonelist(node, kind).get(..own).unwrap_or_default()
    }

    fn rank(&self, node: NodeId) -> Option<usize> {
        self.nodes.get(node.index()).filter(|zones| zones.rank != u16::MAX).map(|zones| usize::from(zones.rank))
    }
}

impl<A> fmt::Debug for ZoneTable<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.spans.iter()).finish()
    }
}

impl<A> fmt::Debug for Zones<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zones").field("nodes", &self.nodes).field("zones", &self.table).finish()
    }
}
