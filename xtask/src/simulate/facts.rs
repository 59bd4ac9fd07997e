//! A machine's file, stated as its firmware would state it.
//!
//! Memory maps go through the readers of `platform`, as bytes where those read bytes; only what no table of this
//! machine is known for (a kernel's own list of memory, SRAT as a log prints it, who holds what) is stated here, one
//! fact each. Like every front end this runs several times over the same subject.

use mm::addr::PhysAddr;
use mm::machine::{
    Affinity, Bank, CpuAffinity, CpuEntry, DmaLimit, Fact, MachineSink, MemoryKind, Owner, Persistence, Plug, Purpose,
    RegionFlags, Reservation, Rules, Source, StartMethod, Table,
};

use super::node_ranges::unmapped;
use super::subject::{HeldMapping, Map, NodeRange, SratMemory, Subject};
use super::tables::{TableMap, Tables};

/// Hands every fact about the machine to `sink`.
pub(super) fn describe(subject: &Subject, tables: &Tables<'_>, sink: &mut dyn MachineSink) {
    // What is `no-map` a kernel's list shows by itself: that is stated with the list.
    let listed = matches!(subject.map, Map::NodeRanges(_));
    for (held, entry) in subject.held.iter().zip(0..) {
        let purpose = match held.mapping {
            HeldMapping::Mapped => Purpose::Held,
            HeldMapping::Unmapped if listed => continue,
            HeldMapping::Unmapped => Purpose::NoMap,
        };
        let table = match subject.rules {
            Rules::X86 => Table::StartInfo,
            Rules::Arm64 => Table::ReservedMemory,
        };
        let source = Source::entry(table, entry);
        sink.reservation(Reservation { range: held.span.range(), owner: Owner::new(&held.owner), purpose, source });
    }
    tables.describe(subject.page_size.bytes(), sink);
    if let TableMap::NodeRanges(ranges) = &tables.map {
        node_list(subject, ranges, sink);
    }
    if let Some(end) = subject.dma_limit {
        let (end, source) = (PhysAddr::new(end), Source::whole(Table::Kernel));
        sink.fact(Fact::DmaLimit(DmaLimit { end, source }));
    }
    srat(subject, sink);
}

/// Memory as a kernel listed it.
fn node_list(subject: &Subject, ranges: &[NodeRange], sink: &mut dyn MachineSink) {
    let several = ranges.iter().any(|range| range.node != 0) || !subject.memoryless.is_empty();
    let several = several && subject.srat.is_empty();
    for (range, entry) in ranges.iter().zip(0..) {
        let source = Source::entry(Table::Kernel, entry);
        let bytes = range.span.range();
        sink.bank(Bank { range: bytes, kind: MemoryKind::Usable, flags: RegionFlags::empty(), source });
        if several {
            sink.affinity(Affinity {
                range: bytes,
                domain: range.node.into(),
                plug: Plug::Fixed,
                persistence: Persistence::default(),
                source,
            });
        }
    }
    // A node without memory is there for its CPUs, of which one is enough.
    for (&node, entry) in subject.memoryless.iter().zip(0..).filter(|_| several) {
        let source = Source::entry(Table::Kernel, entry);
        sink.cpu(CpuEntry { hardware_id: node.into(), domain: Some(node.into()), start: StartMethod::Unknown, source });
    }
    for span in unmapped(ranges, &subject.held) {
        let (owner, source) = (Owner::new("not in the direct map"), Source::whole(Table::ReservedMemory));
        sink.reservation(Reservation { range: span.range(), owner, purpose: Purpose::NoMap, source });
    }
}

/// What SRAT says. A CPU that it names is there.
fn srat(subject: &Subject, sink: &mut dyn MachineSink) {
    for (cpu, entry) in subject.srat_cpus.iter().zip(0..) {
        let source = Source::entry(Table::Srat, entry);
        sink.cpu(CpuEntry { hardware_id: cpu.hardware_id, domain: None, start: StartMethod::Unknown, source });
        sink.cpu_affinity(CpuAffinity { hardware_id: cpu.hardware_id, domain: cpu.domain, source });
    }
    let first = u32::try_from(subject.srat_cpus.len()).unwrap_or(u32::MAX);
    for (memory, entry) in subject.srat.iter().zip(first..) {
        let source = Source::entry(Table::Srat, entry);
        let SratMemory { domain, plug, persistence, .. } = *memory;
        sink.affinity(Affinity { range: memory.span.range(), domain, plug, persistence, source });
    }
}
