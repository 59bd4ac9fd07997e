//! How machines end.

use super::*;
use crate::power::{AcpiEnable, Off, Register, Reset};

fn power(pieces: &[Piece<'_>]) -> PowerOff {
    with(pieces, |rsdp, image| power_off(rsdp, image))
}

#[test]
fn a_pc_goes_off_by_pm1() {
    let enable = Some(AcpiEnable { port: 0xb2, value: 0xf1 });
    let off = Some(Off::Pm1 { a: Register::Io(0x604), sleep_type_a: 0, b: None, enable });
    assert_eq!(power(&PC), PowerOff { off, reset: None });
}

#[test]
fn a_microvm_goes_off_by_its_sleep_register() {
    let at = |address| Register::Memory(PhysAddr::new(address));
    let off = Some(Off::SleepControl { control: at(0xfea0_0200), sleep_type: 5 });
    assert_eq!(power(&MICROVM), PowerOff { off, reset: Some(Reset::Byte { register: at(0xfea0_0202), value: 0x42 }) });
}

/// A machine with q35's FADT, and a DSDT that holds `code`.
fn q35(code: &[u8]) -> PowerOff {
    let dsdt = table("DSDT", 2, code);
    let mut fadt = Q35_FADT.to_vec();
    fadt[40..44].copy_from_slice(&(at(1) as u32).to_le_bytes());
    fadt[140..148].copy_from_slice(&at(1).to_le_bytes());
    seal(&mut fadt, 9);
    let mut machine = Machine::new(&[fadt]);
    machine.tables.push(dsdt);
    power(&machine.pieces())
}

fn sleep_types(code: &[u8]) -> Option<u8> {
    match q35(code).off? {
        Off::Pm1 { sleep_type_a, .. } => Some(sleep_type_a),
        _ => panic!("not PM1"),
    }
}

#[test]
fn a_q35_resets_by_its_register() {
    let reset = Some(Reset::Byte { register: Register::Io(0xcf9), value: 0x0f });
    assert_eq!(q35(b"").reset, reset);
    assert_eq!(q35(b"").off, None);
}

#[test]
fn a_reset_register_counts_only_with_its_flag() {
    const RESET_SUPPORTED: u32 = 1 << 10;
    let reset = |flags: u32| {
        let mut fadt = Q35_FADT.to_vec();
        fadt[112..116].copy_from_slice(&flags.to_le_bytes());
        seal(&mut fadt, 9);
        power(&Machine::new(&[fadt]).pieces()).reset
    };
    let register = Some(Reset::Byte { register: Register::Io(0xcf9), value: 0x0f });
    for others in [0, !RESET_SUPPORTED] {
        assert_eq!(reset(others | RESET_SUPPORTED), register, "{others:#x}");
        assert_eq!(reset(others), None, "{others:#x}");
    }
}

#[test]
fn the_package_is_found_in_all_its_forms() {
    assert_eq!(sleep_types(b"\x08_S5_\x12\x06\x04\x00\x01\x00\x00"), Some(0));
    assert_eq!(sleep_types(b"\x08\\_S5_\x12\x08\x04\x0a\x07\x0a\x06\x00\x00"), Some(7));
    assert_eq!(sleep_types(b"\x08_S5_\x12\x46\x00\x04\x01\x01\x00\x00"), Some(1));
    assert_eq!(sleep_types(b"\x08_S5_\x12\x06\x02\x0b\x05\x00\x0c\x04\x00\x00\x00"), Some(5));
    assert_eq!(sleep_types(b"\x08_S5_\x12\x03\x01\x0a\x03"), Some(3));
    // Wherever blocks meet.
    for before in (200..300).step_by(if cfg!(miri) { 49 } else { 1 }) {
        let code = [&vec![0x5b; before][..], b"\x08_S5_\x12\x06\x04\x0a\x05\x0a\x05\x00\x00"].concat();
        assert_eq!(sleep_types(&code), Some(5), "after {before} bytes");
    }
}

/// Two blocks of registers, each of which wants the type that is its own.
#[test]
fn each_half_of_pm1_has_its_own_sleep_type() {
    let halves = |code: &[u8]| {
        let mut fadt = Q35_FADT.to_vec();
        fadt[40..44].copy_from_slice(&(at(1) as u32).to_le_bytes());
        fadt[140..148].copy_from_slice(&at(1).to_le_bytes());
        fadt[68..72].copy_from_slice(&0x704_u32.to_le_bytes());
        seal(&mut fadt, 9);
        let mut machine = Machine::new(&[fadt]);
        machine.tables.push(table("DSDT", 2, code));
        match power(&machine.pieces()).off? {
            Off::Pm1 { sleep_type_a, b, .. } => Some((sleep_type_a, b)),
            _ => panic!("not PM1"),
        }
    };
    let b = |sleep_type| Some((Register::Io(0x704), sleep_type));
    assert_eq!(halves(b"\x08_S5_\x12\x06\x04\x0a\x05\x0a\x06\x00\x00"), Some((5, b(6))));
    assert_eq!(halves(b"\x08_S5_\x12\x05\x02\x0a\x05\x0a\x06"), Some((5, b(6))));
    // A package of one element, whatever follows it.
    assert_eq!(halves(b"\x08_S5_\x12\x03\x01\x0a\x05\x0a\x06"), Some((5, b(0))));
    // The second element cannot be.
    assert_eq!(halves(b"\x08_S5_\x12\x05\x02\x0a\x05\x0a\x08"), None);
}

#[test]
fn what_only_looks_like_the_package_is_not_taken() {
    for code in [
        &b"_S5_\x12\x06\x04\x00\x00"[..],
        b"\x07_S5_\x12\x06\x04\x00\x00",
        b"\x08_S5_\x10\x06\x04\x00\x00",
        b"\x08_S5_\x12\x06\x00\x00\x00",
        b"\x08_S5_\x12\x06\x04\x0a\x08\x00",
        b"\x08_S5_\x12\x06\x04\x0b\x05\x01\x00",
        b"\x08_S5_\x12\x06\x04\xff\xff",
        b"\x08_S5_",
    ] {
        assert_eq!(sleep_types(code), None, "{code:x?}");
    }
    // The first is a call, the second the definition.
    assert_eq!(sleep_types(b"\x70_S5_\x00\x08_S5_\x12\x06\x04\x0a\x05\x00\x00"), Some(5));
}

#[test]
fn a_damaged_dsdt_is_not_used() {
    let mut tables = PC_TABLES.to_vec();
    tables[0x100] ^= 1;
    assert_eq!(power(&[PC[0], (0x7fe_0000, &tables)]).off, None);
    let mut fadt = table("FACP", 1, &[0; 10]);
    assert_eq!(power(&Machine::new(&[fadt.clone()]).pieces()), PowerOff::UNKNOWN);
    fadt[9] ^= 1;
    assert_eq!(power(&Machine::new(&[fadt]).pieces()), PowerOff::UNKNOWN);
    assert_eq!(power(&[(RSDP, &[0; 36])]), PowerOff::UNKNOWN);
}

#[test]
fn what_is_known_stands_before_what_is_assumed() {
    let assumed = PowerOff { off: Some(Off::Psci(crate::power::Conduit::Hvc)), reset: None };
    assert_eq!(PowerOff::UNKNOWN.or(assumed), assumed);
    assert_eq!(power(&PC).or(assumed), power(&PC));
    assert_eq!(Off::pm1_value(5), 5 << 10);
    assert_eq!(Off::sleep_control_value(5), 0x34);
}
