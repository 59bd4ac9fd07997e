//! CPUs, domains and distances.

use super::*;
use mm::machine::{Plug, Table as Name};

const GIB: u64 = 1 << 30;

#[test]
fn cpus_are_those_that_are_enabled_or_can_be() {
    let x2apic = |id: u32, flags: u32| [&[9, 16, 0, 0][..], &id.to_le_bytes(), &flags.to_le_bytes(), &[0; 4]].concat();
    let entries =
        [apic(0, 1), apic(1, 0), apic(2, 2), apic(0xff, 1), vec![1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], x2apic(300, 1)];
    let recorder = Machine::new(&[madt(&[&entries[..], &[x2apic(u32::MAX, 1), x2apic(301, 0)]].concat())]).describe();
    let cpus: Vec<_> = recorder.cpus.iter().map(|cpu| (cpu.hardware_id, cpu.source)).collect();
    let source = |entry| Source::entry(Name::Madt, entry);
    assert_eq!(cpus, [(0, source(0)), (2, source(2)), (300, source(5))]);
    assert!(recorder.warnings.is_empty());
}

#[test]
fn more_cpus_than_any_machine_here_are_all_listed() {
    let cpus: Vec<_> = (0..if cfg!(miri) { 100 } else { 5000 })
        .map(|id: u32| [&[9, 16, 0, 0][..], &id.to_le_bytes(), &1u32.to_le_bytes(), &[0; 4]].concat())
        .collect();
    let recorder = Machine::new(&[madt(&cpus)]).describe();
    assert_eq!(recorder.cpus.len(), cpus.len());
}

#[test]
fn an_entry_that_cannot_be_ends_its_table() {
    for (entry, stated) in
        [(vec![0, 0, 0, 0], 0), (vec![0, 1, 0, 0], 1), (vec![0, 9, 0, 0, 1, 0, 0, 0], 9), (vec![9], 0)]
    {
        let recorder = Machine::new(&[madt(&[apic(0, 1), entry])]).describe();
        assert_eq!(recorder.cpus.len(), 1);
        assert_eq!(recorder.problems(), [(Some(1), Problem::Length { stated })]);
    }
    // One that is too short for its type is passed over.
    let recorder = Machine::new(&[madt(&[vec![0, 6, 7, 7, 1, 0], apic(5, 1)])]).describe();
    assert_eq!(recorder.problems(), [(Some(0), Problem::Length { stated: 6 })]);
    assert_eq!(recorder.cpus[0].hardware_id, 5);
    // A table that is shorter than its own fixed part says nothing.
    let recorder =
        Machine::new(&[table("APIC", 1, &[0; 7]), table("SRAT", 1, &[0; 11]), table("SLIT", 1, &[0; 7])]).describe();
    assert_eq!(recorder.warnings.len(), 3);
}

#[test]
fn several_ranges_per_node_and_interleaved_nodes() {
    let ranges = [memory(0, 0, GIB, 1), memory(1, GIB, GIB, 1), memory(0, 2 * GIB, GIB, 1), memory(1, 3 * GIB, GIB, 1)];
    let recorder = Machine::new(&[srat(3, &ranges)]).describe();
    assert_eq!(recorder.nodes().iter().map(|node| node.2).collect::<Vec<_>>(), [0, 1, 0, 1]);
}

#[test]
fn domain_ids_need_not_be_dense_nor_have_memory() {
    let cpu = [&[2, 24, 0, 0][..], &200u32.to_le_bytes(), &77u32.to_le_bytes(), &1u32.to_le_bytes(), &[0; 8]].concat();
    let recorder = Machine::new(&[srat(3, &[memory(0x1234_5678, 0, GIB, 1), cpu])]).describe();
    assert_eq!(recorder.nodes(), [(0, GIB, 0x1234_5678)]);
    assert_eq!((recorder.cpu_affinities[0].hardware_id, recorder.cpu_affinities[0].domain), (77, 200));
}

#[test]
fn before_revision_2_a_domain_is_one_byte() {
    let cpu = |flags: u32| [&[0, 16, 7, 3][..], &flags.to_le_bytes(), &[0, 1, 2, 3, 0, 0, 0, 0]].concat();
    let of = |revision| {
        let recorder = Machine::new(&[srat(revision, &[cpu(1), cpu(0), memory(0xaabb_cc07, 0, GIB, 1)])]).describe();
        assert_eq!(recorder.cpu_affinities.len(), 1);
        (recorder.cpu_affinities[0].domain, recorder.affinities[0].domain)
    };
    assert_eq!(of(1), (7, 7));
    assert_eq!(of(2), (0x0302_0107, 0xaabb_cc07));
}

#[test]
fn a_hotplug_range_that_is_absent_is_told_as_such() {
    let recorder =
        Machine::new(&[srat(3, &[memory(1, 64 * GIB, GIB, 3), memory(1, 0, GIB, 5), memory(2, 0, GIB, 0)])]).describe();
    assert_eq!(recorder.affinities.iter().map(|a| a.plug).collect::<Vec<_>>(), [Plug::HotPluggable, Plug::Fixed]);
}

#[test]
fn srat_ranges_that_cannot_be_are_dropped() {
    let recorder =
        Machine::new(&[srat(3, &[memory(0, u64::MAX, 2, 1), memory(0, GIB, 0, 1), memory(0, 0, GIB, 1)])]).describe();
    assert_eq!(
        recorder.problems(),
        [(Some(0), Problem::Wraps { start: u64::MAX, size: 2 }), (Some(1), Problem::Empty { start: GIB })]
    );
    assert_eq!(recorder.nodes(), [(0, GIB, 0)]);
}

#[test]
fn cpus_of_an_arm_machine_are_joined_by_their_processor_number() {
    let gicc = |uid: u32, mpidr: u64, flags: u32| {
        let mut bytes = vec![0; 80];
        (bytes[0], bytes[1]) = (11, 80);
        bytes[8..12].copy_from_slice(&uid.to_le_bytes());
        bytes[12..16].copy_from_slice(&flags.to_le_bytes());
        bytes[68..76].copy_from_slice(&mpidr.to_le_bytes());
        bytes
    };
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
fn slit_too_small_is_ignored() {
    for (domains, cells) in [(2u64, 3), (3, 4), (1 << 16, 4), (1 << 32, 4), (u64::MAX, 4)] {
        let recorder = Machine::new(&[slit(domains, &vec![10; cells])]).describe();
        assert_eq!(recorder.problems(), [(None, Problem::Length { stated: 44 + cells as u64 })]);
        assert!(recorder.distances.is_empty());
    }
    assert!(Machine::new(&[slit(0, &[])]).describe().warnings.is_empty());
}

#[test]
fn slit_asymmetric_or_below_10_is_handed_on_as_it_is() {
    let recorder = Machine::new(&[slit(2, &[10, 5, 255, 11])]).describe();
    assert_eq!(recorder.matrix(), [(0, 0, 10), (0, 1, 5), (1, 0, 255), (1, 1, 11)]);
    assert_eq!(recorder.distances[2].source, Source::entry(Name::Slit, 2));
}

#[test]
fn a_large_slit_comes_whole() {
    let domains = 20u8;
    let matrix: Vec<u8> = (0..domains).flat_map(|from| (0..domains).map(move |to| from ^ to)).collect();
    let recorder = Machine::new(&[slit(domains.into(), &matrix)]).describe();
    assert_eq!(recorder.distances.len(), 400);
    assert!(recorder.distances.iter().all(|distance| distance.from ^ distance.to == distance.value));
}
