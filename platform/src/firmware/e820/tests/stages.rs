//! What lies between the firmware's table and the working one: `setup_data`, the BIOS's memory, MTRRs.

use super::*;
use crate::firmware::mtrr::Mtrr;
use mm::machine::Purpose;

const LIST: u64 = 0x2_0000;

fn item(next: u64, kind: u32, length: u32) -> Vec<u8> {
    [&next.to_le_bytes()[..], &kind.to_le_bytes(), &length.to_le_bytes()].concat()
}

/// Runs with a map of 1 GiB and these items at their addresses.
fn with_list<T>(items: &[(u64, Vec<u8>)], run: impl FnOnce(&PcMap<'_>, &mut MemoryImage<'_>) -> T) -> T {
    let bytes = raw(&[(0, 0xa_0000, 1), (0x10_0000, GIB - 0x10_0000, 1), (4 * GIB, 0x1000, 2)]);
    let mut pieces: Vec<(PhysAddr, &[u8])> = vec![(AT, &bytes)];
    pieces.extend(items.iter().map(|(at, bytes)| (PhysAddr::new(*at), &bytes[..])));
    let map = PcMap { setup_data: Some(PhysAddr::new(LIST)), ..E820 { at: AT, entries: 3 }.into() };
    run(&map, &mut MemoryImage::new(&pieces))
}

fn table(map: &PcMap<'_>, stage: Stage, image: &mut MemoryImage<'_>) -> Vec<String> {
    let mut text = String::new();
    map.print_table(stage, "", image, &mut text).unwrap();
    text.lines().map(|line| line.trim_start_matches(": [mem 0x00000000").to_owned()).collect()
}

#[test]
fn setup_data_stays_ram_and_is_told_apart() {
    let far = 0x2000_0000;
    let mut indirect = item(0, 1 << 31, 24);
    for word in [u64::from(3u32), 0x800, far + 0x1000] {
        indirect.extend(word.to_le_bytes());
    }
    let items = [(LIST, item(far, 3, 0x100)), (far, item(far + 0x200, 9, 0x20)), (far + 0x200, indirect)];
    with_list(&items, |map, image| {
        let mut text = String::new();
        map.print_changes(image, &mut text).unwrap();
        let update = |start: u64, last: u64| format!("e820: update [mem {start:#010x}-{last:#010x}] usable ==> usable");
        let expected = [
            update(LIST, LIST + 0x10f),
            update(LIST, LIST + 0x10f),
            // A seed is for this kernel alone.
            update(far, far + 0x2f),
            update(far + 0x200, far + 0x227),
            update(far + 0x200, far + 0x227),
            update(far + 0x1000, far + 0x17ff),
            update(far + 0x1000, far + 0x17ff),
            "extended physical RAM map:".to_owned(),
            "reserve setup_data: [mem 0x0000000000000000-0x000000000001ffff] usable".to_owned(),
            "reserve setup_data: [mem 0x0000000000020000-0x000000000002010f] usable".to_owned(),
            "reserve setup_data: [mem 0x0000000000020110-0x000000000009ffff] usable".to_owned(),
        ];
        assert_eq!(text.lines().take(expected.len()).collect::<Vec<_>>(), expected);
        assert_eq!(table(map, Stage::Firmware, image).len(), 3);
        assert_eq!(table(map, Stage::Kexec, image).len(), 3 + 2 + 4);
        assert_eq!(table(map, Stage::Extended, image).len(), 3 + 2 + 6);
        let recorder = Recorder::of(|sink| map.describe(image, sink));
        let bytes: u64 = recorder.usable().iter().map(|(start, end)| end - start).sum();
        assert_eq!(bytes, GIB - 0x1000 - 0x6_0000);
        assert_eq!(
            recorder.reserved(),
            [
                ("setup data", LIST, LIST + 0x110),
                ("setup data", far, far + 0x30),
                ("setup data", far + 0x200, far + 0x228),
                ("setup data", far + 0x1000, far + 0x1800),
                ("BIOS", 0x9_f000, 0x10_0000),
            ]
        );
        assert!(recorder.warnings.is_empty());
    });
}

/// Linux: `e820__reserve_setup_data`, which takes no item about an item either.
#[test]
fn an_indirect_item_says_where_something_is_if_it_is_whole() {
    const INDIRECT: u32 = 1 << 31;
    let far = 0x2000_0000;
    let held = |length: u32, kind: u32, size: u64| {
        let mut bytes = item(0, INDIRECT, length);
        for word in [u64::from(kind), size, far] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.resize(64, 0);
        let recorder = with_list(&[(LIST, bytes)], |map, image| Recorder::of(|sink| map.describe(image, sink)));
        assert!(recorder.warnings.is_empty());
        let held = recorder.reserved().into_iter().filter(|&(owner, ..)| owner == "setup data");
        held.map(|(_, start, end)| (start, end)).skip(1).collect::<Vec<_>>()
    };
    let range = (far, far + 0x800);
    assert_eq!([held(24, 3, 0x800), held(25, 3, 0x800), held(48, 3, 0x800)], [[range], [range], [range]]);
    // Too short, about an item of its own kind, about nothing.
    for nothing in [held(23, 3, 0x800), held(0, 3, 0x800), held(24, INDIRECT, 0x800), held(24, 3, 0)] {
        assert_eq!(nothing, []);
    }
}

