//! Where the variables of each CPU are: sizes, groups, then a line a CPU.

#![forbid(unsafe_code)]

use crate::numa::Topology;
use crate::percpu::{FirstChunk, UnitLayout};
use core::fmt::{self, Write};

/// Writes it. The node of a CPU is the one that it is on; its memory lies on the nearest that had room.
///
/// # Errors
/// When `out` does.
pub fn percpu<A>(out: &mut dyn Write, chunk: &FirstChunk<A>, nodes: &Topology<A>) -> fmt::Result {
    let UnitLayout { static_bytes, reserved_bytes, dynamic_bytes, unit_bytes, .. } = *chunk.layout();
    let UnitLayout { allocation_bytes, units_per_allocation, .. } = *chunk.layout();
    writeln!(
        out,
        "static {static_bytes}, reserved {reserved_bytes}, dynamic {dynamic_bytes}, unit {unit_bytes} bytes"
    )?;
    writeln!(out, "allocations of {allocation_bytes} bytes with room for {units_per_allocation} units")?;
    for (number, group) in chunk.groups().iter().enumerate() {
        let cpus = chunk.cpus_of(group).flatten().count();
        writeln!(out, "group {number}: node {}, {cpus} CPUs, {} units, {}", group.node, group.units, group.range)?;
    }
    for (number, area) in chunk.areas().iter().enumerate() {
        write!(out, "cpu {number}: unit {}, group {}", area.unit, area.group)?;
        if let Some(cpu) = nodes.cpus().get(number) {
            write!(out, ", node {}", cpu.node)?;
        }
        write!(out, ", {}", area.range)?;
        match chunk.offsets().get(number) {
            Some(offset) => writeln!(out, ", offset {offset:#018x}")?,
            None => writeln!(out)?,
        }
    }
    Ok(())
}
