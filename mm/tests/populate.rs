//! From the firmware's description to memblock: the kinds of maps that have broken real kernels.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail like tests")]

mod ram;

use mm::addr::{NodeId, PhysAddr, PhysRange};
use mm::arch::PhysMap;
use mm::machine::{
    Bank, Count, List, MachineMemory, MemoryKind, Owner, Problem, Purpose, RegionFlags, Reservation, Source, Table,
    Warning,
};
use mm::memblock::{Memblock, MemblockError, NodeWish, Request, Which};
use mm::resource::{Resource, ResourceKind, ResourceTree};
use mm::view::iomem::iomem;
use proptest::prelude::*;
use ram::{Access, Ram};

/// From a first to a last byte.
fn span(start: u64, last: u64) -> PhysRange {
    PhysRange::new(PhysAddr::new(start), PhysAddr::new(last + 1))
}

fn bank(start: u64, last: u64, kind: MemoryKind) -> Bank {
    Bank { range: span(start, last), kind, flags: RegionFlags::empty(), source: Source::entry(Table::E820, 0) }
}

fn held(start: u64, last: u64, table: Table, purpose: Purpose) -> Reservation {
    Reservation { range: span(start, last), owner: Owner::new("held"), purpose, source: Source::whole(table) }
}

/// Pours banks and reservations in, with `ram` as the mapped window.
fn populate<'r>(
    ram: &'r Ram,
    banks: &[Bank],
    reservations: &[Reservation],
) -> (Memblock<Access<'r>>, Result<(), MemblockError>, Vec<Warning>) {
    populate_within(ram, PhysRange::ALL, banks, reservations)
}

/// As [`populate`], with memory outside of `reach` taken away.
fn populate_within<'r>(
    ram: &'r Ram,
    reach: PhysRange,
    banks: &[Bank],
    reservations: &[Reservation],
) -> (Memblock<Access<'r>>, Result<(), MemblockError>, Vec<Warning>) {
    let mut storage = vec![None; banks.len()];
    let mut list = List::new(&mut storage);
    banks.iter().for_each(|bank| assert!(list.try_push(*bank).is_ok()));
    let mut held_storage = vec![None; reservations.len()];
    let mut held = List::new(&mut held_storage);
    reservations.iter().for_each(|reservation| assert!(held.try_push(*reservation).is_ok()));
    let machine = MachineMemory {
        banks: list,
        reservations: held,
        affinities: List::new(&mut []),
        cpus: List::new(&mut []),
        cpu_affinities: List::new(&mut []),
        distances: List::new(&mut []),
        ..MachineMemory::default()
    };
    let mut memblock = Memblock::new(ram.access());
    // SAFETY: the window is memory of this test alone.
    unsafe { memblock.set_mapped(ram.range()) };
    let mut warnings = Vec::new();
    let result = memblock.populate(&machine, &mut |warning| warnings.push(warning));
    let result = result.and_then(|()| memblock.limit(reach, &machine, &mut |warning| warnings.push(warning)));
    (memblock, result, warnings)
}

fn memory(memblock: &Memblock<Access<'_>>) -> Vec<PhysRange> {
    memblock.memory().iter().map(|region| region.range()).collect()
}

#[test]
fn what_is_needed_only_for_a_while_is_given_back() {
    let ram = Ram::new(0, 4096);
    let banks = [bank(0, 0xf_ffff, MemoryKind::Usable)];
    let services = |start, last| held(start, last, Table::EfiMap, Purpose::Temporary);
    let reservations = [
        services(0x1000, 0x4fff),
        held(0x2000, 0x2fff, Table::Acpi, Purpose::Held),
        held(0x8000, 0x8fff, Table::Acpi, Purpose::Held),
        services(0x7000, 0x9fff),
    ];
    let (mut memblock, result, warnings) = populate(&ram, &banks, &reservations);
    assert_eq!((result, warnings), (Ok(()), vec![]));
    assert_eq!(memblock.reserved_size(), 0x7000);
    // Somebody who stays may come later still, and over an edge.
    memblock.reserve(span(0x2800, 0x5fff), Owner::new("late")).unwrap();
    memblock.release_temporary();
    let reserved: Vec<_> = memblock.reserved().iter().map(|region| (region.range(), region.owner())).collect();
    let [held, late] = ["held", "late"].map(Owner::new);
    assert_eq!(reserved, [(span(0x2000, 0x2fff), held), (span(0x3000, 0x5fff), late), (span(0x8000, 0x8fff), held)]);
    memblock.release_temporary();
    assert_eq!(memblock.reserved_size(), 0x5000);
}

