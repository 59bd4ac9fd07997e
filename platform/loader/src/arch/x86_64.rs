//! The way to the kernel on x86_64.

use super::CpuError;
use core::arch::x86_64::__cpuid;
use core::arch::{asm, global_asm};
use loader::elf::Machine;
use loader::handover::Ready;
use loader::plan::JUMP;
use loader::tables::Format;

pub(crate) const MACHINE: Machine = Machine::X86_64;

global_asm!(include_str!("x86_64.s"));

unsafe extern "sysv64" {
    /// See `x86_64.s`.
    fn loader_enter(transition: u64, kernel: u64, distance: u64, entry: u64, stack: u64, gdt: u64) -> !;
}

/// Which page tables this CPU can have.
pub(crate) fn format() -> Result<Format, CpuError> {
    const EXTENDED: u32 = 0x8000_0001;
    const NO_EXECUTE: u32 = 1 << 20;
    const GIGABYTE_LEAVES: u32 = 1 << 26;
    const FIVE_LEVELS: u64 = 1 << 12;
    let control: u64;
    // SAFETY: reading CR4 changes nothing, and UEFI runs us at the level that may.
    unsafe { asm!("mov {}, cr4", out(reg) control, options(nomem, nostack, preserves_flags)) };
    if control & FIVE_LEVELS != 0 {
        return Err(CpuError("the firmware runs with five levels of page tables"));
    }
    let features = if __cpuid(0x8000_0000).eax >= EXTENDED { __cpuid(EXTENDED).edx } else { 0 };
    if features & NO_EXECUTE == 0 {
        return Err(CpuError("the CPU cannot forbid execution (NX)"));
    }
    Ok(if features & GIGABYTE_LEAVES != 0 { Format::X86_64Gigabyte } else { Format::X86_64 })
}

/// The physical address of the code that enters the kernel. It does not cross a page.
pub(crate) fn jump() -> u64 {
    loader_enter as *const () as u64
}

/// Interrupts off, at the CPU and at the two 8259. The firmware leaves I/O APICs masked.
pub(crate) fn mask_interrupts() {
    // SAFETY: boot services are over, so nobody waits for an interrupt. The ports are those of the two 8259; where
    // there are none, nothing takes the byte.
    unsafe {
        asm!("cli", "mov al, 0xff", "out 0x21, al", "out 0xa1, al", out("al") _, options(nomem, nostack));
    }
}

/// x86's caches are coherent with everything that matters here.
pub(crate) fn clean(_bytes: &[u8]) {}

/// Enters the kernel.
///
/// # Safety
/// `ready` comes from a handover built for this CPU and [`jump`]'s page; boot services are over, interrupts are off.
pub(crate) unsafe fn enter(ready: &Ready) -> ! {
    let roots = ready.roots;
    let distance = JUMP.wrapping_sub(loader::page_floor(jump()));
    // SAFETY: the caller's promises are those of the code, which needs no more: see `x86_64.s`.
    unsafe { loader_enter(roots.transition, roots.kernel, distance, ready.entry, ready.stack, ready.gdt) }
}
