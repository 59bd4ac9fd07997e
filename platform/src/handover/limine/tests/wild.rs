//! Pointers and counts that lead nowhere: each is one warning, or the end with a sentence.

use super::*;
use crate::handover::MAX_RESERVED;

/// Who is wrong, and in what.
type Told = Vec<(Source, Problem)>;

/// What reading says, and what describing says beyond that.
fn warnings(model: &Model) -> (Told, Told) {
    let boot = model.read(None, &ACPI_TABLES).unwrap();
    let pairs = |warnings: &[mm::machine::Warning]| {
        warnings.iter().map(|warning| (warning.source, warning.problem)).collect::<Told>()
    };
    let read = pairs(&boot.warnings);
    let recorder = describe(&boot, Rules::X86, &model.pieces(&ACPI_TABLES));
    let all = pairs(&recorder.warnings);
    let (first, later) = all.split_at(read.len());
    assert_eq!(first, read);
    (read, later.to_vec())
}

fn unreadable(at: u64) -> Problem {
    Problem::Unreadable(PhysAddr::new(at))
}

#[test]
fn responses_that_are_not_there() {
    const NOWHERE: u64 = 0x5000_0000;
    for (asked, table) in [
        (Asked::Rsdp, Table::Rsdp),
        (Asked::CommandLine, Table::CommandLine),
        (Asked::Modules, Table::LimineModules),
        (Asked::EfiMemoryMap, Table::EfiMap),
        (Asked::EfiSystemTable, Table::EfiSystemTable),
    ] {
        for pointer in [HHDMS[0] + NOWHERE, NOWHERE] {
            let mut model = pc(HHDMS[0], Some(6));
            *model.slot(asked) = pointer;
            let (found, later) = warnings(&model);
            assert_eq!(found[0], (Source::whole(table), unreadable(NOWHERE + 8)));
            assert!(later.is_empty());
        }
    }
    for pointer in [HHDMS[0] + NOWHERE, u64::MAX, u64::MAX - 7, 1] {
        let mut model = pc(HHDMS[0], Some(6));
        *model.slot(Asked::MemoryMap) = pointer;
        assert_eq!(model.read(None, &[]).err(), Some(HandoverError::NoMemoryMap));
        *model.slot(Asked::Loader) = pointer;
        *model.slot(Asked::DeviceTree) = pointer;
        let left = model.left();
        assert_eq!(left.device_tree(&mut MemoryImage::new(&model.pieces(&[]))), None);
    }
}

#[test]
fn modules_that_cannot_be() {
    let mut model = pc(HHDMS[0], Some(6));
    model.modules(&[(0x1010_0000, 0), (u64::MAX - HHDMS[0] - 4, u64::MAX), (0x1010_0000, 0x1000)]);
    let module = |index| Source::entry(Table::LimineModules, index);
    let (found, later) = warnings(&model);
    assert_eq!(found[0], (module(0), Problem::Empty { start: HHDMS[0] + 0x1010_0000 }));
    assert!(matches!(found[1], (source, Problem::Wraps { size: u64::MAX, .. }) if source == module(1)));
    assert!(found.len() == 2 && later.is_empty());
    let boot = model.read(None, &[]).unwrap();
    assert_eq!(boot.initrd, None, "only the first module is an initial RAM disk");
    assert_eq!(boot.reserved.len(), 1);
    // More than are looked at, the last of which lead nowhere.
    model.modules(&[(0x1010_0000, 0x1000); 20]);
    let limit = MAX_RESERVED as u64 - 4;
    let too_many = (Source::whole(Table::LimineModules), Problem::TooMany { what: "boot modules", limit });
    assert_eq!(warnings(&model).0, [too_many]);
    let list = model.words(&[HHDMS[0] + 0x5000_0000, 0]);
    model.answer(Asked::Modules, &[2, list]);
    assert_eq!(warnings(&model).0, [(module(0), unreadable(0x5000_0008)), (module(1), Problem::Empty { start: 0 })]);
    model.answer(Asked::Modules, &[u64::MAX, 0]);
    assert_eq!(warnings(&model).0, [(too_many.0, Problem::TableIgnored("there is no list"))]);
}

