//! Emulated nodes: pieces, what they take over from the nodes that they were cut from, and wishes that cannot be met.

use crate::{Boot, TREE, assign, facts};
use mm::addr::NodeId;
use mm::machine::{Problem, Source, Table, Warning};
use mm::numa::{LOCAL, REMOTE};
use proptest::prelude::*;

/// What the pieces of an emulation are, and what was told besides.
fn emulated(text: &str) -> (Vec<(u16, u64, u64)>, Vec<String>) {
    let mut boot = Boot::new(text);
    assign!(boot, nodes, printed, _warnings);
    let mut pieces = Vec::new();
    let mut told = Vec::new();
    for line in printed.lines() {
        match line.strip_prefix("Faking node ") {
            Some(rest) => {
                let words: Vec<_> = rest.split([' ', '-', ']']).collect();
                let at = |word: &str| facts::number(word);
                assert!(rest.ends_with(&format!("({}MB)", (at(words[4]) + 1 - at(words[3])) >> 20)), "{line}");
                pieces.push((words[0].parse().unwrap(), at(words[3]) >> 20, (at(words[4]) + 1) >> 20));
            }
            None => told.push(line.to_owned()),
        }
    }
    let present: u64 = nodes.iter().map(|node| node.present).sum();
    assert_eq!(present << 12, nodes.memblock().memory_size());
    let owners: Vec<_> = nodes.memblock().reserved().iter().map(|region| region.owner().as_str().to_owned()).collect();
    assert!(!owners.iter().any(|owner| owner == "NUMA scratch"), "{owners:?}");
    (pieces, told)
}

/// 1 GiB on node 0; 1 GiB below and 1 GiB above 4 GiB on node 1.
const PHYSICAL: &str = "arch x86
bank 0x0 0x7fffffff usable
bank 0x100000000 0x13fffffff usable
srat 0 0x0 0x3fffffff
srat 1 0x40000000 0x7fffffff
srat 1 0x100000000 0x13fffffff
cpu 0x0
cpu 0x1
cpu 0x2
cpudomain 0x0 0
cpudomain 0x1 1
distance 0 0 10
distance 0 1 17
distance 1 0 18
distance 1 1 10
";

#[test]
fn emulated_nodes_take_turns_over_the_physical_ones() {
    let fake = |wish: &str| emulated(&format!("{PHYSICAL}fake {wish}"));
    // 3 GiB in 4: 768 MiB each, but the 256 MiB that remain of node 0 are too little for a node, as is the rest of node
    // 1.
    let (pieces, told) = fake("count 4");
    assert_eq!(pieces, [(0, 0, 1024), (1, 1024, 1792), (2, 1792, 5120)]);
    assert_eq!(told.last().unwrap(), "NUMA: Initialized distance table, cnt=3");
    // 3 GiB in 6: the last piece below 4 GiB reaches up to there. Node 1 starts anew above.
    let (pieces, _) = fake("count 6");
    assert_eq!(
        pieces,
        [(0, 0, 512), (1, 1024, 1536), (2, 512, 1024), (3, 1536, 4096), (4, 4096, 4608), (5, 4608, 5120)]
    );
    // 3 GiB in 7: 416 MiB each, and 160 MiB more: the first 5 nodes are 32 MiB larger.
    let (pieces, _) = fake("count 7");
    assert_eq!(
        pieces,
        [(0, 0, 448), (1, 1024, 1472), (2, 448, 1024), (3, 1472, 1920), (4, 1920, 4384), (5, 4384, 5120)]
    );
    let (pieces, _) = fake("size 0x20000000");
    assert_eq!(pieces.len(), 6);
    assert_eq!(pieces[3], (3, 1536, 4096));
    // Spans of 1 GiB and, with the hole, 4 GiB.
    let (pieces, told) = fake("each 2");
    assert_eq!(pieces, [(0, 0, 512), (1, 512, 1024), (2, 1024, 4096), (3, 4096, 5120)]);
    let too_small = |told: &[String]| told.iter().any(|line| line.contains("too small"));
    assert!(!too_small(&told) && !too_small(&fake("size 0x2000000").1), "sizes that are right are not spoken of");
    // Halves of 1 GiB in 3: each is rounded up, and told.
    let (pieces, told) = fake("each 3");
    assert_eq!(pieces[..3], [(0, 0, 352), (1, 352, 704), (2, 704, 1024)]);
    assert!(told.contains(&"Fake node size 341MB too small, increasing to 352MB".to_owned()), "{told:?}");
}