#[test]
fn who_must_have_low_memory_gets_some_of_what_is_given_back_later() {
    let ram = Ram::new(0, 4096);
    let banks = [bank(0, 0x9_ffff, MemoryKind::Usable), bank(0x8_0000, 0x8_ffff, MemoryKind::Reserved)];
    let services = |start, last| held(start, last, Table::EfiMap, Purpose::Temporary);
    let reservations = [
        services(0, 0x2fff),
        services(0x6_0000, 0x8_1fff),
        held(0x7_f000, 0x7_ffff, Table::Acpi, Purpose::Held),
        held(0x9_0000, 0x9_ffff, Table::Acpi, Purpose::Held),
    ];
    let (mut memblock, result, _) = populate(&ram, &banks, &reservations);
    result.unwrap();
    let request = |size, start, last| Request {
        size,
        align: 0x1000,
        within: span(start, last),
        node: NodeWish::Any,
        owner: Owner::new("late"),
    };
    let mut take = |request| memblock.alloc_temporary(request).map_err(|_| ());
    // What another holds already stays his, and so does what is no RAM.
    assert_eq!(take(request(0x1000, 0x1000, 0x9_ffff)), Ok(span(0x7_e000, 0x7_efff)));
    assert_eq!(take(request(0x2000, 0x1000, 0x9_ffff)), Ok(span(0x7_c000, 0x7_dfff)));
    assert_eq!(take(request(0x1000, 0x1000, 0x5_ffff)), Ok(span(0x2000, 0x2fff)));
    assert_eq!(take(request(0x2000, 0x1000, 0x5_ffff)), Err(()));
    assert_eq!(take(request(0x1000, 0x3000, 0x5_ffff)), Err(()));
    assert_eq!(take(request(0, 0x3000, 0x5_ffff)), Err(()));
    assert_eq!(take(Request { align: 0x3000, ..request(0x1000, 0, 0x9_ffff) }), Err(()));
    // It is as particular about nodes as other requests are.
    assert_eq!(take(Request { node: NodeWish::Only(NodeId::new(0)), ..request(0x1000, 0, 0x9_ffff) }), Err(()));
    // It stays when the rest goes.
    memblock.release_temporary();
    let late: Vec<_> = memblock.reserved().iter().filter(|region| region.owner() == Owner::new("late")).collect();
    let late: Vec<_> = late.iter().map(|region| region.range()).collect();
    assert_eq!(late, [span(0x2000, 0x2fff), span(0x7_c000, 0x7_efff)]);
}

#[test]
fn what_the_firmware_says_of_a_bank_stays_with_its_memory() {
    let ram = Ram::new(0, 4096);
    let mirrored = Bank { flags: RegionFlags::MIRROR, ..bank(0x1_0000, 0x1_ffff, MemoryKind::Usable) };
    let banks = [bank(0, 0xffff, MemoryKind::Usable), mirrored, bank(0x1_8000, 0x1_8fff, MemoryKind::Reserved)];
    let (memblock, _, _) = populate(&ram, &banks, &[]);
    let flagged: Vec<_> = memblock.memory().iter().map(|region| (region.range(), region.flags())).collect();
    assert_eq!(
        flagged,
        [
            (span(0, 0xffff), RegionFlags::empty()),
            (span(0x1_0000, 0x1_7fff), RegionFlags::MIRROR),
            (span(0x1_9000, 0x1_ffff), RegionFlags::MIRROR),
        ]
    );
}

