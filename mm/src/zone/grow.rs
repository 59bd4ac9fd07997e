//! Memory that arrives after zones were laid out and told: what was plugged in and no map names.
//!
//! [`Zones::add_memory`] makes it memory of a node and of zones, and orders zonelists anew, so that the page allocator
//! takes it over like all other memory. It comes block by block, and each block goes to a zone by the rule of
//! [`Placement`]: never by the limits of kinds, since what arrives late is beyond what devices were promised.
//! A zone that grows spans from its first to its last page as ever, other zones inside: where kernel memory is plugged
//! in above a Movable zone, Normal spans over that. So a frame's zone is no longer a matter of spans: what was there at
//! boot belongs to the zone that spanned it then, and what was added is listed, by address.
//!
//! Memblock hands nothing out of memory that lies outside of what [`Memblock::set_mapped`] named, so tables made from
//! now on lie in memory that was there at boot; the page allocator knows by the list that the new memory is mapped.
//!
//! Cost: O(regions + blocks + zones), and the zonelists. Linux: `add_memory_resource`, `zone_for_pfn_range`,
//! `move_pfn_range_to_zone` in mm/memory_hotplug.c, `memory_block_online` in drivers/base/memory.c.
//!
//! [`Memblock::set_mapped`]: crate::memblock::Memblock::set_mapped

#![forbid(unsafe_code)]

use super::lists::Lists;
use super::{MovableNode, NodeZones, Share, ZoneIndex, ZoneKind, ZoneSpan, ZoneTable, Zones};
use crate::addr::{NodeId, Pfn, PfnRange, PhysRange};
use crate::arch::{PageFormat, PhysMap};
use crate::machine::Owner;
use crate::memblock::{BootSlice, Memblock, MemblockError, NodeWish, OutOfMemory, RegionFlags};
use crate::paging::MappedRam;
use core::fmt;
use core::mem;

/// Which zone takes a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placement {
    /// The one whose span it meets, if that is of kernel zones or of Movable and not of both; else as `Kernel`, or,
    /// where what can be taken out is to be Movable, as `Movable`.
    Default(MovableNode),
    /// The lowest of DMA and DMA32 whose span it meets, else Normal.
    Kernel,
    /// Movable.
    Movable,
}

/// Memory that was added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Added {
    /// Its frames.
    pub frames: PfnRange,
    /// Its node.
    pub node: NodeId,
    /// The kind of its zone.
    pub kind: ZoneKind,
}

impl Added {
    const UNUSED: Self = Self { frames: PfnRange::EMPTY, node: NodeId::new(0), kind: ZoneKind::Normal };
}

/// Why memory was not added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GrowError {
    /// The range has no byte, or does not start and end on pages.
    Misaligned(PhysRange),
    /// This part is memory already.
    Memory(PhysRange),
    /// Somebody holds this part.
    Reserved(PhysRange),
    /// Nobody has named such a node.
    NoNode(NodeId),
    /// Regions cannot hold it.
    Regions(MemblockError),
    /// There was no memory for larger tables.
    Table(OutOfMemory),
}

impl fmt::Display for GrowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misaligned(range) => write!(f, "{range} does not start and end on pages"),
            Self::Memory(range) => write!(f, "{range} is memory already"),
            Self::Reserved(range) => write!(f, "{range} is reserved"),
            Self::NoNode(node) => write!(f, "there is no node {node}"),
            Self::Regions(error) => write!(f, "memblock: {error}"),
            Self::Table(error) => write!(f, "the tables of zones cannot be placed: {error}"),
        }
    }
}

impl core::error::Error for GrowError {}

impl From<OutOfMemory> for GrowError {
    fn from(error: OutOfMemory) -> Self {
        Self::Table(error)
    }
}

/// What was added, and what zones were before.
pub(super) struct Grown<A> {
    /// By address.
    added: BootSlice<A, Added>,
    /// Zones as they were laid out; none as long as nothing was added.
    boot: BootSlice<A, ZoneSpan>,
}

impl<A: PhysMap> Grown<A> {
    pub(super) fn nothing(access: A) -> Self {
        Self { added: BootSlice::empty(access), boot: BootSlice::empty(access) }
    }
}

