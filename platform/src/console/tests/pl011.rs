//! The PL011, and the SBSA UART.

use super::*;

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

impl Registers for ModelPl011 {
    fn read(&mut self, register: u32) -> u32 {
        match register * 4 {
            // Framing error and break stand above the byte.
            0x00 => 0x500 | u32::from(self.received.pop_front().expect("read without data")),
            0x18 => u32::from(self.received.is_empty()) << 4 | if self.stuck { 0x28 } else { 0x80 },
            0x30 => self.control,
            0xfe4 if self.wrong_id => 0x00,
            at @ 0xfe0..=0xffc => [0x11, 0x10, 0x34, 0x00, 0x0d, 0xf0, 0x05, 0xb1][(at as usize - 0xfe0) / 4],
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

const SBSA: ConsoleSpec = ConsoleSpec::words(UartKind::SbsaUart, mm::addr::PhysAddr::new(0x900_0000));

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
fn an_sbsa_uart_is_not_set_up_at_all() {
    let mut model = ModelPl011 { mask: 0x50, control: 0x101, line: 0x66, ..Default::default() };
    let mut uart = Uart::new(&SBSA, &mut model);
    assert!(uart.probe());
    uart.init();
    uart.write_str("T").unwrap();
    assert_eq!((model.line, model.control, model.mask, model.cleared), (0x66, 0x101, 0, 0x7ff));
    assert_eq!(model.sent, b"T");
}

#[test]
fn its_flags_tell_an_sbsa_uart() {
    for (flags, possible) in
        [(0x90, true), (0x80, true), (0x18, true), (0x58, false), (0xa8, false), (0x10, false), (0x290, false)]
    {
        assert_eq!(Uart::new(&SBSA, Nobody(flags)).probe(), possible, "{flags:#x}");
    }
}

#[test]
fn its_bytes_come_in_order_without_waiting() {
    for spec in [PL011, SBSA] {
        let mut model = ModelPl011 { received: VecDeque::from(*b"ok"), ..Default::default() };
        assert_eq!(received(&spec, &mut model), b"ok");
    }
}

#[test]
fn the_identification_tells_a_pl011() {
    let mut model = ModelPl011::default();
    assert!(Uart::new(&PL011, &mut model).probe());
    model.wrong_id = true;
    assert!(!Uart::new(&PL011, &mut model).probe());
    model.stuck = true;
    Uart::new(&PL011, &mut model).put(b'x');
    assert!(model.sent.is_empty());
}