#[test]
fn ragged_unsorted_and_repeated_banks() {
    use MemoryKind::{Reserved, Usable};
    let ram = Ram::new(0, 4096);
    let banks = [
        bank(0x6000_1800, 0x6640_17ff, Usable),
        bank(0x1000_0000, 0x1fff_ffff, Usable),
        bank(0x1000_0000, 0x1fff_ffff, Usable),
        bank(0x0800_0000, 0x17ff_ffff, Usable),
        bank(0x0900_0800, 0x0900_08ff, Reserved),
        bank(0x3000_0001, 0x3000_1ffe, Usable),
        Bank { range: PhysRange::EMPTY, kind: Usable, flags: RegionFlags::empty(), source: Source::whole(Table::E820) },
    ];
    let (memblock, result, warnings) = populate(&ram, &banks, &[]);
    result.unwrap();
    let expected = [
        span(0x0800_0000, 0x08ff_ffff),
        span(0x0900_1000, 0x1fff_ffff),
        // Linux, of an exactmap with these ends: 0x60002000-0x66400fff.
        span(0x6000_2000, 0x6640_0fff),
    ];
    assert_eq!(memory(&memblock), expected, "every page that is not whole goes");
    let problems: Vec<_> = warnings.iter().map(|warning| warning.problem).collect();
    let overlaps = [(0x1000_0000, 0x1fff_ffff), (0x1000_0000, 0x17ff_ffff), (0x0900_0800, 0x0900_08ff)];
    assert_eq!(problems, overlaps.map(|(start, last)| Problem::Overlaps(span(start, last))));
}

#[test]
fn reservations_keep_their_owner_and_no_map_keeps_whole_pages() {
    let ram = Ram::new(0, 4096);
    let banks = [bank(0, 0xf_ffff, MemoryKind::Usable)];
    let map = held(0x2010, 0x20ff, Table::ReservedMemory, Purpose::Held);
    let no_map = held(0x8010, 0x80ff, Table::ReservedMemory, Purpose::NoMap);
    let (memblock, result, warnings) = populate(&ram, &banks, &[map, no_map]);
    result.unwrap();
    assert!(warnings.is_empty());
    let reserved: Vec<_> = memblock.reserved().iter().map(|region| (region.range(), region.owner())).collect();
    assert_eq!(reserved, [(map.range, map.owner), (no_map.range, no_map.owner)]);
    let withheld: Vec<_> = memblock.memory().iter().filter(|region| region.flags() == RegionFlags::NOMAP).collect();
    assert_eq!(withheld.iter().map(|region| region.range()).collect::<Vec<_>>(), [span(0x8000, 0x8fff)]);
    let free: u64 = memblock.free_ranges().map(|free| free.range.size()).sum();
    assert_eq!(free, 0x10_0000 - 0xf0 - 0x1000);
}

/// A hypervisor's map may name more than the CPU's address bits or the direct map have room for.
#[test]
fn memory_out_of_reach_is_left_out_and_told() {
    let ram = Ram::new(0x10_0000, 0x1000);
    let reach = span(0x1000, (1 << 36) - 1);
    let banks = [
        bank(0, 0xffff, MemoryKind::Usable),
        bank((1 << 36) - 0x2000, (1 << 36) + 0xfff, MemoryKind::Usable),
        bank(1 << 40, (1 << 40) + 0xfff, MemoryKind::Usable),
        bank(1 << 41, (1 << 41) + 0xfff, MemoryKind::Reserved),
        // What another bank denies is not lost.
        bank(1 << 42, (1 << 42) + 0xfff, MemoryKind::Usable),
        bank(1 << 42, (1 << 42) + 0xfff, MemoryKind::Reserved),
    ];
    let (memblock, result, warnings) = populate_within(&ram, reach, &banks, &[]);
    result.unwrap();
    assert_eq!(memory(&memblock), [span(0x1000, 0xffff), span((1 << 36) - 0x2000, (1 << 36) - 1)]);
    let problems = warnings.iter().map(|warning| warning.problem);
    let lost: Vec<Problem> = problems.filter(|problem| matches!(problem, Problem::OutOfReach(_))).collect();
    assert_eq!(
        lost,
        [span(0, 0xfff), span(1 << 36, (1 << 36) + 0xfff), span(1 << 40, (1 << 40) + 0xfff)].map(Problem::OutOfReach)
    );
}

