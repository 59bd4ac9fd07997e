//! arm64's way from affinities to nodes.
//!
//! Each range says where its memory is, as the memory nodes of a device tree do; where two name the same byte the
//! later one holds. One memory region without a node makes the whole description useless: all memory is then one
//! node. Linux: `numa_add_memblk`, `numa_register_nodes` in drivers/base/arch_numa.c.

#![forbid(unsafe_code)]

use super::domains::Domains;
use super::{NumaError, whole_pages};
use crate::addr::NodeId;
use crate::arch::{PageFormat, PhysMap};
use crate::machine::{MachineMemory, Plug, Problem, Source, Warning};
use crate::memblock::{Memblock, RegionFlags};
use core::fmt;

/// Puts memory on nodes. `false` when the affinities cannot be used.
pub(super) fn place_memory<A: PhysMap + PageFormat>(
    memblock: &mut Memblock<A>,
    machine: &MachineMemory<'_>,
    domains: &Domains<A>,
    text: &mut dyn fmt::Write,
    warn: &mut dyn FnMut(Warning),
) -> Result<bool, NumaError> {
    for affinity in machine.affinities.iter() {
        let Some(node) = domains.node(affinity.domain) else { continue };
        let found = memblock.memory().overlapping(affinity.range);
        // A memory node is a bank too, and as such its overlap was told.
        let told = machine.banks.iter().any(|bank| bank.source == affinity.source);
        let other = found.iter().find(|region| !told && region.node().is_some_and(|other| other != node));
        if let Some(region) = other {
            let problem = Problem::Overlaps(region.range().intersection(affinity.range));
            warn(Warning { source: affinity.source, problem });
        }
        let pages = whole_pages::<A>(affinity.range);
        memblock.set_node(pages, node)?;
        if affinity.plug == Plug::HotPluggable {
            memblock.mark(pages, RegionFlags::HOTPLUG)?;
        }
    }
    let Some(region) = memblock.memory().iter().find(|region| region.node().is_none()) else { return Ok(true) };
    // Linux prints the number that stands for no node: its highest number of nodes.
    let _ = writeln!(text, "NUMA: Warning: invalid memblk node {} {}", NodeId::MAX_COUNT, region.range());
    if let Some(table) = machine.affinities.iter().next().map(|affinity| affinity.source.table) {
        let problem = Problem::TableIgnored("a memory range is on no node");
        warn(Warning { source: Source::whole(table), problem });
    }
    Ok(false)
}
