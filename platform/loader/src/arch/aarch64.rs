//! The way to the kernel on aarch64.

use super::CpuError;
use core::arch::{asm, global_asm};
use loader::elf::Machine;
use loader::handover::Ready;
use loader::plan::JUMP;
use loader::tables::Format;

pub(crate) const MACHINE: Machine = Machine::Aarch64;

global_asm!(include_str!("aarch64.s"));

unsafe extern "C" {
    /// See `aarch64.s`.
    fn loader_enter(
        transition: u64,
        lower: u64,
        kernel: u64,
        distance: u64,
        entry: u64,
        stack: u64,
        translation_control: u64,
    ) -> !;
}

/// A system register.
macro_rules! read {
    ($register:literal) => {{
        let value: u64;
        // SAFETY: reading this register changes nothing, and UEFI runs us at a level that may.
        unsafe {
            asm!(concat!("mrs {}, ", $register), out(reg) value, options(nomem, nostack, preserves_flags));
        }
        value
    }};
}

/// Which page tables this CPU can have.
pub(crate) fn format() -> Result<Format, CpuError> {
    const PAGES_4K_SHIFT: u32 = 28;
    const ABSENT: u64 = 0xf;
    if read!("id_aa64mmfr0_el1") >> PAGES_4K_SHIFT & 0xf == ABSENT {
        return Err(CpuError("the CPU has no pages of 4 KiB"));
    }
    match read!("currentel") >> 2 & 3 {
        1 | 2 => Ok(Format::Aarch64),
        _ => Err(CpuError("the firmware runs at EL3")),
    }
}

/// The physical address of the code that enters the kernel. It does not cross a page.
pub(crate) fn jump() -> u64 {
    loader_enter as *const () as u64
}

/// Interrupts of every kind off.
pub(crate) fn mask_interrupts() {
    // SAFETY: boot services are over, so nobody waits for an interrupt.
    unsafe { asm!("msr daifset, #0xf", options(nomem, nostack)) };
}

/// Writes what the caches hold of `bytes` to memory: the kernel may turn the MMU off, and then sees only memory.
pub(crate) fn clean(bytes: &[u8]) {
    // The field says how many words the smallest line of any data cache has, as a power of two.
    let line = 4_usize << (read!("ctr_el0") >> 16 & 0xf);
    let start = bytes.as_ptr() as usize;
    for at in (start & !(line - 1)..start + bytes.len()).step_by(line) {
        // SAFETY: cleaning a line changes what no load can tell; it belongs to a slice, so it is mapped.
        unsafe { asm!("dc civac, {}", in(reg) at, options(nostack, preserves_flags)) };
    }
    // SAFETY: a barrier changes nothing.
    unsafe { asm!("dsb sy", options(nostack, preserves_flags)) };
}

/// TCR_EL1: 48 bits and 4 KiB pages in both halves, tables in cached, inner shareable memory.
fn translation_control() -> u64 {
    const SIZES: u64 = 16 | 16 << 16;
    const CACHED: u64 = 1 << 8 | 1 << 10 | 1 << 24 | 1 << 26;
    const SHAREABLE: u64 = 3 << 12 | 3 << 28;
    const PAGES_4K: u64 = 2 << 30;
    // More than 48 bits of physical addresses take another format of entries.
    let physical_bits = (read!("id_aa64mmfr0_el1") & 0xf).min(5);
    SIZES | CACHED | SHAREABLE | PAGES_4K | physical_bits << 32
}

/// Enters the kernel.
///
/// # Safety
/// `ready` comes from a handover built for this CPU and [`jump`]'s page, and is cleaned; boot services are over,
/// interrupts are off.
pub(crate) unsafe fn enter(ready: &Ready) -> ! {
    const CODE_BYTES: usize = 1024;
    let roots = ready.roots;
    let distance = JUMP.wrapping_sub(loader::page_floor(jump()));
    // SAFETY: the code is there, and nobody writes to it.
    clean(unsafe { core::slice::from_raw_parts(jump() as *const u8, CODE_BYTES) });
    // SAFETY: the caller's promises are those of the code, which needs no more: see `aarch64.s`.
    unsafe {
        loader_enter(
            roots.transition,
            roots.lower,
            roots.kernel,
            distance,
            ready.entry,
            ready.stack,
            translation_control(),
        )
    }
}
