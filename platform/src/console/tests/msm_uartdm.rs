//! Qualcomm's UARTDM.

use super::*;

const UARTDM: ConsoleSpec = ConsoleSpec::words(UartKind::MsmUartDm, mm::addr::PhysAddr::new(0x78b_0000));

/// The device: takes as many bytes as it was told of, and packs what it receives into words, of which the last waits.
struct Model {
    format: u32,
    modes: u32,
    mask: u32,
    on: u32,
    announced: u32,
    sent: Vec<u8>,
    packed: Vec<u8>,
    words: VecDeque<u32>,
    stuck: bool,
    receiving: bool,
}

impl Default for Model {
    fn default() -> Self {
        let (announced, sent, packed, words, stuck, receiving) = Default::default();
        Self { format: 0x34, modes: 0x30, mask: 8, on: 0, announced, sent, packed, words, stuck, receiving }
    }
}

impl Model {
    /// Something comes over the line.
    fn receive(&mut self, bytes: &[u8]) {
        assert!(self.receiving && self.on & 1 != 0, "the receiver is off");
        for &byte in bytes {
            self.packed.push(byte);
            if self.packed.len() == 4 {
                self.flush();
            }
        }
    }

    fn flush(&mut self) {
        let word = self.packed.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte));
        self.words.push_back(word);
        self.packed.clear();
    }
}

impl Registers for Model {
    fn read(&mut self, register: u32) -> u32 {
        match register * 4 {
            0x04 => self.format,
            0x08 => u32::from(!self.words.is_empty()) | if self.stuck { 0 } else { 0xc },
            0x40 => self.announced,
            0x50 => (self.packed.len() as u32) << 7 | self.words.len() as u32,
            0x70 => self.words.pop_front().expect("read without data"),
            other => panic!("offset {other:#x}"),
        }
    }

    fn write(&mut self, register: u32, value: u32) {
        match register * 4 {
            0x10 => match value {
                0x10 => self.on &= !1,
                0x20 => (self.on, self.announced) = (self.on & !4, 0),
                0x80 | 0x300 => {}
                0x400 => {
                    self.flush();
                    self.receiving = false;
                }
                0x500 => self.receiving = true,
                1..0x10 => self.on |= value,
                other => panic!("command {other:#x}"),
            },
            0x14 => self.mask = value,
            0x34 => assert_eq!(value, 0xff_ffff),
            0x3c => self.modes = value,
            0x40 => self.announced = value,
            0x70 => {
                assert_eq!((self.announced, self.modes, self.on & 4), (1, 0, 4), "not announced");
                self.announced = 0;
                self.sent.push(u8::try_from(value).expect("eight bits"));
            }
            other => panic!("offset {other:#x}"),
        }
    }
}

#[test]
fn each_byte_is_announced() {
    let mut model = Model::default();
    let mut uart = Uart::new(&UARTDM, &mut model);
    assert!(uart.probe());
    uart.init();
    uart.write_str("Tessera\n").unwrap();
    assert_eq!((model.sent.as_slice(), model.mask, model.modes), (&b"Tessera\r\n"[..], 0, 0));
}

#[test]
fn words_and_what_is_left_of_one_come_as_bytes() {
    let mut model = Model::default();
    Uart::new(&UARTDM, &mut model).init();
    for text in ["", "a", "abc", "zoneinfo", "meminfo\n"] {
        model.receive(text.as_bytes());
        assert_eq!(received(&UARTDM, &mut model), text.as_bytes());
    }
    // In between, what was not yet asked for stays.
    model.receive(b"ab");
    let mut uart = Uart::new(&UARTDM, model);
    assert_eq!([uart.get(), uart.get(), uart.get(), uart.get()], [Some(b'a'), Some(b'b'), None, None]);
}

#[test]
fn one_that_is_stuck_drops_bytes() {
    let mut model = Model { stuck: true, ..Default::default() };
    let mut uart = Uart::new(&UARTDM, &mut model);
    uart.init();
    uart.put(b'x');
    assert!(model.sent.is_empty());
}

#[test]
fn what_can_be_no_uartdm_is_none() {
    for format in [0, 0x400, 0xffff] {
        assert!(!Uart::new(&UARTDM, Model { format, ..Default::default() }).probe(), "{format:#x}");
    }
    assert!(!Uart::new(&UARTDM, Nobody(0x234)).probe(), "a status with a bit that there is not");
}
