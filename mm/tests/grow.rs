//! Memory that is added after zones were laid out: what Linux makes of it, what is refused, and any order of blocks
//! against a model that knows each block.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail like tests")]

mod facts;
mod ram;

use facts::{Facts, Machine, lines, machines, number, span};
use mm::addr::{NodeId, Pfn, PfnRange, PhysAddr, PhysRange};
use mm::machine::Owner;
use mm::memblock::{RegionFlags, Regions};
use mm::paging::MappedRam;
use mm::view::boot;
use mm::zone::{Added, GrowError, MovableNode, Placement, ZoneKind, ZoneLimits, Zones};
use proptest::prelude::*;
use ram::{Access, Ram};
use std::collections::BTreeMap;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const BLOCK: u64 = 128 * MIB;
const ONLINE: Placement = Placement::Default(MovableNode::Ignore);

fn zones<'r>(machine: &mut Machine, ram: &'r Ram) -> Zones<Access<'r>> {
    let (nodes, _) = machine.assign(ram, &mut |_| {});
    let memory = nodes.memblock().memory().span();
    let limits = if machine.arm64 { ZoneLimits::arm64(memory, None) } else { ZoneLimits::x86(12) };
    let mut zones = Zones::lay_out(nodes, limits, machine.movable).unwrap();
    zones.build_zonelists().unwrap();
    zones
}

fn add(zones: &mut Zones<Access<'_>>, range: PhysRange, node: u16, how: Placement) -> Result<(), GrowError> {
    // SAFETY: nothing here ever touches memory outside of the window, in which no test adds any.
    zones.add_memory(unsafe { MappedRam::new(range) }, NodeId::new(node), how, BLOCK)
}

/// As the sections `zoneinfo` of the facts have it.
fn counted(zones: &Zones<Access<'_>>) -> Vec<String> {
    let populated = zones.spans().iter().filter(|zone| zone.is_populated());
    let row = |zone: &mm::zone::ZoneSpan| {
        let (start, spanned) = (zone.range.start().as_u64(), zone.range.count());
        format!("{}:{} {start} {spanned} {}", zone.node, zone.kind, zone.present)
    };
    populated.map(row).collect()
}

fn text(print: impl FnOnce(&mut String) -> core::fmt::Result) -> String {
    let mut text = String::new();
    print(&mut text).unwrap();
    text
}

