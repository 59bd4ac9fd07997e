//! `memblock=debug`: what is told, in Linux's words.

use crate::ram::{Access, Ram};
use crate::{range, request};
use mm::addr::{NodeId, PhysAddr, VirtAddr};
use mm::arch::PhysMap;
use mm::machine::Owner;
use mm::memblock::{Event, INLINE_REGIONS, Memblock, NodeWish, RegionFlags, Request, Tell};
use mm::view;
use std::cell::RefCell;

/// A handle by which the listener finds where to write.
#[derive(Clone, Copy)]
struct Told<'r> {
    ram: Access<'r>,
    lines: &'r RefCell<Vec<String>>,
}

// SAFETY: as the handle to the RAM.
unsafe impl PhysMap for Told<'_> {
    fn phys_ptr(self, address: PhysAddr) -> *mut u8 {
        self.ram.phys_ptr(address)
    }

    fn ptr_phys(self, pointer: *const u8) -> Option<PhysAddr> {
        self.ram.ptr_phys(pointer)
    }

    fn virt_ptr(self, address: VirtAddr) -> *mut u8 {
        self.ram.virt_ptr(address)
    }
}

/// Writes the event's line, callers without line and column.
fn listen(told: Told<'_>, event: Event) {
    let text = event.to_string();
    let line = match text.split_once(".rs:") {
        Some((before, _)) => format!("{before}.rs"),
        None => text,
    };
    told.lines.borrow_mut().push(if event.is_warning() { format!("warning: {line}") } else { line });
}

fn lines(told: Told<'_>) -> Vec<String> {
    told.lines.take()
}

const HERE: &str = "mm/tests/memblock/events.rs";

#[test]
fn operations_are_told_in_linuxs_words_with_the_caller() {
    let (ram, log) = (Ram::new(0x1_0000, 0x4000), RefCell::default());
    let told = Told { ram: ram.access(), lines: &log };
    let mut memblock = Memblock::new(told);
    memblock.add(range(0x10_0000, 0x20_0000)).unwrap();
    assert_eq!(lines(told), [""; 0], "nobody listens yet");
    memblock.set_listener(listen, Tell::Everything);
    memblock.add(ram.range()).unwrap();
    memblock.add_on(range(0x2_0000, 0x3_0000), Some(NodeId::new(3)), RegionFlags::HOTPLUG).unwrap();
    memblock.add_on(range(0x3_0000, 0x4_0000), None, RegionFlags::DRIVER_MANAGED).unwrap();
    memblock.remove(range(0x2_0000, 0x4_0000)).unwrap();
    memblock.reserve(range(0x1_2000, 0x1_3000), Owner::new("one")).unwrap();
    memblock.free(range(0x1_2000, 0x1_3000)).unwrap();
    memblock.add(range(0, 0)).unwrap();
    memblock.reserve(range(0, 0), Owner::new("one")).unwrap();
    let expected = [
        format!("memblock_add: [0x0000000000010000-0x0000000000013fff] {HERE}"),
        format!("memblock_add_node: [0x0000000000020000-0x000000000002ffff] nid=3 flags=1 {HERE}"),
        format!("memblock_add_node: [0x0000000000030000-0x000000000003ffff] nid=-1 flags=8 {HERE}"),
        format!("memblock_remove: [0x0000000000020000-0x000000000003ffff] {HERE}"),
        format!("memblock_reserve: [0x0000000000012000-0x0000000000012fff] {HERE}"),
        format!("memblock_phys_free: [0x0000000000012000-0x0000000000012fff] {HERE}"),
    ];
    assert_eq!(lines(told), expected);
}

