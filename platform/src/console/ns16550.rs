//! The 16550 and its many descendants, polled.
//!
//! Works on what the reset or the firmware left; it is set up only where nobody did that. An absent device on an x86 bus
//! reads as all ones, which must neither look like endless input nor like a full transmitter. DesignWare's ignores what
//! is written to its line control while it sends or receives, so that is waited for, and the divisor is written
//! only where the latch did open: else it would go out as characters.
//! Linux: `drivers/tty/serial/8250/8250_early.c`, `dw8250_check_lcr` in `8250_dw.c`; earlycon `uart8250`.

use super::kind::{Declared, Identity, Profile};
use super::registers::{Registers, Width};
use super::{Driver, PATIENCE, Stuck, wait};

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
/// Nothing is left to send, in the FIFO or on its way.
const IDLE: u32 = 0x40;
/// What an x86 bus returns where nobody answers.
const ABSENT: u32 = 0xff;

/// One byte a register, next to each other.
const fn bytes(earlycon: &'static str, compatible: &'static str) -> Declared {
    Declared { earlycon, compatible, shift: 0, width: Width::Bits8, register_0: 0 }
}

/// One byte a register, in the first of four.
const fn spread(earlycon: &'static str, compatible: &'static str) -> Declared {
    Declared { earlycon, compatible, shift: 2, width: Width::Bits8, register_0: 0 }
}

pub(super) const PROFILE: Profile = Profile {
    declared: &[
        bytes("uart", "snps,dw-apb-uart"),
        bytes("uart8250", ""),
        bytes("ns16550", "ns16550"),
        bytes("ns16550a", "ns16550a"),
        Declared::words("uart", "nvidia,tegra20-uart"),
        spread("omap8250", "ti,omap2-uart"),
        spread("omap8250", "ti,omap3-uart"),
        spread("omap8250", "ti,omap4-uart"),
        spread("omap8250", "ti,am654-uart"),
        Declared::words("mtk8250", "mediatek,mt6577-uart"),
    ],
    interfaces: &[0x00, 0x01, 0x05, 0x12],
    tty: "ttyS",
    registers: 8,
    harmless: SCRATCH,
    identity: Identity::Believed,
};

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
pub(super) struct Ns16550<R> {
    registers: R,
    line: Option<Line>,
}

impl<R: Registers> Ns16550<R> {
    /// The device behind `registers`; [`Ns16550::init`] sets it to `line`, or leaves its speed.
    pub(super) const fn new(registers: R, line: Option<Line>) -> Self {
        Self { registers, line }
    }

    /// Opens the latch, sets the speed and closes it; leaves the speed where the latch stays shut.
    fn set_divisor(&mut self, divisor: u16) {
        self.registers.write(LINE_CONTROL, DIVISOR_LATCH | EIGHT_BITS);
        if self.registers.read(LINE_CONTROL) & DIVISOR_LATCH != 0 {
            self.registers.write(DATA, u32::from(divisor & 0xff));
            self.registers.write(INTERRUPT_ENABLE, u32::from(divisor >> 8));
        }
    }
}

impl<R: Registers> Driver for Ns16550<R> {
    /// Whether the scratch register keeps what is written to it. Leaves the device as it was.
    fn probe(&mut self) -> bool {
        let before = self.registers.read(SCRATCH);
        let mut keeps = true;
        for pattern in [0x5a, 0xa5] {
            self.registers.write(SCRATCH, pattern);
            keeps &= self.registers.read(SCRATCH) & 0xff == pattern;
        }
        self.registers.write(SCRATCH, before);
        keeps
    }

    fn init(&mut self) {
        // What the firmware said last goes out first. A device that never gets there is set up as well as can be.
        let _ = wait(&mut self.registers, LINE_STATUS, PATIENCE, |status| status & IDLE != 0);
        self.registers.write(INTERRUPT_ENABLE, 0);
        if let Some(divisor) = self.line.and_then(Line::divisor) {
            self.set_divisor(divisor);
        }
        self.registers.write(LINE_CONTROL, EIGHT_BITS);
        self.registers.write(FIFO_CONTROL, FIFO_ENABLE_AND_CLEAR);
        self.registers.write(MODEM_CONTROL, MODEM_READY);
    }

    fn put(&mut self, byte: u8, patience: u32) -> Result<(), Stuck> {
        wait(&mut self.registers, LINE_STATUS, patience, |status| status & TRANSMIT_EMPTY != 0)?;
        self.registers.write(DATA, u32::from(byte));
        Ok(())
    }

    fn get(&mut self) -> Option<u8> {
        let status = self.registers.read(LINE_STATUS) & 0xff;
        if status == ABSENT || status & DATA_READY == 0 {
            return None;
        }
        u8::try_from(self.registers.read(DATA) & 0xff).ok()
    }
}
