//! CPUs, and the distances between domains.
//!
//! A CPU whose `status` is `disabled` is one that waits to be started, so only `fail` takes it out. The distance map
//! may give a pair in one direction only; the binding says that the other direction is then the same, so it is handed
//! on too. Whether a distance can be is for [`mm`] to judge. Linux: `of_parse_and_init_cpus` in
//! `arch/arm64/kernel/smp.c`, `of_numa_parse_distance_map_v1` in `drivers/of/of_numa.c`.

use super::tree::{Cells, cell, strings, take, text, value};
use fdt::node::FdtNode;
use mm::machine::{CpuEntry, Distance, MachineSink, Problem, Source, Table, Warning};

/// A matrix of more bytes than this is taken as it is: to look for each pair's other direction would take too long, and
/// one for 64 nodes is no longer than this when it is whole.
const MAX_SEARCHED: usize = 64 * 64 * 12;

/// The children of `/cpus`.
pub(super) fn cpus(node: FdtNode<'_, '_>, sink: &mut dyn MachineSink) {
    let cells = Cells::of(node).address;
    let is_cpu = |child: FdtNode<'_, '_>| {
        child.name.split('@').next() == Some("cpu") || text(child, "device_type") == Some("cpu")
    };
    let present = |child: FdtNode<'_, '_>| !text(child, "status").is_some_and(|status| status.starts_with("fail"));
    for (index, cpu) in (0..).zip(node.children().filter(|&child| is_cpu(child))) {
        if !present(cpu) {
            continue;
        }
        let source = Source::entry(Table::CpuNode, index);
        let reg = value(cpu, "reg").unwrap_or_default();
        let problem = match take(reg, cells) {
            _ if cells == 0 => Problem::Value { what: "#address-cells", value: 0 },
            Some((hardware_id, _)) => {
                sink.cpu(CpuEntry { hardware_id, domain: cell(cpu, "numa-node-id"), source });
                continue;
            }
            None if cells > 2 => Problem::Value { what: "#address-cells", value: cells.into() },
            None => Problem::Length { stated: reg.len() as u64 },
        };
        sink.warning(Warning { source, problem });
    }
}

/// The node `/distance-map`.
pub(super) fn distance_map(node: FdtNode<'_, '_>, sink: &mut dyn MachineSink) {
    if !strings(node, "compatible").any(|compatible| compatible == "numa-distance-map-v1") {
        return;
    }
    let matrix = value(node, "distance-matrix").unwrap_or_default();
    if matrix.is_empty() || !matrix.len().is_multiple_of(12) {
        let problem = Problem::Length { stated: matrix.len() as u64 };
        return sink.warning(Warning { source: Source::whole(Table::DistanceMap), problem });
    }
    for (index, (from, to, value)) in (0..).zip(triplets(matrix)) {
        let source = Source::entry(Table::DistanceMap, index);
        sink.distance(Distance { from, to, value, source });
        let reverse_stated = || triplets(matrix).any(|(one, other, _)| (one, other) == (to, from));
        if to > from && matrix.len() <= MAX_SEARCHED && !reverse_stated() {
            sink.distance(Distance { from: to, to: from, value, source });
        }
    }
}

/// From, to, distance.
fn triplets(matrix: &[u8]) -> impl Iterator<Item = (u32, u32, u32)> {
    matrix.chunks_exact(12).filter_map(|entry| {
        let (from, rest) = entry.split_first_chunk()?;
        let (to, rest) = rest.split_first_chunk()?;
        let value = rest.first_chunk()?;
        Some((u32::from_be_bytes(*from), u32::from_be_bytes(*to), u32::from_be_bytes(*value)))
    })
}
