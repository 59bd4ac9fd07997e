//! x86's way from affinities to nodes.
//!
//! SRAT describes address space, not RAM: its ranges are cut at the end of memory, those without memory are set aside,
//! and those of one node with nothing of another node between them become one, so that a hole belongs to the node
//! around it. Then two checks: no byte on two nodes, and at most 1 MiB of RAM on none. A table that fails is not used
//! at all. Between them the command line may have the nodes cut into emulated ones ([`emulation`]). Costs O(n log n).
//! Linux: `numa_cleanup_meminfo`, `numa_meminfo_cover_memory`, `numa_clear_kernel_node_hotplug` in
//! arch/x86/mm/numa.c.

#![forbid(unsafe_code)]

mod emulation;

pub(super) use emulation::Emulated;

use super::domains::Domains;
use super::set::NodeSet;
use super::text::Hex8;
use super::{Fake, NumaError, whole_pages};
use crate::addr::{NodeId, PhysAddr, PhysRange};
use crate::arch::{PageFormat, PhysMap};
use crate::machine::{MachineMemory, Owner, Plug, Problem, Source, Table, Warning};
use crate::memblock::{BootSlice, Memblock, NodeWish, RegionFlags};
use core::fmt;

/// RAM that may lie outside all affinities.
const SLACK: u64 = 1 << 20;

/// An affinity with memory below it.
#[derive(Clone, Copy)]
struct Block {
    start: PhysAddr,
    end: PhysAddr,
    node: NodeId,
    /// Its place in the firmware's table.
    order: u32,
    /// The place of the first block that it is joined with.
    leader: u32,
}

impl Block {
    const UNUSED: Self =
        Self { start: PhysAddr::new(0), end: PhysAddr::new(0), node: NodeId::new(0), order: 0, leader: 0 };

    fn range(&self) -> PhysRange {
        PhysRange::new(self.start, self.end)
    }
}

/// What became of memory.
pub(super) enum Placed<A> {
    /// It is on the firmware's nodes.
    Firmware,
    /// It is on emulated nodes.
    Emulated(Emulated<A>),
    /// It is as it was: the affinities cannot be used.
    Rejected,
}

/// Puts memory on the nodes of the affinities, or on emulated ones made of those. A wish for those is granted once:
/// afterwards `fake` is `None`, whatever came of it.
pub(super) fn place_memory<A: PhysMap + PageFormat>(
    memblock: &mut Memblock<A>,
    machine: &MachineMemory<'_>,
    domains: &Domains<A>,
    fake: &mut Option<Fake>,
    text: &mut dyn fmt::Write,
    warn: &mut dyn FnMut(Warning),
) -> Result<Placed<A>, NumaError> {
    let mut scratch = blocks(memblock, machine.affinities.len())?;
    let used = gather(memblock, machine, domains, &mut scratch);
    let stated = scratch.get_mut(..used).unwrap_or_default();
    let placed = if overlaps(stated, machine, text, warn) {
        Placed::Rejected
    } else {
        let stated = merge(stated, text);
        let cut = emulation::emulate(memblock, stated, fake.take(), text)?;
        let nodes = cut.as_ref().map_or(&*stated, |cut| &*cut.pieces);
        let usable = covers(memblock, nodes, text, warn);
        if usable {
            apply(memblock, machine, nodes)?;
        }
        match cut.map(|cut| cut.keep_nodes(memblock)) {
            None if usable => Placed::Firmware,
            Some(emulated) if usable => Placed::Emulated(emulated),
            None => Placed::Rejected,
            Some(emulated) => {
                emulated.release(memblock);
                Placed::Rejected
            }
        }
    };
    memblock.release(scratch);
    Ok(placed)
}

