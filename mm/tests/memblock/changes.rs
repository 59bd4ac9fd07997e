//! One change after another, in the cases that have failed elsewhere.

use crate::ram::Ram;
use crate::{memory, range, request, reserved};
use mm::addr::{NodeId, PhysRange};
use mm::machine::Owner;
use mm::memblock::{Direction, Memblock, MemblockError, NodeWish, OutOfMemory, RegionFlags, Request};

#[test]
fn neighbours_of_one_kind_are_one_region() {
    let ram = Ram::new(0, 4096);
    let mut memblock = Memblock::new(ram.access());
    memblock.add(range(0x1000, 0x2000)).unwrap();
    memblock.add(range(0x3000, 0x4000)).unwrap();
    assert_eq!(memory(&memblock), [(0x1000, 0x2000), (0x3000, 0x4000)]);
    memblock.add(range(0x2000, 0x3000)).unwrap();
    assert_eq!(memory(&memblock), [(0x1000, 0x4000)]);
    memblock.set_node(range(0x2000, 0x8000), NodeId::new(1)).unwrap();
    assert_eq!(memory(&memblock), [(0x1000, 0x2000), (0x2000, 0x4000)]);
    memblock.set_node(range(0, 0x8000), NodeId::new(1)).unwrap();
    assert_eq!(memory(&memblock), [(0x1000, 0x4000)]);
    memblock.add(range(0, 0x8000)).unwrap();
    assert_eq!(memory(&memblock), [(0, 0x1000), (0x1000, 0x4000), (0x4000, 0x8000)]);
    memblock.clear_nodes();
    assert_eq!(memory(&memblock), [(0, 0x8000)]);
}

#[test]
fn reservations_of_two_owners_stay_apart_and_the_first_keeps_what_both_want() {
    let ram = Ram::new(0, 4096);
    let mut memblock = Memblock::new(ram.access());
    memblock.reserve(range(0x1000, 0x2000), Owner::new("kernel")).unwrap();
    memblock.reserve(range(0, 0x4000), Owner::new("firmware")).unwrap();
    let owners: Vec<_> = memblock.reserved().iter().map(|r| r.owner().as_str().to_owned()).collect();
    assert_eq!(owners, ["firmware", "kernel", "firmware"]);
    memblock.free(range(0x800, 0x3000)).unwrap();
    assert_eq!(reserved(&memblock), [(0, 0x800), (0x3000, 0x4000)]);
}

#[test]
fn ranges_at_both_ends_of_the_address_space() {
    let ram = Ram::new(0, 4096);
    let mut memblock = Memblock::new(ram.access());
    memblock.add(range(0, 1)).unwrap();
    memblock.add(range(u64::MAX - 0xfff, u64::MAX)).unwrap();
    memblock.reserve(PhysRange::ALL, Owner::new("everything")).unwrap();
    assert_eq!(memblock.free_ranges().next(), None);
    memblock.free(range(0, u64::MAX)).unwrap();
    assert_eq!(memblock.free_ranges().count(), 2);
    assert_eq!(memblock.memory_size(), 0x1000);
    memblock.trim(0x1000);
    assert!(memblock.memory().is_empty());
}

#[test]
fn empty_ranges_change_nothing() {
    let ram = Ram::new(0, 4096);
    let mut memblock = Memblock::new(ram.access());
    memblock.add(range(0x1000, 0x4000)).unwrap();
    for at in [0, 0x1000, 0x2000, 0x4000, 0x9000] {
        let nothing = range(at, at);
        memblock.add(nothing).unwrap();
        memblock.remove(nothing).unwrap();
        memblock.reserve(nothing, Owner::new("nobody")).unwrap();
        memblock.free(nothing).unwrap();
        memblock.set_node(nothing, NodeId::new(3)).unwrap();
        memblock.mark(nothing, RegionFlags::NOMAP).unwrap();
    }
    assert_eq!(memory(&memblock), [(0x1000, 0x4000)]);
    assert!(memblock.reserved().is_empty());
}

