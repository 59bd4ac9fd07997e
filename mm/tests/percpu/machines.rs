//! Areas on emulated machines: whose memory they are, that nothing is lost, and what is in them.

use mm::addr::{CpuId, NodeId, PhysRange};
use mm::arch::PhysMap as _;
use mm::machine::{Rules, Source, Table};
use mm::memblock::Memblock;
use mm::numa::{LOCAL, Nodes, NumaPolicy};
use mm::percpu::{DYNAMIC_BYTES, FirstChunk, RESERVED_BYTES, text};
use mm_testkit::{Description, Emulated, Machine};
use proptest::prelude::*;

/// What memory holds before anybody uses it.
const DIRT: u8 = 0xa5;

/// RAM, the domain of each CPU, and whose rules.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) rules: Rules,
    /// Start and bytes of RAM in MiB, and its domain.
    pub(crate) ram: Vec<(u64, u64, u32)>,
    pub(crate) cpus: Vec<u32>,
}

impl Plan {
    pub(crate) fn machine<const SHIFT: u32>(&self) -> Machine<SHIFT> {
        let ram = self.ram.iter().fold(Machine::<SHIFT>::builder(), |builder, &(start, size, domain)| {
            builder.ram(start << 20, size << 20, domain)
        });
        ram.cpus(self.cpus.len() as u32).finish()
    }

    fn describe<const SHIFT: u32>(&self, machine: &Machine<SHIFT>) -> Description {
        let mut facts = machine.describe();
        for (cpu, &domain) in facts.cpus.iter_mut().zip(&self.cpus) {
            cpu.domain = (!facts.affinities.is_empty()).then_some(domain);
            cpu.source = Source::whole(Table::Kernel);
        }
        // Domains far from each other by how far apart their numbers are; of some of them firmware says no distance.
        let mut domains: Vec<u32> = self.ram.iter().map(|ram| ram.2).chain(self.cpus.iter().copied()).collect();
        domains.sort_unstable();
        domains.dedup();
        let Some(&example) = facts.distances.first() else { return facts };
        facts.distances.clear();
        for &from in &domains {
            for &to in &domains {
                let value = u32::from(LOCAL) + 7 * from.abs_diff(to);
                facts.distances.push(mm::machine::Distance { from, to, value, ..example });
            }
        }
        facts
    }

    pub(crate) fn nodes<'m, const SHIFT: u32>(&self, machine: &'m Machine<SHIFT>) -> Nodes<Emulated<'m, SHIFT>> {
        let mut description = self.describe(machine);
        let facts = description.lend();
        let mut memblock = Memblock::new(machine.handle());
        memblock.populate(&facts, &mut |_| {}).unwrap();
        // SAFETY: all RAM of the emulated machine is in reach, and nobody else uses it.
        unsafe { memblock.set_mapped(PhysRange::ALL) };
        let policy = NumaPolicy::firmware(self.rules);
        let nodes = Nodes::assign(memblock, &facts, policy, &mut String::new(), &mut |warning| {
            panic!("{warning}");
        });
        nodes.unwrap()
    }
}

/// Bytes that are reserved for an owner.
pub(crate) fn held<A: mm::arch::PhysMap + mm::arch::PageFormat>(nodes: &Nodes<A>, owner: &str) -> u64 {
    let regions = nodes.memblock().reserved();
    let of_owner = regions.iter().filter(|region| region.owner().as_str() == owner);
    of_owner.map(|region| region.range().size()).sum()
}

/// The nodes from which memory for a node can come: the nearest of those that have any, itself first.
fn nearest<A>(nodes: &Nodes<A>, node: NodeId) -> NodeId {
    let mut best: Option<(u32, NodeId)> = None;
    for other in nodes.iter().filter(|other| other.has_memory) {
        let far = if other.id == node { 0 } else { 1 + u32::from(nodes.distance(node, other.id)) };
        if best.is_none_or(|(least, _)| far < least) {
            best = Some((far, other.id));
        }
    }
    best.unwrap().1
}

