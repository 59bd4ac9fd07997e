//! Blocks of one node that become one, beside a slow model of the rule; and ranges that meet.

use crate::facts::span;
use crate::{Boot, assign};
use mm::machine::{Problem, Warning};
use proptest::prelude::*;

/// Linux's rule in its slowest form, on blocks that do not overlap: two blocks of one node become one unless a block of
/// another node lies between them; the first block looks for partners first.
fn merge_model(mut blocks: Vec<(u64, u64, u32)>) -> Vec<String> {
    let mut said = Vec::new();
    let mut first = 0;
    while first < blocks.len() {
        let mut second = first + 1;
        while second < blocks.len() {
            let (a, b) = (blocks[first], blocks[second]);
            let union = (a.0.min(b.0), a.1.max(b.1), a.2);
            let between = blocks.iter().any(|c| c.2 != a.2 && c.0 < union.1 && union.0 < c.1);
            if a.2 == b.2 && !between {
                let show = |x: (u64, u64, u32)| format!("[mem {:#010x}-{:#010x}]", x.0, x.1 - 1);
                said.push(format!("NUMA: Node {} {} + {} -> {}", a.2, show(a), show(b), show(union)));
                blocks[first] = union;
                blocks.remove(second);
            } else {
                second += 1;
            }
        }
        first += 1;
    }
    said
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 3 } else { 300 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn blocks_merge_as_the_slow_model_merges_them(
        owners in proptest::collection::vec(proptest::option::weighted(0.8, 0..4u32), 1..24),
        shuffle in proptest::collection::vec(0..100usize, 24),
    ) {
        // Chunks of 64 MiB, each on a node or a hole without memory; the table names them in any order.
        let chunk = 64 << 20;
        let mut blocks: Vec<_> = owners.iter().zip(0..).filter_map(|(owner, at): (_, u64)| {
            owner.map(|owner| (at * chunk, (at + 1) * chunk, owner))
        }).collect();
        prop_assume!(!blocks.is_empty());
        let banks: String = blocks.iter().map(|b| format!("bank {:#x} {:#x} usable\n", b.0, b.1 - 1)).collect();
        let count = blocks.len();
        for (at, other) in shuffle.iter().enumerate().take(count) {
            blocks.swap(at, other % count);
        }
        let srat: String = blocks.iter().map(|b| format!("srat {} {:#x} {:#x}\n", b.2, b.0, b.1 - 1)).collect();
        let mut boot = Boot::new(&format!("arch x86\n{banks}{srat}"));
        assign!(boot, nodes, printed, warnings);
        prop_assert!(warnings.is_empty());
        // Nodes are numbered in the order of the table.
        let mut order: Vec<u32> = Vec::new();
        for block in &mut blocks {
            if !order.contains(&block.2) { order.push(block.2); }
            block.2 = order.iter().position(|owner| *owner == block.2).unwrap() as u32;
        }
        let merged: Vec<_> = printed.lines().filter(|line| line.starts_with("NUMA: Node")).collect();
        prop_assert_eq!(merged, merge_model(blocks.clone()));
        for block in blocks {
            let region = nodes.memblock().memory().find(mm::addr::PhysAddr::new(block.0)).unwrap();
            prop_assert_eq!(region.node().map(|node| u32::from(node.as_u16())), Some(block.2));
        }
    }

    /// Ranges of a table in any order, some of which meet.
    #[test]
    fn ranges_that_meet_are_told_and_those_of_two_nodes_spoil_the_table(
        ranges in proptest::collection::vec((0..12_u64, 1..5_u64, 0..3_u32), 1..7),
    ) {
        let mut description = "arch x86\nbank 0x0 0xffffffff usable\nsrat 9 0x40000000 0xffffffff\n".to_owned();
        // Place in the table, then start, end and domain.
        let mut stated = vec![(0, 64, 256, 9)];
        for (order, (start, length, domain)) in (1..).zip(ranges) {
            let (at, last) = (start << 24, ((start + length) << 24) - 1);
            description += &format!("srat {domain} {at:#x} {last:#x}\n");
            stated.push((order, start, start + length, domain));
        }
        let mut boot = Boot::new(&description);
        assign!(boot, nodes, printed, warnings);
        let meet = |a: &(u32, u64, u64, u32), b: &(u32, u64, u64, u32)| a.1 < b.2 && b.1 < a.2;
        let pairs = || stated.iter().flat_map(|a| stated.iter().filter(move |b| a.0 < b.0).map(move |b| (a, b)));
        let foreign = pairs().any(|(a, b)| meet(a, b) && a.3 != b.3);
        prop_assert_eq!(printed.contains("overlaps with node"), foreign);
        let ignored = |warning: &Warning| warning.problem == Problem::TableIgnored("two nodes overlap");
        prop_assert_eq!(warnings.last().is_some_and(ignored), foreign);
        // What is told are two that meet, by the later one; and of all that meet an earlier one something is told.
        let overlaps: Vec<_> = warnings.iter().filter(|warning| matches!(warning.problem, Problem::Overlaps(_))).collect();
        for warning in &overlaps {
            let told = pairs().any(|(a, b)| {
                let common = span(a.1.max(b.1) << 24, (a.2.min(b.2) << 24) - 1);
                meet(a, b) && warning.source.entry == Some(b.0) && warning.problem == Problem::Overlaps(common)
            });
            prop_assert!(told, "{warning:?}");
        }
        if foreign {
            let last = stated.iter().find(|range| Some(range.0) == overlaps.last().unwrap().source.entry).unwrap();
            prop_assert!(stated.iter().any(|range| meet(range, last) && range.3 != last.3));
            prop_assert_eq!(nodes.node_count(), 1);
        } else {
            // In the order of addresses, all that meet one before them.
            stated.sort_by_key(|range| (range.1, range.0));
            let met = (0..stated.len()).filter(|at| stated[..*at].iter().any(|before| meet(before, &stated[*at])));
            prop_assert_eq!(overlaps.len(), met.count());
        }
    }
}
