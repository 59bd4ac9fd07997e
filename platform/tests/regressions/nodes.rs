//! Which memory is on which node.

use crate::machine::{GIB, MIB, affinity, affinity_by, bring_up, bring_up_by, cpu, distance, pc, pc_4g, range};
use crate::machine::{KIB, USABLE};
use mm::machine::Plug::{Fixed, HotPluggable};
use mm::machine::{Bank, MachineSink, MemoryKind, RegionFlags, Rules, Source, Table};
use mm_testkit::Told;

/// A board whose RAM is these banks, each with its domain.
fn board(banks: &[(u64, u64, Option<u32>)]) -> Told {
    let mut told = Told::default();
    for (entry, &(start, size, domain)) in (0..).zip(banks) {
        let source = Source::entry(Table::MemoryNode, entry);
        let bank = Bank { range: range(start, size), kind: MemoryKind::Usable, flags: RegionFlags::empty(), source };
        told.bank(bank);
        if let Some(domain) = domain {
            affinity_by(Table::MemoryNode, &mut told, domain, start, size, Fixed);
        }
    }
    told
}

#[test]
fn several_ranges_per_node() {
    let mut told = pc_4g();
    affinity(&mut told, 0, 0, 640 * KIB, Fixed);
    affinity(&mut told, 0, MIB, GIB - MIB, Fixed);
    affinity(&mut told, 1, GIB, 2 * GIB, Fixed);
    affinity(&mut told, 1, 4 * GIB, GIB, Fixed);
    let outcome = bring_up(told);
    let pages = |bytes: u64| bytes >> 12;
    assert_eq!(outcome.nodes, [(0, pages(GIB - MIB + 636 * KIB)), (1, pages(3 * GIB))]);
}

#[test]
fn interleaved_nodes() {
    let mut told = pc(&[(0, 640 * KIB, USABLE), (MIB, 4 * GIB - MIB, USABLE)]);
    for n in 0..8 {
        affinity(&mut told, n % 2, u64::from(n) * 512 * MIB, 512 * MIB, Fixed);
    }
    let outcome = bring_up(told);
    assert_eq!(outcome.nodes.len(), 2);
    let nodes: Vec<u16> = outcome.memory.iter().map(|region| region.2).collect();
    assert_eq!(nodes, [0, 0, 1, 0, 1, 0, 1, 0, 1]);
}

