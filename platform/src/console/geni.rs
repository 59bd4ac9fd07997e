//! Qualcomm's GENI serial engine with the firmware of a UART: the debug console from SDM845 on.
//!
//! The engine runs commands. To send is one: its length, the command, and, once the FIFO asks for it, the bytes; the
//! next waits until it is done. One byte a command is what a polled console needs. A second sequencer receives: it is
//! started once, and then fills a FIFO of words. How many bytes go into a word is set up here (one), because every
//! firmware has its own idea and a word of four waits for three more. Who loaded what firmware into the engine stands in
//! a register, and makes the probe. Clocks and pins are the boot loader's.
//! Linux: `drivers/tty/serial/qcom_geni_serial.c`, `include/linux/qcom-geni-se.h`; earlycon `qcom_geni`.

use super::kind::{Declared, Identity, Profile};
use super::registers::{Registers, word};
use super::{Driver, PATIENCE, Stuck, wait};

const FORCE_DEFAULT: u32 = word(0x20);
const STATUS: u32 = word(0x40);
/// What firmware the engine has: the protocol in the second byte.
const FIRMWARE_REVISION: u32 = word(0x68);
const DMA_MODE: u32 = word(0x258);
const TRANSMIT_CONFIG: u32 = word(0x25c);
const TRANSMIT_PACKING: [u32; 2] = [word(0x260), word(0x264)];
const TRANSMIT_LENGTH: u32 = word(0x270);
const RECEIVE_PACKING: [u32; 2] = [word(0x284), word(0x288)];
/// The main sequencer sends.
const MAIN_COMMAND: u32 = word(0x600);
const MAIN_CONTROL: u32 = word(0x604);
const MAIN_STATUS: u32 = word(0x610);
const MAIN_CLEAR: u32 = word(0x618);
/// The second sequencer receives.
const SECOND_COMMAND: u32 = word(0x630);
const SECOND_CONTROL: u32 = word(0x634);
const SECOND_CLEAR: u32 = word(0x648);
const TRANSMIT_FIFO: u32 = word(0x700);
const RECEIVE_FIFO: u32 = word(0x780);
const RECEIVE_FIFO_STATUS: u32 = word(0x804);
const TRANSMIT_WATERMARK: u32 = word(0x80c);

/// The protocol of a UART.
const UART: u32 = 2;
const MAIN_ACTIVE: u32 = 1 << 0;
/// Starts to send, and on the second sequencer to receive.
const START: u32 = 1 << 27;
const ABORT: u32 = 1 << 1;
const DONE: u32 = 1 << 0;
const ABORTED: u32 = 1 << 5;
const WANTS_WORDS: u32 = 1 << 30;
/// Sends whatever the other side says it is ready for.
const IGNORE_CLEAR_TO_SEND: u32 = 1 << 1;
/// One byte, from bit 0 up, and nothing after it.
const BYTE_PER_WORD: [u32; 2] = [0x0f, 0];
/// Words that the receiver's FIFO holds.
const WORDS: u32 = 0x01ff_ffff;

pub(super) const PROFILE: Profile = Profile {
    declared: &[
        Declared::words("qcom_geni", "qcom,geni-debug-uart"),
        // The same engine; what differs is who uses it.
        Declared::words("qcom_geni", "qcom,geni-uart"),
    ],
    interfaces: &[0x11, 0x13],
    tty: "ttyMSM",
    registers: word(0x1000),
    harmless: FIRMWARE_REVISION,
    identity: Identity::Believed,
};

/// A GENI UART behind `R`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geni<R> {
    registers: R,
}

impl<R: Registers> Geni<R> {
    /// The device behind `registers`.
    pub(super) const fn new(registers: R) -> Self {
        Self { registers }
    }

    /// Waits until the command is done, else ends it.
    fn finish(&mut self, patience: u32) -> Result<(), Stuck> {
        let done = wait(&mut self.registers, MAIN_STATUS, patience, |status| status & DONE != 0);
        if done.is_err() {
            self.abort(patience);
        }
        self.registers.write(MAIN_CLEAR, DONE | ABORTED | WANTS_WORDS);
        done
    }

    /// Ends the command that the main sequencer runs; a sequencer that cannot even do that is stuck, as the next byte
    /// will find.
    fn abort(&mut self, patience: u32) {
        self.registers.write(MAIN_CONTROL, ABORT);
        let _ = wait(&mut self.registers, MAIN_STATUS, patience, |status| status & ABORTED != 0);
        self.registers.write(MAIN_CLEAR, DONE | ABORTED | WANTS_WORDS);
    }

    fn write_both(&mut self, registers: [u32; 2], values: [u32; 2]) {
        for (register, value) in registers.into_iter().zip(values) {
            self.registers.write(register, value);
        }
    }
}

impl<R: Registers> Driver for Geni<R> {
    fn probe(&mut self) -> bool {
        let revision = self.registers.read(FIRMWARE_REVISION);
        revision >> 8 & 0xff == UART && self.registers.read(STATUS) != u32::MAX
    }

    fn init(&mut self) {
        if wait(&mut self.registers, STATUS, PATIENCE, |status| status & MAIN_ACTIVE == 0).is_err() {
            self.abort(PATIENCE);
        }
        self.registers.write(SECOND_CONTROL, ABORT);
        let _ = wait(&mut self.registers, SECOND_CONTROL, PATIENCE, |control| control & ABORT == 0);
        self.registers.write(SECOND_CLEAR, DONE | ABORTED);
        self.registers.write(FORCE_DEFAULT, 1);
        self.registers.write(DMA_MODE, 0);
        self.registers.write(TRANSMIT_CONFIG, IGNORE_CLEAR_TO_SEND);
        self.write_both(TRANSMIT_PACKING, BYTE_PER_WORD);
        self.write_both(RECEIVE_PACKING, BYTE_PER_WORD);
        self.registers.write(MAIN_CLEAR, DONE | ABORTED | WANTS_WORDS);
        self.registers.write(SECOND_COMMAND, START);
    }

    fn put(&mut self, byte: u8, patience: u32) -> Result<(), Stuck> {
        self.registers.write(TRANSMIT_WATERMARK, 2);
        self.registers.write(TRANSMIT_LENGTH, 1);
        self.registers.write(MAIN_COMMAND, START);
        if wait(&mut self.registers, MAIN_STATUS, patience, |status| status & WANTS_WORDS != 0).is_err() {
            self.abort(patience);
            return Err(Stuck);
        }
        self.registers.write(TRANSMIT_FIFO, u32::from(byte));
        self.finish(patience)
    }

    fn get(&mut self) -> Option<u8> {
        if self.registers.read(RECEIVE_FIFO_STATUS) & WORDS == 0 {
            return None;
        }
        u8::try_from(self.registers.read(RECEIVE_FIFO) & 0xff).ok()
    }
}
