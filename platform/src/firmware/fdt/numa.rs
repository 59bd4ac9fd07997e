//! CPUs, and the distances between domains.
//!
//! A CPU whose `status` is `disabled` is one that waits to be started, so only `fail` takes it out. How it is started
//! is its `enable-method`. A number that no CPU can have, or that another one has, takes it out too. The distance map
//! may give a pair in one direction only; the binding says that the other direction is then the same, so it is handed
//! on too. Whether a distance can be is for [`mm`] to judge. Linux: `of_parse_and_init_cpus` in
//! `arch/arm64/kernel/smp.c`, `cpu_read_enable_method`, `of_numa_parse_distance_map_v1` in `drivers/of/of_numa.c`.

use super::tree::{Cells, cell, is_compatible, number, take, text, value};
use fdt::node::FdtNode;
use mm::addr::PhysAddr;
use mm::machine::{CpuEntry, Distance, MachineSink, Problem, Source, StartMethod, Table, Warning};

/// A matrix of more bytes than this is taken as it is: to look for each pair's other direction would take too long, and
/// one for 64 nodes is no longer than this when it is whole.
const MAX_SEARCHED: usize = 64 * 64 * 12;

/// CPUs after so many are not compared with those before them, which would take too long.
const MAX_COMPARED: u32 = 512;

/// The bits of a CPU's number: affinity 3 in the upper word, 2 to 0 in the lower.
const AFFINITY: u64 = 0xff_00ff_ffff;

/// What the matrix of distances is known by.
pub(super) const DISTANCE_MAP: &str = "numa-distance-map-v1";

/// The children of `/cpus`, which stands below a node of these cells.
pub(super) fn cpus(node: FdtNode<'_, '_>, root: Cells, sink: &mut dyn MachineSink) {
    let cells = root.of(node).address;
    let listed = || node.children().filter(|&child| is_cpu(child)).zip(0..);
    for (cpu, index) in listed() {
        if is_failed(cpu) {
            continue;
        }
        let source = Source::entry(Table::CpuNode, index);
        let hardware_id = hardware_id(cpu, cells).and_then(|id| {
            let mut earlier = listed().take_while(|&(_, other)| other < index && index <= MAX_COMPARED);
            let taken = earlier.any(|(other, _)| !is_failed(other) && self::hardware_id(other, cells) == Ok(id));
            if taken { Err(Problem::EntryIgnored("another CPU has the same number")) } else { Ok(id) }
        });
        match hardware_id {
            Ok(hardware_id) => {
                let start = start_method(cpu, source, sink);
                sink.cpu(CpuEntry { hardware_id, domain: cell(cpu, "numa-node-id"), start, source });
            }
            Err(problem) => sink.warning(Warning { source, problem }),
        }
    }
}

fn is_cpu(node: FdtNode<'_, '_>) -> bool {
    node.name.split('@').next() == Some("cpu") || text(node, "device_type") == Some("cpu")
}

fn is_failed(node: FdtNode<'_, '_>) -> bool {
    text(node, "status").is_some_and(|status| status.starts_with("fail"))
}

/// The number by which the hardware knows a CPU.
fn hardware_id(cpu: FdtNode<'_, '_>, cells: u32) -> Result<u64, Problem> {
    let reg = value(cpu, "reg").unwrap_or_default();
    match take(reg, cells) {
        _ if cells == 0 => Err(Problem::Value { what: "#address-cells", value: 0 }),
        Some((id, _)) => match u64::try_from(id) {
            Ok(id) if id & !AFFINITY == 0 => Ok(id),
            _ => Err(Problem::Value { what: "the CPU's number", value: (id & u128::from(u64::MAX)) as u64 }),
        },
        None if reg.len() >= 16 => Err(Problem::Value { what: "#address-cells", value: cells.into() }),
        None => Err(Problem::Length { stated: reg.len() as u64 }),
    }
}

/// How a CPU is started. A spin table without an address is told.
fn start_method(cpu: FdtNode<'_, '_>, source: Source, sink: &mut dyn MachineSink) -> StartMethod {
    match text(cpu, "enable-method") {
        None => StartMethod::Unstated,
        Some("psci") => StartMethod::Psci,
        Some("spin-table") => match number(cpu, "cpu-release-addr") {
            Some(release) => StartMethod::SpinTable { release: PhysAddr::new(release) },
            None => {
                let stated = value(cpu, "cpu-release-addr").map_or(0, <[u8]>::len) as u64;
                sink.warning(Warning { source, problem: Problem::Length { stated } });
                StartMethod::Unknown
            }
        },
        Some(_) => StartMethod::Unknown,
    }
}

/// A child of the root: the matrix, if it is that.
pub(super) fn distance_map(node: FdtNode<'_, '_>, sink: &mut dyn MachineSink) {
    if !is_compatible(node, DISTANCE_MAP) {
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