/// Makes areas for `linked` and checks all that there is to check.
fn check<const SHIFT: u32>(plan: &Plan, linked: &[u8]) {
    let machine = plan.machine::<SHIFT>();
    let mut nodes = plan.nodes(&machine);
    let before = nodes.memblock().reserved_size();
    let mut chunk = FirstChunk::allocate(&mut nodes, linked.len() as u64).unwrap();
    assert!(chunk.offsets().is_empty(), "nothing is filled yet");
    // What is kept is what the CPUs need, and it is kept in this name; and nothing is lost.
    let used = (linked.len() as u64 + RESERVED_BYTES + DYNAMIC_BYTES).next_multiple_of(1 << SHIFT);
    assert_eq!(chunk.layout().used_bytes(), used);
    assert_eq!(held(&nodes, "per-CPU areas"), used * plan.cpus.len() as u64);
    let tables = held(&nodes, "per-CPU tables");
    assert!(tables <= 4096, "{tables} bytes of tables");
    assert_eq!(nodes.memblock().reserved_size(), before + used * plan.cpus.len() as u64 + tables);

    let areas = chunk.areas().to_vec();
    assert_eq!(areas.len(), plan.cpus.len());
    for (number, (area, cpu)) in areas.iter().zip(nodes.cpus()).enumerate() {
        assert_eq!(cpu.id.index(), number);
        let group = &chunk.groups()[usize::from(area.group)];
        // By both rules the CPUs of these machines are near each other when they are on one node.
        assert_eq!(group.node, cpu.node);
        let home = nodes.memblock().memory().find(area.range.start()).unwrap();
        assert_eq!(home.node(), Some(nearest(&nodes, cpu.node)), "CPU {number} on node {}", cpu.node);
        assert!(home.range().contains_range(area.range) && area.range.size() == used);
        assert_eq!(area.range.start().as_u64() % (1 << SHIFT), 0);
        if plan.rules == Rules::X86 {
            assert!(group.range.start().is_aligned(2 << 20) && area.range.start().as_u64() >= 16 << 20);
        }
        let place = chunk.cpus_of(group).position(|of| of == Some(CpuId::new(number as u32))).unwrap() as u64;
        assert_eq!(u64::from(area.unit), u64::from(group.first_unit) + place);
        assert_eq!(area.range.start().as_u64(), group.range.start().as_u64() + place * chunk.layout().unit_bytes);
    }
    for (number, area) in areas.iter().enumerate() {
        assert!(areas[..number].iter().all(|other| !other.range.overlaps(area.range)));
    }
    let units: u32 = chunk.groups().iter().map(|group| group.units).sum();
    let named: usize = chunk.groups().iter().map(|group| chunk.cpus_of(group).flatten().count()).sum();
    assert!(named == plan.cpus.len() && units as usize - named <= plan.cpus.len() / 3);

    for group in chunk.groups() {
        nodes.memblock().free_ranges_within(group.range).for_each(|free| machine.poison(free.range, DIRT));
    }
    areas.iter().for_each(|area| machine.poison(area.range, DIRT));
    // SAFETY: the machine's RAM is all in reach, and `linked` is a slice.
    unsafe { chunk.fill(linked.as_ptr()) };
    for (area, &offset) in areas.iter().zip(chunk.offsets()) {
        let first = machine.handle().phys_ptr(area.range.start());
        assert_eq!(first.addr(), linked.as_ptr().addr().wrapping_add(offset));
        // SAFETY: the area is RAM of the machine, which nobody writes.
        let bytes = unsafe { std::slice::from_raw_parts(first, used as usize) };
        assert!(bytes.starts_with(linked) && bytes[linked.len()..].iter().all(|&byte| byte == 0));
    }
    // Nobody has touched what was given back.
    for group in chunk.groups() {
        for free in nodes.memblock().free_ranges_within(group.range) {
            let first = machine.handle().phys_ptr(free.range.start());
            // SAFETY: this is RAM of the machine, which nobody writes.
            let bytes = unsafe { std::slice::from_raw_parts(first, free.range.size() as usize) };
            let page = [DIRT; 4096];
            assert!(bytes.chunks(page.len()).all(|part| *part == page[..part.len()]), "{}", free.range);
        }
    }
    let mut printed = String::new();
    text::write(&chunk, 1 << SHIFT, &mut printed).unwrap();
    assert_eq!(told(&printed), groups_of(&chunk), "{printed}");
}

