//! Memory nodes, the header's reservations, and what `/chosen` says of memory.
//!
//! A memory node's banks are `linux,usable-memory` where a loader put that there (a crash kernel's), else `reg`; its
//! domain covers all of `reg`. Ranges of size zero are placeholders that nobody filled: they are no memory, but they
//! say that there is such a domain, and so does a node that is disabled. Linux: `early_init_dt_scan_memory`,
//! `early_init_dt_check_for_usable_mem_range`, `of_numa_parse_memory_nodes`.

use super::tree::{Cells, cell, has, is_okay, value};
use fdt::node::FdtNode;
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{
    Affinity, Bank, Fact, MachineSink, MemoryKind, Owner, Persistence, Plug, Problem, Purpose, RegionFlags,
    Reservation, Source, Table, Usable, Warning,
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
    let reg = value(node, "reg");
    let hot_pluggable = has(node, "hotpluggable");
    let mut next = entry;
    if is_okay(node) {
        let banks = value(node, "linux,usable-memory").or(reg);
        let flags = if hot_pluggable { RegionFlags::HOTPLUG } else { RegionFlags::empty() };
        next = each_range(banks, cells, Table::MemoryNode, entry, sink, &mut |range, source, sink| {
            if !range.is_empty() {
                sink.bank(Bank { range, kind: MemoryKind::Usable, flags, source });
            }
        });
    }
    match (value(node, "numa-node-id"), cell(node, "numa-node-id")) {
        (_, Some(domain)) => {
            let plug = if hot_pluggable { Plug::HotPluggable } else { Plug::Fixed };
            // What is wrong with `reg` is told once, above, unless only here it is read.
            let quiet = &mut Quiet(sink);
            each_range(reg, cells, Table::MemoryNode, entry, quiet, &mut |range, source, sink| {
                sink.affinity(Affinity { range, domain, plug, persistence: Persistence::Volatile, source });
            });
        }
        (Some(value), None) => {
            let problem = Problem::Length { stated: value.len() as u64 };
            sink.warning(Warning { source: Source::entry(Table::MemoryNode, entry), problem });
        }
        (None, None) => {}
    }
    next
}

/// What `/chosen` says of memory: the part that a crash kernel may use, and the core's headers that it must keep.
pub(super) fn chosen(node: FdtNode<'_, '_>, root: Cells, sink: &mut dyn MachineSink) {
    const USABLE: &str = "linux,usable-memory-range";
    const CORE: &str = "linux,elfcorehdr";
    if let Some(ranges) = value(node, USABLE) {
        each_range(Some(ranges), root, Table::Chosen, 0, sink, &mut |range, source, sink| {
            if !range.is_empty() {
                sink.fact(Fact::Usable(Usable { range, source }));
            }
        });
    }
    if let Some(headers) = value(node, CORE) {
        let source = Source::whole(Table::Chosen);
        let first =
            root.ranges(headers).and_then(|mut ranges| ranges.next().unwrap_or(Err(Problem::Empty { start: 0 })));
        match first {
            Ok(range) if range.is_empty() => {}
            Ok(range) => {
                let owner = Owner::new("elfcorehdr");
                sink.reservation(Reservation { range, owner, purpose: Purpose::Held, source });
            }
            Err(problem) => sink.warning(Warning { source, problem }),
        }
    }
}

/// Shows `each` range of a `reg`, counting entries from `entry`; the number after the last. What
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
