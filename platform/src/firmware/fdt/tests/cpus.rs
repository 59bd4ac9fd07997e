//! CPUs: their numbers, and how they are started.

use super::*;
use mm::machine::{Problem, StartMethod};

#[test]
fn cpus_with_ids_of_two_cells_and_with_none() {
    let cpu = |reg: &[u32]| {
        let tree = Builder::root(1, 1).begin("cpus").prop("#address-cells", &cells(&[2]));
        described(tree.node("cpu@0", &[("reg", &cells(reg))]).end().done())
    };
    assert_eq!(cpu(&[1, 2]).cpus[0].hardware_id, 0x1_0000_0002);
    assert_eq!(cpu(&[1]).problems(), [(Some(0), Problem::Length { stated: 4 })]);
    let none = described(
        Builder::root(1, 1).begin("cpus").prop("#address-cells", &cells(&[0])).begin("cpu").end().end().done(),
    );
    assert_eq!(none.problems(), [(Some(0), Problem::Value { what: "#address-cells", value: 0 })]);
    // More cells than any number has, and no more than four are there.
    for (count, problem) in
        [(5, Problem::Value { what: "#address-cells", value: 5 }), (3, Problem::Length { stated: 12 })]
    {
        let tree = Builder::root(1, 1).begin("cpus").prop("#address-cells", &cells(&[5]));
        let recorder = described(tree.node("cpu@0", &[("reg", &cells(&vec![0; count]))]).end().done());
        assert_eq!((recorder.cpus.len(), recorder.problems()), (0, vec![(Some(0), problem)]));
    }
}

/// A CPU's `reg` and its other properties.
type Cpu<'a> = (u32, &'a [(&'a str, &'a [u8])]);

/// What each of these CPUs is.
fn machine(cpus: &[Cpu<'_>]) -> Recorder {
    let tree = Builder::root(1, 1).begin("cpus").prop("#address-cells", &cells(&[1]));
    let cpu = |tree: Builder, &(reg, more): &Cpu<'_>| {
        let reg = cells(&[reg]);
        tree.node("cpu", &[&[("device_type", &b"cpu\0"[..]), ("reg", &reg[..])], more].concat())
    };
    described(cpus.iter().fold(tree, cpu).end().done())
}

#[test]
fn each_cpu_says_how_it_is_started() {
    let (long, short) = (cells(&[1, 0xd8]), cells(&[0xe0]));
    let method = |name: &'static [u8]| ("enable-method", name);
    let recorder = machine(&[
        (0, &[]),
        (1, &[method(b"psci\0")]),
        (2, &[method(b"spin-table\0"), ("cpu-release-addr", &long)]),
        (3, &[method(b"spin-table\0"), ("cpu-release-addr", &short)]),
        (4, &[method(b"spin-table\0")]),
        (5, &[method(b"brcm,brahma-b15\0")]),
    ]);
    let starts: Vec<_> = recorder.cpus.iter().map(|cpu| cpu.start).collect();
    let spin = |release| StartMethod::SpinTable { release: PhysAddr::new(release) };
    use StartMethod::{Psci, Unknown, Unstated};
    assert_eq!(starts, [Unstated, Psci, spin(0x1_0000_00d8), spin(0xe0), Unknown, Unknown]);
    assert_eq!(recorder.problems(), [(Some(4), Problem::Length { stated: 0 })]);
}

#[test]
fn a_cpu_that_is_listed_twice_is_one() {
    let recorder = machine(&[(0, &[]), (1, &[("status", b"fail\0")]), (1, &[]), (0, &[])]);
    assert_eq!(recorder.cpus.iter().map(|cpu| cpu.hardware_id).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(recorder.problems(), [(Some(3), Problem::EntryIgnored("another CPU has the same number"))]);
}

#[test]
fn a_number_that_no_cpu_has_is_told() {
    let recorder = machine(&[(0x0100_0000, &[]), (0x00ff_ffff, &[])]);
    assert_eq!(recorder.cpus.iter().map(|cpu| cpu.hardware_id).collect::<Vec<_>>(), [0x00ff_ffff]);
    let problem = Problem::Value { what: "the CPU's number", value: 0x0100_0000 };
    assert_eq!(recorder.problems(), [(Some(0), problem)]);
}
