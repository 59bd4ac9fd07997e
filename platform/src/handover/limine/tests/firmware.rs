//! EFI's map, a device tree, ACPI, and the loader's own map beside each other.

use super::*;
use crate::firmware::e820::FirmwareMap;
use crate::firmware::fdt::tests::Builder;

const VIRT: &[u8] = include_bytes!("../../../../testdata/virt-numa.dtb");
const TREE: u64 = 0x1f80_0000;

const CONVENTIONAL: u32 = 7;
const BOOT_DATA: u32 = 4;
const LOADER_DATA: u32 = 2;
const RUNTIME_DATA: u32 = 6;
const WB: u64 = 8;

/// EFI's map of a machine with 512 MiB from 0 on. The loader's pool is Loader Data.
const EFI: [(u32, u64, u64, u64); 6] = [
    (CONVENTIONAL, 0, 0xa0, WB),
    (BOOT_DATA, 0x10_0000, 0x700, WB),
    (CONVENTIONAL, 0x80_0000, 0x1_e800, WB),
    (LOADER_DATA, POOL, POOL_SIZE >> 12, WB),
    (CONVENTIONAL, POOL + POOL_SIZE, 0xe00, WB),
    (RUNTIME_DATA, 0x1ff0_0000, 0x100, WB | 1 << 63),
];

/// The same as the loader has it.
const OWN: [(u64, u64, u64); 6] = [
    (0, 0xa_0000, USABLE),
    (0x10_0000, 0x70_0000, RECLAIMABLE),
    (0x80_0000, 0x1e80_0000, USABLE),
    (POOL, POOL_SIZE, RECLAIMABLE),
    (POOL + POOL_SIZE, 0xe0_0000, USABLE),
    (0x1ff0_0000, 0x10_0000, RESERVED),
];

fn uefi() -> Model {
    let mut model = Model::new(HHDMS[0], Some(6));
    model.map(&OWN);
    model.efi_map(&EFI);
    model
}

/// Answers that there is a device tree at [`TREE`].
fn with_tree(mut model: Model) -> Model {
    model.answer(Asked::DeviceTree, &[HHDMS[0] + TREE]);
    model
}

#[test]
fn efis_map_is_a_pcs_and_the_loader_keeps_its_own() {
    let mut model = uefi();
    // A module in reclaimable memory outlives it.
    model.modules(&[(POOL + 0x8_0000, 0x3000)]);
    let boot = model.read(None, &[]).unwrap();
    assert!(matches!(boot.pc_map().unwrap().firmware, FirmwareMap::Efi(map) if map.stride == 48 && map.version == 1));
    let recorder = describe(&boot, Rules::X86, &model.pieces(&[]));
    assert!(recorder.warnings.is_empty(), "{:?}", recorder.warnings);
    assert_eq!(recorder.usable(), [(0x1000, 0xa_0000), (MIB, 0x1ff0_0000)]);
    assert!(recorder.banks.iter().all(|bank| matches!(bank.source.table, Table::EfiMap | Table::Architecture)));
    let temporary = |start, size| ("boot loader", range(start, size), Purpose::Temporary);
    assert_eq!(
        held(&recorder),
        [
            ("initrd", range(POOL + 0x8_0000, 0x3000), Purpose::Held),
            temporary(MIB, 0x70_0000),
            temporary(POOL, POOL_SIZE),
        ]
    );
    let services = recorder.reservations.iter().find(|held| held.owner.as_str() == "EFI boot services").unwrap();
    assert_eq!((services.range, services.purpose), (range(MIB, 0x70_0000), Purpose::Temporary));
}

