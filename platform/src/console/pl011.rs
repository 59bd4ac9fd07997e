//! Arm's PL011, polled.
//!
//! Registers are 32 bits wide and 4 bytes apart; their numbers here are the manual's offsets divided by 4. The speed
//! stays as the firmware left it (QEMU has none), because the input clock is known only to who set it up.
//! Linux: `drivers/tty/serial/amba-pl011.c`.

use super::PATIENCE;
use super::registers::Registers;

const DATA: u32 = 0;
const FLAGS: u32 = 0x18 / 4;
const LINE_CONTROL: u32 = 0x2c / 4;
const CONTROL: u32 = 0x30 / 4;
const INTERRUPT_MASK: u32 = 0x38 / 4;
const INTERRUPT_CLEAR: u32 = 0x44 / 4;
/// The low two bytes of the part number: 0x011.
const PERIPHERAL_ID_0: u32 = 0xfe0 / 4;
const PERIPHERAL_ID_1: u32 = 0xfe4 / 4;

const RECEIVE_EMPTY: u32 = 1 << 4;
const TRANSMIT_FULL: u32 = 1 << 5;
/// Eight data bits, FIFOs on.
const EIGHT_BITS_FIFO: u32 = 0x70;
/// The device, its transmitter and its receiver on.
const ENABLE: u32 = 1 | 1 << 8 | 1 << 9;
const ALL_INTERRUPTS: u32 = 0x7ff;

/// A PL011 behind `R`.
#[derive(Clone, Copy, Debug)]
pub struct Pl011<R> {
    registers: R,
}

impl<R: Registers> Pl011<R> {
    /// The device behind `registers`.
    pub const fn new(registers: R) -> Self {
        Self { registers }
    }

    /// Whether the device's identification says that it is a PL011.
    pub fn probe(&mut self) -> bool {
        self.registers.read(PERIPHERAL_ID_0) & 0xff == 0x11 && self.registers.read(PERIPHERAL_ID_1) & 0x0f == 0
    }

    /// See [`super::Uart::init`].
    pub fn init(&mut self) {
        self.registers.write(INTERRUPT_MASK, 0);
        self.registers.write(INTERRUPT_CLEAR, ALL_INTERRUPTS);
        if self.registers.read(CONTROL) & ENABLE != ENABLE {
            // The line control register may change only while the device is off.
            self.registers.write(CONTROL, 0);
            self.registers.write(LINE_CONTROL, EIGHT_BITS_FIFO);
            self.registers.write(CONTROL, ENABLE);
        }
    }

    /// See [`super::Uart::put`].
    pub fn put(&mut self, byte: u8) {
        for _ in 0..PATIENCE {
            if self.registers.read(FLAGS) & TRANSMIT_FULL == 0 {
                self.registers.write(DATA, u32::from(byte));
                return;
            }
            core::hint::spin_loop();
        }
    }

    /// See [`super::Uart::get`].
    pub fn get(&mut self) -> Option<u8> {
        if self.registers.read(FLAGS) & RECEIVE_EMPTY != 0 {
            return None;
        }
        u8::try_from(self.registers.read(DATA) & 0xff).ok()
    }
}
