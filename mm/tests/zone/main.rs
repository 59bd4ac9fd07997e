//! Zones: what Linux printed on real boots, pages counted one by one, and the borders of arm64.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail like tests")]

#[path = "../facts/mod.rs"]
mod facts;
mod lists;
mod movable;
#[path = "../ram/mod.rs"]
mod ram;

use facts::{Facts, Machine, lines, machines};
use mm::addr::{NodeId, Pfn, PfnRange, PhysAddr, PhysRange};
use mm::machine::Rules;
use mm::memblock::{Memblock, Regions};
use mm::numa::{Nodes, NumaPolicy};
use mm::view::boot;
use mm::zone::{LowZones, MovableRequest, Unavailable, ZoneKind, ZoneLimits, Zones};
use mm_testkit::Emulated;
use proptest::prelude::*;
use ram::{Access, Ram};

/// Brings a machine up to zonelists.
fn zones<'r>(machine: &mut Machine, ram: &'r Ram) -> Zones<Access<'r>> {
    let (nodes, _) = machine.assign(ram, &mut |_| {});
    let limits =
        if machine.arm64 { ZoneLimits::arm64(nodes.memblock().memory().span(), None) } else { ZoneLimits::x86(12) };
    let mut zones = Zones::lay_out(nodes, limits, machine.movable).unwrap();
    zones.build_zonelists().unwrap();
    zones
}

fn text_of(print: impl FnOnce(&mut String) -> core::fmt::Result) -> String {
    let mut text = String::new();
    print(&mut text).unwrap();
    text
}

#[test]
fn linux_printed_the_same_zones_and_lists() {
    for (name, facts) in machines() {
        let mut facts = Facts::parse(facts);
        let ram = facts.machine.window();
        let zones = zones(&mut facts.machine, &ram);
        let layout = text_of(|out| boot::zone_layout(&zones, out));
        assert_eq!(lines(&layout), facts.section("zones").unwrap(), "{name}");
        let lists = text_of(|out| boot::zonelists(&zones, 64, boot::Mobility::On, out));
        assert_eq!(lines(&lists), facts.section("lists").unwrap(), "{name}");
    }
}

#[test]
fn linux_counted_the_same_pages() {
    let mut compared = 0;
    for (name, facts) in machines() {
        let mut facts = Facts::parse(facts);
        let Some(expected) = facts.section("zoneinfo").map(<[_]>::to_vec) else { continue };
        let ram = facts.machine.window();
        let zones = zones(&mut facts.machine, &ram);
        let populated = zones.spans().iter().filter(|zone| zone.is_populated());
        let counted: Vec<_> = populated
            .map(|zone| {
                let (start, spanned) = (zone.range.start().as_u64(), zone.range.count());
                format!("{}:{} {start} {spanned} {}", zone.node, zone.kind, zone.present)
            })
            .collect();
        assert_eq!(counted, expected, "{name}");
        compared += 1;
    }
    assert!(compared >= if cfg!(miri) { 1 } else { 5 });
}

/// The ring of RULES: eight nodes, each 20 from its neighbours and 10 more for each step further.
#[test]
fn a_ring_of_eight_falls_back_as_linux_does() {
    let mut description = "arch x86\nbank 0x100000 0x1fffffff usable\n".to_owned();
    for node in 0..8_u64 {
        let start = node << 29;
        description += &format!("bank {start:#x} {:#x} usable\n", start + 0x1fff_ffff);
        description += &format!("srat {node} {start:#x} {:#x}\n", start + 0x1fff_ffff);
    }
    for from in 0..8_i32 {
        for to in 0..8 {
            let steps = (from - to).abs().min(8 - (from - to).abs());
            description += &format!("distance {from} {to} {}\n", 10 + 10 * steps);
        }
    }
    let mut machine = Facts::parse(&description).machine;
    let ram = machine.window();
    let zones = zones(&mut machine, &ram);
    let order = |node| zones.fallback_order(NodeId::new(node)).iter().map(|n| n.as_u16()).collect::<Vec<_>>();
    assert_eq!(order(5), [5, 6, 4, 7, 3, 0, 2, 1]);
    assert_eq!(order(0), [0, 1, 7, 2, 6, 3, 5, 4]);
}

