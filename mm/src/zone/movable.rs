//! Where the Movable zone of each node starts.
//!
//! Memory from that frame up is only for what can be moved away, so that it can be given back whole. Three wishes ask
//! for it, the first that is there decides:
//!
//! - `movable_node`: a node's Movable zone starts at its lowest hot-pluggable memory;
//! - `kernelcore=mirror`: at its lowest memory above 4 GiB that is not mirrored; the kernel has the mirrored memory,
//!   also where it lies above ([`Share`]);
//! - `kernelcore=`, `movablecore=`: so much memory is the kernel's, evenly from all nodes. Each gets a share from
//!   below; what lies under the highest kind of zone is the kernel's anyway and counts. What small nodes could not give
//!   is asked of the others, in passes with one node fewer each, so that the last few pages of a wish may stay unmet.
//!
//! Starts are moved up to a boundary of the largest blocks; one that leaves a node nothing is none. Costs: O(regions
//! log regions) and O(regions) a pass; 4 bytes a region while it goes on. Linux: `find_zone_movable_pfns_for_nodes`,
//! `adjust_zone_range_for_zone_movable` in mm/page_alloc.c (6.1).

#![forbid(unsafe_code)]

use super::{ZoneError, ZoneKind};
use crate::addr::{NodeId, Pfn, PfnRange};
use crate::arch::{PageFormat, PhysMap};
use crate::machine::Owner;
use crate::memblock::{BootSlice, Memblock, MovableNode, NodeWish, RegionFlags};
use crate::numa::Nodes;

/// How much memory a parameter asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Amount {
    /// So many bytes.
    Bytes(u64),
    /// So many hundredths of all pages.
    Percent(u8),
    /// What the firmware says is mirrored.
    Mirror,
}

/// What the command line says of the Movable zone.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct MovableRequest {
    /// At least so much is for the kernel (`kernelcore=`).
    pub kernelcore: Option<Amount>,
    /// At least so much is Movable (`movablecore=`).
    pub movablecore: Option<Amount>,
    /// Whether hot-pluggable memory is Movable.
    pub movable_node: MovableNode,
}

/// Which of the memory among its frames a zone has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Share {
    /// All of it.
    Everything,
    /// All below this frame; from there on what is mirrored.
    MirroredFrom(Pfn),
    /// What is not mirrored.
    Unmirrored,
}

impl Share {
    /// The part of `frames` of a region with these flags that the zone has.
    #[must_use]
    pub fn of(self, frames: PfnRange, flags: RegionFlags) -> PfnRange {
        match (self, flags.contains(RegionFlags::MIRROR)) {
            (Self::Everything, _) | (Self::MirroredFrom(_), true) | (Self::Unmirrored, false) => frames,
            (Self::MirroredFrom(start), false) => frames.intersection(PfnRange::new(Pfn::new(0), start)),
            (Self::Unmirrored, true) => PfnRange::EMPTY,
        }
    }
}

/// What `kernelcore=mirror` came to.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Mirroring {
    /// Nobody asked for it.
    #[default]
    NotAsked,
    /// No memory is mirrored: the wish is ignored.
    Impossible,
    /// All memory below 4 GiB is mirrored.
    Whole,
    /// Some memory below 4 GiB is not mirrored and the kernel's nevertheless.
    Partial,
}

/// Where Movable zones start.
pub(super) struct Movable<A> {
    /// By node number.
    starts: BootSlice<A, Option<Pfn>>,
    pub(super) mirroring: Mirroring,
}

