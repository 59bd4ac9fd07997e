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

use crate::addr::{CpuId, PhysAddr, PhysRange, VirtAddr};
use crate::layout::VirtRange;
use crate::paging::{Entry, Level, Mapping};
use core::marker::PhantomData;

/// Access to memory.
///
/// # Safety
/// For each address of RAM that the kernel has mapped, `phys_ptr` returns a pointer through which that byte and those
/// after it, up to the end of its RAM range, can be read and written as long as the handle lives; two calls
/// with one address return the same pointer. `clear` writes a zero to each byte of its range. `virt_ptr` does so for the addresses that the active tables map.
pub unsafe trait PhysMap: Copy {
    /// A pointer to the byte at `address`, by the direct map.
    fn phys_ptr(self, address: PhysAddr) -> *mut u8;

    /// The physical address behind a pointer that came from [`PhysMap::phys_ptr`], or `None` for any other pointer
    /// that can be told apart.
    fn ptr_phys(self, pointer: *const u8) -> Option<PhysAddr>;

    /// Writes zeroes to all of `range`. For whole pages; an architecture that has a faster way than stores says so here.
    ///
    /// # Safety
    /// The range lies in one range of RAM that `phys_ptr` reaches, and nobody else uses it.
    #[inline]
    unsafe fn clear(self, range: PhysRange) {
        // SAFETY: `phys_ptr` leads to the first byte, and those after it can be written, as the caller says.
        unsafe { self.phys_ptr(range.start()).write_bytes(0, range.size() as usize) };
    }

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
/// on it. `percpu` and `percpu_of` lead to copies that are apart for each two CPUs and each two templates, begin as a
/// copy of the template's bytes, have its layout, and live as long as the kernel; `percpu` leads to the copy of the CPU
/// that runs the caller.
pub unsafe trait Cpu: Copy {
    /// The CPU that runs the caller; may be stale as soon as it is returned unless the caller is pinned.
    fn current(self) -> CpuId;

    /// Disables interrupts on this CPU and returns whether they were on.
    fn irq_save(self) -> IrqState;

    /// Puts interrupts back to what [`Cpu::irq_save`] returned.
    fn irq_restore(self, state: IrqState);

    /// What a CPU does each time round while it waits for another one, perhaps with interrupts off: tells the hardware
    /// that it only waits, and answers what others may be waiting for meanwhile (flushes of its translations). It takes
    /// no lock and allocates nothing.
    fn relax(self) {
        core::hint::spin_loop();
    }

    /// This CPU's copy of the per-CPU variable that `template` is the first byte of. A kernel with one CPU needs no
    /// copies; the template is the one.
    #[inline]
    fn percpu(self, template: Template) -> *mut u8 {
        template.address
    }

    /// The copy of CPU `of`, or `None` where that CPU has no area. Each copy stays where it is once other CPUs run.
    #[inline]
    fn percpu_of(self, template: Template, of: CpuId) -> Option<*mut u8> {
        (of == CpuId::BOOT).then_some(template.address)
    }

    /// Keeps the caller on its CPU while the result lives. Per-CPU state is reached only through it. A kernel that
    /// does not preempt has nothing to do here.
    #[inline]
    fn pin(self) -> Pinned<Self> {
        Pinned { handle: self, not_send: PhantomData }
    }
}

/// A per-CPU variable as it is linked: the copies of the CPUs begin as copies of its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Template {
    /// The first byte.
    pub address: *mut u8,
    /// Bytes and alignment.
    pub layout: core::alloc::Layout,
}

impl Template {
    /// The copy that lies `offset` bytes from the template, by a sum that wraps: an area may lie below. For a kernel, in
    /// which a pointer is an address; the copy's own must have been exposed.
    #[inline]
    #[must_use]
    pub fn copy_at(self, offset: usize) -> *mut u8 {
        core::ptr::with_exposed_provenance_mut(self.address.expose_provenance().wrapping_add(offset))
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
pub struct Pinned<C> {
    handle: C,
    not_send: PhantomData<*const ()>,
}

impl<C: Cpu> Pinned<C> {
    /// The CPU.
    #[must_use]
    #[inline]
    pub fn cpu(&self) -> CpuId {
        self.handle.current()
    }

    /// The handle by which the CPU is known.
    #[must_use]
    #[inline]
    pub fn handle(&self) -> C {
        self.handle
    }
}

/// The page tables that the hardware walks: a tree of tables of `1 << (PAGE_SHIFT - 3)` 8-byte entries.
///
/// # Safety
/// `decode` inverts `leaf` and `table`; an entry of zero is absent; after `flush` no CPU that runs
/// this kernel uses an older translation of any byte of the range.
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

    /// Makes every CPU forget its translations of `range`, and waits until it has. May be called with interrupts off,
    /// and with locks held: who waits for a lock answers meanwhile ([`Cpu::relax`]). For a few pages
    /// ([`FLUSH_PAGES`](crate::paging::change::FLUSH_PAGES)) page by page is cheaper than all of the kernel's half.
    fn flush(self, range: VirtRange);

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