#[test]
fn a_damaged_list_ends_with_a_warning() {
    let problems = |items: &[(u64, Vec<u8>)]| {
        with_list(items, |map, image| Recorder::of(|sink| map.describe(image, sink)).problems())
    };
    let circle = [(LIST, item(LIST, 3, 4))];
    assert_eq!(problems(&circle), [(None, Problem::TooMany { what: "items", limit: 256 })]);
    let nowhere = [(LIST, item(5 * GIB, 3, 4))];
    assert_eq!(problems(&nowhere), [(Some(1), Problem::Unreadable(PhysAddr::new(5 * GIB)))]);
    let last = u64::MAX - 15;
    let wraps = [(LIST, item(last, 3, 4)), (last, item(0, 3, 4))];
    assert_eq!(problems(&wraps), [(Some(1), Problem::Wraps { start: last, size: 20 })]);
}

#[test]
fn the_bios_says_what_it_keeps_below_640_kib() {
    let bytes = raw(PC_4G);
    let reserved = |below: u16, segment: u16| {
        let mut words = segment.to_le_bytes().to_vec();
        words.extend([0; 3]);
        words.extend(below.to_le_bytes());
        let pieces = [(AT, &bytes[..]), (PhysAddr::new(0x40e), &words[..])];
        let map = PcMap::from(E820 { at: AT, entries: 8 });
        let recorder = Recorder::of(|sink| map.describe(&mut MemoryImage::new(&pieces), sink));
        assert!(recorder.reservations.iter().all(|held| held.purpose == Purpose::Held));
        recorder.reservations[0].range.start().as_u64()
    };
    assert_eq!(reserved(639, 0x9fc0), 0x9_f000);
    assert_eq!(reserved(600, 0), 600 << 10);
    assert_eq!(reserved(600, 0x9000), 0x9_0000);
    assert_eq!(reserved(600, 0x1fff), 600 << 10);
    assert_eq!(reserved(600, 0x2000), 0x2_0000);
    assert_eq!(reserved(127, 0), 0x9_f000);
    assert_eq!(reserved(128, 0), 0x2_0000);
    assert_eq!(reserved(0, 0), 0x9_f000);
    assert_eq!(reserved(u16::MAX, u16::MAX), 0x9_f000);
}

/// 4 GiB below the hole and above, of which the registers forget the last of each.
#[test]
fn memory_that_is_not_cached_is_taken_away() {
    let pair = |base: u64, size: u64, kind| (base | kind, (0xf_ffff_ffff & !(size - 1)) | 0x800);
    let pairs = [pair(0, 2 * GIB, 6), pair(0x7f00_0000, 0x100_0000, 0), pair(4 * GIB, GIB, 6)];
    let registers =
        Mtrr { default_type: 0xc00, pairs: pairs.into_iter().collect(), physical_bits: 36, top_of_memory_2: 0 };
    let map = [(0, 0x9_fc00, 1), (0x10_0000, 0x7fd0_0000, 1), (4 * GIB, GIB + 0x1000_0000, 1)];
    with(&map, |map, image| {
        let map = PcMap { mtrr: Some(&registers), ..map.into() };
        let mut text = String::new();
        map.print_changes(image, &mut text).unwrap();
        assert!(text.ends_with("last_pfn = 0x150000 max_arch_pfn = 0x400000000\n"));
        let mut text = String::new();
        map.print_uncached(image, &mut text).unwrap();
        let lines = [
            "e820: update [mem 0x7f000000-0xffffffff] usable ==> reserved",
            "e820: update [mem 0x140000000-0x14fffffff] usable ==> reserved",
            "WARNING: BIOS bug: CPU MTRRs don't cover all of memory, losing 270MB of RAM.",
            "update e820 for mtrr",
            "modified physical RAM map:",
            "modified: [mem 0x0000000000000000-0x0000000000000fff] reserved",
            "modified: [mem 0x0000000000001000-0x000000000009fbff] usable",
            "modified: [mem 0x0000000000100000-0x000000007effffff] usable",
            "modified: [mem 0x000000007f000000-0x000000007fdfffff] reserved",
            "modified: [mem 0x0000000100000000-0x000000013fffffff] usable",
            "modified: [mem 0x0000000140000000-0x000000014fffffff] reserved",
            "last_pfn = 0x140000 max_arch_pfn = 0x400000000",
            "last_pfn = 0x7f000 max_arch_pfn = 0x400000000",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), lines);
        let recorder = Recorder::of(|sink| map.describe(image, sink));
        assert_eq!(recorder.usable(), [(0x1000, 0x9_fc00), (0x10_0000, 0x7f00_0000), (4 * GIB, 5 * GIB)]);
        let lost = recorder.banks.iter().find(|bank| bank.source.table == Table::Mtrr).unwrap();
        assert_eq!((lost.kind, lost.range), (Reserved, range(0x7f00_0000, 0x7fe0_0000)));
    });
    // Where no RAM lies, the line alone.
    with(&[(0x10_0000, GIB, 1), (4 * GIB, GIB, 1)], |map, image| {
        let mut text = String::new();
        PcMap { mtrr: Some(&registers), ..map.into() }.print_uncached(image, &mut text).unwrap();
        assert_eq!(
            text,
            "e820: update [mem 0x7f000000-0xffffffff] usable ==> reserved\n\
             last_pfn = 0x40100 max_arch_pfn = 0x400000000\n"
        );
    });
}

#[test]
fn a_range_up_to_the_last_byte_prints_it() {
    let map = [(GIB, GIB, 1), (u64::MAX - 0xfff, 0x1000, 2)];
    assert!(printed(&map).contains("BIOS-e820: [mem 0xfffffffffffff000-0xffffffffffffffff] reserved\n"));
}
