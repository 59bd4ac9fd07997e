//! The words in which page tables are spoken of: levels, entries, and how a page is mapped.
//!
//! An arch turns them into bits (`PageFormat::leaf`, `table`) and back (`decode`). [`Mapping`] is what the kernel may
//! ask for, and cannot say writable and executable at once; [`RawMapping`] is what tables were found to hold.
//!
//! Linux: `pgprot_t` and the `PAGE_KERNEL*` constants; the levels are its pte (0), pmd (1), pud (2), p4d (3), with the
//! top level called pgd.

use crate::addr::{PhysAddr, VirtAddr};
use crate::arch::PageFormat;
use core::fmt;

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

    /// The level of the root table of format `A`.
    #[must_use]
    pub const fn top<A: PageFormat>() -> Self {
        Self(A::LEVELS - 1)
    }

    /// The next level down, or `None` at [`Level::PAGE`].
    #[must_use]
    pub const fn below(self) -> Option<Self> {
        match self.0.checked_sub(1) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Bytes that one entry at this level spans, as a power of two.
    #[must_use]
    pub const fn shift<A: PageFormat>(self) -> u32 {
        A::PAGE_SHIFT + self.0 as u32 * (A::PAGE_SHIFT - 3)
    }

    /// Bytes that one entry at this level spans, and so a leaf there maps.
    #[must_use]
    pub const fn span<A: PageFormat>(self) -> u64 {
        1 << self.shift::<A>()
    }

    /// Entries that the hardware looks at in a table of this level. A root may hold fewer than fit into its page:
    /// 64 with 64 KiB pages and 48-bit addresses.
    #[must_use]
    pub const fn entries<A: PageFormat>(self) -> usize {
        let bits = if self.0 + 1 == A::LEVELS { A::VIRT_BITS - self.shift::<A>() } else { A::PAGE_SHIFT - 3 };
        1 << bits
    }

    /// Which entry of its table at this level translates `address`.
    #[must_use]
    pub const fn index<A: PageFormat>(self, address: VirtAddr) -> usize {
        (address.as_u64() >> self.shift::<A>()) as usize & (self.entries::<A>() - 1)
    }

    /// Linux's name of a table of this level in format `A`.
    #[must_use]
    pub const fn name<A: PageFormat>(self) -> &'static str {
        if self.0 + 1 >= A::LEVELS {
            return "pgd";
        }
        match self.0 {
            0 => "pte",
            1 => "pmd",
            2 => "pud",
            _ => "p4d",
        }
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

impl Mapping {
    /// Ordinary memory, writable: the direct map, data, memmap.
    pub const DATA: Self = Self { access: Access::ReadWrite, memory: MemoryType::Normal };
    /// Ordinary memory that nobody may change.
    pub const RODATA: Self = Self { access: Access::ReadOnly, memory: MemoryType::Normal };
    /// Code.
    pub const TEXT: Self = Self { access: Access::ReadExecute, memory: MemoryType::Normal };
    /// Registers of a device.
    pub const DEVICE: Self = Self { access: Access::ReadWrite, memory: MemoryType::Device };

    /// What live tables show for this mapping.
    #[must_use]
    pub const fn raw(self) -> RawMapping {
        let (writable, executable) = match self.access {
            Access::ReadOnly => (false, false),
            Access::ReadWrite => (true, false),
            Access::ReadExecute => (false, true),
        };
        RawMapping { writable, executable, memory: self.memory }
    }
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

impl RawMapping {
    /// The mapping that would give this, or `None` when it is writable and executable.
    #[must_use]
    pub const fn checked(self) -> Option<Mapping> {
        let access = match (self.writable, self.executable) {
            (false, false) => Access::ReadOnly,
            (true, false) => Access::ReadWrite,
            (false, true) => Access::ReadExecute,
            (true, true) => return None,
        };
        Some(Mapping { access, memory: self.memory })
    }
}

/// `rw- normal`: read, write, execute, and the memory type.
impl fmt::Display for RawMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let writable = if self.writable { 'w' } else { '-' };
        let executable = if self.executable { 'x' } else { '-' };
        let memory = match self.memory {
            MemoryType::Normal => "normal",
            MemoryType::WriteCombining => "write-combining",
            MemoryType::Device => "device",
        };
        write!(f, "r{writable}{executable} {memory}")
    }
}