/// Linux 6.1 on QEMU's q35 with memory devices, by what it showed in /proc/zoneinfo once they were online. A line of
/// `plug` is a node, a first and a last byte, and how it came online.
const LINUX: &[(&str, &str)] = &[
    (
        "memhp_default_state=online",
        "arch x86\nbank 0x1000 0x9efff usable\nbank 0x100000 0x7ffdffff usable\n\
         srat 0 0x0 0x9ffff\nsrat 0 0x100000 0x7fffffff\nsrat 0 0x100000000 0x57fffffff hotplug\n\
         = plug\n0 0x100000000 0x13fffffff online\n\
         = zoneinfo\n0:DMA 1 4095 3998\n0:DMA32 4096 520160 520160\n0:Normal 1048576 262144 262144\n\
         = fallback\nFallback order for Node 0: 0",
    ),
    (
        "memhp_default_state=online, three blocks behind a gap",
        "arch x86\nbank 0x1000 0x9efff usable\nbank 0x100000 0x7ffdffff usable\n\
         srat 0 0x0 0x9ffff\nsrat 0 0x100000 0x7fffffff\nsrat 0 0x100000000 0x57fffffff hotplug\n\
         = plug\n0 0x140000000 0x157ffffff online\n\
         = zoneinfo\n0:DMA 1 4095 3998\n0:DMA32 4096 520160 520160\n0:Normal 1310720 98304 98304\n\
         = fallback\nFallback order for Node 0: 0",
    ),
    (
        "movable_node memhp_default_state=online",
        "arch x86\nbank 0x1000 0x9efff usable\nbank 0x100000 0x7ffdffff usable\n\
         srat 0 0x0 0x9ffff\nsrat 0 0x100000 0x7fffffff\nsrat 0 0x100000000 0x57fffffff hotplug\nmovable_node\n\
         = plug\n0 0x100000000 0x13fffffff online\n\
         = zoneinfo\n0:DMA 1 4095 3998\n0:DMA32 4096 520160 520160\n0:Movable 1048576 262144 262144\n\
         = fallback\nFallback order for Node 0: 0",
    ),
    (
        "memhp_default_state=online_movable, a device on each node",
        "arch x86\nbank 0x1000 0x9efff usable\nbank 0x100000 0x7ffdffff usable\nbank 0x100000000 0x17fffffff usable\n\
         srat 0 0x0 0x9ffff\nsrat 0 0x100000 0x7fffffff\nsrat 1 0x100000000 0x17fffffff\n\
         srat 1 0x180000000 0x57fffffff hotplug\n\
         = plug\n0 0x180000000 0x1bfffffff online_movable\n1 0x1c0000000 0x1dfffffff online_movable\n\
         = zoneinfo\n0:DMA 1 4095 3998\n0:DMA32 4096 520160 520160\n0:Movable 1572864 262144 262144\n\
         1:Normal 1048576 524288 524288\n1:Movable 1835008 131072 131072\n\
         = fallback\nFallback order for Node 0: 0 1\nFallback order for Node 1: 1 0",
    ),
    (
        "memhp_default_state=online on a node without memory",
        "arch x86\nbank 0x1000 0x9efff usable\nbank 0x100000 0x7ffdffff usable\n\
         srat 0 0x0 0x9ffff\nsrat 0 0x100000 0x7fffffff\nsrat 1 0x100000000 0x57fffffff hotplug\n\
         = plug\n1 0x100000000 0x13fffffff online\n\
         = zoneinfo\n0:DMA 1 4095 3998\n0:DMA32 4096 520160 520160\n1:Normal 1048576 262144 262144\n\
         = fallback\nFallback order for Node 0: 0 1\nFallback order for Node 1: 1 0",
    ),
    (
        "kernelcore=3G memhp_default_state=online: Normal spans over Movable",
        "arch x86\nbank 0x1000 0x9efff usable\nbank 0x100000 0x7ffdffff usable\nbank 0x100000000 0x17fffffff usable\n\
         srat 0 0x0 0x9ffff\nsrat 0 0x100000 0x7fffffff\nsrat 0 0x100000000 0x17fffffff\n\
         srat 0 0x180000000 0x57fffffff hotplug\nkernelcore 0xc0000000\n\
         = plug\n0 0x180000000 0x1bfffffff online\n\
         = zoneinfo\n0:DMA 1 4095 3998\n0:DMA32 4096 1044480 520160\n0:Normal 1048576 786432 525312\n\
         0:Movable 1311744 261120 261120\n\
         = fallback\nFallback order for Node 0: 0",
    ),
];

#[test]
fn linux_grew_the_same_zones() {
    for (name, description) in LINUX {
        let mut facts = Facts::parse(description);
        let ram = facts.machine.window();
        let movable_node = facts.machine.movable.movable_node;
        let mut zones = zones(&mut facts.machine, &ram);
        for device in facts.section("plug").unwrap() {
            let words: Vec<_> = device.split_whitespace().collect();
            let how = match words[3] {
                "online" => Placement::Default(movable_node),
                "online_movable" => Placement::Movable,
                other => panic!("{other}"),
            };
            add(&mut zones, span(number(words[1]), number(words[2])), words[0].parse().unwrap(), how).unwrap();
        }
        assert_eq!(counted(&zones), facts.section("zoneinfo").unwrap(), "{name}");
        let orders = text(|out| boot::fallback_orders(&zones, out));
        assert_eq!(lines(&orders), facts.section("fallback").unwrap(), "{name}");
    }
}

/// Two nodes, 1 GiB at 1 MiB and 1 GiB at 4 GiB, and domain 7 that is only possible.
const TWO_NODES: &str = "arch x86\nbank 0x100000 0x3fffffff usable\nbank 0x100000000 0x13fffffff usable\n\
                         srat 0 0x0 0x3fffffff\nsrat 1 0x100000000 0x13fffffff\nsrat 7 0x200000000 0x2ffffffff hotplug";