/// Whose the units are, group by group.
fn groups_of<A: mm::arch::PhysMap + mm::arch::PageFormat>(chunk: &FirstChunk<A>) -> Vec<Vec<Option<u32>>> {
    let of = |group| chunk.cpus_of(group).map(|cpu| cpu.map(CpuId::as_u32)).collect();
    chunk.groups().iter().map(of).collect()
}

/// The same out of the lines that are printed.
fn told(text: &str) -> Vec<Vec<Option<u32>>> {
    let mut groups: Vec<Vec<Option<u32>>> = Vec::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("pcpu-alloc: [")) {
        assert!(line.len() <= 61, "{line}");
        for allocation in line.split('[') {
            let (group, units) = allocation.split_once("] ").unwrap();
            let group: usize = group.parse().unwrap();
            groups.resize(groups.len().max(group + 1), Vec::new());
            groups[group].extend(units.split_whitespace().map(|unit| unit.parse().ok()));
        }
    }
    groups
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 7 + 1) as u8).collect()
}

/// One to sixteen nodes with RAM in one or two pieces or none, one to sixteen CPUs on any of them.
fn plans() -> impl Strategy<Value = Plan> {
    let rules = prop_oneof![Just(Rules::X86), Just(Rules::Arm64)];
    (rules, 1..=16_u32).prop_flat_map(|(rules, nodes)| {
        let pieces = proptest::collection::vec(proptest::option::of((0..3_u64, 0..3_u64)), nodes as usize);
        let cpus = proptest::collection::vec(0..nodes, 1..=16);
        (Just(rules), pieces, cpus).prop_map(|(rules, pieces, cpus)| {
            // The first node always has room for everybody, behind a hole of 16 MiB; the others' lie behind it, with
            // holes, and the second pieces behind all first ones.
            let mut ram = vec![(16, 40, 0)];
            for (piece, domain) in pieces.iter().zip(0..).skip(1) {
                let Some(piece) = piece else { continue };
                let at = 64 + 64 * u64::from(domain);
                ram.push((at, 40 + 8 * piece.0, domain));
                ram.push((2048 + at, 6 * piece.1, domain));
            }
            ram.retain(|&(_, size, _)| size > 0);
            Plan { rules, ram, cpus }
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 40,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    #[cfg_attr(miri, ignore = "too much memory")]
    fn every_cpu_has_its_area_on_its_node(plan in plans(), bytes in 0..9000_usize) {
        check::<12>(&plan, &pattern(bytes));
    }
}

#[test]
fn larger_pages_are_what_units_are_rounded_to() {
    let ram = vec![(64, 1, 0), (256, 1, 1)];
    let plan = Plan { rules: Rules::Arm64, ram, cpus: vec![0, 1, 1, 0] };
    check::<14>(&plan, &pattern(100));
    check::<16>(&plan, &pattern(70_000));
}

#[test]
#[cfg_attr(miri, ignore = "too much memory")]
fn a_node_may_have_no_memory_or_no_cpus() {
    for rules in [Rules::X86, Rules::Arm64] {
        // Node 2 has CPUs alone and is as near to node 1 as to node 3; node 3 has no CPU.
        let ram = vec![(64, 64, 0), (128, 64, 1), (512, 64, 3)];
        check::<12>(&Plan { rules, ram, cpus: vec![0, 2, 1, 2] }, &pattern(64));
    }
}

#[test]
#[cfg_attr(miri, ignore = "too much memory")]
fn sixteen_nodes_of_a_cpu_each() {
    for rules in [Rules::X86, Rules::Arm64] {
        let ram = (0..16).map(|node| (16 + 32 * u64::from(node), 16, node)).collect();
        check::<12>(&Plan { rules, ram, cpus: (0..16).rev().collect() }, &pattern(4096));
    }
}
