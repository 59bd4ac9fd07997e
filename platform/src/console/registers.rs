//! Device registers: who reads and writes them, and where they lie.
//!
//! Drivers name a register by its number. Where register `n` is and how wide an access must be is the [`Window`]'s
//! matter, so the same driver serves a 16550 behind I/O ports, one byte apart, and one behind 32-bit words. The arch
//! crate implements [`Registers`] over its ports or mapped memory; tests implement it as a model of the device.

use mm::addr::PhysAddr;

/// Access to the registers of one device.
pub trait Registers {
    /// The value of register number `register`.
    fn read(&mut self, register: u32) -> u32;

    /// Sets register number `register`.
    fn write(&mut self, register: u32, value: u32);
}

/// How wide an access to a register must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Width {
    /// 8 bits
    Bits8,
    /// 16 bits
    Bits16,
    /// 32 bits
    Bits32,
}

/// Where the registers of a device are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Window {
    /// Behind I/O ports, 8 bits each: register `n` is port `base + n`.
    Io {
        /// The port of register 0.
        base: u16,
    },
    /// In memory: register `n` is at `base + (n << shift)`, always accessed by `width`.
    Mmio {
        /// The address of register 0.
        base: PhysAddr,
        /// Binary logarithm of the distance between registers in bytes, 0 to 3.
        shift: u8,
        /// How wide an access is.
        width: Width,
    },
}

impl Window {
    /// Memory-mapped registers of 32 bits, 4 bytes apart.
    #[must_use]
    pub const fn mmio32(base: PhysAddr) -> Self {
        Self::Mmio { base, shift: 2, width: Width::Bits32 }
    }

    /// Offset of register `register` from the window's base, in bytes (or ports).
    #[must_use]
    pub const fn offset(&self, register: u32) -> u64 {
        match self {
            Self::Io { .. } => register as u64,
            Self::Mmio { shift, .. } => (register as u64) << *shift,
        }
    }
}
