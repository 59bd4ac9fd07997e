//! CPUs: which features they have, their interrupt flag, per-CPU areas, and how the others are started.
//!
//! | file | holds |
//! |---|---|
//! | `area` | GS, the per-CPU areas, which CPU it is that runs |
//! | `native` | [`Cpu`](mm::arch::Cpu) and [`Signal`](mm::smp::Signal) of this machine; how a CPU waits |
//! | `start`, `secondary.s` | the other CPUs, from INIT to the kernel |
//! | `mtrr` | range registers, the same on every CPU |
//!
//! `init` runs once, on the boot CPU, before anything that depends on memory types or on the protection bits it sets.
//! The other CPUs get its CR0, CR4 and EFER, and the same memory types. Linux: `kernel/cpu/common.c`,
//! `mm/pat/memtype.c`.

mod area;
mod mtrr;
mod native;
mod start;

pub use area::{percpu_template, set_percpu};
pub use native::{halt, interrupts_enable, set_others, wait_for_interrupt};
pub use start::{
    MAIN_STACK_BYTES, Stacks, StartError, StartFacts, TRAP_STACK_BYTES, TRAP_STACKS, prepare_start, start,
};

pub(crate) use mtrr::range_registers;
pub(crate) use native::flush_everywhere;
pub(crate) use start::stack_guards;

use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count, CpuidResult};
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use mm::addr::VirtAddr;
use platform::firmware::pat::Pat;
use x86_64::registers::control::{Cr4, Cr4Flags};
use x86_64::registers::model_specific::Msr;

const IA32_PAT: u32 = 0x277;
/// AMD: what makes memory above 4 GiB write-back, and where that ends.
const SYSCFG: u32 = 0xc001_0010;
const TOP_MEM2: u32 = 0xc001_001d;
/// Memory types by an entry's PWT (1), PCD (2) and PAT (4) bits, a byte each from the lowest. As after reset, but for
/// PWT alone: write-combining (1) in place of write-through (4), as Linux has it. So the types that `mm` knows need no
/// PAT bit, whose place depends on the level.
const MEMORY_TYPES: u64 = 0x0007_0406_0007_0106;

/// Bits of a physical address; 36 until [`init`] has asked, which every 64-bit CPU has.
static PHYSICAL_BITS: AtomicU8 = AtomicU8::new(36);
static GIGABYTE_LEAVES: AtomicBool = AtomicBool::new(false);

/// Leaf `leaf` of CPUID, zeroes when the CPU does not have it.
pub(crate) fn cpuid(leaf: u32) -> CpuidResult {
    const NOTHING: CpuidResult = CpuidResult { eax: 0, ebx: 0, ecx: 0, edx: 0 };
    let space = leaf & 0xffff_0000;
    let highest = __cpuid(space).eax;
    if highest & 0xffff_0000 == space && leaf <= highest { __cpuid_count(leaf, 0) } else { NOTHING }
}

/// Turns on what protects the kernel from its own mistakes, where the CPU has it, and sets the memory types.
#[cfg_attr(test, expect(dead_code, reason = "the entry code calls it"))]
pub(crate) fn init() {
    let bits = cpuid(0x8000_0008).eax as u8;
    if (36..=52).contains(&bits) {
        PHYSICAL_BITS.store(bits, Ordering::Relaxed);
    }
    GIGABYTE_LEAVES.store(cpuid(0x8000_0001).edx & 1 << 26 != 0, Ordering::Relaxed);

    let mut flags = Cr4::read();
    if cpuid(1).edx & 1 << 7 != 0 {
        flags |= Cr4Flags::MACHINE_CHECK_EXCEPTION;
    }
    let features = cpuid(7);
    if features.ebx & 1 << 7 != 0 {
        flags |= Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION;
    }
    if features.ebx & 1 << 20 != 0 {
        flags |= Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION;
    }
    if features.ecx & 1 << 2 != 0 {
        flags |= Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION;
    }
    // SAFETY: the bits added are ones that CPUID offers; they concern user memory, user instructions and machine
    // checks, none of which exists yet, and change no mapping.
    unsafe { Cr4::write(flags) };
    set_memory_types();
}

