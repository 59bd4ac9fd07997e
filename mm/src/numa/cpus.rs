//! Which node each CPU is on.
//!
//! CPUs are numbered in the order in which the description lists them. The kernel brings the boot CPU first, wherever
//! the firmware lists it ([`List::bring_first`](crate::machine::List::bring_first)). CPUs of which nobody says a domain
//! are dealt out: on x86 one after the other to the nodes with memory, CPUs with a domain counted too; on arm64 all go
//! to the first node. Costs O(n log n). Linux: `numa_init_array`, `init_cpu_to_node`, `early_map_cpu_to_node`,
//! `of_numa_parse_cpu_nodes`, `acpi_numa_processor_affinity_init`.

#![forbid(unsafe_code)]

use super::NumaError;
use super::domains::Domains;
use super::set::NodeSet;
use super::x86::Emulated;
use crate::addr::{CpuId, NodeId};
use crate::arch::PhysMap;
use crate::machine::{CpuEntry, MachineMemory, Owner, Source, StartMethod, Table};
use crate::memblock::{BootSlice, Memblock, NodeWish};

/// A CPU and where it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuInfo {
    /// Its number.
    pub id: CpuId,
    /// The number by which the hardware knows it.
    pub hardware_id: u64,
    /// Its node.
    pub node: NodeId,
    /// How it is started, unless it is the one that runs already.
    pub start: StartMethod,
    /// Who lists it.
    pub source: Source,
}

impl CpuInfo {
    const UNUSED: Self = Self {
        id: CpuId::BOOT,
        hardware_id: 0,
        node: NodeId::new(0),
        start: StartMethod::Unstated,
        source: Source::whole(Table::Kernel),
    };
}

/// A CPU on no node yet.
const NOWHERE: NodeId = NodeId::new(u16::MAX);

/// Lists the CPUs. `domains` is `None` when there is but one node.
pub(super) fn list<A: PhysMap>(
    memblock: &mut Memblock<A>,
    machine: &MachineMemory<'_>,
    domains: Option<&Domains<A>>,
) -> Result<BootSlice<A, CpuInfo>, NumaError> {
    let node = |domain: u32| domains.and_then(|domains| domains.node(domain)).unwrap_or(NOWHERE);
    let count = machine.cpus.len();
    let mut cpus = memblock.alloc_filled(count, CpuInfo::UNUSED, NodeWish::Any, Owner::new("CPU table"))?;
    for ((slot, entry), id) in cpus.iter_mut().zip(machine.cpus.iter()).zip(0..) {
        let node = entry.domain.map_or(NOWHERE, node);
        let CpuEntry { hardware_id, start, source, .. } = entry;
        *slot = CpuInfo { id: CpuId::new(id), hardware_id, node, start, source };
    }
    cpus.sort_unstable_by_key(|cpu| (cpu.hardware_id, cpu.id));
    for affinity in machine.cpu_affinities.iter() {
        let first = cpus.partition_point(|cpu| cpu.hardware_id < affinity.hardware_id);
        let same = cpus.iter_mut().skip(first).take_while(|cpu| cpu.hardware_id == affinity.hardware_id);
        same.for_each(|cpu| cpu.node = node(affinity.domain));
    }
    cpus.sort_unstable_by_key(|cpu| cpu.id);
    Ok(cpus)
}

/// Puts every CPU that is on a node on the first emulated one that was cut from it.
pub(super) fn emulate<A>(cpus: &mut [CpuInfo], emulated: &Emulated<A>) {
    for cpu in cpus.iter_mut().filter(|cpu| cpu.node != NOWHERE) {
        cpu.node = emulated.first_of(cpu.node).unwrap_or_default();
    }
}

/// Puts every CPU that is on no node on one of `homes`, by its number.
pub(super) fn place_rest(cpus: &mut [CpuInfo], homes: NodeSet) {
    let turns = homes.len().max(1);
    for (cpu, turn) in cpus.iter_mut().zip((0..turns).cycle()).filter(|(cpu, _)| cpu.node == NOWHERE) {
        cpu.node = homes.iter().nth(turn).unwrap_or_default();
    }
}