#[test]
fn a_reservation_that_cannot_be_there_is_told() {
    use Purpose::{Held, NoMap};
    let ram = Ram::new(0, 4096);
    let banks = [bank(0x10_0000, 0x1f_ffff, MemoryKind::Usable), bank(0x20_0000, 0x2f_ffff, MemoryKind::Reserved)];
    let across = (0x1f_f000, 0x20_0fff);
    let outside = (0x50_0000, 0x50_0fff);
    let cases = [
        (outside, Table::StartInfo, Held, true),
        (across, Table::DeviceTree, Held, true),
        (across, Table::ReservedMemory, Held, false),
        (outside, Table::ReservedMemory, Held, true),
        (outside, Table::ReserveMap, Held, true),
        (outside, Table::ReservedMemory, NoMap, false),
        (outside, Table::Acpi, Held, false),
        (across, Table::Architecture, Held, false),
    ];
    for ((start, last), table, map, told) in cases {
        let reservation = held(start, last, table, map);
        let (memblock, result, warnings) = populate(&ram, &banks, &[reservation]);
        result.unwrap();
        let expected =
            told.then_some(Warning { source: reservation.source, problem: Problem::NotRam(reservation.range) });
        assert_eq!(warnings, expected.into_iter().collect::<Vec<_>>(), "{table:?} {start:#x}");
        assert_eq!(memblock.reserved().first().unwrap().range(), reservation.range, "it is booked all the same");
    }
}

#[test]
fn the_image_is_ram_whatever_the_firmware_says() {
    let ram = Ram::new(0, 4096);
    let stated =
        |start, last, kind, entry| Bank { source: Source::entry(Table::E820, entry), ..bank(start, last, kind) };
    let banks =
        [stated(0x10_0000, 0x1f_ffff, MemoryKind::Usable, 0), stated(0x40_0000, 0x4f_ffff, MemoryKind::Reserved, 1)];
    let first = Bank { source: Source::whole(Table::CommandLine), ..bank(0x60_0000, 0x60_0fff, MemoryKind::Reserved) };
    let banks = [first, banks[0], banks[1]];
    let image = |parts: &[(u64, u64)]| {
        let parts: Vec<_> = parts.iter().map(|&(at, last)| held(at, last, Table::Kernel, Purpose::Held)).collect();
        let (memblock, result, warnings) = populate(&ram, &banks, &parts);
        result.unwrap();
        for part in &parts {
            let inside = memblock.memory().overlapping(part.range);
            assert_eq!(
                inside.iter().map(|region| region.range().intersection(part.range).size()).sum::<u64>(),
                part.range.size()
            );
        }
        let told = |warning: &Warning| match warning.problem {
            Problem::ImageNotRam(range) => (warning.source.table, warning.source.entry, range),
            other => panic!("{other:?}"),
        };
        warnings.iter().map(told).collect::<Vec<_>>()
    };
    assert_eq!(image(&[(0x10_0000, 0x10_0fff), (0x10_1000, 0x1f_ffff)]), []);
    // Parts that touch are one; who denies them is named.
    assert_eq!(
        image(&[(0x20_0000, 0x20_0fff), (0x20_1000, 0x20_2fff)]),
        [(Table::E820, None, span(0x20_0000, 0x20_2fff))]
    );
    assert_eq!(image(&[(0x1f_f000, 0x20_0fff)]), [(Table::E820, None, span(0x1f_f000, 0x20_0fff))]);
    let (reserved, lost) = (span(0x40_0000, 0x40_0fff), span(0x50_0000, 0x50_0fff));
    let expected = [(Table::E820, Some(1), reserved), (Table::E820, None, lost)];
    assert_eq!(image(&[(0x40_0000, 0x40_0fff), (0x50_0000, 0x50_0fff)]), expected);
    assert_eq!(image(&[(0x60_0000, 0x60_0fff)]), [(Table::CommandLine, None, span(0x60_0000, 0x60_0fff))]);
}

