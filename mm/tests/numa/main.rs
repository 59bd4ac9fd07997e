//! Nodes: what Linux printed on real boots, how domains become nodes, and tables that cannot be believed.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail like tests")]

mod distances;
mod emulation;
#[path = "../facts/mod.rs"]
mod facts;
mod merging;
#[path = "../ram/mod.rs"]
mod ram;

use facts::{Facts, Machine, lines, machines, span};
use mm::addr::{NodeId, PhysRange};
use mm::machine::{Affinity, Owner, Problem, Table, Warning};
use mm::memblock::{NodeWish, RegionFlags};
use ram::Ram;

#[test]
fn linux_put_memory_on_the_same_nodes() {
    for (name, text) in machines() {
        let mut facts = Facts::parse(text);
        let ram = facts.machine.window();
        let (nodes, printed) = facts.machine.assign(&ram, &mut |_| {});
        assert_eq!(lines(&printed), facts.section("numa").unwrap(), "{name}");
        assert!(nodes.memblock().memory().iter().all(|region| region.node().is_some()), "{name}");
        let present: u64 = nodes.iter().map(|node| node.present).sum();
        assert_eq!(present << 12, nodes.memblock().memory_size(), "{name}");
    }
}

/// A machine of these lines, its warnings and what was printed.
struct Boot {
    machine: Machine,
    ram: Ram,
}

impl Boot {
    fn new(text: &str) -> Self {
        let machine = Facts::parse(text).machine;
        let ram = machine.window();
        Self { machine, ram }
    }
}

macro_rules! assign {
    ($boot:ident, $nodes:ident, $printed:ident, $warnings:ident) => {
        let mut $warnings: Vec<Warning> = Vec::new();
        let ($nodes, $printed) = $boot.machine.assign(&$boot.ram, &mut |warning| $warnings.push(warning));
    };
}

pub(crate) use assign;

const TWO_NODES: &str = "arch x86
bank 0x100000 0x3fffffff usable
bank 0x40000000 0x7fffffff usable
srat 5 0x0 0x3fffffff
srat 3 0x40000000 0x7fffffff
cpu 0x0
cpu 0x8
cpu 0x2
cpudomain 0x2 3
cpudomain 0x0 5
";

#[test]
fn domains_are_numbered_as_cpus_name_them_and_cpus_find_their_node() {
    let mut boot = Boot::new(TWO_NODES);
    assign!(boot, nodes, printed, warnings);
    assert!(warnings.is_empty(), "{warnings:?}");
    let domains: Vec<_> = nodes.iter().map(|node| (node.id.as_u16(), node.domain, node.present)).collect();
    assert_eq!(domains, [(0, 3, 0x40000), (1, 5, 0x3ff00)]);
    let cpus: Vec<_> = nodes.cpus().iter().map(|cpu| (cpu.id.as_u32(), cpu.hardware_id, cpu.node.as_u16())).collect();
    assert_eq!(cpus, [(0, 0, 1), (1, 8, 1), (2, 2, 0)], "a CPU that SRAT does not name is dealt to a node");
    assert!(printed.contains("SRAT: PXM 3 -> APIC 0x02 -> Node 0\n"));
    assert_eq!((nodes.node_count(), nodes.id_limit()), (2, 2));
}

/// `numa=noacpi` is as if there were no SRAT; emulated nodes may be cut from what it leaves.
#[test]
fn a_firmware_that_is_not_asked_has_no_nodes() {
    let mut boot = Boot::new(&format!("{TWO_NODES}noacpi\n"));
    assign!(boot, nodes, printed, warnings);
    assert!(warnings.is_empty(), "{warnings:?}");
    assert!(printed.starts_with("No NUMA configuration found\nFaking a node at [mem 0x0000000000000000-"), "{printed}");
    assert_eq!((nodes.node_count(), nodes.possible().to_string().as_str()), (1, "0"));
    let mut boot = Boot::new(&format!("{TWO_NODES}numa off\nfake count 2\n"));
    assign!(boot, nodes, printed, _warnings);
    assert!(printed.starts_with("NUMA turned off\n"), "{printed}");
    assert_eq!(nodes.node_count(), 2);
}