#[test]
fn emulated_nodes_have_the_distances_domains_and_cpus_of_what_they_were_cut_from() {
    let mut boot = Boot::new(&format!("{PHYSICAL}fake count 6"));
    assign!(boot, nodes, printed, warnings);
    assert!(warnings.is_empty());
    assert!(printed.contains("NUMA: Initialized distance table, cnt=2\n"), "the firmware's, before");
    let at = |from: u16, to: u16| nodes.distance(NodeId::new(from), NodeId::new(to));
    assert_eq!([at(0, 2), at(0, 0), at(0, 1), at(3, 2), at(4, 5), at(1, 4)], [10, 10, 17, 18, 10, 10]);
    assert_eq!([at(7, 7), at(7, 0), at(0, 7)], [LOCAL, REMOTE, REMOTE]);
    assert_eq!(nodes.iter().map(|node| node.domain).collect::<Vec<_>>(), [0, 1, 0, 1, 1, 1]);
    // CPU 2 has no domain: it is dealt to the third node.
    assert_eq!(nodes.cpus().iter().map(|cpu| cpu.node.as_u16()).collect::<Vec<_>>(), [0, 1, 2]);
    let cpus = |node| nodes.cpus_of(NodeId::new(node)).map(|cpu| cpu.id.as_u32()).collect::<Vec<_>>();
    assert_eq!([cpus(0), cpus(1), cpus(2), cpus(5)], [vec![0, 2], vec![1], vec![0, 2], vec![1]]);
    assert_eq!(cpus(9), []);
    let sets = [nodes.possible(), nodes.online(), nodes.with_memory(), nodes.with_cpus()];
    assert_eq!(sets.map(|set| set.to_string()), ["0-5", "0-5", "0-5", "0-5"]);
    // Of two halves of node 1 the first is node 2, and its CPUs are there.
    let mut halves = Boot::new(&format!("{PHYSICAL}fake each 2"));
    let (halved, _) = halves.machine.assign(&halves.ram, &mut |_| {});
    assert_eq!(halved.cpus().iter().map(|cpu| cpu.node.as_u16()).collect::<Vec<_>>(), [0, 2, 2]);
    let mut nodes = nodes;
    let mut text = String::new();
    nodes.place_data(4096, &mut text).unwrap();
    assert!(!text.contains(" on node "), "each has its own data: {text}");
}

#[test]
fn emulated_nodes_are_as_far_apart_as_is_wished() {
    let mut boot = Boot::new(&format!("{PHYSICAL}fake count 4"));
    assign!(boot, nodes, _printed, _warnings);
    let mut nodes = nodes;
    let rows = |nodes: &mm::numa::Topology<_>| {
        let numbers = [0, 1, 2].map(NodeId::new);
        numbers.map(|from| numbers.map(|to| nodes.distance(from, to)))
    };
    // Nodes 1 and 2 were cut from one that is 17 and 18 from that of node 0.
    let cut_from = [[10, 17, 17], [18, 10, 10], [18, 10, 10]];
    let mut warnings = Vec::new();
    nodes.set_emulated_distances(&[], &mut |warning| warnings.push(warning)).unwrap();
    assert_eq!(rows(&nodes), cut_from);
    nodes.set_emulated_distances(&[10, 30, 40, 50], &mut |warning| warnings.push(warning)).unwrap();
    assert_eq!(rows(&nodes), [[10, 30, 40], [50, 10, 10], [18, 10, 10]]);
    assert_eq!(
        [nodes.distance(NodeId::new(7), NodeId::new(7)), nodes.distance(NodeId::new(0), NodeId::new(7))],
        [10, 20]
    );
    assert!(warnings.is_empty());
    nodes.set_emulated_distances(&[11, 30], &mut |warning| warnings.push(warning)).unwrap();
    assert_eq!(nodes.distance(NodeId::new(0), NodeId::new(0)), LOCAL);
    let problem = Problem::Ignored { what: "numa=fake", why: "a node cannot but be 10 from itself" };
    assert_eq!(warnings, [Warning { source: Source::whole(Table::CommandLine), problem }]);
    // What the firmware says of its own nodes is not changed.
    let mut boot = Boot::new(PHYSICAL);
    assign!(boot, nodes, _printed, _warnings);
    let mut nodes = nodes;
    nodes.set_emulated_distances(&[10, 30, 40, 10], &mut |_| {}).unwrap();
    assert_eq!(nodes.distance(NodeId::new(0), NodeId::new(1)), 17);
}

