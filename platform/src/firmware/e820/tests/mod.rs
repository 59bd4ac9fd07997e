use super::*;
use crate::firmware::recorder::{Random, Recorder};
use crate::read::MemoryImage;
use MemoryKind::{AcpiData, AcpiNvs, Other, Reserved, Usable};
use mm::machine::{MemoryKind, Problem, Source, Table};

const AT: PhysAddr = PhysAddr::new(0x7c01);
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// The bytes of a map: start, length, type.
fn raw(entries: &[(u64, u64, u32)]) -> Vec<u8> {
    let bytes = |&(start, size, kind): &(u64, u64, u32)| {
        [&start.to_le_bytes()[..], &size.to_le_bytes(), &kind.to_le_bytes(), &[0xaa; 4]].concat()
    };
    entries.iter().flat_map(bytes).collect()
}

fn with<T>(entries: &[(u64, u64, u32)], run: impl FnOnce(E820, &mut MemoryImage<'_>) -> T) -> T {
    let bytes = raw(entries);
    let pieces = [(AT, &bytes[..])];
    let map = E820 { at: AT, entries: u32::try_from(entries.len()).unwrap() };
    run(map, &mut MemoryImage::new(&pieces))
}

fn described(entries: &[(u64, u64, u32)]) -> Recorder {
    with(entries, |map, image| Recorder::of(|sink| map.describe(image, sink)))
}

fn printed(entries: &[(u64, u64, u32)]) -> String {
    with(entries, |map, image| {
        let mut text = String::new();
        map.print(image, &mut text).unwrap();
        map.print_rules(image, &mut text).unwrap();
        text
    })
}

const PC_4G: &[(u64, u64, u32)] = &[
    (0, 0x9fc00, 1),
    (0x9fc00, 0x400, 2),
    (0xf0000, 0x10000, 2),
    (0x10_0000, 0xbfee_0000, 1),
    (0xbffe_0000, 0x2_0000, 2),
    (0xfffc_0000, 0x4_0000, 2),
    (0x1_0000_0000, 0x4000_0000, 1),
    (0xfd_0000_0000, 0x3_0000_0000, 2),
];

#[test]
fn a_pc_prints_what_linux_prints() {
    assert_eq!(
        printed(PC_4G),
        "BIOS-provided physical RAM map:\n\
         BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable\n\
         BIOS-e820: [mem 0x000000000009fc00-0x000000000009ffff] reserved\n\
         BIOS-e820: [mem 0x00000000000f0000-0x00000000000fffff] reserved\n\
         BIOS-e820: [mem 0x0000000000100000-0x00000000bffdffff] usable\n\
         BIOS-e820: [mem 0x00000000bffe0000-0x00000000bfffffff] reserved\n\
         BIOS-e820: [mem 0x00000000fffc0000-0x00000000ffffffff] reserved\n\
         BIOS-e820: [mem 0x0000000100000000-0x000000013fffffff] usable\n\
         BIOS-e820: [mem 0x000000fd00000000-0x000000ffffffffff] reserved\n\
         e820: update [mem 0x00000000-0x00000fff] usable ==> reserved\n\
         e820: remove [mem 0x000a0000-0x000fffff] usable\n\
         last_pfn = 0x140000 max_arch_pfn = 0x400000000\n\
         last_pfn = 0xbffe0 max_arch_pfn = 0x400000000\n"
    );
}

#[test]
fn frame_0_stays_the_bioss_and_is_told_so() {
    let recorder = described(PC_4G);
    assert!(recorder.warnings.is_empty());
    assert_eq!(recorder.banks[0].source, Source::whole(Table::Architecture));
    assert_eq!(recorder.banks()[..2], [(0, 0x1000, Reserved, None), (0x1000, 0x9fc00, Usable, Some(0))]);
    assert_eq!(recorder.usable(), [(0x1000, 0x9fc00), (0x10_0000, 0xbffe_0000), (4 * GIB, 5 * GIB)]);
}

#[test]
fn nothing_between_640_kib_and_1_mib_is_usable() {
    assert_eq!(described(&[(0, GIB, 1)]).usable(), [(0x1000, 0xa_0000), (0x10_0000, GIB)]);
    assert_eq!(described(&[(0xa_0000, 0x1_0000, 1)]).usable(), []);
    assert_eq!(described(&[(0xa_0000, 0x1_0000, 2)]).banks(), [(0xa_0000, 0xb_0000, Reserved, Some(0))]);
}

#[test]
fn an_all_zero_last_entry_is_passed_over_silently() {
    let mut map = PC_4G.to_vec();
    map.push((0, 0, 0));
    assert_eq!(described(&map), described(PC_4G));
    // Anywhere else it is odd.
    map.push((2 * TIB, GIB, 1));
    assert_eq!(described(&map).problems(), [(Some(8), Problem::Empty { start: 0 })]);
}

#[test]
fn zero_length_entries_are_dropped() {
    let recorder = described(&[(0x10_0000, GIB, 1), (2 * GIB, 0, 1), (3 * GIB, GIB, 1)]);
    assert_eq!(recorder.problems(), [(Some(1), Problem::Empty { start: 2 * GIB })]);
    assert_eq!(recorder.usable(), [(0x10_0000, GIB + 0x10_0000), (3 * GIB, 4 * GIB)]);
}

#[test]
fn a_length_past_2_64_drops_the_entry() {
    let recorder = described(&[(u64::MAX - 0xfff, 0x1001, 1), (0x10_0000, GIB, 1), (GIB * 4, u64::MAX, 2)]);
    let wraps = |start, size| Problem::Wraps { start, size };
    assert_eq!(recorder.problems(), [(Some(0), wraps(u64::MAX - 0xfff, 0x1001)), (Some(2), wraps(GIB * 4, u64::MAX))]);
    assert_eq!(recorder.usable(), [(0x10_0000, GIB + 0x10_0000)]);
    // The last byte of all is in no range: what begins there is told, not lost.
    assert_eq!(described(&[(u64::MAX, 1, 1)]).problems(), [(Some(0), wraps(u64::MAX, 1))]);
}

#[test]
fn a_type_that_cannot_be_drops_the_entry() {
    let recorder = described(&[(GIB, GIB, 0), (GIB, GIB, 77)]);
    assert_eq!(recorder.problems(), [(Some(0), Problem::Value { what: "type", value: 0 })]);
    assert_eq!(recorder.banks(), [(GIB, 2 * GIB, Other(77), Some(1))]);
    assert!(printed(&[(GIB, GIB, 77), (3 * GIB, GIB, 0xefff_ffff)]).contains("] type 77\nBIOS-e820:"));
    assert!(printed(&[(3 * GIB, GIB, 0xefff_ffff)]).contains("] soft reserved\n"));
}

#[test]
fn unsorted_entries_come_out_sorted() {
    let recorder = described(&[(4 * GIB, GIB, 1), (0x10_0000, GIB, 1), (2 * GIB, 0x1000, 2)]);
    assert_eq!(recorder.problems(), [(Some(0), Problem::Unsorted(range(4 * GIB, 5 * GIB)))]);
    assert_eq!(
        recorder.banks(),
        [
            (0x10_0000, GIB + 0x10_0000, Usable, Some(1)),
            (2 * GIB, 2 * GIB + 0x1000, Reserved, Some(2)),
            (4 * GIB, 5 * GIB, Usable, Some(0)),
        ]
    );
    // Two that begin at one place are in order.
    let overlaps = Problem::Overlaps(range(GIB, GIB + 0x1000));
    assert_eq!(described(&[(GIB, GIB, 1), (GIB, 0x1000, 2)]).problems(), [(Some(1), overlaps)]);
}

fn range(start: u64, end: u64) -> PhysRange {
    PhysRange::new(PhysAddr::new(start), PhysAddr::new(end))
}

#[test]
fn where_entries_overlap_the_greatest_type_holds() {
    let recorder =
        described(&[(GIB, GIB, 1), (GIB + 0x8000, 0x1000, 3), (GIB + 0x8800, 0x1000, 2), (GIB + 0x8c00, 0x10, 4)]);
    assert_eq!(
        recorder.banks(),
        [
            (GIB, GIB + 0x8000, Usable, Some(0)),
            (GIB + 0x8000, GIB + 0x8c00, AcpiData, Some(1)),
            (GIB + 0x8c00, GIB + 0x8c10, AcpiNvs, Some(3)),
            (GIB + 0x8c10, GIB + 0x9000, AcpiData, Some(1)),
            (GIB + 0x9000, GIB + 0x9800, Reserved, Some(2)),
            (GIB + 0x9800, 2 * GIB, Usable, Some(0)),
        ]
    );
    let entries: Vec<Option<u32>> = recorder.problems().iter().map(|&(entry, _)| entry).collect();
    assert_eq!(entries, [Some(1), Some(2), Some(3)]);
    assert!(recorder.problems().iter().all(|(_, problem)| matches!(problem, Problem::Overlaps(_))));
}

#[test]
fn duplicates_count_once_and_are_named() {
    let recorder = described(&[(GIB, GIB, 1), (3 * GIB, GIB, 1), (GIB, GIB, 1)]);
    assert_eq!(recorder.usable(), [(GIB, 2 * GIB), (3 * GIB, 4 * GIB)]);
    assert!(recorder.problems().contains(&(Some(2), Problem::Duplicate(range(GIB, 2 * GIB)))));
    let first = recorder.banks[0].source;
    assert_eq!(first, Source::entry(Table::E820, 0), "the first one is what made it memory");
}

#[test]
fn entries_are_compared_with_all_before_them_however_many() {
    let mut map: Vec<(u64, u64, u32)> = (0..100).map(|i| (GIB + i * 0x2000, 0x1000, 1)).collect();
    // The same as the first one, and across another, each some blocks later.
    map.extend([(GIB, 0x1000, 1), (GIB + 0x3000, 0x2000, 2)]);
    let mut problems = described(&map).problems();
    problems.retain(|(_, problem)| !matches!(problem, Problem::Unsorted(_)));
    let (first, other) = (range(GIB, GIB + 0x1000), range(GIB + 0x3000, GIB + 0x5000));
    assert_eq!(problems, [(Some(100), Problem::Duplicate(first)), (Some(101), Problem::Overlaps(other))]);
}

#[test]
fn neighbours_of_one_type_merge_but_legacy_persistent_memory() {
    assert_eq!(described(&[(GIB, GIB, 1), (2 * GIB, GIB, 1)]).banks(), [(GIB, 3 * GIB, Usable, Some(0))]);
    assert_eq!(described(&[(GIB, GIB, 12), (2 * GIB, GIB, 12)]).banks.len(), 2);
}

#[test]
fn unaligned_ends_are_handed_on_as_they_are() {
    assert_eq!(described(&[(0x10_0001, 0x9_97fe, 1)]).usable(), [(0x10_0001, 0x19_97ff)]);
}

#[test]
fn ram_with_a_hole_at_3_to_4_gib_keeps_the_hole() {
    assert_eq!(described(&[(0x10_0000, 3 * GIB - 0x10_0000, 1), (4 * GIB, GIB, 1)]).usable().len(), 2);
}

#[test]
fn ram_above_4_gib_only_is_enough() {
    assert_eq!(described(&[(4 * GIB, GIB, 1)]).usable(), [(4 * GIB, 5 * GIB)]);
    assert!(printed(&[(4 * GIB, GIB, 1)]).contains("last_pfn = 0x0 max"));
}

#[test]
fn the_end_of_low_ram_is_told_only_where_ram_goes_on_above_4_gib() {
    let ends = |size| {
        let text = printed(&[(0x10_0000, size - 0x10_0000, 1)]);
        let ends = text.lines().filter_map(|line| line.strip_prefix("last_pfn = ")?.split(' ').next());
        ends.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(ends(4 * GIB - 0x1000), ["0xfffff"]);
    assert_eq!(ends(4 * GIB), ["0x100000"]);
    assert_eq!(ends(4 * GIB + 0x1000), ["0x100001", "0x100000"]);
}

#[test]
fn a_tiny_first_region_is_kept() {
    assert_eq!(described(&[(0x2000, 0x1000, 1), (0x10_0000, GIB, 1)]).usable()[0], (0x2000, 0x3000));
}

#[test]
fn ram_of_128_gib_512_gib_and_6_tib_fits() {
    for size in [128 * GIB, 512 * GIB, 6 * TIB] {
        assert_eq!(described(&[(4 * GIB, size, 1)]).usable(), [(4 * GIB, 4 * GIB + size)]);
    }
}

#[test]
fn mmio_far_above_ram_does_not_move_its_end() {
    let map = [(0x10_0000, GIB - 0x10_0000, 1), (0xfd_0000_0000, 0x3_0000_0000, 2)];
    assert!(printed(&map).contains("last_pfn = 0x40000 max"));
}

#[test]
fn a_thousand_regions_come_out_whole() {
    let count = if cfg!(miri) { 70 } else { 1000 };
    let map: Vec<(u64, u64, u32)> = (0..count).map(|i| (GIB + i * 0x2000, 0x1000, 1)).collect();
    let recorder = described(&map);
    assert!(recorder.warnings.is_empty());
    assert_eq!(recorder.usable(), map.iter().map(|&(start, size, _)| (start, start + size)).collect::<Vec<_>>());
    // The other way round: all but the last stand before one with a lower address.
    let mut reversed = map.clone();
    reversed.reverse();
    let recorder = described(&reversed);
    assert_eq!(recorder.usable().len(), map.len());
    assert_eq!(recorder.warnings.len(), map.len() - 1);
}

#[test]
fn a_repetition_is_not_out_of_order_too() {
    let recorder = described(&[(0x10_0000, GIB, 1), (2 * GIB, GIB, 1), (0x10_0000, GIB, 1), (3 * GIB, GIB, 1)]);
    assert_eq!(recorder.problems(), [(Some(2), Problem::Duplicate(range(0x10_0000, GIB + 0x10_0000)))]);
}

#[test]
fn rubbish_is_named_up_to_a_point() {
    let mut map = vec![(GIB, 0, 1); 100];
    map.push((GIB, GIB, 1));
    let recorder = described(&map);
    assert_eq!(recorder.problems().len(), 17);
    assert_eq!(recorder.problems()[15], (Some(15), Problem::Empty { start: GIB }));
    assert_eq!(recorder.problems()[16], (None, Problem::TooMany { what: "entries that cannot be", limit: 16 }));
    assert_eq!(recorder.usable(), [(GIB, 2 * GIB)]);
}

#[test]
fn a_count_that_cannot_be_ends_where_memory_does() {
    let bytes = raw(&[(GIB, GIB, 1), (3 * GIB, GIB, 1)]);
    let pieces = [(AT, &bytes[..])];
    let map = E820 { at: AT, entries: u32::MAX };
    let recorder = Recorder::of(|sink| map.describe(&mut MemoryImage::new(&pieces), sink));
    assert!(recorder.problems().contains(&(None, Problem::TooMany { what: "entries", limit: 4096 })));
    assert!(recorder.problems().iter().any(|(_, problem)| matches!(problem, Problem::Unreadable(_))));
    assert!(recorder.banks.is_empty());
}

#[test]
fn as_many_entries_as_are_looked_at_are_not_too_many() {
    if cfg!(miri) {
        // It takes too long there.
        return;
    }
    let too_many = (None, Problem::TooMany { what: "entries", limit: 4096 });
    for (count, told) in [(4096, false), (4097, true)] {
        assert_eq!(described(&vec![(GIB, 0, 1); count]).problems().contains(&too_many), told, "{count}");
    }
}

/// The same, thought of in another way: the type of every single byte of a small address space.
fn byte_by_byte(entries: &[(u64, u64, u32)], space: u64) -> Vec<u32> {
    (0..space)
        .map(|byte| {
            let covers = |&&(start, size, _): &&(u64, u64, u32)| start <= byte && byte - start < size;
            entries.iter().filter(covers).map(|&(_, _, kind)| kind).max().unwrap_or(0)
        })
        .collect()
}

#[test]
fn random_maps_agree_with_a_byte_by_byte_model() {
    let mut random = Random::new(820);
    for round in 0..if cfg!(miri) { 5 } else { 3000 } {
        let count = random.below(if round % 10 == 0 { 120 } else { 12 });
        let kinds = [1, 2, 3, 4, 5];
        let base = 0x10_0000;
        let map: Vec<(u64, u64, u32)> = (0..count)
            .map(|_| {
                (random.below(200) as u64, random.below(if count > 12 { 4 } else { 60 }) as u64, kinds[random.below(5)])
            })
            .collect();
        let shifted: Vec<(u64, u64, u32)> = map.iter().map(|&(start, size, kind)| (start + base, size, kind)).collect();
        let recorder = described(&shifted);
        let mut found = vec![0; 300];
        let mut before = 0;
        for bank in &recorder.banks {
            let (start, end) = (bank.range.start().as_u64(), bank.range.end().as_u64());
            assert!(before <= start && start < end, "not ascending: {:?}", recorder.banks);
            before = end;
            let entry = shifted[bank.source.entry.unwrap() as usize];
            assert!(entry.0 <= start && start < entry.0 + entry.1, "the source does not cover its bank's first byte");
            for byte in start..end {
                found[usize::try_from(byte - base).unwrap()] = entry.2;
            }
        }
        assert_eq!(found, byte_by_byte(&map, 300), "{map:x?}");
    }
}

#[test]
fn damaged_maps_never_panic_and_always_ascend() {
    let mut random = Random::new(1);
    let whole = raw(PC_4G);
    for _ in 0..if cfg!(miri) { 5 } else { 20_000 } {
        let mut bytes = whole.clone();
        for _ in 0..=random.below(6) {
            random.damage(&mut bytes);
        }
        let pieces = [(AT, &bytes[..])];
        let map = E820 { at: AT, entries: 8 };
        let image = &mut MemoryImage::new(&pieces);
        let recorder = Recorder::of(|sink| map.describe(image, sink));
        assert!(recorder.banks.is_sorted_by(|one, next| one.range.end() <= next.range.start()));
        assert!(recorder.warnings.len() <= 16);
        let mut text = String::new();
        map.print(image, &mut text).unwrap();
        map.print_rules(image, &mut text).unwrap();
    }
}

mod changes;
mod stages;
