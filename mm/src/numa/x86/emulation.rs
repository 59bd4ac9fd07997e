//! Emulated nodes (`numa=fake=`): the machine's nodes are cut into more, to try what many nodes do.
//!
//! The unit is 32 MiB. Nodes are cut one after the other, one piece of each in turn, until nothing is left of them:
//!
//! | wish | a piece |
//! |---|---|
//! | `N` | a part in N of all memory; the first few get 32 MiB more, so that little is left over |
//! | `SIZE` | so much memory, or more where there would be more than 1024 nodes |
//! | `NU` | a part in N of each node's span, holes and all |
//!
//! With the first two a piece grows over holes until it holds its size. A piece after which less than 32 MiB below
//! 4 GiB would remain reaches up to 4 GiB, and one that leaves less than a size of its node takes that too. Without
//! enough memory there is no emulation, and nodes stay as they are. Linux: `numa_emulation`, `split_nodes_interleave`,
//! `split_nodes_size_interleave_uniform`, `emu_setup_memblk` in arch/x86/mm/numa_emulation.c.
//!
//! Costs: O(pieces × blocks + pieces × regions).

#![forbid(unsafe_code)]

use super::{Block, blocks, keep, merge, ram};
use crate::addr::{NodeId, PhysAddr, PhysRange};
use crate::arch::{PageFormat, PhysMap};
use crate::machine::Owner;
use crate::memblock::{BootSlice, Memblock, NodeWish};
use crate::numa::{Fake, NumaError};
use core::fmt;

/// Sizes are multiples of this; a power of two.
const UNIT: u64 = 32 << 20;
/// More pieces than this are not made.
const MOST_PIECES: usize = 2 * NodeId::MAX_COUNT;
/// What devices with 32 address bits reach.
const DMA32_END: u64 = 1 << 32;
/// An emulated number that no piece has.
const UNUSED: NodeId = NodeId::new(u16::MAX);

/// From which node each emulated one was cut.
pub(in crate::numa) struct Emulated<A> {
    physical: BootSlice<A, NodeId>,
    count: usize,
}

impl<A: PhysMap> Emulated<A> {
    pub(super) fn release(self, memblock: &mut Memblock<A>) {
        memblock.release(self.physical);
    }
}

impl<A> Emulated<A> {
    /// One more than the highest emulated number.
    pub(in crate::numa) fn limit(&self) -> usize {
        self.count
    }

    /// The node that `node` was cut from.
    pub(in crate::numa) fn physical(&self, node: NodeId) -> Option<NodeId> {
        self.physical.get(node.index()).copied().filter(|physical| *physical != UNUSED)
    }

    /// The lowest emulated node that was cut from `physical`.
    pub(in crate::numa) fn first_of(&self, physical: NodeId) -> Option<NodeId> {
        let at = self.physical.iter().position(|known| *known == physical)?;
        u16::try_from(at).ok().map(NodeId::new)
    }
}

/// What memory was cut into.
pub(super) struct Emulation<A> {
    pub(super) pieces: BootSlice<A, Block>,
    pub(super) nodes: Emulated<A>,
}

impl<A: PhysMap> Emulation<A> {
    /// Lets go of the pieces.
    pub(super) fn keep_nodes(self, memblock: &mut Memblock<A>) -> Emulated<A> {
        memblock.release(self.pieces);
        self.nodes
    }
}

