//! Every small layout, with every change made to it.
//!
//! Memblock knows a layout only by its regions, so what holds for each layout of an arena and each change holds for
//! every sequence of changes there. The bounds that CI can afford are smaller than those of the long run.

use crate::oracle::{Op, Oracle};
use crate::ram::{Access, Ram};
use crate::range;
use mm::addr::PhysRange;
use mm::machine::Owner;
use mm::memblock::Memblock;

fn spans(cells: usize) -> impl Iterator<Item = (usize, usize)> + Clone {
    (0..cells).flat_map(move |start| (start + 1..=cells).map(move |end| (start, end)))
}

/// Calls `see` with every string of `length` digits below `base`.
pub(crate) fn each_string(length: usize, base: usize, mut see: impl FnMut(&[usize])) {
    let mut digits = vec![0; length];
    for number in 0..base.pow(u32::try_from(length).unwrap()) {
        let mut rest = number;
        for digit in &mut digits {
            *digit = rest % base;
            rest /= base;
        }
        see(&digits);
    }
}

/// A machine on which `make` has been done.
fn machine<'r>(ram: &'r Ram, cells: usize, make: &[Op]) -> (Memblock<Access<'r>>, Oracle) {
    let mut memblock = Memblock::new(ram.access());
    let mut oracle = Oracle::new(cells, 0, 1);
    for op in make {
        oracle.step(&mut memblock, *op);
    }
    (memblock, oracle)
}

/// Every arrangement of three kinds of cells, every change of memory.
fn memory_of_every_kind(cells: usize) {
    const NODE: u16 = 1;
    const FLAG: u32 = 1;
    let ram = Ram::new(0, 4096);
    let mut ops: Vec<_> = (0..3).map(Op::Trim).chain([Op::ClearNodes]).collect();
    ops.extend((0..=cells + 1).flat_map(|count| [Op::Limit(count), Op::MapLimit(count)]));
    for (a, b) in spans(cells) {
        ops.extend([Op::Add(a, b), Op::AddOn(a, b, Some(NODE), FLAG), Op::Remove(a, b), Op::Cap(a, b)]);
        ops.extend([Op::Node(a, b, NODE), Op::Mark(a, b, FLAG), Op::Clear(a, b, FLAG)]);
    }
    each_string(cells, 3, |kinds| {
        let make: Vec<_> = (0..cells)
            .filter(|at| kinds[*at] > 0)
            .map(|at| if kinds[at] == 1 { Op::Add(at, at + 1) } else { Op::AddOn(at, at + 1, Some(NODE), FLAG) })
            .collect();
        for op in &ops {
            let (mut memblock, mut oracle) = machine(&ram, cells, &make);
            oracle.step(&mut memblock, *op);
        }
    });
}

/// Every arrangement of memory, NOMAP memory and holes under reservations of two kinds, every limit and reservation.
fn reservations_of_every_kind(cells: usize) {
    let ram = Ram::new(0, 4096);
    let mut ops: Vec<_> = (0..=cells).flat_map(|count| [Op::Limit(count), Op::MapLimit(count)]).collect();
    for (a, b) in spans(cells) {
        ops.extend([
            Op::Reserve(a, b, 0),
            Op::Reserve(a, b, 1),
            Op::Free(a, b),
            Op::FreeAllocated(a, b),
            Op::Cap(a, b),
        ]);
    }
    each_string(cells, 5, |kinds| {
        let mut make = Vec::new();
        for (at, kind) in kinds.iter().enumerate() {
            let span = (at, at + 1);
            let ask = crate::allocations::ask(1, span);
            match kind {
                0 => make.push(Op::AddOn(at, at + 1, None, 4)),
                1 => make.extend([Op::Add(at, at + 1), Op::Reserve(at, at + 1, 1)]),
                2 => make.extend([Op::Add(at, at + 1), Op::Alloc(ask)]),
                3 => make.push(Op::Add(at, at + 1)),
                _ => {}
            }
        }
        for op in &ops {
            let (mut memblock, mut oracle) = machine(&ram, cells, &make);
            oracle.step(&mut memblock, *op);
        }
    });
}

/// The runs of ones in `mask`.
fn runs(mask: u32) -> impl Iterator<Item = (u64, u64)> {
    let mut rest = u64::from(mask);
    std::iter::from_fn(move || {
        (rest != 0).then(|| {
            let start = rest.trailing_zeros();
            let end = start + (rest >> start).trailing_ones();
            rest &= !((1 << end) - 1);
            (u64::from(start), u64::from(end))
        })
    })
}

fn is(memblock: &Memblock<Access<'_>>, memory: u32, reserved: u32) -> bool {
    let bounds = |range: PhysRange| (range.start().as_u64(), range.end().as_u64());
    memblock.memory().iter().map(|region| bounds(region.range())).eq(runs(memory))
        && memblock.reserved().iter().map(|region| bounds(region.range())).eq(runs(reserved))
        && memblock.free_ranges().map(|free| bounds(free.range)).eq(runs(memory & !reserved))
}

fn mask(start: usize, end: usize) -> u32 {
    u32::try_from((1_u64 << end) - (1_u64 << start)).unwrap()
}

