//! Data caches by address, for what is read past them: by a CPU whose MMU is off. Linux: `arch/arm64/mm/cache.S`.

use core::arch::asm;
use mm::addr::VirtAddr;

/// Writes what the caches hold of the `bytes` bytes from `at` on to memory, as far as everybody sees it (the point of
/// coherency), drops it from the caches, and waits for it.
///
/// `at` is mapped; nobody else writes to these bytes meanwhile.
pub(crate) fn clean(at: VirtAddr, bytes: u64) {
    let kind: u64;
    // SAFETY: reads a register, nothing else.
    unsafe { asm!("mrs {}, ctr_el0", out(reg) kind, options(pure, nomem, nostack, preserves_flags)) };
    // Words of the smallest line, as a power of two.
    let line = 4 << (kind >> 16 & 0xf);
    let end = at.saturating_add(bytes);
    let mut at = at.align_down(line);
    while at < end {
        // SAFETY: cleaning changes no value that a load through the caches gives. A byte that is not mapped faults, and
        // the caller says that all are.
        unsafe { asm!("dc civac, {}", in(reg) at.as_u64(), options(nostack, preserves_flags)) };
        at = at.saturating_add(line);
    }
    // SAFETY: barriers have no effect but order.
    unsafe { asm!("dsb sy", options(nostack, preserves_flags)) };
}
