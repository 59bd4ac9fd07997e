//! `/reserved-memory` without addresses, and pools of contiguous memory.

use crate::{GIB, MIB, arm64, range, virt};
use mm::addr::PhysRange;
use mm::machine::{Owner, Purpose, Reservation, Source, Table, Wish};
use mm_testkit::Told;

fn wish(told: &mut Told, group: u32, size: u64, align: u64, within: PhysRange, purpose: Purpose) {
    let (owner, source) = (Owner::new(&format!("node{group}")), Source::entry(Table::ReservedMemory, group));
    told.description.wishes.push(Wish { size, align, within, group, owner, purpose, source });
}

fn pool(told: &mut Told, start: u64, size: u64) {
    let (owner, source) = (Owner::new("linux,cma"), Source::entry(Table::ReservedMemory, 9));
    let reservation = Reservation { range: range(start, size), owner, purpose: Purpose::Contiguous, source };
    told.description.reservations.push(reservation);
    told.description.default_pool = Some(source);
}

#[test]
fn the_first_range_with_room_is_taken_from_the_top() {
    let mut told = virt(4 * GIB);
    wish(&mut told, 0, 8 * MIB, MIB, range(0, GIB), Purpose::Held);
    wish(&mut told, 0, 8 * MIB, MIB, range(GIB, GIB), Purpose::Held);
    wish(&mut told, 0, 8 * MIB, MIB, range(2 * GIB, GIB), Purpose::Held);
    wish(&mut told, 1, 0x100, 0, PhysRange::ALL, Purpose::Held);
    let outcome = arm64(told, "");
    assert_eq!(outcome.of("node0"), [(2 * GIB - 8 * MIB, 8 * MIB)]);
    assert_eq!(outcome.of("node1"), [(5 * GIB - 0x100, 0x100)]);
    assert!(outcome.warnings.is_empty(), "{:?}", outcome.warnings);
}

#[test]
fn a_wish_that_cannot_be_granted_is_one_warning() {
    let mut told = virt(GIB);
    wish(&mut told, 3, 2 * GIB, 0, range(0, GIB), Purpose::Held);
    wish(&mut told, 3, 2 * GIB, 0, range(GIB, GIB), Purpose::Held);
    let outcome = arm64(told, "");
    let warning = "device tree reserved-memory entry 3: reserved memory: no free range holds it; ignored";
    assert_eq!(outcome.warnings, [warning]);
}

#[test]
fn memory_out_of_every_mapping_is_not_free() {
    let mut told = virt(GIB);
    wish(&mut told, 0, 4 * MIB, 0, PhysRange::ALL, Purpose::NoMap);
    let outcome = arm64(told, "cma=0");
    assert_eq!(outcome.of("node0"), [(2 * GIB - 4 * MIB, 4 * MIB)]);
    assert!(!outcome.is_free(2 * GIB - 4 * MIB, 0x1000));
    assert_eq!(outcome.memory.iter().map(|(_, size)| size).sum::<u64>(), GIB);
}

#[test]
fn a_pool_for_all_devices_stands_in_for_the_default_one() {
    let mut told = virt(4 * GIB);
    wish(&mut told, 2, 64 * MIB, 0x2000, range(0, 2 * GIB), Purpose::Contiguous);
    told.description.default_pool = Some(Source::entry(Table::ReservedMemory, 2));
    let outcome = arm64(told, "");
    let lines = [
        "Reserved memory: created CMA memory pool at 0x000000007c000000, size 64 MiB",
        "OF: reserved mem: initialized node node2, compatible id shared-dma-pool",
    ];
    assert_eq!(outcome.lines[..2], lines);
    assert_eq!((outcome.said("cma:").len(), outcome.reserved.cma_bytes), (0, 64 * MIB));
}

#[test]
fn a_pool_for_some_devices_does_not() {
    let mut told = virt(4 * GIB);
    pool(&mut told, 2 * GIB, 32 * MIB);
    told.description.default_pool = None;
    let outcome = arm64(told, "");
    assert_eq!(outcome.said("cma:"), ["cma: Reserved 64 MiB at 0x00000000fc000000"]);
    assert_eq!(outcome.reserved.cma_bytes, 96 * MIB);
}

#[test]
fn the_command_line_stands_in_for_the_pool_of_all_devices() {
    let mut told = virt(4 * GIB);
    pool(&mut told, 2 * GIB, 32 * MIB);
    let outcome = arm64(told, "cma=16M");
    assert_eq!(outcome.lines[0], "Reserved memory: bypass linux,cma node, using cmdline CMA params instead");
    assert_eq!(outcome.said("cma:"), ["cma: Reserved 16 MiB at 0x00000000ff000000"]);
    assert_eq!((outcome.of("linux,cma").len(), outcome.reserved.cma_bytes), (0, 16 * MIB));
    assert!(outcome.is_free(2 * GIB, 32 * MIB));
}

#[test]
fn a_pool_is_made_of_whole_blocks() {
    let mut told = virt(4 * GIB);
    pool(&mut told, 2 * GIB + MIB, 32 * MIB);
    wish(&mut told, 2, 3 * MIB, 0, PhysRange::ALL, Purpose::Contiguous);
    let outcome = arm64(told, "");
    assert_eq!((outcome.warnings.len(), outcome.reserved.cma_bytes), (2, 64 * MIB));
    assert!(outcome.is_free(2 * GIB + MIB, 32 * MIB));
    // Where something else lies too, it stays.
    let mut told = virt(4 * GIB);
    pool(&mut told, 2 * GIB + MIB, 32 * MIB);
    let (owner, source) = (Owner::new("Kernel code"), Source::whole(Table::Kernel));
    let range = range(2 * GIB + 2 * MIB, MIB);
    told.description.reservations.push(Reservation { range, owner, purpose: Purpose::Held, source });
    let outcome = arm64(told, "");
    assert!(!outcome.is_free(2 * GIB + 2 * MIB, MIB));
}