#[test]
fn allocations_are_told_with_all_that_was_asked_for() {
    let (ram, log) = (Ram::new(0x1_0000, 0x4000), RefCell::default());
    let told = Told { ram: ram.access(), lines: &log };
    let mut memblock = Memblock::new(told);
    memblock.add(ram.range()).unwrap();
    memblock.set_listener(listen, Tell::Everything);
    // SAFETY: all memory here is RAM that only this test uses.
    unsafe { memblock.set_mapped(ram.range()) };
    let low = Request { within: range(0x1000, 0x1_2000), ..request(0x1000, 0x1000) };
    memblock.alloc(low).unwrap();
    memblock.alloc_from(Request { node: NodeWish::Prefer(NodeId::new(2)), ..low }, PhysAddr::new(0x1_0000)).unwrap();
    assert!(memblock.alloc(Request { node: NodeWish::Only(NodeId::new(1)), ..low }).is_err());
    let first = memblock.alloc_slice::<u64>(8, NodeWish::Prefer(NodeId::new(0)), Owner::new("t")).unwrap();
    let second = memblock.alloc_slice::<u64>(8, NodeWish::Any, Owner::new("t")).unwrap();
    memblock.alloc_filled(8, 1_u64, NodeWish::Any, Owner::new("t")).unwrap();
    // SAFETY: the slices are not used below.
    unsafe { memblock.free_allocated(range(second.range().start().as_u64(), first.range().end().as_u64())).unwrap() };
    let asked = |name: &str, what: &str| format!("{name}: {what} {HERE}");
    let reserved = |what: &str| format!("memblock_reserve: [{what}] {HERE}");
    let window = "from=0x0000000000010000 max_addr=0x0000000000014000";
    let expected = [
        asked(
            "memblock_alloc_try_nid_raw",
            "4096 bytes align=0x1000 nid=-1 from=0x0000000000001000 max_addr=0x0000000000012000",
        ),
        reserved("0x0000000000011000-0x0000000000011fff"),
        asked(
            "memblock_alloc_try_nid_raw",
            "4096 bytes align=0x1000 nid=2 from=0x0000000000010000 max_addr=0x0000000000012000",
        ),
        reserved("0x0000000000010000-0x0000000000010fff"),
        asked(
            "memblock_alloc_exact_nid_raw",
            "4096 bytes align=0x1000 nid=1 from=0x0000000000001000 max_addr=0x0000000000012000",
        ),
        asked("memblock_alloc_try_nid", &format!("64 bytes align=0x40 nid=0 {window}")),
        reserved("0x0000000000013fc0-0x0000000000013fff"),
        asked("memblock_alloc_try_nid", &format!("64 bytes align=0x40 nid=-1 {window}")),
        reserved("0x0000000000013f80-0x0000000000013fbf"),
        asked("memblock_alloc_try_nid_raw", &format!("64 bytes align=0x40 nid=-1 {window}")),
        reserved("0x0000000000013f40-0x0000000000013f7f"),
        format!("memblock_phys_free: [0x0000000000013f80-0x0000000000013fff] {HERE}"),
    ];
    assert_eq!(lines(told), expected);
}

/// Which arrays have grown, and to how many items.
fn doubled(lines: &[String]) -> Vec<String> {
    let doubled = lines.iter().filter_map(|line| line.strip_prefix("memblock: ")?.split_once(" at "));
    doubled.map(|(what, _)| what.replace(" is doubled to", "")).collect()
}

#[test]
fn an_array_that_has_room_does_not_grow_because_another_one_does() {
    // Six entries are spare: one pays for the first larger array, and must be there again before the next one.
    for (reserved, expected) in [
        (INLINE_REGIONS - 6, ["memory 256", "reserved 256", "memory 512"]),
        (INLINE_REGIONS - 5, ["reserved 256", "memory 256", "memory 512"]),
    ] {
        let (ram, log) = (Ram::new(0x10_0000, 0x1_0000), RefCell::default());
        let told = Told { ram: ram.access(), lines: &log };
        let mut memblock = Memblock::new(told);
        memblock.add(ram.range()).unwrap();
        // SAFETY: all memory here is RAM that only this test uses.
        unsafe { memblock.set_mapped(ram.range()) };
        memblock.set_listener(listen, Tell::Everything);
        let slots = (0..).map(|index| range(0x1000_0000 + index * 0x2000, 0x1000_1000 + index * 0x2000));
        slots.clone().take(reserved).for_each(|slot| memblock.reserve(slot, Owner::new("one")).unwrap());
        slots.take(2 * INLINE_REGIONS).for_each(|slot| memblock.add(slot).unwrap());
        assert_eq!(doubled(&lines(told)), expected);
    }
}

