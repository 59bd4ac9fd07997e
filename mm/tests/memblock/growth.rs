//! Arrays that grow into the memory that they describe, while it is being changed.

use crate::oracle::{Op, Oracle};
use crate::ram::{Access, Ram};
use crate::{memory, range};
use mm::addr::{NodeId, PhysRange};
use mm::machine::Owner;
use mm::memblock::{Direction, INLINE_REGIONS, Memblock, MemblockError, RegionFlags, Which};

/// Where arrays lie that have grown.
fn tables(memblock: &Memblock<Access<'_>>) -> Vec<PhysRange> {
    let owned = memblock.reserved().iter().filter(|region| region.owner().as_str() == "memblock regions");
    owned.map(|region| region.range()).collect()
}

#[test]
fn growth_without_mapped_memory_is_refused_and_changes_nothing() {
    let ram = Ram::new(0, 4096);
    let mut memblock = Memblock::new(ram.access());
    let mut full = None;
    for index in 0..INLINE_REGIONS as u64 + 1 {
        let before = memory(&memblock);
        if let Err(error) = memblock.add(range(index * 0x2000, index * 0x2000 + 0x1000)) {
            assert_eq!(memory(&memblock), before);
            full = Some((index, error));
        }
    }
    let capacity = INLINE_REGIONS;
    let error = MemblockError::Full { table: Which::Memory, capacity };
    assert_eq!(full, Some((capacity as u64, error)));
    // What needs no further entry still works.
    memblock.add(range(0x1000, 0x2000)).unwrap();
    assert_eq!(memblock.memory().len(), capacity - 1);
}

/// Spare entries are not for others, so a full array of reservations holds fewer than it could.
#[test]
fn a_refusal_names_the_array_and_how_many_it_holds() {
    let ram = Ram::new(0, 4096);
    let slot = |index: u64| range(index * 0x2000, index * 0x2000 + 0x1000);
    let mut memblock = Memblock::new(ram.access());
    let refused = (0..200).find_map(|index| memblock.reserve(slot(index), Owner::new("one")).err());
    assert_eq!(refused, Some(MemblockError::Full { table: Which::Reserved, capacity: INLINE_REGIONS - 6 }));
    let mut memblock = Memblock::new(ram.access());
    let refused = (0..200).find_map(|index| memblock.reserve(slot(0), Owner::new(&index.to_string())).err());
    assert_eq!(refused, Some(MemblockError::Full { table: Which::Owners, capacity: 32 }));
}

/// Both arrays grow, whatever the place of the change that finds them full, and no array lies in memory that is not
/// free.
#[test]
fn growth_at_every_position() {
    let positions = if cfg!(miri) { vec![64] } else { (0..=129).collect() };
    for gap in positions {
        for direction in [Direction::TopDown, Direction::BottomUp] {
            let ram = Ram::new(0x10_0000, 0x20_0000);
            let mut memblock = Memblock::new(ram.access());
            memblock.set_direction(direction);
            memblock.add(ram.range()).unwrap();
            // SAFETY: all memory below 3 MiB is this RAM.
            unsafe { memblock.set_mapped(range(0, 0x30_0000)) };
            let slot = |index: u64| range(0x10_0000 + index * 0x2000, 0x10_0000 + index * 0x2000 + 0x1000);
            let far = |index: u64| range(0x1_0000_0000 + index * 0x2000, 0x1_0000_0000 + index * 0x2000 + 0x1000);
            let order = (0..=129).filter(|index| *index != gap).chain([gap]);
            let mut done = Vec::new();
            for index in order {
                // Only the last entries find the arrays full.
                let look = !cfg!(miri) || done.len() > 115;
                let before = if look { tables(&memblock) } else { Vec::new() };
                memblock.reserve(slot(index), Owner::new("test")).unwrap();
                memblock.add(far(index)).unwrap();
                done.push(slot(index));
                if !look {
                    continue;
                }
                for table in tables(&memblock).iter().filter(|table| !before.contains(table)) {
                    assert!(ram.range().contains_range(*table));
                    assert!(done.iter().all(|slot| !slot.overlaps(*table)), "a new array lies in reserved memory");
                }
            }
            for index in 0..=129 {
                let held = memblock.reserved().overlapping(slot(index));
                let held: u64 = held.iter().map(|region| region.range().intersection(slot(index)).size()).sum();
                assert_eq!(held, slot(index).size());
                assert_eq!(memblock.memory().find(far(index).start()).unwrap().range(), far(index));
            }
            assert_eq!(tables(&memblock).iter().map(|table| table.size()).sum::<u64>(), 2 * 256 * 24);
        }
    }
}

