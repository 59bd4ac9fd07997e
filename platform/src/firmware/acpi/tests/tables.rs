//! The way to the tables, and what is wrong with a table as a whole.

use super::*;
use mm::machine::Table as Name;

#[test]
fn a_pc_with_two_nodes() {
    let pc = describe_at(&PC);
    assert!(pc.warnings.is_empty());
    assert_eq!(pc.cpus.iter().map(|cpu| cpu.hardware_id).collect::<Vec<_>>(), [0, 1, 2, 3]);
    let domains: Vec<_> = pc.cpu_affinities.iter().map(|cpu| (cpu.hardware_id, cpu.domain)).collect();
    assert_eq!(domains, [(0, 0), (1, 0), (2, 1), (3, 1)]);
    assert_eq!(pc.nodes(), [(0, 0xa_0000, 0), (0x10_0000, 0x400_0000, 0), (0x400_0000, 0x800_0000, 1)]);
    assert_eq!(pc.matrix(), [(0, 0, 10), (0, 1, 21), (1, 0, 21), (1, 1, 10)]);
    let reserved: Vec<_> =
        pc.reserved().iter().map(|&(owner, start, end)| (owner.to_owned(), start, end - start)).collect();
    let table = |name: &str, start, size| (format!("ACPI table {name}"), start, size);
    assert_eq!(
        reserved,
        [
            table("RSDP", 0xf59d0, 20),
            table("RSDT", 0x7fe_1cec, 0x3c),
            table("FACP", 0x7fe_1a48, 0x74),
            table("DSDT", 0x7fe_0040, 6664),
            table("FACS", 0x7fe_0000, 64),
            table("APIC", 0x7fe_1abc, 0x90),
            table("HPET", 0x7fe_1b4c, 0x38),
            table("SRAT", 0x7fe_1b84, 0x110),
            table("SLIT", 0x7fe_1c94, 0x30),
            table("WAET", 0x7fe_1cc4, 0x28),
        ]
    );
}

#[test]
fn a_microvm_has_an_xsdt_only() {
    let microvm = describe_at(&MICROVM);
    assert!(microvm.warnings.is_empty(), "{:?}", microvm.warnings);
    assert_eq!(microvm.cpus.len(), 4);
    assert_eq!(microvm.reserved()[1].0, "ACPI table XSDT");
}

#[test]
fn a_wrong_checksum_costs_that_table_only() {
    let mut tables = PC_TABLES.to_vec();
    tables[0x1b84 + 100] ^= 4;
    let pc = describe_at(&[PC[0], (0x7fe_0000, &tables)]);
    assert_eq!(pc.warnings.len(), 1);
    assert_eq!(pc.warnings[0].to_string(), "SRAT: wrong checksum; table ignored");
    assert!(pc.affinities.is_empty() && pc.cpu_affinities.is_empty());
    assert_eq!((pc.cpus.len(), pc.distances.len()), (4, 4));
    assert!(pc.reserved().contains(&("ACPI table SRAT", 0x7fe_1b84, 0x7fe_1c94)), "it is still the firmware's");
}

#[test]
fn a_wrong_length_costs_that_table_only() {
    for length in [0u32, 35, 1 << 20 | 1, u32::MAX] {
        let mut tables = PC_TABLES.to_vec();
        tables[0x1b84 + 4..0x1b84 + 8].copy_from_slice(&length.to_le_bytes());
        let pc = describe_at(&[PC[0], (0x7fe_0000, &tables)]);
        assert_eq!(pc.warnings.len(), 1);
        assert_eq!(pc.warnings[0].source, Source::whole(Name::Srat));
        assert_eq!(pc.warnings[0].problem, Problem::Length { stated: length.into() });
        assert_eq!((pc.affinities.len(), pc.cpus.len()), (0, 4));
    }
    // A length that can be, but that reaches past what the firmware meant.
    let mut tables = PC_TABLES.to_vec();
    tables[0x1b84 + 4] += 8;
    let pc = describe_at(&[PC[0], (0x7fe_0000, &tables)]);
    assert_eq!(pc.problems(), [(None, Problem::Checksum)]);
}