#[test]
fn a_list_names_new_zones() {
    let mut machine = Facts::parse(TWO_NODES).machine;
    let ram = machine.window();
    let mut zones = zones(&mut machine, &ram);
    let names = |zones: &Zones<Access<'_>>, node| {
        let list = zones.zonelist(NodeId::new(node), ZoneKind::Movable).iter();
        list.map(|zone| zones.span(*zone).map(|zone| format!("{}:{}", zone.node, zone.kind)).unwrap())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(names(&zones, 0), "0:DMA32 0:DMA 1:Normal");
    assert_eq!(zones.nodes().node_of_domain(7), Some(NodeId::new(2)));
    assert_eq!(zones.nodes().node_of_domain(3), None);
    assert!(zones.nodes().node(NodeId::new(2)).is_none());
    add(&mut zones, PhysRange::from_size(PhysAddr::new(8 * GIB), GIB).unwrap(), 2, Placement::Movable).unwrap();
    add(&mut zones, PhysRange::from_size(PhysAddr::new(6 * GIB), BLOCK).unwrap(), 0, Placement::Kernel).unwrap();
    assert_eq!(names(&zones, 0), "0:Normal 0:DMA32 0:DMA 1:Normal 2:Movable");
    assert_eq!(names(&zones, 2), "2:Movable 0:Normal 0:DMA32 0:DMA 1:Normal");
    let node = zones.nodes().node(NodeId::new(2)).unwrap();
    assert_eq!((node.present, node.span.start().as_u64(), node.has_memory), (GIB >> 12, 8 << 18, true));
    let node = zones.nodes().node(NodeId::new(0)).unwrap();
    assert_eq!((node.span.start().as_u64(), node.span.end().as_u64()), (0x100, (6 << 18) + (BLOCK >> 12)));
    assert_eq!(zones.policy_zone(), ZoneKind::Normal);
}

#[test]
fn lists_that_are_replaced_give_their_memory_back() {
    let mut machine = Facts::parse(TWO_NODES).machine;
    let ram = machine.window();
    let mut zones = zones(&mut machine, &ram);
    let held = |zones: &Zones<Access<'_>>| -> u64 {
        let lists = zones.memblock().reserved().iter().filter(|region| region.owner().as_str() == "zonelists");
        lists.map(|region| region.range().size()).sum()
    };
    let before = held(&zones);
    assert_ne!(before, 0);
    // A zone that is there grows: as many zones, as long lists.
    for block in 0..4 {
        let range = PhysRange::from_size(PhysAddr::new(6 * GIB + block * BLOCK), BLOCK).unwrap();
        add(&mut zones, range, 1, Placement::Kernel).unwrap();
        assert_eq!(held(&zones), before);
    }
}

/// All that can be asked of zones, to see that nothing has changed.
fn state(zones: &Zones<Access<'_>>) -> String {
    let regions = |regions: Regions<'_>| format!("{regions:?}");
    let nodes: Vec<_> = zones.nodes().iter().collect();
    let lists: Vec<_> = nodes.iter().map(|node| zones.zonelist(node.id, ZoneKind::Movable).to_vec()).collect();
    format!("{} {nodes:?} {lists:?} {:?} {:?}", regions(zones.memblock().memory()), zones.spans(), zones.added())
}

#[test]
fn what_cannot_be_added_is_refused_by_name_and_changes_nothing() {
    let mut machine = Facts::parse(TWO_NODES).machine;
    let ram = machine.window();
    let mut zones = zones(&mut machine, &ram);
    let range = |start, end| PhysRange::new(PhysAddr::new(start), PhysAddr::new(end));
    zones.memblock_mut().reserve(range(6 * GIB + 100, 6 * GIB + 200), Owner::new("somebody")).unwrap();
    let before = state(&zones);
    let cases = [
        (range(5 * GIB, 5 * GIB), 0, GrowError::Misaligned(range(5 * GIB, 5 * GIB))),
        (range(6 * GIB + 1, 7 * GIB), 0, GrowError::Misaligned(range(6 * GIB + 1, 7 * GIB))),
        (range(8 * GIB, 9 * GIB - 1), 0, GrowError::Misaligned(range(8 * GIB, 9 * GIB - 1))),
        (range(0x10_0000, GIB), 0, GrowError::Memory(range(0x10_0000, GIB))),
        (range(GIB - BLOCK, GIB + BLOCK), 0, GrowError::Memory(range(GIB - BLOCK, GIB))),
        (range(3 * GIB, 6 * GIB), 1, GrowError::Memory(range(4 * GIB, 5 * GIB))),
        (range(5 * GIB, 7 * GIB), 1, GrowError::Reserved(range(6 * GIB + 100, 6 * GIB + 200))),
        (range(8 * GIB, 9 * GIB), 3, GrowError::NoNode(NodeId::new(3))),
        (range(8 * GIB, 9 * GIB), 999, GrowError::NoNode(NodeId::new(999))),
    ];
    for (range, node, error) in cases {
        assert_eq!(add(&mut zones, range, node, ONLINE), Err(error));
        assert_eq!(state(&zones), before);
    }
    add(&mut zones, range(8 * GIB, 9 * GIB), 2, ONLINE).unwrap();
    let twice = range(8 * GIB + BLOCK, 10 * GIB);
    assert_eq!(add(&mut zones, twice, 2, ONLINE), Err(GrowError::Memory(range(8 * GIB + BLOCK, 9 * GIB))));
}

