//! One change after another, in the cases that have failed elsewhere.

use crate::ram::Ram;
use crate::{memory, range, request, reserved};
use mm::addr::{NodeId, PhysRange};
use mm::arch::PhysMap;
use mm::machine::Owner;
use mm::memblock::{Direction, Memblock, MemblockError, NodeWish, OutOfMemory, RegionFlags, Request, Which};

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

#[test]
fn errors_say_which_range_and_why() {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let full = |table| text(&MemblockError::Full { table, capacity: 128 });
    assert_eq!(full(Which::Memory), "no free mapped memory for more than 128 memory regions");
    assert_eq!(full(Which::Reserved), "no free mapped memory for more than 128 reserved regions");
    assert_eq!(full(Which::Owners), "no free mapped memory for more than 128 owners");
    let held = "[mem 0x0000000000001000-0x0000000000001fff] was handed out and may be in use";
    assert_eq!(text(&MemblockError::InUse(range(0x1000, 0x2000))), held);
    let none = |node| text(&OutOfMemory::NoRange { size: 0x10, align: 8, within: range(0, 0x100), node });
    let sentence = "no free range of 0x10 bytes aligned to 0x8 in [mem 0x0000000000000000-0x00000000000000ff]";
    assert_eq!(none(NodeWish::Any), sentence);
    assert_eq!(none(NodeWish::Prefer(NodeId::new(3))), sentence);
    assert_eq!(none(NodeWish::Only(NodeId::new(3))), format!("{sentence} on node 3"));
    assert_eq!(text(&OutOfMemory::Empty), "a request for no memory");
    assert_eq!(text(&OutOfMemory::Alignment(48)), "an alignment of 0x30 is no power of two");
    let large = OutOfMemory::TooLarge { items: 3, each: 8 };
    assert_eq!(text(&large), "3 items of 8 bytes are more than there can be");
    let booking = OutOfMemory::Booking(MemblockError::InUse(range(0x1000, 0x2000)));
    assert_eq!(text(&booking), format!("memory was found but could not be booked: {held}"));
}

#[test]
fn values_print_for_debugging() {
    let ram = Ram::new(0x1_0000, 0x1000);
    let mut memblock = Memblock::new(ram.access());
    assert_eq!(memblock.mapped(), PhysRange::EMPTY);
    assert!(memblock.memory().is_empty());
    memblock.add_on(ram.range(), Some(NodeId::new(2)), RegionFlags::HOTPLUG).unwrap();
    memblock.add(range(0x2_0000, 0x2_1000)).unwrap();
    assert!(!memblock.memory().is_empty());
    memblock.reserve(range(0x2_0000, 0x2_0800), Owner::new("one")).unwrap();
    let text = "memory: [0x10000..0x11000 on node 2 flags 0x1, 0x20000..0x21000], reserved: [0x20000..0x20800 by one]";
    assert_eq!(format!("{memblock:?}"), format!("Memblock {{ {text}, .. }}"));
    // SAFETY: all memory here is RAM that only this test uses.
    unsafe { memblock.set_mapped(ram.range()) };
    assert_eq!(memblock.mapped(), ram.range());
    let slice = memblock.alloc_slice::<u16>(2, NodeWish::Any, Owner::new("two")).unwrap();
    assert_eq!(format!("{slice:?}"), "[0, 0]");
    assert_eq!(slice.access().phys_ptr(ram.range().start()), memblock.access().phys_ptr(ram.range().start()));
    // SAFETY: the slice is not used below.
    unsafe { memblock.free_allocated(slice.range()).unwrap() };
    let record = memblock.freeze();
    assert_eq!(format!("{record:?}"), format!("Record {{ {text} }}"));
}

#[test]
fn items_without_a_byte_need_no_memory_and_are_counted() {
    let ram = Ram::new(0, 4096);
    let mut memblock = Memblock::new(ram.access());
    let owner = Owner::new("test");
    assert_eq!(memblock.alloc_slice::<[u8; 0]>(5, NodeWish::Any, owner).unwrap().len(), 5);
    assert_eq!(memblock.alloc_raw::<()>(6, NodeWish::Any, owner).unwrap().len(), 6);
    assert_eq!(memblock.alloc_filled(7, (), NodeWish::Any, owner).unwrap().len(), 7);
    assert!(memblock.reserved().is_empty());
}

#[test]
fn an_empty_part_of_what_was_handed_out_may_be_freed() {
    let ram = Ram::new(0, 4096);
    let mut memblock = Memblock::new(ram.access());
    memblock.add(range(0, 0x3000)).unwrap();
    memblock.alloc(Request { within: range(0x1000, 0x2000), ..request(0x1000, 1) }).unwrap();
    for at in [0x1000, 0x1800, 0x2000] {
        memblock.free(range(at, at)).unwrap();
    }
    memblock.free(range(0, 0x1000)).unwrap();
    memblock.free(range(0x2000, 0x3000)).unwrap();
    assert_eq!(memblock.free(range(0, 0x1001)), Err(MemblockError::InUse(range(0x1000, 0x1001))));
    assert_eq!(memblock.free(range(0x1fff, 0x3000)), Err(MemblockError::InUse(range(0x1fff, 0x2000))));
}