#[test]
fn every_zone_is_found_by_its_frames_and_only_by_them() {
    for (name, facts) in machines() {
        let mut facts = Facts::parse(facts);
        let ram = facts.machine.window();
        let zones = zones(&mut facts.machine, &ram);
        for (at, zone) in zones.spans().iter().enumerate() {
            for pfn in [zone.range.start(), Pfn::new(zone.range.end().as_u64() - 1)] {
                assert_eq!(zones.zone_of(zone.node, pfn).map(|zone| zone.index()), Some(at), "{name}");
            }
            let behind = zones.zone_of(zone.node, zone.range.end());
            assert_ne!(behind.map(|zone| zone.index()), Some(at), "{name}");
        }
        let present: u64 = zones.spans().iter().map(|zone| zone.present).sum();
        assert_eq!(present << 12, zones.memblock().memory_size(), "{name}: no page is lost between zones");
        assert_eq!(zones.zone_of(NodeId::new(999), Pfn::new(0x1000)), None);
        assert!(zones.zonelist(NodeId::new(999), ZoneKind::Normal).is_empty());
    }
}

#[test]
fn lists_are_empty_before_they_are_built() {
    let mut machine = Facts::parse(machines().next().unwrap().1).machine;
    let ram = machine.window();
    let (nodes, _) = machine.assign(&ram, &mut |_| {});
    let zones = Zones::lay_out(nodes, ZoneLimits::x86(12), MovableRequest::default()).unwrap();
    assert!(zones.fallback_order(NodeId::new(0)).is_empty());
    assert!(zones.zonelist(NodeId::new(0), ZoneKind::Movable).is_empty());
}

#[test]
fn memory_handed_on_keeps_nodes_and_zones() {
    let mut machine = Facts::parse(include_str!("../linux_facts/a-numa2-4g.txt")).machine;
    let ram = machine.window();
    let zones = zones(&mut machine, &ram);
    let spans = zones.spans().to_vec();
    let (memblock, topology, table) = zones.into_parts();
    assert_eq!(table.spans(), spans);
    assert_eq!(topology.node_count(), 2);
    assert_eq!(memblock.freeze().memory().len(), 2);
}

fn arm64(start: u64, end: u64, limit: Option<u64>) -> [(u64, u64); 3] {
    let ram = PhysRange::new(PhysAddr::new(start), PhysAddr::new(end));
    let limits = ZoneLimits::arm64(ram, limit.map(PhysAddr::new));
    let ranges = limits.resolve(PfnRange::inside(ram, 12), 12);
    [0, 1, 2].map(|kind: usize| (ranges[kind].start().as_u64() << 12, ranges[kind].end().as_u64() << 12))
}

#[test]
fn arm64_draws_its_borders_where_linux_does() {
    const GIB: u64 = 1 << 30;
    let empty = |at| (at, at);
    // A Raspberry Pi 4: devices that reach 1 GiB.
    assert_eq!(arm64(0, 8 * GIB, Some(GIB)), [(0, GIB), (GIB, 4 * GIB), (4 * GIB, 8 * GIB)]);
    // A Raspberry Pi's devices reach 0x3c000000 or 0x3f000000; they drive 30 bits.
    assert_eq!(arm64(0, 8 * GIB, Some(0x3c00_0000)), arm64(0, 8 * GIB, Some(GIB)));
    // A limit above 4 GiB, even that of everything, makes no zone larger.
    assert_eq!(arm64(0, 8 * GIB, Some(64 * GIB)), arm64(0, 8 * GIB, None));
    assert_eq!(arm64(0, 8 * GIB, Some(u64::MAX)), arm64(0, 8 * GIB, None));
    // No memory below the limit: such devices cannot be served, so they do not count.
    assert_eq!(arm64(2 * GIB, 8 * GIB, Some(GIB)), [(2 * GIB, 4 * GIB), empty(4 * GIB), (4 * GIB, 8 * GIB)]);
    // Memory ends below the limit.
    assert_eq!(arm64(GIB, 2 * GIB, None), [(GIB, 2 * GIB), empty(2 * GIB), empty(2 * GIB)]);
    // Memory starts at or above 4 GiB: DMA is all of it.
    assert_eq!(arm64(4 * GIB, 6 * GIB, None), [(4 * GIB, 6 * GIB), empty(6 * GIB), empty(6 * GIB)]);
    assert_eq!(arm64(1024 * GIB, 1026 * GIB, Some(GIB))[0], (1024 * GIB, 1026 * GIB));
}

