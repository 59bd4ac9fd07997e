//! Qualcomm's GENI engine as a UART.

use super::*;

const GENI: ConsoleSpec = ConsoleSpec::words(UartKind::Geni, mm::addr::PhysAddr::new(0xa8_c000));

/// The engine: a command asks for its words, ends when it has had them all, and nothing else starts before.
#[derive(Default)]
struct Model {
    protocol: u32,
    length: u32,
    /// Of the command that runs: bytes that it still wants.
    wants: Option<u32>,
    status: u32,
    receives: bool,
    packing: [u32; 4],
    sent: Vec<u8>,
    received: VecDeque<u8>,
    /// No command gets anywhere.
    stuck: bool,
    aborts: u32,
}

impl Model {
    fn uart() -> Self {
        Self { protocol: 2, ..Default::default() }
    }
}

impl Registers for Model {
    fn read(&mut self, register: u32) -> u32 {
        match register * 4 {
            0x40 => u32::from(self.wants.is_some()),
            0x68 => self.protocol << 8 | 0x5,
            0x610 => self.status,
            0x634 => 0,
            0x780 => self.received.pop_front().expect("read without data").into(),
            0x804 if self.receives && self.packing[2..] == [0xf, 0] => self.received.len() as u32,
            0x804 => 0,
            other => panic!("offset {other:#x}"),
        }
    }

    fn write(&mut self, register: u32, value: u32) {
        match register * 4 {
            0x20 | 0x258 | 0x25c | 0x634 | 0x648 => {}
            0x260 => self.packing[0] = value,
            0x264 => self.packing[1] = value,
            0x284 => self.packing[2] = value,
            0x288 => self.packing[3] = value,
            0x270 => self.length = value,
            0x600 => {
                assert_eq!((value, self.wants), (1 << 27, None), "a command while another runs");
                self.wants = Some(self.length);
                self.status |= if self.stuck { 0 } else { 1 << 30 };
            }
            0x604 => {
                assert_eq!(value, 2);
                (self.wants, self.aborts) = (None, self.aborts + 1);
                self.status |= 1 << 5;
            }
            0x618 => self.status &= !value,
            0x630 => self.receives = value == 1 << 27,
            0x700 => {
                assert_eq!(self.wants, Some(1), "nobody asked for a byte");
                self.sent.push(u8::try_from(value).expect("eight bits"));
                self.wants = None;
                self.status |= 1;
            }
            0x80c => {}
            other => panic!("offset {other:#x}"),
        }
    }
}

#[test]
fn each_byte_is_a_command() {
    let mut model = Model::uart();
    let mut uart = Uart::new(&GENI, &mut model);
    assert!(uart.probe());
    uart.init();
    uart.write_str("Tessera\n").unwrap();
    assert_eq!((model.sent.as_slice(), model.aborts, model.status), (&b"Tessera\r\n"[..], 0, 0));
}

#[test]
fn a_command_that_gets_nowhere_is_ended() {
    let mut model = Model { stuck: true, ..Model::uart() };
    let mut uart = Uart::new(&GENI, &mut model);
    uart.init();
    uart.put(b'x');
    uart.put(b'y');
    assert_eq!((model.sent.len(), model.aborts, model.wants), (0, 2, None));
    // One that the firmware left behind, too.
    let mut model = Model { wants: Some(7), ..Model::uart() };
    let mut uart = Uart::new(&GENI, &mut model);
    uart.init();
    uart.put(b'x');
    assert_eq!((model.sent.as_slice(), model.aborts), (&b"x"[..], 1));
}

#[test]
fn its_bytes_come_one_a_word() {
    let mut model = Model { received: VecDeque::from(*b"ok"), ..Model::uart() };
    Uart::new(&GENI, &mut model).init();
    assert_eq!(received(&GENI, &mut model), b"ok");
}

#[test]
fn an_engine_with_another_firmware_is_no_uart() {
    for protocol in [0, 1, 3, 4] {
        assert!(!Uart::new(&GENI, Model { protocol, ..Default::default() }).probe());
    }
}
