//! The types of a PC's memory map, as numbers: the greater one holds where two meet.

use core::fmt;
use mm::machine::MemoryKind;

/// A type of a PC's memory map. Linux: `enum e820_type`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Kind(u32);

impl Kind {
    /// RAM for everybody.
    pub const RAM: Self = Self(1);
    /// Not RAM, or the firmware's for good.
    pub const RESERVED: Self = Self(2);
    /// ACPI tables.
    pub const ACPI: Self = Self(3);
    /// ACPI storage that sleep states need.
    pub const NVS: Self = Self(4);
    /// RAM with errors.
    pub const UNUSABLE: Self = Self(5);
    /// Persistent memory.
    pub const PMEM: Self = Self(7);
    /// Persistent memory before there was an official number; `memmap=nn!ss` makes it.
    pub const PRAM: Self = Self(12);
    /// RAM that holds what the boot loader left for the kernel.
    pub const RESERVED_KERN: Self = Self(128);
    /// Memory that the firmware set aside for a special purpose.
    pub const SOFT_RESERVED: Self = Self(0xefff_ffff);

    /// The type with this number; `None` for 0, which stands for nothing at all.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        if number == 0 { None } else { Some(Self(number)) }
    }

    /// Whether neighbours of this type stay apart: a border may mean another node, or another performance class.
    pub(super) const fn keeps_borders(self) -> bool {
        matches!(self, Self::PRAM | Self::SOFT_RESERVED)
    }

    /// What it says of memory.
    #[must_use]
    pub const fn memory(self) -> MemoryKind {
        match self {
            Self::RAM | Self::RESERVED_KERN => MemoryKind::Usable,
            Self::RESERVED => MemoryKind::Reserved,
            Self::ACPI => MemoryKind::AcpiData,
            Self::NVS => MemoryKind::AcpiNvs,
            Self::UNUSABLE => MemoryKind::Unusable,
            Self::PMEM => MemoryKind::Persistent,
            Self::PRAM => MemoryKind::LegacyPersistent,
            Self::SOFT_RESERVED => MemoryKind::SoftReserved,
            Self(other) => MemoryKind::Other(other),
        }
    }
}

/// Linux's words.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.memory(), f)
    }
}