#[test]
fn a_table_that_is_outgrown_gives_its_memory_back() {
    let ram = Ram::new(0, 0x40_0000);
    let mut memblock = Memblock::new(ram.access());
    memblock.add(ram.range()).unwrap();
    // SAFETY: all memory below 4 MiB is this RAM.
    unsafe { memblock.set_mapped(ram.range()) };
    let count = if cfg!(miri) { 300 } else { 3000 };
    for index in 0..count {
        memblock.reserve(range(index * 0x400, index * 0x400 + 0x200), Owner::new("test")).unwrap();
    }
    let tables: u64 = tables(&memblock).iter().map(|table| table.size()).sum();
    let entries = (count + 8_u64).next_power_of_two();
    assert_eq!(tables, entries * 24);
}

/// A map of thousands of entries that comes in any order is taken over entry by entry, in milliseconds.
#[test]
fn a_huge_map_in_random_order() {
    let count: u64 = if cfg!(miri) { 300 } else { 4096 };
    let ram = Ram::new(0, 0x10_0000);
    let mut memblock = Memblock::new(ram.access());
    memblock.add(ram.range()).unwrap();
    // SAFETY: all memory below 1 MiB is this RAM.
    unsafe { memblock.set_mapped(ram.range()) };
    let slot = |index: u64| range(0x1000_0000 + index * 0x2000, 0x1000_1000 + index * 0x2000);
    let begin = std::time::Instant::now();
    // An odd factor visits every slot once, far apart.
    for step in 0..count {
        let index = step * 2_654_435_761 % count;
        memblock.add(slot(index)).unwrap();
        memblock.reserve(slot(index), Owner::new("test")).unwrap();
    }
    println!("{count} regions and reservations in {:?}", begin.elapsed());
    assert_eq!(memblock.memory().len() as u64, count + 1);
    let found = memblock.memory().overlapping(range(0x1000_0000, u64::MAX));
    assert!(found.iter().map(|region| region.range()).eq((0..count).map(slot)));
    let found = memblock.reserved().overlapping(range(0x1000_0000, u64::MAX));
    assert!(found.iter().map(|region| region.range()).eq((0..count).map(slot)));
}

/// With room for none, one or two regions more, every change is made exactly when that is enough, and else not at all.
#[test]
fn the_last_places_go_to_changes_that_need_no_more() {
    // Each array is filled with regions of one cell; the last four lie in the window in which changes are made.
    let window = 4 * INLINE_REGIONS;
    let cells = window + 12;
    let reach = if cfg!(miri) { 0..2 } else { 0..12 };
    let spans = reach.clone().flat_map(|start| (start..=reach.end).map(move |end| (window + start, window + end)));
    let mut ops = Vec::new();
    for (a, b) in spans {
        ops.extend([Op::Add(a, b), Op::AddOn(a, b, Some(1), 1), Op::Remove(a, b), Op::Node(a, b, 1)]);
        ops.extend([Op::Mark(a, b, 1), Op::Clear(a, b, 1), Op::Reserve(a, b, 1), Op::Reserve(a, b, 2), Op::Free(a, b)]);
    }
    let ram = Ram::new(0, 4096);
    let build = |room: usize| {
        let mut memblock = Memblock::new(ram.access());
        for (start, end, node, flags) in [(1, 4, Some(1), 1), (4, 6, None, 0), (7, 8, None, 0), (9, 11, Some(1), 0)] {
            let part = range(window as u64 + start, window as u64 + end);
            memblock.add_on(part, node.map(NodeId::new), RegionFlags::from_bits_retain(flags)).unwrap();
            memblock.reserve(part, Owner::new(if node.is_some() { "1" } else { "2" })).unwrap();
        }
        let mut slots = (0..).map(|index| range(index * 4, index * 4 + 1));
        while memblock.memory().len() + room < INLINE_REGIONS {
            memblock.add(slots.next().unwrap()).unwrap();
        }
        // Six entries are spare.
        let mut slots = (0..).map(|index| range(index * 4, index * 4 + 1));
        while memblock.reserved().len() + room < INLINE_REGIONS - 6 {
            memblock.reserve(slots.next().unwrap(), Owner::new("2")).unwrap();
        }
        memblock
    };
    for room in 0..3 {
        let mut oracle = Oracle::new(cells, 0, 1);
        oracle.adopt(&build(room));
        for op in &ops {
            let done = oracle.clone().step(&mut build(room), *op);
            assert_eq!(done, oracle.need(*op) <= room, "{op:?} with room for {room}");
        }
    }
}