/// Cuts `stated`, blocks in the order of the firmware's table. The pieces come joined as the
/// firmware's blocks are. `None` when there is no emulation.
pub(super) fn emulate<A: PhysMap + PageFormat>(
    memblock: &mut Memblock<A>,
    stated: &[Block],
    fake: Option<Fake>,
    text: &mut dyn fmt::Write,
) -> Result<Option<Emulation<A>>, NumaError> {
    let Some(fake) = fake else { return Ok(None) };
    let pieces = blocks(memblock, MOST_PIECES)?;
    let physical = memblock.alloc_filled(NodeId::MAX_COUNT, UNUSED, NodeWish::Any, Owner::new("NUMA emulation"))?;
    let mut rest = blocks(memblock, stated.len())?;
    rest.copy_from_slice(stated);
    let mut cutter = Cutter { memblock: &*memblock, pieces, used: 0, physical, text };
    let done = cutter.cut(fake, &mut rest);
    let Cutter { mut pieces, used, physical, text, .. } = cutter;
    memblock.release(rest);
    let emulated = Emulated { physical, count: 0 };
    if done.is_none() {
        memblock.release(pieces);
        emulated.release(memblock);
        return Ok(None);
    }
    let cut = pieces.get_mut(..used).unwrap_or_default();
    let cut = keep(cut, |piece| !memblock.memory().overlapping(piece.range()).is_empty());
    cut.sort_unstable_by_key(|piece| piece.start);
    let joined = merge(cut, text);
    let count = joined.iter().map(|piece| piece.node.index() + 1).max().unwrap_or(0);
    let mut result = blocks(memblock, joined.len())?;
    result.copy_from_slice(joined);
    memblock.release(pieces);
    let _ = writeln!(text, "NUMA: Initialized distance table, cnt={count}");
    Ok(Some(Emulation { pieces: result, nodes: Emulated { count, ..emulated } }))
}

/// Whether holes count to a piece's size.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holes {
    Counted,
    Filled,
}

/// How pieces are cut.
#[derive(Clone, Copy)]
struct Rule {
    /// Bytes of a piece, a multiple of the unit.
    size: u64,
    holes: Holes,
    /// So many pieces are one unit larger.
    larger: usize,
    /// After so many pieces numbers begin anew.
    nodes: usize,
}

struct Cutter<'c, 't, A> {
    memblock: &'c Memblock<A>,
    pieces: BootSlice<A, Block>,
    used: usize,
    physical: BootSlice<A, NodeId>,
    text: &'t mut dyn fmt::Write,
}

impl<A: PhysMap + PageFormat> Cutter<'_, '_, A> {
    fn cut(&mut self, fake: Fake, blocks: &mut [Block]) -> Option<()> {
        match fake {
            Fake::Count(0) | Fake::Size(0) | Fake::PerNode(0) => None,
            Fake::Count(count) => {
                let rule = self.in_all(count)?;
                self.interleave(rule, blocks)
            }
            Fake::Size(size) => {
                let least = Self::part(self.memblock.memory_size(), NodeId::MAX_COUNT as u64);
                let size = self.at_least(size, least);
                let rule = Rule { size, holes: Holes::Filled, larger: 0, nodes: NodeId::MAX_COUNT };
                self.interleave(rule, blocks)
            }
            Fake::PerNode(count) => self.of_each(count, blocks),
        }
    }

    /// The rule for `count` nodes in all.
    fn in_all(&mut self, count: u32) -> Option<Rule> {
        let nodes = NodeId::MAX_COUNT.min(usize::try_from(count).unwrap_or(NodeId::MAX_COUNT));
        if u64::from(count) > nodes as u64 {
            let _ = writeln!(self.text, "numa=fake={count} too large, reducing to {nodes}");
        }
        let part = Self::part(self.memblock.memory_size(), nodes as u64);
        let (size, rest) = (part / UNIT * UNIT, part % UNIT);
        if size == 0 {
            let _ = writeln!(self.text, "Not enough memory for each node.  NUMA emulation disabled.");
            return None;
        }
        // What is left over is less than a unit a node.
        let larger = usize::try_from(rest * nodes as u64 / UNIT).unwrap_or(nodes);
        Some(Rule { size, holes: Holes::Filled, larger, nodes })
    }

    /// Cuts each node into `count`, in the order in which the table names them first.
    fn of_each(&mut self, count: u32, blocks: &mut [Block]) -> Option<()> {
        while let Some(first) = blocks.iter().filter(|block| block.start < block.end).min_by_key(|block| block.leader) {
            let first = *first;
            let wished = Self::part(first.range().size(), u64::from(count));
            let size = self.at_least(wished, wished);
            self.interleave(
                Rule { size, holes: Holes::Counted, larger: 0, nodes: NodeId::MAX_COUNT },
                keep_node(blocks, first.node),
            )?;
            if self.used < usize::try_from(count).unwrap_or(usize::MAX) {
                let (node, used) = (first.node, self.used);
                let _ = writeln!(self.text, "numa_emulation: phys: {node} only got {used} of {count} nodes, failing");
                return None;
            }
        }
        Some(())
    }

