//! Movable zones: the kernel's core against counting page by page, mirrored memory, memory that can go.

use crate::facts::{Facts, Machine};
use crate::ram::Ram;
use crate::{LONGEST, text_of, with_emulated, zones};
use mm::addr::{NodeId, Pfn};
use mm::memblock::RegionFlags;
use mm::view::boot;
use mm::zone::{Amount, Mirroring, MovableRequest, ZoneKind, ZoneLimits, Zones};
use proptest::prelude::*;

/// Nodes of these sizes in MiB on a PC without a hole below 4 GiB, and what the command line says.
fn pc(nodes: &[u64], option: &str) -> Machine {
    let mut description = format!("arch x86\n{option}\n");
    let mut at = 1_u64 << 20;
    for (node, mebibytes) in nodes.iter().enumerate() {
        let mut left = mebibytes << 20;
        while left > 0 {
            // RAM goes on above a hole of 2 GiB.
            at = if (2 << 30..4 << 30).contains(&at) { 4 << 30 } else { at };
            let size = if at < 2 << 30 { left.min((2 << 30) - at) } else { left };
            let last = at + size - 1;
            description += &format!("bank {at:#x} {last:#x} usable\nsrat {node} {at:#x} {last:#x}\n");
            (at, left) = (at + size, left - size);
        }
    }
    Facts::parse(&description).machine
}

/// Where Movable zones start, in MiB.
fn starts(machine: &mut Machine) -> Vec<(u16, u64)> {
    let ram = machine.window();
    let zones = zones(machine, &ram);
    let found = zones.nodes().iter().filter_map(|node| Some((node.id.as_u16(), zones.movable_start(node.id)?)));
    found.map(|(node, start)| (node, start.as_u64() >> 8)).collect()
}

#[test]
fn the_kernel_gets_its_core_evenly() {
    // RAM from 1 MiB; above 2 GiB it goes on at 4 GiB.
    for (nodes, option, expected) in [
        // One node of 8 GiB less a MiB: 3 GiB Movable leave 5 for the kernel, 3 of them above.
        (&[8191][..], "movablecore 0xc0000000", &[(0, 7168)][..]),
        (&[8191], "kernelcore 0x40000000", &[(0, 4096)]),
        (&[8191], "kernelcore 0xc0000000", &[(0, 5124)]),
        (&[8191], "kernelcore 0x1fff00000", &[]),
        (&[8191], "kernelcore 0x0", &[]),
        (&[8191], "movablecore 0x0", &[]),
        // 100 % leave nothing to ask for.
        (&[8191], "movablecore 100%", &[]),
        (&[8191], "kernelcore 100%", &[]),
        (&[8191], "movablecore 0xffffffffffffffff", &[]),
        (&[8191], "kernelcore 50%", &[(0, 6148)]),
        // The larger wish of the kernel holds.
        (&[8191], "kernelcore 50%\nmovablecore 25%", &[(0, 8192)]),
        (&[8191], "kernelcore 75%\nmovablecore 50%", &[(0, 8196)]),
        // A page more than a block: the start moves up.
        (&[8191], "kernelcore 0x80101000", &[(0, 4100)]),
        // All below 4 GiB is the kernel's anyway, and counts: nothing above is wanted.
        (&[2047, 1024, 1024], "kernelcore 0x60000000", &[(1, 4096), (2, 5120)]),
        // Of 4.5 GiB node 0 gives all that it has, the others the rest, in two passes.
        (&[2047, 2048, 2048], "kernelcore 0x120000000", &[(1, 5976), (2, 6828)]),
        // Node 1 is all the kernel's; what it lacks comes from node 2, in three passes.
        (&[2047, 512, 4096], "kernelcore 0x120000000", &[(2, 6660)]),
    ] {
        assert_eq!(starts(&mut pc(nodes, option)), expected, "{nodes:?} {option}");
    }
    // Node 0 has its share of 8 MiB but for two pages. Node 1 gives its own share, and in the second pass the two, so
    // its Movable zone starts a block higher.
    let text = "arch x86\nkernelcore 0x1000000\nbank 0x100000000 0x1007fdfff usable\nbank 0x180000000 0x1ffffffff usable\n\
                srat 0 0x100000000 0x17fffffff\nsrat 1 0x180000000 0x1ffffffff";
    assert_eq!(starts(&mut Facts::parse(text).machine), [(1, 6156)]);
    // What Linux made of 40 % of nodes with 1 GiB, 2 GiB, 512 MiB and 4.5 GiB.
    let mut machine = Facts::parse(
        "arch x86\nbank 0x1000 0x9efff usable\nbank 0x100000 0xbffdffff usable\nbank 0x100000000 0x23fffffff usable
srat 0 0x0 0x3fffffff\nsrat 1 0x40000000 0xbfffffff
srat 2 0x100000000 0x11fffffff\nsrat 3 0x120000000 0x23fffffff\nmovablecore 40%",
    )
    .machine;
    let ram = machine.window();
    let zones = zones(&mut machine, &ram);
    let found: Vec<_> = (0..4).filter_map(|node| zones.movable_start(NodeId::new(node))).collect();
    assert_eq!(found, [Pfn::new(0x17_3000)]);
}

