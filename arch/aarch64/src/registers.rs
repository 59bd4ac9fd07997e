//! Device registers in mapped memory, for the drivers in `platform`; and how a register is read.
//!
//! Every access of [`DeviceRegisters`] survives a bus error, so that a console that a device tree or a command line
//! names where there is none costs its output and not the boot. That is two barriers for each access, which no serial
//! line notices. Whoever knows that a device answers reads it by [`load`].

use crate::paging;
use crate::traps::probe;
use core::arch::asm;
use mm::addr::VirtAddr;
use platform::console::{ConsoleSpec, Registers, Width, Window};

/// The registers of a device, in the fixmap.
#[derive(Clone, Copy, Debug)]
pub struct DeviceRegisters {
    base: VirtAddr,
    window: Window,
}

impl DeviceRegisters {
    /// Maps the registers of `spec`, if something answers at the last of them.
    pub(crate) fn open(spec: &ConsoleSpec) -> Option<Self> {
        let window = spec.window;
        let Window::Mmio { base, shift: 0..=3, .. } = window else { return None };
        let profile = spec.kind.profile();
        let registers = Self { base: paging::map_device(base, window.offset(profile.registers))?, window };
        probe::load(registers.at(profile.harmless), registers.width()).ok()?;
        Some(registers)
    }

    /// The registers of `window`, whose first is mapped at `base` and which all lie in that page.
    pub(crate) const fn mapped(base: VirtAddr, window: Window) -> Self {
        Self { base, window }
    }

    fn at(&self, register: u32) -> VirtAddr {
        self.base.saturating_add(self.window.offset(register))
    }

    fn width(&self) -> Width {
        match self.window {
            Window::Mmio { width, .. } => width,
            Window::Io { .. } => Width::Bits8,
        }
    }
}

/// Reads a device's register of 32 bits, with acquire semantics: Cortex-A57 may lock up with any other load
/// ([`errata`](crate::cpu)), and it costs no other CPU anything.
///
/// # Safety
/// `register` is mapped as Device, and at a multiple of 4. Somebody answers there.
#[inline]
pub(crate) unsafe fn load(register: *const u32) -> u32 {
    let value: u32;
    // SAFETY: the caller says that it can be read. A device may do something when it is read, so this is not `readonly`.
    unsafe { asm!("ldar {0:w}, [{1}]", out(reg) value, in(reg) register, options(nostack, preserves_flags)) };
    value
}

impl Registers for DeviceRegisters {
    fn read(&mut self, register: u32) -> u32 {
        // A device that no longer answers reads as zero; the drivers' waits are bounded.
        self.width().on_the_bus(probe::load(self.at(register), self.width()).unwrap_or(0))
    }

    fn write(&mut self, register: u32, value: u32) {
        let value = self.width().on_the_bus(value);
        // SAFETY: `open` found a device at this address, whose driver says what it takes; it is no memory.
        let _ = unsafe { probe::store(self.at(register), self.width(), value) };
    }

    fn read_byte(&mut self, register: u32) -> u8 {
        probe::load(self.at(register), Width::Bits8).unwrap_or(0) as u8
    }

    fn write_byte(&mut self, register: u32, value: u8) {
        // SAFETY: as in `write`.
        let _ = unsafe { probe::store(self.at(register), Width::Bits8, value.into()) };
    }
}
