//! Entries of VMSAv8-64 stage 1 tables with 4 KiB granules: what each bit means.
//!
//! Bits that an entry sets: valid, accessed (no CPU has to write it), inner shareable, the memory type's slot in MAIR,
//! read-only, and never executable but for text; nothing is ever executable at EL0. The "contiguous" hint and the
//! hierarchical rights of table entries are not used. Linux: `asm/pgtable-hwdef.h`, `asm/pgtable-prot.h`.

use mm::addr::PhysAddr;
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

/// Bytes of a page, as a power of two.
pub(super) const PAGE_SHIFT: u32 = 12;

/// Whether a leaf may stand at `level`: pages, 2 MiB and 1 GiB, on every CPU with 4 KiB granules.
pub(super) const fn leaf_at(level: Level) -> bool {
    level.as_u8() <= 2
}

/// The entry of a leaf at `level` that maps to `address`.
pub(super) const fn leaf(address: PhysAddr, level: Level, mapping: Mapping) -> u64 {
    let kind = if level.as_u8() == Level::PAGE.as_u8() { VALID | TABLE_OR_PAGE } else { VALID };
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

/// The entry that points to the table at `address`.
pub(super) const fn table(address: PhysAddr) -> u64 {
    address.as_u64() & ADDRESS | TABLE_OR_PAGE | VALID
}

/// What an entry at `level` says to the CPU.
pub(super) fn decode(entry: u64, level: Level) -> Entry {
    if entry & VALID == 0 {
        return Entry::Absent;
    }
    let table_or_page = entry & TABLE_OR_PAGE != 0;
    if level != Level::PAGE && table_or_page {
        return Entry::Table(PhysAddr::new(entry & ADDRESS));
    }
    // A block at the lowest level, or above 1 GiB: the CPU takes it for absent.
    if level == Level::PAGE && !table_or_page || !leaf_at(level) {
        return Entry::Absent;
    }
    let low = PAGE_SHIFT + LEVEL_BITS * u32::from(level.as_u8());
    let memory = match (entry & SLOT_MASK) >> SLOT_SHIFT {
        SLOT_NORMAL => MemoryType::Normal,
        SLOT_WRITE_COMBINING => MemoryType::WriteCombining,
        // An empty slot of MAIR is a zero byte: the strictest kind of device memory.
        _ => MemoryType::Device,
    };
    let mapping =
        RawMapping { writable: entry & READ_ONLY == 0, executable: entry & PRIVILEGED_EXECUTE_NEVER == 0, memory };
    Entry::Leaf { address: PhysAddr::new(entry & ADDRESS & (u64::MAX << low)), mapping }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCESSES: [Access; 3] = [Access::ReadOnly, Access::ReadWrite, Access::ReadExecute];
    const TYPES: [MemoryType; 3] = [MemoryType::Normal, MemoryType::WriteCombining, MemoryType::Device];

    #[test]
    fn decode_inverts_leaf_and_table() {
        for number in 0..3 {
            let level = Level::new(number);
            let address = PhysAddr::new(0x0000_abcd_c000_0000);
            for (access, memory) in ACCESSES.into_iter().flat_map(|access| TYPES.map(|memory| (access, memory))) {
                let mapping = Mapping { access, memory };
                let expected = Entry::Leaf { address, mapping: mapping.raw() };
                assert_eq!(decode(leaf(address, level, mapping), level), expected);
            }
        }
        for number in 1..4 {
            let address = PhysAddr::new(0x0000_ffff_ffff_f000);
            assert_eq!(decode(table(address), Level::new(number)), Entry::Table(address));
        }
    }

    // By the drawings in the Arm manual (D8.3, "VMSAv8-64 translation table format descriptors"), not by the constants.
    #[test]
    fn bits_stand_where_the_manual_has_them() {
        assert_eq!(leaf(PhysAddr::new(0x4020_0000), Level::PAGE, Mapping::TEXT), 0x0040_0000_4020_0783);
        assert_eq!(leaf(PhysAddr::new(0x4020_0000), Level::PAGE, Mapping::RODATA), 0x0060_0000_4020_0783);
        assert_eq!(leaf(PhysAddr::new(0x4020_0000), Level::PAGE, Mapping::DATA), 0x0060_0000_4020_0703);
        assert_eq!(leaf(PhysAddr::new(0x4000_0000), Level::new(2), Mapping::DATA), 0x0060_0000_4000_0701);
        assert_eq!(leaf(PhysAddr::new(0x0900_0000), Level::PAGE, Mapping::DEVICE), 0x0060_0000_0900_0707);
        assert_eq!(table(PhysAddr::new(0x4026_c000)), 0x4026_c003);
    }

    #[test]
    fn what_the_cpu_ignores_is_absent() {
        let page = leaf(PhysAddr::new(0x1000), Level::PAGE, Mapping::DATA);
        assert_eq!(decode(0, Level::PAGE), Entry::Absent);
        assert_eq!(decode(page & !VALID, Level::PAGE), Entry::Absent);
        // A block at the lowest level, a block of 512 GiB.
        assert_eq!(decode(page & !TABLE_OR_PAGE, Level::PAGE), Entry::Absent);
        assert_eq!(decode(page & !TABLE_OR_PAGE, Level::new(3)), Entry::Absent);
    }

    #[test]
    fn others_tables_are_read_as_the_cpu_reads_them() {
        // Writable and executable at once, from an empty slot of MAIR, with software bits and the contiguous hint.
        let entry = 0x05d0_0000_4020_0713;
        let mapping = RawMapping { writable: true, executable: true, memory: MemoryType::Device };
        assert_eq!(decode(entry, Level::new(1)), Entry::Table(PhysAddr::new(0x4020_0000)));
        assert_eq!(decode(entry, Level::PAGE), Entry::Leaf { address: PhysAddr::new(0x4020_0000), mapping });
        // Address bits below the block's size are none of its address.
        let block = 0x0060_0000_4020_1701;
        let Entry::Leaf { address, .. } = decode(block, Level::new(1)) else { panic!("no leaf") };
        assert_eq!(address, PhysAddr::new(0x4020_0000));
    }

    #[test]
    fn control_registers_as_the_manual_draws_them() {
        // T0SZ, T1SZ 16; IRGN, ORGN write-back; SH inner; TG0 4 KiB is 0, TG1 4 KiB is 2.
        assert_eq!(TCR, 0xb510_3510);
        assert_eq!(MAIR.to_le_bytes()[..3], [0xff, 0x04, 0x44]);
    }
}
