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

    /// The value of register number `register`, which is a byte wide whatever the others are; where nobody minds, it is
    /// read as they are.
    fn read_byte(&mut self, register: u32) -> u8 {
        self.read(register).to_le_bytes()[0]
    }

    /// Sets register number `register`, which is a byte wide whatever the others are.
    fn write_byte(&mut self, register: u32, value: u8) {
        self.write(register, value.into());
    }
}

impl<R: Registers> Registers for &mut R {
    fn read(&mut self, register: u32) -> u32 {
        (**self).read(register)
    }

    fn write(&mut self, register: u32, value: u32) {
        (**self).write(register, value);
    }

    fn read_byte(&mut self, register: u32) -> u8 {
        (**self).read_byte(register)
    }

    fn write_byte(&mut self, register: u32, value: u8) {
        (**self).write_byte(register, value);
    }
}

/// The number of the register at `offset` bytes, of a device whose registers are words next to each other: manuals give
/// offsets.
pub(super) const fn word(offset: u32) -> u32 {
    offset / 4
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
    /// 32 bits, the most significant byte first, on a bus that has the least first.
    Bits32Big,
}

impl Width {
    /// Bytes of an access.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Bits8 => 1,
            Self::Bits16 => 2,
            Self::Bits32 | Self::Bits32Big => 4,
        }
    }

    /// What `value` is as an access of this width moves it; and back, since it is the same.
    #[must_use]
    pub const fn on_the_bus(self, value: u32) -> u32 {
        match self {
            Self::Bits8 | Self::Bits16 | Self::Bits32 => value,
            Self::Bits32Big => value.swap_bytes(),
        }
    }
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

    /// The same registers, if they are of 32 bits with the most significant byte first.
    #[must_use]
    pub const fn big_endian(self) -> Option<Self> {
        match self {
            Self::Mmio { base, shift, width: Width::Bits32 | Width::Bits32Big } => {
                Some(Self::Mmio { base, shift, width: Width::Bits32Big })
            }
            Self::Mmio { .. } | Self::Io { .. } => None,
        }
    }

    /// Whether every register lies at a multiple of its width: only such can be reached by one access.
    #[must_use]
    pub const fn is_aligned(&self) -> bool {
        match self {
            Self::Io { .. } => true,
            Self::Mmio { base, shift, width } => base.is_aligned(width.bytes()) && 1 << *shift >= width.bytes(),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_across_a_boundary_are_no_registers() {
        let mmio = |base, shift, width| Window::Mmio { base: PhysAddr::new(base), shift, width };
        assert!(Window::Io { base: 0x3f9 }.is_aligned());
        assert!(mmio(0x1001, 0, Width::Bits8).is_aligned());
        assert!(mmio(0x1004, 2, Width::Bits32).is_aligned());
        assert!(mmio(0x1004, 3, Width::Bits32).is_aligned());
        // As `earlycon=uart8250,mmio32,0x1002`, and as a device tree's `reg-io-width` without its `reg-shift`.
        assert!(!mmio(0x1002, 2, Width::Bits32).is_aligned());
        assert!(!mmio(0x1000, 0, Width::Bits32).is_aligned());
        assert!(!mmio(0x1001, 1, Width::Bits16).is_aligned());
    }

    #[test]
    fn only_words_have_an_order_of_bytes() {
        let mmio = |width| Window::Mmio { base: PhysAddr::new(0x1000), shift: 2, width };
        assert_eq!(mmio(Width::Bits32).big_endian(), Some(mmio(Width::Bits32Big)));
        assert_eq!(mmio(Width::Bits32Big).big_endian(), Some(mmio(Width::Bits32Big)));
        assert_eq!([mmio(Width::Bits16), Window::Io { base: 5 }].map(Window::big_endian), [None; 2]);
        assert_eq!(Width::Bits32Big.on_the_bus(0x41), 0x4100_0000);
        assert_eq!([Width::Bits8, Width::Bits16, Width::Bits32].map(|width| width.on_the_bus(0x41)), [0x41; 3]);
    }
}
