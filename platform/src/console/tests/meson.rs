//! The UART of Meson.

use super::*;

const MESON: ConsoleSpec = ConsoleSpec::words(UartKind::Meson, mm::addr::PhysAddr::new(0xc810_04c0));

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
            0x04 => self.received.pop_front().expect("read without data").into(),
            0x08 => self.control,
            0x0c => {
                let flags = [(20, self.received.is_empty()), (21, self.waiting == 64), (22, self.waiting == 0)];
                let counts = self.received.len() as u32 | (self.waiting as u32) << 8;
                self.waiting = if self.stuck { self.waiting } else { self.waiting.saturating_sub(1) };
                flags.into_iter().map(|(bit, set)| u32::from(set) << bit).sum::<u32>() | counts
            }
            0x14 => self.speed,
            other => panic!("offset {other:#x}"),
        }
    }

    fn write(&mut self, register: u32, value: u32) {
        match register * 4 {
            0x00 => {
                assert_ne!(self.control & 1 << 12, 0, "not enabled");
                assert!(self.waiting < 64, "overrun");
                self.waiting += 1;
                self.sent.push(u8::try_from(value).expect("eight bits"));
            }
            0x08 => self.control = value,
            other => panic!("offset {other:#x}"),
        }
    }
}

#[test]
fn it_is_turned_on_and_its_interrupts_off() {
    for (before, after) in [(0x1800_0000, 0xb000), (0x1800_3000, 0x3000)] {
        let mut model = Model { control: before, speed: 0x80_0045, ..Default::default() };
        let mut uart = Uart::new(&MESON, &mut model);
        assert!(uart.probe());
        uart.init();
        uart.write_str(&"Tessera\n".repeat(20)).unwrap();
        assert_eq!((model.sent, model.control, model.speed), (b"Tessera\r\n".repeat(20), after, 0x80_0045));
    }
}

#[test]
fn its_bytes_come_in_order_and_one_that_is_stuck_drops_them() {
    let mut model = Model { received: VecDeque::from(*b"ok"), ..Default::default() };
    assert_eq!(received(&MESON, &mut model), b"ok");
    let mut model = Model { stuck: true, waiting: 64, control: 0x3000, ..Default::default() };
    Uart::new(&MESON, &mut model).put(b'x');
    assert!(model.sent.is_empty());
}

#[test]
fn what_contradicts_itself_is_none() {
    assert!(Uart::new(&MESON, Nobody(0x50_0000)).probe());
    for status in [0x60_0000, 0x18_0000, 0x0850_0000] {
        assert!(!Uart::new(&MESON, Nobody(status)).probe(), "{status:#x}");
    }
    assert!(!Uart::new(&MESON, Model::default()).probe(), "neither on nor with a speed");
}