#[test]
fn arm64_knows_neither_noacpi_nor_emulated_nodes() {
    let mut boot = Boot::new(&format!("{TREE}noacpi\nfake count 2\n"));
    assign!(boot, nodes, _printed, warnings);
    let mut plain = Boot::new(TREE);
    assign!(plain, as_told, _printed, _warnings);
    assert_eq!(nodes.online(), as_told.online());
    let what: Vec<_> = warnings.iter().map(|warning| warning.to_string()).collect();
    assert_eq!(
        what,
        [
            "command line: numa=noacpi: nodes are not ACPI's alone on arm64; ignored",
            "command line: numa=fake: there are no emulated nodes on arm64; ignored"
        ]
    );
}

#[test]
fn memory_that_keeps_what_is_in_it_is_told() {
    let mut boot = Boot::new(&format!("{TWO_NODES}srat 5 0x100000000 0x11fffffff hotplug non-volatile\n"));
    assign!(boot, nodes, printed, _warnings);
    let line = "ACPI: SRAT: Node 1 PXM 5 [mem 0x100000000-0x11fffffff] hotplug non-volatile\n";
    assert!(printed.contains(line), "{printed}");
    assert_eq!(nodes.node_count(), 2);
}

/// Initiators are numbered behind CPUs and before memory, and are nodes without either.
#[test]
fn a_domain_with_nothing_but_an_initiator_is_a_node() {
    let mut boot = Boot::new(&format!("{TWO_NODES}initiator 9\nsrat 7 0x100000000 0x13fffffff hotplug\n"));
    assign!(boot, nodes, _printed, warnings);
    assert!(warnings.is_empty(), "{warnings:?}");
    let online: Vec<_> = nodes.iter().map(|node| (node.id.as_u16(), node.domain, node.has_memory)).collect();
    assert_eq!(online, [(0, 3, true), (1, 5, true), (2, 9, false)]);
    assert_eq!(nodes.id_limit(), 4, "memory that is absent makes its domain possible, no more");
}

/// A memory node that nobody filled, or that is disabled, names its domain all the same.
#[test]
fn an_empty_range_of_a_device_tree_makes_a_node() {
    let mut boot = Boot::new("arch arm64\nbank 0x40000000 0x7fffffff usable\nnode 0 0x40000000 0x7fffffff\n");
    let filled = boot.machine.affinities[0].unwrap();
    boot.machine.affinities.push(Some(Affinity { range: PhysRange::EMPTY, domain: 1, ..filled }));
    assign!(boot, nodes, _printed, warnings);
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(
        nodes.iter().map(|node| (node.id.as_u16(), node.has_memory)).collect::<Vec<_>>(),
        [(0, true), (1, false)]
    );
}

#[test]
fn two_nodes_that_overlap_are_one() {
    let mut boot = Boot::new(&TWO_NODES.replace("srat 5 0x0 0x3fffffff", "srat 5 0x0 0x400fffff"));
    assign!(boot, nodes, printed, warnings);
    assert_eq!(nodes.node_count(), 1);
    assert!(printed.contains("overlaps with node"), "{printed}");
    assert!(
        printed
            .ends_with("No NUMA configuration found\nFaking a node at [mem 0x0000000000000000-0x000000007fffffff]\n")
    );
    let problems: Vec<_> = warnings.iter().map(|warning| (warning.source.table, warning.problem)).collect();
    let overlap = Problem::Overlaps(span(0x4000_0000, 0x400f_ffff));
    assert_eq!(problems, [(Table::Srat, overlap), (Table::Srat, Problem::TableIgnored("two nodes overlap"))]);
    assert!(nodes.cpus().iter().all(|cpu| cpu.node == NodeId::new(0)));
}

#[test]
fn one_node_may_overlap_itself() {
    let text = TWO_NODES.replace("srat 5 0x0 0x3fffffff", "srat 5 0x0 0x2fffffff\nsrat 5 0x20000000 0x3fffffff");
    let mut boot = Boot::new(&text);
    assign!(boot, nodes, printed, warnings);
    assert_eq!(nodes.node_count(), 2);
    assert_eq!(warnings.len(), 1);
    assert!(
        printed.contains("[mem 0x00000000-0x2fffffff] + [mem 0x20000000-0x3fffffff] -> [mem 0x00000000-0x3fffffff]")
    );
}