/// All layouts of up to `most` regions on an arena of `pages`, and each range added, removed, reserved and freed there.
/// Returns how many changes that were.
fn layouts(pages: usize, most: usize) -> u64 {
    let ram = Ram::new(0, 4096);
    let mut memblock = Memblock::new(ram.access());
    let owner = Owner::new("test");
    let mut changes = 0;
    for layout in 0..1_u32 << pages {
        if runs(layout).count() > most {
            continue;
        }
        for (a, b) in spans(pages) {
            let (touched, part) = (range(a as u64, b as u64), mask(a, b));
            memblock.remove(PhysRange::ALL).unwrap();
            memblock.free(PhysRange::ALL).unwrap();
            for (start, end) in runs(layout) {
                memblock.add(range(start, end)).unwrap();
                memblock.reserve(range(start, end), owner).unwrap();
            }
            memblock.add(touched).unwrap();
            memblock.free(touched).unwrap();
            assert!(is(&memblock, layout | part, layout & !part), "{layout:#b}, then {a}..{b}");
            memblock.remove(touched).unwrap();
            memblock.reserve(touched, owner).unwrap();
            assert!(is(&memblock, layout & !part, layout | part), "{layout:#b}, then {a}..{b}");
            changes += 4;
        }
    }
    changes
}

/// All sequences of `length` ranges on an arena of `pages`, each added, removed or reserved. Returns how many.
fn sequences(pages: usize, length: usize) -> u64 {
    let ram = Ram::new(0, 4096);
    let mut memblock = Memblock::new(ram.access());
    let owner = Owner::new("test");
    let spans: Vec<_> = spans(pages).collect();
    let mut count = 0;
    each_string(length, spans.len() * 3, |choices| {
        memblock.remove(PhysRange::ALL).unwrap();
        memblock.free(PhysRange::ALL).unwrap();
        let (mut memory, mut reserved) = (0, 0);
        for choice in choices {
            let (a, b) = spans[choice / 3];
            let (touched, part) = (range(a as u64, b as u64), mask(a, b));
            match choice % 3 {
                0 => {
                    memblock.add(touched).unwrap();
                    memory |= part;
                }
                1 => {
                    memblock.remove(touched).unwrap();
                    memory &= !part;
                }
                _ => {
                    memblock.reserve(touched, owner).unwrap();
                    reserved |= part;
                }
            }
        }
        assert!(is(&memblock, memory, reserved), "{choices:?}");
        count += 1;
    });
    count
}

/// All orders of all sets of `count` ranges: memory is the same, and who came first keeps what he reserved.
fn orders(pages: usize, count: usize) {
    let ram = Ram::new(0, 4096);
    let spans: Vec<_> = spans(pages).collect();
    let mut expected = 0;
    let (mut memblock, mut owners) = (Memblock::new(ram.access()), vec![None; pages]);
    // Strings of span numbers hold every set in every order.
    each_string(count, spans.len(), |choices| {
        memblock.remove(PhysRange::ALL).unwrap();
        memblock.free(PhysRange::ALL).unwrap();
        owners.fill(None);
        expected = 0;
        for (number, choice) in choices.iter().enumerate() {
            let (a, b) = spans[*choice];
            memblock.add(range(a as u64, b as u64)).unwrap();
            memblock.reserve(range(a as u64, b as u64), Owner::new(&number.to_string())).unwrap();
            expected |= mask(a, b);
            owners[a..b].iter_mut().for_each(|owner| *owner = owner.or(Some(number)));
        }
        let memory = memblock.memory().iter().map(|region| crate::bounds(region.range()));
        assert!(memory.eq(runs(expected)));
        for (at, owner) in owners.iter().enumerate() {
            let found = memblock.reserved().find(range(at as u64, pages as u64).start());
            assert_eq!(found.map(|region| region.owner()), owner.map(|number| Owner::new(&number.to_string())));
        }
    });
}

/// All arrangements of memory and reservations, the free ranges in each part of them.
fn free_ranges(cells: usize) {
    let ram = Ram::new(0, 4096);
    each_string(cells, 4, |kinds| {
        let mut make = Vec::new();
        for (at, kind) in kinds.iter().enumerate() {
            match kind {
                1 => make.push(Op::AddOn(at, at + 1, Some(1), 0)),
                2 => make.push(Op::AddOn(at, at + 1, Some(2), 0)),
                3 => make.extend([Op::Add(at, at + 1), Op::Reserve(at, at + 1, 0)]),
                _ => {}
            }
        }
        let (memblock, oracle) = machine(&ram, cells, &make);
        for (a, b) in spans(cells) {
            for node in [None, Some(1), Some(2), Some(3)] {
                oracle.check_free(&memblock, a, b, node);
            }
        }
    });
}

#[test]
fn every_small_arrangement_of_memory_and_every_change() {
    memory_of_every_kind(if cfg!(miri) { 2 } else { 5 });
}

#[test]
fn every_small_arrangement_of_reservations_and_every_change() {
    reservations_of_every_kind(if cfg!(miri) { 2 } else { 4 });
}

#[test]
fn every_layout_of_up_to_four_regions_and_every_change() {
    layouts(if cfg!(miri) { 4 } else { 8 }, 4);
}

#[test]
fn every_sequence_of_two_changes_on_sixteen_pages() {
    sequences(if cfg!(miri) { 3 } else { 16 }, 2);
}

#[test]
fn every_order_of_three_ranges() {
    orders(if cfg!(miri) { 3 } else { 5 }, 3);
}

#[test]
fn every_small_arrangement_and_the_free_ranges_in_every_part() {
    free_ranges(if cfg!(miri) { 2 } else { 5 });
}

#[test]
#[ignore = "the long run: minutes, in a release build"]
fn all_layouts_of_up_to_four_regions_on_sixteen_pages() {
    println!("{} changes", layouts(16, 4));
}

#[test]
#[ignore = "the long run: minutes, in a release build"]
fn all_sequences_of_three_changes_on_sixteen_pages() {
    println!("{} sequences", sequences(16, 3));
}

#[test]
#[ignore = "the long run: minutes, in a release build"]
fn all_larger_arrangements() {
    memory_of_every_kind(8);
    reservations_of_every_kind(6);
    free_ranges(8);
    orders(8, 3);
    orders(5, 4);
}
