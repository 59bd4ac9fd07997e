//! Less memory than there is, and walks over parts of it.

use crate::ram::Ram;
use crate::{memory, range, request, reserved};
use mm::addr::{NodeId, Pfn, PfnRange, PhysAddr, PhysRange};
use mm::machine::Owner;
use mm::memblock::{INLINE_REGIONS, Memblock, RegionFlags, Request};

#[test]
fn a_cap_keeps_what_is_not_mapped_and_ends_reservations_outside() {
    let ram = Ram::new(0, 4096);
    let mut memblock = Memblock::new(ram.access());
    memblock.add(range(0x1000, 0x9000)).unwrap();
    memblock.add(range(0xa000, 0xf000)).unwrap();
    memblock.mark(range(0x2000, 0x3000), RegionFlags::NOMAP).unwrap();
    memblock.mark(range(0xc000, 0xe000), RegionFlags::NOMAP).unwrap();
    memblock.reserve(range(0x2000, 0x5000), Owner::new("one")).unwrap();
    memblock.reserve(range(0xd000, 0x1_0000), Owner::new("two")).unwrap();
    memblock.cap(range(0x4000, 0xd000)).unwrap();
    assert_eq!(memory(&memblock), [(0x2000, 0x3000), (0x4000, 0x9000), (0xa000, 0xc000), (0xc000, 0xe000)]);
    assert_eq!(reserved(&memblock), [(0x4000, 0x5000)]);
}

#[test]
fn a_cap_to_nothing_or_before_there_is_memory_does_nothing() {
    let ram = Ram::new(0, 4096);
    let mut memblock = Memblock::new(ram.access());
    memblock.reserve(range(0x1000, 0x2000), Owner::new("one")).unwrap();
    memblock.cap(range(0x8000, 0x9000)).unwrap();
    assert_eq!(reserved(&memblock), [(0x1000, 0x2000)]);
    memblock.add(range(0x1000, 0x2000)).unwrap();
    memblock.cap(range(0x8000, 0x8000)).unwrap();
    memblock.enforce_limit(0).unwrap();
    memblock.mem_limit_remove_map(0).unwrap();
    memblock.enforce_limit(0x1001).unwrap();
    memblock.mem_limit_remove_map(u64::MAX).unwrap();
    assert_eq!((memory(&memblock), reserved(&memblock)), (vec![(0x1000, 0x2000)], vec![(0x1000, 0x2000)]));
}

#[test]
fn the_lowest_bytes_stay_and_what_is_not_mapped_only_on_arm64() {
    let ram = Ram::new(0, 4096);
    let build = || {
        let mut memblock = Memblock::new(ram.access());
        memblock.add(range(0x1000, 0x3000)).unwrap();
        memblock.add(range(0x8000, 0xc000)).unwrap();
        memblock.mark(range(0xb000, 0xc000), RegionFlags::NOMAP).unwrap();
        memblock.reserve(range(0x8800, 0x1_0000), Owner::new("one")).unwrap();
        memblock
    };
    let mut memblock = build();
    memblock.enforce_limit(0x3000).unwrap();
    assert_eq!(memory(&memblock), [(0x1000, 0x3000), (0x8000, 0x9000)]);
    assert_eq!(reserved(&memblock), [(0x8800, 0x9000)]);
    let mut memblock = build();
    memblock.mem_limit_remove_map(0x3000).unwrap();
    assert_eq!(memory(&memblock), [(0x1000, 0x3000), (0x8000, 0x9000), (0xb000, 0xc000)]);
    assert_eq!(reserved(&memblock), [(0x8800, 0x9000)]);
    let mut memblock = build();
    memblock.enforce_limit(0x2000).unwrap();
    assert_eq!(memory(&memblock), [(0x1000, 0x3000)], "not a byte of the next region");
    let mut memblock = build();
    memblock.enforce_limit(0x6000).unwrap();
    assert_eq!(reserved(&memblock), [(0x8800, 0xc000)], "the limit is met, yet nothing is reserved above it");
}

#[test]
fn what_was_handed_out_stays_outside_of_a_limit() {
    let ram = Ram::new(0, 4096);
    let mut memblock = Memblock::new(ram.access());
    memblock.add(range(0, 0x10_0000)).unwrap();
    let at = |start: u64| Request { within: range(start, start + 0x1000), ..request(0x1000, 0x1000) };
    for start in [0x4000, 0x8_0000, 0xa_0000] {
        memblock.alloc(at(start)).unwrap();
    }
    memblock.reserve(range(0xb_0000, 0xc_0000), Owner::new("one")).unwrap();
    memblock.cap(range(0x1_0000, 0x2_0000)).unwrap();
    let held = [(0x4000, 0x5000), (0x8_0000, 0x8_1000), (0xa_0000, 0xa_1000)];
    assert_eq!(reserved(&memblock), held);
    assert_eq!(memory(&memblock), [held[0], (0x1_0000, 0x2_0000), held[1], held[2]]);
}

