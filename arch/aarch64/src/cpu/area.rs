//! Per-CPU areas: the base register, and what each CPU's own area says of it.
//!
//! A per-CPU variable is linked once, between `__percpu_start` and `__percpu_end`; each CPU's copy lies at the same
//! distance from there, and TPIDR_EL1 holds that distance. So an access is `mrs` and one load or store with the sum of
//! two registers as its address.
//!
//! Three variables are this module's: the CPU's number, and where its two stacks are. The vectors read the top of the
//! overflow stack, the report of a trap asks for the pages below both. Their templates describe the boot CPU; the
//! others' copies are written before they start. Linux: `asm/percpu.h`, `cpu_number`, `overflow_stack`.

use super::errata;
use crate::Native;
use core::arch::asm;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use mm::addr::{CpuId, VirtAddr};
use mm::arch::Cpu;
use mm::layout::VirtRange;
use mm::percpu::Offsets;

/// Bytes of the stack that a CPU runs on.
pub const MAIN_STACK_BYTES: u64 = 64 << 10;
/// Stacks that a CPU has for traps: one, for a frame that the interrupted stack has no room for.
pub const TRAP_STACKS: usize = 1;
/// Bytes of each of them.
pub const TRAP_STACK_BYTES: u64 = 16 << 10;

const PAGE: u64 = 4096;

/// A CPU's stacks. Below each lies a page that is not mapped.
#[derive(Clone, Copy, Debug)]
pub struct Stacks {
    /// The top of the one it runs on, of [`MAIN_STACK_BYTES`].
    pub main: VirtAddr,
    /// The tops of those for traps, of [`TRAP_STACK_BYTES`] each.
    pub traps: [VirtAddr; TRAP_STACKS],
}

unsafe extern "C" {
    static __percpu_start: u8;
    static __percpu_end: u8;
    static __boot_stack_bottom: u8;
    static __overflow_stack_top: u8;
}

mm::percpu! {
    /// This CPU's number.
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    /// The lowest byte of the stack that this CPU runs on.
    static MAIN_STACK_BOTTOM: AtomicPtr<u8> = AtomicPtr::new((&raw const __boot_stack_bottom).cast_mut());
    /// The end of its overflow stack. The vectors read it.
    pub(crate) static OVERFLOW_STACK_TOP: AtomicPtr<u8> = AtomicPtr::new((&raw const __overflow_stack_top).cast_mut());
}

/// Each CPU's distance from the templates, once there are areas.
static OFFSETS: Offsets = Offsets::new();

/// The per-CPU variables as they are linked. Starts at a page.
#[must_use]
pub fn percpu_template() -> VirtRange {
    let address = |symbol: *const u8| VirtAddr::new(symbol.addr() as u64);
    VirtRange::new(address(&raw const __percpu_start), address(&raw const __percpu_end))
}

/// Says where each CPU's area is, by the distance from [`percpu_template`], and moves this CPU, the boot CPU, to its
/// own. Works once. Here is where Linux says what it has found out about this CPU, and so does this.
///
/// # Safety
/// At each offset lies a copy of the templates as they are now, in the direct map, that nobody else uses, for good. No
/// reference to a per-CPU variable of this CPU is in use. Called on the boot CPU, before any other runs.
pub unsafe fn set_percpu(offsets: &'static [usize]) {
    let Some(&own) = offsets.first() else { return };
    let interrupts = Native.irq_save();
    OFFSETS.set(offsets, || {
        // SAFETY: the caller says that this CPU's variables are there. Not `nomem`: what was read from the template may
        // not be taken for what the copy holds.
        unsafe { asm!("msr tpidr_el1, {}", in(reg) own, options(nostack, preserves_flags)) };
    });
    Native.irq_restore(interrupts);
    errata::tell();
}

/// This CPU's distance from the templates.
#[inline]
pub(super) fn base() -> usize {
    let base;
    // SAFETY: reads a register. It changes only in `set_percpu`, which says that it changes memory.
    unsafe { asm!("mrs {}, tpidr_el1", out(reg) base, options(pure, readonly, nostack, preserves_flags)) };
    base
}

/// The distance of `cpu`'s area from the templates, when it has one.
#[inline]
pub(super) fn offset_of(cpu: CpuId) -> Option<usize> {
    OFFSETS.of(cpu)
}

/// This CPU's number.
#[inline]
pub(super) fn number(native: Native) -> CpuId {
    CpuId::new(NUMBER.get(&native.pin()).load(Ordering::Relaxed))
}

/// Writes into the area of `cpu`, which does not run yet, what is its own. `None` where it has no area.
pub(super) fn describe(cpu: CpuId, stacks: &Stacks) -> Option<()> {
    let [overflow] = stacks.traps;
    let bottom = VirtAddr::new(stacks.main.as_u64().checked_sub(MAIN_STACK_BYTES)?);
    NUMBER.of(&Native, cpu)?.store(cpu.as_u32(), Ordering::Relaxed);
    MAIN_STACK_BOTTOM.of(&Native, cpu)?.store(pointer(bottom), Ordering::Relaxed);
    OVERFLOW_STACK_TOP.of(&Native, cpu)?.store(pointer(overflow), Ordering::Relaxed);
    Some(())
}

fn pointer(address: VirtAddr) -> *mut u8 {
    core::ptr::without_provenance_mut(address.as_u64() as usize)
}

/// The pages below this CPU's stacks.
pub(crate) fn stack_guards() -> [VirtRange; 2] {
    let pin = Native.pin();
    let main = MAIN_STACK_BOTTOM.get(&pin).load(Ordering::Relaxed).addr() as u64;
    let overflow = OVERFLOW_STACK_TOP.get(&pin).load(Ordering::Relaxed).addr() as u64;
    [main, overflow.saturating_sub(TRAP_STACK_BYTES)].map(|bottom| {
        let guard = VirtAddr::new(bottom.saturating_sub(PAGE));
        VirtRange::new(guard, VirtAddr::new(bottom))
    })
}
