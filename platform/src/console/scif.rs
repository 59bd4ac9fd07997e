//! Renesas' SCIF: the serial interface with FIFOs of R-Car and RZ/G.
//!
//! Registers lie 4 bytes apart and are 16 bits wide, but the data registers a byte, and each wants to be accessed as wide
//! as it is. Flags are cleared by writing zeroes to them after they were read as ones; ones leave the others alone.
//! Clock, speed and pins are the boot loader's.
//! Linux: `drivers/tty/serial/sh-sci.c`, earlycon `scif`.

use super::kind::{Declared, Identity, Profile};
use super::registers::{Registers, Width};
use super::{Driver, Stuck, wait};

/// Registers by number, 4 bytes each.
const CONTROL: u32 = 2;
const TRANSMIT: u32 = 3;
const STATUS: u32 = 4;
const RECEIVE: u32 = 5;
/// How much is in the FIFOs.
const LEVELS: u32 = 7;

/// Which clock the speed is divided from.
const CLOCK: u32 = 0x03;
/// Transmitter and receiver; the bits above are interrupts.
const ENABLE: u32 = 0x30;
/// A byte, or enough of them, arrived.
const RECEIVED: u32 = 0x03;
const TRANSMIT_ROOM: u32 = 0x20;
const ALL_SENT: u32 = 0x40;
/// Errors that stop the receiver until they are cleared.
const ERRORS: u32 = 0x90;
/// Of the levels: bits that no FIFO of 16 bytes needs.
const NO_LEVELS: u32 = !0x1f1f;
const RECEIVED_BYTES: u32 = 0x1f;
const BYTES_TO_SEND: u32 = 0x1f00;
/// The flags that writing concerns.
const FLAGS: u32 = 0xff;

pub(super) const PROFILE: Profile = Profile {
    declared: &[Declared {
        earlycon: "scif",
        compatible: "renesas,scif",
        shift: 2,
        width: Width::Bits16,
        register_0: 0,
    }],
    interfaces: &[],
    tty: "ttySC",
    registers: 10,
    harmless: STATUS,
    identity: Identity::Believed,
};

/// A SCIF behind `R`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scif<R> {
    registers: R,
}

impl<R: Registers> Scif<R> {
    /// The device behind `registers`.
    pub(super) const fn new(registers: R) -> Self {
        Self { registers }
    }

    /// Clears `flags`, which were just read.
    fn clear(&mut self, flags: u32) {
        self.registers.write(STATUS, FLAGS & !flags);
    }
}

impl<R: Registers> Driver for Scif<R> {
    /// Whether the FIFOs hold no more than they can, and the transmitter either has something to send or says that
    /// there is room.
    fn probe(&mut self) -> bool {
        let levels = self.registers.read(LEVELS);
        let status = self.registers.read(STATUS);
        levels & NO_LEVELS == 0 && (levels & BYTES_TO_SEND != 0 || status & (TRANSMIT_ROOM | ALL_SENT) != 0)
    }

    fn init(&mut self) {
        let control = self.registers.read(CONTROL);
        self.registers.write(CONTROL, control & CLOCK | ENABLE);
    }

    fn put(&mut self, byte: u8, patience: u32) -> Result<(), Stuck> {
        wait(&mut self.registers, STATUS, patience, |status| status & TRANSMIT_ROOM != 0)?;
        self.registers.write_byte(TRANSMIT, byte);
        self.clear(TRANSMIT_ROOM | ALL_SENT);
        Ok(())
    }

    fn get(&mut self) -> Option<u8> {
        if self.registers.read(STATUS) & ERRORS != 0 {
            self.clear(ERRORS);
        }
        // The count, since the flags speak of a level.
        if self.registers.read(LEVELS) & RECEIVED_BYTES == 0 {
            return None;
        }
        let byte = self.registers.read_byte(RECEIVE);
        let _ = self.registers.read(STATUS);
        self.clear(RECEIVED);
        Some(byte)
    }
}