#[test]
fn the_image_stays_mapped() {
    let ram = Ram::new(0, 4096);
    let banks = [bank(0x10_0000, 0x1f_ffff, MemoryKind::Usable)];
    let image = held(0x11_0000, 0x11_ffff, Table::Kernel, Purpose::Held);
    let secure = held(0x10_8000, 0x11_07ff, Table::ReservedMemory, Purpose::NoMap);
    let (memblock, result, warnings) = populate(&ram, &banks, &[secure, image]);
    result.unwrap();
    let problem = Problem::ImageMapped(span(0x11_0000, 0x11_0fff));
    assert_eq!(warnings, [Warning { source: secure.source, problem }]);
    let withheld: Vec<_> = memblock.memory().iter().filter(|region| region.flags() == RegionFlags::NOMAP).collect();
    assert_eq!(withheld.iter().map(|region| region.range()).collect::<Vec<_>>(), [span(0x10_8000, 0x10_ffff)]);
}

/// Pours these in, in a mebibyte of RAM at 1 MiB, where arrays grow meanwhile: never into what a later entry withholds,
/// nor into a page that is not there as a whole.
fn grow_beside(banks: &[Bank], reservations: &[Reservation]) {
    let ram = Ram::new(0x10_0000, 0x10_0000);
    let size = ram.range().size() as usize;
    let first = ram.access().phys_ptr(ram.range().start());
    // SAFETY: the window's memory, which nobody else uses yet.
    unsafe { first.write_bytes(0xa5, size) };
    let (memblock, result, _) = populate(&ram, banks, reservations);
    result.unwrap();
    let tables: Vec<_> =
        memblock.reserved().iter().filter(|held| held.owner() == Owner::new("memblock regions")).collect();
    assert!(!tables.is_empty());
    for table in tables.iter().map(|table| table.range()) {
        let pages = table.expand_to(0x1000);
        let around = memblock.memory().overlapping(pages);
        assert!(around.iter().all(|region| !region.flags().contains(RegionFlags::NOMAP)), "{table:?}");
        let memory: u64 = around.iter().map(|region| region.range().intersection(pages).size()).sum();
        assert_eq!(memory, pages.size(), "{table:?}");
        assert!(reservations.iter().all(|held| !held.range.overlaps(table)), "{table:?}");
    }
    for held in reservations.iter().map(|held| held.range.intersection(ram.range())) {
        let (at, size) = (ram.access().phys_ptr(held.start()), held.size() as usize);
        // SAFETY: inside the window's memory; memblock has been told that it is somebody's.
        let bytes = unsafe { std::slice::from_raw_parts(at, size) };
        assert!(bytes.iter().all(|byte| *byte == 0xa5), "{held:?} was written to");
    }
    let booked = memblock.reserved().iter().filter(|region| region.owner() == Owner::new("held"));
    let asked: u64 = reservations.iter().map(|held| held.range.size()).sum();
    assert_eq!(booked.map(|region| region.range().size()).sum::<u64>(), asked);
}

