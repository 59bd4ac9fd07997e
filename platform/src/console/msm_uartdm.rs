//! Qualcomm's UARTDM: the console of its chips before GENI.
//!
//! Made for DMA: the transmitter must be told how many bytes come before they do, and the receiver packs them into words
//! of four, of which the last waits half filled until it is declared stale. So a byte is sent as a transfer of one; and
//! what has been received of a word beyond its first byte is kept here until it is asked for. A boot loader may leave the
//! modes for DMA or for single bytes on; they are turned off.
//! Linux: `drivers/tty/serial/msm_serial.c`, earlycon `msm_serial_dm`.

use super::kind::{Declared, Identity, Profile};
use super::registers::{Registers, word};
use super::{Driver, PATIENCE, Stuck, wait};

/// Reads the format.
const MODE_2: u32 = word(0x04);
const STATUS: u32 = word(0x08);
const COMMAND: u32 = word(0x10);
const INTERRUPT_MASK: u32 = word(0x14);
const RECEIVE_LENGTH: u32 = word(0x34);
const MODES: u32 = word(0x3c);
const TRANSMIT_LENGTH: u32 = word(0x40);
const RECEIVE_STATUS: u32 = word(0x50);
const FIFO: u32 = word(0x70);

const RECEIVE_READY: u32 = 1 << 0;
const TRANSMIT_READY: u32 = 1 << 2;
const TRANSMIT_EMPTY: u32 = 1 << 3;
const NO_STATUS: u32 = !0x1ff;
/// The bits of the format of a console: not the one that loops back.
const FORMAT: u32 = 0x37f;
/// Commands: some are a number from bit 4 on, some a bit each.
const RECEIVER_ON: u32 = 1 << 0;
const TRANSMITTER_ON: u32 = 1 << 2;
const RESET_RECEIVER: u32 = 1 << 4;
const RESET_TRANSMITTER: u32 = 2 << 4;
const FORGET_STALE: u32 = 8 << 4;
const FORGET_TRANSMIT_READY: u32 = 3 << 8;
const DECLARE_STALE: u32 = 4 << 8;
const STALE_EVENTS_ON: u32 = 80 << 4;
/// As long a transfer as there can be.
const NO_END: u32 = 0x00ff_ffff;

pub(super) const PROFILE: Profile = Profile {
    declared: &[Declared::words("msm_serial_dm", "qcom,msm-uartdm")],
    interfaces: &[0x04, 0x09],
    tty: "ttyMSM",
    registers: word(0x74),
    harmless: STATUS,
    identity: Identity::Believed,
};

/// A UARTDM behind `R`.
#[derive(Clone, Copy, Debug)]
pub(super) struct MsmUartDm<R> {
    registers: R,
    /// What was received and not yet asked for: the next byte lowest.
    word: u32,
    /// How many bytes of it count.
    left: u32,
}

impl<R: Registers> MsmUartDm<R> {
    /// The device behind `registers`.
    pub(super) const fn new(registers: R) -> Self {
        Self { registers, word: 0, left: 0 }
    }

    /// Lets the receiver fill words, until its transfer ends by being declared stale.
    fn start_receiving(&mut self) {
        self.registers.write(COMMAND, FORGET_STALE);
        self.registers.write(RECEIVE_LENGTH, NO_END);
        self.registers.write(COMMAND, STALE_EVENTS_ON);
    }

    /// Takes a word from the FIFO, or one that is not full yet.
    fn receive(&mut self) {
        if self.registers.read(STATUS) & RECEIVE_READY != 0 {
            (self.word, self.left) = (self.registers.read(FIFO), 4);
            return;
        }
        let packed = self.registers.read(RECEIVE_STATUS) >> 7 & 7;
        if packed != 0 {
            self.registers.write(COMMAND, DECLARE_STALE);
            (self.word, self.left) = (self.registers.read(FIFO), packed.min(4));
            self.start_receiving();
        }
    }
}

impl<R: Registers> Driver for MsmUartDm<R> {
    /// Whether the status has no bits that there are not, and the format is not that of a device out of reset.
    fn probe(&mut self) -> bool {
        let mode = self.registers.read(MODE_2);
        self.registers.read(STATUS) & NO_STATUS == 0 && mode != 0 && mode & !FORMAT == 0
    }

    fn init(&mut self) {
        let _ = wait(&mut self.registers, STATUS, PATIENCE, |status| status & TRANSMIT_EMPTY != 0);
        self.registers.write(INTERRUPT_MASK, 0);
        self.registers.write(MODES, 0);
        self.registers.write(COMMAND, RESET_RECEIVER);
        self.registers.write(COMMAND, RESET_TRANSMITTER);
        self.registers.write(COMMAND, TRANSMITTER_ON | RECEIVER_ON);
        self.start_receiving();
    }

    fn put(&mut self, byte: u8, patience: u32) -> Result<(), Stuck> {
        wait(&mut self.registers, STATUS, patience, |status| status & TRANSMIT_EMPTY != 0)?;
        self.registers.write(COMMAND, FORGET_TRANSMIT_READY);
        self.registers.write(TRANSMIT_LENGTH, 1);
        // The length has arrived when it can be read.
        let _ = self.registers.read(TRANSMIT_LENGTH);
        wait(&mut self.registers, STATUS, patience, |status| status & TRANSMIT_READY != 0)?;
        self.registers.write(FIFO, u32::from(byte));
        Ok(())
    }

    fn get(&mut self) -> Option<u8> {
        if self.left == 0 {
            self.receive();
        }
        self.left = self.left.checked_sub(1)?;
        let byte = u8::try_from(self.word & 0xff).ok();
        self.word >>= 8;
        byte
    }
}