#[test]
fn a_zone_that_the_kernel_has_not_leaves_its_memory_to_the_next() {
    const GIB: u64 = 1 << 30;
    const MIB: u64 = 1 << 20;
    let ranges = |limits: ZoneLimits, zones: LowZones, start: u64, end: u64| {
        let ram = PhysRange::new(PhysAddr::new(start), PhysAddr::new(end));
        let limits = limits.with(zones);
        let ranges = limits.resolve(PfnRange::inside(ram, 12), 12);
        let kinds: Vec<_> = limits.kinds().collect();
        assert!(!kinds.contains(&ZoneKind::Movable));
        ZoneKind::ALL.into_iter().zip(ranges).filter(|(_, range)| !range.is_empty()).for_each(|(kind, range)| {
            assert!(kinds.contains(&kind), "{kind}: {range:?}");
        });
        [0, 1, 2].map(|kind: usize| (ranges[kind].start().as_u64() << 12, ranges[kind].end().as_u64() << 12))
    };
    let empty = |at| (at, at);
    let pc = |zones| ranges(ZoneLimits::x86(12), zones, 0x1000, 8 * GIB);
    let high = (4 * GIB, 8 * GIB);
    assert_eq!(pc(LowZones::all()), [(0x1000, 16 * MIB), (16 * MIB, 4 * GIB), high]);
    assert_eq!(pc(LowZones::DMA32), [empty(0x1000), (0x1000, 4 * GIB), high]);
    assert_eq!(pc(LowZones::DMA), [(0x1000, 16 * MIB), empty(16 * MIB), (16 * MIB, 8 * GIB)]);
    assert_eq!(pc(LowZones::empty()), [empty(0x1000), empty(0x1000), (0x1000, 8 * GIB)]);
    let ram = PhysRange::new(PhysAddr::new(GIB), PhysAddr::new(8 * GIB));
    let board = |zones| ranges(ZoneLimits::arm64(ram, Some(PhysAddr::new(2 * GIB))), zones, GIB, 8 * GIB);
    assert_eq!(board(LowZones::DMA32), [empty(GIB), (GIB, 4 * GIB), high]);
    assert_eq!(board(LowZones::DMA), [(GIB, 2 * GIB), empty(2 * GIB), (2 * GIB, 8 * GIB)]);
    assert_eq!(board(LowZones::empty()), [empty(GIB), empty(GIB), (GIB, 8 * GIB)]);
}

/// Start, spanned and present pages of a zone.
type ZoneNumbers = (u64, u64, u64);