#[test]
fn cpus_without_a_node_are_dealt_to_nodes_with_memory() {
    let text = "arch x86\nbank 0x0 0x7fffffff usable\nsrat 0 0x0 0x3fffffff\nsrat 1 0x40000000 0x7fffffff
cpu 0x0\ncpu 0x1\ncpu 0x2\ncpu 0x3\ncpu 0x4\ncpudomain 0x1 5\ncpudomain 0x2 0\n";
    let mut boot = Boot::new(text);
    assign!(boot, nodes, _printed, _warnings);
    // Domain 5 is node 0 and has no memory; the others are nodes 1 and 2.
    assert_eq!(nodes.cpus().iter().map(|cpu| cpu.node.as_u16()).collect::<Vec<_>>(), [1, 0, 1, 2, 1]);
    assert_eq!(nodes.with_cpus().to_string(), "0-2");
    assert_eq!(nodes.with_memory().to_string(), "1-2");
}

#[test]
fn a_wish_that_cannot_be_met_leaves_the_nodes_as_they_are() {
    for (wish, last) in [
        ("count 0", None),
        ("each 0", None),
        ("size 0x0", None),
        ("count 97", Some("Not enough memory for each node.  NUMA emulation disabled.")),
        ("count 5000", Some("Not enough memory for each node.  NUMA emulation disabled.")),
        ("each 40", Some("numa_emulation: phys: 0 only got 32 of 40 nodes, failing")),
    ] {
        let mut boot = Boot::new(&format!("{PHYSICAL}fake {wish}"));
        assign!(boot, nodes, printed, warnings);
        assert!(warnings.is_empty());
        assert_eq!(nodes.node_count(), 2, "{wish}");
        assert_eq!(nodes.iter().map(|node| node.present).collect::<Vec<_>>(), [1 << 18, 2 << 18]);
        assert_eq!(nodes.distance(NodeId::new(0), NodeId::new(1)), 17);
        assert!(last.is_none_or(|last| printed.lines().last() == Some(last)), "{wish}: {printed}");
        let owners = nodes.memblock().reserved();
        assert!(!owners.iter().any(|region| region.owner().as_str().starts_with("NUMA e")), "room is given back");
    }
    let (_, told) = emulated(&format!("{PHYSICAL}fake count 5000"));
    assert!(told.contains(&"numa=fake=5000 too large, reducing to 1024".to_owned()));
    let (_, told) = emulated(&format!("{PHYSICAL}fake count 1024"));
    assert!(!told.iter().any(|line| line.contains("too large")), "{told:?}");
    let (_, told) = emulated(&format!("{PHYSICAL}fake count 0"));
    assert!(!told.iter().any(|line| line.contains("Not enough")), "nobody asked for any: {told:?}");
    // 96 nodes of 32 MiB can be; with a size of 1 byte there are as many.
    let (pieces, _) = emulated(&format!("{PHYSICAL}fake count 96"));
    assert_eq!(pieces.len(), 96);
    let (pieces, told) = emulated(&format!("{PHYSICAL}fake size 0x1"));
    assert_eq!(pieces.len(), 96);
    assert!(told.contains(&"Fake node size 0MB too small, increasing to 32MB".to_owned()), "{told:?}");
    // There are at most 1024 nodes: on 64 GiB each gets at least 64 MiB.
    let text = "arch x86\nbank 0x0 0x7fffffff usable\nbank 0x100000000 0x107fffffff usable\nfake size 0x2000000";
    let (pieces, told) = emulated(text);
    assert_eq!(pieces.len(), 1024);
    assert_eq!(told[2], "Fake node size 32MB too small, increasing to 64MB");
    // A node may be in pieces: here there are more of them than nodes, on memory with as many holes.
    let holes = (0..700_u64).fold("arch x86\n".to_owned(), |text, at| {
        let start = (4 << 30) + (at << 27);
        format!("{text}bank {start:#x} {:#x} usable\n", start + (96 << 20) - 1)
    });
    let (pieces, _) = emulated(&format!("{holes}fake count 1024"));
    assert_eq!(pieces.len(), 1043);
}

