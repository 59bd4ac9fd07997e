//! One range of RAM on the host, with pages of 4 KiB, for tests that need nothing more of a machine.

use mm::addr::{CpuId, PhysAddr, PhysRange, VirtAddr};
use mm::arch::{Cpu, IrqState, PageFormat, PhysMap};
use mm::layout::VirtRange;
use mm::paging::{Entry, Level, Mapping};
use std::alloc::Layout;

/// Zeroed memory that pretends to lie at a physical address.
pub(crate) struct Ram {
    range: PhysRange,
    memory: *mut u8,
}

impl Ram {
    const ALIGN: usize = 1 << 16;

    pub(crate) fn new(start: u64, size: u64) -> Self {
        let range = PhysRange::from_size(PhysAddr::new(start), size).unwrap();
        let layout = Layout::from_size_align(usize::try_from(size).unwrap().max(1), Self::ALIGN).unwrap();
        // SAFETY: the layout has a size above 0.
        let memory = unsafe { std::alloc::alloc_zeroed(layout) };
        assert!(!memory.is_null());
        Self { range, memory }
    }

    pub(crate) fn range(&self) -> PhysRange {
        self.range
    }

    pub(crate) fn access(&self) -> Access<'_> {
        Access(self)
    }
}

impl Drop for Ram {
    fn drop(&mut self) {
        let size = usize::try_from(self.range.size()).unwrap().max(1);
        // SAFETY: allocated with the same layout, and freed once.
        unsafe { std::alloc::dealloc(self.memory, Layout::from_size_align(size, Self::ALIGN).unwrap()) };
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Access<'r>(&'r Ram);

// SAFETY: pointers derive from the allocation, so they reach to its end.
unsafe impl PhysMap for Access<'_> {
    fn phys_ptr(self, address: PhysAddr) -> *mut u8 {
        assert!(self.0.range.contains(address), "{address:?} is no RAM");
        let offset = address.checked_sub(self.0.range.start()).unwrap();
        self.0.memory.wrapping_add(usize::try_from(offset).unwrap())
    }

    fn ptr_phys(self, _: *const u8) -> Option<PhysAddr> {
        None
    }

    fn virt_ptr(self, _: VirtAddr) -> *mut u8 {
        std::ptr::null_mut()
    }
}

// SAFETY: there are no interrupts.
unsafe impl Cpu for Access<'_> {
    fn current(self) -> CpuId {
        CpuId::BOOT
    }

    fn irq_save(self) -> IrqState {
        IrqState::Disabled
    }

    fn irq_restore(self, _: IrqState) {}
}

// SAFETY: no table is ever made.
unsafe impl PageFormat for Access<'_> {
    const PAGE_SHIFT: u32 = 12;
    const SECTION_SHIFT: u32 = 27;
    const LEVELS: u8 = 4;

    fn leaf_at(self, level: Level) -> bool {
        level == Level::PAGE
    }

    fn leaf(self, _: PhysAddr, _: Level, _: Mapping) -> u64 {
        unreachable!()
    }

    fn table(self, _: PhysAddr) -> u64 {
        unreachable!()
    }

    fn decode(self, _: u64, _: Level) -> Entry {
        Entry::Absent
    }

    fn flush(self, _: VirtRange) {}

    fn publish(self) {}
}