#[test]
fn less_than_a_mebibyte_on_no_node_goes_to_its_neighbour() {
    let at = |last: &str| TWO_NODES.replace("srat 5 0x0 0x3fffffff", &format!("srat 5 0x0 {last}"));
    let mut boot = Boot::new(&at("0x3ff00fff"));
    assign!(boot, nodes, _printed, warnings);
    assert!(warnings.is_empty());
    assert_eq!(
        nodes.memblock().memory().iter().map(|r| r.range()).collect::<Vec<_>>(),
        [span(0x10_0000, 0x3fff_ffff), span(0x4000_0000, 0x7fff_ffff)]
    );
    let mut boot = Boot::new(&at("0x3fefffff"));
    assign!(boot, nodes, printed, warnings);
    assert_eq!((nodes.node_count(), warnings.len()), (1, 1));
    assert!(printed.contains("NUMA: nodes only cover 2046MB of your 2047MB e820 RAM. Not used.\n"));
}

#[test]
fn memory_at_the_bottom_without_a_node_goes_up() {
    let text = TWO_NODES.replace("srat 5 0x0 0x3fffffff", "srat 5 0x101000 0x3fffffff");
    let mut boot = Boot::new(&text);
    assign!(boot, nodes, _printed, _warnings);
    let first = nodes.memblock().memory().first().unwrap();
    assert_eq!((first.range(), first.node()), (span(0x10_0000, 0x3fff_ffff), Some(NodeId::new(1))));
}

#[test]
fn a_window_for_memory_to_come_adds_no_span_and_its_node_is_only_possible() {
    let text = format!("{TWO_NODES}srat 9 0x100000000 0x1ffffffff hotplug\n");
    let mut boot = Boot::new(&text);
    assign!(boot, nodes, printed, warnings);
    assert!(warnings.is_empty());
    assert!(printed.contains("ACPI: SRAT: Node 2 PXM 9 [mem 0x100000000-0x1ffffffff] hotplug\n"));
    assert_eq!(nodes.node_count(), 2);
    assert_eq!(nodes.possible().to_string(), "0-2");
    assert_eq!(nodes.node(NodeId::new(2)), None);
    assert_eq!(nodes.id_limit(), 3);
}

#[test]
fn hot_pluggable_memory_is_marked_unless_its_node_holds_a_reservation() {
    let text = TWO_NODES.replace("0x7fffffff\nc", "0x7fffffff hotplug\nc");
    let mut boot = Boot::new(&text);
    assign!(boot, nodes, _printed, _warnings);
    let flags = |nodes: &mm::numa::Nodes<_>| nodes.memblock().memory().last().unwrap().flags();
    assert_eq!(flags(&nodes), RegionFlags::HOTPLUG);
    let mut boot = Boot::new(&format!("{text}reserve 0x50000000 0x50000fff ACPI table TEST\n"));
    assign!(boot, nodes, _printed, _warnings);
    assert_eq!(flags(&nodes), RegionFlags::empty());
}

const TREE: &str = "arch arm64
bank 0x40000000 0x7fffffff usable
bank 0x80000000 0xbfffffff usable
node 4 0x80000000 0xbfffffff
node 1 0x40000000 0x7fffffff
cpu 0x0 1
cpu 0x1
cpu 0x100 2
";

#[test]
fn numbers_of_a_device_tree_are_node_numbers() {
    let mut boot = Boot::new(TREE);
    assign!(boot, nodes, printed, warnings);
    assert!(printed.is_empty() && warnings.is_empty());
    let online: Vec<_> = nodes.iter().map(|node| (node.id.as_u16(), node.has_memory)).collect();
    assert_eq!(online, [(1, true), (2, false), (4, true)]);
    assert_eq!(nodes.cpus().iter().map(|cpu| cpu.node.as_u16()).collect::<Vec<_>>(), [1, 1, 2]);
    assert_eq!(nodes.id_limit(), 5);
}

#[test]
fn one_range_without_a_node_spoils_a_device_tree() {
    let mut boot = Boot::new(&format!("{TREE}bank 0xc0000000 0xc0000fff usable\n"));
    assign!(boot, nodes, printed, warnings);
    assert_eq!(nodes.node_count(), 1);
    assert_eq!(nodes.memblock().memory().len(), 1, "no trace of the nodes is left");
    assert_eq!(warnings.len(), 1);
    assert!(printed.starts_with("NUMA: Warning: invalid memblk node 16 [mem 0x00000000c0000000-0x00000000c0000fff]\n"));
    assert!(printed.ends_with("NUMA: Faking a node at [mem 0x0000000040000000-0x00000000c0000fff]\n"));
}

#[test]
fn where_two_memory_nodes_meet_the_later_one_holds() {
    let mut boot = Boot::new(&TREE.replace("node 1 0x40000000 0x7fffffff", "node 1 0x40000000 0x8fffffff"));
    assign!(boot, nodes, _printed, warnings);
    let present: Vec<_> = nodes.iter().map(|node| node.present).collect();
    assert_eq!(present, [0x5_0000, 0, 0x3_0000]);
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].problem, Problem::Overlaps(span(0x8000_0000, 0x8fff_ffff)));
}