#[test]
fn tables_that_are_not_there_are_told_by_their_place() {
    let mut machine = Machine::new(&[madt(&[apic(0, 1)]), slit(1, &[10])]);
    machine.tables.pop();
    let recorder = machine.describe();
    assert_eq!(recorder.warnings[0].source, Source::entry(Name::Xsdt, 1));
    assert!(matches!(recorder.warnings[0].problem, Problem::Unreadable(_)));
    assert_eq!(recorder.cpus.len(), 1);
    // And a list entry that points nowhere.
    let pointers = [at(0).to_le_bytes(), 0u64.to_le_bytes(), u64::MAX.to_le_bytes()].concat();
    machine.xsdt = table("XSDT", 1, &pointers);
    let recorder = machine.describe();
    assert_eq!((recorder.cpus.len(), recorder.warnings.len()), (1, 2));
    assert_eq!(recorder.problems()[0], (Some(1), Problem::Empty { start: 0 }));
}

#[test]
fn without_a_sound_xsdt_the_rsdt_is_used() {
    let mut machine = Machine::new(&[madt(&[apic(0, 1)])]);
    let rsdt = table("RSDT", 1, &(at(0) as u32).to_le_bytes());
    let rsdt_at = 0x18_0000;
    machine.rsdp = rsdp(rsdt_at, XSDT);
    let run = |machine: &Machine| {
        let mut pieces = machine.pieces();
        pieces.push((rsdt_at.into(), &rsdt));
        describe_at(&pieces)
    };
    let sound = run(&machine);
    assert_eq!((sound.cpus.len(), sound.warnings.len()), (1, 0));
    assert_eq!(sound.reserved()[1].0, "ACPI table XSDT");

    machine.xsdt[20] ^= 1;
    let damaged = run(&machine);
    assert_eq!(damaged.cpus.len(), 1);
    assert_eq!(damaged.reserved()[1].0, "ACPI table RSDT");
    assert_eq!(damaged.warnings[0].to_string(), "XSDT: wrong checksum; table ignored");

    machine.xsdt[20] ^= 1;
    machine.rsdp[25] ^= 1;
    let damaged = run(&machine);
    assert_eq!((damaged.cpus.len(), damaged.problems()), (1, vec![(None, Problem::Checksum)]));

    machine.rsdp = rsdp(rsdt_at, rsdt_at.into());
    let wrong = run(&machine);
    assert_eq!((wrong.cpus.len(), wrong.problems()), (1, vec![(None, Problem::Signature)]));
}

#[test]
fn a_root_pointer_that_is_none_leaves_nothing() {
    for (place, problem) in [(3, Problem::Signature), (10, Problem::Checksum)] {
        let mut bytes = PC_RSDP.to_vec();
        bytes[place] ^= 1;
        let recorder = describe_at(&[(0xf59d0, &bytes), PC[1]]);
        assert_eq!(recorder, Recorder { warnings: recorder.warnings.clone(), ..Recorder::default() });
        assert_eq!(recorder.problems(), [(None, problem)]);
    }
    let recorder = describe_at(&[(u64::MAX - 3, &[0; 4])]);
    assert!(matches!(recorder.problems()[..], [(None, Problem::Unreadable(_))]));
}

#[test]
fn the_root_pointer_is_found_in_the_bios_area() {
    with(&PC, |rsdp, image| assert_eq!(search_bios(image), Some(rsdp)));
    let bytes = rsdp(0, XSDT);
    let segment = 0x9fc0u16.to_le_bytes();
    with(&[(0x9fc10, &bytes), (0x40e, &segment)], |rsdp, image| assert_eq!(search_bios(image), Some(rsdp)));
    if cfg!(miri) {
        // To find nothing takes too long there.
        return;
    }
    with(&[(0x9fc18, &bytes), (0x40e, &segment)], |_, image| assert_eq!(search_bios(image), None));
    let mut bad = bytes.clone();
    bad[17] ^= 1;
    with(&[(0xf_0000, &bad)], |_, image| assert_eq!(search_bios(image), None));
}

