//! The low-power UART of Freescale's and NXP's chips, in its form with registers of 32 bits.
//!
//! In an i.MX four registers say which version it is, and the UART's own begin behind them, which is what an `earlycon=`
//! names; in a Layerscape they are not there, and LS1021A's has the most significant byte first. An overrun stops the
//! receiver until it is acknowledged. Clock, speed and pins are the boot loader's.
//! Linux: `drivers/tty/serial/fsl_lpuart.c`, earlycon `lpuart32`.

use super::kind::{Declared, Identity, Profile};
use super::registers::{Registers, Width, word};
use super::{Driver, Stuck, wait};

const SPEED: u32 = word(0x00);
const STATUS: u32 = word(0x04);
const CONTROL: u32 = word(0x08);
const DATA: u32 = word(0x0c);
const LEVELS: u32 = word(0x1c);

/// The divisor of the speed.
const DIVISOR: u32 = 0x1fff;
const OVERRUN: u32 = 1 << 19;
const RECEIVED: u32 = 1 << 21;
const ALL_SENT: u32 = 1 << 22;
const TRANSMIT_ROOM: u32 = 1 << 23;
/// Bits of the status that are cleared by writing ones to them, beside those that say how the line is.
const ACKNOWLEDGED: u32 = 0xc01f_c000;
const NO_STATUS: u32 = 0x3fff;
/// Receiver and transmitter.
const ENABLE: u32 = 1 << 18 | 1 << 19;
const INTERRUPTS: u32 = 0x0ff0_c000;

/// Behind the four registers of an i.MX.
const fn imx(compatible: &'static str) -> Declared {
    Declared { register_0: 0x10, ..Declared::words("lpuart32", compatible) }
}

pub(super) const PROFILE: Profile = Profile {
    declared: &[
        Declared::words("lpuart32", "fsl,ls1028a-lpuart"),
        Declared { width: Width::Bits32Big, ..Declared::words("lpuart32", "fsl,ls1021a-lpuart") },
        imx("fsl,imx7ulp-lpuart"),
        imx("fsl,imx8ulp-lpuart"),
        imx("fsl,imx8qxp-lpuart"),
    ],
    interfaces: &[],
    tty: "ttyLP",
    registers: word(0x20),
    harmless: STATUS,
    identity: Identity::Believed,
};

/// An LPUART behind `R`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lpuart<R> {
    registers: R,
}

impl<R: Registers> Lpuart<R> {
    /// The device behind `registers`.
    pub(super) const fn new(registers: R) -> Self {
        Self { registers }
    }
}

impl<R: Registers> Driver for Lpuart<R> {
    /// Whether the status has no bits that there are not and does not contradict itself, and a speed is set.
    fn probe(&mut self) -> bool {
        let status = self.registers.read(STATUS);
        status & NO_STATUS == 0
            && (status & ALL_SENT == 0 || status & TRANSMIT_ROOM != 0)
            && self.registers.read(SPEED) & DIVISOR != 0
    }

    fn init(&mut self) {
        let control = self.registers.read(CONTROL) & !INTERRUPTS;
        self.registers.write(CONTROL, control | ENABLE);
    }

    fn put(&mut self, byte: u8, patience: u32) -> Result<(), Stuck> {
        wait(&mut self.registers, STATUS, patience, |status| status & TRANSMIT_ROOM != 0)?;
        self.registers.write(DATA, u32::from(byte));
        Ok(())
    }

    fn get(&mut self) -> Option<u8> {
        let status = self.registers.read(STATUS);
        if status & OVERRUN != 0 {
            self.registers.write(STATUS, status & !ACKNOWLEDGED | OVERRUN);
        }
        // Without a FIFO the one flag tells; with one it waits for a level, and the count tells.
        if status & RECEIVED == 0 && self.registers.read(LEVELS) >> 24 == 0 {
            return None;
        }
        u8::try_from(self.registers.read(DATA) & 0xff).ok()
    }
}