#[test]
fn allocation_honours_direction_alignment_limits_nodes_and_flags() {
    let ram = Ram::new(0, 4096);
    let mut memblock = Memblock::new(ram.access());
    memblock.add(range(0x1000, 0x1_0000)).unwrap();
    memblock.add(range(0x2_0000, 0x3_0800)).unwrap();
    memblock.set_node(range(0, 0x1_0000), NodeId::new(0)).unwrap();
    memblock.set_node(range(0x2_0000, 0x4_0000), NodeId::new(1)).unwrap();
    assert_eq!(memblock.alloc(request(0x1000, 0x1000)).unwrap(), range(0x2_f000, 0x3_0000));
    let low = Request { within: range(0, 0x9800), ..request(0x1000, 0x1000) };
    assert_eq!(memblock.alloc(low).unwrap(), range(0x8000, 0x9000));
    memblock.set_direction(Direction::BottomUp);
    assert_eq!(memblock.alloc(request(0x1000, 0x4000)).unwrap(), range(0x4000, 0x5000));
    let on_node = |node| Request { node, ..request(0x1_0000, 0x1000) };
    let wish = NodeWish::Only(NodeId::new(0));
    let failed = memblock.alloc(on_node(wish)).unwrap_err();
    let within = PhysRange::ALL;
    assert_eq!(failed, OutOfMemory::NoRange { size: 0x1_0000, align: 0x1000, within, node: wish });
    let near = Request { node: NodeWish::Prefer(NodeId::new(0)), ..request(0xc000, 0x1000) };
    assert_eq!(memblock.alloc(near).unwrap(), range(0x2_0000, 0x2_c000));
    memblock.mark(range(0x2_c000, 0x2_e000), RegionFlags::NOMAP).unwrap();
    let rest = Request { node: NodeWish::Only(NodeId::new(1)), ..request(0x1000, 0x1000) };
    assert_eq!(memblock.alloc(rest).unwrap(), range(0x2_e000, 0x2_f000));
    assert!(memblock.alloc(rest).is_err());
    memblock.clear(range(0x2_d000, 0x2_e000), RegionFlags::NOMAP).unwrap();
    assert_eq!(memblock.alloc(rest).unwrap(), range(0x2_d000, 0x2_e000));
}

#[test]
fn requests_that_cannot_be_are_named() {
    let ram = Ram::new(0, 4096);
    let mut memblock = Memblock::new(ram.access());
    memblock.add(range(0, 0x1000)).unwrap();
    assert_eq!(memblock.alloc(request(0, 1)), Err(OutOfMemory::Empty));
    assert_eq!(memblock.alloc(request(1, 0)), Err(OutOfMemory::Alignment(0)));
    assert_eq!(memblock.alloc(request(1, 48)), Err(OutOfMemory::Alignment(48)));
    let huge = request(u64::MAX, 1 << 63);
    assert!(matches!(memblock.alloc(huge), Err(OutOfMemory::NoRange { .. })));
    let huge = memblock.alloc_slice::<u64>(usize::MAX, NodeWish::Any, Owner::default());
    assert!(matches!(huge, Err(OutOfMemory::TooLarge { .. })));
    assert!(memblock.reserved().is_empty());
}

#[test]
fn slices_are_zeroed_separate_and_held() {
    let ram = Ram::new(0x8000_0000, 0x1_0000);
    let mut memblock = Memblock::new(ram.access());
    memblock.add(ram.range()).unwrap();
    let unmapped = memblock.alloc_slice::<u8>(1, NodeWish::Any, Owner::new("t"));
    assert!(matches!(unmapped, Err(OutOfMemory::NoRange { .. })), "nothing is mapped yet");
    // SAFETY: all memory here is RAM that only this test uses.
    unsafe { memblock.set_mapped(range(0x8000_0000, 0x8000_2000)) };
    let mut first = memblock.alloc_slice::<u32>(100, NodeWish::Any, Owner::new("t")).unwrap();
    let mut second = memblock.alloc_slice::<u64>(3, NodeWish::Any, Owner::new("t")).unwrap();
    assert!(first.iter().all(|item| *item == 0));
    first.fill(u32::MAX);
    assert_eq!(*second, [0; 3]);
    second.fill(7);
    assert!(first.iter().all(|item| *item == u32::MAX));
    assert_eq!((first.len(), second.len()), (100, 3));
    assert!(!first.range().overlaps(second.range()));
    assert!(range(0x8000_0000, 0x8000_2000).contains_range(first.range()));
    assert_eq!(memblock.reserved().len(), 1, "slices of one owner lie side by side");
    assert_eq!(memblock.free(second.range()), Err(MemblockError::InUse(second.range())));
    // SAFETY: the slice is not used below.
    unsafe { memblock.free_allocated(second.range()).unwrap() };
    assert!(!memblock.reserved().iter().any(|region| region.range().overlaps(second.range())));
    assert!(memblock.alloc_slice::<u64>(0, NodeWish::Any, Owner::new("t")).unwrap().is_empty());
    let too_much = memblock.alloc_slice::<u8>(0x2000, NodeWish::Any, Owner::new("t"));
    assert!(too_much.is_err(), "only mapped memory may back a slice");
}