/// Each piece in use cuts the memory around it, so room for all of them must be found before anything goes.
#[test]
fn a_limit_that_needs_a_larger_array_gets_it_inside_or_changes_nothing() {
    let ram = Ram::new(0, 0x10_0000);
    let pieces = INLINE_REGIONS as u64 + 1;
    let build = || {
        let mut memblock = Memblock::new(ram.access());
        memblock.add(ram.range()).unwrap();
        // SAFETY: all memory here is RAM that only this test uses.
        unsafe { memblock.set_mapped(range(0, 0x4000)) };
        for piece in 0..pieces {
            let start = 0x8_0000 + piece * 0x100;
            memblock.alloc(Request { within: range(start, start + 0x40), ..request(0x40, 0x40) }).unwrap();
        }
        memblock
    };
    let mut memblock = build();
    let before = (memory(&memblock), reserved(&memblock));
    // The one window that is mapped would be lost, and the array with it.
    memblock.cap(range(0x4_0000, 0x5_0000)).unwrap_err();
    assert_eq!((memory(&memblock), reserved(&memblock)), before);
    // SAFETY: as above.
    unsafe { memblock.set_mapped(PhysRange::ALL) };
    memblock.cap(range(0x4_0000, 0x5_0000)).unwrap();
    assert!(
        memblock
            .memory()
            .find(PhysAddr::new(0x4_0000))
            .is_some_and(|region| region.range() == range(0x4_0000, 0x5_0000))
    );
    for piece in 0..pieces {
        let start = 0x8_0000 + piece * 0x100;
        let region = memblock.memory().find(PhysAddr::new(start)).unwrap();
        assert_eq!(region.range(), range(start, start + 0x40));
    }
    let grown = memblock.reserved().iter().filter(|region| region.owner().as_str() == "memblock regions");
    assert!(grown.clone().any(|region| range(0x4_0000, 0x5_0000).contains_range(region.range())));
}

#[test]
fn frames_are_whole_and_of_one_node_on_demand() {
    let ram = Ram::new(0, 4096);
    let mut memblock = Memblock::new(ram.access());
    memblock.add_on(range(0x1800, 0x4000), Some(NodeId::new(0)), RegionFlags::empty()).unwrap();
    memblock.add_on(range(0x4000, 0x5000), Some(NodeId::new(1)), RegionFlags::empty()).unwrap();
    memblock.add(range(0x6800, 0x7800)).unwrap();
    memblock.add(range(0x9000, 0xa800)).unwrap();
    let frames = |start, end| PfnRange::new(Pfn::new(start), Pfn::new(end));
    let all: Vec<_> = memblock.memory().frames(None, 12).map(|found| (found.range, found.node)).collect();
    let nodes = [Some(NodeId::new(0)), Some(NodeId::new(1)), None];
    assert_eq!(all, [(frames(2, 4), nodes[0]), (frames(4, 5), nodes[1]), (frames(9, 10), nodes[2])]);
    let back: Vec<_> = memblock.memory().frames(None, 12).rev().map(|found| found.range).collect();
    assert_eq!(back, [frames(9, 10), frames(4, 5), frames(2, 4)]);
    let near: Vec<_> = memblock.memory().frames(nodes[1], 12).map(|found| found.range).collect();
    assert_eq!(near, [frames(4, 5)]);
    assert_eq!(memblock.memory().frames(Some(NodeId::new(2)), 12).count(), 0);
    assert_eq!(memblock.memory().frames(None, 14).count(), 0, "no whole frame of 16 KiB");
}

#[test]
fn regions_that_overlap_a_range_from_both_ends() {
    let ram = Ram::new(0, 4096);
    let mut memblock = Memblock::new(ram.access());
    for start in [0x1000, 0x3000, 0x5000] {
        memblock.add(range(start, start + 0x1000)).unwrap();
    }
    let memory = memblock.memory();
    let found = |start, end| {
        memory.overlapping(range(start, end)).iter().map(|r| r.range().start().as_u64()).collect::<Vec<_>>()
    };
    assert_eq!(found(0x1fff, 0x3001), [0x1000, 0x3000]);
    assert_eq!(found(0x2000, 0x3000), []);
    assert_eq!(found(0x3800, 0x3800), [], "an empty range overlaps nothing");
    assert_eq!(found(0, u64::MAX), [0x1000, 0x3000, 0x5000]);
    let back: Vec<_> = memory.overlapping(range(0x3fff, 0x9000)).iter().rev().map(|r| r.range()).collect();
    assert_eq!(back, [range(0x5000, 0x6000), range(0x3000, 0x4000)]);
    assert_eq!(memory.span(), range(0x1000, 0x6000));
    assert_eq!(
        (memory.first().unwrap().range(), memory.last().unwrap().range()),
        (range(0x1000, 0x2000), range(0x5000, 0x6000))
    );
    assert_eq!(memory.find(PhysAddr::new(0x2000)), None);
    assert_eq!(memory.find(PhysAddr::new(0x3fff)).unwrap().range(), range(0x3000, 0x4000));
    let mut both = memory.into_iter();
    assert_eq!((both.len(), both.size_hint()), (3, (3, Some(3))));
    assert_eq!(both.next_back().unwrap().range(), range(0x5000, 0x6000));
    assert_eq!(both.next().unwrap().range(), range(0x1000, 0x2000));
    assert_eq!(both.len(), 1);
    assert_eq!(both.next().unwrap().range(), range(0x3000, 0x4000));
    assert_eq!((both.next(), both.next_back()), (None, None));
    assert_eq!(Memblock::new(ram.access()).memory().span(), PhysRange::EMPTY);
}
