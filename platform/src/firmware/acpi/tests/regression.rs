//! What other kernels got wrong in SRAT and SLIT, each under the name of the mistake.

use super::*;
use mm::machine::{Persistence, Plug, Table as Name};

const GIB: u64 = 1 << 30;

#[test]
fn several_ranges_per_node_and_interleaved_nodes() {
    let ranges = [memory(0, 0, GIB, 1), memory(1, GIB, GIB, 1), memory(0, 2 * GIB, GIB, 1), memory(1, 3 * GIB, GIB, 1)];
    let recorder = Machine::new(&[srat(3, &ranges)]).describe();
    assert_eq!(recorder.nodes().iter().map(|node| node.2).collect::<Vec<_>>(), [0, 1, 0, 1]);
}

#[test]
fn cpu_only_domain_ids_not_dense() {
    let cpu = [&[2, 24, 0, 0][..], &200u32.to_le_bytes(), &77u32.to_le_bytes(), &1u32.to_le_bytes(), &[0; 8]].concat();
    let recorder = Machine::new(&[srat(3, &[memory(0x1234_5678, 0, GIB, 1), cpu])]).describe();
    assert_eq!(recorder.nodes(), [(0, GIB, 0x1234_5678)]);
    assert_eq!((recorder.cpu_affinities[0].hardware_id, recorder.cpu_affinities[0].domain), (77, 200));
}

#[test]
fn srat_hotplug_range_absent() {
    let recorder =
        Machine::new(&[srat(3, &[memory(1, 64 * GIB, GIB, 3), memory(1, 0, GIB, 5), memory(2, 0, GIB, 0)])]).describe();
    assert_eq!(recorder.affinities.iter().map(|a| a.plug).collect::<Vec<_>>(), [Plug::HotPluggable, Plug::Fixed]);
    let persistence = recorder.affinities.iter().map(|a| a.persistence).collect::<Vec<_>>();
    assert_eq!(persistence, [Persistence::Volatile, Persistence::NonVolatile]);
}

#[test]
fn slit_too_small() {
    for (domains, cells) in [(2u64, 3), (3, 4), (1 << 16, 4), (1 << 32, 4), (u64::MAX, 4)] {
        let recorder = Machine::new(&[slit(domains, &vec![10; cells])]).describe();
        assert_eq!(recorder.problems(), [(None, Problem::Length { stated: 44 + cells as u64 })]);
        assert!(recorder.distances.is_empty());
    }
    assert!(Machine::new(&[slit(0, &[])]).describe().warnings.is_empty());
}

#[test]
fn slit_asymmetric_or_below_10_on_remote() {
    let recorder = Machine::new(&[slit(2, &[10, 5, 255, 11])]).describe();
    assert_eq!(recorder.matrix(), [(0, 0, 10), (0, 1, 5), (1, 0, 255), (1, 1, 11)]);
    assert_eq!(recorder.distances[2].source, Source::entry(Name::Slit, 2));
}

#[test]
fn memoryless_node() {
    let cpu = [&[0, 16, 3, 1][..], &1u32.to_le_bytes(), &[0; 8]].concat();
    let recorder = Machine::new(&[srat(3, &[cpu, memory(0, 0, GIB, 1)])]).describe();
    assert_eq!((recorder.cpu_affinities[0].domain, recorder.nodes()), (3, vec![(0, GIB, 0)]));
}

#[test]
fn duplicate_tables() {
    let machine =
        Machine::new(&[madt(&[apic(0, 1)]), table("SSDT", 2, &[]), table("SSDT", 2, &[]), madt(&[apic(1, 1)])]);
    let recorder = machine.describe();
    assert_eq!(recorder.cpus.iter().map(|cpu| cpu.hardware_id).collect::<Vec<_>>(), [0], "the first one counts");
    assert_eq!(recorder.reservations.len(), 6, "all are the firmware's");
    assert_eq!(recorder.warnings[0].source, Source::entry(Name::Xsdt, 3));
    assert_eq!(recorder.problems(), [(Some(3), Problem::TableIgnored("an earlier table is of this kind"))]);
}

#[test]
fn one_table_listed_twice() {
    let mut machine = Machine::new(&[madt(&[apic(0, 1)])]);
    machine.xsdt = table("XSDT", 1, &[at(0).to_le_bytes(), at(0).to_le_bytes()].concat());
    let recorder = machine.describe();
    assert_eq!((recorder.cpus.len(), recorder.reservations.len()), (1, 3));
    assert!(matches!(recorder.problems()[..], [(Some(1), Problem::Duplicate(_))]));
}
