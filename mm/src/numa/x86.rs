//! x86's way from affinities to nodes.
//!
//! SRAT describes address space, not RAM: its ranges are cut at the end of memory, those without memory are set aside,
//! and those of one node with nothing of another node between them become one, so that a hole belongs to the node
//! around it. Then two checks: no byte on two nodes, and at most 1 MiB of RAM on none. A table that fails is not used
//! at all. Costs O(n log n). Linux: `numa_cleanup_meminfo`, `numa_meminfo_cover_memory`,
//! `numa_clear_kernel_node_hotplug` in arch/x86/mm/numa.c.

#![forbid(unsafe_code)]

use super::domains::Domains;
use super::{Hex8, NumaError, whole_pages};
use crate::addr::{NodeId, PhysAddr, PhysRange};
use crate::arch::{PageFormat, PhysMap};
use crate::machine::{MachineMemory, Owner, Plug, Problem, Source, Table, Warning};
use crate::memblock::{Memblock, NodeWish, RegionFlags};
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

/// Puts memory on nodes. `false` when the affinities cannot be used; memory is then as it was.
pub(super) fn place_memory<A: PhysMap + PageFormat>(
    memblock: &mut Memblock<A>,
    machine: &MachineMemory<'_>,
    domains: &Domains<A>,
    text: &mut dyn fmt::Write,
    warn: &mut dyn FnMut(Warning),
) -> Result<bool, NumaError> {
    let count = machine.affinities.len();
    let mut scratch = memblock.alloc_filled(count, Block::UNUSED, NodeWish::Any, Owner::new("NUMA scratch"))?;
    let used = gather(memblock, machine, domains, &mut scratch);
    let blocks = scratch.get_mut(..used).unwrap_or_default();
    let usable = !overlaps(blocks, machine, text, warn) && {
        merge(blocks, text);
        covers(memblock, blocks, text, warn)
    };
    if usable {
        apply(memblock, machine, blocks)?;
    }
    memblock.release(scratch);
    Ok(usable)
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
    // The block that reaches furthest, and the one that reaches furthest among those of other nodes.
    let mut furthest: Option<Block> = None;
    let mut other: Option<Block> = None;
    for block in blocks.iter().copied() {
        let reaching = |candidate: Option<Block>| candidate.filter(|candidate| candidate.end > block.start);
        let foreign = if furthest.is_some_and(|furthest| furthest.node == block.node) { other } else { furthest };
        if let Some(foreign) = reaching(foreign) {
            let (first, second) = if foreign.order < block.order { (foreign, block) } else { (block, foreign) };
            let _ = writeln!(
                text,
                "node {} {} overlaps with node {} {}",
                first.node,
                Hex8(first.range()),
                second.node,
                Hex8(second.range())
            );
            let source = source(machine, second.order);
            warn(Warning { source, problem: Problem::Overlaps(second.range().intersection(first.range())) });
            warn(Warning { source: Source::whole(source.table), problem: Problem::TableIgnored("two nodes overlap") });
            return true;
        }
        if let Some(own) = reaching(furthest).filter(|own| own.node == block.node) {
            let source = source(machine, own.order.max(block.order));
            warn(Warning { source, problem: Problem::Overlaps(block.range().intersection(own.range())) });
        }
        match furthest {
            Some(known) if known.end >= block.end => {
                if known.node != block.node && other.is_none_or(|other| other.end < block.end) {
                    other = Some(block);
                }
            }
            Some(known) => {
                if known.node != block.node {
                    other = Some(known);
                }
                furthest = Some(block);
            }
            None => furthest = Some(block),
        }
    }
    false
}

fn source(machine: &MachineMemory<'_>, order: u32) -> Source {
    let affinity = machine.affinities.iter().zip(0..).find(|(_, at)| *at == order);
    affinity.map_or(Source::whole(Table::Srat), |(affinity, _)| affinity.source)
}

/// Joins blocks of one node that have no other node between them. They do not overlap other nodes and are sorted by
/// address, so those that join are neighbours. They are told in the order of the firmware's table, each run under its
/// first block, which then stands for all.
fn merge(blocks: &mut [Block], text: &mut dyn fmt::Write) {
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
}

/// The blocks that stand for their runs.
fn merged(blocks: &[Block]) -> impl Iterator<Item = &Block> {
    blocks.iter().filter(|block| block.leader == block.order)
}

/// Whether the blocks hold all memory but a little.
fn covers<A: PhysMap>(
    memblock: &Memblock<A>,
    blocks: &[Block],
    text: &mut dyn fmt::Write,
    warn: &mut dyn FnMut(Warning),
) -> bool {
    let inside = |block: &Block| -> u64 {
        let regions = memblock.memory().overlapping(block.range());
        regions.iter().map(|region| region.range().intersection(block.range()).size()).sum()
    };
    let covered: u64 = merged(blocks).map(inside).sum();
    let memory = memblock.memory_size();
    if memory - covered < SLACK {
        return true;
    }
    let _ = writeln!(text, "NUMA: nodes only cover {}MB of your {}MB e820 RAM. Not used.", covered >> 20, memory >> 20);
    let problem = Problem::TableIgnored("more than 1 MiB of RAM is on no node");
    warn(Warning { source: Source::whole(Table::Srat), problem });
    false
}

fn apply<A: PhysMap + PageFormat>(
    memblock: &mut Memblock<A>,
    machine: &MachineMemory<'_>,
    blocks: &mut [Block],
) -> Result<(), NumaError> {
    let mut hot_pluggable = false;
    for affinity in machine.affinities.iter().filter(|affinity| affinity.plug == Plug::HotPluggable) {
        memblock.mark(whole_pages::<A>(affinity.range), RegionFlags::HOTPLUG)?;
        hot_pluggable = true;
    }
    for block in merged(blocks) {
        memblock.set_node(whole_pages::<A>(block.range()), block.node)?;
    }
    if hot_pluggable {
        keep_kernel_nodes(memblock, blocks)?;
    }
    place_rest(memblock)
}

/// A node on which something is reserved already cannot go, so nothing of it is hot-pluggable.
fn keep_kernel_nodes<A: PhysMap + PageFormat>(memblock: &mut Memblock<A>, blocks: &[Block]) -> Result<(), NumaError> {
    for node in merged(blocks).map(|block| block.node) {
        let mut ranges = merged(blocks).filter(|block| block.node == node).map(Block::range);
        if ranges.any(|range| !memblock.reserved().overlapping(range).is_empty()) {
            for block in merged(blocks).filter(|block| block.node == node) {
                memblock.clear(whole_pages::<A>(block.range()), RegionFlags::HOTPLUG)?;
            }
        }
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
