//! The handle that `mm` is generic over.

use crate::cpu::{current_cpu, interrupt};
use crate::format;
use crate::machine::Machine;
use mm::addr::{CpuId, PhysAddr, VirtAddr};
use mm::arch::{Cpu, IrqState, PageFormat, PhysMap, Template};
use mm::layout::{Layout, VirtRange};
use mm::paging::change::FLUSH_PAGES;
use mm::paging::{Entry, Level, Mapping};
use std::sync::atomic::Ordering;

/// A handle to one [`Machine`].
#[derive(Clone, Copy, Debug)]
pub struct Emulated<'m, const SHIFT: u32> {
    pub(crate) machine: &'m Machine<SHIFT>,
}

const fn range(start: u64, size: u64) -> VirtRange {
    VirtRange::new(VirtAddr::new(start), VirtAddr::new(start + size))
}

impl<'m, const SHIFT: u32> Emulated<'m, SHIFT> {
    /// Where things lie in the emulated kernel's virtual space: the same for every page size, but for the fixmap,
    /// which has 1,536 pages.
    pub const LAYOUT: Layout = Layout {
        direct: range(0xffff_0000_0000_0000, 64 << 40),
        direct_base: PhysAddr::new(0),
        vmalloc: range(0xffff_8000_0000_0000, 16 << 40),
        vmemmap: range(0xffff_a000_0000_0000, 1 << 40),
        percpu: range(0xffff_b000_0000_0000, 1 << 40),
        fixmap: range(0xffff_c000_0000_0000, 1536 << SHIFT),
        image: range(0xffff_ffff_8000_0000, 1 << 30),
        page_shift: SHIFT,
        struct_page_bytes: 32,
    };
    const LAYOUT_HOLDS: () = assert!(Self::LAYOUT.check(Self::KERNEL_START).is_ok());

    /// The machine.
    #[must_use]
    pub fn machine(self) -> &'m Machine<SHIFT> {
        self.machine
    }

    /// [`Emulated::LAYOUT`].
    #[must_use]
    pub fn layout(self) -> &'static Layout {
        const { Self::LAYOUT_HOLDS };
        const { &Self::LAYOUT }
    }
}

// SAFETY: a pointer derives from the allocation behind its RAM range and so reaches to the range's end; the machine
// outlives the handle. Virtual addresses are translated by the active tables, anew each time.
unsafe impl<const SHIFT: u32> PhysMap for Emulated<'_, SHIFT> {
    fn phys_ptr(self, address: PhysAddr) -> *mut u8 {
        if self.machine.requires_mapped() {
            self.machine.assert_direct(address);
        }
        self.machine.ram_ptr(address).unwrap_or_else(|| panic!("physical access at {address:?}, where no RAM is"))
    }

    fn ptr_phys(self, pointer: *const u8) -> Option<PhysAddr> {
        self.machine.ram_phys(pointer)
    }

    fn virt_ptr(self, address: VirtAddr) -> *mut u8 {
        let physical = self.machine.translate(address).unwrap_or_else(|fault| panic!("{fault}"));
        self.machine.ram_ptr(physical).unwrap_or_else(|| panic!("{address:?} leads to {physical:?}, where no RAM is"))
    }

    fn ptr_virt(self, pointer: *const u8) -> Option<VirtAddr> {
        self.machine.virtual_of(self.machine.ram_phys(pointer)?)
    }
}

// SAFETY: an interrupt is taken by the CPU's own thread only, from inside these two functions, where interrupts were on;
// and a thread stays the CPU that it is.
unsafe impl<const SHIFT: u32> Cpu for Emulated<'_, SHIFT> {
    fn current(self) -> CpuId {
        current_cpu()
    }

    fn irq_save(self) -> IrqState {
        if self.machine.this_cpu().interrupts.swap(false, Ordering::AcqRel) {
            interrupt();
            IrqState::Enabled
        } else {
            IrqState::Disabled
        }
    }

    fn irq_restore(self, state: IrqState) {
        let flag = &self.machine.this_cpu().interrupts;
        assert!(!flag.load(Ordering::Acquire), "CPU {} restores interrupts while they are on", current_cpu());
        if state == IrqState::Enabled {
            interrupt();
            flag.store(true, Ordering::Release);
        }
        self.machine.take_interrupt(self);
    }

    fn relax(self) {
        self.machine.cpus().answer_flush(current_cpu(), self);
        std::thread::yield_now();
    }

    fn percpu(self, template: Template) -> *mut u8 {
        self.machine.this_cpu().percpu.copy(template)
    }

    fn percpu_of(self, template: Template, of: CpuId) -> Option<*mut u8> {
        Some(self.machine.cpus.get(of.index())?.percpu.copy(template))
    }
}