/// Makes emulated nodes of all memory as one node. `None` when none are wanted, or none can be.
pub(super) fn emulate_one_node<A: PhysMap + PageFormat>(
    memblock: &mut Memblock<A>,
    fake: Option<Fake>,
    text: &mut dyn fmt::Write,
) -> Result<Option<Emulated<A>>, NumaError> {
    let end = memblock.memory().span().end();
    let whole = [Block { end, ..Block::UNUSED }];
    let Some(cut) = emulation::emulate(memblock, &whole, fake, text)? else { return Ok(None) };
    for block in cut.pieces.iter() {
        memblock.set_node(whole_pages::<A>(block.range()), block.node)?;
    }
    Ok(Some(cut.keep_nodes(memblock)))
}

/// Room for `count` blocks.
fn blocks<A: PhysMap>(memblock: &mut Memblock<A>, count: usize) -> Result<BootSlice<A, Block>, NumaError> {
    Ok(memblock.alloc_filled(count, Block::UNUSED, NodeWish::Any, Owner::new("NUMA scratch"))?)
}

/// The affinities that have memory, cut at its end. Returns how many.
fn gather<A: PhysMap>(
    memblock: &Memblock<A>,
    machine: &MachineMemory<'_>,
    domains: &Domains<A>,
    blocks: &mut [Block],
) -> usize {
    let memory = memblock.memory();
    let below = PhysRange::new(PhysAddr::new(0), memory.span().end());
    let mut used = 0;
    for (affinity, order) in machine.affinities.iter().zip(0..) {
        let range = affinity.range.intersection(below);
        let (Some(node), false) = (domains.node(affinity.domain), memory.overlapping(range).is_empty()) else {
            continue;
        };
        if let Some(slot) = blocks.get_mut(used) {
            *slot = Block { start: range.start(), end: range.end(), node, order, leader: order };
            used += 1;
        }
    }
    used
}

/// Sorts the blocks by address and says whether a byte lies on two nodes.
fn overlaps(
    blocks: &mut [Block],
    machine: &MachineMemory<'_>,
    text: &mut dyn fmt::Write,
    warn: &mut dyn FnMut(Warning),
) -> bool {
    blocks.sort_unstable_by_key(|block| (block.start, block.order));
    // As long as no two nodes have met, the block that reaches furthest is the only one that can reach into the next.
    let mut furthest: Option<Block> = None;
    for block in blocks.iter().copied() {
        if let Some(known) = furthest.filter(|known| known.end > block.start) {
            let mut pair = [known, block];
            pair.sort_unstable_by_key(|block| block.order);
            let [first, second] = pair;
            let foreign = first.node != second.node;
            if foreign {
                let (one, other) = (Hex8(first.range()), Hex8(second.range()));
                let _ = writeln!(text, "node {} {one} overlaps with node {} {other}", first.node, second.node);
            }
            let source = source(machine, second.order);
            warn(Warning { source, problem: Problem::Overlaps(second.range().intersection(first.range())) });
            if foreign {
                let problem = Problem::TableIgnored("two nodes overlap");
                warn(Warning { source: Source::whole(source.table), problem });
                return true;
            }
        }
        furthest = furthest.into_iter().chain([block]).max_by_key(|block| block.end);
    }
    false
}

fn source(machine: &MachineMemory<'_>, order: u32) -> Source {
    let affinity = machine.affinities.iter().zip(0..).find(|(_, at)| *at == order);
    affinity.map_or(Source::whole(Table::Srat), |(affinity, _)| affinity.source)
}

/// Joins blocks of one node that have no other node between them, and returns what is left, in the order of the
/// firmware's table. They do not overlap other nodes and are sorted by address, so those that join are neighbours. They
/// are told in the order of the table, each run under its first block, which then stands for all.
fn merge<'b>(blocks: &'b mut [Block], text: &mut dyn fmt::Write) -> &'b mut [Block] {
    for run in blocks.chunk_by_mut(|a, b| a.node == b.node) {
        let leader = run.iter().map(|block| block.order).min().unwrap_or_default();
        run.iter_mut().for_each(|block| block.leader = leader);
    }
    blocks.sort_unstable_by_key(|block| (block.leader, block.order));
    for run in blocks.chunk_by_mut(|a, b| a.leader == b.leader) {
        let Some((first, rest)) = run.split_first_mut() else { continue };
        for block in rest {
            let union = PhysRange::new(first.start.min(block.start), first.end.max(block.end));
            let _ = writeln!(
                text,
                "NUMA: Node {} {} + {} -> {}",
                first.node,
                Hex8(first.range()),
                Hex8(block.range()),
                Hex8(union)
            );
            (first.start, first.end) = (union.start(), union.end());
        }
    }
    keep(blocks, |block| block.leader == block.order)
}

