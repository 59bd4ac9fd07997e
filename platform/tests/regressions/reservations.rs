//! Ranges that somebody holds.

use crate::machine::{GIB, MIB, TIB, bring_up, pc_4g, range, reserve};
use mm::machine::Table;

#[test]
fn reservation_across_two_regions() {
    // From the end of low RAM over the hole into RAM above 4 GiB; `Told` checks that no byte of it is free.
    let mut told = pc_4g();
    reserve(&mut told, range(3 * GIB - MIB, GIB + 2 * MIB), Table::ReserveMap);
    assert_eq!(bring_up(told).memory.len(), 3);
}

#[test]
fn reservation_outside_ram() {
    let mut told = pc_4g();
    reserve(&mut told, range(8 * TIB, MIB), Table::ReserveMap);
    let outcome = bring_up(told);
    assert_eq!(outcome.memory[2].1, 5 * GIB - 1);
    assert!(outcome.warned(Table::ReserveMap, "does not lie in RAM"));
}

#[test]
fn initrd_and_device_tree_blob_inside_ram() {
    let mut told = pc_4g();
    reserve(&mut told, range(GIB + 0x123, 0x4567), Table::StartInfo);
    reserve(&mut told, range(GIB + 0x5000, 0x1_0001), Table::DeviceTree);
    let outcome = bring_up(told);
    assert!(outcome.warnings.is_empty(), "{:?}", outcome.warnings);
}

#[test]
fn more_than_sixteen_reservations_before_there_is_a_heap() {
    let mut told = pc_4g();
    for n in 0..2000 {
        reserve(&mut told, range(16 * MIB + n * 0x3000, 0x1800), Table::ReserveMap);
    }
    bring_up(told);
}

#[test]
fn reservations_that_overlap_and_repeat() {
    let mut told = pc_4g();
    for (start, size) in [(GIB, MIB), (GIB, MIB), (GIB - 0x800, 0x1000), (GIB + 0x80, 0x10)] {
        reserve(&mut told, range(start, size), Table::ReserveMap);
    }
    bring_up(told);
}
