//! Serial consoles: where one is, and how to put and get a byte there.
//!
//! A [`ConsoleSpec`] says which device answers at which address. It comes from the command line (`earlycon=`,
//! `console=`), from the device tree's `stdout-path` or ACPI's SPCR, or from the board's
//! table; [`spec::choose`] puts these in order.
//! The arch crate maps the device and supplies [`Registers`]; [`Uart`] drives it, polled, without interrupts.
//! A device that is absent or stuck costs a bounded wait, never a hang.
//!
//! Linux: `drivers/tty/serial/earlycon.c`, `8250_early.c`, `amba-pl011.c`.

pub mod ns16550;
pub mod pl011;
pub mod registers;
pub mod spec;

use core::fmt;

pub use ns16550::Ns16550;
pub use pl011::Pl011;
pub use registers::{Registers, Width, Window};
pub use spec::{ConsoleSpec, UartKind};

/// How often a full transmitter is polled before a byte is given up: about a second on hardware, and soon enough that
/// a kernel whose console is absent still boots.
pub(crate) const PATIENCE: u32 = if cfg!(miri) { 50 } else { 200_000 };

/// A serial device of a kind that is known here.
#[derive(Clone, Copy, Debug)]
pub enum Uart<R> {
    /// A 16550 or what is compatible with it.
    Ns16550(Ns16550<R>),
    /// Arm's PL011.
    Pl011(Pl011<R>),
}

impl<R: Registers> Uart<R> {
    /// The device of `spec`, whose registers are reached by `registers`. Touches nothing.
    pub fn new(spec: &ConsoleSpec, registers: R) -> Self {
        match spec.kind {
            UartKind::Ns16550 => Self::Ns16550(Ns16550::new(registers, spec.line())),
            UartKind::Pl011 => Self::Pl011(Pl011::new(registers)),
        }
    }

    /// Whether a device answers there. Leaves it as it was.
    pub fn probe(&mut self) -> bool {
        match self {
            Self::Ns16550(uart) => uart.probe(),
            Self::Pl011(uart) => uart.probe(),
        }
    }

    /// Interrupts off, 8 data bits, FIFOs and both directions on. The speed stays as the firmware left it, unless the
    /// spec says which it must be and what clock it is divided from.
    pub fn init(&mut self) {
        match self {
            Self::Ns16550(uart) => uart.init(),
            Self::Pl011(uart) => uart.init(),
        }
    }

    /// Sends `byte` once there is room; drops it when there is none for too long.
    pub fn put(&mut self, byte: u8) {
        match self {
            Self::Ns16550(uart) => uart.put(byte),
            Self::Pl011(uart) => uart.put(byte),
        }
    }

    /// A byte that was received, if there is one. Does not wait.
    pub fn get(&mut self) -> Option<u8> {
        match self {
            Self::Ns16550(uart) => uart.get(),
            Self::Pl011(uart) => uart.get(),
        }
    }
}

/// Text, with a carriage return before each newline.
impl<R: Registers> fmt::Write for Uart<R> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                self.put(b'\r');
            }
            self.put(byte);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