#[test]
fn memoryless_node() {
    let mut told = pc_4g();
    affinity(&mut told, 0, 0, 5 * GIB, Fixed);
    cpu(&mut told, 0, 0);
    cpu(&mut told, 1, 1);
    let outcome = bring_up(told);
    assert_eq!(outcome.nodes.iter().map(|node| node.0).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(outcome.nodes[1].1, 0);
    assert!(outcome.text.contains("Initmem setup node 1 as memoryless"), "{}", outcome.text);
    assert!(outcome.text.contains("Fallback order for Node 1: 1 0"), "{}", outcome.text);
}

#[test]
fn cpu_only_domain_ids_not_dense() {
    let mut told = pc_4g();
    affinity(&mut told, 4_000_000_000, 0, 5 * GIB, Fixed);
    cpu(&mut told, 0, 4_000_000_000);
    cpu(&mut told, 7, 77);
    let outcome = bring_up(told);
    assert_eq!(outcome.nodes.iter().map(|node| node.0).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn srat_hotplug_range_absent() {
    let mut told = pc_4g();
    affinity(&mut told, 0, 0, 5 * GIB, Fixed);
    affinity(&mut told, 1, 64 * GIB, 64 * GIB, HotPluggable);
    let outcome = bring_up(told);
    assert_eq!(outcome.nodes.len(), 1);
    assert_eq!(outcome.memory.last().unwrap().1, 5 * GIB - 1);
}

fn two_nodes() -> Told {
    let mut told = pc_4g();
    affinity(&mut told, 0, 0, GIB, Fixed);
    affinity(&mut told, 1, GIB, 4 * GIB, Fixed);
    told
}

#[test]
fn slit_too_small() {
    let mut told = two_nodes();
    distance(&mut told, 0, 0, 10);
    let outcome = bring_up(told);
    assert!(outcome.text.contains("Fallback order for Node 0: 0 1"), "{}", outcome.text);
    assert_eq!(outcome.nodes.len(), 2);
}

#[test]
fn slit_asymmetric_and_below_10_on_remote() {
    for (there, back) in [(15, 20), (9, 9), (20, 0), (300, 20)] {
        let mut told = two_nodes();
        for (from, to, value) in [(0, 0, 10), (0, 1, there), (1, 0, back), (1, 1, 10)] {
            distance(&mut told, from, to, value);
        }
        let outcome = bring_up(told);
        assert_eq!(outcome.nodes.len(), 2, "{there} {back}");
        assert!(outcome.text.contains("Fallback order for Node 1: 1 0"), "{}", outcome.text);
    }
}

#[test]
fn memory_nodes_in_descending_order() {
    let told = board(&[(2 * GIB, GIB, Some(1)), (GIB, GIB, Some(0))]);
    let outcome = bring_up_by(Rules::Arm64, told);
    let memory = [(GIB, 2 * GIB - 1, 0), (2 * GIB, 3 * GIB - 1, 1)];
    assert_eq!(outcome.memory, memory);
}

#[test]
fn numa_node_id_without_distance_map() {
    let outcome = bring_up_by(Rules::Arm64, board(&[(GIB, GIB, Some(0)), (2 * GIB, GIB, Some(1))]));
    assert_eq!(outcome.nodes.len(), 2);
}

#[test]
fn distance_map_with_one_direction_only() {
    let mut told = board(&[(GIB, GIB, Some(0)), (2 * GIB, GIB, Some(1))]);
    told.distance(mm::machine::Distance { from: 0, to: 1, value: 30, source: Source::whole(Table::DistanceMap) });
    let outcome = bring_up_by(Rules::Arm64, told);
    assert_eq!(outcome.nodes.len(), 2);
}

#[test]
fn memory_of_one_node_is_without_a_number() {
    // arm64 drops the whole table then.
    let outcome =
        bring_up_by(Rules::Arm64, board(&[(GIB, GIB, Some(0)), (2 * GIB, GIB, None), (3 * GIB, GIB, Some(1))]));
    assert_eq!(outcome.nodes.len(), 1);
}

#[test]
fn more_nodes_and_cpus_than_any_table_was_made_for() {
    let mut told = pc(&[(0, 640 * KIB, USABLE), (MIB, 64 * GIB, USABLE)]);
    for n in 0..512 {
        affinity(&mut told, n, u64::from(n) * 128 * MIB, 128 * MIB, Fixed);
        cpu(&mut told, u64::from(n), n);
    }
    affinity(&mut told, 511, 64 * GIB, MIB, Fixed);
    for n in 512..4096 {
        cpu(&mut told, n, n as u32 % 512);
    }
    assert_eq!(bring_up(told).nodes.len(), 512);
}

#[test]
fn node_borders_inside_pages() {
    // No page may fall between two nodes.
    for border in [2 * GIB + 1, 2 * GIB + 0x800, 2 * GIB + 0xfff] {
        let mut told = board(&[(GIB, 2 * GIB, None)]);
        affinity(&mut told, 0, GIB, border - GIB, Fixed);
        affinity(&mut told, 1, border, 3 * GIB - border, Fixed);
        let outcome = bring_up_by(Rules::Arm64, told);
        assert_eq!(outcome.nodes.iter().map(|node| node.1).sum::<u64>(), (2 * GIB) >> 12);
    }
}

#[test]
fn ram_at_0_on_a_board() {
    let outcome = bring_up_by(Rules::Arm64, board(&[(0, GIB, None)]));
    assert_eq!(outcome.memory, [(0, GIB - 1, 0)]);
    assert!(outcome.text.contains("  DMA      [mem 0x0000000000000000-0x000000003fffffff]"), "{}", outcome.text);
}

#[test]
fn ram_far_above_what_devices_reach() {
    let outcome = bring_up_by(Rules::Arm64, board(&[(1 << 40, 4 * GIB, None)]));
    assert!(outcome.text.contains("  DMA      [mem 0x0000010000000000-0x00000100ffffffff]"), "{}", outcome.text);
}