#[test]
fn efis_lines_come_when_they_are_asked_for() {
    let vendor: Vec<u8> = "EDK II\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut table = 0x5453_5953_2049_4249_u64.to_le_bytes().to_vec();
    table.extend(0x2_0046_u32.to_le_bytes());
    table.resize(24, 0);
    table.extend(0x1fe0_1000_u64.to_le_bytes());
    table.resize(104, 0);
    table.extend([2_u64, 0x1fe0_2000].map(u64::to_le_bytes).concat());
    // ACPI's root pointer by its GUID, 8868e871-e4f1-11d3-bc22-0080c73c8881, behind a table that nobody knows.
    let mut list = vec![0x55; 24];
    list.extend([0x71, 0xe8, 0x68, 0x88, 0xf1, 0xe4, 0xd3, 0x11, 0xbc, 0x22, 0x00, 0x80, 0xc7, 0x3c, 0x88, 0x81]);
    list.extend(RSDP.to_le_bytes());
    let at = PhysAddr::new;
    let others = [(at(0x1fe0_0000), &table[..]), (at(0x1fe0_1000), &vendor), (at(0x1fe0_2000), &list)];
    let lines = |rules, cmdline: &str| {
        let mut model = uefi();
        model.table(Asked::EfiSystemTable, 0x1fe0_0000, 5);
        model.command_line(cmdline);
        let boot = model.read(None, &others).unwrap();
        assert_eq!(boot.rsdp, Some(PhysAddr::new(RSDP)), "from EFI's list, where the loader says nothing");
        let mut text = String::new();
        let pieces = model.pieces(&others);
        boot.print_efi(rules, &mut MemoryImage::new(&pieces), &mut text).unwrap();
        boot.print_mirrored(&mut MemoryImage::new(&pieces), &mut text).unwrap();
        text
    };
    for cmdline in ["", "efi=nosoftreserve", "efi"] {
        assert_eq!(lines(Rules::X86, cmdline), "efi: EFI v2.70 by EDK II\n");
    }
    let shown = lines(Rules::X86, "efi=nosoftreserve,debug");
    assert_eq!(shown.lines().count(), 1 + EFI.len());
    assert!(shown.lines().nth(1).unwrap().starts_with("efi: mem00: [Conventional|"));
    let shown = lines(Rules::Arm64, "efi=debug");
    assert_eq!(shown.lines().nth(1), Some("efi: Processing EFI memory map:"));
    // A table that is none is one warning.
    let mut model = uefi();
    model.table(Asked::EfiSystemTable, 0x1fe0_1000, 5);
    let boot = model.read(None, &[(at(0x1fe0_1000), &[0; 200])]).unwrap();
    assert!(boot.efi.is_none() && boot.rsdp.is_none());
    assert_eq!(boot.warnings[0].source, Source::whole(Table::EfiSystemTable));
}

#[test]
fn under_efi_a_device_tree_only_gives_nodes() {
    let model = with_tree(uefi());
    let left = model.left();
    let pieces = model.pieces(&[]);
    assert_eq!(left.device_tree(&mut MemoryImage::new(&pieces)), Some(PhysAddr::new(TREE)));
    let mut tree = VIRT.to_vec();
    let alone = {
        let boot = crate::handover::image::read(PhysAddr::new(TREE), &mut tree).unwrap();
        describe(&boot, Rules::Arm64, &[])
    };
    let boot = model.read(Some(&mut tree), &[]).unwrap();
    assert!(matches!(boot.map, MemoryMapSource::Efi(_)) && boot.loader_map.is_some());
    let recorder = describe(&boot, Rules::Arm64, &pieces);
    assert!(recorder.banks.iter().all(|bank| bank.source.table == Table::EfiMap));
    let usable: Vec<_> = EFI.iter().map(|&(_, start, pages, _)| (start, start + (pages << 12))).collect();
    assert_eq!(recorder.usable(), usable);
    assert_eq!(
        (recorder.affinities, recorder.cpus, recorder.distances),
        (alone.affinities, alone.cpus, alone.distances)
    );
    let size = VIRT.len() as u64;
    assert_eq!(boot.dtb, Some(range(TREE, size)));
    assert!(recorder.reservations.contains(&Reservation {
        range: range(TREE, size),
        owner: mm::machine::Owner::new("device tree"),
        purpose: Purpose::Held,
        source: Source::whole(Table::DeviceTree),
    }));
    // Runtime services stay out of every mapping, boot services are RAM at once.
    let no_map: Vec<_> = recorder.reservations.iter().filter(|held| held.purpose == Purpose::NoMap).collect();
    assert_eq!(no_map.len(), 1);
    assert_eq!(no_map[0].range, range(0x1ff0_0000, 0x10_0000));
}

/// On arm64 the memory of boot services is free at once: the loader's own and what somebody still needs is all that is
/// held.
#[test]
fn on_arm64_only_the_loaders_own_is_held() {
    let mut model = uefi();
    // A module in the memory of boot services.
    model.modules(&[(2 * MIB, 0x3000)]);
    let boot = model.read(None, &[]).unwrap();
    let recorder = describe(&boot, Rules::Arm64, &model.pieces(&[]));
    assert_eq!(
        held(&recorder),
        [
            ("initrd", range(2 * MIB, 0x3000), Purpose::Held),
            ("boot loader", range(POOL, POOL_SIZE), Purpose::Temporary),
        ]
    );
    assert!(recorder.warnings.is_empty(), "{:?}", recorder.warnings);
}

