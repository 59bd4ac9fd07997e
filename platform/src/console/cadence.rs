//! Cadence's UART, as Xilinx's Zynq and ZynqMP have it.
//!
//! Registers are 32 bits wide and 4 bytes apart; FIFOs of 64 bytes. Out of reset transmitter and receiver are off, and
//! what is written is lost: a boot loader turns them on, QEMU's `-kernel` has none, so it is done here where it was not.
//! The speed stays: the input clock is known to who set it up. The device has no identification; its probe looks at
//! registers that are never zero, for what hardware and drivers leave there.
//! Linux: `drivers/tty/serial/xilinx_uartps.c`, earlycon `cdns`.

use super::kind::{Declared, Identity, Profile};
use super::registers::{Registers, word};
use super::{Driver, Stuck, wait};

const CONTROL: u32 = word(0x00);
const MODE: u32 = word(0x04);
const INTERRUPT_DISABLE: u32 = word(0x0c);
const INTERRUPT_STATUS: u32 = word(0x14);
const BAUD_GENERATOR: u32 = word(0x18);
const STATUS: u32 = word(0x2c);
const FIFO: u32 = word(0x30);
const BAUD_DIVIDER: u32 = word(0x34);
const TRANSMIT_LEVEL: u32 = word(0x44);

const RESET_RECEIVER: u32 = 1 << 0;
const RESET_TRANSMITTER: u32 = 1 << 1;
const RECEIVER_ON: u32 = 1 << 2;
const RECEIVER_OFF: u32 = 1 << 3;
const TRANSMITTER_ON: u32 = 1 << 4;
const TRANSMITTER_OFF: u32 = 1 << 5;
/// Both directions, of the bits that turn them on and off.
const ON: u32 = RECEIVER_ON | TRANSMITTER_ON;
const ON_OR_OFF: u32 = ON | RECEIVER_OFF | TRANSMITTER_OFF;
const RESETS: u32 = RESET_RECEIVER | RESET_TRANSMITTER;
/// Eight data bits, no parity, one stop bit, the clock as it is.
const EIGHT_BITS: u32 = 0x20;
/// The prescaler of the clock, part of what makes the speed.
const PRESCALER: u32 = 0x01;
const ALL_INTERRUPTS: u32 = 0x3fff;

const RECEIVE_EMPTY: u32 = 1 << 1;
const RECEIVE_FULL: u32 = 1 << 2;
const TRANSMIT_EMPTY: u32 = 1 << 3;
const TRANSMIT_FULL: u32 = 1 << 4;
/// Bits of the status that are none.
const NO_STATUS: u32 = !0x7fff;

pub(super) const PROFILE: Profile = Profile {
    declared: &[
        Declared::words("cdns", "cdns,uart-r1p8"),
        Declared::words("cdns", "cdns,uart-r1p12"),
        Declared::words("cdns", "xlnx,xuartps"),
        Declared::words("cdns", "xlnx,zynqmp-uart"),
    ],
    interfaces: &[],
    tty: "ttyPS",
    registers: word(0x4c),
    harmless: STATUS,
    identity: Identity::Believed,
};

/// A Cadence UART behind `R`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cadence<R> {
    registers: R,
}

impl<R: Registers> Cadence<R> {
    /// The device behind `registers`.
    pub(super) const fn new(registers: R) -> Self {
        Self { registers }
    }
}

impl<R: Registers> Driver for Cadence<R> {
    /// Whether the status does not contradict itself, and what makes speed and thresholds is what it may be.
    fn probe(&mut self) -> bool {
        let status = self.registers.read(STATUS);
        let has = |both: u32| status & both == both;
        status & NO_STATUS == 0
            && !has(RECEIVE_EMPTY | RECEIVE_FULL)
            && !has(TRANSMIT_EMPTY | TRANSMIT_FULL)
            && matches!(self.registers.read(BAUD_GENERATOR), 1..=0xffff)
            && matches!(self.registers.read(BAUD_DIVIDER), 4..=0xff)
            && matches!(self.registers.read(TRANSMIT_LEVEL), 1..=0x3f)
    }

    fn init(&mut self) {
        self.registers.write(INTERRUPT_DISABLE, ALL_INTERRUPTS);
        self.registers.write(INTERRUPT_STATUS, ALL_INTERRUPTS);
        let control = self.registers.read(CONTROL);
        if control & ON_OR_OFF != ON {
            let mode = self.registers.read(MODE) & PRESCALER;
            self.registers.write(MODE, mode | EIGHT_BITS);
            // The resets end by themselves.
            self.registers.write(CONTROL, control & !ON_OR_OFF | ON | RESETS);
        }
    }

    fn put(&mut self, byte: u8, patience: u32) -> Result<(), Stuck> {
        wait(&mut self.registers, STATUS, patience, |status| status & TRANSMIT_FULL == 0)?;
        self.registers.write(FIFO, u32::from(byte));
        Ok(())
    }

    fn get(&mut self) -> Option<u8> {
        if self.registers.read(STATUS) & RECEIVE_EMPTY != 0 {
            return None;
        }
        u8::try_from(self.registers.read(FIFO) & 0xff).ok()
    }
}
