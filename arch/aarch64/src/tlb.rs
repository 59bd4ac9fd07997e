//! Forgetting translations, on every CPU of the inner shareable domain at once: the hardware broadcasts, so there is
//! nobody to interrupt.
//!
//! The order is fixed: entries are written (`dsb ishst` makes the walkers see them), translations are dropped, the
//! drop is waited for (`dsb ish`), and what this CPU fetched ahead is fetched again (`isb`). Where a CPU of the machine
//! needs it ([`Remedies::REPEAT_TLBI`]), the drop and the wait are done twice; to ask costs a load and a branch that is
//! not taken. Linux: `asm/tlbflush.h`, `ARM64_WORKAROUND_REPEAT_TLBI`.

use crate::cpu::{Remedies, needs};
use core::arch::asm;
use mm::layout::VirtRange;
use mm::paging::change::FLUSH_PAGES;

const PAGE: u64 = 4096;

/// Makes every CPU forget its translations of `range`, of whatever size their leaves are, and the walks that led there.
pub fn flush(range: VirtRange) {
    if range.size() > FLUSH_PAGES * PAGE {
        return flush_all();
    }
    // SAFETY: barriers have no effect but order.
    unsafe { asm!("dsb ishst", options(nostack, preserves_flags)) };
    drop_and_wait(|| {
        for operand in operands(range) {
            // SAFETY: dropping translations only makes the CPU read the tables again.
            unsafe { asm!("tlbi vaae1is, {}", in(reg) operand, options(nostack, preserves_flags)) };
        }
    });
}

/// Waits until what `drop` has dropped is dropped everywhere, and fetches anew what comes next.
#[inline]
fn drop_and_wait(drop: impl Fn()) {
    drop();
    // SAFETY: barriers have no effect but order.
    unsafe { asm!("dsb ish", options(nostack, preserves_flags)) };
    // Asked behind the barrier: see `cpu::errata::check`.
    if needs(Remedies::REPEAT_TLBI) {
        drop();
        // SAFETY: as above.
        unsafe { asm!("dsb ish", options(nostack, preserves_flags)) };
    }
    // SAFETY: as above.
    unsafe { asm!("isb", options(nostack, preserves_flags)) };
}

/// As [`flush`], but for this CPU alone: for mappings that no other has used.
pub fn flush_here(range: VirtRange) {
    // SAFETY: barriers have no effect but order.
    unsafe { asm!("dsb nshst", options(nostack, preserves_flags)) };
    if range.size() > FLUSH_PAGES * PAGE {
        // SAFETY: dropping translations only makes the CPU read the tables again.
        unsafe { asm!("tlbi vmalle1", options(nostack, preserves_flags)) };
    } else {
        for operand in operands(range) {
            // SAFETY: as above.
            unsafe { asm!("tlbi vaae1, {}", in(reg) operand, options(nostack, preserves_flags)) };
        }
    }
    // SAFETY: barriers have no effect but order.
    unsafe { asm!("dsb nsh", "isb", options(nostack, preserves_flags)) };
}

/// For each page of `range` what the instruction takes: address bits 55 to 12 in the low 44 bits; above stand fields
/// that must be zero.
fn operands(range: VirtRange) -> impl Iterator<Item = u64> {
    let first = range.start().as_u64() >> 12;
    let pages = range.size().div_ceil(PAGE);
    (0..pages).map(move |page| first.wrapping_add(page) & 0xfff_ffff_ffff)
}

/// Makes every CPU forget everything.
pub fn flush_all() {
    // SAFETY: barriers have no effect but order.
    unsafe { asm!("dsb ishst", options(nostack, preserves_flags)) };
    // SAFETY: dropping translations only makes the CPU read the tables again.
    drop_and_wait(|| unsafe { asm!("tlbi vmalle1is", options(nostack, preserves_flags)) });
}

/// Makes this CPU forget everything, once all have seen what it wrote before.
pub(crate) fn forget_all_here() {
    // SAFETY: dropping translations only makes the CPU read the tables again.
    unsafe { asm!("dsb ish", "tlbi vmalle1", "dsb nsh", "isb", options(nostack, preserves_flags)) };
}

/// Makes entries that went from absent to present visible to the table walkers and to what this CPU runs next. An
/// absent entry is never cached, so there is nothing to forget.
pub fn publish() {
    // SAFETY: barriers have no effect but order.
    unsafe { asm!("dsb ishst", "isb", options(nostack, preserves_flags)) };
}
