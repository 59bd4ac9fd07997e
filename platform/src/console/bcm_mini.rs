//! The mini UART of Broadcom's BCM2835 and its successors: the second UART of a Raspberry Pi.
//!
//! By its registers it is a 16550, 4 bytes apart, with the speed in a register of its own. It shares a block with two
//! SPI masters, and a switch in front of the block turns each of the three on; while it is off its registers are not
//! there. So register 0 here is the block's first, and the UART's own begin 0x40 bytes further, which is the address that
//! device trees and command lines name. The speed follows the core clock, so it stays as the firmware left it; a
//! firmware that was not asked for this UART (`enable_uart=1`) has not routed its pins either.
//! Linux: `drivers/tty/serial/8250/8250_bcm2835aux.c`, earlycon `bcm2835aux`.

use super::kind::{Declared, Identity, Profile};
use super::registers::{Registers, word};
use super::{Driver, Stuck, wait};

/// Which of the block's devices are on.
const ENABLES: u32 = word(0x04);
const DATA: u32 = word(0x40);
const INTERRUPT_ENABLE: u32 = word(0x44);
/// Reads which interrupt, writes the FIFOs' control.
const INTERRUPT_ID: u32 = word(0x48);
const LINE_CONTROL: u32 = word(0x4c);
const LINE_STATUS: u32 = word(0x54);
const CONTROL: u32 = word(0x60);

/// The mini UART of the block's devices.
const MINI_UART: u32 = 1;
/// Bits of the switches that are none.
const NO_DEVICES: u32 = !0x7;
/// The FIFOs are always on, and say so.
const FIFOS_ON: u32 = 0xc0;
const EIGHT_BITS: u32 = 0x03;
/// Receiver and transmitter on, without flow control.
const ENABLE: u32 = 0x03;
const DATA_READY: u32 = 0x01;
const TRANSMIT_ROOM: u32 = 0x20;
/// Bits that no register of a byte has.
const NO_BYTE: u32 = !0xff;

pub(super) const PROFILE: Profile = Profile {
    declared: &[Declared { register_0: -0x40, ..Declared::words("bcm2835aux", "brcm,bcm2835-aux-uart") }],
    interfaces: &[],
    tty: "ttyS",
    registers: word(0x6c),
    harmless: ENABLES,
    identity: Identity::Believed,
};

/// A mini UART behind `R`.
#[derive(Clone, Copy, Debug)]
pub(super) struct BcmMiniUart<R> {
    registers: R,
}

impl<R: Registers> BcmMiniUart<R> {
    /// The device behind `registers`.
    pub(super) const fn new(registers: R) -> Self {
        Self { registers }
    }

    /// Whether the UART's registers are there: the FIFOs say that they are on, and no byte has more than eight bits.
    fn answers(&mut self) -> bool {
        let id = self.registers.read(INTERRUPT_ID);
        id & (NO_BYTE | FIFOS_ON) == FIFOS_ON && self.registers.read(LINE_STATUS) & NO_BYTE == 0
    }
}

impl<R: Registers> Driver for BcmMiniUart<R> {
    /// Whether the switch is there, and behind it the UART. Where it is off it is on for as long as the look takes.
    fn probe(&mut self) -> bool {
        let enables = self.registers.read(ENABLES);
        if enables & NO_DEVICES != 0 {
            return false;
        }
        if enables & MINI_UART != 0 {
            return self.answers();
        }
        self.registers.write(ENABLES, enables | MINI_UART);
        let found = self.registers.read(ENABLES) == enables | MINI_UART && self.answers();
        self.registers.write(ENABLES, enables);
        found
    }

    fn init(&mut self) {
        let enables = self.registers.read(ENABLES);
        self.registers.write(ENABLES, enables | MINI_UART);
        self.registers.write(INTERRUPT_ENABLE, 0);
        self.registers.write(LINE_CONTROL, EIGHT_BITS);
        self.registers.write(CONTROL, ENABLE);
    }

    fn put(&mut self, byte: u8, patience: u32) -> Result<(), Stuck> {
        wait(&mut self.registers, LINE_STATUS, patience, |status| status & TRANSMIT_ROOM != 0)?;
        self.registers.write(DATA, u32::from(byte));
        Ok(())
    }

    fn get(&mut self) -> Option<u8> {
        let status = self.registers.read(LINE_STATUS);
        if status & NO_BYTE != 0 || status & DATA_READY == 0 {
            return None;
        }
        u8::try_from(self.registers.read(DATA) & 0xff).ok()
    }
}
