//! What a kernel supplies to use this crate: three small traits on one `Copy` handle.
//!
//! In a kernel the handle is zero-sized and every method is a few instructions that the compiler inlines; on the host
//! it points to one emulated machine, so that a test program can hold many. All methods take `self`.
//!
//! | trait | supplies | Linux |
//! |---|---|---|
//! | [`PhysMap`] | pointers to physical and to mapped virtual memory | `__va`, `__pa` |
//! | [`Cpu`] | the current CPU, its interrupts | `smp_processor_id`, `local_irq_save` |
//! | [`PageFormat`] | table levels, entry bits, flush | `asm/pgtable.h`, `asm/sparsemem.h` |

use crate::addr::{CpuId, PhysAddr, VirtAddr};
use crate::paging::{Entry, Level, Mapping};
use core::marker::PhantomData;

/// Access to memory.
///
/// # Safety
/// For each address of RAM that the kernel has mapped, `phys_ptr` returns a pointer through which that byte and those
/// after it, up to the end of its RAM range, can be read and written as long as the handle lives; two calls
/// with one address return the same pointer. `virt_ptr` does so for the addresses that the active tables map.
pub unsafe trait PhysMap: Copy {
    /// A pointer to the byte at `address`, by the direct map.
    fn phys_ptr(self, address: PhysAddr) -> *mut u8;

    /// The physical address behind a pointer that came from [`PhysMap::phys_ptr`], or `None` for any other pointer
    /// that can be told apart.
    fn ptr_phys(self, pointer: *const u8) -> Option<PhysAddr>;

    /// A pointer to the byte at `address`, which the active tables map.
    fn virt_ptr(self, address: VirtAddr) -> *mut u8;

    /// The virtual address behind a pointer that came from [`PhysMap::virt_ptr`], or `None` for any other pointer that
    /// can be told apart. In a kernel the pointer is the address; whoever emulates virtual addresses says so here.
    fn ptr_virt(self, pointer: *const u8) -> Option<VirtAddr> {
        Some(VirtAddr::new(pointer.addr() as u64))
    }
}

/// The CPU that runs the caller.
///
/// # Safety
/// After `irq_save` and until the matching `irq_restore` no interrupt handler runs on this CPU, and the caller stays
/// on it.
pub unsafe trait Cpu: Copy {
    /// The CPU that runs the caller; may be stale as soon as it is returned unless the caller is pinned.
    fn current(self) -> CpuId;

    /// Disables interrupts on this CPU and returns whether they were on.
    fn irq_save(self) -> IrqState;

    /// Puts interrupts back to what [`Cpu::irq_save`] returned.
    fn irq_restore(self, state: IrqState);

    /// Keeps the caller on its CPU while the result lives. Per-CPU state is reached only through it. A kernel that
    /// does not preempt has nothing to do here.
    fn pin(self) -> Pinned {
        Pinned { cpu: self.current(), not_send: PhantomData }
    }
}

/// Whether interrupts were on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IrqState {
    /// They were on.
    Enabled,
    /// They were off already.
    Disabled,
}

/// Proof that the caller stays on one CPU.
#[derive(Debug)]
pub struct Pinned {
    cpu: CpuId,
    not_send: PhantomData<*const ()>,
}

impl Pinned {
    /// The CPU.
    #[must_use]
    pub fn cpu(&self) -> CpuId {
        self.cpu
    }
}

/// The page tables that the hardware walks: a tree of tables of `1 << (PAGE_SHIFT - 3)` 8-byte entries.
///
/// # Safety
/// `decode` inverts `leaf` and `table`; an entry of zero is absent; after `flush_page` (`flush_all`) no CPU that runs
/// this kernel uses an older translation of that page (of any page).
pub unsafe trait PageFormat: Copy {
    /// Bytes of a page, as a power of two: 12, 14 or 16.
    const PAGE_SHIFT: u32;
    /// Bytes of a memory section, as a power of two: 27 with 4 and 16 KiB pages, 29 with 64 KiB pages.
    const SECTION_SHIFT: u32;
    /// Levels of tables. The lowest, whose leaves are pages, is [`Level::PAGE`].
    const LEVELS: u8;
    /// Bits of an address that the tables translate; they decide how many entries the root has.
    const VIRT_BITS: u32 = 48;
    /// The first address of the kernel's half: the lower ones are not for these tables (aarch64, where they go through
    /// another root) or not the kernel's (x86_64: `0xffff_8000_0000_0000`).
    const KERNEL_START: VirtAddr = VirtAddr::new(0xffff_0000_0000_0000);
    /// How a live entry may turn into one of another size.
    const RESIZE: Resize = Resize::BreakBeforeMake;

    /// Bytes of a page.
    const PAGE_SIZE: u64 = 1 << Self::PAGE_SHIFT;

    /// Whether a leaf may stand at `level` on this CPU (x86_64: 1 GiB only with `pdpe1gb`). Always at the lowest.
    fn leaf_at(self, level: Level) -> bool;

    /// The entry of a leaf at `level` that maps to `address`.
    fn leaf(self, address: PhysAddr, level: Level, mapping: Mapping) -> u64;

    /// The entry that points to the table at `address`.
    fn table(self, address: PhysAddr) -> u64;

    /// What an entry at `level` says.
    fn decode(self, entry: u64, level: Level) -> Entry;

    /// Forgets the translations of one page. Where entries only went from absent to present, hardware that caches no
    /// absent entry has nothing to forget, but must still see the new one: call it for every change.
    fn flush_page(self, address: VirtAddr);

    /// Forgets all translations of the kernel's half.
    fn flush_all(self);

    /// Makes entries that went from absent to present visible to the table walker (aarch64: `dsb`, `isb`).
    fn publish(self);
}

/// How a live leaf may turn into a table of smaller leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resize {
    /// By one write (x86_64).
    InPlace,
    /// By way of an absent entry and a flush: the CPU may not hold two sizes for one address (aarch64). For a moment
    /// the addresses cannot be used.
    BreakBeforeMake,
}

/// All three on one handle.
pub trait Arch: PhysMap + Cpu + PageFormat {}

impl<T: PhysMap + Cpu + PageFormat> Arch for T {}