#[test]
fn without_memory_for_tables_nothing_changes() {
    let mut machine = Facts::parse(TWO_NODES).machine;
    let ram = machine.window();
    let mut zones = zones(&mut machine, &ram);
    zones.memblock_mut().reserve(ram.range(), Owner::new("somebody")).unwrap();
    let before = state(&zones);
    let range = PhysRange::from_size(PhysAddr::new(8 * GIB), GIB).unwrap();
    assert!(matches!(add(&mut zones, range, 2, ONLINE), Err(GrowError::Table(_))));
    assert_eq!(state(&zones), before);
}

/// A block of any size goes by the zone that it meets.
#[test]
fn the_default_is_the_zone_that_a_block_meets() {
    // Movable from 0x7f800000 on: what is plugged into its holes is Movable too, what is behind it is not.
    let description = "arch x86\nbank 0x100000 0x3fffffff usable\nbank 0x60000000 0x7fffffff usable\n\
                       bank 0xc0000000 0xcfffffff usable\nmovablecore 0x10800000";
    let mut machine = Facts::parse(description).machine;
    let ram = machine.window();
    let mut zones = zones(&mut machine, &ram);
    let block = |at: u64| PhysRange::from_size(PhysAddr::new(at), BLOCK).unwrap();
    assert_eq!(zones.movable_start(NodeId::new(0)), Some(Pfn::new(0x7f800)));
    add(&mut zones, block(0x4000_0000), 0, ONLINE).unwrap();
    add(&mut zones, block(0xa000_0000), 0, ONLINE).unwrap();
    add(&mut zones, block(0xd000_0000), 0, ONLINE).unwrap();
    add(&mut zones, block(0xb000_0000), 0, Placement::Kernel).unwrap();
    let kinds: Vec<_> = zones.added().iter().map(|added| (added.frames.start().as_u64(), added.kind)).collect();
    let (dma32, normal, movable) = (ZoneKind::Dma32, ZoneKind::Normal, ZoneKind::Movable);
    assert_eq!(kinds, [(0x40000, dma32), (0xa0000, movable), (0xb0000, normal), (0xd0000, normal)]);
    // Now Normal and Movable meet in between: the kernel's zone has it, unless such memory is to be Movable.
    add(&mut zones, block(0xb800_0000), 0, ONLINE).unwrap();
    add(&mut zones, block(0xa800_0000), 0, Placement::Default(MovableNode::Honour)).unwrap();
    assert_eq!(zones.added_at(Pfn::new(0xb8000)).map(|added| added.kind), Some(normal));
    assert_eq!(zones.added_at(Pfn::new(0xa8000)).map(|added| added.kind), Some(movable));
    assert_eq!(zones.added_at(Pfn::new(0x90000)), None);
}

/// What is plugged in across the border of two zones is of both, each with one piece, however many blocks it has.
#[test]
fn a_device_across_a_border_is_in_two_zones() {
    let description = "arch x86\nbank 0x100000 0xbfffffff usable\nbank 0x140000000 0x17fffffff usable";
    let mut machine = Facts::parse(description).machine;
    let ram = machine.window();
    let mut zones = zones(&mut machine, &ram);
    // Between 3 and 5 GiB is nothing: DMA32 spans up to 4 GiB, Normal from there.
    let frames = |start: u64, end: u64| PfnRange::new(Pfn::new(start), Pfn::new(end));
    add(&mut zones, span(0xe000_0000, 0x1_1fff_ffff), 0, ONLINE).unwrap();
    let pieces: Vec<_> = zones.added().iter().map(|added| (added.frames, added.kind)).collect();
    let expected = [(frames(0xe_0000, 0x10_0000), ZoneKind::Dma32), (frames(0x10_0000, 0x12_0000), ZoneKind::Normal)];
    assert_eq!(pieces, expected);
    assert!(zones.was_added(frames(0xe_0000, 0x12_0000)));
    for outside in [frames(0xe_0000, 0x12_0001), frames(0xd_ffff, 0x12_0000), frames(0x10_0000, 0x10_0001 + (1 << 19))]
    {
        assert!(!zones.was_added(outside), "{outside:?}");
    }
}