#[test]
fn all_memory_may_be_low() {
    // Without Normal the highest kind is DMA32, from 16 MiB.
    assert_eq!(starts(&mut pc(&[1023], "kernelcore 0x20000000")), [(0, 516)]);
    assert_eq!(starts(&mut pc(&[1023], "kernelcore 0x1000")), [(0, 16)]);
    // With Movable in DMA32 both are zones of the node.
    let mut machine = pc(&[1023], "kernelcore 0x20000000");
    let ram = machine.window();
    let zones = zones(&mut machine, &ram);
    let spans: Vec<_> =
        zones.spans().iter().map(|zone| (zone.kind, zone.range.start().as_u64(), zone.present)).collect();
    let pages = |mebibytes: u64| mebibytes << 8;
    assert_eq!(
        spans,
        [
            (ZoneKind::Dma, pages(1), pages(15)),
            (ZoneKind::Dma32, pages(16), pages(500)),
            (ZoneKind::Movable, pages(516), pages(508))
        ]
    );
    assert_eq!(zones.policy_zone(), ZoneKind::Dma32);
    assert_eq!(zones.with_normal_memory().to_string(), "0");
}

/// Where Movable starts in 2 GiB from 1 GiB on, in MiB, as large as pages are.
fn start_with_pages_of<const SHIFT: u32>(request: MovableRequest) -> u64 {
    let machine = mm_testkit::Machine::<SHIFT>::builder().ram(1 << 30, 2 << 30, 0).finish();
    with_emulated(&machine, request, |zones| {
        zones.movable_start(NodeId::new(0)).map(|start| start.as_u64() << SHIFT >> 20).unwrap()
    })
}

/// 4 MiB, with pages of 16 KiB 32 MiB, with 64 KiB 512 MiB.
#[test]
fn movable_starts_at_a_largest_block_of_each_page_size() {
    let starts = |kernelcore, movablecore| {
        let request = MovableRequest { kernelcore, movablecore, ..MovableRequest::default() };
        [start_with_pages_of::<12>(request), start_with_pages_of::<14>(request), start_with_pages_of::<16>(request)]
    };
    // A page of 64 KiB more than 256 MiB: up to the next block.
    assert_eq!(starts(Some(Amount::Bytes((256 << 20) + (64 << 10))), None), [1284, 1312, 1536]);
    // A page of 64 KiB more than 512 MiB for Movable: one block more.
    assert_eq!(starts(None, Some(Amount::Bytes((512 << 20) + (64 << 10)))), [2556, 2528, 2048]);
}

#[test]
fn hot_pluggable_nodes_are_movable_and_may_have_nothing_else() {
    // Rule 10: nothing of the hot-pluggable node is reserved.
    let text = "arch x86\nbank 0x100000 0x3fffffff usable\nbank 0x140000000 0x17fffffff usable
srat 0 0x0 0x3fffffff\nsrat 1 0x140000000 0x17fffffff hotplug\n";
    let mut machine = Facts::parse(&format!("{text}movable_node")).machine;
    let ram = machine.window();
    let zones = zones(&mut machine, &ram);
    let spans: Vec<_> = zones.spans().iter().map(|zone| (zone.node.as_u16(), zone.kind)).collect();
    assert_eq!(spans, [(0, ZoneKind::Dma), (0, ZoneKind::Dma32), (1, ZoneKind::Movable)]);
    let nodes = zones.nodes();
    let sets = [nodes.possible(), nodes.online(), nodes.with_memory(), zones.with_normal_memory()];
    assert_eq!(sets.map(|set| set.to_string()), ["0-1", "0-1", "0-1", "0"]);
    // Amounts do not count beside it, and without it the memory is like any other.
    let mut machine = Facts::parse(&format!("{text}movable_node\nkernelcore 0x1000")).machine;
    assert_eq!(starts(&mut machine), [(1, 5120)]);
    assert_eq!(starts(&mut Facts::parse(text).machine), []);
}

