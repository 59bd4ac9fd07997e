//! This CPU's page tables as `mm` wants to see them: entries, flushes, and the pointers that the layout gives.

use super::clear::clear;
use super::format;
use crate::layout::{DIRECT_START, LAYOUT};
use crate::{Native, tlb};
use aarch64_cpu::registers::{ID_AA64MMFR0_EL1, Readable};
use mm::addr::{PhysAddr, PhysRange, VirtAddr};
use mm::arch::{PageFormat, PhysMap, Resize};
use mm::layout::VirtRange;
use mm::paging::{Entry, Level, Mapping};

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
// gives the same pointer, and consecutive bytes are consecutive. `clear` zeroes whole blocks of its range, all of them.
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

    unsafe fn clear(self, range: PhysRange) {
        // SAFETY: the direct map is ordinary memory; the rest the caller says.
        unsafe { clear(self.phys_ptr(range.start()), range.size() as usize) };
    }

    #[inline]
    fn virt_ptr(self, address: VirtAddr) -> *mut u8 {
        core::ptr::with_exposed_provenance_mut(address.as_u64() as usize)
    }
}

// SAFETY: `format::decode` reads the bits that `leaf` and `table` set, and its tests hold them against each other; an
// entry whose lowest bit is clear is absent; the flushes order the entry's write before the drop, reach every CPU of
// the inner shareable domain, and wait for it.
unsafe impl PageFormat for Native {
    const PAGE_SHIFT: u32 = format::PAGE_SHIFT;
    const SECTION_SHIFT: u32 = 27;
    const LEVELS: u8 = 4;
    const KERNEL_START: VirtAddr = VirtAddr::new(DIRECT_START);
    const RESIZE: Resize = Resize::BreakBeforeMake;

    #[inline]
    fn leaf_at(self, level: Level) -> bool {
        format::leaf_at(level)
    }

    #[inline]
    fn leaf(self, address: PhysAddr, level: Level, mapping: Mapping) -> u64 {
        format::leaf(address, level, mapping)
    }

    #[inline]
    fn table(self, address: PhysAddr) -> u64 {
        format::table(address)
    }

    #[inline]
    fn decode(self, entry: u64, level: Level) -> Entry {
        format::decode(entry, level)
    }

    fn flush(self, range: VirtRange) {
        tlb::flush(range);
    }

    fn publish(self) {
        tlb::publish();
    }
}
