//! Memory that is added between zones and the page allocator: it is handed out like all other.

use crate::up::{Kind, OfVmemmap, Pages, give_back, ram_frames, zones_within};
use mm::addr::{NodeId, Order, Pfn, PfnRange, PhysAddr, PhysRange};
use mm::arch::PageFormat;
use mm::memblock::Record;
use mm::model::MemoryModel;
use mm::page_alloc::{Gfp, NodeWish, PageAllocator, PageInfo, TakeOverError};
use mm::paging::{PageTables, extend_direct};
use mm::zone::{MovableNode, Placement, ZoneKind, Zones};
use mm_testkit::{Emulated, Machine};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// A range of RAM that is no bank at boot, its node, and how it is added.
type Device = (PhysRange, u16, Placement);

fn range(start: u64, size: u64) -> PhysRange {
    PhysRange::from_size(PhysAddr::new(start), size).unwrap()
}

/// Zones of `machine` without its `devices`.
fn without<'m, const SHIFT: u32>(
    machine: &'m Machine<SHIFT>,
    devices: &[Device],
) -> (Zones<Emulated<'m, SHIFT>>, PageTables<Emulated<'m, SHIFT>>) {
    let mut description = machine.describe();
    description.banks.retain(|bank| devices.iter().all(|(range, ..)| !range.overlaps(bank.range)));
    let ends = |bank: &mm::machine::Bank| (bank.range.start(), bank.range.end());
    let start = description.banks.iter().map(|bank| ends(bank).0).min().unwrap();
    let end = description.banks.iter().map(|bank| ends(bank).1).max().unwrap();
    zones_within(machine, &mut description, &[], PhysRange::new(start, end))
}

/// All of `machine` under management, its `devices` added after zones were laid out.
fn grown<'m, K: Kind, const SHIFT: u32>(
    machine: &'m Machine<SHIFT>,
    devices: &[Device],
) -> (Pages<'m, K, SHIFT>, Record<Emulated<'m, SHIFT>>) {
    let (mut zones, mut tables) = without(machine, devices);
    let layout = machine.handle().layout();
    for &(range, node, placement) in devices {
        // SAFETY: the tables are active, and the RAM of this range is in no bank.
        let ram = unsafe { extend_direct(&mut tables, zones.memblock_mut(), layout, range) }.unwrap();
        zones.add_memory(ram, NodeId::new(node), placement, 1 << Emulated::<SHIFT>::SECTION_SHIFT).unwrap();
    }
    // SAFETY: `zones_within` activated the tables.
    unsafe { PageAllocator::take_over(zones, tables, layout) }.unwrap()
}

/// What must hold of added memory right after boot.
fn look<'m, K: Kind, const SHIFT: u32>(
    machine: &Machine<SHIFT>,
    (pages, record): &(Pages<'m, K, SHIFT>, Record<Emulated<'m, SHIFT>>),
    devices: &[Device],
) {
    let counts = pages.verify().unwrap();
    assert_eq!(counts.sum(), ram_frames(machine).map(PfnRange::count).sum::<u64>());
    let added: u64 = devices.iter().map(|(range, ..)| PfnRange::inside(*range, SHIFT).count()).sum();
    assert_eq!(pages.added_frames(), added);
    // Nothing of the allocator's own lies there, so all of it is free but what describes it.
    for (range, node, _) in devices {
        assert!(record.reserved().overlapping(*range).is_empty(), "{range}");
        let pfn = Pfn::containing(range.start(), SHIFT);
        let zone = match pages.page_info(pfn) {
            PageInfo::Untouched { zone, .. } => zone.unwrap(),
            PageInfo::Block { zone, .. } => zone,
            other => panic!("{other}"),
        };
        assert_eq!(pages.zones().span(zone).unwrap().node, NodeId::new(*node));
        assert_eq!(pages.zones().zone_of(NodeId::new(*node), pfn), Some(zone));
    }
    let boot: u64 = record.memory().size() - devices.iter().map(|(range, ..)| range.size()).sum::<u64>();
    let free = pages.added_free_frames(record);
    assert!(free <= added && pages.free_pages() - free <= boot >> SHIFT);
}