    /// Whole pages of a part in `parts` of `bytes`.
    fn part(bytes: u64, parts: u64) -> u64 {
        (bytes >> A::PAGE_SHIFT).checked_div(parts).unwrap_or(0) << A::PAGE_SHIFT
    }

    /// `size` as a number of units, at least `least` rounded up.
    fn at_least(&mut self, size: u64, least: u64) -> u64 {
        let least = least.max(UNIT).checked_next_multiple_of(UNIT).unwrap_or(u64::MAX);
        if size < least {
            let _ = writeln!(self.text, "Fake node size {}MB too small, increasing to {}MB", size >> 20, least >> 20);
        }
        size.max(least) / UNIT * UNIT
    }

    /// Cuts a piece off each node in turn, until nothing is left. `blocks` may stand in any order of nodes.
    fn interleave(&mut self, rule: Rule, blocks: &mut [Block]) -> Option<()> {
        // By node; within a node the order of the table decides.
        blocks.sort_unstable_by_key(|block| (block.node, block.leader));
        loop {
            let mut left = false;
            for node in blocks.chunk_by_mut(|a, b| a.node == b.node) {
                let Some(block) = node.iter_mut().find(|block| block.start < block.end) else { continue };
                left = true;
                let end = self.end_of_piece(rule, block.range());
                self.push(block, end, rule)?;
            }
            if !left {
                return Some(());
            }
        }
    }

    /// Where the next piece of `block` ends.
    fn end_of_piece(&self, rule: Rule, block: PhysRange) -> PhysAddr {
        let ram = |start: u64, end: u64| ram(self.memblock, PhysRange::new(PhysAddr::new(start), PhysAddr::new(end)));
        let (start, limit) = (block.start().as_u64(), block.end().as_u64());
        let extra = if self.used < rule.larger { UNIT } else { 0 };
        let mut end = start.saturating_add(rule.size).saturating_add(extra);
        if rule.holes == Holes::Filled {
            end = self.fill(start, end, rule.size, limit);
        }
        if ram(end, DMA32_END) < UNIT {
            end = end.max(DMA32_END);
        }
        if rule.holes == Holes::Filled && ram(end, limit) < rule.size {
            end = limit;
        }
        PhysAddr::new(end.min(limit))
    }

    /// Moves `end` up unit by unit until `size` bytes of memory lie between `start` and it; to `limit` where there are
    /// not so many below it.
    fn fill(&self, start: u64, end: u64, size: u64, limit: u64) -> u64 {
        let range = PhysRange::new(PhysAddr::new(start), PhysAddr::new(limit.max(end)));
        let mut missing = size;
        for region in self.memblock.memory().overlapping(range).iter() {
            let part = region.range().intersection(range);
            if part.size() >= missing {
                let enough = part.start().as_u64() + missing;
                let step = enough.saturating_sub(end).checked_next_multiple_of(UNIT);
                return step.and_then(|step| end.checked_add(step)).unwrap_or(limit);
            }
            missing -= part.size();
        }
        limit
    }

    /// Books the piece of `block` up to `end`, and says so.
    fn push(&mut self, block: &mut Block, end: PhysAddr, rule: Rule) -> Option<()> {
        let Some(slot) = self.pieces.get_mut(self.used) else {
            let _ = writeln!(self.text, "NUMA: Too many emulated memblks, failing emulation");
            return None;
        };
        let node = NodeId::new(u16::try_from(self.used % rule.nodes).ok()?);
        let order = u32::try_from(self.used).ok()?;
        *slot = Block { start: block.start, end, node, order, leader: order };
        if let Some(physical) = self.physical.get_mut(node.index()).filter(|physical| **physical == UNUSED) {
            *physical = block.node;
        }
        let (range, size) = (slot.range(), slot.range().size() >> 20);
        let _ = writeln!(self.text, "Faking node {node} at {range} ({size}MB)");
        self.used += 1;
        block.start = end;
        Some(())
    }
}

/// The blocks of one node.
fn keep_node(blocks: &mut [Block], node: NodeId) -> &mut [Block] {
    keep(blocks, |block| block.node == node)
}