/// What the zones of one node span, by kind, while blocks come.
#[derive(Clone, Copy)]
struct Spans([PfnRange; ZoneKind::COUNT]);

impl Spans {
    fn of<A>(table: &ZoneTable<A>, node: NodeId) -> Self {
        let mut spans = Self([PfnRange::EMPTY; ZoneKind::COUNT]);
        for (_, zone) in table.zones_of(node) {
            spans.extend(zone.kind, zone.range);
        }
        spans
    }

    fn get(&self, kind: ZoneKind) -> PfnRange {
        self.0.get(kind.index()).copied().unwrap_or(PfnRange::EMPTY)
    }

    fn extend(&mut self, kind: ZoneKind, frames: PfnRange) {
        if let Some(span) = self.0.get_mut(kind.index()) {
            *span = hull(*span, frames);
        }
    }

    /// The zone for a block.
    fn zone_for(&self, block: PfnRange, placement: Placement) -> ZoneKind {
        let meets = |kind| !self.get(kind).intersection(block).is_empty();
        let kernel = [ZoneKind::Dma, ZoneKind::Dma32].into_iter().find(|&kind| meets(kind));
        let kernel = kernel.unwrap_or(ZoneKind::Normal);
        match placement {
            Placement::Kernel => kernel,
            Placement::Movable => ZoneKind::Movable,
            Placement::Default(movable_node) => match (meets(kernel), meets(ZoneKind::Movable)) {
                (false, true) => ZoneKind::Movable,
                (true, false) => kernel,
                _ if movable_node == MovableNode::Honour => ZoneKind::Movable,
                _ => kernel,
            },
        }
    }

    /// Lets `frames` come, in blocks of `block` frames; tells `each` of blocks that go to one zone, in one piece.
    fn take(&mut self, frames: PfnRange, block: u64, placement: Placement, each: &mut dyn FnMut(ZoneKind, PfnRange)) {
        let (mut piece, mut last) = (PfnRange::new(frames.start(), frames.start()), None);
        while piece.end() < frames.end() {
            let end = piece.end().as_u64().saturating_add(1).checked_next_multiple_of(block.max(1));
            let end = end.map_or(frames.end(), Pfn::new).min(frames.end());
            let next = PfnRange::new(piece.end(), end);
            let kind = self.zone_for(next, placement);
            self.extend(kind, next);
            if let Some(last) = last.filter(|&last| last != kind) {
                each(last, piece);
                piece = next;
            }
            piece = PfnRange::new(piece.start(), end);
            last = Some(kind);
        }
        if let Some(last) = last {
            each(last, piece);
        }
    }
}

fn hull(one: PfnRange, other: PfnRange) -> PfnRange {
    match (one.is_empty(), other.is_empty()) {
        (true, _) => other,
        (false, true) => one,
        (false, false) => PfnRange::new(one.start().min(other.start()), one.end().max(other.end())),
    }
}

impl<A: PhysMap + PageFormat> Zones<A> {
    /// Adds memory to `node`, in blocks of `block_bytes`, and orders zonelists anew.
    ///
    /// # Errors
    /// [`GrowError`]. Memory, nodes and zones are then as they were; what larger tables took may stay reserved.
    pub fn add_memory(
        &mut self,
        ram: MappedRam,
        node: NodeId,
        placement: Placement,
        block_bytes: u64,
    ) -> Result<(), GrowError> {
        let range = ram.range();
        self.room_for(range)?;
        let frames = PfnRange::inside(range, A::PAGE_SHIFT);
        let before = self.nodes.grow(node, frames).ok_or(GrowError::NoNode(node))?;
        let grown = self.grown_table(frames, node, placement, block_bytes >> A::PAGE_SHIFT);
        let grown = grown.and_then(|table| self.join(range, node).map(|()| table));
        match grown {
            Ok(table) => {
                self.replace(table);
                Ok(())
            }
            Err(error) => {
                self.nodes.shrink(before);
                Err(error)
            }
        }
    }

