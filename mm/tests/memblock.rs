//! Memblock against a bitmap that knows nothing of regions, and the cases in which early memory code has really failed.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail like tests")]

mod ram;

use mm::addr::{NodeId, PhysAddr, PhysRange};
use mm::machine::Owner;
use mm::memblock::{Direction, INLINE_REGIONS, Memblock, MemblockError, NodeWish, OutOfMemory, RegionFlags, Request};
use proptest::prelude::*;
use ram::{Access, Ram};

fn range(start: u64, end: u64) -> PhysRange {
    PhysRange::new(PhysAddr::new(start), PhysAddr::new(end))
}

fn memory(memblock: &Memblock<Access<'_>>) -> Vec<(u64, u64)> {
    memblock.memory().iter().map(|r| (r.range().start().as_u64(), r.range().end().as_u64())).collect()
}

fn reserved(memblock: &Memblock<Access<'_>>) -> Vec<(u64, u64)> {
    memblock.reserved().iter().map(|r| (r.range().start().as_u64(), r.range().end().as_u64())).collect()
}

/// Where arrays lie that have grown.
fn tables(memblock: &Memblock<Access<'_>>) -> Vec<PhysRange> {
    let owned = memblock.reserved().iter().filter(|region| region.owner().as_str() == "memblock regions");
    owned.map(|region| region.range()).collect()
}

fn request(size: u64, align: u64) -> Request {
    Request { size, align, within: PhysRange::ALL, node: NodeWish::Any, owner: Owner::new("test") }
}

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
    let error = MemblockError::Full { table: mm::memblock::Which::Memory, capacity };
    assert_eq!(full, Some((capacity as u64, error)));
    // What needs no further entry still works.
    memblock.add(range(0x1000, 0x2000)).unwrap();
    assert_eq!(memblock.memory().len(), capacity - 1);
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

const PAGES: u64 = 96;
/// The oracle's mark for what an allocation handed out.
const ALLOCATED: u8 = 3;

#[derive(Clone, Debug)]
enum Change {
    Add(u64, u64),
    Remove(u64, u64),
    Reserve(u64, u64, u8),
    Free(u64, u64),
    Node(u64, u64, u16),
    Mark(u64, u64, u32),
    Clear(u64, u64, u32),
    Trim(u32),
    Alloc { size: u64, align: u32, from: u64, to: u64, node: Option<u16>, up: bool },
}

fn change() -> impl Strategy<Value = Change> {
    let span = || (0..PAGES, 0..PAGES).prop_map(|(a, b)| (a.min(b), a.max(b)));
    prop_oneof![
        4 => span().prop_map(|(a, b)| Change::Add(a, b)),
        2 => span().prop_map(|(a, b)| Change::Remove(a, b)),
        3 => (span(), 0..3u8).prop_map(|((a, b), owner)| Change::Reserve(a, b, owner)),
        2 => span().prop_map(|(a, b)| Change::Free(a, b)),
        2 => (span(), 0..3u16).prop_map(|((a, b), node)| Change::Node(a, b, node)),
        2 => (span(), 1..16u32).prop_map(|((a, b), flags)| Change::Mark(a, b, flags)),
        1 => (span(), 1..16u32).prop_map(|((a, b), flags)| Change::Clear(a, b, flags)),
        1 => (0..3u32).prop_map(Change::Trim),
        3 => (1..9u64, 0..4u32, span(), proptest::option::of(0..3u16), any::<bool>()).prop_map(
            |(size, align, (from, to), node, up)| Change::Alloc { size, align, from, to, node, up }
        ),
    ]
}

/// One byte of the small machine, as the oracle keeps it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Cell {
    memory: Option<(Option<u16>, u32)>,
    owner: Option<u8>,
}

impl Cell {
    fn free_on(&self) -> Option<Option<u16>> {
        match (self.memory, self.owner) {
            (Some((node, flags)), None) if flags & 0xc == 0 => Some(node),
            _ => None,
        }
    }
}

