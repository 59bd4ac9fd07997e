//! Maps of memory.

use crate::machine::{GIB, KIB, MIB, Outcome, RESERVED, TIB, USABLE, bring_up, pc, refused};
use mm::machine::Table;
use mm_testkit::Refused;

const LOW: (u64, u64, u32) = (0, 640 * KIB, USABLE);
const MAIN: (u64, u64, u32) = (MIB, GIB - MIB, USABLE);

fn ends(outcome: &Outcome) -> (u64, u64) {
    (outcome.memory[0].0, outcome.memory[outcome.memory.len() - 1].1)
}

#[test]
fn unsorted_map() {
    let sorted = bring_up(pc(&[LOW, MAIN, (4 * GIB, GIB, USABLE)]));
    let unsorted = bring_up(pc(&[(4 * GIB, GIB, USABLE), MAIN, LOW]));
    assert_eq!(sorted.memory, unsorted.memory);
    assert!(unsorted.warned(Table::E820, "out of order"));
}

#[test]
fn overlapping_entries() {
    let outcome = bring_up(pc(&[LOW, MAIN, (512 * MIB, GIB, USABLE), (600 * MIB, MIB, RESERVED)]));
    let ranges = [(0x1000, 640 * KIB - 1), (MIB, 600 * MIB - 1), (601 * MIB, 1536 * MIB - 1)];
    assert_eq!(outcome.ranges(), ranges);
}

#[test]
fn duplicates() {
    let once = bring_up(pc(&[LOW, MAIN]));
    let twice = bring_up(pc(&[LOW, MAIN, LOW, MAIN]));
    assert_eq!(once.memory, twice.memory);
}

#[test]
fn zero_length() {
    let outcome = bring_up(pc(&[LOW, (512 * KIB, 0, RESERVED), MAIN, (2 * GIB, 0, USABLE)]));
    assert_eq!(outcome.ranges(), [(0x1000, 640 * KIB - 1), (MIB, GIB - 1)]);
    assert!(outcome.warned(Table::E820, "nothing at"));
}

#[test]
fn unaligned_ends() {
    let outcome = bring_up(pc(&[(0x400, 0x9_f7ff, USABLE), (MIB + 1, GIB, USABLE)]));
    assert_eq!(outcome.ranges(), [(0x1000, 0x9_efff), (MIB + 0x1000, GIB + MIB - 1)]);
}

#[test]
fn length_overflow_past_2_to_the_64() {
    let outcome = bring_up(pc(&[LOW, MAIN, (u64::MAX - 0xfff, 0x2000, USABLE), (GIB, u64::MAX, RESERVED)]));
    assert_eq!(ends(&outcome), (0x1000, GIB - 1));
    assert!(outcome.warned(Table::E820, "past the end of the address space"));
}

#[test]
fn a_thousand_regions() {
    let mut entries = vec![LOW, MAIN];
    entries.extend((0..1500).map(|n| (2 * GIB + n * 2 * MIB, MIB, USABLE)));
    let outcome = bring_up(pc(&entries));
    assert_eq!(outcome.memory.len(), 1502);
}

#[test]
fn frame_0() {
    // The BIOS's on a PC, whatever its map says; elsewhere it is a frame like others (`nodes::ram_at_0_on_a_board`).
    assert_eq!(ends(&bring_up(pc(&[LOW, MAIN]))).0, 0x1000);
}

#[test]
fn hole_at_3_to_4_gib() {
    let outcome = bring_up(pc(&[LOW, (MIB, 3 * GIB - MIB, USABLE), (4 * GIB, GIB, USABLE)]));
    assert_eq!(outcome.bytes(), 636 * KIB + 3 * GIB - MIB + GIB);
    assert!(outcome.text.contains("  DMA32    [mem 0x0000000001000000-0x00000000ffffffff]"), "{}", outcome.text);
}

#[test]
fn ram_above_4_gib_only() {
    let outcome = bring_up(pc(&[(4 * GIB, 4 * GIB, USABLE)]));
    assert!(outcome.text.contains("  DMA      empty\n  DMA32    empty\n"), "{}", outcome.text);
    assert_eq!(outcome.bytes(), 4 * GIB);
}

#[test]
fn first_region_tiny() {
    let outcome = bring_up(pc(&[(0x1000, 0x1000, USABLE), MAIN]));
    assert_eq!(outcome.bytes(), 0x1000 + GIB - MIB);
}

#[test]
fn ram_of_128_gib_512_gib_and_6_tib() {
    for size in [128 * GIB, 512 * GIB, 6 * TIB] {
        let outcome = bring_up(pc(&[LOW, (MIB, 2 * GIB - MIB, USABLE), (4 * GIB, size - 2 * GIB, USABLE)]));
        assert_eq!(outcome.bytes(), 636 * KIB + size - MIB);
        assert_eq!(outcome.nodes.len(), 1);
    }
}

#[test]
fn framebuffer_or_mmio_far_above_ram() {
    let outcome = bring_up(pc(&[LOW, MAIN, (60 * TIB, 16 * GIB, RESERVED), (253 * GIB, 3 * GIB, RESERVED)]));
    assert_eq!(ends(&outcome).1, GIB - 1);
}

#[test]
fn nothing_at_all() {
    assert!(matches!(refused(pc(&[])), Refused::NoWindow));
    assert!(matches!(refused(pc(&[(0, 16 * GIB, RESERVED)])), Refused::NoWindow));
    assert!(matches!(refused(pc(&[LOW])), Refused::NoWindow));
}

#[test]
fn hot_pluggable_bank_with_unaligned_ends() {
    // What is special about it must not cut pages in two.
    use mm::machine::{Bank, MachineSink, MemoryKind, RegionFlags, Source};
    let mut told = pc(&[LOW, MAIN]);
    let range = crate::machine::range(GIB - 8, GIB);
    let source = Source::entry(Table::MemoryNode, 0);
    told.bank(Bank { range, kind: MemoryKind::Usable, flags: RegionFlags::HOTPLUG, source });
    assert_eq!(ends(&bring_up(told)).1, 2 * GIB - 0x1001);
}
