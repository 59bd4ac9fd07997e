//! A real table, tables made by hand, and damage to both.

use super::*;
use crate::firmware::recorder::{Random, Recorder};
use crate::read::MemoryImage;

/// QEMU's, from 0x9fc00 on: the pointer, then the table.
const MICROVM: &[u8] = include_bytes!("../../../testdata/microvm-mp-table.bin");
const LAST_KIB: u64 = 0x9_fc00;
const TABLE: u64 = 0x10_0000;

type Piece<'a> = (u64, &'a [u8]);

fn with<T>(pieces: &[Piece<'_>], run: impl FnOnce(&mut MemoryImage<'_>) -> T) -> T {
    let pieces: Vec<(PhysAddr, &[u8])> = pieces.iter().map(|&(at, bytes)| (PhysAddr::new(at), bytes)).collect();
    run(&mut MemoryImage::new(&pieces))
}

fn described(pieces: &[Piece<'_>]) -> Recorder {
    let recorder = with(pieces, |image| Recorder::of(|sink| describe(image, sink)));
    assert!(recorder.warnings.iter().all(|warning| warning.source.table == Table::MpTable));
    recorder
}

/// The numbers of the CPUs.
fn cpus(recorder: &Recorder) -> Vec<u64> {
    recorder.cpus.iter().map(|cpu| cpu.hardware_id).collect()
}

fn local_apic(pieces: &[Piece<'_>]) -> Option<u64> {
    with(pieces, |image| irq_controller(image)).map(|controller| match controller {
        IrqController::LocalApic { address } => address.as_u64(),
        other => panic!("{other:?}"),
    })
}

fn seal(bytes: &mut [u8], place: usize) {
    bytes[place] = 0;
    bytes[place] = bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_sub(byte));
}

/// A floating pointer.
fn pointer_to(table: u32, paragraphs: u8, version: u8, configuration: u8) -> Vec<u8> {
    let mut bytes = b"_MP_".to_vec();
    bytes.extend(table.to_le_bytes());
    bytes.extend([paragraphs, version, 0, configuration, 0, 0, 0, 0]);
    seal(&mut bytes, 10);
    bytes
}

fn pointer() -> Vec<u8> {
    pointer_to(TABLE as u32, 1, 4, 0)
}

/// A table with these entries.
fn table_of(version: u8, local_apic: u32, entries: &[Vec<u8>]) -> Vec<u8> {
    let entries = entries.concat();
    let mut bytes = b"PCMP".to_vec();
    bytes.extend((44 + entries.len() as u16).to_le_bytes());
    bytes.extend([version, 0]);
    bytes.resize(36, b'x');
    bytes.extend(local_apic.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(entries);
    seal(&mut bytes, 7);
    bytes
}

fn table(entries: &[Vec<u8>]) -> Vec<u8> {
    table_of(4, 0xfee0_0000, entries)
}

fn processor(number: u8, flags: u8) -> Vec<u8> {
    [&[0, number, 0x14, flags][..], &[0; 16]].concat()
}

fn other(kind: u8) -> Vec<u8> {
    [&[kind, 7, 1, 1][..], &[0; 4]].concat()
}

/// What a table that a pointer in the last KiB leads to says.
fn said(table: &[u8]) -> Recorder {
    described(&[(LAST_KIB, &pointer()), (TABLE, table)])
}

#[test]
fn a_microvm_lists_its_cpus() {
    let pieces = [(LAST_KIB, MICROVM)];
    let recorder = described(&pieces);
    assert_eq!(cpus(&recorder), [0, 1]);
    assert!(recorder.warnings.is_empty());
    assert_eq!(recorder.cpus[1].source, Source::entry(Table::MpTable, 1));
    assert_eq!(recorder.reserved(), [("MP table", 0x9_fc00, 0x9_fc10), ("MP table", 0x9_fc10, 0x9_fcfc)]);
    assert_eq!(local_apic(&pieces), Some(0xfee0_0000));
}

#[test]
fn the_pointer_is_where_the_specification_says() {
    let (pointer, table) = (pointer(), table(&[processor(5, 1)]));
    let segment = 0x9e00u16.to_le_bytes();
    let found = |at: u64| {
        let recorder = described(&[(0x40e, &segment), (at, &pointer), (TABLE, &table)]);
        assert!(recorder.warnings.is_empty());
        cpus(&recorder) == [5]
    };
    for at in [0x9_e000, 0x9_e3f0, 0x9_fc00, 0x9_fff0, 0xf_0000, 0xf_fff0] {
        assert!(found(at), "{at:#x}");
    }
    for at in [0x9_e400, 0x9_fbf0, 0xa_0000, 0xe_fff0, 0xf_0008] {
        assert!(!found(at), "{at:#x}");
    }
    // A data area that cannot be.
    let recorder = described(&[(0x40e, &0x10u16.to_le_bytes()), (0x100, &pointer), (TABLE, &table)]);
    assert!(recorder.cpus.is_empty());
    let recorder = described(&[(0x40e, &0xa000u16.to_le_bytes()), (0xa_0000, &pointer), (TABLE, &table)]);
    assert!(recorder.cpus.is_empty());
    assert!(described(&[]).warnings.is_empty());
    assert_eq!(local_apic(&[]), None);
}

#[test]
fn a_pointer_that_cannot_be_is_told_and_the_next_one_used() {
    let sound = pointer();
    let table = table(&[processor(5, 1)]);
    let problem_of = |bad: &[u8]| {
        let recorder = described(&[(LAST_KIB, bad), (0xf_0000, &sound), (TABLE, &table)]);
        assert_eq!(cpus(&recorder), [5]);
        assert_eq!(recorder.reserved()[0].1, 0xf_0000);
        let problems = recorder.problems();
        assert_eq!(problems.len(), 1);
        problems[0].1
    };
    let mut unsealed = pointer();
    unsealed[10] ^= 1;
    assert_eq!(problem_of(&unsealed), Problem::Checksum);
    assert_eq!(problem_of(&pointer_to(TABLE as u32, 2, 4, 0)), Problem::Length { stated: 32 });
    assert_eq!(problem_of(&pointer_to(TABLE as u32, 1, 2, 0)), Problem::Value { what: "the version", value: 2 });
    assert_eq!(problem_of(&pointer_to(0, 1, 4, 0)), Problem::Empty { start: 0 });
    // Where two places are one, it is told once.
    let segment = 0x9fc0u16.to_le_bytes();
    let recorder = described(&[(0x40e, &segment), (LAST_KIB, &unsealed)]);
    assert_eq!(recorder.problems(), [(None, Problem::Checksum)]);
    // Version 1.1 serves as well.
    assert_eq!(cpus(&described(&[(LAST_KIB, &pointer_to(TABLE as u32, 1, 1, 0)), (TABLE, &table)])), [5]);
}

#[test]
fn a_default_configuration_has_two_cpus() {
    for pieces in [[(LAST_KIB, &pointer_to(0, 1, 4, 5)[..])], [(LAST_KIB, &pointer_to(TABLE as u32, 1, 1, 1)[..])]] {
        let recorder = described(&pieces);
        assert_eq!(cpus(&recorder), [0, 1]);
        assert_eq!(recorder.reserved(), [("MP table", 0x9_fc00, 0x9_fc10)]);
        assert_eq!(local_apic(&pieces), Some(0xfee0_0000));
    }
}

#[test]
fn a_processor_that_is_enabled_counts() {
    let entries = [processor(3, 3), processor(4, 2), other(1), processor(0xff, 1), other(4), processor(0xfe, 0x81)];
    let recorder = said(&table(&entries));
    assert_eq!(cpus(&recorder), [3, 0xfe]);
    assert_eq!(recorder.problems(), [(Some(3), Problem::Value { what: "the CPU's number", value: 0xff })]);
    assert_eq!(recorder.cpus[1].source, Source::entry(Table::MpTable, 5));
    // What follows the table is not looked at.
    let extended = [table(&[processor(1, 1)]), processor(2, 1)].concat();
    assert_eq!(cpus(&said(&extended)), [1]);
}

#[test]
fn an_entry_that_cannot_be_ends_the_list() {
    for (bad, problem) in [
        (other(5), Problem::Value { what: "the kind of an entry", value: 5 }),
        (other(128), Problem::Value { what: "the kind of an entry", value: 128 }),
        (vec![0; 19], Problem::Length { stated: 19 }),
        (vec![2; 7], Problem::Length { stated: 7 }),
        (vec![0; 1], Problem::Length { stated: 1 }),
    ] {
        let recorder = said(&table(&[processor(1, 1), other(2), bad]));
        assert_eq!((cpus(&recorder), recorder.problems()), (vec![1], vec![(Some(2), problem)]));
    }
}

#[test]
fn a_table_that_cannot_be_is_not_used() {
    let wrong = |table: &[u8]| {
        let recorder = said(table);
        assert!(recorder.cpus.is_empty());
        assert_eq!(recorder.reserved(), [("MP table", 0x9_fc00, 0x9_fc10)], "the pointer alone");
        assert_eq!(local_apic(&[(LAST_KIB, &pointer()), (TABLE, table)]), None);
        recorder.problems()[0].1
    };
    let sound = table(&[processor(1, 1)]);
    let changed = |place: usize, value: u8| {
        let mut table = sound.clone();
        table[place] = value;
        seal(&mut table, 7);
        table
    };
    let mut unsealed = sound.clone();
    unsealed[7] ^= 1;
    assert_eq!(wrong(&unsealed), Problem::Checksum);
    assert_eq!(wrong(&changed(0, b'Q')), Problem::Signature);
    assert_eq!(wrong(&changed(4, 43)), Problem::Length { stated: 43 });
    assert_eq!(wrong(&changed(6, 3)), Problem::Value { what: "the version", value: 3 });
    assert_eq!(wrong(&changed(5, 1)), Problem::Unreadable(PhysAddr::new(TABLE + 64)));
    assert_eq!(wrong(&sound[..40]), Problem::Unreadable(PhysAddr::new(TABLE + 40)));
    let address = |value| Problem::Value { what: "the address of its registers", value };
    assert_eq!(wrong(&table_of(4, 0, &[])), address(0));
    assert_eq!(wrong(&table_of(4, 0xfee0_0010, &[])), address(0xfee0_0010));
    assert_eq!(local_apic(&[(LAST_KIB, &pointer()), (TABLE, &table_of(1, 0xfec8_0000, &[]))]), Some(0xfec8_0000));
    assert!(said(&table(&[])).warnings.is_empty(), "a table may be empty");
}

#[test]
fn a_damaged_table_never_panics() {
    let mut random = Random::new(0x3970);
    let (mut changed, trials) = (0, if cfg!(miri) { 10 } else { 20_000 });
    for _ in 0..trials {
        let mut bytes = MICROVM.to_vec();
        for _ in 0..=random.below(3) {
            random.damage(&mut bytes);
        }
        if random.below(4) > 0 && bytes.len() >= 60 {
            let length = usize::from(u16::from_le_bytes([bytes[20], bytes[21]]));
            seal(&mut bytes[..16], 10);
            if let Some(table) = bytes.get_mut(16..16 + length).filter(|table| table.len() > 7) {
                seal(table, 7);
            }
        }
        let recorder = described(&[(LAST_KIB, &bytes)]);
        assert!(recorder.cpus.iter().all(|cpu| cpu.hardware_id < 0xff));
        changed += usize::from(cpus(&recorder) != [0, 1]);
        let _ = local_apic(&[(LAST_KIB, &bytes)]);
    }
    assert!(changed > 0 && changed < trials, "{changed}");
}
