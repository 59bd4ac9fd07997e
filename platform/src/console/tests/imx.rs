//! The UART of i.MX.

use super::*;

const IMX: ConsoleSpec = ConsoleSpec::words(UartKind::Imx, mm::addr::PhysAddr::new(0x3086_0000));

struct Model {
    control: [u32; 2],
    levels: u32,
    sent: Vec<u8>,
    received: VecDeque<u8>,
    waiting: usize,
    stuck: bool,
}

impl Default for Model {
    /// Out of reset.
    fn default() -> Self {
        let (sent, received, waiting, stuck) = Default::default();
        Self { control: [0, 1], levels: 0x801, sent, received, waiting, stuck }
    }
}

impl Registers for Model {
    fn read(&mut self, register: u32) -> u32 {
        match register * 4 {
            // The word says that it holds a byte, and of which errors nobody asked.
            0x00 => 0xc400 | u32::from(self.received.pop_front().expect("read without data")),
            0x80 => self.control[0],
            0x84 => self.control[1],
            0x90 => self.levels,
            0x98 => u32::from(!self.received.is_empty()) | 0x4000,
            0xb4 => {
                let flags = [(4, self.waiting == 32), (5, self.received.is_empty()), (6, self.waiting == 0)];
                self.waiting = if self.stuck { self.waiting } else { self.waiting.saturating_sub(1) };
                flags.into_iter().map(|(bit, set)| u32::from(set) << bit).sum()
            }
            other => panic!("offset {other:#x}"),
        }
    }

    fn write(&mut self, register: u32, value: u32) {
        match register * 4 {
            0x40 => {
                assert_eq!((self.control[0] & 1, self.control[1] & 5), (1, 5), "bus error: the transmitter is off");
                assert!(self.waiting < 32, "overrun");
                self.waiting += 1;
                self.sent.push(u8::try_from(value).expect("eight bits"));
            }
            0x80 => self.control[0] = value,
            0x84 => self.control[1] = value,
            other => panic!("offset {other:#x}"),
        }
    }
}

#[test]
fn it_is_on_before_anything_is_sent() {
    let mut model = Model::default();
    let mut uart = Uart::new(&IMX, &mut model);
    assert!(uart.probe());
    uart.init();
    uart.write_str(&"Tessera\n".repeat(20)).unwrap();
    assert_eq!((model.sent, model.control), (b"Tessera\r\n".repeat(20), [1, 0x4027]));
}

#[test]
fn one_that_the_firmware_set_up_only_loses_its_interrupts() {
    let mut model = Model { control: [0x2201, 0x2067], ..Default::default() };
    Uart::new(&IMX, &mut model).init();
    assert_eq!(model.control, [1, 0x2067]);
}

#[test]
fn its_bytes_come_in_order_and_one_that_is_stuck_drops_them() {
    let mut model = Model { received: VecDeque::from(*b"ok"), ..Default::default() };
    assert_eq!(received(&IMX, &mut model), b"ok");
    let mut model = Model { stuck: true, waiting: 32, control: [1, 0x27], ..Default::default() };
    Uart::new(&IMX, &mut model).put(b'x');
    assert!(model.sent.is_empty());
    // A word without a byte in it is none.
    assert_eq!(Uart::new(&IMX, Nobody(0x41)).get(), None);
}

#[test]
fn what_can_be_no_imx_is_none() {
    for levels in [0, 0x400, 0x8401, u32::MAX] {
        assert!(!Uart::new(&IMX, Model { levels, ..Default::default() }).probe(), "{levels:#x}");
    }
}