/// Kind, and in GiB: start, span, memory.
type Gigabytes = Vec<(ZoneKind, u64, u64, u64)>;

fn mirrored(text: &str) -> (Gigabytes, Mirroring, String) {
    let mut machine = Facts::parse(&format!("arch x86\nkernelcore mirror\n{text}")).machine;
    let ram = machine.window();
    let zones = zones(&mut machine, &ram);
    let spans = zones.spans().iter();
    let spans = spans.map(|zone| {
        let gigabytes = |pages: u64| pages >> 18;
        (zone.kind, gigabytes(zone.range.start().as_u64()), gigabytes(zone.range.count()), gigabytes(zone.present))
    });
    let present: u64 = zones.spans().iter().map(|zone| zone.present).sum();
    assert_eq!(present << 12, zones.memblock().memory_size(), "no page is lost, none is in two zones");
    for region in zones.memblock().memory() {
        let pfn = Pfn::containing(region.range().start(), 12);
        let zone = zones.zone_holding(NodeId::new(0), pfn, region.flags()).unwrap();
        let kind = zones.span(zone).unwrap().kind;
        let is_mirrored = region.flags().contains(RegionFlags::MIRROR);
        assert_eq!(kind == ZoneKind::Movable, !is_mirrored && pfn.as_u64() >= 1 << 20);
    }
    let printed = text_of(|out| boot::mirroring(&zones, out));
    (spans.collect(), zones.mirroring(), printed)
}

#[test]
fn the_kernel_keeps_to_mirrored_memory() {
    use ZoneKind::{Dma, Dma32, Movable, Normal};
    let low = "bank 0x0 0x7fffffff usable mirror\n";
    // Mirrored memory below what is not: the kernel's zone goes on to the end, as in Linux, without pages there.
    let (spans, mirroring, printed) =
        mirrored(&format!("{low}bank 0x100000000 0x17fffffff usable mirror\nbank 0x180000000 0x37fffffff usable\n"));
    assert_eq!(spans, [(Dma, 0, 0, 0), (Dma32, 0, 3, 1), (Normal, 4, 10, 2), (Movable, 6, 8, 8)]);
    assert_eq!((mirroring, printed.as_str()), (Mirroring::Whole, ""));
    // The other way round each has its part of the same frames.
    let (spans, mirroring, _) =
        mirrored(&format!("{low}bank 0x100000000 0x17fffffff usable\nbank 0x180000000 0x37fffffff usable mirror\n"));
    assert_eq!(spans, [(Dma, 0, 0, 0), (Dma32, 0, 3, 1), (Normal, 4, 10, 8), (Movable, 4, 10, 2)]);
    assert_eq!(mirroring, Mirroring::Whole);
    // Memory below 4 GiB is the kernel's in any case.
    let (spans, mirroring, printed) =
        mirrored("bank 0x0 0x7fffffff usable\nbank 0x100000000 0x17fffffff usable mirror\n");
    assert_eq!(spans, [(Dma, 0, 0, 0), (Dma32, 0, 3, 1), (Normal, 4, 2, 2)]);
    assert_eq!(mirroring, Mirroring::Partial);
    assert_eq!(printed, "This configuration results in unmirrored kernel memory.\n");
}

#[test]
fn without_mirrored_memory_the_wish_is_ignored() {
    let mut machine = pc(&[8191], "kernelcore mirror\nmovablecore 0x40000000");
    let ram = machine.window();
    let zones = zones(&mut machine, &ram);
    assert_eq!((zones.mirroring(), zones.movable_start(NodeId::new(0))), (Mirroring::Impossible, None));
    let printed = text_of(|out| boot::mirroring(&zones, out));
    assert_eq!(printed, "The system has no mirror memory, ignore kernelcore=mirror.\n");
}

