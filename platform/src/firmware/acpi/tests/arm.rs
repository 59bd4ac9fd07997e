//! What only Arm machines have: their CPUs' interfaces, and what lies between devices and memory.

use super::*;
use crate::power::{Conduit, Off};
use mm::machine::{DmaLimit, StartMethod, Table as Name};

#[test]
fn cpus_of_an_arm_machine_are_joined_by_their_processor_number() {
    let place = |uid: u32, domain: u32, flags: u32| {
        [&[3, 18][..], &domain.to_le_bytes(), &uid.to_le_bytes(), &flags.to_le_bytes(), &[0; 4]].concat()
    };
    let count = if cfg!(miri) { 70 } else { 150 };
    let giccs: Vec<_> = (0..count).map(|uid| gicc(uid, u64::from(uid) << 8, u32::from(uid != 9))).collect();
    let mut places: Vec<_> = (0..count).rev().map(|uid| place(uid, uid % 3, u32::from(uid != 5))).collect();
    places.push(place(4711, 0, 1));
    let recorder = Machine::new(&[madt(&giccs), srat(3, &places)]).describe();
    assert_eq!(recorder.cpus.len(), giccs.len() - 1);
    let mut joined: Vec<_> = recorder.cpu_affinities.iter().map(|cpu| (cpu.hardware_id, cpu.domain)).collect();
    joined.sort_unstable();
    let expected: Vec<_> =
        (0..count).filter(|uid| ![5, 9].contains(uid)).map(|uid| (u64::from(uid) << 8, uid % 3)).collect();
    assert_eq!(joined, expected);
    let unknown: Vec<_> = recorder.problems().iter().map(|&(_, problem)| problem).collect();
    let processor = |value| Problem::Value { what: "the processor", value };
    assert_eq!(unknown, [processor(9), processor(4711)]);
}

#[test]
fn a_damaged_madt_names_no_cpu_to_other_tables() {
    let place = [&[3, 18, 0, 0, 0, 0, 7, 0, 0, 0, 1][..], &[0; 7]].concat();
    let mut damaged = madt(&[gicc(7, 0x700, 1)]);
    let described = |madt: &[u8]| Machine::new(&[madt.to_vec(), srat(3, core::slice::from_ref(&place))]).describe();
    assert_eq!(described(&damaged).cpu_affinities.len(), 1);
    *damaged.last_mut().unwrap() ^= 1;
    let recorder = described(&damaged);
    assert_eq!((recorder.cpus.len(), recorder.cpu_affinities.len()), (0, 0));
    let nobody = Problem::Value { what: "the processor", value: 7 };
    assert_eq!(recorder.problems(), [(None, Problem::Checksum), (Some(0), nobody)]);
}

/// Memory has its address where a CPU has its flags.
#[test]
fn memory_between_the_cpus_of_an_arm_machine_is_no_cpu() {
    let place = |uid: u8| [&[3, 18, uid, 0, 0, 0, uid, 0, 0, 0, 1][..], &[0; 7]].concat();
    let entries = [place(0), memory(0, 0x4001_0000, 0x1_0000, 1), place(1), memory(1, 0x4003_0000, 0x1_0000, 1)];
    let recorder = Machine::new(&[madt(&[gicc(0, 0, 1), gicc(1, 0x100, 1)]), srat(3, &entries)]).describe();
    assert!(recorder.warnings.is_empty(), "{:?}", recorder.warnings);
    let joined: Vec<_> = recorder.cpu_affinities.iter().map(|cpu| (cpu.hardware_id, cpu.domain)).collect();
    assert_eq!(joined, [(0, 0), (0x100, 1)]);
    assert_eq!(recorder.nodes().len(), 2);
}

#[test]
fn a_cpu_interface_that_is_too_short_is_told_once_and_is_no_cpu() {
    let cut = |length: usize| {
        let mut bytes = gicc(1, 0x100, 1);
        bytes.truncate(length);
        bytes[1] = length as u8;
        bytes
    };
    let place = |uid: u8| [&[3, 18, 0, 0, 0, 0, uid, 0, 0, 0, 1][..], &[0; 7]].concat();
    let described = |length| {
        let entries = [gicc(0, 0, 1), cut(length), gicc(2, 0x200, 1)];
        Machine::new(&[madt(&entries), srat(3, &[place(0), place(1), place(2)])]).describe()
    };
    let cpus = |recorder: &Recorder| {
        let joined: Vec<_> = recorder.cpu_affinities.iter().map(|cpu| cpu.hardware_id).collect();
        (recorder.cpus.iter().map(|cpu| (cpu.hardware_id, cpu.source.entry)).collect::<Vec<_>>(), joined)
    };
    let whole = described(76);
    assert!(whole.warnings.is_empty(), "{:?}", whole.warnings);
    assert_eq!(cpus(&whole), (vec![(0, Some(0)), (0x100, Some(1)), (0x200, Some(2))], vec![0, 0x100, 0x200]));
    for length in [16, 20, 75] {
        let short = described(length);
        assert_eq!(cpus(&short), (vec![(0, Some(0)), (0x200, Some(2))], vec![0, 0x200]), "{length}");
        // No other table can name that CPU then.
        let nobody = Problem::Value { what: "the processor", value: 1 };
        assert_eq!(short.problems(), [(Some(1), Problem::Length { stated: length as u64 }), (Some(1), nobody)]);
    }
}