/// Two nodes, a device on each, one of which has no other memory of its kind, and one behind RAM of its own zone.
pub(crate) fn added_memory_is_handed_out_like_all_other<K: Kind>() {
    let machine = Machine::<12>::builder()
        .ram(16 * MIB, 240 * MIB, 0)
        .ram(4 * GIB, 256 * MIB, 1)
        .ram(4 * GIB + 256 * MIB, 384 * MIB, 1)
        .ram(5 * GIB, 640 * MIB, 0)
        .finish();
    let devices = [
        (range(5 * GIB, 640 * MIB), 0, Placement::Movable),
        (range(4 * GIB + 256 * MIB, 384 * MIB), 1, Placement::Default(MovableNode::Ignore)),
    ];
    let managed = grown::<K, 12>(&machine, &devices);
    look::<K, 12>(&machine, &managed, &devices);
    let pages = managed.0;
    let names: Vec<_> = pages.populated().map(|(_, span)| (span.node.as_u16(), span.kind, span.present)).collect();
    let (dma32, normal, movable) = (ZoneKind::Dma32, ZoneKind::Normal, ZoneKind::Movable);
    assert_eq!(names, [(0, dma32, 61_440), (0, movable, 163_840), (1, normal, 163_840)]);

    // Down to the last page of node 0, and what was written is there afterwards.
    let gfp = Gfp { node: NodeWish::Only(NodeId::new(0)), zone: movable, ..Gfp::ATOMIC };
    let order = Order::new(4).unwrap();
    let mut held = Vec::new();
    while let Ok(pfn) = pages.alloc(order, gfp) {
        machine.poison(PfnRange::new(pfn, pfn.saturating_add(1)).bytes(12), held.len() as u8);
        held.push(pfn);
    }
    assert_eq!(pages.verify().unwrap().untouched, 256 * MIB / 4096 - memmap_of_a_granule::<K>());
    let inside = held.iter().filter(|pfn| range(5 * GIB, 640 * MIB).contains(pfn.address(12))).count() as u64;
    assert!(inside << order.as_u8() > 160_000, "{inside}");
    held.sort_unstable();
    assert!(held.is_sorted_by(|one, next| one.saturating_add(order.frames()) <= *next));
    let mut kept = held.clone();
    kept.retain(|pfn| pages.zones().zone_of(NodeId::new(0), *pfn).is_some());
    assert_eq!(kept, held);
    held.into_iter().for_each(|pfn| give_back(&pages, pfn, order).unwrap());
    pages.verify().unwrap();
}

/// Frames that a granule's own records take of it.
fn memmap_of_a_granule<K: Kind>() -> u64 {
    <K::Model<Emulated<'static, 12>> as MemoryModel<Emulated<'static, 12>>>::GRANULE_MEMMAP.map_or(0, Order::frames)
}

/// Small enough for Miri: a device of one block below, and one above, in other pages.
pub(crate) fn a_small_machine_grows<K: Kind>() {
    let machine =
        Machine::<12>::builder().ram(8 * MIB, MIB, 0).ram(16 * MIB, 4 * MIB, 0).ram(24 * MIB, MIB, 0).finish();
    let devices = [(range(8 * MIB, MIB), 0, Placement::Movable), (range(24 * MIB, MIB), 0, Placement::Kernel)];
    let managed = grown::<K, 12>(&machine, &devices);
    look::<K, 12>(&machine, &managed, &devices);
    let pages = managed.0;
    // All of it is described, so that all of the devices is free.
    assert_eq!(pages.added_free_frames(&managed.1), 512);
    let gfp = Gfp { zone: ZoneKind::Movable, ..Gfp::ATOMIC };
    let pfn = pages.alloc(Order::default(), gfp).unwrap();
    assert!((0x800..0x900).contains(&pfn.as_u64()), "the Movable zone is asked first");
    give_back(&pages, pfn, Order::default()).unwrap();
    pages.verify().unwrap();
}

#[test]
fn memory_that_nobody_said_is_mapped_is_not_taken_over() {
    let machine = Machine::<12>::builder().ram(8 * MIB, 4 * MIB, 0).ram(24 * MIB, MIB, 0).finish();
    let device = (range(24 * MIB, MIB), 0, Placement::Kernel);
    let (mut zones, tables) = without(&machine, &[device]);
    zones.memblock_mut().add(device.0).unwrap();
    zones.memblock_mut().set_node(device.0, NodeId::new(0)).unwrap();
    // SAFETY: `zones_within` activated the tables.
    let taken = unsafe { <Pages<'_, OfVmemmap, 12>>::take_over(zones, tables, machine.handle().layout()) };
    assert_eq!(taken.err(), Some(TakeOverError::NotMapped(device.0)));
}
