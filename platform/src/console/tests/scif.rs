//! Renesas' SCIF.

use super::*;

const SCIF: UartKind = UartKind::Scif;

fn spec() -> ConsoleSpec {
    ConsoleSpec::usual(SCIF, mm::addr::PhysAddr::new(0xe6e8_8000)).unwrap()
}

/// The device: flags rise by themselves and fall when zeroes are written to them after they were read; data registers
/// take accesses of a byte, the others of 16 bits.
#[derive(Default)]
struct Model {
    control: u32,
    status: u32,
    sent: Vec<u8>,
    received: VecDeque<u8>,
    waiting: usize,
    stuck: bool,
}

impl Model {
    fn raise(&mut self) {
        self.waiting = if self.stuck { self.waiting } else { self.waiting.saturating_sub(1) };
        if self.waiting < 16 {
            self.status |= 0x20;
        }
        if self.waiting == 0 {
            self.status |= 0x40;
        }
        // The flag of the receiver speaks of a level that is not reached here.
    }
}

impl Registers for Model {
    fn read(&mut self, register: u32) -> u32 {
        match register * 4 {
            0x08 => self.control,
            0x10 => {
                self.raise();
                self.status
            }
            0x1c => (self.waiting as u32) << 8 | if self.status & 0x90 == 0 { self.received.len() as u32 } else { 0 },
            other => panic!("16 bits at {other:#x}"),
        }
    }

    fn write(&mut self, register: u32, value: u32) {
        match register * 4 {
            0x08 => self.control = value,
            0x10 => self.status &= value,
            other => panic!("16 bits to {other:#x}"),
        }
    }

    fn read_byte(&mut self, register: u32) -> u8 {
        assert_eq!(register * 4, 0x14);
        self.received.pop_front().expect("read without data")
    }

    fn write_byte(&mut self, register: u32, value: u8) {
        assert_eq!((register * 4, self.control & 0x20), (0x0c, 0x20));
        assert!(self.waiting < 16, "overrun");
        self.waiting += 1;
        self.sent.push(value);
    }
}

#[test]
fn it_is_turned_on_and_sends_text() {
    let mut model = Model { control: 0xf2, ..Default::default() };
    let mut uart = Uart::new(&spec(), &mut model);
    assert!(uart.probe());
    uart.init();
    uart.write_str(&"Tessera\n".repeat(5)).unwrap();
    assert_eq!((model.sent, model.control), (b"Tessera\r\n".repeat(5), 0x32));
}

#[test]
fn its_bytes_come_below_any_level_and_after_an_error() {
    let mut model = Model { received: VecDeque::from(*b"ok"), status: 0x90, ..Default::default() };
    assert_eq!(received(&spec(), &mut model), b"ok");
    assert_eq!(model.status & 0x93, 0);
}

#[test]
fn one_that_is_stuck_drops_bytes() {
    let mut model = Model { stuck: true, waiting: 16, control: 0x30, ..Default::default() };
    Uart::new(&spec(), &mut model).put(b'x');
    assert!(model.sent.is_empty());
}

#[test]
fn what_can_be_no_scif_is_none() {
    let probe = |value| Uart::new(&spec(), Nobody(value)).probe();
    assert!(!probe(0), "nothing to send, and no room");
    assert!(!probe(0x2020));
    assert!(probe(0x0100), "something to send");
}
