//! The UART of Amlogic's Meson chips, of which the one in the always-on part is the console.
//!
//! Six registers of 32 bits. The boot loader has set clock, speed and pins. There is no identification; the probe looks
//! for contradictions in the status, and for one of the registers that a device in use cannot have at zero.
//! Linux: `drivers/tty/serial/meson_uart.c`, earlycon `meson`.

use super::kind::{Declared, Identity, Profile};
use super::registers::{Registers, word};
use super::{Driver, Stuck, wait};

const TRANSMIT: u32 = word(0x00);
const RECEIVE: u32 = word(0x04);
const CONTROL: u32 = word(0x08);
const STATUS: u32 = word(0x0c);
const SPEED: u32 = word(0x14);

/// Transmitter and receiver.
const ENABLE: u32 = 1 << 12 | 1 << 13;
/// No handshake lines.
const TWO_WIRES: u32 = 1 << 15;
const INTERRUPTS: u32 = 1 << 27 | 1 << 28;
const RECEIVE_FULL: u32 = 1 << 19;
const RECEIVE_EMPTY: u32 = 1 << 20;
const TRANSMIT_FULL: u32 = 1 << 21;
const TRANSMIT_EMPTY: u32 = 1 << 22;
const NO_STATUS: u32 = !0x07ff_7f7f;

pub(super) const PROFILE: Profile = Profile {
    declared: &[
        Declared::words("meson", "amlogic,meson-ao-uart"),
        Declared::words("meson", "amlogic,meson-gx-uart"),
        Declared::words("meson", "amlogic,meson-s4-uart"),
    ],
    interfaces: &[],
    tty: "ttyAML",
    registers: word(0x18),
    harmless: STATUS,
    identity: Identity::Believed,
};

/// A Meson UART behind `R`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meson<R> {
    registers: R,
}

impl<R: Registers> Meson<R> {
    /// The device behind `registers`.
    pub(super) const fn new(registers: R) -> Self {
        Self { registers }
    }
}

impl<R: Registers> Driver for Meson<R> {
    fn probe(&mut self) -> bool {
        let status = self.registers.read(STATUS);
        let has = |both: u32| status & both == both;
        status & NO_STATUS == 0
            && !has(RECEIVE_FULL | RECEIVE_EMPTY)
            && !has(TRANSMIT_FULL | TRANSMIT_EMPTY)
            && self.registers.read(CONTROL) | self.registers.read(SPEED) != 0
    }

    fn init(&mut self) {
        let control = self.registers.read(CONTROL) & !INTERRUPTS;
        let wires = if control & ENABLE == ENABLE { 0 } else { TWO_WIRES };
        self.registers.write(CONTROL, control | wires | ENABLE);
    }

    fn put(&mut self, byte: u8, patience: u32) -> Result<(), Stuck> {
        wait(&mut self.registers, STATUS, patience, |status| status & TRANSMIT_FULL == 0)?;
        self.registers.write(TRANSMIT, u32::from(byte));
        Ok(())
    }

    fn get(&mut self) -> Option<u8> {
        if self.registers.read(STATUS) & RECEIVE_EMPTY != 0 {
            return None;
        }
        u8::try_from(self.registers.read(RECEIVE) & 0xff).ok()
    }
}
