//! Drivers against models of their devices, written from the manuals' register tables; and the choice of a console.

mod choice;

use super::*;
use core::fmt::Write;
use std::collections::VecDeque;

/// A 16550 as its data sheet has it.
#[derive(Default)]
struct Model16550 {
    divisor: [u8; 2],
    interrupts: u8,
    fifo: u8,
    line: u8,
    modem: u8,
    scratch: u8,
    sent: Vec<u8>,
    received: VecDeque<u8>,
    /// Polls of the line status that say busy after each byte; `None` for ever.
    busy: Option<u32>,
    left: u32,
}

impl Registers for &mut Model16550 {
    fn read(&mut self, register: u32) -> u32 {
        let latch = self.line & 0x80 != 0;
        let value = match register {
            0 if latch => self.divisor[0],
            1 if latch => self.divisor[1],
            0 => self.received.pop_front().expect("read without data"),
            1 => self.interrupts,
            2 => 0xc1,
            3 => self.line,
            4 => self.modem,
            5 => {
                let ready = u8::from(!self.received.is_empty());
                let empty = if self.busy.is_none() || self.left > 0 { 0 } else { 0x60 };
                self.left = self.left.saturating_sub(1);
                ready | empty
            }
            7 => self.scratch,
            other => panic!("register {other}"),
        };
        value.into()
    }

    fn write(&mut self, register: u32, value: u32) {
        let latch = self.line & 0x80 != 0;
        let value = u8::try_from(value).expect("eight bits");
        match register {
            0 if latch => self.divisor[0] = value,
            1 if latch => self.divisor[1] = value,
            0 => {
                assert_eq!(self.left, 0, "overrun");
                self.sent.push(value);
                self.left = self.busy.unwrap_or(0);
            }
            1 => self.interrupts = value,
            2 => self.fifo = value,
            3 => self.line = value,
            4 => self.modem = value,
            7 => self.scratch = value,
            other => panic!("register {other}"),
        }
    }
}

/// A PL011 as its manual has it; registers by number, not by offset.
#[derive(Default)]
struct ModelPl011 {
    line: u32,
    control: u32,
    mask: u32,
    cleared: u32,
    sent: Vec<u8>,
    received: VecDeque<u8>,
    stuck: bool,
    wrong_id: bool,
}

impl Registers for &mut ModelPl011 {
    fn read(&mut self, register: u32) -> u32 {
        match register * 4 {
            // Framing error and break stand above the byte.
            0x00 => 0x500 | u32::from(self.received.pop_front().expect("read without data")),
            0x18 => u32::from(self.received.is_empty()) << 4 | u32::from(self.stuck) << 5,
            0x30 => self.control,
            0xfe0 => {
                if self.wrong_id {
                    0x10
                } else {
                    0x11
                }
            }
            0xfe4 => 0x10,
            other => panic!("offset {other:#x}"),
        }
    }

    fn write(&mut self, register: u32, value: u32) {
        match register * 4 {
            0x00 => {
                assert_eq!(self.control & 0x101, 0x101, "not enabled");
                self.sent.push(u8::try_from(value).expect("eight bits"));
            }
            0x2c => {
                assert_eq!(self.control & 1, 0, "the line may change only while the device is off");
                self.line = value;
            }
            0x30 => self.control = value,
            0x38 => self.mask = value,
            0x44 => self.cleared = value,
            other => panic!("offset {other:#x}"),
        }
    }
}

const COM1: ConsoleSpec = ConsoleSpec::ns16550_io(0x3f8);
const PL011: ConsoleSpec = ConsoleSpec::pl011(mm::addr::PhysAddr::new(0x900_0000));

#[test]
fn a_16550_sends_text_and_waits_for_room() {
    let mut model = Model16550 { busy: Some(3), ..Default::default() };
    let mut uart = Uart::new(&COM1, &mut model);
    uart.init();
    writeln!(uart, "T {}", 1).unwrap();
    assert_eq!(model.sent, b"T 1\r\n");
    assert_eq!((model.interrupts, model.line, model.fifo, model.modem), (0, 3, 7, 3));
    assert_eq!(model.divisor, [0, 0], "nobody asked for a speed");
}