#[test]
fn the_extended_data_area_is_searched_for_one_kib() {
    let bytes = rsdp(0, XSDT);
    for segment in [0x9fc0u16, 0x8000] {
        let (start, segment) = (u64::from(segment) << 4, segment.to_le_bytes());
        let found = |at: u64| {
            with(&[(at, &bytes), (RSDP, &bytes), (0x40e, &segment)], |_, image| search_bios(image))
                .map(PhysAddr::as_u64)
        };
        // Only the signature has to be within.
        for inside in [start, start + 0x3f0] {
            assert_eq!(found(inside), Some(inside));
        }
        for outside in [start - 16, start + 0x400, start + 0x410] {
            assert_eq!(found(outside), Some(RSDP), "{outside:#x}");
        }
    }
}

/// A machine whose FADT points to these bytes as its FACS.
fn with_facs<T>(facs: &[u8], run: impl FnOnce(&[Piece<'_>]) -> T) -> T {
    const FACS: u64 = 0x7_0040;
    let mut fadt = table("FACP", 1, &[0; 80]);
    fadt[36..40].copy_from_slice(&(FACS as u32).to_le_bytes());
    seal(&mut fadt, 9);
    let machine = Machine::new(&[fadt]);
    let mut pieces = machine.pieces();
    pieces.push((FACS, facs));
    run(&pieces)
}

#[test]
fn a_facs_of_a_length_that_cannot_be_is_told_and_not_held() {
    for length in [0_u32, 63, 64, 4096, 4097, u32::MAX] {
        let facs = [&b"FACS"[..], &length.to_le_bytes()].concat();
        let recorder = with_facs(&facs, describe_at);
        let held = recorder.reserved().into_iter().find(|&(owner, ..)| owner == "ACPI table FACS");
        if [64, 4096].contains(&length) {
            assert_eq!(held.map(|(_, start, end)| end - start), Some(length.into()));
            assert!(recorder.warnings.is_empty(), "{length}");
        } else {
            assert_eq!((held, recorder.problems()), (None, vec![(None, Problem::Length { stated: length.into() })]));
            assert_eq!(recorder.warnings[0].source, Source::whole(Name::Fadt));
        }
    }
}

#[test]
fn only_a_facs_is_listed_as_one() {
    let listed = |facs: &[u8]| {
        let mut text = String::new();
        with_facs(facs, |pieces| with(pieces, |rsdp, image| print_tables(rsdp, image, &mut text))).unwrap();
        text.lines().filter(|line| line.contains("FACS")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(listed(b"FACS\x40\0\0\0"), ["ACPI: FACS 0x0000000000070040 000040"]);
    assert!(listed(b"OEMX\x40\0\0\0").is_empty() && listed(b"FACS").is_empty());
}

#[test]
fn what_is_wrong_with_a_table_is_told_by_its_name() {
    for (signature, name) in [
        ("APIC", Name::Madt),
        ("SRAT", Name::Srat),
        ("SLIT", Name::Slit),
        ("FACP", Name::Fadt),
        ("IORT", Name::Iort),
        ("SPCR", Name::Spcr),
        ("GTDT", Name::Gtdt),
    ] {
        let mut damaged = table(signature, 1, &[0; 240]);
        damaged[9] ^= 1;
        let recorder = Machine::new(&[damaged]).describe();
        assert_eq!(recorder.problems(), [(None, Problem::Checksum)], "{signature}");
        assert_eq!(recorder.warnings[0].source, Source::whole(name));
    }
    // The two lists of tables, by an entry that leads nowhere.
    for (name, signature, pointer, rsdp) in
        [(Name::Xsdt, "XSDT", 8, rsdp(0, XSDT)), (Name::Rsdt, "RSDT", 4, rsdp(XSDT as u32, 0))]
    {
        let recorder = Machine { rsdp, xsdt: table(signature, 1, &vec![0; pointer]), tables: vec![] }.describe();
        assert_eq!(recorder.problems(), [(Some(0), Problem::Empty { start: 0 })]);
        assert_eq!(recorder.warnings[0].source, Source::entry(name, 0));
        assert_eq!(recorder.reservations[1].source, Source::whole(name));
    }
}

#[test]
fn tables_are_listed_as_linux_does() {
    let listed = |pieces: &[Piece<'_>]| {
        let mut text = String::new();
        with(pieces, |rsdp, image| print_tables(rsdp, image, &mut text)).unwrap();
        text
    };
    assert_eq!(
        listed(&PC),
        "\
ACPI: RSDP 0x00000000000F59D0 000014 (v00 BOCHS )
ACPI: RSDT 0x0000000007FE1CEC 00003C (v01 BOCHS  BXPC     00000001 BXPC 00000001)
ACPI: FACP 0x0000000007FE1A48 000074 (v01 BOCHS  BXPC     00000001 BXPC 00000001)
ACPI: DSDT 0x0000000007FE0040 001A08 (v01 BOCHS  BXPC     00000001 BXPC 00000001)
ACPI: FACS 0x0000000007FE0000 000040
ACPI: APIC 0x0000000007FE1ABC 000090 (v01 BOCHS  BXPC     00000001 BXPC 00000001)
ACPI: HPET 0x0000000007FE1B4C 000038 (v01 BOCHS  BXPC     00000001 BXPC 00000001)
ACPI: SRAT 0x0000000007FE1B84 000110 (v01 BOCHS  BXPC     00000001 BXPC 00000001)
ACPI: SLIT 0x0000000007FE1C94 000030 (v01 BOCHS  BXPC     00000001 BXPC 00000001)
ACPI: WAET 0x0000000007FE1CC4 000028 (v01 BOCHS  BXPC     00000001 BXPC 00000001)
"
    );
    // A root pointer of revision 2, a table that cannot be read, and names that cannot be printed.
    let mut odd = table("HMAT", 2, &[]);
    odd[10..28].copy_from_slice(b"A\0BCDE\x01\x80 \xff....\x05\0\0\0");
    let mut machine = Machine::new(&[odd, slit(0, &[])]);
    machine.tables.pop();
    let first = "ACPI: RSDP 0x00000000000E0000 000024 (v02 tables)\n";
    let xsdt = "ACPI: XSDT 0x0000000000100001 000034 (v01 xxxxxx xxxxxxxx 78787878 xxxx 78787878)\n";
    let hmat = "ACPI: HMAT 0x0000000000200003 000024 (v02 A      ?? ?.... 00000005 xxxx 78787878)\n";
    assert_eq!(listed(&machine.pieces()), [first, xsdt, hmat].concat());
    machine.rsdp[0] ^= 1;
    assert_eq!(listed(&machine.pieces()), "");
}

#[test]
fn sums_are_right_at_every_length() {
    let bytes: Vec<u8> = (0..600_u32).map(|n| (n * 167 + 13) as u8).collect();
    for length in 36..bytes.len() {
        let mut table = bytes[..length].to_vec();
        seal(&mut table, 9);
        let pieces = [(PhysAddr::new(0x1003), &table[..])];
        let verify = |image: &mut MemoryImage<'_>| table::verify(image, PhysAddr::new(0x1003), length as u32);
        assert_eq!(verify(&mut MemoryImage::new(&pieces)), Ok(()), "{length}");
        let mut wrong = table.clone();
        wrong[length - 1] ^= 0x10;
        let pieces = [(PhysAddr::new(0x1003), &wrong[..])];
        assert!(verify(&mut MemoryImage::new(&pieces)).is_err(), "{length}");
    }
}