/// What the oracle would give: the first place from that end whose bytes are free and lie in one region.
fn model_alloc(cells: &[Cell], size: u64, align: u64, from: u64, to: u64, node: Option<u16>, up: bool) -> Option<u64> {
    let fits = |start: &u64| {
        start.is_multiple_of(align) && start + size <= to && {
            let part = &cells[*start as usize..(start + size) as usize];
            part.iter().all(|cell| {
                cell.free_on().is_some_and(|on| node.is_none() || on == node) && cell.memory == part[0].memory
            })
        }
    };
    let mut starts = from..to;
    if up { starts.find(fits) } else { starts.rev().find(fits) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 512 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_change_agrees_with_a_bitmap(changes in proptest::collection::vec(change(), 1..40)) {
        let ram = Ram::new(0, 4096);
        let mut memblock = Memblock::new(ram.access());
        let mut cells = vec![Cell::default(); PAGES as usize];
        let owners = ["one", "two", "three", "alloc"];
        for change in changes {
            match change {
                Change::Add(a, b) => {
                    memblock.add(range(a, b)).unwrap();
                    cells[a as usize..b as usize].iter_mut().for_each(|c| c.memory = c.memory.or(Some((None, 0))));
                }
                Change::Remove(a, b) => {
                    memblock.remove(range(a, b)).unwrap();
                    cells[a as usize..b as usize].iter_mut().for_each(|c| c.memory = None);
                }
                Change::Reserve(a, b, owner) => {
                    memblock.reserve(range(a, b), Owner::new(owners[owner as usize])).unwrap();
                    cells[a as usize..b as usize].iter_mut().for_each(|c| c.owner = c.owner.or(Some(owner)));
                }
                Change::Free(a, b) => {
                    let freed = memblock.free(range(a, b));
                    let cells = &mut cells[a as usize..b as usize];
                    prop_assert_eq!(freed.is_err(), cells.iter().any(|c| c.owner == Some(ALLOCATED)));
                    if freed.is_ok() {
                        cells.iter_mut().for_each(|c| c.owner = None);
                    }
                }
                Change::Node(a, b, node) => {
                    memblock.set_node(range(a, b), NodeId::new(node)).unwrap();
                    let cells = cells[a as usize..b as usize].iter_mut();
                    cells.filter_map(|c| c.memory.as_mut()).for_each(|m| m.0 = Some(node));
                }
                Change::Mark(a, b, flags) => {
                    memblock.mark(range(a, b), RegionFlags::from_bits_retain(flags)).unwrap();
                    let cells = cells[a as usize..b as usize].iter_mut();
                    cells.filter_map(|c| c.memory.as_mut()).for_each(|m| m.1 |= flags);
                }
                Change::Clear(a, b, flags) => {
                    memblock.clear(range(a, b), RegionFlags::from_bits_retain(flags)).unwrap();
                    let cells = cells[a as usize..b as usize].iter_mut();
                    cells.filter_map(|c| c.memory.as_mut()).for_each(|m| m.1 &= !flags);
                }
                Change::Trim(shift) => {
                    memblock.trim(1 << shift);
                    // Each run of equal memory loses its ragged ends.
                    let before = cells.clone();
                    let mut start = 0;
                    while start < cells.len() {
                        let mut end = start + 1;
                        while end < cells.len() && before[end].memory == before[start].memory { end += 1; }
                        if before[start].memory.is_some() {
                            let align = 1usize << shift;
                            let (first, last) = (start.next_multiple_of(align), end / align * align);
                            for (at, cell) in cells.iter_mut().enumerate().take(end).skip(start) {
                                if at < first || at >= last { cell.memory = None; }
                            }
                        }
                        start = end;
                    }
                }
                Change::Alloc { size, align, from, to, node, up } => {
                    memblock.set_direction(if up { Direction::BottomUp } else { Direction::TopDown });
                    let wish = node.map_or(NodeWish::Any, |node| NodeWish::Only(NodeId::new(node)));
                    let request = Request { size, align: 1 << align, within: range(from, to), node: wish, owner: Owner::new("alloc") };
                    let expected = model_alloc(&cells, size, 1 << align, from, to, node, up);
                    let got = memblock.alloc(request).ok();
                    prop_assert_eq!(got.map(|r| r.start().as_u64()), expected);
                    if let Some(start) = expected {
                        cells[start as usize..(start + size) as usize].iter_mut().for_each(|c| c.owner = Some(ALLOCATED));
                    }
                }
            }
            check(&memblock, &cells, &owners)?;
        }
    }

    #[test]
    fn the_order_of_adds_does_not_matter(
        spans in proptest::collection::vec((0..PAGES, 0..PAGES), 1..30),
        swaps in proptest::collection::vec((0..30usize, 0..30usize), 0..30),
    ) {
        let ram = Ram::new(0, 4096);
        let mut shuffled = spans.clone();
        for (a, b) in swaps {
            let count = shuffled.len();
            shuffled.swap(a % count, b % count);
        }
        let build = |spans: &[(u64, u64)]| {
            let mut memblock = Memblock::new(ram.access());
            for (a, b) in spans {
                memblock.add(range(*a.min(b), *a.max(b))).unwrap();
                memblock.reserve(range(*a.min(b), *a.max(b)), Owner::new("test")).unwrap();
            }
            (memory(&memblock), reserved(&memblock))
        };
        prop_assert_eq!(build(&spans), build(&shuffled));
    }
}

fn check(memblock: &Memblock<Access<'_>>, cells: &[Cell], owners: &[&str]) -> Result<(), TestCaseError> {
    let mut seen = vec![Cell::default(); cells.len()];
    let mut last = None;
    for region in memblock.memory() {
        let traits = (region.node().map(NodeId::as_u16), region.flags().bits());
        let key = (region.range().start(), traits);
        prop_assert!(!region.range().is_empty());
        prop_assert!(last.is_none_or(|(end, before)| end < key.0 || (end == key.0 && before != key.1)));
        last = Some((region.range().end(), traits));
        for at in region.range().start().as_u64()..region.range().end().as_u64() {
            seen[at as usize].memory = Some(traits);
        }
    }
    let mut last = None;
    for region in memblock.reserved() {
        let owner = owners.iter().position(|name| *name == region.owner().as_str()).unwrap() as u8;
        prop_assert!(!region.range().is_empty());
        let start = region.range().start();
        prop_assert!(last.is_none_or(|(end, before)| end < start || (end == start && before != owner)));
        last = Some((region.range().end(), owner));
        for at in region.range().start().as_u64()..region.range().end().as_u64() {
            seen[at as usize].owner = Some(owner);
        }
    }
    prop_assert_eq!(&seen[..], cells);
    let mut free = vec![None; cells.len()];
    let forward: Vec<_> = memblock.free_ranges().collect();
    let mut backward: Vec<_> = memblock.free_ranges().rev().collect();
    backward.reverse();
    prop_assert_eq!(&forward, &backward);
    // From both ends at once, what is yielded is the same memory.
    let mut both = memblock.free_ranges();
    let (mut low, mut high) = (Vec::new(), Vec::new());
    while let (Some(a), b) = (both.next(), both.next_back()) {
        low.push(a);
        high.extend(b);
    }
    high.reverse();
    low.extend(high);
    prop_assert_eq!(&low, &forward);
    for piece in forward {
        for at in piece.range.start().as_u64()..piece.range.end().as_u64() {
            prop_assert!(free[at as usize].is_none());
            free[at as usize] = Some(piece.node.map(NodeId::as_u16));
        }
    }
    let expected: Vec<_> = cells.iter().map(Cell::free_on).collect();
    prop_assert_eq!(free, expected);
    Ok(())
}
