//! The names of kinds.

use super::*;
use crate::console::kind::Identity;
use std::collections::BTreeSet;

#[test]
fn each_compatible_string_is_of_one_kind() {
    let mut seen = BTreeSet::new();
    for kind in UartKind::all() {
        for declared in kind.profile().declared.iter().filter(|declared| !declared.compatible.is_empty()) {
            assert!(seen.insert(declared.compatible), "{}", declared.compatible);
            assert_eq!(UartKind::by_compatible(declared.compatible).map(|(kind, _)| kind), Some(kind));
        }
    }
    assert_eq!(UartKind::by_compatible("").map(|(kind, _)| kind), None);
    assert_eq!(UartKind::by_compatible("arm,primecell").map(|(kind, _)| kind), None);
}

#[test]
fn each_interface_of_spcr_is_of_one_kind() {
    for number in 0..=u8::MAX {
        let kinds = UartKind::all().filter(|kind| kind.profile().interfaces.contains(&number)).count();
        assert_eq!(usize::from(UartKind::by_interface(number).is_some()), kinds, "{number:#x}");
    }
}

#[test]
fn each_driver_is_found_by_its_name_and_takes_its_own_registers() {
    for kind in UartKind::all() {
        let profile = kind.profile();
        assert!(profile.harmless < profile.registers && profile.registers <= 0x400, "{kind:?}");
        assert!(profile.tty.starts_with("tty"));
        let first = profile.declared[0];
        let (found, _) = UartKind::by_earlycon(first.earlycon).unwrap();
        // An SBSA UART is a PL011 to a command line, which does not know better.
        let expected = if kind == UartKind::SbsaUart { UartKind::Pl011 } else { kind };
        assert_eq!(found, expected);
        let usual = ConsoleSpec::usual(kind, mm::addr::PhysAddr::new(0x1000_0040)).unwrap();
        assert!(usual.window.is_aligned(), "{kind:?}");
        let text = format!("{},0x10000040", first.earlycon);
        assert_eq!(ConsoleSpec::parse(&text), Ok(ConsoleSpec { kind: expected, ..usual }));
    }
}

#[test]
fn only_what_is_read_and_says_so_is_tried_unasked() {
    let stated: Vec<_> = UartKind::all().filter(|kind| kind.profile().identity == Identity::Stated).collect();
    assert!(stated.contains(&UartKind::Pl011) && !stated.contains(&UartKind::Ns16550));
    for kind in stated {
        let mut bus = ReadOnly;
        Uart::new(&ConsoleSpec { kind, ..COM1 }, &mut bus).probe();
    }
}

/// A bus on which nobody may write.
struct ReadOnly;

impl Registers for ReadOnly {
    fn read(&mut self, _: u32) -> u32 {
        0
    }
    fn write(&mut self, register: u32, value: u32) {
        panic!("{value:#x} written to register {register}");
    }
}
