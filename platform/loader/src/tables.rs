//! Page tables with four levels of 512 entries and pages of 4 KiB, in the formats of both architectures.
//!
//! The tables lie in the [`Pool`] and are built before any of them is used. What is mapped once stays as it is: mapping
//! it again is an error, so no mapping can lose its rights to a later one. The largest leaf that fits is taken.
//!
//! Linux builds such tables at the same point in `arch/x86/kernel/head_64.S` and `arch/arm64/kernel/pi/map_range.c`.

use crate::PAGE;
use crate::elf::{Machine, Rights};
use crate::pool::{Full, Pool};

/// What can be done at an address. Writable and executable at once cannot be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Memory: read.
    Read,
    /// Memory: read and write.
    ReadWrite,
    /// Memory: read and run.
    ReadExecute,
    /// Anything but memory: read and write, past all caches.
    Device,
}

impl From<Rights> for Access {
    fn from(rights: Rights) -> Self {
        match rights {
            Rights::Read => Self::Read,
            Rights::ReadWrite => Self::ReadWrite,
            Rights::ReadExecute => Self::ReadExecute,
        }
    }
}

/// How entries are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// x86_64 of a CPU whose largest leaf is 2 MiB.
    X86_64,
    /// x86_64 of a CPU that has leaves of 1 GiB.
    X86_64Gigabyte,
    /// aarch64 with 4 KiB pages, 48 bits. Memory type 0 is cached memory, type 2 is devices.
    Aarch64,
}

/// Memory could not be mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapError {
    /// No memory is left for a table.
    Full,
    /// Something is mapped there already.
    Taken {
        /// The first virtual address where.
        address: u64,
    },
    /// Not whole pages, or past the end of the addresses.
    Range {
        /// The virtual address at which it should begin.
        address: u64,
    },
}

impl From<Full> for MapError {
    fn from(Full: Full) -> Self {
        Self::Full
    }
}

const PAGE_SHIFT: u32 = 12;
const TOP_SHIFT: u32 = 39;
const ENTRIES: u64 = 512;
/// The physical address in an entry, on both.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

impl Format {
    /// Whose it is.
    pub fn machine(self) -> Machine {
        match self {
            Self::X86_64 | Self::X86_64Gigabyte => Machine::X86_64,
            Self::Aarch64 => Machine::Aarch64,
        }
    }

    /// The shifts of the leaves' sizes, the largest first.
    fn leaves(self) -> &'static [u32] {
        match self {
            Self::X86_64 => &[21, PAGE_SHIFT],
            Self::X86_64Gigabyte | Self::Aarch64 => &[30, 21, PAGE_SHIFT],
        }
    }

    fn table(self) -> u64 {
        match self.machine() {
            Machine::X86_64 => 0b11, // present, writable as far as the leaf is
            Machine::Aarch64 => 0b11,
        }
    }

    fn leaf(self, access: Access, shift: u32) -> u64 {
        match self.machine() {
            Machine::X86_64 => {
                const NO_EXECUTE: u64 = 1 << 63;
                let rights = match access {
                    Access::Read => NO_EXECUTE,
                    Access::ReadWrite => NO_EXECUTE | 1 << 1,
                    Access::ReadExecute => 0,
                    Access::Device => NO_EXECUTE | 1 << 1 | 1 << 3 | 1 << 4, // PAT entry 3: uncached
                };
                let large = if shift == PAGE_SHIFT { 0 } else { 1 << 7 };
                rights | large | 1
            }
            Machine::Aarch64 => {
                const PXN: u64 = 1 << 53;
                const UXN: u64 = 1 << 54;
                const READ_ONLY: u64 = 1 << 7;
                const INNER_SHAREABLE: u64 = 3 << 8;
                let rights = match access {
                    Access::Read => PXN | READ_ONLY | INNER_SHAREABLE,
                    Access::ReadWrite => PXN | INNER_SHAREABLE,
                    Access::ReadExecute => READ_ONLY | INNER_SHAREABLE,
                    Access::Device => PXN | 2 << 2,
                };
                let accessed = 1 << 10;
                let kind = if shift == PAGE_SHIFT { 0b11 } else { 0b01 };
                rights | UXN | accessed | kind
            }
        }
    }

    /// Whether a present entry above the pages leads to a table.
    fn is_table(self, entry: u64) -> bool {
        match self.machine() {
            Machine::X86_64 => entry & 1 << 7 == 0,
            Machine::Aarch64 => entry & 0b10 != 0,
        }
    }
}

