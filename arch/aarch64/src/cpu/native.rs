//! The CPU that runs this code: its interrupt masks, how it waits, which of the per-CPU areas is its own, how the
//! firmware's tables name it.
//!
//! Flushes are broadcast by the hardware, so a CPU that waits has nothing to answer: [`Cpu::relax`] only pauses. Linux:
//! `asm/irqflags.h`, `asm/cputype.h`, `asm/percpu.h`.

use super::area;
use crate::{Native, irqchip, timer, tlb};
use aarch64_cpu::asm::{self, barrier};
use aarch64_cpu::registers::{DAIF, MPIDR_EL1, Readable, Writeable};
use core::time::Duration;
use mm::addr::{CpuId, VirtAddr};
use mm::arch::{Cpu, IrqState, Template};
use mm::layout::VirtRange;
use mm::smp::{Cpus, Signal};

/// Affinity levels 3, 2, 1 and 0 of MPIDR: what a device tree's `reg` and the MADT call the CPU by.
const MPIDR_AFFINITY: u64 = 0xff_00ff_ffff;

// SAFETY: with I and F masked no interrupt is taken, and there is no preemption. Each CPU runs with its own offset in
// its base register, from its first instruction in the kernel's half on; that the areas at the offsets are apart, are
// copies of the templates and stay is what `set_percpu` was told. Until then one CPU runs, on the templates themselves.
unsafe impl Cpu for Native {
    #[inline]
    fn current(self) -> CpuId {
        area::number(self)
    }

    #[inline]
    fn percpu(self, template: Template) -> *mut u8 {
        template.copy_at(area::base())
    }

    #[inline]
    fn percpu_of(self, template: Template, of: CpuId) -> Option<*mut u8> {
        area::offset_of(of).map(|offset| template.copy_at(offset))
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

/// Lets interrupts in on this CPU, for the first time.
pub fn interrupts_enable() {
    // SAFETY: the vectors stand. Not `nomem`: what came before must stay before it.
    unsafe { core::arch::asm!("msr daifclr, #3", options(nostack, preserves_flags)) };
}

/// Lets time pass until an interrupt has come. Who calls it with interrupts off gets those that have come meanwhile,
/// one that came before too, and has them off again afterwards: so what was looked at with interrupts off cannot change
/// unseen before the CPU stands still. As long as no interrupt can come, because there is no interrupt controller in
/// use, this only tells the CPU that the caller polls.
pub fn wait_for_interrupt() {
    if !irqchip::is_ready() {
        return core::hint::spin_loop();
    }
    // What was written before is seen by others although this CPU stands still.
    barrier::dsb(barrier::SY);
    // One that waits ends it, whether interrupts are on or not.
    asm::wfi();
    if DAIF.is_set(DAIF::I) {
        // SAFETY: as in `interrupts_enable`; the barrier is where those that wait are taken.
        unsafe { core::arch::asm!("msr daifclr, #3", "isb", "msr daifset, #3", options(nostack, preserves_flags)) };
    }
}

/// Says which other CPUs there are. Nothing depends on it here: the hardware tells them of flushes.
pub fn set_others(_: Cpus<'static>) {}

impl Signal for Native {
    fn interrupt(self, to: CpuId) {
        irqchip::signal(to);
    }

    fn flush_here(self, range: VirtRange) {
        tlb::flush_here(range);
    }

    fn now(self) -> Duration {
        timer::uptime()
    }

    fn relax(self) {
        core::hint::spin_loop();
    }
}

/// The affinity bits of the boot CPU's MPIDR, by which the firmware's tables name it. For the boot CPU to call.
#[must_use]
pub fn boot_hardware_id() -> u64 {
    hardware_id()
}

/// The affinity bits of this CPU's MPIDR.
pub(crate) fn hardware_id() -> u64 {
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
