//! `cma=` and `cma_pernuma=`.

use crate::{GIB, MIB, arm64, machine, q35, virt, x86};
use mm::addr::PhysAddr;
use mm::machine::{DmaLimit, Source, Table};

#[test]
fn arm64_keeps_64_mib_below_4_gib_by_itself() {
    let outcome = arm64(virt(4 * GIB), "");
    assert_eq!(outcome.said("cma"), ["cma: Reserved 64 MiB at 0x00000000fc000000"]);
    assert_eq!(outcome.of("CMA reserved"), [(0xfc00_0000, 64 * MIB)]);
    assert_eq!(outcome.reserved.cma_bytes, 64 * MIB);
    let outcome = x86(q35(2 * GIB), "");
    assert_eq!((outcome.said("cma").len(), outcome.reserved.cma_bytes), (0, 0));
}

#[test]
fn the_command_line_says_how_much() {
    assert_eq!(arm64(virt(4 * GIB), "cma=256M").said("cma"), ["cma: Reserved 256 MiB at 0x00000000f0000000"]);
    let none = arm64(virt(4 * GIB), "cma=0");
    assert_eq!((none.said("cma").len(), none.reserved.cma_bytes), (0, 0));
    // Whole page blocks.
    assert_eq!(arm64(virt(4 * GIB), "cma=3M").reserved.cma_bytes, 4 * MIB);
}

#[test]
fn it_lies_below_what_every_device_reaches() {
    let mut told = virt(4 * GIB);
    let end = PhysAddr::new(2 * GIB);
    told.description.dma_limit = Some(DmaLimit { end, source: Source::whole(Table::MemoryNode) });
    assert_eq!(arm64(told, "").said("cma"), ["cma: Reserved 64 MiB at 0x000000007c000000"]);
}

#[test]
fn too_small_a_machine_has_none() {
    assert_eq!(arm64(virt(64 * MIB), "").said("cma"), ["cma: Failed to reserve 64 MiB"]);
}

#[test]
fn x86_starts_at_4_gib() {
    assert_eq!(x86(q35(2 * GIB), "cma=64M").said("cma"), ["cma: Reserved 64 MiB at 0x0000000100000000"]);
}

#[test]
fn a_place_is_kept_to() {
    assert_eq!(arm64(virt(4 * GIB), "cma=64M@2G").of("CMA reserved"), [(2 * GIB, 64 * MIB)]);
    assert_eq!(arm64(virt(4 * GIB), "cma=64M@2G-3G").of("CMA reserved"), [(3 * GIB - 64 * MIB, 64 * MIB)]);
    let lines = [
        "cma: Region at 0x0000000080100000 must be aligned to 0x0000000000200000 bytes",
        "cma: Failed to reserve 64 MiB",
    ];
    assert_eq!(arm64(virt(4 * GIB), "cma=64M@2049M").said("cma"), lines);
    let lines = [
        "cma: Size (0x0000000004000000) of region at 0x0000000200000000 exceeds limit (0x0000000100000000)",
        "cma: Failed to reserve 64 MiB",
    ];
    assert_eq!(arm64(virt(4 * GIB), "cma=64M@8G").said("cma"), lines);
    assert_eq!(arm64(virt(4 * GIB), "cma=16E").warnings, ["cma: more than 64 bits"]);
    assert_eq!(arm64(virt(4 * GIB), "cma=15E").said("Failed").len(), 1);
}

#[test]
fn each_node_has_its_own_on_arm64() {
    let two = || machine(Table::MemoryNode, &[(GIB, 2 * GIB, 0), (3 * GIB, 3 * GIB, 1)]);
    let outcome = arm64(two(), "cma_pernuma=32M");
    let lines = [
        "cma: Reserved 32 MiB at 0x00000000bde00000",
        "cma: Reserved 32 MiB at 0x0000000100000000",
        "cma: Reserved 64 MiB at 0x00000000fc000000",
    ];
    assert_eq!(outcome.said("cma"), lines);
    assert_eq!(outcome.of("CMA pernuma1"), [(4 * GIB, 32 * MIB)]);
    assert_eq!(outcome.reserved.cma_bytes, 128 * MIB);
    assert_eq!(x86(q35(2 * GIB), "cma_pernuma=32M").reserved.cma_bytes, 0);
}
