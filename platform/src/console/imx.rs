//! The UART of Freescale's and NXP's i.MX, from i.MX21 to i.MX8M.
//!
//! Registers are 32 bits wide, the FIFO of each direction a page of 16 that are all the same. What is written while the
//! transmitter is off is answered with a bus error on some chips, so it is on before anything is sent. Clock, speed and
//! pins are the boot loader's. There is no identification; the probe looks at the FIFO levels, which are never zero.
//! Linux: `drivers/tty/serial/imx_earlycon.c`, `imx.c`; earlycon `ec_imx6q`.

use super::kind::{Declared, Identity, Profile};
use super::registers::{Registers, word};
use super::{Driver, Stuck, wait};

const RECEIVE: u32 = word(0x00);
const TRANSMIT: u32 = word(0x40);
const CONTROL_1: u32 = word(0x80);
const CONTROL_2: u32 = word(0x84);
const FIFO_CONTROL: u32 = word(0x90);
const STATUS_2: u32 = word(0x98);
const TEST: u32 = word(0xb4);

/// Of control 1: the device is on. Everything else there is an interrupt, a DMA request or a power state.
const ON: u32 = 1 << 0;
/// Of control 2: not in reset, receiver, transmitter, eight bits, whatever the other side says it is ready for.
const RUNNING: u32 = 1 << 0 | 1 << 1 | 1 << 2;
const EIGHT_BITS: u32 = 1 << 5;
const IGNORE_READY_TO_SEND: u32 = 1 << 14;
/// Of the received word: it holds a byte.
const READY: u32 = 1 << 15;
const RECEIVED: u32 = 1 << 0;
const RECEIVE_FULL: u32 = 1 << 3;
const TRANSMIT_FULL: u32 = 1 << 4;
const RECEIVE_EMPTY: u32 = 1 << 5;
const TRANSMIT_EMPTY: u32 = 1 << 6;
const NO_TEST: u32 = !0x3eff;

pub(super) const PROFILE: Profile = Profile {
    declared: &[Declared::words("ec_imx6q", "fsl,imx6q-uart"), Declared::words("ec_imx21", "fsl,imx21-uart")],
    interfaces: &[0x0c],
    tty: "ttymxc",
    registers: word(0xbc),
    harmless: TEST,
    identity: Identity::Believed,
};

/// An i.MX UART behind `R`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Imx<R> {
    registers: R,
}

impl<R: Registers> Imx<R> {
    /// The device behind `registers`.
    pub(super) const fn new(registers: R) -> Self {
        Self { registers }
    }
}

impl<R: Registers> Driver for Imx<R> {
    /// Whether the FIFOs' state does not contradict itself, and the transmitter's level is one that may be set.
    fn probe(&mut self) -> bool {
        let test = self.registers.read(TEST);
        let has = |both: u32| test & both == both;
        let level = self.registers.read(FIFO_CONTROL) >> 10;
        test & NO_TEST == 0
            && !has(RECEIVE_FULL | RECEIVE_EMPTY)
            && !has(TRANSMIT_FULL | TRANSMIT_EMPTY)
            && matches!(level, 2..=32)
    }

    fn init(&mut self) {
        let running = self.registers.read(CONTROL_2);
        if running & RUNNING != RUNNING {
            self.registers.write(CONTROL_2, RUNNING | EIGHT_BITS | IGNORE_READY_TO_SEND);
        }
        self.registers.write(CONTROL_1, ON);
    }

    fn put(&mut self, byte: u8, patience: u32) -> Result<(), Stuck> {
        wait(&mut self.registers, TEST, patience, |test| test & TRANSMIT_FULL == 0)?;
        self.registers.write(TRANSMIT, u32::from(byte));
        Ok(())
    }

    fn get(&mut self) -> Option<u8> {
        if self.registers.read(STATUS_2) & RECEIVED == 0 {
            return None;
        }
        let word = self.registers.read(RECEIVE);
        u8::try_from(word & 0xff).ok().filter(|_| word & READY != 0)
    }
}