#[test]
fn a_cpu_is_there_or_parked_or_comes_later() {
    let parked = |protocol: u32, mailbox: u64| {
        let mut bytes = gicc(2, 2, 1);
        bytes[16..20].copy_from_slice(&protocol.to_le_bytes());
        bytes[24..32].copy_from_slice(&mailbox.to_le_bytes());
        bytes
    };
    let entries = [
        gicc(0, 0, 1),
        gicc(1, 1, 8),
        gicc(1, 1, 2),
        gicc(1, 1, 0),
        parked(1, 0x8000_0000),
        parked(1, 0),
        parked(0, 5),
    ];
    let recorder = Machine::new(&[madt(&entries)]).describe();
    let starts: Vec<_> = recorder.cpus.iter().map(|cpu| cpu.start).collect();
    let parked = StartMethod::Parked { mailbox: PhysAddr::new(0x8000_0000) };
    use StartMethod::{Plugged, Unstated};
    assert_eq!(starts, [Unstated, Plugged, parked, Unstated, Unstated]);
}

/// A node with so many bytes behind its fixed part, in which the limit stands at `at`.
fn node(kind: u8, revision: u8, length: usize, at: usize, bits: u8) -> Vec<u8> {
    let mut bytes = vec![0; length];
    (bytes[0], bytes[3]) = (kind, revision);
    bytes[1..3].copy_from_slice(&(length as u16).to_le_bytes());
    if at > 0 {
        bytes[at] = bits;
    }
    bytes
}

fn named_component(bits: u8) -> Vec<u8> {
    node(1, 2, 36, 28, bits)
}

fn root_complex(revision: u8, bits: u8) -> Vec<u8> {
    node(2, revision, 36, 32, bits)
}

fn iort(count: u32, nodes: &[Vec<u8>]) -> Vec<u8> {
    let fixed = [count, 48, 0].map(u32::to_le_bytes).concat();
    table("IORT", 0, &[fixed, nodes.concat()].concat())
}

#[test]
fn devices_that_drive_fewer_bits_limit_dma() {
    let its = node(0, 1, 24, 0, 0);
    let nodes =
        [its, named_component(44), root_complex(1, 32), root_complex(0, 20), named_component(0), named_component(64)];
    let recorder = Machine::new(&[iort(6, &nodes)]).describe();
    let source = |entry| Source::entry(Name::Iort, entry);
    let limit = |bits: u32, entry| DmaLimit { end: PhysAddr::new(1 << bits), source: source(entry) };
    assert_eq!(recorder.dma_limits, [limit(44, 1), limit(32, 2)]);
    assert!(recorder.warnings.is_empty());
    // Fewer nodes are counted than there are.
    assert_eq!(Machine::new(&[iort(2, &nodes)]).describe().dma_limits, [limit(44, 1)]);
}

#[test]
fn a_node_may_be_as_short_as_what_is_read_of_it() {
    // An ITS group, and nodes that end with their limit.
    let nodes = [node(0, 1, 16, 0, 0), node(1, 2, 29, 28, 40), node(2, 1, 33, 32, 36)];
    let recorder = Machine::new(&[iort(3, &nodes)]).describe();
    assert!(recorder.warnings.is_empty(), "{:?}", recorder.warnings);
    let ends: Vec<_> = recorder.dma_limits.iter().map(|limit| limit.end.as_u64()).collect();
    assert_eq!(ends, [1 << 40, 1 << 36]);
}

#[test]
fn a_node_that_cannot_be_ends_its_table() {
    for (length, stated) in [(0u16, 0), (15, 15), (28, 28), (37, 37), (u16::MAX, 0xffff)] {
        let mut bad = named_component(20);
        bad[1..3].copy_from_slice(&length.to_le_bytes());
        let recorder = Machine::new(&[iort(2, &[named_component(40), bad])]).describe();
        assert_eq!(recorder.dma_limits.len(), 1, "{length}");
        assert_eq!(recorder.problems(), [(Some(1), Problem::Length { stated })]);
    }
    // More nodes are counted than there are, as many as can be counted.
    let recorder = Machine::new(&[iort(u32::MAX, &[named_component(40)])]).describe();
    assert_eq!(recorder.problems(), [(Some(1), Problem::Length { stated: 0 })]);
    assert_eq!(
        Machine::new(&[table("IORT", 0, &[0; 11])]).describe().problems(),
        [(None, Problem::Length { stated: 47 })]
    );
    // The first one begins in the fixed part, or behind the end.
    for offset in [0u32, 47, 1000, u32::MAX] {
        let mut bytes = iort(1, &[named_component(40)]);
        bytes[40..44].copy_from_slice(&offset.to_le_bytes());
        seal(&mut bytes, 9);
        let recorder = Machine::new(&[bytes]).describe();
        assert_eq!((recorder.dma_limits.len(), recorder.warnings.len()), (0, 1), "{offset}");
    }
}

#[test]
fn psci_is_a_flag_of_a_machine_of_reduced_hardware() {
    let fadt = |flags: u32, arm: u16| {
        let mut bytes = table("FACP", 6, &[0; 240]);
        bytes[112..116].copy_from_slice(&flags.to_le_bytes());
        bytes[129..131].copy_from_slice(&arm.to_le_bytes());
        seal(&mut bytes, 9);
        let machine = Machine::new(&[bytes]);
        with(&machine.pieces(), |rsdp, image| (psci(rsdp, image), power_off(rsdp, image).off))
    };
    const REDUCED: u32 = 1 << 20;
    let is = |conduit| (Some(conduit), Some(Off::Psci(conduit)));
    assert_eq!(fadt(REDUCED, 1), is(Conduit::Smc));
    assert_eq!(fadt(REDUCED, 3), is(Conduit::Hvc));
    assert_eq!(fadt(REDUCED, 2), (None, None));
    assert_eq!(fadt(0, 3), (None, None));
}
