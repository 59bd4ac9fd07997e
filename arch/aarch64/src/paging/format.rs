//! Entries of VMSAv8-64 stage 1 tables with 4 KiB granules, and the pointers that the layout gives.
//!
//! Bits that an entry sets: valid, accessed (no CPU has to write it), inner shareable, the memory type's slot in MAIR,
//! read-only, and never executable but for text; nothing is ever executable at EL0. The "contiguous" hint and the
//! hierarchical rights of table entries are not used. Linux: `asm/pgtable-hwdef.h`, `asm/pgtable-prot.h`.

use crate::layout::{DIRECT_START, LAYOUT};
use crate::{Native, tlb};
use aarch64_cpu::registers::{ID_AA64MMFR0_EL1, Readable};
use mm::addr::{PhysAddr, VirtAddr};
use mm::arch::{PageFormat, PhysMap};
use mm::paging::{Access, Entry, Level, Mapping, MemoryType, RawMapping};

/// MAIR_EL1, a byte a slot: 0 normal write-back (both shareabilities, allocate always), 1 Device-nGnRE, 2 normal
/// non-cacheable.
pub(crate) const MAIR: u64 = 0x44_04_ff;
/// TCR_EL1 without the physical address size, which the entry code asks the CPU for: both halves 48 bits and 4 KiB,
/// walks write-back cached and inner shareable.
pub(crate) const TCR: u64 = {
    let half = 16 | 0b01 << 8 | 0b01 << 10 | 0b11 << 12;
    let granule_of_the_upper_half = 0b10 << 30;
    half | half << 16 | granule_of_the_upper_half
};

const VALID: u64 = 1;
/// At the lowest level: a page. Above: a table rather than a block.
const TABLE_OR_PAGE: u64 = 1 << 1;
const SLOT_SHIFT: u32 = 2;
const SLOT_MASK: u64 = 0b111 << SLOT_SHIFT;
const READ_ONLY: u64 = 1 << 7;
const INNER_SHAREABLE: u64 = 0b11 << 8;
const ACCESSED: u64 = 1 << 10;
const PRIVILEGED_EXECUTE_NEVER: u64 = 1 << 53;
const USER_EXECUTE_NEVER: u64 = 1 << 54;
/// Bits 47 to 12.
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;
/// Bits of an address that each level translates.
const LEVEL_BITS: u32 = 9;

const SLOT_NORMAL: u64 = 0;
const SLOT_DEVICE: u64 = 1;
const SLOT_WRITE_COMBINING: u64 = 2;

/// Bits of a physical address on this CPU, at most 48: more would take another entry format.
#[must_use]
pub fn physical_bits() -> u32 {
    match ID_AA64MMFR0_EL1.read(ID_AA64MMFR0_EL1::PARange) {
        0 => 32,
        1 => 36,
        2 => 40,
        3 => 42,
        4 => 44,
        _ => 48,
    }
}

// SAFETY: every byte of mapped RAM lies at one offset in the direct map, `DIRECT_START`, so the same address always
// gives the same pointer, and consecutive bytes are consecutive.
unsafe impl PhysMap for Native {
    #[inline]
    fn phys_ptr(self, address: PhysAddr) -> *mut u8 {
        // An address that the direct map has no room for gives a pointer into another area or none at all; nobody
        // calls this for memory that is not mapped.
        self.virt_ptr(VirtAddr::new(address.as_u64().wrapping_add(DIRECT_START)))
    }

    #[inline]
    fn ptr_phys(self, pointer: *const u8) -> Option<PhysAddr> {
        LAYOUT.virt_to_phys(VirtAddr::new(pointer.addr() as u64))
    }

    #[inline]
    fn virt_ptr(self, address: VirtAddr) -> *mut u8 {
        core::ptr::with_exposed_provenance_mut(address.as_u64() as usize)
    }
}

// SAFETY: `decode` reads the bits that `leaf` and `table` set and a test holds them against each other; an entry whose
// lowest bit is clear is absent; the flushes order the entry's write before the drop, reach every CPU of the inner
// shareable domain, and wait for it.
unsafe impl PageFormat for Native {
    const PAGE_SHIFT: u32 = 12;
    const SECTION_SHIFT: u32 = 27;
    const LEVELS: u8 = 4;

    fn leaf_at(self, level: Level) -> bool {
        // Pages, 2 MiB and 1 GiB, on every CPU with 4 KiB granules.
        level.as_u8() <= 2
    }

    fn leaf(self, address: PhysAddr, level: Level, mapping: Mapping) -> u64 {
        let kind = if level == Level::PAGE { VALID | TABLE_OR_PAGE } else { VALID };
        let rights = match mapping.access {
            Access::ReadOnly => READ_ONLY | PRIVILEGED_EXECUTE_NEVER,
            Access::ReadWrite => PRIVILEGED_EXECUTE_NEVER,
            Access::ReadExecute => READ_ONLY,
        };
        let slot = match mapping.memory {
            MemoryType::Normal => SLOT_NORMAL,
            MemoryType::Device => SLOT_DEVICE,
            MemoryType::WriteCombining => SLOT_WRITE_COMBINING,
        };
        let address = address.as_u64() & ADDRESS;
        address | kind | rights | slot << SLOT_SHIFT | INNER_SHAREABLE | ACCESSED | USER_EXECUTE_NEVER
    }

    fn table(self, address: PhysAddr) -> u64 {
        address.as_u64() & ADDRESS | TABLE_OR_PAGE | VALID
    }

    fn decode(self, entry: u64, level: Level) -> Entry {
        if entry & VALID == 0 {
            return Entry::Absent;
        }
        let table_or_page = entry & TABLE_OR_PAGE != 0;
        if level != Level::PAGE && table_or_page {
            return Entry::Table(PhysAddr::new(entry & ADDRESS));
        }
        // A block at the lowest level, or above 1 GiB: the CPU takes it for absent.
        if level == Level::PAGE && !table_or_page || !self.leaf_at(level) {
            return Entry::Absent;
        }
        let low = Self::PAGE_SHIFT + LEVEL_BITS * u32::from(level.as_u8());
        let memory = match (entry & SLOT_MASK) >> SLOT_SHIFT {
            SLOT_NORMAL => MemoryType::Normal,
            SLOT_WRITE_COMBINING => MemoryType::WriteCombining,
            // An empty slot of MAIR is a zero byte: the strictest kind of device memory.
            _ => MemoryType::Device,
        };
        let mapping = RawMapping {
            writable: entry & READ_ONLY == 0,
            executable: entry & PRIVILEGED_EXECUTE_NEVER == 0,
            memory,
        };
        Entry::Leaf { address: PhysAddr::new(entry & ADDRESS & (u64::MAX << low)), mapping }
    }

    fn flush_page(self, address: VirtAddr) {
        tlb::flush_page(address);
    }

    fn flush_all(self) {
        tlb::flush_all();
    }

    fn publish(self) {
        tlb::publish();
    }
}
