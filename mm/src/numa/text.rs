//! What Linux prints while memory comes to nodes, to the letter.
//!
//! Linux: `acpi_numa_memory_affinity_init`, `dummy_numa_init`, `alloc_node_data`, `setup_node_data`.

#![forbid(unsafe_code)]

use super::domains::Domains;
use super::{Node, NodeSource, NumaPolicy};
use crate::addr::{NodeId, PhysAddr, PhysRange};
use crate::machine::{MachineMemory, Persistence, Plug, Rules, Table};
use core::fmt;

/// Says what SRAT says, as Linux does while it reads it: CPUs, then memory.
pub(super) fn affinities<A>(
    machine: &MachineMemory<'_>,
    rules: Rules,
    domains: &Domains<A>,
    text: &mut dyn fmt::Write,
) {
    let node = |domain| domains.node(domain).unwrap_or_default();
    if rules == Rules::X86 {
        for cpu in machine.cpu_affinities.iter() {
            let (domain, id) = (cpu.domain, cpu.hardware_id);
            let _ = writeln!(text, "SRAT: PXM {domain} -> APIC {id:#04x} -> Node {}", node(domain));
        }
    }
    for affinity in machine.affinities.iter().filter(|affinity| affinity.source.table == Table::Srat) {
        let (domain, range) = (affinity.domain, Hex8(affinity.range));
        let plug = match affinity.plug {
            Plug::Fixed => "",
            Plug::HotPluggable => " hotplug",
        };
        let persistence = match affinity.persistence {
            Persistence::Volatile => "",
            Persistence::NonVolatile => " non-volatile",
        };
        let _ = writeln!(text, "ACPI: SRAT: Node {} PXM {domain} {range}{plug}{persistence}", node(domain));
    }
}

/// Says why all of `memory` is one node, and that it is.
pub(super) fn one_node(memory: PhysRange, machine: &MachineMemory<'_>, policy: NumaPolicy, text: &mut dyn fmt::Write) {
    let turned_off = policy.option.source == NodeSource::Off;
    let _ = match policy.rules {
        Rules::X86 => {
            let why = if turned_off { "NUMA turned off" } else { "No NUMA configuration found" };
            let range = PhysRange::new(PhysAddr::new(0), memory.end());
            writeln!(text, "{why}\nFaking a node at {range}")
        }
        Rules::Arm64 => {
            let why = if turned_off {
                "NUMA: NUMA disabled\n"
            } else if !machine.affinities.is_empty() {
                ""
            } else if machine.cpus.iter().any(|cpu| cpu.source.table == Table::Madt) {
                "NUMA: Failed to initialise from firmware\n"
            } else {
                "NUMA: No NUMA configuration found\n"
            };
            writeln!(text, "{why}NUMA: Faking a node at {memory}")
        }
    };
}

/// Says where the data of `node` lies, which is on the node `home`.
pub(super) fn node_data(node: Node, data: PhysRange, home: NodeId, rules: Rules, text: &mut dyn fmt::Write) {
    let (id, range) = (node.id, Hex8(data));
    let _ = match rules {
        Rules::X86 => writeln!(text, "NODE_DATA({id}) allocated {range}"),
        Rules::Arm64 => {
            if !node.has_memory {
                let _ = writeln!(text, "NUMA: Initmem setup node {id} [<memory-less node>]");
            }
            writeln!(text, "NUMA: NODE_DATA {range}")
        }
    };
    if home != id {
        let lead = match rules {
            Rules::X86 => "    ",
            Rules::Arm64 => "NUMA: ",
        };
        let _ = writeln!(text, "{lead}NODE_DATA({id}) on node {home}");
    }
}

/// A range with at least 8 hexadecimal digits, as the lines about nodes print it.
pub(super) struct Hex8(pub(super) PhysRange);

impl fmt::Display for Hex8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[mem {:#010x}-{:#010x}]", self.0.start(), self.0.last())
    }
}
