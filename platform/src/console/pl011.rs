//! Arm's PL011, polled.
//!
//! Registers are 32 bits wide and 4 bytes apart; their numbers here are counted, as for all devices. The speed
//! stays as the firmware left it (QEMU has none), because the input clock is known only to who set it up. It is a
//! PrimeCell: eight registers at the end of its page say who made it and what it is.
//! Linux: `drivers/tty/serial/amba-pl011.c`, earlycon `pl011`.

use super::kind::{Declared, Identity, Profile};
use super::registers::{Registers, word};
use super::{Driver, Stuck, wait};

const DATA: u32 = word(0x00);
pub(super) const FLAGS: u32 = word(0x18);
const LINE_CONTROL: u32 = word(0x2c);
const CONTROL: u32 = word(0x30);
const INTERRUPT_MASK: u32 = word(0x38);
const INTERRUPT_CLEAR: u32 = word(0x44);

/// Offset, mask and value of the registers that make a PL011: the part number, Arm as its designer, a PrimeCell. The
/// revision differs between chips.
const IDENTITY: [(u32, u32, u32); 7] = [
    (0xfe0, 0xff, 0x11),
    (0xfe4, 0xff, 0x10),
    (0xfe8, 0x0f, 0x04),
    (0xff0, 0xff, 0x0d),
    (0xff4, 0xff, 0xf0),
    (0xff8, 0xff, 0x05),
    (0xffc, 0xff, 0xb1),
];

const BUSY: u32 = 1 << 3;
const RECEIVE_EMPTY: u32 = 1 << 4;
const TRANSMIT_FULL: u32 = 1 << 5;
const RECEIVE_FULL: u32 = 1 << 6;
const TRANSMIT_EMPTY: u32 = 1 << 7;
/// Bits of the flags that nothing defines.
const NO_FLAGS: u32 = !0x1ff;
/// Eight data bits, FIFOs on.
const EIGHT_BITS_FIFO: u32 = 0x70;
/// The device, its transmitter and its receiver on.
const ENABLE: u32 = 1 | 1 << 8 | 1 << 9;
const ALL_INTERRUPTS: u32 = 0x7ff;

pub(super) const PROFILE: Profile = Profile {
    declared: &[Declared::words("pl011", "arm,pl011")],
    // The BCM2835 of the table is its PL011.
    interfaces: &[0x03, 0x10],
    tty: "ttyAMA",
    registers: word(0x1000),
    harmless: word(0xffc),
    identity: Identity::Stated,
};

/// Whether the flags do not contradict themselves: a FIFO that is both full and empty, a transmitter that holds
/// something and does not send it, bits that there are not.
pub(super) const fn are_flags(flags: u32) -> bool {
    const fn has(flags: u32, both: u32) -> bool {
        flags & both == both
    }
    flags & NO_FLAGS == 0
        && !has(flags, TRANSMIT_FULL | TRANSMIT_EMPTY)
        && !has(flags, RECEIVE_FULL | RECEIVE_EMPTY)
        && flags & (TRANSMIT_EMPTY | BUSY) != 0
}

/// A PL011 behind `R`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pl011<R> {
    registers: R,
}

impl<R: Registers> Pl011<R> {
    /// The device behind `registers`.
    pub(super) const fn new(registers: R) -> Self {
        Self { registers }
    }

    /// Interrupts off, and forgotten.
    pub(super) fn quiet(&mut self) {
        self.registers.write(INTERRUPT_MASK, 0);
        self.registers.write(INTERRUPT_CLEAR, ALL_INTERRUPTS);
    }
}

impl<R: Registers> Driver for Pl011<R> {
    /// Whether the device's identification says that it is a PL011.
    fn probe(&mut self) -> bool {
        IDENTITY.iter().all(|&(offset, mask, value)| self.registers.read(word(offset)) & mask == value)
    }

    fn init(&mut self) {
        self.quiet();
        if self.registers.read(CONTROL) & ENABLE != ENABLE {
            // The line control register may change only while the device is off.
            self.registers.write(CONTROL, 0);
            self.registers.write(LINE_CONTROL, EIGHT_BITS_FIFO);
            self.registers.write(CONTROL, ENABLE);
        }
    }

    fn put(&mut self, byte: u8, patience: u32) -> Result<(), Stuck> {
        wait(&mut self.registers, FLAGS, patience, |flags| flags & TRANSMIT_FULL == 0)?;
        self.registers.write(DATA, u32::from(byte));
        Ok(())
    }

    fn get(&mut self) -> Option<u8> {
        if self.registers.read(FLAGS) & RECEIVE_EMPTY != 0 {
            return None;
        }
        u8::try_from(self.registers.read(DATA) & 0xff).ok()
    }
}
