//! The UART of Armada 3700.

use super::*;

const ARMADA: ConsoleSpec = ConsoleSpec::words(UartKind::Armada, mm::addr::PhysAddr::new(0xd001_2000));

#[derive(Default)]
struct Model {
    control: u32,
    speed: u32,
    sent: Vec<u8>,
    received: VecDeque<u8>,
    waiting: usize,
    stuck: bool,
}

impl Registers for Model {
    fn read(&mut self, register: u32) -> u32 {
        match register * 4 {
            0x00 => 0x4000 | u32::from(self.received.pop_front().expect("read without data")),
            0x08 => self.control,
            0x0c => {
                let got = !self.received.is_empty();
                let flags = [(4, got), (12, !got), (11, self.waiting == 32), (13, self.waiting == 0)];
                self.waiting = if self.stuck { self.waiting } else { self.waiting.saturating_sub(1) };
                flags.into_iter().map(|(bit, set)| u32::from(set) << bit).sum()
            }
            0x10 => self.speed,
            other => panic!("offset {other:#x}"),
        }
    }

    fn write(&mut self, register: u32, value: u32) {
        match register * 4 {
            0x04 => {
                assert!(self.waiting < 32, "overrun");
                self.waiting += 1;
                self.sent.push(u8::try_from(value).expect("eight bits"));
            }
            0x08 => self.control = value,
            other => panic!("offset {other:#x}"),
        }
    }
}

#[test]
fn it_sends_text_and_loses_its_interrupts() {
    let mut model = Model { control: 0x401f, speed: 14, ..Default::default() };
    let mut uart = Uart::new(&ARMADA, &mut model);
    assert!(uart.probe());
    uart.init();
    uart.write_str(&"Tessera\n".repeat(20)).unwrap();
    assert_eq!((model.sent, model.control), (b"Tessera\r\n".repeat(20), 0x4000));
}

#[test]
fn its_bytes_come_in_order_and_one_that_is_stuck_drops_them() {
    let mut model = Model { received: VecDeque::from(*b"ok"), ..Default::default() };
    assert_eq!(received(&ARMADA, &mut model), b"ok");
    let mut model = Model { stuck: true, waiting: 32, ..Default::default() };
    Uart::new(&ARMADA, &mut model).put(b'x');
    assert!(model.sent.is_empty());
}

#[test]
fn what_contradicts_itself_is_none() {
    assert!(Uart::new(&ARMADA, Nobody(0x3000)).probe());
    for status in [0x2800, 0x1100, 0x7000] {
        assert!(!Uart::new(&ARMADA, Nobody(status)).probe(), "{status:#x}");
    }
    assert!(!Uart::new(&ARMADA, Model::default()).probe(), "without a speed");
}