#[test]
fn arrays_that_grow_meanwhile_keep_to_whole_pages_that_nobody_will_want() {
    use MemoryKind::{AcpiNvs, Usable};
    // So few that an array grows once and stays where it is, and so many that it moves on.
    for count in if cfg!(miri) { [70, 130] } else { [70, 600] } {
        let (mut banks, mut reservations) = (Vec::new(), Vec::new());
        for at in 0..count {
            // RAM far away, a hole of the firmware in the window, and somebody's bytes in the window.
            banks.push(bank(0x1_0000_0000 + at * 0x4000, 0x1_0000_0000 + at * 0x4000 + 0x1fff, Usable));
            let hole = 0x10_0000 + at * 0x400;
            banks.push(bank(hole, hole + 0xff, AcpiNvs));
            reservations.push(held(hole + 0x200, hole + 0x2ff, Table::ReserveMap, Purpose::Held));
        }
        // The window's upper end is clean but for what these say of it; the last entry is the last of all.
        let with = |window: &[Bank], last: &[Bank], reservation: &[Reservation]| {
            grow_beside(&[window, &banks, last].concat(), &[&reservations, reservation].concat());
        };
        let window = [bank(0x10_0000, 0x1f_ffff, Usable)];
        with(&window, &[], &[held(0x1d_0000, 0x1f_ffff, Table::Kernel, Purpose::Held)]);
        with(&window, &[], &[held(0x1d_0000, 0x1f_ffff, Table::EfiMap, Purpose::Temporary)]);
        with(&window, &[], &[held(0x1f_f480, 0x1f_ffff, Table::ReservedMemory, Purpose::NoMap)]);
        with(&window, &[bank(0x1f_f480, 0x1f_ffff, AcpiNvs)], &[]);
        with(&[bank(0x10_0000, 0x1f_f7ff, Usable)], &[], &[]);
        with(&[bank(0x10_0000, 0x1f_bfff, Usable), bank(0x1f_e800, 0x1f_ffff, Usable)], &[], &[]);
        // A page of two banks.
        with(&[bank(0x10_0000, 0x1f_e7ff, Usable), bank(0x1f_e800, 0x1f_efff, Usable)], &[], &[]);
    }
}

/// Ranges that are not mapped cut memory, while the last of all reservations is still to come.
#[test]
fn arrays_that_grow_for_what_is_not_mapped_keep_out_of_later_reservations() {
    let window = bank(0x10_0000, 0x1f_ffff, MemoryKind::Usable);
    let secure =
        |at: u64| held(0x10_0000 + at * 0x2000, 0x10_0fff + at * 0x2000, Table::ReservedMemory, Purpose::NoMap);
    let mut reservations: Vec<_> = (1..96).map(secure).collect();
    reservations.push(held(0x1d_0000, 0x1f_ffff, Table::Kernel, Purpose::Held));
    grow_beside(&[window], &reservations);
}

/// The map of a PC of 4 GiB, as `/proc/iomem` shows it on Linux, with the kernel and the low mebibyte held.
#[test]
fn address_space_reads_as_in_proc_iomem() {
    use MemoryKind::{Reserved, Usable};
    let ram = Ram::new(0, 4096);
    let banks = [
        bank(0, 0x9_fbff, Usable),
        bank(0x9_fc00, 0x9_ffff, Reserved),
        bank(0xf_0000, 0xf_ffff, Reserved),
        bank(0x10_0000, 0x7ffd_ffff, Usable),
        bank(0x7ffe_0000, 0x7fff_ffff, Reserved),
        bank(0x1_0000_0000, 0x1_7fff_ffff, Usable),
        Bank { source: Source::whole(Table::Architecture), ..bank(0, 0xfff, Reserved) },
    ];
    let low = held(0, 0xf_ffff, Table::Architecture, Purpose::Held);
    let mut storage = vec![None; banks.len()];
    let mut list = List::new(&mut storage);
    banks.iter().for_each(|bank| assert!(list.try_push(*bank).is_ok()));
    let machine = MachineMemory {
        banks: list,
        reservations: List::new(&mut []),
        affinities: List::new(&mut []),
        cpus: List::new(&mut []),
        cpu_affinities: List::new(&mut []),
        distances: List::new(&mut []),
        ..MachineMemory::default()
    };
    let (memblock, result, _) = populate(&ram, &banks, &[low]);
    result.unwrap();
    let mut tree = ResourceTree::new(vec![Resource::unused(); 32]);
    tree.describe(&machine, memblock.reserved()).unwrap();
    tree.insert(span(0x100_0000, 0x1ff_ffff), Owner::new("Kernel code"), ResourceKind::Kernel).unwrap();
    let mut text = String::new();
    iomem(&tree, &mut text).unwrap();
    let expected = "00000000-00000fff : Reserved\n  00000000-00000fff : held\n\
                    00001000-0009fbff : System RAM\n  00001000-0009fbff : held\n\
                    0009fc00-0009ffff : Reserved\n  0009fc00-0009ffff : held\n\
                    000f0000-000fffff : Reserved\n  000f0000-000fffff : held\n\
                    00100000-7ffdffff : System RAM\n  01000000-01ffffff : Kernel code\n\
                    7ffe0000-7fffffff : Reserved\n100000000-17fffffff : System RAM\n";
    assert_eq!(text, expected);
}