/// Moves the blocks that are wanted to the front, in their order, and returns them.
fn keep(blocks: &mut [Block], wanted: impl Fn(&Block) -> bool) -> &mut [Block] {
    let mut kept = 0;
    for at in 0..blocks.len() {
        if blocks.get(at).is_some_and(&wanted) {
            blocks.swap(kept, at);
            kept += 1;
        }
    }
    blocks.get_mut(..kept).unwrap_or_default()
}

/// Whether the blocks hold all memory but a little.
fn covers<A: PhysMap>(
    memblock: &Memblock<A>,
    blocks: &[Block],
    text: &mut dyn fmt::Write,
    warn: &mut dyn FnMut(Warning),
) -> bool {
    let covered: u64 = blocks.iter().map(|block| ram(memblock, block.range())).sum();
    let memory = memblock.memory_size();
    if memory - covered < SLACK {
        return true;
    }
    let _ = writeln!(text, "NUMA: nodes only cover {}MB of your {}MB e820 RAM. Not used.", covered >> 20, memory >> 20);
    let problem = Problem::TableIgnored("more than 1 MiB of RAM is on no node");
    warn(Warning { source: Source::whole(Table::Srat), problem });
    false
}

/// Bytes of memory in `range`.
fn ram<A: PhysMap>(memblock: &Memblock<A>, range: PhysRange) -> u64 {
    let regions = memblock.memory().overlapping(range);
    regions.iter().map(|region| region.range().intersection(range).size()).sum()
}

fn apply<A: PhysMap + PageFormat>(
    memblock: &mut Memblock<A>,
    machine: &MachineMemory<'_>,
    blocks: &[Block],
) -> Result<(), NumaError> {
    for affinity in machine.affinities.iter().filter(|affinity| affinity.plug == Plug::HotPluggable) {
        memblock.mark(whole_pages::<A>(affinity.range), RegionFlags::HOTPLUG)?;
    }
    for block in blocks {
        memblock.set_node(whole_pages::<A>(block.range()), block.node)?;
    }
    keep_kernel_nodes(memblock, blocks)?;
    place_rest(memblock)
}

/// A node on which something is reserved already cannot go, so nothing of it is hot-pluggable.
fn keep_kernel_nodes<A: PhysMap + PageFormat>(memblock: &mut Memblock<A>, blocks: &[Block]) -> Result<(), NumaError> {
    let is_used = |block: &&Block| !memblock.reserved().overlapping(block.range()).is_empty();
    let used: NodeSet = blocks.iter().filter(is_used).map(|block| block.node).collect();
    for block in blocks.iter().filter(|block| used.contains(block.node)) {
        memblock.clear(whole_pages::<A>(block.range()), RegionFlags::HOTPLUG)?;
    }
    Ok(())
}

/// The little memory that no affinity covers goes to the node below it, or to the one above when there is none.
fn place_rest<A: PhysMap>(memblock: &mut Memblock<A>) -> Result<(), NumaError> {
    loop {
        let memory = memblock.memory();
        let Some(at) = memory.iter().position(|region| region.node().is_none()) else { return Ok(()) };
        let below = at.checked_sub(1).and_then(|below| memory.get(below)).and_then(|region| region.node());
        let above = || memory.iter().skip(at).find_map(|region| region.node());
        let node = below.or_else(above).unwrap_or_default();
        let Some(region) = memory.get(at) else { return Ok(()) };
        memblock.set_node(region.range(), node)?;
    }
}
