//! The machine's own table entries, unlike those of any real CPU, so that nothing in `mm` can rely on a bit.
//!
//! ```text
//! 63      56 55                     8 7   6 5   4 3 2 1   0
//! [  mark  ] [ frame number          ] [ 0 ] [memory] x w [kind]
//! ```
//!
//! The mark tells an entry from memory that was never cleared.

use mm::addr::PhysAddr;
use mm::paging::{Access, Entry, Level, Mapping, MemoryType, RawMapping};

const MARK: u64 = 0x96 << 56;
const MARK_MASK: u64 = 0xff << 56;
const FRAME_SHIFT: u32 = 8;
const KIND_MASK: u64 = 0b11;
const TABLE: u64 = 0b10;
const LEAF: u64 = 0b11;
const WRITABLE: u64 = 1 << 2;
const EXECUTABLE: u64 = 1 << 3;
const MEMORY_SHIFT: u32 = 4;

pub(crate) const fn levels(shift: u32) -> u8 {
    match shift {
        12 | 14 => 4,
        16 => 3,
        _ => panic!("pages have 4, 16 or 64 KiB"),
    }
}

pub(crate) const fn section_shift(shift: u32) -> u32 {
    match shift {
        12 | 14 => 27,
        _ => 29,
    }
}

/// Bytes that an entry at `level` spans, as a power of two.
pub(crate) const fn span_shift(shift: u32, level: u8) -> u32 {
    shift + level as u32 * (shift - 3)
}

fn frame_bits(shift: u32, address: PhysAddr, align: u32) -> u64 {
    assert!(address.is_aligned(1 << align), "{address:?} is not aligned to {:#x}", 1_u64 << align);
    let frame = address.as_u64() >> shift;
    assert!(frame < 1 << (56 - FRAME_SHIFT), "{address:?} does not fit into an entry");
    frame << FRAME_SHIFT
}

pub(crate) fn table(shift: u32, address: PhysAddr) -> u64 {
    MARK | frame_bits(shift, address, shift) | TABLE
}

pub(crate) fn leaf(shift: u32, address: PhysAddr, level: Level, raw: RawMapping) -> u64 {
    let memory = match raw.memory {
        MemoryType::Normal => 0,
        MemoryType::WriteCombining => 1,
        MemoryType::Device => 2,
    };
    let mut entry = MARK | frame_bits(shift, address, span_shift(shift, level.as_u8())) | LEAF;
    entry |= memory << MEMORY_SHIFT;
    if raw.writable {
        entry |= WRITABLE;
    }
    if raw.executable {
        entry |= EXECUTABLE;
    }
    entry
}

pub(crate) fn raw(mapping: Mapping) -> RawMapping {
    RawMapping {
        writable: mapping.access == Access::ReadWrite,
        executable: mapping.access == Access::ReadExecute,
        memory: mapping.memory,
    }
}

pub(crate) fn decode(shift: u32, entry: u64, level: Level, largest_leaf: Level) -> Entry {
    if entry == 0 {
        return Entry::Absent;
    }
    assert!(entry & MARK_MASK == MARK, "{entry:#018x} at level {} is no table entry", level.as_u8());
    let address = PhysAddr::new((entry & !MARK_MASK) >> FRAME_SHIFT << shift);
    match entry & KIND_MASK {
        TABLE if level > Level::PAGE => Entry::Table(address),
        LEAF if level <= largest_leaf => {
            let memory = match entry >> MEMORY_SHIFT & 0b11 {
                0 => MemoryType::Normal,
                1 => MemoryType::WriteCombining,
                2 => MemoryType::Device,
                _ => panic!("{entry:#018x} has no memory type"),
            };
            let mapping = RawMapping { writable: entry & WRITABLE != 0, executable: entry & EXECUTABLE != 0, memory };
            assert!(address.is_aligned(1 << span_shift(shift, level.as_u8())), "misaligned leaf {entry:#018x}");
            Entry::Leaf { address, mapping }
        }
        _ => panic!("{entry:#018x} cannot stand at level {}", level.as_u8()),
    }
}
