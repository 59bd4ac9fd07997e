//! Distances, from SLIT and from a device tree; and the data of each node, which lies on the node or on the nearest.

use crate::facts::span;
use crate::{Boot, TREE, TWO_NODES, assign};
use mm::addr::NodeId;
use mm::machine::{Owner, Warning};
use mm::numa::{LOCAL, REMOTE};

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
