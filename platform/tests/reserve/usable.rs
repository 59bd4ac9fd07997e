//! `mem=` and `linux,usable-memory-range` on arm64.

use crate::{GIB, MIB, Outcome, arm64, machine, range, virt, x86};
use mm::machine::{Owner, Purpose, Reservation, Source, Table, Usable};
use mm_testkit::Told;

fn hold(told: &mut Told, start: u64, size: u64, purpose: Purpose, table: Table) {
    hold_as("held", told, start, size, purpose, table);
}

fn hold_as(owner: &str, told: &mut Told, start: u64, size: u64, purpose: Purpose, table: Table) {
    let (range, owner, source) = (range(start, size), Owner::new(owner), Source::whole(table));
    told.description.reservations.push(Reservation { range, owner, purpose, source });
}

fn memory(outcome: &Outcome) -> &[(u64, u64)] {
    &outcome.memory
}

#[test]
fn the_lowest_memory_is_used() {
    let outcome = arm64(virt(4 * GIB), "mem=1G");
    assert_eq!(outcome.said("limited"), ["Memory limited to 1024MB"]);
    assert_eq!(memory(&outcome), [(GIB, GIB)]);
    // Holes do not count, parts of a page do not.
    let holes = || machine(Table::MemoryNode, &[(GIB, 256 * MIB, 0), (2 * GIB, GIB, 0), (8 * GIB, GIB, 0)]);
    assert_eq!(memory(&arm64(holes(), "mem=512M")), [(GIB, 256 * MIB), (2 * GIB, 256 * MIB)]);
    assert_eq!(memory(&arm64(holes(), "mem=0x10000fff")), [(GIB, 256 * MIB)]);
    assert_eq!(memory(&arm64(holes(), "mem=64G")).len(), 3);
    let nothing = arm64(holes(), "mem=0");
    assert_eq!((memory(&nothing).len(), nothing.said("limited").len()), (3, 0));
    assert_eq!(nothing.warnings, ["command line: mem=: that is no memory; ignored"]);
}

#[test]
fn a_limit_that_cannot_be_understood_is_one_warning() {
    let outcome = arm64(virt(GIB), "mem=lots");
    assert_eq!(outcome.warnings, ["command line: mem=: no number where one should stand; ignored"]);
    assert_eq!(memory(&outcome), [(GIB, GIB)]);
}

#[test]
fn on_x86_the_map_has_been_changed_already() {
    let outcome = x86(machine(Table::E820, &[(MIB, GIB, 0)]), "mem=64M");
    assert_eq!((memory(&outcome), outcome.warnings.len()), (&[(MIB, GIB)][..], 0));
}

#[test]
fn the_kernel_stays_memory_and_unmapped_ranges_of_the_firmwares_map_stay_known() {
    let mut told = virt(4 * GIB);
    hold(&mut told, 3 * GIB, 2 * MIB, Purpose::Held, Table::Kernel);
    hold(&mut told, 4 * GIB, MIB, Purpose::NoMap, Table::ReservedMemory);
    let outcome = arm64(told, "mem=1G");
    assert_eq!(memory(&outcome), [(GIB, GIB), (3 * GIB, 2 * MIB)]);
}

#[test]
fn the_initial_ram_disk_stays_memory_and_not_what_only_has_its_name() {
    let mut told = virt(4 * GIB);
    hold_as("initrd", &mut told, 3 * GIB, MIB, Purpose::Held, Table::DeviceTree);
    hold_as("initrd", &mut told, 16 * GIB, MIB, Purpose::Held, Table::ReservedMemory);
    assert_eq!(memory(&arm64(told, "mem=1G")), [(GIB, GIB), (3 * GIB, MIB)]);
}

#[test]
fn the_first_usable_range_is_a_cap_the_second_is_added_and_there_are_no_more() {
    // Linux on the same machine: 0x40000000-0x7fffffff and 0x120000000-0x12fffffff.
    let mut told = virt(4 * GIB);
    let source = Source::whole(Table::Chosen);
    for (start, size) in [(GIB, GIB), (0x1_2000_0000, 256 * MIB)] {
        told.description.usable.push(Usable { range: range(start, size), source });
    }
    let outcome = arm64(told, "");
    assert_eq!(memory(&outcome), [(GIB, GIB), (0x1_2000_0000, 256 * MIB)]);
    assert_eq!(outcome.said("cma"), ["cma: Reserved 64 MiB at 0x000000007c000000"]);
    assert!(outcome.warnings.is_empty());

    // Linux has room for two: a third, with memory below it, is none.
    let mut told = virt(4 * GIB);
    for (start, size) in [(GIB, GIB), (3 * GIB, 256 * MIB), (0x1_2000_0000, 256 * MIB)] {
        told.description.usable.push(Usable { range: range(start, size), source });
    }
    let outcome = arm64(told, "");
    assert_eq!(memory(&outcome), [(GIB, GIB), (3 * GIB, 256 * MIB)]);
    assert_eq!(outcome.warnings, ["device tree chosen: a crash kernel has two ranges at most; entry dropped"]);
}
