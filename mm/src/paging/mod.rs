//! Page tables over any [`PageFormat`](crate::arch::PageFormat).

use crate::addr::PhysAddr;

/// A level of page tables. The lowest is 0: its leaves are pages. One level up, a leaf maps
/// `1 << (PAGE_SHIFT - 3)` times as much.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct Level(u8);

impl Level {
    /// The level whose leaves are pages.
    pub const PAGE: Self = Self(0);

    /// Level `number`, counted up from [`Level::PAGE`].
    #[must_use]
    pub const fn new(number: u8) -> Self {
        Self(number)
    }

    /// The number, counted up from [`Level::PAGE`].
    #[must_use]
    pub const fn as_u8(self) -> u8 {
        self.0
    }
}

/// What may be done with mapped memory. There is no way to say writable and executable at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Read.
    ReadOnly,
    /// Read and write.
    ReadWrite,
    /// Read and execute.
    ReadExecute,
}

/// How the CPU may cache and order accesses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemoryType {
    /// RAM: write-back cached.
    Normal,
    /// Frame buffers: writes are gathered, nothing is cached.
    WriteCombining,
    /// Registers of devices: no caching, no reordering, no speculation.
    Device,
}

/// How a page is mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// What may be done with it.
    pub access: Access,
    /// How it is cached.
    pub memory: MemoryType,
}

/// What a table entry says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// Nothing is mapped.
    Absent,
    /// The next table is at this address.
    Table(PhysAddr),
    /// Memory at this address is mapped.
    Leaf {
        /// Its first byte.
        address: PhysAddr,
        /// How.
        mapping: RawMapping,
    },
}

/// How live tables map a page, whoever wrote them: unlike [`Mapping`] it can also say writable and executable, so that
/// a check of live tables can find it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RawMapping {
    /// Writes are allowed.
    pub writable: bool,
    /// Execution is allowed in the kernel.
    pub executable: bool,
    /// How it is cached.
    pub memory: MemoryType,
}
