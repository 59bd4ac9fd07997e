//! Clearing whole pages.
//!
//! `dc zva` zeroes a block (64 bytes on most CPUs) without reading it first, where stores would fetch each line. The CPU
//! says how large a block is and whether it may be used; it may only on ordinary memory, which the direct map is. Costs
//! five instructions for two blocks, where the compiler's loop of stores takes three for each 8 bytes. Linux:
//! `arch/arm64/lib/clear_page.S`.

use core::arch::asm;

/// The block of `dc zva` may not be used.
const PROHIBITED: u64 = 1 << 4;
/// The lowest bits of DCZID_EL0: how many words of 4 bytes a block has, as a power of two.
const SIZE: u64 = 0xf;

/// Writes zeroes.
///
/// # Safety
/// `bytes` bytes from `first` on are ordinary memory that may be written, and nobody else uses them.
pub(super) unsafe fn clear(first: *mut u8, bytes: usize) {
    let id: u64;
    // SAFETY: reads a register that every CPU has.
    unsafe { asm!("mrs {}, dczid_el0", out(reg) id, options(nomem, nostack, preserves_flags)) };
    let block = 4_usize << (id & SIZE);
    if id & PROHIBITED != 0 || !first.addr().is_multiple_of(block) || !bytes.is_multiple_of(2 * block) || bytes == 0 {
        // SAFETY: the caller says that it may be written.
        return unsafe { first.write_bytes(0, bytes) };
    }
    // SAFETY: each instruction zeroes the block that holds its address; there are whole blocks only, two in each round,
    // all of which may be written.
    unsafe {
        asm!(
            "2: dc zva, {at}",
            "add {at}, {at}, {block}",
            "dc zva, {at}",
            "add {at}, {at}, {block}",
            "cmp {at}, {end}",
            "b.lo 2b",
            at = inout(reg) first => _,
            block = in(reg) block,
            end = in(reg) first.addr() + bytes,
            options(nostack),
        );
    }
}