    /// Whether `range` could be added: whether it is whole pages, no memory, and nobody's.
    ///
    /// # Errors
    /// Why not.
    pub fn room_for(&self, range: PhysRange) -> Result<(), GrowError> {
        if range.is_empty() || range.shrink_to(A::PAGE_SIZE) != range {
            return Err(GrowError::Misaligned(range));
        }
        let memblock = self.nodes.memblock();
        if let Some(there) = memblock.memory().overlapping(range).first() {
            return Err(GrowError::Memory(there.range().intersection(range)));
        }
        if let Some(held) = memblock.reserved().overlapping(range).first() {
            return Err(GrowError::Reserved(held.range().intersection(range)));
        }
        Ok(())
    }

    /// Tables with `frames` in them. The node has grown by them already.
    fn grown_table(
        &mut self,
        frames: PfnRange,
        node: NodeId,
        placement: Placement,
        block: u64,
    ) -> Result<ZoneTable<A>, GrowError> {
        let (mut spans, mut pieces) = (Spans::of(&self.table, node), 0);
        spans.take(frames, block, placement, &mut |_, _| pieces += 1);

        let owner = Owner::new("zone tables");
        let (limit, known) = (self.nodes.id_limit(), self.table.added().len());
        let count = self.nodes.iter().map(|other| self.kinds_of(other.id, node, &spans).count()).sum();
        let memblock = self.nodes.memblock_mut();
        let mut zones = memblock.alloc_filled(count, ZoneSpan::UNUSED, NodeWish::Any, owner)?;
        let mut table = memblock.alloc_filled(limit, NodeZones::NONE, NodeWish::Any, owner)?;
        let mut added = memblock.alloc_filled(known + pieces, Added::UNUSED, NodeWish::Any, owner)?;

        let mut used = 0;
        for other in self.nodes.iter() {
            let first = used;
            let slots = zones.iter_mut().skip(usize::from(first));
            for (kind, slot) in self.kinds_of(other.id, node, &spans).zip(slots) {
                let grown = if other.id == node { spans.get(kind) } else { PfnRange::EMPTY };
                let new =
                    ZoneSpan { node: other.id, kind, range: PfnRange::EMPTY, share: Share::Everything, present: 0 };
                let old = self.table.zones_of(other.id).map(|(_, zone)| *zone).find(|zone| zone.kind == kind);
                let zone = old.unwrap_or(new);
                *slot = ZoneSpan { range: hull(zone.range, grown), ..zone };
                used += 1;
            }
            if let Some(entry) = table.get_mut(other.id.index()) {
                let movable = self.table.movable_start(other.id);
                *entry = NodeZones { first, count: used - first, movable, ..*entry };
            }
        }
        super::rank(&self.nodes, &mut table);

        added.iter_mut().zip(self.table.added()).for_each(|(slot, old)| *slot = *old);
        let mut slots = added.iter_mut().skip(known);
        Spans::of(&self.table, node).take(frames, block, placement, &mut |kind, frames| {
            if let Some(slot) = slots.next() {
                *slot = Added { frames, node, kind };
            }
            for zone in zones.iter_mut().filter(|zone| zone.node == node && zone.kind == kind) {
                zone.present += frames.count();
            }
        });
        added.sort_unstable_by_key(|added| added.frames.start());

        let access = self.nodes.memblock().access();
        let grown = Grown { added, boot: BootSlice::empty(access) };
        let ZoneTable { ranges, mirroring, .. } = self.table;
        let mut table = ZoneTable { spans: zones, nodes: table, ranges, mirroring, lists: Lists::none(access), grown };
        let super::ZoneError::Table(error) = match Lists::build(&mut self.nodes, &table) {
            Ok(lists) => {
                table.lists = lists;
                return Ok(table);
            }
            Err(error) => error,
        };
        Err(GrowError::Table(error))
    }

    /// The kinds of zones that a node will have when `node` spans `spans`.
    fn kinds_of(&self, other: NodeId, node: NodeId, spans: &Spans) -> impl Iterator<Item = ZoneKind> {
        ZoneKind::ALL.into_iter().filter(move |&kind| {
            let grown = other == node && !spans.get(kind).is_empty();
            grown || self.table.zones_of(other).any(|(_, zone)| zone.kind == kind)
        })
    }