#[test]
fn emulation_is_tried_once_and_not_on_arm64() {
    // The table says too little of RAM, which shows when the nodes are cut already.
    let mut boot = Boot::new(&format!("{PHYSICAL}bank 0x140000000 0x17fffffff usable\nfake count 4"));
    assign!(boot, nodes, printed, _warnings);
    assert_eq!(nodes.node_count(), 1);
    assert!(printed.contains("Faking node 0 at"));
    assert!(printed.ends_with("Faking a node at [mem 0x0000000000000000-0x000000017fffffff]\n"), "{printed}");
    // Two nodes that overlap show before: the one node of all memory is cut.
    let text = PHYSICAL.replace("srat 0 0x0 0x3fffffff", "srat 0 0x0 0x4fffffff");
    let mut boot = Boot::new(&format!("{text}fake count 4"));
    assign!(boot, nodes, _printed, _warnings);
    assert_eq!(nodes.node_count(), 4);
    assert_eq!(nodes.with_cpus().to_string(), "0-3");
    let mut boot = Boot::new(&format!("{TREE}fake count 4"));
    assign!(boot, nodes, _printed, warnings);
    assert_eq!((nodes.node_count(), warnings.len()), (3, 1));
    let problem = Problem::Ignored { what: "numa=fake", why: "there are no emulated nodes on arm64" };
    assert_eq!(warnings[0], Warning { source: Source::whole(Table::CommandLine), problem });
}

/// Linux's rules in their slowest form: memory by the MiB, pieces that grow step by step.
struct Slow {
    memory: Vec<(u64, u64)>,
    /// Spans of each node in the order of the table: node, start, end.
    spans: Vec<(u32, u64, u64)>,
    pieces: Vec<(u16, u64, u64)>,
}

impl Slow {
    fn ram(&self, from: u64, to: u64) -> u64 {
        self.memory.iter().map(|bank| bank.1.min(to).saturating_sub(bank.0.max(from))).sum()
    }

    fn cut(&mut self, size: u64, holes: bool, larger: usize, wrap: usize, nodes: &[u32]) {
        let mut open = true;
        while open {
            open = false;
            for node in nodes {
                let Some(at) = self.spans.iter().position(|span| span.0 == *node) else { continue };
                open = true;
                let (_, start, limit) = self.spans[at];
                let mut end = start + size + if self.pieces.len() < larger { 32 } else { 0 };
                while !holes && self.ram(start, end) < size {
                    end += 32;
                    if end > limit {
                        end = limit;
                        break;
                    }
                }
                if end < 4096 && self.ram(end, 4096) < 32 {
                    end = 4096;
                }
                if !holes && end <= limit && self.ram(end, limit) < size {
                    end = limit;
                }
                let end = end.min(limit);
                self.pieces.push(((self.pieces.len() % wrap) as u16, start, end));
                self.spans[at].1 = end;
                if end == limit {
                    self.spans.remove(at);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 3 } else { 300 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_is_cut_as_step_by_step(
        chunks in proptest::collection::vec((0..3_u32, 1..700_u64, 0..900_u64), 1..10),
        wish in 0..3_usize,
        number in 1..12_u64,
    ) {
        let mut at = 0;
        let mut slow = Slow { memory: Vec::new(), spans: Vec::new(), pieces: Vec::new() };
        let mut description = "arch x86\n".to_owned();
        for (node, size, hole) in chunks {
            slow.memory.push((at, at + size));
            // Neighbours on one node are one span, with the hole between them.
            match slow.spans.last_mut().filter(|last| last.0 == node) {
                Some(last) => last.2 = at + size,
                None => slow.spans.push((node, at, at + size)),
            }
            let (start, last) = (at << 20, ((at + size) << 20) - 1);
            description += &format!("bank {start:#x} {last:#x} usable\nsrat {node} {start:#x} {last:#x}\n");
            at += size + hole;
        }
        // Nodes are numbered as the table names them.
        let mut order: Vec<u32> = Vec::new();
        for span in &mut slow.spans {
            if !order.contains(&span.0) { order.push(span.0); }
            span.0 = order.iter().position(|node| *node == span.0).unwrap() as u32;
        }
        let nodes: Vec<_> = (0..order.len() as u32).collect();
        let all = slow.ram(0, at);
        match wish {
            0 => {
                // Whole pages first.
                let part = (all << 8) / number;
                let size = part / (32 << 8) * 32;
                let rest = part - (size << 8);
                let larger = ((rest * number) >> 13) as usize;
                if size > 0 {
                    slow.cut(size, false, larger, number as usize, &nodes);
                }
                description += &format!("fake count {number}");
            }
            1 => {
                slow.cut(number * 32, false, 0, 1024, &nodes);
                description += &format!("fake size {:#x}", number << 25);
            }
            _ => {
                while let Some(&(node, start, end)) = slow.spans.first() {
                    let size = (((end - start) << 8) / number).div_ceil(32 << 8).max(1) * 32;
                    slow.cut(size, true, 0, 1024, &[node]);
                    if slow.pieces.len() < number as usize {
                        break;
                    }
                }
                description += &format!("fake each {number}");
            }
        }
        let (pieces, _) = emulated(&description);
        prop_assert_eq!(pieces, slow.pieces, "{}", description);
    }
}