/// Trees of page tables in a pool.
pub struct Tables<'p, 'm> {
    pool: &'p mut Pool<'m>,
    format: Format,
}

impl<'p, 'm> Tables<'p, 'm> {
    /// Tables of one format, in `pool`.
    pub fn new(pool: &'p mut Pool<'m>, format: Format) -> Self {
        Self { pool, format }
    }

    /// The physical address of a new root, where nothing is mapped.
    ///
    /// # Errors
    /// When no memory is left.
    pub fn root(&mut self) -> Result<u64, MapError> {
        Ok(self.pool.take(PAGE, PAGE)?)
    }

    /// A new root that shares all that the upper half of another maps.
    ///
    /// # Errors
    /// When no memory is left.
    pub fn share_upper_half(&mut self, root: u64) -> Result<u64, MapError> {
        let new = self.root()?;
        for index in ENTRIES / 2..ENTRIES {
            self.pool.set(new + index * 8, self.pool.get(root + index * 8));
        }
        Ok(new)
    }

    /// Maps `size` bytes from the virtual address on to the physical one.
    ///
    /// # Errors
    /// When no memory is left for tables, or something is mapped there.
    pub fn map(
        &mut self,
        root: u64,
        virtual_start: u64,
        physical_start: u64,
        size: u64,
        access: Access,
    ) -> Result<(), MapError> {
        let whole = (virtual_start | physical_start | size).is_multiple_of(PAGE);
        // The last page of all addresses is never mapped.
        if !whole || virtual_start.checked_add(size).is_none() || physical_start.checked_add(size).is_none() {
            return Err(MapError::Range { address: virtual_start });
        }
        let mut done = 0;
        while done < size {
            let (address, physical) = (virtual_start + done, physical_start + done);
            let fits = |&&shift: &&u32| (address | physical).is_multiple_of(1 << shift) && size - done >= 1 << shift;
            let shift = self.format.leaves().iter().find(fits).copied().unwrap_or(PAGE_SHIFT);
            self.leaf(root, address, physical, access, shift)?;
            done += 1 << shift;
        }
        Ok(())
    }

    fn leaf(&mut self, root: u64, address: u64, physical: u64, access: Access, shift: u32) -> Result<(), MapError> {
        let mut table = root;
        let mut level = TOP_SHIFT;
        loop {
            let place = table + (address >> level) % ENTRIES * 8;
            let entry = self.pool.get(place);
            if level == shift {
                if entry != 0 {
                    return Err(MapError::Taken { address });
                }
                self.pool.set(place, physical & ADDRESS | self.format.leaf(access, shift));
                return Ok(());
            }
            table = if entry == 0 {
                let new = self.pool.take(PAGE, PAGE)?;
                self.pool.set(place, new | self.format.table());
                new
            } else if self.format.is_table(entry) {
                entry & ADDRESS
            } else {
                return Err(MapError::Taken { address });
            };
            level -= 9;
        }
    }
}

/// How many tables below the root it takes at most to map a range of this size, wherever it lies.
pub fn most_tables(format: Format, size: u64) -> u64 {
    // Tables of pages are needed at the two ends only; the tables above them at most two more than what they span.
    let of_leaves_2m = match format {
        Format::X86_64 => (size >> 30).saturating_add(2),
        Format::X86_64Gigabyte | Format::Aarch64 => 2,
    };
    of_leaves_2m.saturating_add(2).saturating_add((size >> TOP_SHIFT).saturating_add(2))
}

#[cfg(test)]
pub(crate) mod walk;
