//! Memory nodes, and memory that must be left alone.
//!
//! A memory node's banks are `linux,usable-memory` where a loader put that there (a crash kernel's), else `reg`; its
//! domain covers all of `reg`. Ranges of size zero are placeholders that nobody filled, and are passed over. A
//! reservation below `/reserved-memory` that has a `size` and no `reg` is to be placed by the kernel; that is not done
//! yet, and said in a warning. Linux: `early_init_dt_scan_memory`, `fdt_scan_reserved_mem`.

use super::tree::{Cells, cell, is_okay, number, value};
use fdt::node::FdtNode;
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{
    Affinity, Bank, Fact, MachineSink, MemoryKind, Owner, Plug, Problem, Purpose, RegionFlags, Reservation, Source,
    Table, Warning,
};

/// The header's reservation block.
pub(super) fn reserve_map(entries: &[u8], sink: &mut dyn MachineSink) {
    for (index, entry) in (0..).zip(entries.chunks_exact(16)) {
        let source = Source::entry(Table::ReserveMap, index);
        let number = |offset: usize| {
            entry.get(offset..).and_then(<[u8]>::first_chunk).map_or(0, |chunk| u64::from_be_bytes(*chunk))
        };
        let (start, size) = (number(0), number(8));
        match PhysRange::from_size(PhysAddr::new(start), size) {
            None => sink.warning(Warning { source, problem: Problem::Wraps { start, size } }),
            Some(range) if range.is_empty() => {
                sink.warning(Warning { source, problem: Problem::Empty { start } });
            }
            Some(range) => {
                let owner = Owner::new("device tree reserve map");
                sink.reservation(Reservation { range, owner, purpose: Purpose::Held, source });
            }
        }
    }
}

/// One memory node. Its ranges are entries `entry` and following; the number after its last one.
pub(super) fn memory_node(node: FdtNode<'_, '_>, cells: Cells, entry: u32, sink: &mut dyn MachineSink) -> u32 {
    if !is_okay(node) {
        return entry;
    }
    let reg = value(node, "reg");
    let banks = value(node, "linux,usable-memory").or(reg);
    let hot_pluggable = node.property("hotpluggable").is_some();
    let flags = if hot_pluggable { RegionFlags::HOTPLUG } else { RegionFlags::empty() };
    let next = each_range(banks, cells, Table::MemoryNode, entry, sink, &mut |range, source, sink| {
        sink.bank(Bank { range, kind: MemoryKind::Usable, flags, source });
    });
    match (node.property("numa-node-id"), cell(node, "numa-node-id")) {
        (_, Some(domain)) => {
            let plug = if hot_pluggable { Plug::HotPluggable } else { Plug::Fixed };
            // What is wrong with `reg` is told once, above, unless only here it is read.
            let quiet = &mut Quiet(sink);
            each_range(reg, cells, Table::MemoryNode, entry, quiet, &mut |range, source, sink| {
                sink.affinity(Affinity { range, domain, plug, source });
            });
        }
        (Some(property), None) => {
            let problem = Problem::Length { stated: property.value.len() as u64 };
            sink.warning(Warning { source: Source::entry(Table::MemoryNode, entry), problem });
        }
        (None, None) => {}
    }
    next
}

/// The children of `/reserved-memory`.
pub(super) fn reserved_memory(node: FdtNode<'_, '_>, root: Cells, sink: &mut dyn MachineSink) {
    // Linux insists that the cells equal the root's; where the node says nothing, the root's are meant.
    let cells = Cells {
        address: cell(node, "#address-cells").unwrap_or(root.address),
        size: cell(node, "#size-cells").unwrap_or(root.size),
    };
    for (index, child) in (0..).zip(node.children()) {
        if !is_okay(child) {
            continue;
        }
        let reg = value(child, "reg");
        if reg.is_none()
            && let Some(size) = number(child, "size")
        {
            let problem = Problem::Value { what: "the size of a range without an address", value: size };
            sink.warning(Warning { source: Source::entry(Table::ReservedMemory, index), problem });
            continue;
        }
        let owner = Owner::new(child.name);
        let purpose = if child.property("no-map").is_some() { Purpose::NoMap } else { Purpose::Held };
        let sources = &mut |range, _, sink: &mut dyn MachineSink| {
            let source = Source::entry(Table::ReservedMemory, index);
            sink.reservation(Reservation { range, owner, purpose, source });
        };
        each_range(reg, cells, Table::ReservedMemory, index, sink, sources);
    }
}

/// Shows `each` range of a `reg` that is not empty, counting entries from `entry`; the number after the last. What
/// cannot be is told to `sink`.
fn each_range(
    reg: Option<&[u8]>,
    cells: Cells,
    table: Table,
    entry: u32,
    sink: &mut dyn MachineSink,
    each: &mut dyn FnMut(PhysRange, Source, &mut dyn MachineSink),
) -> u32 {
    let ranges = reg.ok_or(Problem::Length { stated: 0 }).and_then(|reg| cells.ranges(reg));
    let ranges = match ranges {
        Ok(ranges) => ranges,
        Err(problem) => {
            sink.warning(Warning { source: Source::entry(table, entry), problem });
            return entry + 1;
        }
    };
    let mut next = entry;
    for range in ranges {
        let source = Source::entry(table, next);
        match range {
            Ok(range) if range.is_empty() => {}
            Ok(range) => each(range, source, sink),
            Err(problem) => sink.warning(Warning { source, problem }),
        }
        next += 1;
    }
    next
}

/// A sink that lets affinities through and nothing else.
struct Quiet<'s>(&'s mut dyn MachineSink);

impl MachineSink for Quiet<'_> {
    fn fact(&mut self, fact: Fact) {
        if matches!(fact, Fact::Affinity(_)) {
            self.0.fact(fact);
        }
    }
}