#[test]
fn a_node_number_beyond_all_nodes_spoils_the_table() {
    let mut boot = Boot::new(&TREE.replace("node 4", "node 1024"));
    assign!(boot, nodes, _printed, warnings);
    assert_eq!((nodes.node_count(), warnings.len()), (1, 1));
    assert_eq!(warnings[0].problem, Problem::Value { what: "a node number", value: 1024 });
    assert_eq!(warnings[0].source.entry, Some(0));
}

/// However few facts there are, each may name a domain of its own.
#[test]
fn each_cpu_initiator_and_range_may_be_of_a_domain_of_its_own() {
    let mut boot = Boot::new(
        "arch x86\nbank 0x0 0x3fffffff usable\nbank 0x40000000 0x7fffffff usable\n\
         srat 11 0x0 0x3fffffff\nsrat 12 0x40000000 0x7fffffff\ninitiator 21\ninitiator 22\n\
         cpu 0x0\ncpu 0x1\ncpudomain 0x0 31\ncpudomain 0x1 32\n",
    );
    assign!(boot, nodes, _printed, warnings);
    assert!(warnings.is_empty(), "{warnings:?}");
    let domains: Vec<_> = nodes.iter().map(|node| (node.domain, node.has_memory)).collect();
    assert_eq!(domains, [(31, false), (32, false), (21, false), (22, false), (11, true), (12, true)]);
}

#[test]
fn what_banks_say_of_themselves_stays() {
    // A memory node that can go, without numbers of nodes.
    let mut boot = Boot::new(
        "arch arm64\nbank 0x40000000 0x7fffffff usable\nbank 0x80000000 0xbfffffff usable hotplug
bank 0xc0000000 0xffffffff usable mirror",
    );
    assign!(boot, nodes, _printed, _warnings);
    let flags: Vec<_> = nodes.memblock().memory().iter().map(|region| region.flags()).collect();
    assert_eq!(flags, [RegionFlags::empty(), RegionFlags::HOTPLUG, RegionFlags::MIRROR]);
}

#[test]
fn the_tables_of_nodes_are_small_and_scratch_is_given_back() {
    let mut boot = Boot::new(TWO_NODES);
    assign!(boot, nodes, _printed, _warnings);
    let owners: Vec<_> = nodes.memblock().reserved().iter().map(|region| region.owner().as_str().to_owned()).collect();
    assert!(!owners.iter().any(|owner| owner == "NUMA scratch"), "{owners:?}");
    assert!(nodes.memblock().reserved_size() <= 1024, "{}", nodes.memblock().reserved_size());
    let mut nodes = nodes;
    assert!(nodes.memblock_mut().alloc_slice::<u8>(1, NodeWish::Any, Owner::new("t")).is_ok());
}

/// 12 TiB on 16 nodes in a thousand pieces, out of a window of 2 MiB.
#[test]
fn a_huge_machine_needs_little_memory_for_its_tables() {
    let mut description = "arch x86\nbank 0x100000 0x7fffffff usable\nsrat 0 0x0 0x7fffffff\n".to_owned();
    let pieces = if cfg!(miri) { 32 } else { 1000 };
    let size = (12_u64 << 40) / pieces;
    for at in 0..pieces {
        let (start, node) = ((1 << 32) + at * size, at * 16 / pieces);
        let (start, last) = (start & !0xfff, (start + size - 1) & !0xfff);
        description += &format!("bank {start:#x} {:#x} usable\nsrat {node} {start:#x} {:#x}\n", last - 1, last - 1);
    }
    let cpus = if cfg!(miri) { 32 } else { 1024 };
    for cpu in 0..cpus {
        description += &format!("cpu {cpu:#x}\ncpudomain {cpu:#x} {}\n", cpu * 16 / cpus);
    }
    let mut machine: Machine = Facts::parse(&description).machine;
    let ram = machine.window();
    let (nodes, printed) = machine.assign(&ram, &mut |warning| panic!("{warning}"));
    assert_eq!(nodes.node_count(), 16);
    assert_eq!(printed.lines().filter(|line| line.starts_with("NUMA: Node")).count() as u64, pieces + 1 - 16);
    assert!(nodes.memblock().reserved_size() < 256 << 10, "{:#x}", nodes.memblock().reserved_size());
}