impl<A: PhysMap + PageFormat> Movable<A> {
    /// Answers `request`. `ranges` are the frames of each kind of zone.
    pub(super) fn plan(
        nodes: &mut Nodes<A>,
        ranges: &[PfnRange; ZoneKind::COUNT],
        request: MovableRequest,
    ) -> Result<Self, ZoneError> {
        let (limit, owner) = (nodes.id_limit(), Owner::new("Movable zones"));
        let starts = nodes.memblock_mut().alloc_filled(limit, None, NodeWish::Any, owner)?;
        let mut movable = Self { starts, mirroring: Mirroring::NotAsked };
        if request.movable_node == MovableNode::Honour {
            movable.above_lowest(nodes.memblock(), |flags, _| flags.contains(RegionFlags::HOTPLUG));
        } else if request.kernelcore == Some(Amount::Mirror) {
            movable.above_mirrored(nodes.memblock());
        } else {
            let wish = Wish::new(nodes.memblock(), ranges, request);
            if let Some(wish) = wish {
                movable.spread(nodes.memblock_mut(), wish)?;
            }
        }
        for (start, node) in movable.starts.iter_mut().zip((0..).map(NodeId::new)) {
            let end = nodes.node(node).map_or(Pfn::new(0), |node| node.span.end());
            let aligned = start.and_then(|start| start.as_u64().checked_next_multiple_of(block_pages::<A>()));
            *start = aligned.map(Pfn::new).filter(|start| *start < end);
        }
        Ok(movable)
    }

    /// Starts each node's Movable zone at the lowest of its regions that is `meant`.
    fn above_lowest(&mut self, memblock: &Memblock<A>, meant: impl Fn(RegionFlags, Pfn) -> bool) {
        for region in memblock.memory() {
            let start = PfnRange::inside(region.range(), A::PAGE_SHIFT).start();
            let slot = region.node().and_then(|node| self.starts.get_mut(node.index()));
            if let Some(slot) = slot.filter(|_| meant(region.flags(), start)) {
                // Regions come in ascending order: the first one is the lowest.
                slot.get_or_insert(start);
            }
        }
    }

    fn above_mirrored(&mut self, memblock: &Memblock<A>) {
        let low = Pfn::new((1 << 32) >> A::PAGE_SHIFT);
        let is_mirrored = |flags: RegionFlags| flags.contains(RegionFlags::MIRROR);
        let mut regions = memblock.memory().iter();
        if !regions.clone().any(|region| is_mirrored(region.flags())) {
            self.mirroring = Mirroring::Impossible;
            return;
        }
        let lacks = |region: crate::memblock::Region| {
            !is_mirrored(region.flags()) && PfnRange::inside(region.range(), A::PAGE_SHIFT).start() < low
        };
        self.mirroring = if regions.any(lacks) { Mirroring::Partial } else { Mirroring::Whole };
        self.above_lowest(memblock, |flags, start| !is_mirrored(flags) && start >= low);
    }

    /// Gives the kernel its pages, and each node's rest to its Movable zone.
    fn spread(&mut self, memblock: &mut Memblock<A>, wish: Wish) -> Result<(), ZoneError> {
        let count = memblock.memory().len();
        let mut order = memblock.alloc_filled(count, 0_u32, NodeWish::Any, Owner::new("Movable scratch"))?;
        order.iter_mut().zip(0..).for_each(|(slot, at)| *slot = at);
        let regions = memblock.memory();
        let node = |at: u32| regions.get(at as usize).and_then(|region| region.node()).unwrap_or_default();
        let frames = |at: u32| {
            let range = regions.get(at as usize).map(|region| PfnRange::inside(region.range(), A::PAGE_SHIFT));
            range.unwrap_or(PfnRange::EMPTY)
        };
        order.sort_unstable_by_key(|&at| (node(at), at));
        let mut missing = wish.pages;
        for nodes in (1..=wish.nodes).rev() {
            let mut share = missing / nodes;
            for own in order.chunk_by(|&a, &b| node(a) == node(b)) {
                let id = own.first().copied().map(node).unwrap_or_default();
                let Some(start) = self.starts.get_mut(id.index()) else { continue };
                if missing < share {
                    share = missing / nodes;
                }
                missing = take_share(own.iter().copied().map(frames), wish.usable, share, missing, start);
            }
            if missing < nodes {
                break;
            }
        }
        memblock.release(order);
        Ok(())
    }