/// Linux's rule in its plainest form, page counts as they come: who gives how much of `need` pages.
fn core_model(memory: &[(usize, u64, u64)], nodes: usize, usable: u64, need: u64) -> Vec<Option<u64>> {
    let mut starts = vec![0_u64; nodes];
    let mut need = need;
    let mut left = (0..nodes).filter(|node| memory.iter().any(|piece| piece.0 == *node)).count() as u64;
    loop {
        let mut share = need / left;
        for (node, start) in
            starts.iter_mut().enumerate().filter(|(node, _)| memory.iter().any(|piece| piece.0 == *node))
        {
            if need < share {
                share = need / left;
            }
            let mut remaining = share;
            for &(_, first, end) in memory.iter().filter(|piece| piece.0 == node) {
                let mut done = false;
                let from = first.max(*start);
                for pfn in from..end {
                    if pfn < usable {
                        remaining = remaining.saturating_sub(1);
                        need = need.saturating_sub(1);
                        *start = pfn + 1;
                    } else if remaining > 0 {
                        remaining -= 1;
                        need = need.saturating_sub(1);
                        *start = pfn + 1;
                        done = remaining == 0;
                    } else {
                        *start = pfn.max(*start);
                        done = true;
                    }
                    if done {
                        break;
                    }
                }
                if done {
                    break;
                }
            }
        }
        left -= 1;
        if left == 0 || need <= left {
            break;
        }
    }
    let end = |node| memory.iter().filter(|piece| piece.0 == node).map(|piece| piece.2).max().unwrap_or(0);
    starts
        .iter()
        .map(|start| start.next_multiple_of(1024))
        .enumerate()
        .map(|(node, start)| (start > 0 && start < end(node)).then_some(start))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 1 } else { 60 }, failure_persistence: None, ..ProptestConfig::default() })]

    /// Nodes in pieces around 4 GiB, and any need.
    #[test]
    fn the_core_is_spread_as_counting_page_by_page_spreads_it(
        pieces in proptest::collection::vec((1..LONGEST, 0..LONGEST, 0..3_usize), 2..8),
        part in 1..100_u64,
    ) {
        let mut at = 0xf_e000;
        let mut memory = Vec::new();
        let mut description = "arch x86\n".to_owned();
        for (length, gap, node) in pieces {
            memory.push((node, at, at + length));
            let (start, last) = (at << 12, ((at + length) << 12) - 1);
            description += &format!("bank {start:#x} {last:#x} usable\nsrat {node} {start:#x} {last:#x}\n");
            at += length + gap;
        }
        let all: u64 = memory.iter().map(|piece| piece.2 - piece.1).sum();
        let need = all * part / 100;
        description += &format!("kernelcore {:#x}\n", need << 12);
        // Nodes are numbered in the order in which the table names them.
        let mut order: Vec<usize> = Vec::new();
        for piece in &mut memory {
            if !order.contains(&piece.0) { order.push(piece.0); }
            piece.0 = order.iter().position(|node| *node == piece.0).unwrap();
        }
        let mut machine = Facts::parse(&description).machine;
        let ram = machine.window();
        let (nodes, _) = machine.assign(&ram, &mut |_| {});
        let zones = Zones::lay_out(nodes, ZoneLimits::x86(12), machine.movable);
        prop_assume!(zones.is_ok());
        let zones = zones.unwrap();
        let found: Vec<_> = (0..order.len()).map(|node| {
            zones.movable_start(NodeId::new(node as u16)).map(Pfn::as_u64)
        }).collect();
        let usable = if at > 1 << 20 && memory.last().unwrap().2 > 1 << 20 { 1 << 20 } else { 0xf_e000 };
        let expected = if need == 0 { vec![None; order.len()] } else { core_model(&memory, order.len(), usable, need) };
        prop_assert_eq!(found, expected);
    }
}

/// Many nodes that interleave in pieces of 512 MiB, with half of their memory Movable.
#[test]
#[cfg_attr(miri, ignore = "takes long, and touches no memory but tables")]
fn many_nodes_in_many_pieces() {
    const NODES: u64 = 200;
    let mut description = "arch x86\nbank 0x0 0x7fffffff usable\nsrat 0 0x0 0x7fffffff\nkernelcore 50%\n".to_owned();
    for at in 0..NODES * 8 {
        let (start, node) = ((4 << 30) + (at << 29), at % NODES);
        let last = start + (1 << 29) - 1;
        description += &format!("bank {start:#x} {last:#x} usable\nsrat {node} {start:#x} {last:#x}\n");
    }
    let mut machine = Facts::parse(&description).machine;
    let ram = Ram::new(64 << 20, 8 << 20);
    let zones = zones(&mut machine, &ram);
    assert_eq!(zones.nodes().node_count() as u64, NODES);
    assert_eq!(zones.fallback_order(NodeId::new(199)).len() as u64, NODES);
    let (mut movable, mut kernel) = (0, 0);
    for zone in zones.spans() {
        *if zone.kind == ZoneKind::Movable { &mut movable } else { &mut kernel } += zone.present;
    }
    // The kernel has its half, and what starts were moved up: less than 1024 pages a node, which Movable lacks.
    assert!((0..NODES * 2048).contains(&(kernel - movable)), "{kernel} {movable}");
}
