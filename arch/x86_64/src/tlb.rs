//! Forgetting translations.
//!
//! Each CPU flushes its own TLB, so the others are asked by a signal and answer by generation ([`mm::smp`]). The
//! kernel's entries are global, so loading CR3 does not drop them; turning CR4.PGE off and on does. Costs here: one page
//! about as much as a cache miss, everything the refill of the whole TLB; everywhere: an interrupt of each CPU that does
//! not wait for a lock. Linux: `arch/x86/mm/tlb.c`.

use crate::cpu;
use mm::addr::VirtAddr;
use mm::layout::VirtRange;
use mm::paging::change::FLUSH_PAGES;
use x86_64::registers::control::{Cr4, Cr4Flags};

const PAGE: u64 = 4096;

/// Makes every CPU forget its translations of `range`, and waits until it has. A CPU that does not within its time
/// limit is the kernel's end (`kernel_unanswered`): it might use the memory behind them whatever becomes of it.
pub fn flush(range: VirtRange) {
    cpu::flush_everywhere(range);
}

/// Forgets this CPU's translations of `range`, of whatever size their leaves are.
pub fn flush_here(range: VirtRange) {
    if range.size() > FLUSH_PAGES * PAGE {
        return flush_all_here();
    }
    let mut at = range.start();
    while at < range.end() {
        flush_page(at);
        at = at.saturating_add(PAGE);
    }
}

fn flush_page(address: VirtAddr) {
    x86_64::instructions::tlb::flush(x86_64::VirtAddr::new_truncate(address.as_u64()));
}

/// Forgets everything on this CPU, global translations too.
pub fn flush_all_here() {
    let flags = Cr4::read();
    // SAFETY: only PGE changes, and it comes back: the tables in use stay the same, merely read again.
    unsafe {
        Cr4::write(flags.difference(Cr4Flags::PAGE_GLOBAL));
        Cr4::write(flags);
    }
}

/// Makes entries that went from absent to present seen by the table walker. Absent entries are not cached and stores
/// become visible in order, so only the compiler must be kept from moving them.
pub fn publish() {
    core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::SeqCst);
}
