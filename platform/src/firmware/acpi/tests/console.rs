//! The console that SPCR names.

use super::*;
use crate::console::{UartKind, Width, Window};

/// An SPCR: interface, address space, access width, address, speed.
fn spcr(interface: u8, space: u8, width: u8, address: u64, speed: u8) -> Vec<u8> {
    let mut body = vec![interface, 0, 0, 0, space, 32, 0, width];
    body.extend(address.to_le_bytes());
    body.extend([0; 6]);
    body.push(speed);
    body.resize(44, 0);
    table("SPCR", 2, &body)
}

fn named(spcr: Vec<u8>) -> Option<ConsoleSpec> {
    with(&Machine::new(&[spcr]).pieces(), |rsdp, image| console(rsdp, image))
}

fn ns16550(base: u64, shift: u8, width: Width) -> ConsoleSpec {
    let window = Window::Mmio { base: PhysAddr::new(base), shift, width };
    ConsoleSpec { kind: UartKind::Ns16550, window, baud: None, clock: None }
}

#[test]
fn the_interface_decides_the_driver() {
    let pl011 = ConsoleSpec { baud: Some(115_200), ..ConsoleSpec::pl011(PhysAddr::new(0x900_0000)) };
    let sbsa = ConsoleSpec { kind: UartKind::SbsaUart, ..pl011 };
    for (interface, expected) in [(0x03, pl011), (0x0d, sbsa), (0x0e, sbsa), (0x10, pl011)] {
        assert_eq!(named(spcr(interface, 0, 1, 0x900_0000, 7)), Some(expected));
    }
    for interface in [0x00, 0x01, 0x05, 0x12] {
        assert_eq!(named(spcr(interface, 0, 3, 0x900_0000, 0)), Some(ns16550(0x900_0000, 2, Width::Bits32)));
    }
    for interface in [0x02, 0x06, 0x0f, 0x14, 0xff] {
        assert_eq!(named(spcr(interface, 0, 3, 0x900_0000, 7)), None);
    }
}

#[test]
fn registers_are_ports_or_memory_of_some_width() {
    let com1 = ConsoleSpec { baud: Some(9600), ..ConsoleSpec::ns16550_io(0x3f8) };
    assert_eq!(named(spcr(0, 1, 1, 0x3f8, 3)), Some(com1));
    assert_eq!(named(spcr(0, 1, 1, 0x1_03f8, 3)), None, "no port");
    assert_eq!(named(spcr(3, 1, 1, 0x3f8, 3)), None, "a PL011 is in memory");
    assert_eq!(named(spcr(0, 2, 1, 0x3f8, 3)), None, "in PCI configuration space");
    assert_eq!(named(spcr(0, 0, 1, 0, 3)), None);
    for (width, shift, expected) in
        [(0, 0, Width::Bits8), (1, 0, Width::Bits8), (2, 1, Width::Bits16), (4, 0, Width::Bits8)]
    {
        assert_eq!(named(spcr(0, 0, width, 0x1000, 0)), Some(ns16550(0x1000, shift, expected)));
    }
}

#[test]
fn speeds_are_numbers() {
    let baud = |speed| named(spcr(3, 0, 3, 0x1000, speed)).map(|spec| spec.baud);
    let all = [0, 3, 4, 6, 7].map(baud);
    assert_eq!(all, [None, Some(9_600), Some(19_200), Some(57_600), Some(115_200)].map(Some));
    assert_eq!([1, 2, 5, 8].map(baud), [None; 4]);
}

#[test]
fn a_damaged_table_names_nothing_and_is_told() {
    let mut bytes = spcr(3, 0, 3, 0x1000, 7);
    bytes[44] ^= 1;
    let recorder = Machine::new(std::slice::from_ref(&bytes)).describe();
    assert_eq!(recorder.warnings[0].to_string(), "SPCR: wrong checksum; table ignored");
    assert_eq!(named(bytes), None);
    let short = table("SPCR", 2, &[0; 43]);
    assert_eq!(
        Machine::new(std::slice::from_ref(&short)).describe().problems(),
        [(None, Problem::Length { stated: 79 })]
    );
    assert_eq!(named(short), None);
}

/// Below the command line, above the board, and only where ACPI is believed.
#[test]
fn it_stands_between_the_command_line_and_the_board() {
    use crate::board::{Board, VIRT};
    use crate::cmdline::Cmdline;
    use crate::console::spec::choose;
    use crate::handover::image;

    let machine = Machine::new(&[spcr(3, 0, 3, 0x1234_0000, 0)]);
    let named = ConsoleSpec::pl011(PhysAddr::new(0x1234_0000));
    let stdout = |tree: &[u8], cmdline: &str| {
        let mut tree = tree.to_vec();
        let mut boot = image::read(PhysAddr::new(0x4800_0000), &mut tree).unwrap();
        assert_ne!(boot.stdout(), Some(named), "nobody has asked ACPI yet");
        boot.rsdp = Some(PhysAddr::new(RSDP));
        boot.cmdline = Cmdline::new(cmdline);
        with(&machine.pieces(), |_, image| boot.find_console(image));
        boot.stdout()
    };
    const VIRT_TREE: &[u8] = include_bytes!("../../../../testdata/virt-numa.dtb");
    let mut silent = VIRT_TREE.to_vec();
    let at = silent.windows(12).position(|window| window == b"stdout-path\0").unwrap();
    silent[at] = b'x';
    let of_tree = ConsoleSpec::pl011(PhysAddr::new(0x900_0000));
    assert_eq!((stdout(&silent, ""), stdout(VIRT_TREE, "")), (None, Some(of_tree)));
    assert_eq!((stdout(&silent, "acpi=force"), stdout(VIRT_TREE, "acpi=on")), (Some(named), Some(named)));

    let order = |text: &str, board: &Board| choose(&Cmdline::new(text), Some(named), board, &mut |_, _| {}).to_vec();
    assert_eq!(order("", &VIRT), [named, VIRT.serial[0]]);
    let first = ConsoleSpec::pl011(PhysAddr::new(0x1000));
    assert_eq!(order("earlycon=pl011,0x1000", &VIRT)[..2], [first, named]);
    assert_eq!(order("earlycon", &VIRT)[0], named);
}

#[test]
fn it_is_printed_in_the_words_of_the_command_line() {
    let line = |spcr: Vec<u8>| {
        let mut text = String::new();
        with(&Machine::new(&[spcr]).pieces(), |rsdp, image| print_tables(rsdp, image, &mut text)).unwrap();
        text.lines().nth(3).map(str::to_owned)
    };
    let is = |words: &str| Some(format!("ACPI: SPCR: console: {words}"));
    assert_eq!(line(spcr(3, 0, 3, 0x900_0000, 7)), is("pl011,mmio32,0x9000000,115200"));
    assert_eq!(line(spcr(0, 1, 1, 0x3f8, 3)), is("uart,io,0x3f8,9600"));
    assert_eq!(line(spcr(0, 0, 1, 0x1000, 0)), is("uart,mmio,0x1000,0"));
    assert_eq!(line(spcr(0, 0, 2, 0x1000, 0)), is("uart,mmio16,0x1000,0"));
    assert_eq!(line(spcr(2, 0, 2, 0x1000, 0)), None);
}
