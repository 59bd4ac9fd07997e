use super::*;
use crate::board::{self, BOARDS, PC, UNKNOWN, VIRT};
use crate::cmdline::Cmdline;
use crate::console::spec::{SpecError, choose};
use mm::addr::PhysAddr;

fn mmio(kind: UartKind, base: u64, shift: u8, width: Width) -> ConsoleSpec {
    let window = Window::Mmio { base: PhysAddr::new(base), shift, width };
    ConsoleSpec { kind, window, baud: None, clock: None }
}

#[test]
fn the_forms_of_earlycon() {
    let at = |text| ConsoleSpec::parse(text).unwrap();
    assert_eq!(at("pl011,0x9000000"), PL011);
    assert_eq!(at("pl011,mmio32,0x9000000"), PL011);
    assert_eq!(at("pl011,mmio,0x9000000,115200n8"), ConsoleSpec { baud: Some(115_200), ..PL011 });
    assert_eq!(at("uart8250,io,0x3f8"), COM1);
    assert_eq!(at("uart8250,io,1016,9600n8"), ConsoleSpec { baud: Some(9600), ..COM1 });
    assert_eq!(at("uart8250,mmio32,0xfe215040"), mmio(UartKind::Ns16550, 0xfe21_5040, 2, Width::Bits32));
    assert_eq!(at("uart8250,mmio16,0x10"), mmio(UartKind::Ns16550, 0x10, 1, Width::Bits16));
    assert_eq!(at("uart8250,mmio,0x10000000"), mmio(UartKind::Ns16550, 0x1000_0000, 0, Width::Bits8));
    assert_eq!(at("uart8250,mmio32be,0x1000"), mmio(UartKind::Ns16550, 0x1000, 2, Width::Bits32Big));
    assert_eq!(at("omap8250,0x2800000"), mmio(UartKind::Ns16550, 0x280_0000, 2, Width::Bits8));
    assert_eq!(
        at("cdns,0xff000000,115200"),
        ConsoleSpec { baud: Some(115_200), ..mmio(UartKind::Cadence, 0xff00_0000, 2, Width::Bits32) }
    );
    assert_eq!(at("ns16550a,0x10000000"), mmio(UartKind::Ns16550, 0x1000_0000, 0, Width::Bits8));
}

#[test]
fn what_cannot_be_understood_is_told_by_part() {
    for (text, error) in [
        ("", SpecError::Address),
        ("pl011", SpecError::Address),
        ("pl011,", SpecError::Address),
        ("pl011,0x", SpecError::Address),
        ("pl011,0x+5", SpecError::Address),
        ("pl011,-5", SpecError::Address),
        ("pl011,0x10000000000000000", SpecError::Address),
        ("uart8250,io,0x10000", SpecError::Address),
        ("uart8250,io", SpecError::Address),
        ("pl011,mmio16,0x1000", SpecError::Layout),
        ("uart8250,mmio8,0x1000", SpecError::Layout),
        ("pl011,io,0x3f8", SpecError::Layout),
        ("uartlite,0x1000", SpecError::Driver),
    ] {
        assert_eq!(ConsoleSpec::parse(text), Err(error), "{text}");
        assert!(!error.to_string().is_empty());
    }
}

fn chosen(text: &str, tree: Option<ConsoleSpec>, board: &board::Board) -> (Vec<ConsoleSpec>, Vec<String>) {
    let mut rejected = Vec::new();
    let candidates = choose(&Cmdline::new(text), tree, board, &mut |text, _| rejected.push(text.to_owned()));
    (candidates.to_vec(), rejected)
}

#[test]
fn without_a_word_the_tree_and_then_the_board_say() {
    let tree = mmio(UartKind::Ns16550, 0x10, 0, Width::Bits8);
    assert_eq!(chosen("", Some(tree), &VIRT).0, [tree, PL011]);
    assert_eq!(chosen("", Some(PL011), &VIRT).0, [PL011]);
    assert_eq!(chosen("", None, &PC).0, [COM1]);
    assert_eq!(chosen("", None, &UNKNOWN).0, []);
}

#[test]
fn the_command_line_comes_first() {
    let (other, named) = (mmio(UartKind::Pl011, 0x1000, 2, Width::Bits32), ConsoleSpec { baud: Some(9600), ..PL011 });
    assert_eq!(chosen("console=ttyAMA0,9600 earlycon=pl011,0x1000", Some(PL011), &VIRT).0, [other, named, PL011]);
    assert_eq!(chosen("earlycon", Some(PL011), &VIRT).0, [PL011]);
    assert_eq!(chosen("earlycon", None, &PC).0, [COM1]);
    let com2 = ConsoleSpec { baud: Some(115_200), ..ConsoleSpec::ns16550_io(0x2f8) };
    assert_eq!(chosen("console=ttyS0 console=ttyS1,115200n8", None, &PC).0, [com2, COM1]);
    assert_eq!(chosen("console=uart8250,io,0x2e8", None, &PC).0, [ConsoleSpec::ns16550_io(0x2e8), COM1]);
    let ps = mmio(UartKind::Cadence, 0xff00_0000, 2, Width::Bits32);
    assert_eq!(chosen("console=ttyPS0", Some(ps), &VIRT).0, [ps, PL011]);
    assert_eq!(chosen("console=ttyPS1", Some(ps), &VIRT).1, ["ttyPS1"]);
    assert_eq!(chosen("console=tty0", None, &PC).1, ["tty0"]);
    // The tree's 16550 is the first of its kind, whatever the board has.
    let tree = mmio(UartKind::Ns16550, 0x10, 0, Width::Bits8);
    assert_eq!(chosen("console=ttyS0", Some(tree), &PC).0, [tree, COM1]);
}

#[test]
fn none_leaves_only_what_earlycon_names() {
    for none in ["console=none", "console=", "console=null", "console=ttyS0 console=none"] {
        assert_eq!(chosen(none, Some(PL011), &PC).0, []);
    }
    assert_eq!(chosen("console=none earlycon=uart8250,io,0x3f8", None, &PC).0, [COM1]);
}

#[test]
fn items_that_cannot_be_understood_are_passed_over_and_told() {
    let (candidates, rejected) = chosen("earlycon=foo,1 console=ttyS9", None, &PC);
    assert_eq!((candidates, rejected), (vec![COM1], vec!["foo,1".to_owned(), "ttyS9".to_owned()]));
    assert_eq!(chosen("console=ttyAMA0", None, &PC).1, ["ttyAMA0"]);
    assert_eq!(chosen("console=ttySx", None, &PC).1, ["ttySx"]);
    // More of them than there is room for.
    let many: String = (0..20).map(|base| format!("earlycon=pl011,{base} ")).collect();
    assert_eq!(chosen(&many, None, &PC).0.len(), 6);
}

#[test]
fn boards_are_known_by_what_they_say() {
    assert_eq!(board::by_compatible(["foo", "linux,dummy-virt"].into_iter()).map(|board| board.name), Some("virt"));
    assert_eq!(board::by_compatible(["foo"].into_iter()), None);
    let name = |id| board::by_host_bridge(id).map(|board| board.name);
    assert_eq!(name(Some((0x8086, 0x29c0))), Some("q35"));
    assert_eq!(name(Some((0x8086, 0x1237))), Some("pc"));
    assert_eq!(name(Some((0x1022, 0x1480))), None);
    assert_eq!(name(None), Some("microvm"));
    assert!(BOARDS.iter().all(|board| !board.serial.is_empty()));
}
