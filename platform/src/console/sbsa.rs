//! The UART of Arm's Server Base System Architecture: the part of a PL011 that every server has.
//!
//! Data, flags and interrupt registers are a PL011's. What sets up speed and format is left out, and so may be the
//! identification: the firmware has set the device up for good, and writing to where a PL011 has its control register
//! is not defined. So nothing is set up here, and the probe can only look for contradictions in the flags.
//! Linux: `sbsa_uart_pops` in `drivers/tty/serial/amba-pl011.c`, earlycon `pl011`.

use super::kind::{Declared, Identity, Profile};
use super::pl011::{self, Pl011};
use super::registers::{Registers, word};
use super::{Driver, Stuck};

pub(super) const PROFILE: Profile = Profile {
    declared: &[Declared::words("pl011", "arm,sbsa-uart")],
    interfaces: &[0x0d, 0x0e],
    tty: "ttyAMA",
    registers: word(0x48),
    harmless: pl011::FLAGS,
    identity: Identity::Believed,
};

/// An SBSA UART behind `R`.
#[derive(Clone, Copy, Debug)]
pub(super) struct SbsaUart<R> {
    registers: R,
}

impl<R: Registers> SbsaUart<R> {
    /// The device behind `registers`.
    pub(super) const fn new(registers: R) -> Self {
        Self { registers }
    }

    fn as_pl011(&mut self) -> Pl011<&mut R> {
        Pl011::new(&mut self.registers)
    }
}

impl<R: Registers> Driver for SbsaUart<R> {
    fn probe(&mut self) -> bool {
        pl011::are_flags(self.registers.read(pl011::FLAGS))
    }

    fn init(&mut self) {
        self.as_pl011().quiet();
    }

    fn put(&mut self, byte: u8, patience: u32) -> Result<(), Stuck> {
        self.as_pl011().put(byte, patience)
    }

    fn get(&mut self) -> Option<u8> {
        self.as_pl011().get()
    }
}
