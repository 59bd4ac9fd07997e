//! Where the registers of memory slots are.

use super::*;

/// The DSDT of a machine with four slots.
const DSDT: &[u8] = include_bytes!("../../../../testdata/q35-dimm-dsdt.bin");

/// A region of I/O ports from 0xa00 on, 24 of them, and four slots.
const REGION: &[u8] = b"\x5b\x80HPMR\x01\x0b\x00\x0a\x0a\x18";
const COUNT: &[u8] = b"\x08MDNR\x0a\x04";

const QEMU: MemorySlots = MemorySlots { base: 0xa00, count: 4 };

/// A machine with q35's FADT and this DSDT, and the SSDTs `more`.
fn machine(dsdt: &[u8], more: &[Vec<u8>]) -> Machine {
    let mut fadt = Q35_FADT.to_vec();
    let place = at(1 + more.len() as u64);
    fadt[40..44].copy_from_slice(&(place as u32).to_le_bytes());
    fadt[140..148].copy_from_slice(&place.to_le_bytes());
    seal(&mut fadt, 9);
    let mut machine = Machine::new(&[&[fadt], more].concat());
    machine.tables.push(dsdt.to_vec());
    machine
}

fn found(machine: &Machine) -> (Option<MemorySlots>, Vec<Warning>) {
    let mut warnings = Vec::new();
    let slots = with(&machine.pieces(), |rsdp, image| memory_slots(rsdp, image, &mut |it| warnings.push(it)));
    (slots, warnings)
}

/// What a DSDT of this code says, and why not.
fn said(code: &[u8]) -> (Option<MemorySlots>, Option<Problem>) {
    let (slots, warnings) = found(&machine(&table("DSDT", 2, code), &[]));
    assert!(warnings.len() <= 1, "{warnings:?}");
    (slots, warnings.first().map(|warning| warning.problem))
}

#[test]
fn qemu_says_where_its_registers_are() {
    assert_eq!(found(&machine(DSDT, &[])), (Some(QEMU), vec![]));
}

#[test]
fn a_machine_without_slots_has_no_registers() {
    for pieces in [&PC[..], &MICROVM] {
        let slots = with(pieces, |rsdp, image| memory_slots(rsdp, image, &mut |warning| panic!("{warning}")));
        assert_eq!(slots, None);
    }
    assert_eq!(said(b"HPMR MDNR"), (None, None));
    assert_eq!(said(COUNT), (None, None));
}

#[test]
fn an_ssdt_may_say_it_as_well() {
    let ssdt = table("SSDT", 1, &[COUNT, REGION].concat());
    let (slots, warnings) = found(&machine(&table("DSDT", 2, b""), &[table("SSDT", 1, b""), ssdt.clone()]));
    assert_eq!((slots, warnings), (Some(QEMU), vec![]));
    // Of two, the DSDT's; of a damaged one nothing.
    let other = [b"\x5b\x80HPMR\x01\x0b\x00\x0b\x0a\x18", COUNT].concat();
    let (slots, _) = found(&machine(&table("DSDT", 2, &other), core::slice::from_ref(&ssdt)));
    assert_eq!(slots, Some(MemorySlots { base: 0xb00, count: 4 }));
    let mut damaged = table("DSDT", 2, &other);
    *damaged.last_mut().unwrap() ^= 1;
    let (slots, warnings) = found(&machine(&damaged, &[ssdt]));
    assert_eq!(slots, Some(QEMU));
    assert_eq!(warnings.iter().map(|warning| warning.problem).collect::<Vec<_>>(), [Problem::Checksum]);
}

#[test]
fn integers_come_in_all_widths() {
    let counts: [(&[u8], u32); 5] =
        [(b"\x00", 0), (b"\x01", 1), (b"\x0b\x00\x01", 256), (b"\x0c\x02\0\0\0", 2), (b"\x0e\x03\0\0\0\0\0\0\0", 3)];
    for (number, count) in counts {
        let slots = said(&[REGION, b"\x08MDNR", number].concat());
        assert_eq!(slots, (Some(MemorySlots { base: 0xa00, count }), None));
    }
    let wide = said(&[COUNT, b"\x5b\x80HPMR\x01\x0c\xe8\xff\0\0\x0e\x18\0\0\0\0\0\0\0\0"].concat());
    assert_eq!(wide, (Some(MemorySlots { base: 0xffe8, count: 4 }), None));
}

#[test]
fn what_cannot_be_used_is_named() {
    let of_region = |region: &[u8]| said(&[region, COUNT].concat());
    // In memory, as on a machine without ports.
    let (slots, problem) = of_region(b"\x5b\x80HPMR\x00\x0c\0\0\x07\x09\x0a\x18");
    assert_eq!(
        (slots, problem),
        (None, Some(Problem::TableIgnored("registers of memory slots that are no I/O ports")))
    );
    let short = of_region(b"\x5b\x80HPMR\x01\x0b\x00\x0a\x0a\x17");
    assert_eq!(short, (None, Some(Problem::Value { what: "the length of the memory slots' registers", value: 0x17 })));
    for port in [0xffe9, 0x1_0000] {
        let region = [&b"\x5b\x80HPMR\x01\x0c"[..], &u32::to_le_bytes(port), b"\x0a\x18"].concat();
        let what = "the port of the memory slots' registers";
        assert_eq!(of_region(&region), (None, Some(Problem::Value { what, value: port.into() })));
    }
    assert_eq!(said(REGION), (None, Some(Problem::TableIgnored("memory slots without a number"))));
    let many = said(&[REGION, b"\x08MDNR\x0b\x01\x01"].concat());
    assert_eq!(many, (None, Some(Problem::TooMany { what: "memory slots", limit: 256 })));
    // Cut off in the middle of the region.
    assert_eq!(
        said(b"\x5b\x80HPMR\x01\x0b\x00"),
        (None, Some(Problem::Value { what: "the length of the memory slots' registers", value: 0 }))
    );
    assert_eq!(said(b"\x5b\x80HPMR\x01\xa4\x00\x0a\x0a\x18"), (None, None));
}

#[test]
fn no_damage_harms_the_reader() {
    let mut random = Random::new(0x0dd5_1075);
    let place = DSDT.windows(4).position(|name| name == b"HPMR").unwrap();
    for _ in 0..if cfg!(miri) { 20 } else { 2000 } {
        let mut dsdt = DSDT.to_vec();
        for _ in 0..=random.below(3) {
            // Around the region half of the time.
            let at = if random.below(2) == 0 { random.below(dsdt.len()) } else { place - 8 + random.below(96) };
            dsdt[at] = random.below(256) as u8;
        }
        if random.below(2) == 0 {
            seal(&mut dsdt, 9);
        }
        let (slots, _) = found(&machine(&dsdt, &[]));
        if let Some(slots) = slots {
            assert!(slots.base.checked_add(MemorySlots::LENGTH - 1).is_some() && slots.count <= 256);
        }
    }
}