#[test]
fn every_machine_of_linux_takes_a_device_above_its_memory() {
    for (name, facts) in machines() {
        let mut machine = Facts::parse(facts).machine;
        let ram = machine.window();
        let mut zones = zones(&mut machine, &ram);
        let end = zones.memblock().memory().span().end().as_u64().next_multiple_of(BLOCK);
        let range = PhysRange::from_size(PhysAddr::new(end), BLOCK).unwrap();
        let node = zones.nodes().iter().next().unwrap();
        let total = |zones: &Zones<Access<'_>>| zones.spans().iter().map(|zone| zone.present).sum::<u64>();
        let before = total(&zones);
        add(&mut zones, range, node.id.as_u16(), ONLINE).unwrap();
        assert_eq!(total(&zones), before + (BLOCK >> 12), "{name}");
        assert!(zones.was_added(PfnRange::inside(range, 12)), "{name}");
        assert_eq!(zones.nodes().node(node.id).unwrap().present, node.present + (BLOCK >> 12), "{name}");
    }
}

/// What is known of each block of 128 MiB that was there or was added, by its number.
type Blocks = BTreeMap<u64, (u16, ZoneKind)>;

/// Nodes of blocks there at boot, the first block of Movable on any node, and what is added: first block, count, node,
/// and how.
type Plan = (Vec<Option<u16>>, u64, Vec<(u64, u64, u16, Placement)>);

fn plans() -> impl Strategy<Value = Plan> {
    let how = prop_oneof![
        Just(ONLINE),
        Just(Placement::Default(MovableNode::Honour)),
        Just(Placement::Kernel),
        Just(Placement::Movable)
    ];
    let device = (0..64_u64, 1..6_u64, 0..3_u16, how);
    let boot = prop::collection::vec(prop::option::weighted(0.5, 0..2_u16), 39);
    (boot, 0..64_u64, prop::collection::vec(device, 1..8))
}

/// Which zone a block comes into, by every block that there is.
fn expected(spans: &BTreeMap<(u16, ZoneKind), (u64, u64)>, at: u64, node: u16, how: Placement) -> ZoneKind {
    let meets = |kind| spans.get(&(node, kind)).is_some_and(|(first, last)| (*first..=*last).contains(&at));
    let kernel = if meets(ZoneKind::Dma) {
        ZoneKind::Dma
    } else if meets(ZoneKind::Dma32) {
        ZoneKind::Dma32
    } else {
        ZoneKind::Normal
    };
    match how {
        Placement::Movable => ZoneKind::Movable,
        Placement::Kernel => kernel,
        Placement::Default(movable_node) => {
            if meets(kernel) == meets(ZoneKind::Movable) {
                if movable_node == MovableNode::Honour { ZoneKind::Movable } else { kernel }
            } else if meets(kernel) {
                kernel
            } else {
                ZoneKind::Movable
            }
        }
    }
}

