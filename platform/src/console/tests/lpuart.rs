//! The low-power UART.

use super::*;

const LPUART: ConsoleSpec = ConsoleSpec::words(UartKind::Lpuart, mm::addr::PhysAddr::new(0x5a06_0010));

struct Model {
    speed: u32,
    control: u32,
    sent: Vec<u8>,
    received: VecDeque<u8>,
    /// From how many bytes on the receiver says so.
    level: usize,
    overrun: bool,
    waiting: usize,
    stuck: bool,
}

impl Default for Model {
    fn default() -> Self {
        let (control, sent, received, level, overrun, waiting, stuck) = Default::default();
        Self { speed: 0x0f00_0004, control, sent, received, level, overrun, waiting, stuck }
    }
}

impl Registers for Model {
    fn read(&mut self, register: u32) -> u32 {
        match register * 4 {
            0x00 => self.speed,
            0x04 => {
                let told = self.received.len() > self.level;
                let flags = [(19, self.overrun), (21, told), (22, self.waiting == 0), (23, self.waiting < 4)];
                self.waiting = if self.stuck { self.waiting } else { self.waiting.saturating_sub(1) };
                // How the line is, which must stay.
                flags.into_iter().map(|(bit, set)| u32::from(set) << bit).sum::<u32>() | 1 << 28
            }
            0x08 => self.control,
            0x0c => self.received.pop_front().expect("read without data").into(),
            0x1c => (self.received.len() as u32) << 24,
            other => panic!("offset {other:#x}"),
        }
    }

    fn write(&mut self, register: u32, value: u32) {
        match register * 4 {
            0x04 => {
                assert_eq!(value & 0xff1f_c000, 1 << 28 | 1 << 19, "only the overrun is acknowledged");
                self.overrun = false;
            }
            0x08 => self.control = value,
            0x0c => {
                assert_ne!(self.control & 1 << 19, 0, "not enabled");
                assert!(self.waiting < 4, "overrun");
                self.waiting += 1;
                self.sent.push(u8::try_from(value).expect("eight bits"));
            }
            other => panic!("offset {other:#x}"),
        }
    }
}

#[test]
fn it_is_turned_on_and_sends_text() {
    let mut model = Model { control: 0x0080_0000, ..Default::default() };
    let mut uart = Uart::new(&LPUART, &mut model);
    assert!(uart.probe());
    uart.init();
    uart.write_str("Tessera\n").unwrap();
    assert_eq!((model.sent.as_slice(), model.control), (&b"Tessera\r\n"[..], 0x000c_0000));
}

#[test]
fn its_bytes_come_with_a_fifo_and_without_and_after_an_overrun() {
    for level in [0, 3] {
        let mut model = Model { received: VecDeque::from(*b"ok"), level, overrun: true, ..Default::default() };
        assert_eq!(received(&LPUART, &mut model), b"ok");
        assert!(!model.overrun);
    }
}

#[test]
fn one_that_is_stuck_drops_bytes() {
    let mut model = Model { stuck: true, waiting: 4, control: 1 << 19, ..Default::default() };
    Uart::new(&LPUART, &mut model).put(b'x');
    assert!(model.sent.is_empty());
}

#[test]
fn what_can_be_no_lpuart_is_none() {
    assert!(!Uart::new(&LPUART, Model { speed: 0x0f00_0000, ..Default::default() }).probe());
    assert!(!Uart::new(&LPUART, Nobody(0x40_0000)).probe(), "all sent, and no room");
    assert!(!Uart::new(&LPUART, Nobody(0xc0_0001)).probe());
}

#[test]
fn an_imx_has_registers_before_it() {
    let base = |compatible| UartKind::by_compatible(compatible).unwrap().1.window(mm::addr::PhysAddr::new(0x5a06_0000));
    assert_eq!(base("fsl,imx8qxp-lpuart"), Some(LPUART.window));
    assert_eq!(ConsoleSpec::parse("lpuart32,0x5a060010"), Ok(LPUART));
    let big = Window::Mmio { base: mm::addr::PhysAddr::new(0x5a06_0000), shift: 2, width: Width::Bits32Big };
    assert_eq!(base("fsl,ls1021a-lpuart"), Some(big));
}
