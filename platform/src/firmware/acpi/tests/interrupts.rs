//! Interrupt controllers, and the interrupt of the timer.

use super::*;
use mm::machine::Table as Name;

const GIC2: &[u8] = include_bytes!("../../../../testdata/virt-gic2-apic.bin");
const GIC3: &[u8] = include_bytes!("../../../../testdata/virt-gic3-apic.bin");
const GTDT: &[u8] = include_bytes!("../../../../testdata/virt-gtdt.bin");

/// What these tables say, and of what they complain: entry and problem.
type Said = (Option<IrqController>, Vec<(Option<u32>, Problem)>);

fn said(pieces: &[Piece<'_>]) -> Said {
    let mut problems = Vec::new();
    let controller = with(pieces, |rsdp, image| {
        irq_controller(rsdp, image, &mut |warning| {
            assert_eq!(warning.source.table, Name::Madt);
            problems.push((warning.source.entry, warning.problem));
        })
    });
    (controller, problems)
}

fn of_madt(madt: Vec<u8>) -> Said {
    said(&Machine::new(&[madt]).pieces())
}

fn of_entries(entries: &[Vec<u8>]) -> Said {
    of_madt(madt(entries))
}

fn range(start: u64, size: u64) -> PhysRange {
    PhysRange::from_size(PhysAddr::new(start), size).unwrap()
}

fn local_apic(address: u64) -> IrqController {
    IrqController::LocalApic { address: PhysAddr::new(address) }
}

fn gic2(distributor: u64, cpu_interface: u64) -> IrqController {
    IrqController::Gic2 { distributor: range(distributor, 0x1000), cpu_interface: range(cpu_interface, 0x100) }
}

fn gic3(distributor: u64, ranges: &[(u64, u64)]) -> IrqController {
    let ranges = ranges.iter().map(|&(start, size)| range(start, size)).collect();
    let redistributors = crate::firmware::Redistributors { ranges, stride: None };
    IrqController::Gic3 { distributor: range(distributor, 0x1_0000), redistributors }
}

/// MADT type 12.
fn distributor(address: u64, version: u8) -> Vec<u8> {
    [&[12, 24, 0, 0, 0, 0, 0, 0][..], &address.to_le_bytes(), &[0; 4], &[version, 0, 0, 0]].concat()
}

/// MADT type 14.
fn redistributors(address: u64, size: u32) -> Vec<u8> {
    [&[14, 16, 0, 0][..], &address.to_le_bytes(), &size.to_le_bytes()].concat()
}

/// MADT type 11: an enabled CPU whose interface and redistributor are here.
fn cpu(interface: u64, redistributor: u64) -> Vec<u8> {
    let mut bytes = vec![0; 80];
    (bytes[0], bytes[1], bytes[12]) = (11, 80, 1);
    bytes[32..40].copy_from_slice(&interface.to_le_bytes());
    bytes[60..68].copy_from_slice(&redistributor.to_le_bytes());
    bytes
}

fn disabled(mut cpu: Vec<u8>) -> Vec<u8> {
    cpu[12] = 0;
    cpu
}

fn wrong(what: &'static str, value: u64) -> Problem {
    Problem::Value { what, value }
}

const ADDRESS: &str = "the address of its registers";

#[test]
fn qemu_says_which_controller_it_has() {
    assert_eq!(said(&PC), (Some(local_apic(0xfee0_0000)), vec![]));
    assert_eq!(said(&MICROVM), (Some(local_apic(0xfee0_0000)), vec![]));
    assert_eq!(of_madt(GIC2.to_vec()), (Some(gic2(0x800_0000, 0x801_0000)), vec![]));
    assert_eq!(of_madt(GIC3.to_vec()), (Some(gic3(0x800_0000, &[(0x80a_0000, 0xf6_0000)])), vec![]));
}

#[test]
fn a_local_apic_is_where_the_last_word_on_it_says() {
    let at = |header: u32, more: &[u64]| {
        let over = |&address: &u64| [&[5, 12, 0, 0][..], &address.to_le_bytes()].concat();
        let mut bytes = madt(&more.iter().map(over).collect::<Vec<_>>());
        bytes[36..40].copy_from_slice(&header.to_le_bytes());
        seal(&mut bytes, 9);
        of_madt(bytes)
    };
    assert_eq!(at(0xfec1_0000, &[]), (Some(local_apic(0xfec1_0000)), vec![]));
    assert_eq!(at(0, &[]), (Some(local_apic(0xfee0_0000)), vec![]));
    assert_eq!(at(0xfee0_0000, &[0x12_3456_7000]), (Some(local_apic(0x12_3456_7000)), vec![]));
    assert_eq!(at(0xfee0_0000, &[0]), (Some(local_apic(0xfee0_0000)), vec![]));
    assert_eq!(at(0xfee0_0800, &[]), (None, vec![(None, wrong(ADDRESS, 0xfee0_0800))]));
    assert_eq!(at(0xfee0_0000, &[u64::MAX - 0xfff]).0, None, "the last byte of all is in no range");
    // An override that is too short is none.
    let mut short = madt(&[vec![5, 11, 0, 0, 0, 0, 1, 0, 0, 0, 0]]);
    short[36..40].copy_from_slice(&0xfee0_0000u32.to_le_bytes());
    seal(&mut short, 9);
    assert_eq!(of_madt(short).0, Some(local_apic(0xfee0_0000)));
}

#[test]
fn redistributors_are_in_ranges_or_each_cpu_says() {
    let ranges = [distributor(0x800_0000, 3), redistributors(0x80a_0000, 0x4_0000), cpu(0, 0x900_0000)];
    assert_eq!(of_entries(&ranges), (Some(gic3(0x800_0000, &[(0x80a_0000, 0x4_0000)])), vec![]));
    // One that joins the last one is one range with it; the order of entries is free.
    let ranges =
        [redistributors(0x900_0000, 0x2_0000), redistributors(0x902_0000, 0x2_0000), distributor(0x800_0000, 4)];
    assert_eq!(of_entries(&ranges), (Some(gic3(0x800_0000, &[(0x900_0000, 0x4_0000)])), vec![]));
    let cpus = |version| {
        let cpus = [cpu(0, 0x900_0000), disabled(cpu(0, 0xa00_0000)), cpu(0, 0), cpu(0, 0xb00_0000)];
        of_entries(&[&[distributor(0x800_0000, version)], &cpus[..]].concat())
    };
    assert_eq!(cpus(3), (Some(gic3(0x800_0000, &[(0x900_0000, 0x2_0000), (0xb00_0000, 0x2_0000)])), vec![]));
    assert_eq!(cpus(4), (Some(gic3(0x800_0000, &[(0x900_0000, 0x4_0000), (0xb00_0000, 0x4_0000)])), vec![]));
}

#[test]
fn a_distributor_without_a_version_has_redistributors_or_none() {
    let three = [distributor(0x800_0000, 0), cpu(0x801_0000, 0x900_0000)];
    assert_eq!(of_entries(&three), (Some(gic3(0x800_0000, &[(0x900_0000, 0x2_0000)])), vec![]));
    let two = [distributor(0x800_0000, 0), cpu(0x801_0000, 0)];
    assert_eq!(of_entries(&two), (Some(gic2(0x800_0000, 0x801_0000)), vec![]));
    assert_eq!(
        of_entries(&[distributor(0x800_1000, 1), cpu(0x801_0000, 0x900_0000)]).0,
        Some(gic2(0x800_1000, 0x801_0000))
    );
    // The first of two counts.
    let both = [distributor(0x800_0000, 2), distributor(0x700_0000, 2), cpu(0x801_0000, 0)];
    assert_eq!(of_entries(&both), (Some(gic2(0x800_0000, 0x801_0000)), vec![]));
}

#[test]
fn what_a_gic_cannot_be_is_told() {
    let none = |why| (None, vec![(Some(0), Problem::EntryIgnored(why))]);
    let with = |version, more: &[Vec<u8>]| of_entries(&[&[distributor(0x800_0000, version)], more].concat());
    assert_eq!(with(0, &[]), none("it has neither redistributors nor a CPU interface"));
    assert_eq!(with(2, &[disabled(cpu(0x801_0000, 0))]), none("it has no CPU interface"));
    assert_eq!(with(3, &[cpu(0x801_0000, 0)]), none("it has no redistributors"));
    assert_eq!(with(5, &[]), (None, vec![(Some(0), wrong("the version of a GIC", 5))]));
    let bad = [distributor(0x800_1000, 3), redistributors(0x900_0000, 0x2_0000)];
    assert_eq!(of_entries(&bad), (None, vec![(Some(0), wrong(ADDRESS, 0x800_1000))]));
    assert_eq!(of_entries(&[distributor(0, 2), cpu(0x801_0000, 0)]).1, [(Some(0), wrong(ADDRESS, 0))]);
    let wraps = Problem::Wraps { start: u64::MAX << 17, size: 0x4_0000 };
    assert_eq!(with(3, &[redistributors(u64::MAX << 17, 0x4_0000)]).1[0], (Some(1), wraps));
    // What is left is used.
    let size = wrong("the size of its registers", 0x1_0000);
    let ranges = [redistributors(0x900_0000, 0x1_0000), redistributors(0xa00_0000, 0x2_0000)];
    assert_eq!(with(3, &ranges), (Some(gic3(0x800_0000, &[(0xa00_0000, 0x2_0000)])), vec![(Some(1), size)]));
    let elsewhere = wrong("a CPU interface that is not where the first one is", 0x802_0000);
    let cpus = [cpu(0x801_0000, 0), cpu(0x802_0000, 0), cpu(0x801_0001, 0), cpu(0x801_0000, 0)];
    let problems = vec![(Some(2), elsewhere), (Some(3), wrong(ADDRESS, 0x801_0001))];
    assert_eq!(with(2, &cpus), (Some(gic2(0x800_0000, 0x801_0000)), problems));
}

#[test]
fn more_ranges_than_can_be_kept_are_told() {
    let apart: Vec<_> = (0..66).map(|index| redistributors(0x900_0000 + (index << 20), 0x2_0000)).collect();
    let (controller, problems) = of_entries(&[&[distributor(0x800_0000, 3)], &apart[..]].concat());
    let Some(IrqController::Gic3 { redistributors, .. }) = controller else { panic!("{controller:?}") };
    assert_eq!(redistributors.ranges.len(), 64);
    let limit = Problem::TooMany { what: "ranges of redistributors", limit: 64 };
    assert_eq!(problems, [(Some(65), limit), (Some(66), limit)]);
}

#[test]
fn a_madt_that_cannot_be_used_says_nothing_twice() {
    let mut broken = GIC3.to_vec();
    broken[60] ^= 1;
    assert_eq!(of_madt(broken), (None, vec![]));
    assert_eq!(of_madt(table("APIC", 1, &[0; 7])), (None, vec![]));
    assert_eq!(said(&Machine::new(&[]).pieces()), (None, vec![]));
    assert_eq!(said(&[(RSDP, &[0; 36])]), (None, vec![]));
}

fn timer(gtdt: &[u8]) -> (Option<u32>, Vec<(Option<u32>, Problem)>) {
    let machine = Machine::new(&[gtdt.to_vec()]);
    (with(&machine.pieces(), |rsdp, image| timer_interrupt(rsdp, image)), machine.describe().problems())
}

#[test]
fn the_virtual_timer_is_in_the_gtdt() {
    assert_eq!(timer(GTDT), (Some(27), vec![]));
    let with_number = |number: u32| {
        let mut bytes = GTDT.to_vec();
        bytes[64..68].copy_from_slice(&number.to_le_bytes());
        seal(&mut bytes, 9);
        timer(&bytes).0
    };
    assert_eq!([15, 16, 31, 32].map(with_number), [None, Some(16), Some(31), None]);
    let mut broken = GTDT.to_vec();
    broken[64] ^= 1;
    assert_eq!(timer(&broken), (None, vec![(None, Problem::Checksum)]));
    assert_eq!(timer(&table("GTDT", 1, &[27; 35])), (None, vec![(None, Problem::Length { stated: 71 })]));
    // The shortest that there can be.
    let mut shortest = [0; 36];
    shortest[28] = 30;
    assert_eq!(timer(&table("GTDT", 1, &shortest)), (Some(30), vec![]));
    assert_eq!(with(&PC, |rsdp, image| timer_interrupt(rsdp, image)), None);
}