#[test]
fn entries_that_cannot_be() {
    let mut model = pc(HHDMS[0], Some(6));
    model.map(&[
        (MIB, 0, USABLE),
        (u64::MAX - 10, 0x1000, USABLE),
        (MIB, 0x100_0000, USABLE),
        (0, u64::MAX, BAD + 100),
        (u64::MAX, 1, RESERVED),
    ]);
    let entry = |index| Source::entry(Table::LimineMap, index);
    let (found, later) = warnings(&model);
    assert!(found.is_empty());
    let start = u64::MAX - 10;
    assert_eq!(later[0], (entry(0), Problem::Empty { start: MIB }));
    assert_eq!(later[1], (entry(1), Problem::Wraps { start, size: 0x1000 }));
    assert!(later[2..].iter().all(|warning| warning.0 == entry(4)) && later.len() <= 3, "{later:?}");
    // Pointers into nothing, more than are named.
    let list = model.words(&[0x5000_0000; 20]);
    model.answer(Asked::MemoryMap, &[20, list]);
    let (_, later) = warnings(&model);
    assert_eq!(later.len(), 17);
    assert_eq!(later[0], (entry(0), unreadable(0x5000_0000)));
    assert_eq!(later[16].1, Problem::TooMany { what: "odd entries", limit: 16 });
    // A list that ends before its count does.
    model.answer(Asked::MemoryMap, &[u64::MAX, 0x5000_0000]);
    let (_, later) = warnings(&model);
    let whole = Source::whole(Table::LimineMap);
    assert_eq!(later[0], (whole, Problem::TooMany { what: "entries", limit: LimineMap::MAX_ENTRIES }));
    assert_eq!(later[1..], [(entry(0), unreadable(0x5000_0000))]);
}

#[test]
fn entries_come_in_any_order_and_any_number() {
    let mut model = pc(HHDMS[0], Some(2));
    // Pages that are free, listed from the last to the first; every other one is reserved again by unaligned bytes.
    let pages = (0..200).rev().map(|page| (MIB + page * 0x2000, 0x2000, USABLE));
    let holes = (0..200).map(|page| (MIB + page * 0x2000 + 0x1004, 8, if page % 2 == 0 { RESERVED } else { MAPPED }));
    let entries: Vec<_> = pages.chain(holes).collect();
    model.map(&entries);
    let boot = model.read(None, &[]).unwrap();
    let recorder = describe(&boot, Rules::Arm64, &model.pieces(&[]));
    assert!(recorder.warnings.iter().all(|warning| warning.source.table == Table::Rsdp));
    let usable = recorder.usable();
    assert_eq!(usable.len(), 201);
    assert_eq!(usable[..2], [(MIB, MIB + 0x1004), (MIB + 0x100c, MIB + 0x3004)]);
    assert!(recorder.banks.is_sorted_by_key(|bank| bank.range.start()));
}

#[test]
fn a_command_line_at_the_end_of_memory() {
    let mut model = pc(HHDMS[0], Some(6));
    model.answer(Asked::CommandLine, &[HHDMS[0] + 0x6000_0ff0]);
    let boot = model.read(None, &[(PhysAddr::new(0x6000_0ff0), b"to the last byte")]).unwrap();
    assert_eq!(boot.cmdline.as_str(), "to the last byte");
    assert_eq!(boot.warnings[0].problem, unreadable(0x6000_1000));
}

#[test]
fn as_many_entries_as_are_looked_at_are_not_too_many() {
    if cfg!(miri) {
        // It takes too long there.
        return;
    }
    let limit = LimineMap::MAX_ENTRIES;
    let too_many = (Source::whole(Table::LimineMap), Problem::TooMany { what: "entries", limit });
    for (count, told) in [(limit, vec![]), (limit + 1, vec![too_many])] {
        let mut model = Model::new(HHDMS[0], Some(6));
        model.map(&vec![(MIB, 0x1000, USABLE); count as usize]);
        model.table(Asked::Rsdp, RSDP, 4);
        assert_eq!(warnings(&model), (vec![], told), "{count}");
    }
}