// SAFETY: `decode` inverts `leaf` and `table` (see the tests), zero is absent, and flushing removes the translations
// from the TLBs of all CPUs, or of all that are online, which each empty their own.
unsafe impl<const SHIFT: u32> PageFormat for Emulated<'_, SHIFT> {
    const PAGE_SHIFT: u32 = SHIFT;
    const SECTION_SHIFT: u32 = format::section_shift(SHIFT);
    const LEVELS: u8 = format::levels(SHIFT);

    fn leaf_at(self, level: Level) -> bool {
        level <= self.machine.largest_leaf
    }

    fn leaf(self, address: PhysAddr, level: Level, mapping: Mapping) -> u64 {
        assert!(self.leaf_at(level), "this CPU has no leaf at level {}", level.as_u8());
        format::leaf(SHIFT, address, level, format::raw(mapping))
    }

    fn table(self, address: PhysAddr) -> u64 {
        format::table(SHIFT, address)
    }

    fn decode(self, entry: u64, level: Level) -> Entry {
        format::decode(SHIFT, entry, level, self.machine.largest_leaf)
    }

    fn flush(self, range: VirtRange) {
        let pages = range.size().div_ceil(1 << SHIFT);
        if pages > FLUSH_PAGES {
            self.machine.full_flushes.fetch_add(1, Ordering::Relaxed);
        } else {
            self.machine.page_flushes.fetch_add(pages, Ordering::Relaxed);
        }
        if self.machine.flushes_per_cpu() {
            return self.machine.shoot_down(self, range);
        }
        for cpu in &self.machine.cpus {
            self.machine.forget(cpu, range);
        }
    }

    fn publish(self) {
        self.machine.publishes.fetch_add(1, Ordering::Relaxed);
        self.machine.assert_broken_before_made();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mm::paging::{Access, MemoryType};

    #[test]
    fn decode_inverts_leaf_and_table() {
        let machine = Machine::<12>::builder().ram(0, 0x10000, 0).largest_leaf(Level::new(2)).finish();
        let handle = machine.handle();
        assert_eq!(handle.decode(0, Level::PAGE), Entry::Absent);
        assert_eq!(handle.decode(handle.table(PhysAddr::new(0)), Level::new(3)), Entry::Table(PhysAddr::new(0)));
        for level in [0, 1, 2].map(Level::new) {
            for access in [Access::ReadOnly, Access::ReadWrite, Access::ReadExecute] {
                for memory in [MemoryType::Normal, MemoryType::WriteCombining, MemoryType::Device] {
                    let mapping = Mapping { access, memory };
                    for address in [0, 0x40_0000_0000].map(PhysAddr::new) {
                        let entry = handle.leaf(address, level, mapping);
                        let decoded = handle.decode(entry, level);
                        assert_eq!(decoded, Entry::Leaf { address, mapping: format::raw(mapping) });
                    }
                }
            }
        }
    }

    #[test]
    fn pointers_and_addresses_convert_both_ways() {
        let machine = Machine::<12>::builder().ram(0x8000_0000, 0x3000, 1).ram(0x1000, 0x1800, 0).finish();
        let handle = machine.handle();
        for address in [0x1000, 0x27ff, 0x8000_0000, 0x8000_2fff].map(PhysAddr::new) {
            let pointer = handle.phys_ptr(address);
            assert_eq!(handle.ptr_phys(pointer), Some(address));
            assert_eq!(pointer.addr() as u64 & 0xfff, address.as_u64() & 0xfff);
            // SAFETY: `phys_ptr` gives a pointer to a byte of RAM; nobody else uses this machine.
            unsafe { pointer.write(pointer.read() + 1) };
        }
        assert_eq!(handle.ptr_phys(core::ptr::null()), None);
        assert_eq!(machine.ram_size(), 0x4800);
    }

    #[test]
    #[should_panic(expected = "no RAM")]
    fn a_hole_has_no_pointer() {
        let machine = Machine::<12>::builder().ram(0x1000, 0x1000, 0).ram(0x3000, 0x1000, 0).finish();
        let _ = machine.handle().phys_ptr(PhysAddr::new(0x2000));
    }

    #[test]
    #[should_panic(expected = "while they are on")]
    fn interrupts_are_restored_once() {
        let machine = Machine::<12>::builder().ram(0, 0x1000, 0).finish();
        let state = machine.handle().irq_save();
        assert_eq!(machine.handle().irq_save(), IrqState::Disabled);
        machine.handle().irq_restore(IrqState::Disabled);
        machine.handle().irq_restore(state);
        machine.handle().irq_restore(state);
    }
}