/// Sets the memory types that page-table entries choose from, on this CPU.
fn set_memory_types() {
    // SAFETY: every 64-bit CPU has the PAT. No entry that this CPU has used selects the slot that changes.
    unsafe { Msr::new(IA32_PAT).write(MEMORY_TYPES) };
}

/// Bits of a physical address on this CPU, at most 52.
#[must_use]
pub fn physical_bits() -> u32 {
    PHYSICAL_BITS.load(Ordering::Relaxed).into()
}

/// Where write-back memory above 4 GiB ends on an AMD CPU that says so without range registers; else 0.
fn top_of_memory_2() -> u64 {
    /// TOM2 is in use, and what it spans is write-back.
    const IN_USE: u64 = 1 << 21 | 1 << 22;
    const AMD: [u8; 12] = *b"AuthenticAMD";
    const HYGON: [u8; 12] = *b"HygonGenuine";
    let id = __cpuid(0);
    let vendor = [id.ebx, id.edx, id.ecx].map(u32::to_le_bytes);
    let is_amd = [AMD, HYGON].iter().any(|name| vendor.as_flattened() == name);
    let has_long_mode_family = cpuid(1).eax >> 8 & 0xf == 0xf;
    // A virtual machine need not have the register at all.
    let is_virtual = cpuid(1).ecx & 1 << 31 != 0;
    if !is_amd || !has_long_mode_family || is_virtual {
        return 0;
    }
    // SAFETY: every AMD CPU of these families has both registers.
    let (configuration, top) = unsafe { (Msr::new(SYSCFG).read(), Msr::new(TOP_MEM2).read()) };
    if configuration & IN_USE == IN_USE { top & 0x000f_ffff_ff80_0000 } else { 0 }
}

/// The memory types that page-table entries choose from.
pub(crate) fn page_attributes() -> Pat {
    // SAFETY: every 64-bit CPU has the PAT.
    Pat(unsafe { Msr::new(IA32_PAT).read() })
}

/// Whether a leaf may map 1 GiB.
pub(crate) fn has_gigabyte_leaves() -> bool {
    GIGABYTE_LEAVES.load(Ordering::Relaxed)
}

/// The local APIC's number of the CPU that booted, by which the firmware's tables name it. For the boot CPU to call.
#[must_use]
pub fn boot_hardware_id() -> u64 {
    hardware_id().into()
}

/// The local APIC's number of the CPU that asks. secondary.s finds it in the same way.
pub(crate) fn hardware_id() -> u32 {
    let topology = cpuid(0xb);
    if topology.ebx != 0 { topology.edx } else { cpuid(1).ebx >> 24 }
}

/// Where the function that calls this stands: an address in it and its frame pointer, for a backtrace.
#[inline(always)]
#[must_use]
pub fn caller_frame() -> (VirtAddr, VirtAddr) {
    let (pc, frame_pointer): (u64, u64);
    // SAFETY: reads two registers, nothing else.
    unsafe {
        asm!("lea {}, [rip]", "mov {}, rbp", out(reg) pc, out(reg) frame_pointer, options(nomem, nostack, preserves_flags));
    }
    (VirtAddr::new(pc), VirtAddr::new(frame_pointer))
}

#[cfg(test)]
mod tests {
    use super::*;

    // By the manual's table of memory types: what an entry's PWT and PCD bits choose.
    #[test]
    fn memory_types_of_entries_without_the_pat_bit() {
        const WRITE_BACK: u8 = 6;
        const WRITE_COMBINING: u8 = 1;
        const UNCACHED_MINUS: u8 = 7;
        const UNCACHED: u8 = 0;
        let chosen = [WRITE_BACK, WRITE_COMBINING, UNCACHED_MINUS, UNCACHED];
        assert_eq!(MEMORY_TYPES.to_le_bytes()[..4], chosen);
    }
}
