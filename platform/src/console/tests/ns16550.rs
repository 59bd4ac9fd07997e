//! The 16550.

use super::*;

/// A 16550 as its data sheet has it.
#[derive(Default)]
pub(super) struct Model16550 {
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
    /// As DesignWare's: the line control does not change while something is sent.
    holds_line: bool,
}

impl Registers for Model16550 {
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
            3 if self.holds_line && self.left > 0 => {}
            3 => self.line = value,
            4 => self.modem = value,
            7 => self.scratch = value,
            other => panic!("register {other}"),
        }
    }
}

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
    let line = |baud, clock| crate::console::ns16550::Line { baud, clock }.divisor();
    assert_eq!(line(1_500_000, 24_000_000), Some(1));
    assert_eq!(line(115_200, 24_000_000), Some(13));
    for (baud, clock) in [(0, 1_843_200), (1, u32::MAX), (u32::MAX, 1), (1, 1 << 24), (115_200, 100)] {
        assert_eq!(line(baud, clock), None);
    }
}

#[test]
fn a_divisor_is_never_sent_as_characters() {
    let fast = ConsoleSpec { baud: Some(115_200), ..COM1 };
    // The firmware's last byte is on its way; the latch opens once it is out.
    let mut model = Model16550 { holds_line: true, left: 5, busy: Some(0), ..Default::default() };
    Uart::new(&fast, &mut model).init();
    assert_eq!((model.divisor, model.line, model.sent), ([1, 0], 3, vec![]));
    // One that never gets idle keeps its speed.
    let mut model = Model16550 { holds_line: true, left: u32::MAX, busy: Some(0), ..Default::default() };
    Uart::new(&fast, &mut model).init();
    assert_eq!((model.divisor, model.sent), ([0, 0], vec![]));
}

#[test]
fn its_bytes_come_in_order_without_waiting() {
    let mut model = Model16550 { received: VecDeque::from(*b"ok"), ..Default::default() };
    assert_eq!(received(&COM1, &mut model), b"ok");
}

#[test]
fn the_scratch_register_tells_and_is_left_as_it_was() {
    let mut model = Model16550 { scratch: 0x77, ..Default::default() };
    assert!(Uart::new(&COM1, &mut model).probe());
    assert_eq!(model.scratch, 0x77);
}

#[test]
fn one_that_is_stuck_costs_little_after_the_first_byte() {
    let mut model = Counted { model: Model16550::default(), reads: 0 };
    let mut uart = Uart::new(&COM1, &mut model);
    uart.put(b'x');
    uart.write_str(&"y".repeat(1000)).unwrap();
    assert_eq!(u64::from(PATIENCE) + 1000 * u64::from(LITTLE_PATIENCE), model.reads);
    assert!(model.model.sent.is_empty());
    // As soon as one goes through, it is waited for as long as ever.
    let mut model = Model16550 { busy: Some(0), left: PATIENCE + 3, ..Default::default() };
    let mut uart = Uart::new(&COM1, &mut model);
    uart.write_str("abc").unwrap();
    assert_eq!(uart.patience, PATIENCE);
    assert_eq!(model.sent, b"bc");
}

/// Counts what is read.
struct Counted {
    model: Model16550,
    reads: u64,
}

impl Registers for Counted {
    fn read(&mut self, register: u32) -> u32 {
        self.reads += 1;
        self.model.read(register)
    }
    fn write(&mut self, register: u32, value: u32) {
        self.model.write(register, value);
    }
}
