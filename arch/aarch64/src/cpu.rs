//! The boot CPU: its interrupt masks, how it waits, how the firmware's tables name it.
//!
//! One CPU runs until the issue that starts the others: firmware with PSCI keeps them off, a spin table (Raspberry Pi)
//! keeps them in its own loop. So [`Cpu::current`] is a constant. Linux: `asm/irqflags.h`, `asm/cputype.h`.

use crate::Native;
use aarch64_cpu::asm;
use aarch64_cpu::registers::{DAIF, MPIDR_EL1, Readable, Writeable};
use mm::addr::{CpuId, VirtAddr};
use mm::arch::{Cpu, IrqState};
use mm::layout::VirtRange;

/// Affinity levels 3, 2, 1 and 0 of MPIDR: what a device tree's `reg` and the MADT call the CPU by.
const MPIDR_AFFINITY: u64 = 0xff_00ff_ffff;

// SAFETY: with I and F masked no interrupt is taken, and there is one CPU and no preemption.
unsafe impl Cpu for Native {
    fn current(self) -> CpuId {
        CpuId::BOOT
    }

    #[inline]
    fn irq_save(self) -> IrqState {
        let enabled = !DAIF.is_set(DAIF::I);
        // SAFETY: masking interrupts breaks nobody's assumptions. Not `nomem`: what follows must stay behind it.
        unsafe { core::arch::asm!("msr daifset, #3", options(nostack, preserves_flags)) };
        if enabled { IrqState::Enabled } else { IrqState::Disabled }
    }

    #[inline]
    fn irq_restore(self, state: IrqState) {
        if state == IrqState::Enabled {
            // SAFETY: they were on before the matching `irq_save`. Not `nomem`: what came before must stay before it.
            unsafe { core::arch::asm!("msr daifclr, #3", options(nostack, preserves_flags)) };
        }
    }
}

/// Stops this CPU for good.
pub fn halt() -> ! {
    DAIF.write(DAIF::D::Masked + DAIF::A::Masked + DAIF::I::Masked + DAIF::F::Masked);
    loop {
        asm::wfi();
    }
}

/// Lets time pass until something may have happened. With interrupts off nothing may ever end a `wfi`, so then this
/// only tells the CPU that the caller polls.
pub fn wait_for_interrupt() {
    if DAIF.is_set(DAIF::I) {
        core::hint::spin_loop();
    } else {
        asm::wfi();
    }
}

/// The affinity bits of the boot CPU's MPIDR, by which the firmware's tables name it.
#[must_use]
pub fn boot_hardware_id() -> u64 {
    MPIDR_EL1.get() & MPIDR_AFFINITY
}

/// Where the function that calls this stands: an address in it and its frame pointer, for a backtrace.
#[inline(always)]
#[must_use]
pub fn caller_frame() -> (VirtAddr, VirtAddr) {
    let (pc, frame_pointer): (u64, u64);
    // SAFETY: reads two registers, nothing else.
    unsafe {
        core::arch::asm!("adr {}, .", "mov {}, x29", out(reg) pc, out(reg) frame_pointer,
            options(nomem, nostack, preserves_flags));
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
