//! CPUs, domains and distances.

use super::*;
use mm::machine::StartMethod;

const GIB: u64 = 1 << 30;

#[test]
fn cpus_are_those_that_are_enabled_or_can_be() {
    let x2apic = |id: u32, flags: u32| [&[9, 16, 0, 0][..], &id.to_le_bytes(), &flags.to_le_bytes(), &[0; 4]].concat();
    let address = [&[5, 12, 0, 0][..], &0xfee0_0000u64.to_le_bytes()].concat();
    let entries = [
        apic(0, 1),
        apic(1, 0),
        apic(2, 2),
        apic(0xff, 1),
        vec![1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        x2apic(300, 1),
        address,
        x2apic(u32::MAX, 1),
        x2apic(301, 0),
        x2apic(302, 2),
    ];
    let cpus = |revision| {
        let recorder = Machine::new(&[madt_of(revision, &entries)]).describe();
        assert!(recorder.warnings.is_empty());
        recorder.cpus.iter().map(|cpu| (cpu.hardware_id, cpu.start, cpu.source.entry)).collect::<Vec<_>>()
    };
    let there = |id, entry| (id, StartMethod::Unstated, Some(entry));
    let later = |id, entry| (id, StartMethod::Plugged, Some(entry));
    assert_eq!(cpus(5), [there(0, 0), later(2, 2), there(300, 5), later(302, 9)]);
    assert_eq!(cpus(4), [there(0, 0), there(300, 5)], "the flag was reserved then");
}

#[test]
fn entries_without_a_cpu_are_as_long_as_they_must_be() {
    for (kind, length) in [(1, 12), (2, 10), (4, 6), (5, 12), (10, 12), (12, 24), (13, 24), (14, 16), (15, 20)] {
        let entry = |length: u8| [&[kind, length][..], &vec![0; usize::from(length) - 2]].concat();
        assert!(Machine::new(&[madt(&[entry(length)])]).describe().warnings.is_empty());
        let recorder = Machine::new(&[madt(&[entry(length - 1), apic(5, 1)])]).describe();
        assert_eq!(recorder.problems(), [(Some(0), Problem::Length { stated: u64::from(length) - 1 })]);
        assert_eq!(recorder.cpus.len(), 1);
    }
}

#[test]
fn an_initiator_makes_a_domain() {
    let initiator = |domain: u32, flags: u32| {
        [&[5, 32, 0, 1][..], &domain.to_le_bytes(), &[0; 16], &flags.to_le_bytes(), &[0; 4]].concat()
    };
    let entries = [memory(0, 0, GIB, 1), initiator(7, 1), initiator(8, 0), initiator(0x1234_5609, 1)];
    let told = |revision| {
        let recorder = Machine::new(&[srat(revision, &entries)]).describe();
        assert!(recorder.warnings.is_empty());
        recorder.initiators.iter().map(|device| (device.domain, device.source.entry)).collect::<Vec<_>>()
    };
    assert_eq!(told(3), [(7, Some(1)), (0x1234_5609, Some(3))]);
    assert_eq!(told(1), [(7, Some(1)), (9, Some(3))]);
    let short = Machine::new(&[srat(3, &[vec![5, 8, 0, 0, 7, 0, 0, 0], memory(0, 0, GIB, 1)])]).describe();
    assert_eq!(short.problems(), [(Some(0), Problem::Length { stated: 8 })]);
    assert_eq!((short.initiators.len(), short.affinities.len()), (0, 1));
}

/// Type 4 places an interrupt translation service, the others do not exist.
#[test]
fn kinds_that_place_neither_memory_nor_cpus_are_passed_over() {
    let recorder =
        Machine::new(&[srat(3, &[vec![4, 12, 1, 0, 0, 0, 9, 9, 9, 9, 0, 0], vec![77, 2], memory(1, 0, GIB, 1)])])
            .describe();
    assert!(recorder.warnings.is_empty());
    assert_eq!(recorder.nodes(), [(0, GIB, 1)]);
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
    for (kind, length, flags) in [(0, 6, 4), (0, 7, 4), (9, 12, 8), (9, 15, 8)] {
        let mut short = vec![0; length];
        (short[0], short[1], short[flags]) = (kind, length as u8, 1);
        let recorder = Machine::new(&[madt(&[short, apic(5, 1)])]).describe();
        assert_eq!(recorder.problems(), [(Some(0), Problem::Length { stated: length as u64 })]);
        assert_eq!(recorder.cpus.iter().map(|cpu| cpu.hardware_id).collect::<Vec<_>>(), [5]);
    }
    // A table that is shorter than its own fixed part says nothing.
    let recorder =
        Machine::new(&[table("APIC", 1, &[0; 7]), table("SRAT", 1, &[0; 11]), table("SLIT", 1, &[0; 7])]).describe();
    assert_eq!(recorder.warnings.len(), 3);
}

/// No entry, no domain, no node: little to say, but nothing wrong.
#[test]
fn tables_of_nothing_but_their_fixed_part_are_right() {
    let tables = [madt(&[]), srat(3, &[]), slit(0, &[]), table("IORT", 3, &[0; 12])];
    let recorder = Machine::new(&tables).describe();
    assert!(recorder.warnings.is_empty(), "{:?}", recorder.warnings);
    assert_eq!((recorder.cpus.len(), recorder.affinities.len(), recorder.distances.len()), (0, 0, 0));
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
fn a_cpu_whose_entry_is_not_enabled_has_no_domain() {
    let local = |id: u8, flags: u32| [&[0, 16, 7, id][..], &flags.to_le_bytes(), &[0; 8]].concat();
    let extended = |id: u32, flags: u32| {
        [&[2, 24, 0, 0][..], &8u32.to_le_bytes(), &id.to_le_bytes(), &flags.to_le_bytes(), &[0; 8]].concat()
    };
    let entries = [local(1, 0), local(2, 1), local(3, 2), extended(300, 0), extended(301, 1), extended(302, 2)];
    let recorder = Machine::new(&[srat(3, &entries)]).describe();
    assert!(recorder.warnings.is_empty(), "{:?}", recorder.warnings);
    let placed: Vec<_> = recorder.cpu_affinities.iter().map(|cpu| (cpu.hardware_id, cpu.domain)).collect();
    assert_eq!(placed, [(2, 7), (301, 8)]);
}

#[test]
fn an_srat_entry_too_short_for_its_type_is_told_once_and_places_nothing() {
    for (kind, length, flags) in [(0, 16, 4), (1, 40, 28), (2, 24, 12), (3, 18, 10), (5, 32, 24)] {
        let described = |length: usize| {
            let mut bytes = vec![0; length];
            (bytes[0], bytes[1], bytes[flags]) = (kind, length as u8, 1);
            if kind == 1 {
                // 64 KiB, far above.
                (bytes[13], bytes[18]) = (1, 1);
            }
            Machine::new(&[madt(&[gicc(0, 0, 1)]), srat(3, &[bytes, memory(1, 0, GIB, 1)])]).describe()
        };
        let placed =
            |of: &Recorder| (of.affinities.len() + of.cpu_affinities.len() + of.initiators.len(), of.nodes().pop());
        let last = Some((0, GIB, 1));
        let whole = described(length);
        assert_eq!((whole.problems(), placed(&whole)), (vec![], (2, last)), "type {kind}");
        let short = described(length - 1);
        let told = vec![(Some(0), Problem::Length { stated: length as u64 - 1 })];
        assert_eq!((short.problems(), placed(&short)), (told, (1, last)), "type {kind}");
    }
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
fn a_large_slit_comes_whole() {
    let domains = 20u8;
    let matrix: Vec<u8> = (0..domains).flat_map(|from| (0..domains).map(move |to| from ^ to)).collect();
    let recorder = Machine::new(&[slit(domains.into(), &matrix)]).describe();
    assert_eq!(recorder.distances.len(), 400);
    assert!(recorder.distances.iter().all(|distance| distance.from ^ distance.to == distance.value));
}
