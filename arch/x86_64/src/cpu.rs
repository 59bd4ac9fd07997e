//! The boot CPU: which features it has, its interrupt flag, how it waits.
//!
//! One CPU runs until the issue that starts the others, so [`Cpu::current`] is a constant. `init` runs once, before
//! anything that depends on memory types or on the protection bits it sets. Linux: `kernel/cpu/common.c`,
//! `mm/pat/memtype.c`.

use crate::Native;
use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count, CpuidResult};
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use mm::addr::{CpuId, VirtAddr};
use mm::arch::{Cpu, IrqState};
use mm::layout::VirtRange;
use platform::firmware::mtrr::Mtrr;
use platform::firmware::pat::Pat;
use x86_64::registers::control::{Cr4, Cr4Flags};
use x86_64::registers::model_specific::Msr;
use x86_64::registers::rflags::{self, RFlags};

const IA32_PAT: u32 = 0x277;
/// How many pairs of range registers there are, in the lowest byte.
const IA32_MTRRCAP: u32 = 0xfe;
const IA32_MTRR_DEF_TYPE: u32 = 0x2ff;
/// The first pair: base, mask; then the next.
const IA32_MTRR_PHYSBASE0: u32 = 0x200;
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
    // SAFETY: every 64-bit CPU has the PAT. No entry in use selects the slot that changes.
    unsafe { Msr::new(IA32_PAT).write(MEMORY_TYPES) };
}

/// Bits of a physical address on this CPU, at most 52.
#[must_use]
pub fn physical_bits() -> u32 {
    PHYSICAL_BITS.load(Ordering::Relaxed).into()
}

/// The CPU's range registers, where it has them.
pub(crate) fn range_registers() -> Option<Mtrr> {
    const HAS_MTRR: u32 = 1 << 12;
    if cpuid(1).edx & HAS_MTRR == 0 {
        return None;
    }
    // SAFETY: a CPU with that feature has this register.
    let count = unsafe { Msr::new(IA32_MTRRCAP).read() } as u8;
    // SAFETY: as above.
    let default_type = unsafe { Msr::new(IA32_MTRR_DEF_TYPE).read() };
    let bases = (IA32_MTRR_PHYSBASE0..).step_by(2).take(Mtrr::MAX_PAIRS.min(count.into()));
    // SAFETY: the CPU has said that it has as many pairs.
    let pairs = bases.map(|base| unsafe { (Msr::new(base).read(), Msr::new(base + 1).read()) }).collect();
    Some(Mtrr { default_type, pairs, physical_bits: physical_bits(), top_of_memory_2: top_of_memory_2() })
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

// SAFETY: with the interrupt flag clear no maskable interrupt is taken, and there is one CPU and no preemption.
unsafe impl Cpu for Native {
    fn current(self) -> CpuId {
        CpuId::BOOT
    }

    #[inline]
    fn irq_save(self) -> IrqState {
        let enabled = rflags::read().contains(RFlags::INTERRUPT_FLAG);
        x86_64::instructions::interrupts::disable();
        if enabled { IrqState::Enabled } else { IrqState::Disabled }
    }

    #[inline]
    fn irq_restore(self, state: IrqState) {
        if state == IrqState::Enabled {
            x86_64::instructions::interrupts::enable();
        }
    }
}

/// Stops this CPU for good.
pub fn halt() -> ! {
    loop {
        x86_64::instructions::interrupts::disable();
        x86_64::instructions::hlt();
    }
}

/// Lets time pass until something may have happened. With interrupts off nothing would end a `hlt`, so then this only
/// tells the CPU that the caller polls.
pub fn wait_for_interrupt() {
    if rflags::read().contains(RFlags::INTERRUPT_FLAG) {
        x86_64::instructions::hlt();
    } else {
        core::hint::spin_loop();
    }
}

/// The local APIC's number of the CPU that booted, by which the firmware's tables name it.
#[must_use]
pub fn boot_hardware_id() -> u64 {
    let topology = cpuid(0xb);
    if topology.ebx != 0 { topology.edx.into() } else { (cpuid(1).ebx >> 24).into() }
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

unsafe extern "C" {
    static __percpu_start: u8;
    static __percpu_end: u8;
}

/// The per-CPU variables as they are linked. Starts at a page.
#[must_use]
pub fn percpu_template() -> VirtRange {
    let address = |symbol: *const u8| VirtAddr::new(symbol.addr() as u64);
    VirtRange::new(address(&raw const __percpu_start), address(&raw const __percpu_end))
}
