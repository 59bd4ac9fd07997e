//! `crashkernel=`.

use crate::{GIB, MIB, arm64, q35, range, virt, x86};
use mm::machine::{Owner, Purpose, Reservation, Source, Table};

#[test]
fn x86_keeps_a_plain_one_below_4_gib() {
    let outcome = x86(q35(2 * GIB), "crashkernel=256M");
    let line = "Reserving 256MB of memory at 1776MB for crashkernel (System RAM: 4095MB)";
    assert_eq!(outcome.said("crash"), [line]);
    assert_eq!(outcome.reserved.crash.main, Some(range(1776 * MIB, 256 * MIB)));
    assert_eq!(outcome.of("Crash kernel"), [(1776 * MIB, 256 * MIB)]);
}

#[test]
fn x86_keeps_low_memory_beside_a_high_one() {
    let outcome = x86(q35(6 * GIB), "crashkernel=512M,high crashkernel=128M,low");
    let lines = [
        "Reserving 128MB of low memory at 1904MB for crashkernel (low RAM limit: 4096MB)",
        "Reserving 512MB of memory at 9712MB for crashkernel (System RAM: 8191MB)",
    ];
    assert_eq!(outcome.said("crash"), lines);
    assert_eq!(outcome.reserved.crash.low, Some(range(1904 * MIB, 128 * MIB)));
    // By itself 256 MiB, and none when none is asked for.
    let outcome = x86(q35(6 * GIB), "crashkernel=512M,high");
    assert_eq!(outcome.reserved.crash.low, Some(range(1776 * MIB, 256 * MIB)));
    let outcome = x86(q35(6 * GIB), "crashkernel=512M,high crashkernel=0,low");
    assert_eq!((outcome.reserved.crash.low, outcome.of("Crash kernel").len()), (None, 1));
}

#[test]
fn x86_goes_above_4_gib_where_there_is_no_room_below() {
    let outcome = x86(q35(6 * GIB), "crashkernel=3G");
    assert!(outcome.reserved.crash.main.unwrap().start().as_u64() >= 4 * GIB);
    assert_eq!(outcome.reserved.crash.low.map(|low| low.size()), Some(256 * MIB));
}

#[test]
fn x86_without_low_memory_keeps_nothing() {
    let outcome = x86(q35(6 * GIB), "crashkernel=512M,high crashkernel=2G,low");
    assert_eq!(outcome.said("crash"), ["Cannot reserve 2048MB crashkernel low memory, please try smaller size."]);
    assert_eq!(outcome.of("Crash kernel"), []);
}

#[test]
fn a_named_place_is_taken_or_not() {
    let outcome = x86(q35(2 * GIB), "crashkernel=64M@512M");
    assert_eq!(outcome.of("Crash kernel"), [(512 * MIB, 64 * MIB)]);
    let mut told = q35(2 * GIB);
    let kernel = Reservation {
        range: range(80 * MIB, MIB),
        owner: Owner::new("Kernel code"),
        purpose: Purpose::Held,
        source: Source::whole(Table::Kernel),
    };
    told.description.reservations.push(kernel);
    let outcome = x86(told, "crashkernel=64M@64M");
    assert_eq!(outcome.said("crash"), ["crashkernel reservation failed - memory is in use."]);
    let outcome = arm64(virt(4 * GIB), "crashkernel=64M@2049M");
    assert_eq!(outcome.said("crash"), ["cannot allocate crashkernel (size:0x4000000)"]);
    let outcome = arm64(virt(4 * GIB), "crashkernel=64M@2G");
    assert_eq!(outcome.of("Crash kernel"), [(2 * GIB, 64 * MIB)]);
}

#[test]
fn more_than_there_is_is_said_and_not_kept() {
    let outcome = x86(q35(2 * GIB), "crashkernel=64G");
    assert_eq!(outcome.said("crash"), ["crashkernel reservation failed - No suitable area found."]);
    let outcome = arm64(virt(4 * GIB), "crashkernel=64G");
    assert_eq!(outcome.said("crash"), ["cannot allocate crashkernel (size:0x1000000000)"]);
    assert_eq!(outcome.of("Crash kernel"), []);
}

#[test]
fn arm64_puts_it_right_below_the_contiguous_memory() {
    let outcome = arm64(virt(4 * GIB), "crashkernel=256M");
    assert_eq!(outcome.said("cma:"), ["cma: Reserved 64 MiB at 0x00000000fc000000"]);
    let line = "crashkernel reserved: 0x00000000ec000000 - 0x00000000fc000000 (256 MB)";
    assert_eq!(outcome.said("crash"), [line]);
}

#[test]
fn arm64_has_low_memory_only_when_asked() {
    let outcome = arm64(virt(8 * GIB), "crashkernel=512M,high");
    let main = outcome.reserved.crash.main.unwrap();
    assert_eq!((main.size(), outcome.reserved.crash.low), (512 * MIB, None));
    assert!(main.start().as_u64() > 8 * GIB && main.start().is_aligned(2 * MIB));
    let outcome = arm64(virt(8 * GIB), "crashkernel=512M,high crashkernel=128M,low");
    let low = "crashkernel low memory reserved: 0xf4000000 - 0xfc000000 (128 MB)";
    assert_eq!(outcome.said("low"), [low]);
}

#[test]
fn the_machines_memory_says_the_size() {
    let line = "crashkernel=1G-4G:64M,4G-64G:128M";
    assert_eq!(x86(q35(2 * GIB), line).reserved.crash.main.map(|main| main.size()), Some(128 * MIB));
    assert_eq!(arm64(virt(GIB), line).reserved.crash.main.map(|main| main.size()), Some(64 * MIB));
    assert_eq!(arm64(virt(512 * MIB), line).reserved.crash.main, None);
}
