//! `/reserved-memory` and what `/chosen` says of memory.

use super::*;
use mm::machine::{Problem, Purpose, Source, Table, Wish};

type Property<'a> = (&'a str, &'a [u8]);

const POOL: Property<'_> = ("compatible", b"shared-dma-pool\0");
const REUSABLE: Property<'_> = ("reusable", &[]);
const NO_MAP: Property<'_> = ("no-map", &[]);

/// What a node with these properties says, below a root of two cells each.
fn child(properties: &[Property<'_>]) -> Recorder {
    described(Builder::root(2, 2).reserved_memory(2, 2).node("child", properties).end().done())
}

fn wish(size: u64, align: u64, within: PhysRange, purpose: Purpose) -> Wish {
    let owner = mm::machine::Owner::new("child");
    Wish { size, align, within, group: 0, owner, purpose, source: Source::entry(Table::ReservedMemory, 0) }
}

#[test]
fn the_node_counts_only_with_the_roots_cells_and_ranges() {
    let reg = cells(&[0, 0x1000, 0x2000]);
    let tree = |address: Option<u32>, size: Option<u32>, ranges: bool| {
        let mut tree = Builder::root(2, 1).begin("reserved-memory");
        for (name, value) in [("#address-cells", address), ("#size-cells", size)] {
            tree = value.into_iter().fold(tree, |tree, value| tree.prop(name, &cells(&[value])));
        }
        let tree = if ranges { tree.prop("ranges", &[]) } else { tree };
        described(tree.node("a", &[("reg", &reg)]).end().done())
    };
    let sound = tree(Some(2), Some(1), true);
    assert_eq!((sound.reserved(), sound.warnings.len()), (vec![("a", 0x1000, 0x3000)], 0));
    for (address, size, ranges) in
        [(None, Some(1), true), (Some(2), None, true), (Some(2), Some(2), true), (Some(2), Some(1), false)]
    {
        let other = tree(address, size, ranges);
        assert!(other.reservations.is_empty());
        assert_eq!(other.warnings[0].source, Source::whole(Table::ReservedMemory));
        assert!(matches!(other.warnings[0].problem, Problem::TableIgnored(_)));
    }
}

#[test]
fn a_reg_that_is_no_list_says_nothing() {
    let reg = cells(&[0, 0x1000, 0, 0x1000, 0, 0x9000]);
    let recorder = child(&[("reg", &reg)]);
    assert_eq!((recorder.reserved(), recorder.problems()), (vec![], vec![(Some(0), Problem::Length { stated: 24 })]));
    assert_eq!(child(&[]).problems(), [(Some(0), Problem::Length { stated: 0 })]);
    assert_eq!(child(&[("reg", &reg[..16]), ("status", b"disabled\0")]), Recorder::default());
    assert_eq!(child(&[("reg", &[])]), Recorder::default());
    let empty = cells(&[0, 0x1000, 0, 0, 0, 0x2000, 0, 0x1000]);
    let recorder = child(&[("reg", &empty)]);
    assert_eq!(recorder.reserved(), [("child", 0x2000, 0x3000)]);
    assert_eq!(recorder.problems(), [(Some(0), Problem::Empty { start: 0x1000 })]);
}

/// Only the first range of a pool is one.
#[test]
fn a_reusable_pool_is_contiguous_memory() {
    let reg = cells(&[0, 0x1000, 0, 0x1000, 0, 0x4000, 0, 0x1000]);
    let purposes = |properties: &[Property<'_>]| {
        let recorder = child(&[&[("reg", &reg[..])], properties].concat());
        assert!(recorder.default_pools.is_empty());
        recorder.reservations.iter().map(|held| held.purpose).collect::<Vec<_>>()
    };
    use Purpose::{Contiguous, Held, NoMap};
    assert_eq!(purposes(&[POOL, REUSABLE]), [Contiguous, Held]);
    assert_eq!(purposes(&[POOL]), [Held, Held]);
    assert_eq!(purposes(&[REUSABLE]), [Held, Held]);
    assert_eq!(purposes(&[POOL, NO_MAP]), [NoMap, NoMap]);
    assert_eq!(purposes(&[REUSABLE, NO_MAP]), [NoMap, NoMap]);
}

#[test]
fn a_pool_that_is_reusable_and_no_map_is_nobodys() {
    let (reg, size) = (cells(&[0, 0x1000, 0, 0x1000]), cells(&[0, 0x1000]));
    for place in [("reg", &reg), ("size", &size)] {
        let recorder = child(&[(place.0, place.1), POOL, REUSABLE, NO_MAP, ("linux,cma-default", &[])]);
        assert!(recorder.reservations.is_empty() && recorder.wishes.is_empty() && recorder.default_pools.is_empty());
        let problem = Problem::EntryIgnored("a pool cannot be both reusable and no-map");
        assert_eq!(recorder.problems(), [(Some(0), problem)]);
    }
}

#[test]
fn the_default_pool_is_told_by_its_source() {
    let (reg, size) = (cells(&[0, 0x1000, 0, 0x1000]), cells(&[0, 0x1000]));
    for place in [("reg", &reg), ("size", &size)] {
        let default = ("linux,cma-default", &[][..]);
        let recorder = child(&[(place.0, place.1), POOL, REUSABLE, default]);
        assert_eq!(recorder.default_pools, [Source::entry(Table::ReservedMemory, 0)]);
        assert!(child(&[(place.0, place.1), POOL, default]).default_pools.is_empty(), "it is no pool");
    }
}

#[test]
fn a_size_wants_a_place() {
    let (size, align) = (cells(&[1, 0]), cells(&[0, 0x20_0000]));
    let everywhere = |align, purpose| [wish(1 << 32, align, PhysRange::ALL, purpose)];
    assert_eq!(child(&[("size", &size)]).wishes, everywhere(64, Purpose::Held));
    assert_eq!(child(&[("size", &size), NO_MAP]).wishes, everywhere(64, Purpose::NoMap));
    let aligned = [("size", &size[..]), ("alignment", &align[..]), POOL, REUSABLE];
    assert_eq!(child(&aligned).wishes, everywhere(0x20_0000, Purpose::Contiguous));
    assert_eq!(child(&[("size", &size), ("alignment", &cells(&[0, 0]))]).wishes, everywhere(64, Purpose::Held));
    // A `reg` that nobody filled.
    assert_eq!(child(&[("size", &size), ("reg", &cells(&[0; 4]))]).wishes, everywhere(64, Purpose::Held));
}

/// Only a `reg` that begins with nothing leaves the place to us.
#[test]
fn a_reg_that_says_something_stands_before_a_size() {
    let (size, place) = (cells(&[0, 0x4000]), [0, 0x1000, 0, 0x1000]);
    for (reg, with_size, held, wishes, problems) in [
        (&place[..], true, vec![("child", 0x1000, 0x2000)], 0, vec![]),
        (&[0, 0x1000, 0, 0], true, vec![], 1, vec![]),
        (&[0, 0x1000, 0, 0], false, vec![], 0, vec![0x1000]),
        (&[0, 0x1000, 0, 0x1000, 0, 0x5000, 0, 0], true, vec![("child", 0x1000, 0x2000)], 0, vec![0x5000]),
        (&[0, 0x1000, 0, 0x1000, 0, 0x5000, 0, 0], false, vec![("child", 0x1000, 0x2000)], 0, vec![0x5000]),
        (&[0, 0, 0, 0, 0, 0x5000, 0, 0x1000], true, vec![("child", 0x5000, 0x6000)], 1, vec![]),
    ] {
        let reg = cells(reg);
        let properties = [("reg", &reg[..]), ("size", &size[..])];
        let recorder = child(&properties[..1 + usize::from(with_size)]);
        let empty = |start| (Some(0), Problem::Empty { start });
        assert_eq!((recorder.reserved(), recorder.wishes.len()), (held, wishes), "{reg:x?}");
        assert_eq!(recorder.problems(), problems.into_iter().map(empty).collect::<Vec<_>>(), "{reg:x?}");
    }
}

#[test]
fn a_number_of_no_cells_is_none() {
    for (address, size, properties) in
        [(2, 0, &[("size", &[][..])][..]), (0, 1, &[("size", &[0, 0, 0x10, 0]), ("alignment", &[])])]
    {
        let recorder = described(
            Builder::root(address, size).reserved_memory(address, size).node("child", properties).end().done(),
        );
        assert!(recorder.wishes.is_empty());
        assert_eq!(recorder.problems(), [(Some(0), Problem::Length { stated: 0 })]);
    }
}

#[test]
fn alloc_ranges_are_alternatives_in_their_order() {
    let size = cells(&[0, 0x1000]);
    let ranges = cells(&[1, 0, 0, 0x2000, 0, 0x8000_0000, 0, 0x4000, 0, 0, 0, 0, 0, 5, 0, 0, u32::MAX, 0, u32::MAX, 0]);
    let recorder = child(&[("size", &size), ("alloc-ranges", &ranges)]);
    let places: Vec<_> = recorder.wishes.iter().map(|wish| (wish.group, wish.within)).collect();
    let (high, low) = (range(0x1_0000_0000, 0x1_0000_2000), range(0x8000_0000, 0x8000_4000));
    assert_eq!(places, [(0, high), (0, low), (0, PhysRange::ALL)]);
    let wraps = Problem::Wraps { start: 0xffff_ffff_0000_0000, size: 0xffff_ffff_0000_0000 };
    assert_eq!(recorder.problems(), [(Some(0), Problem::Empty { start: 5 }), (Some(0), wraps)]);
}

#[test]
fn each_child_is_a_group_of_its_own() {
    let size = cells(&[0x1000]);
    let tree = Builder::root(1, 1).reserved_memory(1, 1).node("a", &[("size", &size)]).node("b", &[("size", &size)]);
    let recorder = described(tree.end().done());
    let told: Vec<_> = recorder.wishes.iter().map(|wish| (wish.group, wish.owner.as_str())).collect();
    assert_eq!(told, [(0, "a"), (1, "b")]);
}

#[test]
fn a_wish_that_cannot_be_is_told() {
    let size = cells(&[0, 0x1000]);
    let problem = |properties: &[Property<'_>]| {
        let recorder = child(properties);
        assert!(recorder.wishes.is_empty());
        recorder.problems()
    };
    assert_eq!(problem(&[("size", &size[..4])]), [(Some(0), Problem::Length { stated: 4 })]);
    assert_eq!(problem(&[("size", &cells(&[0, 0]))]), [(Some(0), Problem::Empty { start: 0 })]);
    let odd = cells(&[0, 3]);
    assert_eq!(
        problem(&[("size", &size), ("alignment", &odd)]),
        [(Some(0), Problem::Value { what: "the alignment", value: 3 })]
    );
    assert_eq!(problem(&[("size", &size), ("alignment", &odd[..4])]), [(Some(0), Problem::Length { stated: 4 })]);
    assert_eq!(problem(&[("size", &size), ("alloc-ranges", &[])]), [(Some(0), Problem::Length { stated: 0 })]);
    assert_eq!(problem(&[("size", &size), ("alloc-ranges", &odd)]), [(Some(0), Problem::Length { stated: 8 })]);
}

#[test]
fn a_crash_kernel_is_told_what_it_may_use() {
    let chosen = |properties: &[Property<'_>]| described(Builder::root(2, 1).node("chosen", properties).done());
    let ranges = cells(&[8, 0, 0x1000, 0, 0x9000, 0x1000, 0, 0, 0]);
    let recorder = chosen(&[("linux,usable-memory-range", &ranges)]);
    let usable: Vec<_> = recorder.usable.iter().map(|usable| (usable.range, usable.source)).collect();
    let source = |entry| Source::entry(Table::Chosen, entry);
    assert_eq!(usable, [(range(0x8_0000_0000, 0x8_0000_1000), source(0)), (range(0x9000, 0xa000), source(1))]);
    assert!(recorder.warnings.is_empty());
    let short = chosen(&[("linux,usable-memory-range", &ranges[..8])]);
    assert_eq!((short.usable.len(), short.problems()), (0, vec![(Some(0), Problem::Length { stated: 8 })]));

    let core = chosen(&[("linux,elfcorehdr", &ranges[..12])]);
    assert_eq!(core.reserved(), [("elfcorehdr", 0x8_0000_0000, 0x8_0000_1000)]);
    assert_eq!(chosen(&[("linux,elfcorehdr", &[])]).problems(), [(None, Problem::Empty { start: 0 })]);
    assert_eq!(chosen(&[("linux,elfcorehdr", &ranges[24..])]), Recorder::default());
}