/// Of each reclaimable page: it is held where EFI names it, and not as boot services'. A loader may have taken what EFI
/// still calls free.
#[test]
fn what_boot_services_do_not_have_is_held() {
    const PAGES: u64 = 200;
    let start = |page: u64| 0x100_0000 + 2 * page * 0x1000;
    // Loader code and data, boot services, free, and a gap.
    let kinds = [Some(1), Some(LOADER_DATA), Some(3), Some(BOOT_DATA), Some(CONVENTIONAL), None];
    let kind = |page: u64| kinds[page as usize % kinds.len()];
    let mut model = Model::new(HHDMS[0], Some(6));
    let mut own = vec![(POOL, POOL_SIZE, RECLAIMABLE)];
    own.extend((0..PAGES).map(|page| (start(page), 0x1000, RECLAIMABLE)));
    model.map(&own);
    let mut descriptors = vec![(LOADER_DATA, POOL, POOL_SIZE >> 12, WB)];
    descriptors.extend((0..PAGES).filter_map(|page| Some((kind(page)?, start(page), 1, WB))));
    model.efi_map(&descriptors);
    let boot = model.read(None, &[]).unwrap();
    let recorder = describe(&boot, Rules::Arm64, &model.pieces(&[]));
    let mut found: Vec<_> = held(&recorder).into_iter().map(|(_, range, _)| range).collect();
    found.sort_by_key(|range| range.start());
    let is_held = |page: &u64| kind(*page).is_some_and(|kind| !matches!(kind, 3 | BOOT_DATA));
    let expected = (0..PAGES).filter(is_held).map(|page| range(start(page), 0x1000));
    assert_eq!(found, expected.chain([range(POOL, POOL_SIZE)]).collect::<Vec<_>>());
    // A PC holds all of it, and so does whoever has no map of EFI's.
    assert_eq!(held(&describe(&boot, Rules::X86, &model.pieces(&[]))).len() as u64, PAGES + 1);
    model.silence(Asked::EfiMemoryMap);
    let boot = model.read(None, &[]).unwrap();
    assert_eq!(held(&describe(&boot, Rules::Arm64, &model.pieces(&[]))).len() as u64, PAGES + 1);
}

/// `acpi=` and how much the tree says decide.
#[test]
fn acpi_or_the_tree_never_both() {
    let stub = Builder::root(2, 2).node("chosen", &[("bootargs", b"of the tree\0")]).done();
    let xen = Builder::root(2, 2).node("chosen", &[]).node("hypervisor", &[("compatible", b"xen,xen\0")]).done();
    let other = Builder::root(2, 2).node("hypervisor", &[("compatible", b"other\0")]).done();
    let cpus = |tree: Option<&[u8]>, cmdline: &str| {
        let mut model = uefi();
        if tree.is_some() {
            model = with_tree(model);
        }
        model.table(Asked::Rsdp, RSDP, 4);
        model.command_line(cmdline);
        let mut tree = tree.map(<[u8]>::to_vec);
        let boot = model.read(tree.as_deref_mut(), &ACPI_TABLES).unwrap();
        let recorder = describe(&boot, Rules::Arm64, &model.pieces(&ACPI_TABLES));
        assert!(recorder.warnings.is_empty(), "{:?}", recorder.warnings);
        let tables: Vec<_> = recorder.cpus.iter().map(|cpu| cpu.source.table).collect();
        let nodes: Vec<_> = recorder.affinities.iter().map(|affinity| affinity.source.table).collect();
        assert_eq!(tables.is_empty(), nodes.is_empty());
        assert!(
            recorder.distances.iter().all(|distance| distance.source.table != Table::DistanceMap)
                || tables.contains(&Table::CpuNode)
        );
        tables.first().copied()
    };
    assert_eq!(cpus(None, ""), Some(Table::Madt));
    assert_eq!(cpus(None, "acpi=off"), None);
    assert_eq!(cpus(Some(VIRT), ""), Some(Table::CpuNode));
    assert_eq!(cpus(Some(VIRT), "acpi=off"), Some(Table::CpuNode));
    assert_eq!(cpus(Some(VIRT), "acpi=on"), Some(Table::Madt));
    assert_eq!(cpus(Some(VIRT), "acpi=force"), Some(Table::Madt));
    for stub in [&stub, &xen] {
        assert_eq!(cpus(Some(stub), ""), Some(Table::Madt));
        assert_eq!(cpus(Some(stub), "acpi=off"), None);
    }
    assert_eq!(cpus(Some(&other), ""), None);
}

