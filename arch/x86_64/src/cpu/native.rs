//! The CPU that runs this code, as `mm` sees it: its number, its interrupt flag, its area, how it waits and how it
//! speaks to others.
//!
//! TLBs here are flushed by interrupting the CPU that they belong to. So a CPU that waits with interrupts off answers
//! requests each time round ([`Cpu::relax`]), once [`set_others`] has said that there are others. Linux:
//! `asm/irqflags.h`, `asm/percpu.h`, `arch/x86/mm/tlb.c`.

use super::area;
use crate::{Native, irqchip, timer, tlb};
use core::time::Duration;
use mm::addr::CpuId;
use mm::arch::{Cpu, IrqState, Template};
use mm::layout::VirtRange;
use mm::smp::{Cpus, Signal};
use spin::Once;
use x86_64::instructions::interrupts;
use x86_64::registers::rflags::{self, RFlags};

/// How long a CPU may take to flush. Even under an emulator with many CPUs on few, one that runs answers in
/// milliseconds; it polls while it waits for a lock, and holds interrupts off for no longer than a walk of its memory.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);

static OTHERS: Once<Cpus<'static>> = Once::new();

/// Makes the other CPUs known: from now on flushes reach them, and who waits answers them. Works once.
pub fn set_others(cpus: Cpus<'static>) {
    OTHERS.call_once(|| cpus);
}

/// Makes every CPU forget its translations of `range`, and waits until it has.
pub(crate) fn flush_everywhere(range: VirtRange) {
    let Some(cpus) = OTHERS.get() else { return tlb::flush_here(range) };
    if let Err(silent) = cpus.flush(&Native.pin(), Native, range, FLUSH_LIMIT) {
        unanswered(silent.cpu);
    }
}

#[cfg(not(test))]
fn unanswered(cpu: CpuId) -> ! {
    unsafe extern "C" {
        safe fn kernel_unanswered(cpu: u32, limit_seconds: u64) -> !;
    }
    kernel_unanswered(cpu.as_u32(), FLUSH_LIMIT.as_secs())
}

#[cfg(test)]
fn unanswered(_: CpuId) -> ! {
    halt()
}

// SAFETY: with the interrupt flag clear no maskable interrupt is taken, and there is no preemption. Each CPU runs with
// its own offset as GS base, from before its first Rust instruction on; that the areas at the offsets are apart, are
// copies of the templates and stay is what `set_percpu` was told. Until then one CPU runs, on the templates themselves.
unsafe impl Cpu for Native {
    #[inline]
    fn current(self) -> CpuId {
        area::number()
    }

    #[inline]
    fn percpu(self, template: Template) -> *mut u8 {
        template.copy_at(area::offset())
    }

    #[inline]
    fn percpu_of(self, template: Template, of: CpuId) -> Option<*mut u8> {
        area::offset_of_cpu(of).map(|offset| template.copy_at(offset))
    }

    #[inline]
    fn irq_save(self) -> IrqState {
        let enabled = rflags::read().contains(RFlags::INTERRUPT_FLAG);
        interrupts::disable();
        if enabled { IrqState::Enabled } else { IrqState::Disabled }
    }

    #[inline]
    fn irq_restore(self, state: IrqState) {
        if state == IrqState::Enabled {
            interrupts::enable();
        }
    }

    fn relax(self) {
        core::hint::spin_loop();
        if let Some(cpus) = OTHERS.get() {
            cpus.answer_flush(area::number(), self);
        }
    }
}

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

/// Stops this CPU for good.
pub fn halt() -> ! {
    loop {
        interrupts::disable();
        x86_64::instructions::hlt();
    }
}

/// Lets interrupts in on this CPU, for the first time.
pub fn interrupts_enable() {
    interrupts::enable();
}

/// Lets time pass until an interrupt has come. Who calls it with interrupts off gets those that have come meanwhile, one
/// that came before too, and has them off again afterwards: so what was looked at with interrupts off cannot change
/// unseen before the CPU halts. As long as no interrupt can come, because the local APIC is not in use, this only tells
/// the CPU that the caller polls.
pub fn wait_for_interrupt() {
    if rflags::read().contains(RFlags::INTERRUPT_FLAG) {
        x86_64::instructions::hlt();
    } else if irqchip::is_in_use() {
        // None is taken between the two.
        interrupts::enable_and_hlt();
        interrupts::disable();
    } else {
        core::hint::spin_loop();
    }
}
