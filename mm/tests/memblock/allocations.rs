//! Allocation: against a search through every place, and the cases of which the order matters.

use crate::exhaustive::each_string;
use crate::oracle::{Ask, Op, Oracle};
use crate::ram::Ram;
use crate::{range, request};
use mm::addr::{NodeId, PhysAddr, PhysRange};
use mm::machine::Owner;
use mm::memblock::{Direction, Memblock, NodeWish, OutOfMemory, RegionFlags, Request};
use mm::zone::MovableNode;

pub(crate) fn ask(size: usize, within: (usize, usize)) -> Ask {
    Ask { size, align: 0, within, from: 0, node: NodeWish::Any }
}

/// Every arrangement of five kinds of cells, every request.
fn every_request(cells: usize) {
    let ram = Ram::new(0, 4096);
    let mut asks = Vec::new();
    for node in [NodeWish::Any, NodeWish::Prefer(NodeId::new(1)), NodeWish::Only(NodeId::new(1))] {
        for (size, align) in [(1, 0), (2, 0), (2, 1), (1, 1), (1, 2)] {
            for within in [(0, cells), (1, cells - 1)] {
                for from in [0, 2] {
                    asks.push(Ask { size, align, within, from, node });
                }
            }
        }
    }
    each_string(cells, 5, |kinds| {
        let mut make = Vec::new();
        for (at, kind) in kinds.iter().enumerate() {
            match kind {
                1 => make.push(Op::AddOn(at, at + 1, Some(1), 0)),
                2 => make.push(Op::AddOn(at, at + 1, Some(2), 0)),
                3 => make.push(Op::AddOn(at, at + 1, Some(1), RegionFlags::MIRROR.bits())),
                4 => make.push(Op::AddOn(at, at + 1, Some(2), RegionFlags::HOTPLUG.bits())),
                _ => {}
            }
        }
        let mut memblock = Memblock::new(ram.access());
        let mut made = Oracle::new(cells, 0, 1);
        for op in make {
            made.step(&mut memblock, op);
        }
        for direction in [Direction::TopDown, Direction::BottomUp] {
            for movable in [MovableNode::Ignore, MovableNode::Honour] {
                made.step(&mut memblock, Op::Direction(direction));
                made.step(&mut memblock, Op::Movable(movable));
                for ask in &asks {
                    let mut oracle = made.clone();
                    oracle.step(&mut memblock, Op::Alloc(*ask));
                    // Undone, for the next one.
                    if let Some(at) = (0..cells).find(|at| oracle.cells[*at] != made.cells[*at]) {
                        oracle.step(&mut memblock, Op::FreeAllocated(at, at + ask.size));
                    }
                }
            }
        }
    });
}

#[test]
fn every_request_in_every_small_arrangement() {
    every_request(if cfg!(miri) { 2 } else { 4 });
}

#[test]
#[ignore = "the long run: minutes, in a release build"]
fn every_request_in_every_larger_arrangement() {
    every_request(6);
}

/// Two nodes of 64 KiB each, the upper half of each mirrored.
fn mirrored(ram: &Ram) -> Memblock<crate::ram::Access<'_>> {
    let mut memblock = Memblock::new(ram.access());
    for node in [0, 1] {
        let start = u64::from(node) * 0x1_0000;
        memblock.add_on(range(start, start + 0x1_0000), Some(NodeId::new(node)), RegionFlags::empty()).unwrap();
        memblock.mark(range(start + 0x8000, start + 0x1_0000), RegionFlags::MIRROR).unwrap();
    }
    memblock
}

#[test]
fn mirrored_memory_counts_for_more_than_a_preferred_node() {
    let ram = Ram::new(0, 4096);
    let mut memblock = mirrored(&ram);
    let near = Request { node: NodeWish::Prefer(NodeId::new(0)), ..request(0x8000, 1) };
    assert_eq!(memblock.alloc(near).unwrap(), range(0x8000, 0x1_0000));
    assert_eq!(memblock.alloc(near).unwrap(), range(0x1_8000, 0x2_0000), "mirrored memory of another node");
    assert_eq!(memblock.alloc(near).unwrap(), range(0, 0x8000), "then the node again");
    assert_eq!(memblock.alloc(near).unwrap(), range(0x1_0000, 0x1_8000));
    assert!(memblock.alloc(near).is_err());
}

#[test]
fn an_exact_node_counts_for_more_than_mirrored_memory() {
    let ram = Ram::new(0, 4096);
    let mut memblock = mirrored(&ram);
    let exact = Request { node: NodeWish::Only(NodeId::new(0)), ..request(0x8000, 1) };
    assert_eq!(memblock.alloc(exact).unwrap(), range(0x8000, 0x1_0000));
    assert_eq!(memblock.alloc(exact).unwrap(), range(0, 0x8000));
    assert!(memblock.alloc(exact).is_err());
}

#[test]
fn a_start_that_is_preferred_counts_for_more_than_mirrored_memory() {
    let ram = Ram::new(0, 4096);
    let mut memblock = mirrored(&ram);
    memblock.clear(range(0x1_0000, 0x2_0000), RegionFlags::MIRROR).unwrap();
    let place = memblock.alloc_from(request(0x1000, 0x1000), PhysAddr::new(0x1_0000)).unwrap();
    assert_eq!(place, range(0x1_f000, 0x2_0000));
    let place = memblock.alloc_from(request(0x1000, 0x1000), PhysAddr::new(0x2_0000)).unwrap();
    assert_eq!(place, range(0xf000, 0x1_0000), "below, and mirrored, when there is nothing above");
}