/// The zones of an arm64 machine, with pages of any size.
fn with_emulated<const SHIFT: u32, T>(
    machine: &mm_testkit::Machine<SHIFT>,
    request: MovableRequest,
    look: impl FnOnce(Zones<Emulated<'_, SHIFT>>) -> T,
) -> T {
    let mut description = machine.describe();
    let described = description.lend();
    let mut memblock = Memblock::new(machine.handle());
    // SAFETY: all of it is RAM that only this test uses.
    unsafe { memblock.set_mapped(PhysRange::ALL) };
    memblock.populate(&described, &mut |warning| panic!("{warning}")).unwrap();
    let mut text = String::new();
    let nodes =
        Nodes::assign(memblock, &described, NumaPolicy::firmware(Rules::Arm64), &mut text, &mut |_| {}).unwrap();
    let limits = ZoneLimits::arm64(nodes.memblock().memory().span(), None);
    look(Zones::lay_out(nodes, limits, request).unwrap())
}

/// A machine of two nodes, the second above a hole, in pages of each size.
fn page_size<const SHIFT: u32>() -> (Vec<ZoneNumbers>, Vec<(u16, u64)>) {
    const MIB: u64 = 1 << 20;
    let builder = mm_testkit::Machine::<SHIFT>::builder();
    let machine = builder.ram(0x8000_0000, 3 * MIB + 0x4000, 0).ram(0x8040_0000, 2 * MIB, 1).finish();
    with_emulated(&machine, MovableRequest::default(), |zones| {
        let spans = zones.spans().iter();
        let spans = spans.map(|zone| (zone.range.start().as_u64(), zone.range.count(), zone.present)).collect();
        (spans, zones.unavailable().map(|hole| (hole.node.as_u16(), hole.pages)).collect())
    })
}

#[test]
fn zones_and_holes_follow_the_size_of_pages_and_sections() {
    // The last page of 64 KiB of the first range is not whole. Sections are 128 MiB, with 64 KiB pages 512 MiB.
    let (spans, holes) = page_size::<12>();
    assert_eq!(spans, [(0x8_0000, 772, 772), (0x8_0400, 512, 512)]);
    assert_eq!(holes, [(1, 252), (1, 32_768 - 1024 - 512)]);
    let (spans, holes) = page_size::<14>();
    assert_eq!(spans, [(0x2_0000, 193, 193), (0x2_0100, 128, 128)]);
    assert_eq!(holes, [(1, 63), (1, 8192 - 256 - 128)]);
    let (spans, holes) = page_size::<16>();
    assert_eq!(spans, [(0x8000, 48, 48), (0x8040, 32, 32)]);
    assert_eq!(holes, [(1, 16), (1, 8192 - 64 - 32)]);
}

/// Pages of a piece of memory at most; few, where each takes long.
const LONGEST: u64 = if cfg!(miri) { 0x100 } else { 0x3000 };

/// Counts unavailable pages one by one: every frame of a section that holds memory and is no memory itself, given to
/// the zone of the next memory above, or to the last zone.
fn holes_model(zones: &Zones<Access<'_>>) -> Vec<(u16, ZoneKind, u64)> {
    let memory: Vec<_> = zones.memblock().memory().iter().collect();
    let pages: Vec<_> = memory.iter().map(|region| PfnRange::inside(region.range(), 12)).collect();
    let end = pages.last().unwrap().end().as_u64().next_multiple_of(1 << 15);
    let has_memory = |section: u64| {
        let section = PfnRange::new(Pfn::new(section << 15), Pfn::new((section + 1) << 15));
        pages.iter().any(|pages| !pages.intersection(section).is_empty())
    };
    let mut found: Vec<(u16, ZoneKind, u64)> = Vec::new();
    let mut open = 0;
    let mut close = |node: NodeId, pfn: u64, open: &mut u64| {
        if *open > 0 {
            let mut zone = zones.spans().iter().filter(|z| z.node == node && z.present > 0);
            let zone = zone.clone().find(|z| z.range.contains(Pfn::new(pfn))).or(zone.next_back()).unwrap();
            found.push((node.as_u16(), zone.kind, *open));
        }
        *open = 0;
    };
    let mut pfn = pages[0].start().as_u64() >> 15 << 15;
    while pfn < end {
        match memory.iter().zip(&pages).find(|(_, pages)| pages.contains(Pfn::new(pfn))) {
            Some((region, pages)) => {
                close(region.node().unwrap(), pfn, &mut open);
                pfn = pages.end().as_u64();
            }
            None => {
                // Without memory in the section there is nothing to count in it.
                let counts = has_memory(pfn >> 15);
                open += u64::from(counts);
                pfn = if counts { pfn + 1 } else { ((pfn >> 15) + 1) << 15 };
            }
        }
    }
    close(memory.last().unwrap().node().unwrap(), u64::MAX, &mut open);
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 1 } else { 16 }, failure_persistence: None, ..ProptestConfig::default() })]

    /// Interleaved nodes with ragged edges around the borders of zones and sections.
    #[test]
    fn holes_and_presence_agree_with_counting(
        base in prop_oneof![Just(0_u64), Just(0xff00), Just(0xf_8000)],
        pieces in proptest::collection::vec((1..LONGEST, 0..2 * LONGEST, 0..3_u32), 1..8),
    ) {
        let mut description = "arch arm64\n".to_owned();
        let mut at = base;
        for (length, gap, node) in pieces {
            let (start, last) = (at << 12, ((at + length) << 12) - 1);
            description += &format!("bank {start:#x} {last:#x} usable\nnode {node} {start:#x} {last:#x}\n");
            at += length + gap;
        }
        let mut machine = Facts::parse(&description).machine;
        let ram = machine.window();
        let (nodes, _) = machine.assign(&ram, &mut |_| {});
        let zones = Zones::lay_out(nodes, ZoneLimits::x86(12), MovableRequest::default());
        // A window of a few pages may be too small for the tables.
        prop_assume!(zones.is_ok());
        let zones = zones.unwrap();
        let found: Vec<_> =
            zones.unavailable().map(|Unavailable { node, kind, pages }| (node.as_u16(), kind, pages)).collect();
        prop_assert_eq!(found, holes_model(&zones));
        for zone in zones.spans() {
            let regions = zones.memblock().memory();
            let own = regions.iter().filter(|region| region.node() == Some(zone.node));
            let pages = own.map(|region| PfnRange::inside(region.range(), 12).intersection(zone.range).count());
            prop_assert_eq!(pages.sum::<u64>(), zone.present);
        }
        let present: u64 = zones.spans().iter().map(|zone| zone.present).sum();
        prop_assert_eq!(present << 12, zones.memblock().memory_size());
    }
}

