//! `hugepages=`.

use crate::{GIB, MIB, arm64, machine, q35, virt, x86};
use mm::machine::Table;
use mm::view::SetAside;

#[test]
fn pages_of_the_default_size() {
    let outcome = x86(q35(2 * GIB), "hugepages=4");
    assert_eq!(outcome.said("HugeTLB"), ["HugeTLB: registered 2.00 MiB page size, pre-allocated 4 pages"]);
    let expected = SetAside { cma_bytes: 0, huge_page_bytes: 2 * MIB, huge_pages: 4, huge_bytes: 8 * MIB };
    assert_eq!(outcome.reserved.set_aside(), expected);
    let held = outcome.of("HugeTLB");
    assert_eq!(held.iter().map(|(_, size)| size).sum::<u64>(), 8 * MIB);
    assert!(held.iter().all(|(start, _)| start % (2 * MIB) == 0));
}

#[test]
fn nothing_is_said_of_what_nobody_asked_for() {
    let outcome = arm64(virt(4 * GIB), "");
    assert_eq!((outcome.said("HugeTLB").len(), outcome.reserved.set_aside().huge_page_bytes), (0, 2 * MIB));
}

#[test]
fn each_size_has_its_own_number() {
    let outcome = arm64(virt(4 * GIB), "hugepagesz=64K hugepages=16 hugepagesz=32M hugepages=2 hugepagesz=2M");
    let lines = [
        "HugeTLB: registered 64.0 KiB page size, pre-allocated 16 pages",
        "HugeTLB: registered 32.0 MiB page size, pre-allocated 2 pages",
        "HugeTLB: registered 2.00 MiB page size, pre-allocated 0 pages",
    ];
    assert_eq!(outcome.said("HugeTLB")[..3], lines);
    assert_eq!(outcome.reserved.set_aside().huge_bytes, 65 * MIB);
}

#[test]
fn more_than_there_is_leaves_room_for_the_kernel() {
    let outcome = arm64(virt(GIB), "hugepages=9999");
    let pages = outcome.reserved.huge.of_default_size().pages;
    let line = format!("HugeTLB: allocating 9999 of page size 2.00 MiB failed.  Only allocated {pages} hugepages.");
    assert_eq!(outcome.said("failed"), [line]);
    assert!((400..512).contains(&pages), "{pages}");
    assert!(outcome.free.iter().map(|(_, size)| size).sum::<u64>() >= GIB / 32 + GIB / 64);
}

#[test]
fn they_go_round_the_nodes_or_stay_on_one() {
    let two = || machine(Table::MemoryNode, &[(GIB, GIB, 0), (2 * GIB, GIB, 1)]);
    let on = |outcome: &crate::Outcome, node: u64| {
        let held = outcome.of("HugeTLB");
        held.iter().filter(|(start, _)| start / GIB == node + 1).map(|(_, size)| size / (2 * MIB)).sum::<u64>()
    };
    let outcome = arm64(two(), "hugepages=5");
    assert_eq!((on(&outcome, 0), on(&outcome, 1)), (3, 2));
    let outcome = arm64(two(), "hugepages=0:2,1:3");
    assert_eq!((on(&outcome, 0), on(&outcome, 1)), (2, 3));
    let outcome = arm64(two(), "hugepages=1:600");
    assert_eq!(on(&outcome, 0), 0);
    let got = on(&outcome, 1);
    let line = format!("HugeTLB: allocating 600 of page size 2.00 MiB failed node1.  Only allocated {got} hugepages.");
    assert_eq!(outcome.said("failed"), [line]);
}

#[test]
fn a_node_that_is_not_there_voids_its_whole_item() {
    let two = || machine(Table::MemoryNode, &[(GIB, GIB, 0), (2 * GIB, GIB, 1)]);
    let outcome = arm64(two(), "hugepages=0:2,7:1,1:3 hugepagesz=64K hugepages=1:4");
    let lines = [
        "HugeTLB: Invalid hugepages parameter 7:1,1:3",
        "HugeTLB: registered 64.0 KiB page size, pre-allocated 4 pages",
    ];
    assert_eq!(outcome.said("HugeTLB")[..2], lines);
    assert_eq!(outcome.reserved.set_aside().huge_pages, 0);
    assert_eq!(outcome.reserved.huge.bytes(), 256 << 10);
}

#[test]
fn a_size_that_the_machine_has_not() {
    let outcome = x86(q35(2 * GIB), "hugepagesz=64K hugepages=3");
    assert_eq!(outcome.warnings, ["command line: hugepagesz=: this machine has no pages of that size; ignored"]);
    assert_eq!(outcome.of("HugeTLB"), []);
    let outcome = arm64(virt(2 * GIB), "default_hugepagesz=16M hugepages=3");
    assert_eq!(outcome.warnings.len(), 1);
    assert_eq!(outcome.reserved.set_aside().huge_pages, 3);
    let outcome = arm64(virt(2 * GIB), "default_hugepagesz=32M hugepages=3");
    assert_eq!(outcome.reserved.set_aside().huge_page_bytes, 32 * MIB);
}
