//! The UART of Marvell's Armada 3700.
//!
//! Five registers of 32 bits. The boot loader has set clock, speed and pins, and nothing turns the device on or off.
//! There is no identification; the probe looks for contradictions in the status and for a speed. The second UART of the
//! chip lies otherwise, and is never the console.
//! Linux: `drivers/tty/serial/mvebu-uart.c`, earlycon `ar3700_uart`.

use super::kind::{Declared, Identity, Profile};
use super::registers::{Registers, word};
use super::{Driver, Stuck, wait};

const RECEIVE: u32 = word(0x00);
const TRANSMIT: u32 = word(0x04);
const CONTROL: u32 = word(0x08);
const STATUS: u32 = word(0x0c);
const SPEED: u32 = word(0x10);

const INTERRUPTS: u32 = 0x1ff;
const RECEIVED: u32 = 1 << 4;
/// Nothing is left to send, in the FIFO or on its way.
const ALL_SENT: u32 = 1 << 6;
const RECEIVE_FULL: u32 = 1 << 8;
const TRANSMIT_FULL: u32 = 1 << 11;
const RECEIVE_EMPTY: u32 = 1 << 12;
const TRANSMIT_EMPTY: u32 = 1 << 13;
const NO_STATUS: u32 = !0x3fff;

pub(super) const PROFILE: Profile = Profile {
    declared: &[Declared::words("ar3700_uart", "marvell,armada-3700-uart")],
    interfaces: &[],
    tty: "ttyMV",
    registers: word(0x14),
    harmless: STATUS,
    identity: Identity::Believed,
};

/// An Armada 3700's UART behind `R`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Armada<R> {
    registers: R,
}

impl<R: Registers> Armada<R> {
    /// The device behind `registers`.
    pub(super) const fn new(registers: R) -> Self {
        Self { registers }
    }
}

impl<R: Registers> Driver for Armada<R> {
    fn probe(&mut self) -> bool {
        let status = self.registers.read(STATUS);
        let has = |both: u32| status & both == both;
        status & NO_STATUS == 0
            && !has(RECEIVE_FULL | RECEIVE_EMPTY)
            && !has(TRANSMIT_FULL | TRANSMIT_EMPTY)
            && (status & ALL_SENT == 0 || status & TRANSMIT_EMPTY != 0)
            && self.registers.read(SPEED) != 0
    }

    fn init(&mut self) {
        let control = self.registers.read(CONTROL);
        self.registers.write(CONTROL, control & !INTERRUPTS);
    }

    fn put(&mut self, byte: u8, patience: u32) -> Result<(), Stuck> {
        wait(&mut self.registers, STATUS, patience, |status| status & TRANSMIT_FULL == 0)?;
        self.registers.write(TRANSMIT, u32::from(byte));
        Ok(())
    }

    fn get(&mut self) -> Option<u8> {
        if self.registers.read(STATUS) & RECEIVED == 0 {
            return None;
        }
        u8::try_from(self.registers.read(RECEIVE) & 0xff).ok()
    }
}