    /// Where the Movable zone of `node` starts, if it has one.
    pub(super) fn start(&self, node: NodeId) -> Option<Pfn> {
        self.starts.get(node.index()).copied().flatten()
    }

    /// Whether the kernel's zones go on above, for what is mirrored.
    pub(super) fn keeps_mirrored(&self) -> bool {
        matches!(self.mirroring, Mirroring::Whole | Mirroring::Partial)
    }

    pub(super) fn release(self, memblock: &mut Memblock<A>) {
        memblock.release(self.starts);
    }
}

/// Takes up to `share` pages of a node for the kernel, from its lowest up but for those below `start`, and moves
/// `start` behind them. Frames below `usable` cannot be Movable: they are taken in any case. Returns how many pages are
/// `missing` then.
fn take_share(
    memory: impl Iterator<Item = PfnRange>,
    usable: Pfn,
    share: u64,
    missing: u64,
    start: &mut Option<Pfn>,
) -> u64 {
    let (mut left, mut missing) = (share, missing);
    for frames in memory {
        // Behind the last pass's end; empty there when the pass went further.
        let rest = PfnRange::new(frames.start().max(start.unwrap_or_default()), frames.end());
        let low = rest.intersection(PfnRange::new(Pfn::new(0), usable)).count();
        let high = rest.intersection(PfnRange::new(usable, Pfn::new(u64::MAX)));
        left = left.saturating_sub(low);
        missing = missing.saturating_sub(low);
        if high.is_empty() {
            *start = Some(rest.end());
            continue;
        }
        let taken = high.count().min(left);
        *start = Some(high.start().saturating_add(taken));
        missing = missing.saturating_sub(taken);
        left -= taken;
        if left == 0 {
            break;
        }
    }
    missing
}

/// So much memory is the kernel's.
struct Wish {
    pages: u64,
    /// How many nodes have memory.
    nodes: u64,
    /// The first frame that may be Movable: that of the highest kind of zone.
    usable: Pfn,
}

impl Wish {
    /// `None` when nothing is asked for, or all memory.
    fn new<A: PhysMap + PageFormat>(
        memblock: &Memblock<A>,
        ranges: &[PfnRange; ZoneKind::COUNT],
        request: MovableRequest,
    ) -> Option<Self> {
        let memory = memblock.memory().iter();
        let frames = memory.map(|region| (region.node(), PfnRange::inside(region.range(), A::PAGE_SHIFT)));
        let frames = frames.filter(|(_, frames)| !frames.is_empty());
        let all: u64 = frames.clone().map(|(_, frames)| frames.count()).sum();
        let nodes: crate::numa::NodeSet = frames.filter_map(|(node, _)| node).collect();
        let pages = |amount| match amount {
            Some(Amount::Bytes(bytes)) => bytes >> A::PAGE_SHIFT,
            Some(Amount::Percent(percent)) => all * u64::from(percent) / 100,
            Some(Amount::Mirror) | None => 0,
        };
        let mut kernel = pages(request.kernelcore);
        let movable = pages(request.movablecore);
        if movable > 0 {
            let movable = movable.checked_next_multiple_of(block_pages::<A>()).unwrap_or(all);
            kernel = kernel.max(all.saturating_sub(movable));
        }
        let usable = ranges.iter().rev().find(|range| !range.is_empty())?.start();
        (kernel > 0 && kernel < all).then_some(Self { pages: kernel, nodes: nodes.len() as u64, usable })
    }
}

/// Frames of the largest blocks, as Linux has them: 4 MiB, with pages of 16 KiB 32 MiB, with 64 KiB 512 MiB.
const fn block_pages<A: PageFormat>() -> u64 {
    match A::PAGE_SHIFT {
        14 => 1 << 11,
        16 => 1 << 13,
        _ => 1 << 10,
    }
}