#[test]
fn a_request_that_cannot_be_is_not_tried_twice() {
    let ram = Ram::new(0, 4096);
    let mut memblock = mirrored(&ram);
    let from = PhysAddr::new(0x1000);
    assert_eq!(memblock.alloc_from(request(0, 1), from), Err(OutOfMemory::Empty));
    assert_eq!(memblock.alloc_from(request(1, 3), from), Err(OutOfMemory::Alignment(3)));
}

#[test]
fn memory_that_can_be_taken_out_is_not_used_when_that_is_honoured() {
    let ram = Ram::new(0, 4096);
    let mut memblock = Memblock::new(ram.access());
    memblock.add(range(0, 0x4000)).unwrap();
    memblock.mark(range(0x2000, 0x4000), RegionFlags::HOTPLUG).unwrap();
    assert_eq!(memblock.alloc(request(0x1000, 1)).unwrap(), range(0x3000, 0x4000));
    memblock.set_movable_node(MovableNode::Honour);
    assert_eq!(memblock.alloc(request(0x1000, 1)).unwrap(), range(0x1000, 0x2000));
    assert_eq!(memblock.alloc(request(0x1000, 1)).unwrap(), range(0, 0x1000), "frame 0 is a frame like any other");
    assert!(memblock.alloc(request(0x1000, 1)).is_err());
    assert_eq!(memblock.free_ranges().count(), 1, "it is free all the same");
    memblock.set_movable_node(MovableNode::Ignore);
    assert_eq!(memblock.alloc(request(0x1000, 1)).unwrap(), range(0x2000, 0x3000));
}

#[test]
fn slices_can_be_had_as_they_are_filled_or_cleared() {
    let ram = Ram::new(0x1_0000, 0x1000);
    let mut memblock = Memblock::new(ram.access());
    memblock.add(ram.range()).unwrap();
    // SAFETY: all memory here is RAM that only this test uses.
    unsafe { memblock.set_mapped(PhysRange::ALL) };
    let owner = Owner::new("test");
    let filled = memblock.alloc_filled(0x100, 0xa5a5_a5a5_u32, NodeWish::Any, owner).unwrap();
    assert_eq!(*filled, [0xa5a5_a5a5; 0x100]);
    let range = filled.range();
    // SAFETY: `filled` is not used below.
    unsafe { memblock.free_allocated(range).unwrap() };
    let mut raw = memblock.alloc_raw::<u32>(0x100, NodeWish::Any, owner).unwrap();
    assert_eq!((raw.range(), raw.len()), (range, 0x100));
    raw[3].write(7);
    // SAFETY: item 3 was written just now.
    assert_eq!(unsafe { raw[3].assume_init() }, 7);
    assert!(memblock.free(range).is_err(), "it is held");
    // SAFETY: `raw` is not used below.
    unsafe { memblock.free_allocated(range).unwrap() };
    let cleared = memblock.alloc_slice::<u32>(0x100, NodeWish::Any, owner).unwrap();
    assert_eq!(cleared.range(), range);
    assert_eq!(*cleared, [0; 0x100]);
    assert!(memblock.alloc_raw::<u32>(0, NodeWish::Any, owner).unwrap().is_empty());
    assert!(memblock.alloc_raw::<u32>(0x1000, NodeWish::Any, owner).is_err());
}

/// What is kept for others: every place that a slow search allows, from both ends, and clear of what is avoided.
#[test]
fn what_is_kept_stays_clear_of_a_range_and_of_address_0() {
    let ram = Ram::new(0, 4096);
    for direction in [Direction::TopDown, Direction::BottomUp] {
        for (first, end) in (0_u64..9).flat_map(|first| (first..9).map(move |end| (first, end))) {
            for size in 1_u64..5 {
                let mut memblock = Memblock::new(ram.access());
                memblock.add(range(0, 8 << 12)).unwrap();
                let avoid = range(first << 12, end << 12);
                let ask = request(size << 12, 4096);
                let kept = memblock.keep(ask, direction, avoid).unwrap();
                let fits = |start: &u64| {
                    let place = range(start << 12, (start + size) << 12);
                    *start > 0 && start + size <= 8 && !place.overlaps(avoid)
                };
                let wanted = match direction {
                    Direction::TopDown => (0..8).rev().find(fits),
                    Direction::BottomUp => (0..8).find(fits),
                };
                assert_eq!(kept.map(|kept| kept.start().as_u64() >> 12), wanted, "{avoid} {size} {direction:?}");
                if let Some(kept) = kept {
                    memblock.free(kept).unwrap();
                    assert_eq!(memblock.free_ranges().map(|free| free.range).collect::<Vec<_>>(), [range(0, 8 << 12)]);
                }
            }
        }
    }
    let mut memblock = Memblock::new(ram.access());
    memblock.add(range(0, 8 << 12)).unwrap();
    assert_eq!(memblock.keep(request(0, 4096), Direction::TopDown, PhysRange::EMPTY), Ok(None));
}
