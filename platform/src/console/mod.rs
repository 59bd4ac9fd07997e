//! Serial consoles: where one is, and how to put and get a byte there.
//!
//! A [`ConsoleSpec`] says which device answers at which address. It comes from the command line (`earlycon=`,
//! `console=`), from the device tree's `stdout-path` or ACPI's SPCR, or from the board's
//! table; [`spec::choose`] puts these in order. [`UartKind`] knows every kind by all of its names.
//! The arch crate maps the device and supplies [`Registers`]; [`Uart`] drives it, polled, without interrupts.
//! A device that is absent or stuck costs a bounded wait, never a hang: the first byte that finds no room waits long,
//! those after it hardly, until one goes through.
//!
//! Linux: `drivers/tty/serial/earlycon.c`, and the file that each driver names.

mod armada;
mod bcm_mini;
mod cadence;
mod geni;
mod imx;
pub mod kind;
mod lpuart;
mod meson;
mod msm_uartdm;
pub mod ns16550;
mod pl011;
pub mod registers;
mod sbsa;
mod scif;
pub mod spec;

use core::fmt;

use armada::Armada;
use bcm_mini::BcmMiniUart;
use cadence::Cadence;
use geni::Geni;
use imx::Imx;
pub use kind::UartKind;
use lpuart::Lpuart;
use meson::Meson;
use msm_uartdm::MsmUartDm;
use ns16550::Ns16550;
use pl011::Pl011;
pub use registers::{Registers, Width, Window};
use sbsa::SbsaUart;
use scif::Scif;
pub use spec::ConsoleSpec;

/// How often a full transmitter is polled before a byte is given up: about a second on hardware, and soon enough that
/// a kernel whose console is absent still boots.
pub(crate) const PATIENCE: u32 = if cfg!(miri) { 50 } else { 200_000 };

/// As [`PATIENCE`], once a byte was given up.
const LITTLE_PATIENCE: u32 = 10;

/// The transmitter had no room for too long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stuck;

/// What every driver does.
trait Driver {
    /// Whether such a device answers there. Leaves it as it was.
    fn probe(&mut self) -> bool;

    /// See [`Uart::init`].
    fn init(&mut self);

    /// Sends `byte` once there is room, which is asked `patience` times.
    fn put(&mut self, byte: u8, patience: u32) -> Result<(), Stuck>;

    /// See [`Uart::get`].
    fn get(&mut self) -> Option<u8>;

    /// See [`Uart::send`]. `patience` is what each byte has; one that is given up leaves little of it.
    fn send(&mut self, text: &[u8], patience: &mut u32) {
        for &byte in text {
            if byte == b'\n' {
                *patience = self.patience_after(b'\r', *patience);
            }
            *patience = self.patience_after(byte, *patience);
        }
    }

    /// Sends `byte`; the patience that the next one has.
    fn patience_after(&mut self, byte: u8, patience: u32) -> u32 {
        match self.put(byte, patience) {
            Ok(()) => PATIENCE,
            Err(Stuck) => LITTLE_PATIENCE,
        }
    }
}

/// Reads `register` up to `patience` times, until its value is `ready`.
fn wait(
    registers: &mut impl Registers,
    register: u32,
    patience: u32,
    ready: impl Fn(u32) -> bool,
) -> Result<(), Stuck> {
    for _ in 0..patience {
        if ready(registers.read(register)) {
            return Ok(());
        }
        core::hint::spin_loop();
    }
    Err(Stuck)
}

/// A serial device of a kind that is known here.
#[derive(Clone, Copy, Debug)]
pub struct Uart<R> {
    device: Device<R>,
    patience: u32,
}

#[derive(Clone, Copy, Debug)]
enum Device<R> {
    Ns16550(Ns16550<R>),
    Pl011(Pl011<R>),
    SbsaUart(SbsaUart<R>),
    BcmMiniUart(BcmMiniUart<R>),
    Cadence(Cadence<R>),
    Geni(Geni<R>),
    Imx(Imx<R>),
    Meson(Meson<R>),
    MsmUartDm(MsmUartDm<R>),
    Armada(Armada<R>),
    Lpuart(Lpuart<R>),
    Scif(Scif<R>),
}

impl<R: Registers> Uart<R> {
    /// The device of `spec`, whose registers are reached by `registers`. Touches nothing.
    pub fn new(spec: &ConsoleSpec, registers: R) -> Self {
        let device = match spec.kind {
            UartKind::Ns16550 => Device::Ns16550(Ns16550::new(registers, spec.line())),
            UartKind::Pl011 => Device::Pl011(Pl011::new(registers)),
            UartKind::SbsaUart => Device::SbsaUart(SbsaUart::new(registers)),
            UartKind::BcmMiniUart => Device::BcmMiniUart(BcmMiniUart::new(registers)),
            UartKind::Cadence => Device::Cadence(Cadence::new(registers)),
            UartKind::Geni => Device::Geni(Geni::new(registers)),
            UartKind::Imx => Device::Imx(Imx::new(registers)),
            UartKind::Meson => Device::Meson(Meson::new(registers)),
            UartKind::MsmUartDm => Device::MsmUartDm(MsmUartDm::new(registers)),
            UartKind::Armada => Device::Armada(Armada::new(registers)),
            UartKind::Lpuart => Device::Lpuart(Lpuart::new(registers)),
            UartKind::Scif => Device::Scif(Scif::new(registers)),
        };
        Self { device, patience: PATIENCE }
    }

    fn driver(&mut self) -> &mut dyn Driver {
        match &mut self.device {
            Device::Ns16550(uart) => uart,
            Device::Pl011(uart) => uart,
            Device::SbsaUart(uart) => uart,
            Device::BcmMiniUart(uart) => uart,
            Device::Cadence(uart) => uart,
            Device::Geni(uart) => uart,
            Device::Imx(uart) => uart,
            Device::Meson(uart) => uart,
            Device::MsmUartDm(uart) => uart,
            Device::Armada(uart) => uart,
            Device::Lpuart(uart) => uart,
            Device::Scif(uart) => uart,
        }
    }

    /// Whether a device answers there. Leaves it as it was.
    pub fn probe(&mut self) -> bool {
        self.driver().probe()
    }

    /// Interrupts off, 8 data bits, FIFOs and both directions on. The speed stays as the firmware left it, unless the
    /// spec says which it must be and what clock it is divided from.
    pub fn init(&mut self) {
        self.driver().init();
    }

    /// Sends `byte` once there is room; drops it when there is none for too long.
    pub fn put(&mut self, byte: u8) {
        let patience = self.patience;
        self.patience = self.driver().patience_after(byte, patience);
    }

    /// Sends a text, with a carriage return before each newline, as a terminal wants. Cheaper than byte by byte: which
    /// driver it is for is found out once.
    pub fn send(&mut self, text: &[u8]) {
        let mut patience = self.patience;
        self.driver().send(text, &mut patience);
        self.patience = patience;
    }

    /// A byte that was received, if there is one. Does not wait.
    pub fn get(&mut self) -> Option<u8> {
        self.driver().get()
    }
}

/// Text, with a carriage return before each newline.
impl<R: Registers> fmt::Write for Uart<R> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.send(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