/// What a kernel sets aside for as many facts is enough, however many there are.
#[test]
fn working_memory_grows_with_the_description() {
    const ENTRIES: u64 = if cfg!(miri) { 600 } else { 20_000 };
    const MIB: u64 = 1 << 20;
    let start = 1 << 32;
    // Banks and reservations that never touch: each is a region of its own, at the far end of memory.
    let banks: Vec<Bank> = (0..ENTRIES).map(|n| bank(n << 16, (n << 16) + 0x8fff, MemoryKind::Usable)).collect();
    let held: Vec<Reservation> =
        (0..ENTRIES).map(|n| held(n << 16, (n << 16) + 0x7ff, Table::ReserveMap, Purpose::Held)).collect();
    let count = Count { banks: banks.len() + 1, reservations: held.len(), ..Count::default() };
    let ram = Ram::new(start, count.working_bytes().next_multiple_of(MIB));
    let window = bank(start, ram.range().last().as_u64(), MemoryKind::Usable);
    let (memblock, result, _) = populate(&ram, &[&[window], &banks[..]].concat(), &held);
    result.unwrap();
    assert_eq!(memblock.memory().len() as u64, ENTRIES + 1);
    let table = Owner::new("memblock regions");
    assert_eq!(memblock.reserved().iter().filter(|region| region.owner() != table).count() as u64, ENTRIES);
}

#[test]
fn too_many_entries_without_a_window_are_an_error_not_a_crash() {
    let ram = Ram::new(0x8_0000_0000, 4096);
    let banks: Vec<_> = (0..200).map(|at| bank(at * 0x2000, at * 0x2000 + 0xfff, MemoryKind::Usable)).collect();
    let (memblock, result, _) = populate(&ram, &banks, &[]);
    assert_eq!(result, Err(MemblockError::Full { table: Which::Memory, capacity: 128 }));
    assert_eq!(memblock.memory().len(), 128);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 300 }, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the order of banks, a page is memory if a usable bank or several together hold it whole and no other
    /// kind touches it.
    #[test]
    fn the_stricter_statement_holds_in_any_order(
        banks in proptest::collection::vec((0..40_000_u64, 1..20_000_u64, any::<bool>()), 1..if cfg!(miri) { 5 } else { 20 }),
        swaps in proptest::collection::vec((0..20_usize, 0..20_usize), 0..20),
    ) {
        let ram = Ram::new(1 << 40, 4096);
        let mut list: Vec<_> = banks.iter().map(|(start, size, usable)| {
            let kind = if *usable { MemoryKind::Usable } else { MemoryKind::Unusable };
            bank(*start, start + size - 1, kind)
        }).collect();
        let (first, result, _) = populate(&ram, &list, &[]);
        result.unwrap();
        for (a, b) in swaps {
            let count = list.len();
            list.swap(a % count, b % count);
        }
        let (second, result, _) = populate(&ram, &list, &[]);
        result.unwrap();
        prop_assert_eq!(memory(&first), memory(&second));
        // Byte by byte: whether a usable bank names it, and whether another one does.
        let mut bytes = vec![(false, false); 16 * 4096];
        for bank in &list {
            let (start, end) = (bank.range.start().as_u64() as usize, bank.range.end().as_u64() as usize);
            for byte in &mut bytes[start..end] {
                if bank.kind == MemoryKind::Usable { byte.0 = true } else { byte.1 = true }
            }
        }
        for (page, bytes) in bytes.chunks(4096).enumerate() {
            let whole = bytes.iter().all(|byte| *byte == (true, false));
            let found = first.memory().find(PhysAddr::new(page as u64 * 4096)).is_some();
            prop_assert_eq!(found, whole);
        }
    }
}
