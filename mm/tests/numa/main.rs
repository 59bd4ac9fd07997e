//! Nodes: what Linux printed on real boots, a slow model of the merging rule, and tables that cannot be believed.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail like tests")]

mod emulation;
#[path = "../facts/mod.rs"]
mod facts;
#[path = "../ram/mod.rs"]
mod ram;

use facts::{Facts, Machine, lines, machines, span};
use mm::addr::{NodeId, PhysRange};
use mm::machine::{Affinity, Owner, Problem, Table, Warning};
use mm::memblock::{NodeWish, RegionFlags};
use mm::numa::{LOCAL, REMOTE};
use proptest::prelude::*;
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

fn distances(pairs: &[(u32, u32, u32)]) -> String {
    pairs.iter().map(|(from, to, value)| format!("distance {from} {to} {value}\n")).collect()
}

#[test]
fn distances_are_believed_as_a_whole_or_not_at_all() {
    let good = [(5, 5, 10), (5, 3, 17), (3, 5, 21), (3, 3, 10)];
    let (a, b) = (NodeId::new(0), NodeId::new(1));
    let mut boot = Boot::new(&format!("{TWO_NODES}{}", distances(&good)));
    assign!(boot, nodes, printed, warnings);
    assert!(warnings.is_empty());
    assert!(printed.contains("NUMA: Initialized distance table, cnt=2\n"));
    assert_eq!((nodes.distance(a, b), nodes.distance(b, a)), (21, 17));
    for other in (2..8).map(NodeId::new) {
        assert_eq!([nodes.distance(other, a), nodes.distance(a, other), nodes.distance(b, other)], [REMOTE; 3]);
        assert_eq!(nodes.distance(other, other), LOCAL);
    }
    for (at, bad) in
        [(0, (5, 5, 11)), (1, (5, 3, 10)), (1, (5, 3, 9)), (1, (5, 3, 0)), (2, (3, 5, 256)), (3, (3, 3, 0))]
    {
        let mut pairs = good;
        pairs[at] = bad;
        let mut boot = Boot::new(&format!("{TWO_NODES}{}", distances(&pairs)));
        assign!(boot, nodes, _printed, warnings);
        assert_eq!(warnings.len(), 1, "{bad:?}");
        assert_eq!(warnings[0].source.entry, Some(at as u32));
        assert_eq!([nodes.distance(a, a), nodes.distance(a, b), nodes.distance(b, a)], [LOCAL, REMOTE, REMOTE]);
    }
}

