//! Broadcom's mini UART.

use super::*;

const MINI: ConsoleSpec = ConsoleSpec::words(UartKind::BcmMiniUart, mm::addr::PhysAddr::new(0x3f21_5000));

/// The block as its manual has it: while the UART is off, its registers read as zero and take nothing.
struct Model {
    enables: u32,
    interrupts: u32,
    line: u32,
    control: u32,
    sent: Vec<u8>,
    received: VecDeque<u8>,
    /// Bytes that wait, of the eight that there is room for.
    waiting: usize,
    stuck: bool,
}

impl Model {
    fn new(enables: u32) -> Self {
        let (sent, received) = Default::default();
        Self { enables, interrupts: 3, line: 0, control: 0, sent, received, waiting: 0, stuck: false }
    }
}

impl Registers for Model {
    fn read(&mut self, register: u32) -> u32 {
        match register * 4 {
            0x00 => 0,
            0x04 => self.enables,
            0x40.. if self.enables & 1 == 0 => 0,
            0x40 => self.received.pop_front().expect("read without data").into(),
            0x44 => self.interrupts,
            0x48 => 0xc1,
            0x4c => self.line,
            0x54 => {
                let room = self.waiting < 8;
                self.waiting = if self.stuck { self.waiting } else { self.waiting.saturating_sub(1) };
                u32::from(!self.received.is_empty()) | u32::from(room) << 5
            }
            0x60 => self.control,
            other => panic!("offset {other:#x}"),
        }
    }

    fn write(&mut self, register: u32, value: u32) {
        match register * 4 {
            0x04 => self.enables = value & 7,
            0x40.. if self.enables & 1 == 0 => {}
            0x40 => {
                assert_eq!((self.control & 2, self.line & 3), (2, 3), "not set up");
                assert!(self.waiting < 8, "overrun");
                self.waiting += 1;
                self.sent.push(u8::try_from(value).expect("eight bits"));
            }
            0x44 => self.interrupts = value,
            0x4c => self.line = value,
            0x60 => self.control = value,
            other => panic!("offset {other:#x}"),
        }
    }
}

#[test]
fn it_is_switched_on_beside_the_others() {
    for enables in [0, 1, 6, 7] {
        let mut model = Model::new(enables);
        let mut uart = Uart::new(&MINI, &mut model);
        assert!(uart.probe());
        uart.init();
        uart.write_str("Tessera, twice eight bytes\n").unwrap();
        assert_eq!(model.sent, b"Tessera, twice eight bytes\r\n");
        assert_eq!((model.enables, model.interrupts, model.control), (enables | 1, 0, 3));
    }
}

#[test]
fn a_look_leaves_the_switches_as_they_were() {
    for enables in [0, 6] {
        let mut model = Model::new(enables);
        assert!(Uart::new(&MINI, &mut model).probe());
        assert_eq!(model.enables, enables);
    }
    for not_switches in [8, 0x11, 0xff] {
        assert!(!Uart::new(&MINI, Nobody(not_switches)).probe());
    }
}

#[test]
fn its_bytes_come_in_order_and_one_that_is_stuck_drops_them() {
    let mut model = Model { received: VecDeque::from(*b"ok"), ..Model::new(1) };
    assert_eq!(received(&MINI, &mut model), b"ok");
    let mut model = Model { stuck: true, waiting: 8, ..Model::new(1) };
    Uart::new(&MINI, &mut model).put(b'x');
    assert!(model.sent.is_empty());
}

#[test]
fn its_address_is_that_of_the_uart_in_the_block() {
    assert_eq!(ConsoleSpec::parse("bcm2835aux,mmio32,0x3f215040"), Ok(MINI));
    assert_eq!(ConsoleSpec::parse("bcm2835aux,0x20"), Err(spec::SpecError::Address), "no room for the block");
}
