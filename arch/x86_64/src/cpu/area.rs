//! Per-CPU areas: the base register, and which CPU it is that runs.
//!
//! A per-CPU variable is linked once, between `__percpu_start` and `__percpu_end`; each CPU's copy lies at the same
//! distance from there. GS has that distance as its base, so the CPU's own variables are reached by one instruction with
//! a GS prefix: `mov %gs:…` reads the distance itself, which is one of them, and the variable's address is added as part
//! of the access that follows. [`Cpu::current`](mm::arch::Cpu::current) is one such load and nothing else.
//!
//! The base is 0 from the first instructions on, so the boot CPU uses the templates until [`set_percpu`]; no other runs
//! until then. Nothing ever loads a selector into GS afterwards, which would clear the base. Linux: `asm/percpu.h`,
//! `setup_per_cpu_areas`, `this_cpu_off`, `cpu_number`.

use crate::Native;
use core::alloc::Layout;
use core::arch::asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use mm::addr::{CpuId, VirtAddr};
use mm::arch::{Cpu as _, Template};
use mm::layout::VirtRange;
use mm::percpu::Offsets;
use x86_64::registers::model_specific::GsBase;

unsafe extern "C" {
    static __percpu_start: u8;
    static __percpu_end: u8;
}

/// What a CPU knows of itself.
#[repr(C, align(16))]
struct Own {
    /// How far its area lies from the templates.
    offset: AtomicUsize,
    number: AtomicU32,
}

/// The first per-CPU variable. It is read by its GS-relative address, so it is no `PerCpu`, which goes by the offset.
#[cfg_attr(target_os = "none", unsafe(link_section = ".data.percpu"))]
static OWN: Own = Own { offset: AtomicUsize::new(0), number: AtomicU32::new(CpuId::BOOT.as_u32()) };

/// Each CPU's distance from the templates, once there are areas.
static OFFSETS: Offsets = Offsets::new();

/// The per-CPU variables as they are linked. Starts at a page.
#[must_use]
pub fn percpu_template() -> VirtRange {
    let address = |symbol: *const u8| VirtAddr::new(symbol.addr() as u64);
    VirtRange::new(address(&raw const __percpu_start), address(&raw const __percpu_end))
}

/// Says where each CPU's area is, by its distance from [`percpu_template`] (which wraps), and moves this CPU, the boot
/// CPU, to its own. Works once.
///
/// # Safety
/// At each offset lies a copy of the templates as they are now, in memory that is mapped for good and that nobody else
/// uses. No reference to a per-CPU variable is in use. Called on the boot CPU, before any other runs.
pub unsafe fn set_percpu(offsets: &'static [usize]) {
    let Some(&first) = offsets.first() else { return };
    let interrupts = Native.irq_save();
    let template = Template { address: (&raw const OWN).cast_mut().cast(), layout: Layout::new::<Own>() };
    OFFSETS.set(offsets, || {
        for (&offset, number) in offsets.iter().zip(0..) {
            let own = template.copy_at(offset).cast_const().cast::<Own>();
            // SAFETY: the caller says that the templates' copies are there, of which this is one, and that they stay.
            let own = unsafe { &*own };
            own.offset.store(offset, Ordering::Relaxed);
            own.number.store(number, Ordering::Relaxed);
        }
        GsBase::write(x86_64::VirtAddr::new_truncate(first as u64));
    });
    Native.irq_restore(interrupts);
}

/// This CPU's distance from the templates.
#[inline]
pub(super) fn offset() -> usize {
    let offset;
    // SAFETY: reads a word of this CPU's area, or of the templates before there is one, which are mapped as long as the
    // kernel runs. Not `nomem`: `set_percpu` changes what is read, and says that it writes memory.
    unsafe {
        asm!("mov {}, gs:[rip + {own} + {field}]", out(reg) offset, own = sym OWN, field = const offset_of!(Own, offset),
            options(pure, readonly, nostack, preserves_flags));
    }
    offset
}

/// This CPU's number.
#[inline]
pub(super) fn number() -> CpuId {
    let number: u32;
    // SAFETY: as in `offset`.
    unsafe {
        asm!("mov {:e}, gs:[rip + {own} + {field}]", out(reg) number, own = sym OWN,
            field = const offset_of!(Own, number), options(pure, readonly, nostack, preserves_flags));
    }
    CpuId::new(number)
}

/// The distance of CPU `of`'s area from the templates, when it has one.
#[inline]
pub(super) fn offset_of_cpu(of: CpuId) -> Option<usize> {
    OFFSETS.of(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    // A program of the host runs with a GS base of 0 too: it sees what the boot CPU sees before there are areas.
    #[test]
    fn before_there_are_areas_the_templates_are_the_boot_cpus() {
        assert_eq!(offset(), 0);
        assert_eq!(number(), CpuId::BOOT);
        assert_eq!(Native.current(), CpuId::BOOT);
        assert_eq!(offset_of_cpu(CpuId::BOOT), Some(0));
        assert_eq!(offset_of_cpu(CpuId::new(1)), None);
    }
}