#[test]
fn tables_that_lead_nowhere_leave_it_to_the_tree() {
    let mut model = with_tree(uefi());
    model.table(Asked::Rsdp, RSDP, 4);
    model.command_line("acpi=force");
    let mut tree = VIRT.to_vec();
    let boot = model.read(Some(&mut tree), &[]).unwrap();
    assert_eq!(boot.rsdp, None);
    assert_eq!(boot.warnings[0].source, Source::whole(Table::Rsdp));
    let mut damaged = VIRT.to_vec();
    damaged[0] = 0;
    assert!(matches!(model.read(Some(&mut damaged), &[]), Err(HandoverError::DeviceTree(_))));
    let boot = model.read(Some(&mut damaged), &ACPI_TABLES).unwrap();
    assert!(boot.tree.is_none() && boot.dtb.is_none());
    assert_eq!(boot.acpi(), Some(PhysAddr::new(RSDP)));
    assert_eq!(boot.warnings[0].source, Source::whole(Table::DeviceTree));
}

#[test]
fn without_efi_the_tree_says_where_memory_is_or_else_the_loader() {
    let mut model = with_tree(uefi());
    model.silence(Asked::EfiMemoryMap);
    let mut tree = VIRT.to_vec();
    let boot = model.read(Some(&mut tree), &[]).unwrap();
    assert!(matches!(boot.map, MemoryMapSource::DeviceTree) && boot.loader_map.is_some());
    let recorder = describe(&boot, Rules::Arm64, &model.pieces(&[]));
    assert!(recorder.banks.iter().all(|bank| bank.source.table == Table::MemoryNode) && !recorder.banks.is_empty());
    assert_eq!(held(&recorder).iter().filter(|held| held.2 == Purpose::Temporary).count(), 2);
    // A loader takes the memory nodes away.
    let mut bare = VIRT.to_vec();
    while let Some(at) = bare.windows(7).position(|window| window == b"memory\0") {
        bare[at] = b'x';
    }
    let boot = model.read(Some(&mut bare), &[]).unwrap();
    assert!(matches!(boot.map, MemoryMapSource::Limine(_)));
    let recorder = describe(&boot, Rules::Arm64, &model.pieces(&[]));
    assert_eq!(recorder.usable(), [(0, 0xa_0000), (MIB, 0x1ff0_0000)]);
    assert_eq!(recorder.cpus.len(), 4);
    // And a loader of which nothing else is known.
    model.silence(Asked::MemoryMap);
    assert_eq!(model.read(Some(&mut bare), &[]).err(), Some(HandoverError::NoMemoryMap));
    let boot = model.read(Some(&mut tree), &[]).unwrap();
    assert!(matches!(boot.map, MemoryMapSource::DeviceTree) && boot.loader_map.is_none());
}

#[test]
fn the_trees_command_line_counts_where_the_loader_has_none() {
    let tree = Builder::root(2, 2).node("chosen", &[("bootargs", b"of the tree\0")]).done();
    let mut model = with_tree(uefi());
    let mut bytes = tree.clone();
    assert_eq!(model.read(Some(&mut bytes), &[]).unwrap().cmdline.as_str(), "of the tree");
    model.command_line("of the loader");
    assert_eq!(model.read(Some(&mut bytes), &[]).unwrap().cmdline.as_str(), "of the loader");
}

#[test]
fn an_efi_map_without_memory_is_none() {
    for descriptors in [&[][..], &[(RUNTIME_DATA, 0, 1, WB)], &[(CONVENTIONAL, 0, 0, WB)]] {
        let mut model = uefi();
        model.efi_map(descriptors);
        let boot = model.read(None, &[]).unwrap();
        assert!(matches!(boot.map, MemoryMapSource::Limine(_)));
        assert_eq!(boot.warnings[0].source, Source::whole(Table::EfiMap));
    }
}