    /// Makes `range` memory of `node`.
    fn join(&mut self, range: PhysRange, node: NodeId) -> Result<(), GrowError> {
        let memblock = self.nodes.memblock_mut();
        let joined = memblock.add(range).and_then(|()| memblock.set_node(range, node));
        joined.map_err(|error| {
            // What was just put together comes apart in the same places; if not, it is memory of no zone.
            let _ = memblock.remove(range);
            GrowError::Regions(error)
        })
    }

    /// Puts larger tables in place of those that are there.
    fn replace(&mut self, table: ZoneTable<A>) {
        let old = mem::replace(&mut self.table, table);
        let memblock = self.nodes.memblock_mut();
        if old.grown.boot.is_empty() {
            self.table.grown.boot = old.spans;
        } else {
            self.table.grown.boot = old.grown.boot;
            memblock.release(old.spans);
        }
        memblock.release(old.nodes);
        memblock.release(old.grown.added);
        old.lists.release(memblock);
    }
}

impl<A> ZoneTable<A> {
    /// Memory that was added after zones were laid out, by address.
    #[must_use]
    pub fn added(&self) -> &[Added] {
        &self.grown.added
    }

    /// What was added and holds `pfn`.
    #[must_use]
    pub fn added_at(&self, pfn: Pfn) -> Option<Added> {
        let at = self.added().partition_point(|added| added.frames.end() <= pfn);
        self.added().get(at).copied().filter(|added| added.frames.contains(pfn))
    }

    /// Whether all of `frames` was added.
    #[must_use]
    pub fn was_added(&self, frames: PfnRange) -> bool {
        let mut at = frames.start();
        while at < frames.end() {
            match self.added_at(at) {
                Some(added) => at = added.frames.end(),
                None => return false,
            }
        }
        true
    }

    /// Cuts `frames`, memory of `node` with these flags, into parts of its zones, by address.
    pub(crate) fn parts(
        &self,
        node: NodeId,
        flags: RegionFlags,
        frames: PfnRange,
        each: &mut dyn FnMut(ZoneIndex, PfnRange),
    ) {
        let mut at = frames.start();
        let first = self.added().partition_point(|added| added.frames.end() <= at);
        let added = self.added().get(first..).unwrap_or_default();
        for added in added.iter().take_while(|added| added.frames.start() < frames.end()) {
            let part = added.frames.intersection(frames);
            self.boot_parts(node, flags, PfnRange::new(at, part.start()), each);
            if let Some(zone) = self.zone_of_kind(added.node, added.kind) {
                each(zone, part);
            }
            at = part.end();
        }
        self.boot_parts(node, flags, PfnRange::new(at, frames.end()), each);
    }

    /// As [`ZoneTable::parts`], of memory that was there when zones were laid out.
    fn boot_parts(
        &self,
        node: NodeId,
        flags: RegionFlags,
        frames: PfnRange,
        each: &mut dyn FnMut(ZoneIndex, PfnRange),
    ) {
        for zone in self.boot_spans().iter().filter(|zone| zone.node == node) {
            let part = zone.part_of(frames, flags);
            if !part.is_empty()
                && let Some(index) = self.zone_of_kind(node, zone.kind)
            {
                each(index, part);
            }
        }
    }

    /// Zones as they were laid out.
    pub(super) fn boot_spans(&self) -> &[ZoneSpan] {
        if self.grown.boot.is_empty() { &self.spans } else { &self.grown.boot }
    }

    /// The zone of a kind on a node.
    pub(super) fn zone_of_kind(&self, node: NodeId, kind: ZoneKind) -> Option<ZoneIndex> {
        self.zones_of(node).find(|(_, zone)| zone.kind == kind).map(|(number, _)| number)
    }
}

impl<A: PhysMap> Lists<A> {
    /// Gives the memory of the lists back.
    fn release(self, memblock: &mut Memblock<A>) {
        let (orders, zones) = self.into_slices();
        memblock.release(orders);
        memblock.release(zones);
    }
}