#[test]
fn a_16550_is_set_to_the_speed_that_is_asked_for() {
    for (baud, divisor) in [(115_200, [1, 0]), (9600, [12, 0]), (300, [0x80, 1])] {
        let mut model = Model16550::default();
        Uart::new(&ConsoleSpec { baud: Some(baud), ..COM1 }, &mut model).init();
        assert_eq!((model.divisor, model.line), (divisor, 3));
    }
    let line = |baud, clock| ns16550::Line { baud, clock }.divisor();
    assert_eq!(line(1_500_000, 24_000_000), Some(1));
    assert_eq!(line(115_200, 24_000_000), Some(13));
    for (baud, clock) in [(0, 1_843_200), (1, u32::MAX), (u32::MAX, 1), (1, 1 << 24), (115_200, 100)] {
        assert_eq!(line(baud, clock), None);
    }
}

#[test]
fn bytes_that_came_are_got_in_order_without_waiting() {
    let mut model = Model16550 { received: VecDeque::from(*b"ok"), ..Default::default() };
    let mut uart = Uart::new(&COM1, &mut model);
    assert_eq!([uart.get(), uart.get(), uart.get()], [Some(b'o'), Some(b'k'), None]);
    let mut model = ModelPl011 { received: VecDeque::from(*b"ok"), ..Default::default() };
    let mut uart = Uart::new(&PL011, &mut model);
    assert_eq!([uart.get(), uart.get(), uart.get()], [Some(b'o'), Some(b'k'), None]);
}

#[test]
fn a_stuck_device_costs_a_bounded_wait() {
    let mut model = Model16550::default();
    Uart::new(&COM1, &mut model).put(b'x');
    assert!(model.sent.is_empty());
    let mut model = ModelPl011 { stuck: true, ..Default::default() };
    Uart::new(&PL011, &mut model).put(b'x');
    assert!(model.sent.is_empty());
}

/// A bus where nobody answers.
struct Nobody(u32);

impl Registers for Nobody {
    fn read(&mut self, _: u32) -> u32 {
        self.0
    }
    fn write(&mut self, _: u32, _: u32) {}
}

#[test]
fn an_absent_device_is_noticed_and_sends_nothing() {
    for value in [0xff, u32::MAX] {
        let mut uart = Uart::new(&COM1, Nobody(value));
        assert!(!uart.probe());
        assert_eq!(uart.get(), None);
        uart.put(b'x');
    }
    assert!(!Uart::new(&COM1, Nobody(0)).probe());
    assert!(!Uart::new(&PL011, Nobody(0)).probe());
    assert!(!Uart::new(&PL011, Nobody(u32::MAX)).probe());
}

#[test]
fn probing_finds_the_device_and_leaves_it_as_it_was() {
    let mut model = Model16550 { scratch: 0x77, ..Default::default() };
    assert!(Uart::new(&COM1, &mut model).probe());
    assert_eq!(model.scratch, 0x77);
    let mut model = ModelPl011::default();
    assert!(Uart::new(&PL011, &mut model).probe());
    model.wrong_id = true;
    assert!(!Uart::new(&PL011, &mut model).probe());
}

#[test]
fn a_pl011_is_set_up_once_and_then_left_alone() {
    let mut model = ModelPl011 { mask: 0x50, ..Default::default() };
    let mut uart = Uart::new(&PL011, &mut model);
    uart.init();
    uart.write_str("T\n").unwrap();
    assert_eq!((model.line, model.control, model.mask, model.cleared), (0x70, 0x301, 0, 0x7ff));
    assert_eq!(model.sent, b"T\r\n");
    let mut model = ModelPl011 { control: 0xf301, line: 0x66, ..Default::default() };
    Uart::new(&PL011, &mut model).init();
    assert_eq!((model.line, model.control), (0x66, 0xf301), "the firmware set it up");
}

#[test]
fn windows_place_registers() {
    assert_eq!(Window::Io { base: 0x3f8 }.offset(5), 5);
    let base = mm::addr::PhysAddr::new(0);
    assert_eq!(Window::mmio32(base).offset(0xfe0 / 4), 0xfe0);
    assert_eq!(Window::Mmio { base, shift: 0, width: Width::Bits8 }.offset(7), 7);
}