/// Rule 8: what Linux has when it says 'Memory: … available'.
#[test]
fn linux_had_as_many_pages_at_once() {
    let mut compared = 0;
    for (name, facts) in machines() {
        let mut facts = Facts::parse(facts);
        let Some(expected) = facts.section("available").map(<[_]>::to_vec) else { continue };
        let ram = facts.machine.window();
        let zones = zones(&mut facts.machine, &ram);
        let at_once: Vec<_> = zones.set_up_at_once().collect();
        let mut pages: u64 = at_once.iter().map(|frames| frames.count()).sum();
        for line in expected {
            let words: Vec<_> = line.split_whitespace().collect();
            match words[0] {
                "reserved" => {
                    let range = facts::span(facts::number(words[1]), facts::number(words[2]));
                    let frames = PfnRange::inside(range.expand_to(0x1000), 12);
                    pages -= at_once.iter().map(|part| part.intersection(frames).count()).sum::<u64>();
                }
                // A buffer for devices that reach little, and tables of the virtual address space.
                "swiotlb" | "tables" => pages -= facts::number(words[1]),
                _ => assert_eq!(pages, facts::number(words[1]), "{name}"),
            }
        }
        compared += 1;
    }
    assert!(compared >= if cfg!(miri) { 1 } else { 11 });
}

#[test]
fn a_zone_that_is_all_hole_is_in_no_list() {
    let text = "arch x86\nbank 0x100000 0xffffff usable\nbank 0x100000000 0x17fffffff usable\n";
    let mut machine = Facts::parse(text).machine;
    let ram = machine.window();
    let zones = zones(&mut machine, &ram);
    let node = NodeId::new(0);
    let populated = |kind| zones.zones_of(node).any(|(_, zone)| zone.kind == kind && zone.is_populated());
    assert_eq!(ZoneKind::ALL.map(populated), [true, false, true, false]);
    let hole = zones.zones_of(node).find(|(_, zone)| zone.kind == ZoneKind::Dma32).unwrap().1;
    assert_eq!((hole.range.count(), hole.present), ((1 << 20) - (1 << 12), 0));
    let kinds =
        |kind| -> Vec<_> { zones.zonelist(node, kind).iter().map(|zone| zones.span(*zone).unwrap().kind).collect() };
    assert_eq!(kinds(ZoneKind::Normal), [ZoneKind::Normal, ZoneKind::Dma]);
    assert_eq!(kinds(ZoneKind::Dma32), [ZoneKind::Dma]);
}

/// What zones were planned with goes back; what stays is their tables and lists, and what nodes have.
#[test]
fn all_scratch_is_given_back() {
    for (name, facts) in machines() {
        let mut machine = Facts::parse(facts).machine;
        let ram = machine.window();
        let (nodes, _) = machine.assign(&ram, &mut |_| {});
        let held = |reserved: Regions<'_>| -> u64 {
            let scratch =
                reserved.iter().filter(|region| !["zone tables", "zonelists"].contains(&region.owner().as_str()));
            scratch.map(|region| region.range().size()).sum()
        };
        let before = held(nodes.memblock().reserved());
        let mut zones = Zones::lay_out(nodes, ZoneLimits::x86(12), machine.movable).unwrap();
        zones.build_zonelists().unwrap();
        assert_eq!(held(zones.memblock().reserved()), before, "{name}");
    }
}