#[test]
fn arrays_that_grow_are_told_and_booked() {
    let (ram, log) = (Ram::new(0x10_0000, 0x1_0000), RefCell::default());
    let told = Told { ram: ram.access(), lines: &log };
    let mut memblock = Memblock::new(told);
    memblock.add(ram.range()).unwrap();
    // SAFETY: all memory below 2 MiB is this RAM.
    unsafe { memblock.set_mapped(range(0, 0x20_0000)) };
    memblock.set_listener(listen, Tell::Everything);
    let mut seen = Vec::new();
    for index in 0..INLINE_REGIONS as u64 * 2 {
        memblock.add(range(0x1000_0000 + index * 0x2000, 0x1000_1000 + index * 0x2000)).unwrap();
        seen.extend(lines(told).into_iter().filter(|line| !line.starts_with("memblock_add")));
    }
    let grow = "src/memblock/grow.rs";
    let expected = [
        "memblock: memory is doubled to 256 at [0x000000000010e800-0x000000000010ffff]".to_owned(),
        format!("memblock_reserve: [0x000000000010e800-0x000000000010ffff] mm/{grow}"),
        "memblock: memory is doubled to 512 at [0x000000000010b800-0x000000000010e7ff]".to_owned(),
        format!("memblock_reserve: [0x000000000010b800-0x000000000010e7ff] mm/{grow}"),
        format!("memblock_phys_free: [0x000000000010e800-0x000000000010ffff] mm/{grow}"),
    ];
    assert_eq!(seen, expected);
    for index in 0..INLINE_REGIONS as u64 {
        memblock.reserve(range(index * 0x2000, index * 0x2000 + 0x1000), Owner::new(&index.to_string())).unwrap();
    }
    assert_eq!(doubled(&lines(told)), ["owners 64", "owners 128", "reserved 256", "owners 256"]);
}

#[test]
fn the_end_of_mirrored_memory_is_told_once_to_whoever_listens() {
    for (tell, told_all) in [(Tell::Warnings, false), (Tell::Everything, true)] {
        let (ram, log) = (Ram::new(0, 0x4000), RefCell::default());
        let told = Told { ram: ram.access(), lines: &log };
        let mut memblock = Memblock::new(told);
        memblock.set_listener(listen, tell);
        memblock.add(ram.range()).unwrap();
        memblock.alloc(request(0x1000, 1)).unwrap();
        memblock.mark(range(0x1000, 0x2000), RegionFlags::MIRROR).unwrap();
        for expected in [range(0x1000, 0x2000), range(0x2000, 0x3000), range(0, 0x1000)] {
            assert_eq!(memblock.alloc(request(0x1000, 1)).unwrap(), expected);
        }
        let lines = lines(told);
        let warnings: Vec<_> = lines.iter().filter(|line| line.starts_with("warning: ")).collect();
        assert_eq!(warnings, ["warning: Could not allocate 0x0000000000001000 bytes of mirrored memory"]);
        assert_eq!(lines.len() > 1, told_all);
    }
}

#[test]
fn the_dump_has_linuxs_form() {
    let ram = Ram::new(0, 4096);
    let mut memblock = Memblock::new(ram.access());
    memblock.add_on(range(0x1000, 0x9_f000), Some(NodeId::new(0)), RegionFlags::empty()).unwrap();
    memblock.add_on(range(0x10_0000, 0x20_0000), None, RegionFlags::HOTPLUG).unwrap();
    memblock.reserve(range(0x1000, 0x1800), Owner::new("Kernel code")).unwrap();
    memblock.reserve(range(0x9_0000, 0x9_1000), Owner::default()).unwrap();
    let expected = "MEMBLOCK configuration:\n \
        memory size = 0x000000000019e000 reserved size = 0x0000000000001800\n \
        memory.cnt  = 0x2\n \
        memory[0x0]\t[0x0000000000001000-0x000000000009efff], 0x000000000009e000 bytes on node 0 flags: 0x0\n \
        memory[0x1]\t[0x0000000000100000-0x00000000001fffff], 0x0000000000100000 bytes flags: 0x1\n \
        reserved.cnt  = 0x2\n \
        reserved[0x0]\t[0x0000000000001000-0x00000000000017ff], 0x0000000000000800 bytes flags: 0x0 (Kernel code)\n \
        reserved[0x1]\t[0x0000000000090000-0x0000000000090fff], 0x0000000000001000 bytes flags: 0x0\n";
    let mut text = String::new();
    view::memblock_regions(&mut text, memblock.memory(), memblock.reserved()).unwrap();
    assert_eq!(text, expected);
    let record = memblock.freeze();
    let mut text = String::new();
    view::memblock(&mut text, &record).unwrap();
    assert_eq!(text, expected);
}