fn check_plan((boot, movable, devices): Plan) {
    // Block 0 is always there, on node 0, and the machine knows of node 2.
    let mut description = "arch x86\nbank 0x0 0x7ffffff usable\nsrat 0 0x0 0x7ffffff\n".to_owned();
    for (at, node) in (1_u64..).zip(&boot).filter_map(|(at, node)| Some((at, (*node)?))) {
        let (start, last) = (at * BLOCK, (at + 1) * BLOCK - 1);
        description += &format!("bank {start:#x} {last:#x} usable\nsrat {node} {start:#x} {last:#x}\n");
    }
    description += "srat 1 0x800000000 0x8ffffffff hotplug\nsrat 2 0x900000000 0x9ffffffff hotplug\n";
    if movable > 40 {
        description += &format!("movablecore {:#x}\n", (movable - 40) * BLOCK / 2);
    }
    let mut machine = Facts::parse(&description).machine;
    let ram = machine.window();
    let mut zones = zones(&mut machine, &ram);

    let mut blocks = Blocks::new();
    let mut spans = BTreeMap::new();
    for zone in zones.spans() {
        let first = zone.range.start().as_u64() * 0x1000 / BLOCK;
        let last = (zone.range.end().as_u64() * 0x1000 - 1) / BLOCK;
        spans.insert((zone.node.as_u16(), zone.kind), (first, last));
    }
    let movable_starts = |zones: &Zones<Access<'_>>| [0, 1, 2].map(|node| zones.movable_start(NodeId::new(node)));
    let (at_boot, starts_at_boot) = (zones.spans().to_vec(), movable_starts(&zones));
    let memory = zones.memblock().memory_size();
    for (first, count, node, how) in devices {
        let range = PhysRange::from_size(PhysAddr::new(first * BLOCK), count * BLOCK).unwrap();
        let free = (first..first + count).all(|at| {
            let there = at == 0 || usize::try_from(at - 1).ok().and_then(|at| *boot.get(at)?).is_some();
            !there && !blocks.contains_key(&at)
        });
        let known = node < 2 || zones.nodes().node_of_domain(2).is_some();
        let added = add(&mut zones, range, node, how);
        assert_eq!(added.is_ok(), free && known, "{added:?}");
        if added.is_err() {
            continue;
        }
        for at in first..first + count {
            let kind = expected(&spans, at, node, how);
            blocks.insert(at, (node, kind));
            let span = spans.entry((node, kind)).or_insert((at, at));
            *span = (span.0.min(at), span.1.max(at));
        }
    }

    assert_eq!(zones.memblock().memory_size(), memory + blocks.len() as u64 * BLOCK);
    assert_eq!(movable_starts(&zones), starts_at_boot);
    for (first, end) in (0..64).flat_map(|first| (first + 1..=first + 3).map(move |end| (first, end))) {
        let frames = PfnRange::new(Pfn::new(first * (BLOCK >> 12)), Pfn::new(end * (BLOCK >> 12)));
        assert_eq!(zones.was_added(frames), (first..end).all(|at| blocks.contains_key(&at)));
    }
    for zone in zones.spans() {
        let own = |(_, zone_of): &(&u64, &(u16, ZoneKind))| **zone_of == (zone.node.as_u16(), zone.kind);
        let before = at_boot.iter().find(|before| (before.node, before.kind) == (zone.node, zone.kind));
        let added = blocks.iter().filter(own).count() as u64 * (BLOCK >> 12);
        assert_eq!(zone.present, before.map_or(0, |before| before.present) + added);
        let first = blocks.iter().find(own).map(|(at, _)| at * (BLOCK >> 12));
        let last = blocks.iter().rfind(own).map(|(at, _)| (at + 1) * (BLOCK >> 12));
        let starts = before.map(|before| before.range.start().as_u64()).into_iter().chain(first);
        let ends = before.map(|before| before.range.end().as_u64()).into_iter().chain(last);
        assert_eq!(Some(zone.range.start().as_u64()), starts.min());
        assert_eq!(Some(zone.range.end().as_u64()), ends.max());
    }
    for (at, (node, kind)) in &blocks {
        for pfn in [at * (BLOCK >> 12), (at + 1) * (BLOCK >> 12) - 1].map(Pfn::new) {
            let Added { node: home, kind: found, .. } = zones.added_at(pfn).unwrap();
            assert_eq!((home.as_u16(), found), (*node, *kind));
            let zone = zones.zone_of(home, pfn).and_then(|zone| zones.span(zone)).unwrap();
            assert_eq!((zone.node, zone.kind), (home, *kind));
            assert_eq!(zones.zone_holding(home, pfn, RegionFlags::empty()), zones.zone_of(home, pfn));
            let region = zones.memblock().memory().find(pfn.address(12)).unwrap();
            assert_eq!(region.node(), Some(home));
        }
    }
    for zone in &at_boot {
        let pfn = zone.range.start();
        if zones.added_at(pfn).is_none() {
            let now = zones.zone_of(zone.node, pfn).and_then(|zone| zones.span(zone)).unwrap();
            assert_eq!((now.node, now.kind), (zone.node, zone.kind), "what was there stays where it was");
        }
    }
    assert!(zones.added().is_sorted_by(|one, next| one.frames.end() <= next.frames.start()));
    for node in zones.nodes().iter() {
        let regions = zones.memblock().memory();
        let own = regions.iter().filter(|region| region.node() == Some(node.id));
        assert_eq!(node.present, own.clone().map(|region| region.range().size() >> 12).sum::<u64>());
        let ends = own.clone().map(|region| region.range().end().as_u64() >> 12).max();
        assert_eq!(Some(node.span.end().as_u64()), ends);
        let populated = zones.spans().iter().filter(|zone| zone.is_populated()).count();
        assert_eq!(zones.zonelist(node.id, ZoneKind::Movable).len(), populated);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 2 } else { 400 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn blocks_in_any_order_are_where_a_model_has_them(plan in plans()) {
        check_plan(plan);
    }
}
