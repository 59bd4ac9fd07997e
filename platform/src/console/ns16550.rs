//! The 16550 and its many descendants, polled.
//!
//! Works on what the reset or the firmware left; [`Ns16550::init`] is needed only where nobody set the device up. An
//! absent device on an x86 bus reads as all ones, which must neither look like endless input nor like a full
//! transmitter. Linux: `drivers/tty/serial/8250/8250_early.c`.

use super::PATIENCE;
use super::registers::Registers;

/// Receive buffer, transmit holding; divisor low while the latch is open.
const DATA: u32 = 0;
/// Interrupt enable; divisor high while the latch is open.
const INTERRUPT_ENABLE: u32 = 1;
const FIFO_CONTROL: u32 = 2;
const LINE_CONTROL: u32 = 3;
const MODEM_CONTROL: u32 = 4;
const LINE_STATUS: u32 = 5;
const SCRATCH: u32 = 7;

const FIFO_ENABLE_AND_CLEAR: u32 = 0x07;
const EIGHT_BITS: u32 = 0x03;
const DIVISOR_LATCH: u32 = 0x80;
/// Data terminal ready, request to send.
const MODEM_READY: u32 = 0x03;
const DATA_READY: u32 = 0x01;
const TRANSMIT_EMPTY: u32 = 0x20;
/// What an x86 bus returns where nobody answers.
const ABSENT: u32 = 0xff;

/// Speed, and the clock that it is divided from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Line {
    /// Bits per second.
    pub baud: u32,
    /// The device's clock in hertz; a PC's is 1 843 200.
    pub clock: u32,
}

impl Line {
    /// What the divisor latch must hold: the nearest value of 1 to 65535, or `None` when there is no speed.
    #[must_use]
    pub fn divisor(self) -> Option<u16> {
        let per_bit = self.baud.checked_mul(16).filter(|&rate| rate > 0)?;
        let divisor = self.clock.checked_add(per_bit / 2)? / per_bit;
        u16::try_from(divisor).ok().filter(|&divisor| divisor > 0)
    }
}

/// A 16550 behind `R`.
#[derive(Clone, Copy, Debug)]
pub struct Ns16550<R> {
    registers: R,
    line: Option<Line>,
}

impl<R: Registers> Ns16550<R> {
    /// The device behind `registers`; [`Ns16550::init`] sets it to `line`, or leaves its speed.
    pub const fn new(registers: R, line: Option<Line>) -> Self {
        Self { registers, line }
    }

    /// Whether the scratch register keeps what is written to it. Leaves the device as it was.
    pub fn probe(&mut self) -> bool {
        let before = self.registers.read(SCRATCH);
        let mut keeps = true;
        for pattern in [0x5a, 0xa5] {
            self.registers.write(SCRATCH, pattern);
            keeps &= self.registers.read(SCRATCH) & 0xff == pattern;
        }
        self.registers.write(SCRATCH, before);
        keeps
    }

    /// See [`super::Uart::init`].
    pub fn init(&mut self) {
        self.registers.write(INTERRUPT_ENABLE, 0);
        if let Some(divisor) = self.line.and_then(Line::divisor) {
            self.registers.write(LINE_CONTROL, DIVISOR_LATCH | EIGHT_BITS);
            self.registers.write(DATA, u32::from(divisor & 0xff));
            self.registers.write(INTERRUPT_ENABLE, u32::from(divisor >> 8));
        }
        self.registers.write(LINE_CONTROL, EIGHT_BITS);
        self.registers.write(FIFO_CONTROL, FIFO_ENABLE_AND_CLEAR);
        self.registers.write(MODEM_CONTROL, MODEM_READY);
    }

    /// See [`super::Uart::put`].
    pub fn put(&mut self, byte: u8) {
        for _ in 0..PATIENCE {
            if self.registers.read(LINE_STATUS) & TRANSMIT_EMPTY != 0 {
                self.registers.write(DATA, u32::from(byte));
                return;
            }
            core::hint::spin_loop();
        }
    }

    /// See [`super::Uart::get`].
    pub fn get(&mut self) -> Option<u8> {
        let status = self.registers.read(LINE_STATUS) & 0xff;
        if status == ABSENT || status & DATA_READY == 0 {
            return None;
        }
        u8::try_from(self.registers.read(DATA) & 0xff).ok()
    }
}
