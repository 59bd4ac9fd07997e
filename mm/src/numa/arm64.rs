//! arm64's way from affinities to nodes.
//!
//! Each range says where its memory is, as the memory nodes of a device tree do; where two name the same byte the
//! later one holds. One memory region without a node makes the whole description useless: all memory is then one
//! node. Linux: `numa_add_memblk`, `numa_register_nodes` in drivers/base/arch_numa.c.

#![forbid(unsafe_code)]

use super::domains::Domains;
use super::x86::Placed;
use super::{NumaError, whole_pages};
use crate::arch::{PageFormat, PhysMap};
use crate::machine::{MachineMemory, Plug, Problem, Source, Warning};
use crate::memblock::{Memblock, RegionFlags};
use core::fmt;

/// The number of no node where nodes are numbered by four bits, as Linux's arm64 configurations have it.
const NO_NODE: u16 = 16;

/// Puts memory on nodes.
pub(super) fn place_memory<A: PhysMap + PageFormat>(
    memblock: &mut Memblock<A>,
    machine: &MachineMemory<'_>,
    domains: &Domains<A>,
    text: &mut dyn fmt::Write,
    warn: &mut dyn FnMut(Warning),
) -> Result<Placed<A>, NumaError> {
    for affinity in machine.affinities.iter() {
        let Some(node) = domains.node(affinity.domain) else { continue };
        let found = memblock.memory().overlapping(affinity.range);
        let other = found.iter().find(|region| region.node().is_some_and(|other| other != node));
        // A memory node is a bank too, and as such its overlap was told.
        let told = || machine.banks.iter().any(|bank| bank.source == affinity.source);
        if let Some(region) = other.filter(|_| !told()) {
            let problem = Problem::Overlaps(region.range().intersection(affinity.range));
            warn(Warning { source: affinity.source, problem });
        }
        let pages = whole_pages::<A>(affinity.range);
        memblock.set_node(pages, node)?;
        if affinity.plug == Plug::HotPluggable {
            memblock.mark(pages, RegionFlags::HOTPLUG)?;
        }
    }
    let Some(region) = memblock.memory().iter().find(|region| region.node().is_none()) else {
        return Ok(Placed::Firmware);
    };
    let _ = writeln!(text, "NUMA: Warning: invalid memblk node {NO_NODE} {}", region.range());
    if let Some(table) = machine.affinities.iter().next().map(|affinity| affinity.source.table) {
        let problem = Problem::TableIgnored("a memory range is on no node");
        warn(Warning { source: Source::whole(table), problem });
    }
    Ok(Placed::Rejected)
}