#[test]
fn a_slit_names_every_pair_of_domains_that_srat_names() {
    for count in 1..5_u64 {
        let node = |node: u64| {
            let (start, last) = (node << 30, (node << 30) + 0x3fff_ffff);
            format!("bank {start:#x} {last:#x} usable\nsrat {node} {start:#x} {last:#x}\n")
        };
        let description = format!("arch x86\n{}", (0..count).map(node).collect::<String>());
        let pairs = (0..count as u32).flat_map(|from| (0..count as u32).map(move |to| (from, to)));
        let value = |(from, to)| if from == to { LOCAL } else { (20 + 10 * from + to) as u8 };
        let complete: Vec<_> = pairs.map(|(from, to)| (from, to, u32::from(value((from, to))))).collect();
        // One pair is missing, and others name domains that are not there; or none is.
        for missing in (0..complete.len()).map(Some).chain([None]) {
            let mut stated = complete.clone();
            missing.map(|at| stated.remove(at));
            stated.extend([(0, count as u32, 99), (count as u32, 0, 99)]);
            let mut boot = Boot::new(&format!("{description}{}", distances(&stated)));
            assign!(boot, nodes, _printed, warnings);
            assert_eq!(warnings.len(), usize::from(missing.is_some()), "{stated:?}");
            for (from, to, stated) in &complete {
                let default = if from == to { LOCAL } else { REMOTE };
                let expected = if missing.is_some() { default } else { *stated as u8 };
                assert_eq!(nodes.distance(NodeId::new(*from as u16), NodeId::new(*to as u16)), expected);
            }
        }
    }
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
fn one_direction_of_a_device_tree_holds_for_both() {
    // The last two name a node that is not there.
    let pairs = [(1, 4, 33), (4, 2, 40), (2, 4, 50), (1, 5, 60), (5, 0, 70)];
    let mut boot = Boot::new(&format!("{TREE}{}", distances(&pairs)));
    assign!(boot, nodes, _printed, warnings);
    assert!(warnings.is_empty());
    let known = [((1, 4), 33), ((4, 1), 33), ((4, 2), 40), ((2, 4), 50)];
    for (from, to) in (0..8).flat_map(|from| (0..8).map(move |to| (from, to))) {
        let stated = known.iter().find(|(pair, _)| *pair == (from, to)).map(|(_, value)| *value);
        let expected = stated.unwrap_or(if from == to { LOCAL } else { REMOTE });
        assert_eq!(nodes.distance(NodeId::new(from), NodeId::new(to)), expected, "{from} {to}");
    }
}

#[test]
fn node_data_lies_on_its_node_or_on_the_nearest() {
    let pairs = [(2, 4, 12)];
    let mut boot = Boot::new(&format!("{TREE}{}", distances(&pairs)));
    assign!(boot, nodes, _printed, _warnings);
    let mut nodes = nodes;
    let mut text = String::new();
    nodes.place_data(5000, &mut text).unwrap();
    assert_eq!(
        text,
        "NUMA: NODE_DATA [mem 0x7fffe000-0x7fffffff]\n\
         NUMA: Initmem setup node 2 [<memory-less node>]\n\
         NUMA: NODE_DATA [mem 0xbfffe000-0xbfffffff]\nNUMA: NODE_DATA(2) on node 4\n\
         NUMA: NODE_DATA [mem 0xbfffc000-0xbfffdfff]\n"
    );
    // A node that is full has its data with its nearest neighbour.
    let mut boot = Boot::new(TREE);
    assign!(boot, nodes, _printed, _warnings);
    let mut nodes = nodes;
    nodes.memblock_mut().reserve(span(0x8000_0000, 0xbfff_ffff), Owner::new("full")).unwrap();
    nodes.place_data(4096, &mut String::new()).unwrap();
    let data = nodes.node(NodeId::new(4)).unwrap().data.unwrap();
    assert_eq!(nodes.memblock().memory().find(data.start()).unwrap().node(), Some(NodeId::new(1)));
    // Nearest, not highest.
    let gigabyte = |node: u64| (node << 30, (node << 30) + 0x3fff_ffff);
    let ranges = [1, 2, 3].map(|node| {
        let (start, last) = gigabyte(node);
        format!("bank {start:#x} {last:#x} usable\nnode {node} {start:#x} {last:#x}\n")
    });
    let text = format!("arch arm64\n{}{}", ranges.concat(), distances(&[(1, 2, 12), (1, 3, 30), (2, 3, 30)]));
    let mut boot = Boot::new(&text);
    assign!(boot, nodes, _printed, _warnings);
    let mut nodes = nodes;
    let (start, last) = gigabyte(1);
    nodes.memblock_mut().reserve(span(start, last), Owner::new("full")).unwrap();
    nodes.place_data(4096, &mut String::new()).unwrap();
    let data = nodes.node(NodeId::new(1)).unwrap().data.unwrap();
    assert_eq!(nodes.memblock().memory().find(data.start()).unwrap().node(), Some(NodeId::new(2)));
}

#[test]
fn a_node_that_can_go_holds_nothing_of_the_kernels() {
    let text = TREE.replace("node 4 0x80000000 0xbfffffff", "node 4 0x80000000 0xbfffffff hotplug");
    let mut boot = Boot::new(&format!("{text}movable_node\n"));
    assign!(boot, nodes, _printed, _warnings);
    let mut nodes = nodes;
    let mut text = String::new();
    nodes.place_data(4096, &mut text).unwrap();
    assert!(text.ends_with("NUMA: NODE_DATA(4) on node 1\n"), "{text}");
    // On x86 a node with memory of its own and nothing reserved.
    let text = TWO_NODES.replace("0x7fffffff\nc", "0x7fffffff hotplug\nc");
    let mut boot = Boot::new(&format!("{text}movable_node\n"));
    assign!(boot, nodes, _printed, _warnings);
    let mut nodes = nodes;
    let mut text = String::new();
    nodes.place_data(4096, &mut text).unwrap();
    assert_eq!(text.lines().nth(1), Some("    NODE_DATA(0) on node 1"), "{text}");
    assert_eq!(text.lines().count(), 3, "{text}");
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

/// Linux's rule in its slowest form, on blocks that do not overlap: two blocks of one node become one unless a block of
/// another node lies between them; the first block looks for partners first.
fn merge_model(mut blocks: Vec<(u64, u64, u32)>) -> Vec<String> {
    let mut said = Vec::new();
    let mut first = 0;
    while first < blocks.len() {
        let mut second = first + 1;
        while second < blocks.len() {
            let (a, b) = (blocks[first], blocks[second]);
            let union = (a.0.min(b.0), a.1.max(b.1), a.2);
            let between = blocks.iter().any(|c| c.2 != a.2 && c.0 < union.1 && union.0 < c.1);
            if a.2 == b.2 && !between {
                let show = |x: (u64, u64, u32)| format!("[mem {:#010x}-{:#010x}]", x.0, x.1 - 1);
                said.push(format!("NUMA: Node {} {} + {} -> {}", a.2, show(a), show(b), show(union)));
                blocks[first] = union;
                blocks.remove(second);
            } else {
                second += 1;
            }
        }
        first += 1;
    }
    said
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 3 } else { 300 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn blocks_merge_as_the_slow_model_merges_them(
        owners in proptest::collection::vec(proptest::option::weighted(0.8, 0..4u32), 1..24),
        shuffle in proptest::collection::vec(0..100usize, 24),
    ) {
        // Chunks of 64 MiB, each on a node or a hole without memory; the table names them in any order.
        let chunk = 64 << 20;
        let mut blocks: Vec<_> = owners.iter().zip(0..).filter_map(|(owner, at): (_, u64)| {
            owner.map(|owner| (at * chunk, (at + 1) * chunk, owner))
        }).collect();
        prop_assume!(!blocks.is_empty());
        let banks: String = blocks.iter().map(|b| format!("bank {:#x} {:#x} usable\n", b.0, b.1 - 1)).collect();
        let count = blocks.len();
        for (at, other) in shuffle.iter().enumerate().take(count) {
            blocks.swap(at, other % count);
        }
        let srat: String = blocks.iter().map(|b| format!("srat {} {:#x} {:#x}\n", b.2, b.0, b.1 - 1)).collect();
        let mut boot = Boot::new(&format!("arch x86\n{banks}{srat}"));
        assign!(boot, nodes, printed, warnings);
        prop_assert!(warnings.is_empty());
        // Nodes are numbered in the order of the table.
        let mut order: Vec<u32> = Vec::new();
        for block in &mut blocks {
            if !order.contains(&block.2) { order.push(block.2); }
            block.2 = order.iter().position(|owner| *owner == block.2).unwrap() as u32;
        }
        let merged: Vec<_> = printed.lines().filter(|line| line.starts_with("NUMA: Node")).collect();
        prop_assert_eq!(merged, merge_model(blocks.clone()));
        for block in blocks {
            let region = nodes.memblock().memory().find(mm::addr::PhysAddr::new(block.0)).unwrap();
            prop_assert_eq!(region.node().map(|node| u32::from(node.as_u16())), Some(block.2));
        }
    }

    /// Ranges of a table in any order, some of which meet.
    #[test]
    fn ranges_that_meet_are_told_and_those_of_two_nodes_spoil_the_table(
        ranges in proptest::collection::vec((0..12_u64, 1..5_u64, 0..3_u32), 1..7),
    ) {
        let mut description = "arch x86\nbank 0x0 0xffffffff usable\nsrat 9 0x40000000 0xffffffff\n".to_owned();
        // Place in the table, then start, end and domain.
        let mut stated = vec![(0, 64, 256, 9)];
        for (order, (start, length, domain)) in (1..).zip(ranges) {
            let (at, last) = (start << 24, ((start + length) << 24) - 1);
            description += &format!("srat {domain} {at:#x} {last:#x}\n");
            stated.push((order, start, start + length, domain));
        }
        let mut boot = Boot::new(&description);
        assign!(boot, nodes, printed, warnings);
        let meet = |a: &(u32, u64, u64, u32), b: &(u32, u64, u64, u32)| a.1 < b.2 && b.1 < a.2;
        let pairs = || stated.iter().flat_map(|a| stated.iter().filter(move |b| a.0 < b.0).map(move |b| (a, b)));
        let foreign = pairs().any(|(a, b)| meet(a, b) && a.3 != b.3);
        prop_assert_eq!(printed.contains("overlaps with node"), foreign);
        let ignored = |warning: &Warning| warning.problem == Problem::TableIgnored("two nodes overlap");
        prop_assert_eq!(warnings.last().is_some_and(ignored), foreign);
        // What is told are two that meet, by the later one; and of all that meet an earlier one something is told.
        let overlaps: Vec<_> = warnings.iter().filter(|warning| matches!(warning.problem, Problem::Overlaps(_))).collect();
        for warning in &overlaps {
            let told = pairs().any(|(a, b)| {
                let common = span(a.1.max(b.1) << 24, (a.2.min(b.2) << 24) - 1);
                meet(a, b) && warning.source.entry == Some(b.0) && warning.problem == Problem::Overlaps(common)
            });
            prop_assert!(told, "{warning:?}");
        }
        if foreign {
            let last = stated.iter().find(|range| Some(range.0) == overlaps.last().unwrap().source.entry).unwrap();
            prop_assert!(stated.iter().any(|range| meet(range, last) && range.3 != last.3));
            prop_assert_eq!(nodes.node_count(), 1);
        } else {
            // In the order of addresses, all that meet one before them.
            stated.sort_by_key(|range| (range.1, range.0));
            let met = (0..stated.len()).filter(|at| stated[..*at].iter().any(|before| meet(before, &stated[*at])));
            prop_assert_eq!(overlaps.len(), met.count());
        }
    }
}
