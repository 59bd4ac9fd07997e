//! Cadence's UART.

use super::*;

const CADENCE: ConsoleSpec = ConsoleSpec::words(UartKind::Cadence, mm::addr::PhysAddr::new(0xff00_0000));

/// The device as Zynq's manual has it, out of reset.
struct Model {
    control: u32,
    mode: u32,
    enabled: u32,
    generator: u32,
    divider: u32,
    level: u32,
    sent: Vec<u8>,
    received: VecDeque<u8>,
    /// Bytes in the transmitter's FIFO.
    waiting: usize,
    stuck: bool,
}

impl Default for Model {
    fn default() -> Self {
        let (sent, received, waiting, stuck) = Default::default();
        let (control, mode, generator, divider) = (0x128, 0, 0x28b, 0xf);
        Self { control, mode, enabled: 0x1fff, generator, divider, level: 0x20, sent, received, waiting, stuck }
    }
}

impl Registers for Model {
    fn read(&mut self, register: u32) -> u32 {
        match register * 4 {
            0x00 => self.control,
            0x04 => self.mode,
            0x0c => 0,
            0x18 => self.generator,
            0x2c => {
                let flags = [(1, self.received.is_empty()), (3, self.waiting == 0), (4, self.waiting == 64)];
                if !self.stuck && self.control & 0x10 != 0 {
                    self.waiting = self.waiting.saturating_sub(1);
                }
                flags.into_iter().map(|(bit, set)| u32::from(set) << bit).sum()
            }
            0x30 => self.received.pop_front().expect("read without data").into(),
            0x34 => self.divider,
            0x44 => self.level,
            other => panic!("offset {other:#x}"),
        }
    }

    fn write(&mut self, register: u32, value: u32) {
        match register * 4 {
            // A reset throws away what waits, and its bit falls by itself.
            0x00 => {
                self.waiting = if value & 2 != 0 { 0 } else { self.waiting };
                self.control = value & !3;
            }
            0x04 => self.mode = value,
            0x0c => self.enabled &= !value,
            0x14 => {}
            0x30 if self.control & 0x30 == 0x10 => {
                assert!(self.waiting < 64, "overrun");
                self.waiting += 1;
                self.sent.push(u8::try_from(value).expect("eight bits"));
            }
            0x30 => {}
            other => panic!("offset {other:#x}"),
        }
    }
}

#[test]
fn one_out_of_reset_is_turned_on() {
    let mut model = Model::default();
    let mut uart = Uart::new(&CADENCE, &mut model);
    assert!(uart.probe());
    uart.init();
    uart.write_str(&"Tessera\n".repeat(20)).unwrap();
    assert_eq!(model.sent, b"Tessera\r\n".repeat(20));
    assert_eq!((model.control, model.mode, model.enabled), (0x114, 0x20, 0));
    assert_eq!((model.generator, model.divider), (0x28b, 0xf), "nobody asked for a speed");
}

#[test]
fn one_that_the_firmware_turned_on_is_left_as_it_is() {
    let mut model = Model { control: 0x14, mode: 0x21, waiting: 7, ..Default::default() };
    Uart::new(&CADENCE, &mut model).init();
    assert_eq!((model.control, model.mode, model.waiting), (0x14, 0x21, 7));
}

#[test]
fn its_bytes_come_in_order_and_one_that_is_stuck_drops_them() {
    let mut model = Model { received: VecDeque::from(*b"ok"), ..Default::default() };
    assert_eq!(received(&CADENCE, &mut model), b"ok");
    let mut model = Model { stuck: true, waiting: 64, control: 0x14, ..Default::default() };
    Uart::new(&CADENCE, &mut model).put(b'x');
    assert!(model.sent.is_empty());
}

#[test]
fn what_can_be_no_cadence_is_none() {
    let probe = |mut model: Model| Uart::new(&CADENCE, &mut model).probe();
    assert!(probe(Model { waiting: 64, ..Default::default() }));
    assert!(!probe(Model { generator: 0, ..Default::default() }));
    assert!(!probe(Model { generator: 0x1_0000, ..Default::default() }));
    assert!(!probe(Model { divider: 3, ..Default::default() }));
    assert!(!probe(Model { level: 0, ..Default::default() }));
    // A transmitter that is full and empty at once.
    assert!(!Uart::new(&CADENCE, Nobody(0x18)).probe());
}
