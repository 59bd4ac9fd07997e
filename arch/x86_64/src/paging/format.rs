//! Table entries: what each bit means, and how `mm` sees them.
//!
//! Every leaf is global, because nothing but the kernel is ever mapped, and accessed and dirty from the start, so that
//! the table walker never writes. A level-3 entry (pgd) is always a table. The memory types need PWT and PCD only (see
//! `cpu::init`): the PAT bit, whose place differs between pages and larger leaves, stays 0.
//!
//! Linux: `asm/pgtable_types.h`.

use crate::layout::{DIRECT_START, KERNEL_START, LAYOUT};
use crate::{Native, cpu, tlb};
use mm::addr::{PhysAddr, VirtAddr};
use mm::arch::{PageFormat, PhysMap, Resize};
use mm::layout::VirtRange;
use mm::paging::{Access, Entry, Level, Mapping, MemoryType, RawMapping};

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const WRITE_THROUGH: u64 = 1 << 3;
const CACHE_DISABLE: u64 = 1 << 4;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
/// At the levels above pages: a leaf, not a table.
const LARGE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
/// The PAT bit of a page, and of a larger leaf.
const PAGE_PAT: u64 = 1 << 7;
const LARGE_PAT: u64 = 1 << 12;
const NO_EXECUTE: u64 = 1 << 63;
/// The address bits.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// The level whose leaves map 1 GiB.
const GIGABYTE: Level = Level::new(2);

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
// lowest bit is clear is absent; `tlb::flush` returns when every CPU that is online has flushed its TLB, global entries too, and one
// that comes online later has read nothing before.
unsafe impl PageFormat for Native {
    const PAGE_SHIFT: u32 = 12;
    const SECTION_SHIFT: u32 = 27;
    const LEVELS: u8 = 4;
    const KERNEL_START: VirtAddr = VirtAddr::new(KERNEL_START);
    const RESIZE: Resize = Resize::InPlace;

    fn leaf_at(self, level: Level) -> bool {
        level < GIGABYTE || (level == GIGABYTE && cpu::has_gigabyte_leaves())
    }

    #[inline]
    fn leaf(self, address: PhysAddr, level: Level, mapping: Mapping) -> u64 {
        let rights = match mapping.access {
            Access::ReadOnly => NO_EXECUTE,
            Access::ReadWrite => WRITABLE | NO_EXECUTE,
            Access::ReadExecute => 0,
        };
        let memory = match mapping.memory {
            MemoryType::Normal => 0,
            MemoryType::WriteCombining => WRITE_THROUGH,
            MemoryType::Device => CACHE_DISABLE | WRITE_THROUGH,
        };
        let size = if level == Level::PAGE { 0 } else { LARGE };
        address.as_u64() & ADDRESS | rights | memory | size | PRESENT | ACCESSED | DIRTY | GLOBAL
    }

    #[inline]
    fn table(self, address: PhysAddr) -> u64 {
        address.as_u64() & ADDRESS | PRESENT | WRITABLE | ACCESSED
    }

    #[inline]
    fn decode(self, entry: u64, level: Level) -> Entry {
        if entry & PRESENT == 0 {
            return Entry::Absent;
        }
        if level > GIGABYTE || level != Level::PAGE && entry & LARGE == 0 {
            return Entry::Table(PhysAddr::new(entry & ADDRESS));
        }
        let pat = if level == Level::PAGE { PAGE_PAT } else { LARGE_PAT };
        // As `cpu::init` sets the types. Those with the PAT bit are the ones after reset, of which write-through and
        // write-back are both ordinary memory.
        let memory = match (entry & pat != 0, entry & CACHE_DISABLE != 0, entry & WRITE_THROUGH != 0) {
            (_, true, _) => MemoryType::Device,
            (false, false, true) => MemoryType::WriteCombining,
            (_, false, _) => MemoryType::Normal,
        };
        let writable = entry & WRITABLE != 0;
        let mapping = RawMapping { writable, executable: entry & NO_EXECUTE == 0, memory };
        let size = 1 << (Self::PAGE_SHIFT + 9 * u32::from(level.as_u8()));
        Entry::Leaf { address: PhysAddr::new(entry & ADDRESS).align_down(size), mapping }
    }

    fn flush(self, range: VirtRange) {
        tlb::flush(range);
    }

    fn publish(self) {
        tlb::publish();
    }
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
            let address = PhysAddr::new(0x000a_bcd0_0000_0000).align_down(1 << 30);
            for (access, memory) in ACCESSES.into_iter().flat_map(|access| TYPES.map(|memory| (access, memory))) {
                let mapping = Mapping { access, memory };
                let expected = Entry::Leaf { address, mapping: mapping.raw() };
                assert_eq!(Native.decode(Native.leaf(address, level, mapping), level), expected);
            }
        }
        for number in 1..4 {
            let address = PhysAddr::new(0x000f_ffff_ffff_f000);
            assert_eq!(Native.decode(Native.table(address), Level::new(number)), Entry::Table(address));
        }
        assert_eq!(Native.decode(0, Level::PAGE), Entry::Absent);
    }

    // By the drawings in the manual (volume 3, "4-level paging"), not by the constants above.
    #[test]
    fn bits_stand_where_the_manual_has_them() {
        let page = Native.leaf(PhysAddr::new(0x1234_5000), Level::PAGE, Mapping::DATA);
        assert_eq!(page, 0x8000_0000_1234_5163);
        let text = Native.leaf(PhysAddr::new(0x20_0000), Level::new(1), Mapping::TEXT);
        assert_eq!(text, 0x0000_0000_0020_01e1);
        let device = Native.leaf(PhysAddr::new(0xfee0_0000), Level::PAGE, Mapping::DEVICE);
        assert_eq!(device, 0x8000_0000_fee0_017b);
        assert_eq!(Native.table(PhysAddr::new(0x5000)), 0x5023);
    }

    #[test]
    fn a_large_leaf_with_pat_is_not_taken_for_an_address_bit() {
        let entry = 0x8000_0000_4000_11e3;
        let Entry::Leaf { address, .. } = Native.decode(entry, Level::new(1)) else { panic!("no leaf") };
        assert_eq!(address, PhysAddr::new(0x4000_0000));
    }

    #[test]
    fn a_pointer_into_the_direct_map_goes_back() {
        let address = PhysAddr::new(0x1_2345_6789);
        assert_eq!(Native.ptr_phys(Native.phys_ptr(address)), Some(address));
        assert_eq!(Native.ptr_phys(core::ptr::without_provenance(0xffff_ffff_8020_0000)), None);
    }
}
