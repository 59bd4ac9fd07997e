//! The CPU interface of a GICv3: system registers. Entry code at EL2 has let EL1 use them.

use super::gic3::CpuInterface;
use aarch64_cpu::registers::{ID_AA64PFR0_EL1, Readable};
use core::arch::asm;

/// This CPU's.
#[derive(Clone, Copy, Debug)]
pub(super) struct SystemRegisters;

/// Lets every priority through that can be told apart.
const LOWEST_PRIORITY: u64 = 0xf0;

impl SystemRegisters {
    /// Whether this CPU has them.
    pub(super) fn exist() -> bool {
        ID_AA64PFR0_EL1.get() >> 24 & 0xf != 0
    }

    /// Takes the interrupt that waits; 1020 and above mean none.
    #[inline]
    pub(super) fn acknowledge(&self) -> u32 {
        let taken: u64;
        // SAFETY: `init` found the register. What was written before the interrupt was sent is seen behind the barrier.
        unsafe { asm!("mrs {}, icc_iar1_el1", "dsb sy", out(reg) taken, options(nostack, preserves_flags)) };
        taken as u32
    }

    /// The interrupt has been dealt with.
    #[inline]
    pub(super) fn end(&self, number: u32) {
        // SAFETY: as above.
        unsafe { asm!("msr icc_eoir1_el1, {}", "isb", in(reg) u64::from(number), options(nostack, preserves_flags)) };
    }

    /// Signals the CPU whose word is `target`.
    #[inline]
    pub(super) fn send(&self, target: u64) {
        // SAFETY: as above.
        unsafe { asm!("msr icc_sgi1r_el1, {}", "isb", in(reg) target, options(nostack, preserves_flags)) };
    }
}

impl CpuInterface for SystemRegisters {
    fn init(&self) -> bool {
        if !Self::exist() {
            return false;
        }
        let enabled: u64;
        // SAFETY: the CPU has said that it has these registers. From here on the GIC is used through them.
        unsafe {
            asm!("mrs {0}, icc_sre_el1", "orr {0}, {0}, #1", "msr icc_sre_el1, {0}", "isb", "mrs {0}, icc_sre_el1",
                out(reg) enabled, options(nostack, preserves_flags));
        }
        if enabled & 1 == 0 {
            return false;
        }
        let control: u64;
        // SAFETY: as above; nothing is let through before the last line.
        unsafe {
            asm!("msr icc_pmr_el1, {0}", "msr icc_bpr1_el1, xzr", "mrs {1}, icc_ctlr_el1",
                in(reg) LOWEST_PRIORITY, out(reg) control, options(nostack, preserves_flags));
        }
        // One write ends an interrupt (EOImode 0).
        let control_eoi = control & !(1 << 1);
        // Whatever the firmware left active would hold back all of the same priority. How many registers there are
        // depends on how many bits a priority has.
        let priority_bits = (control >> 8 & 7) + 1;
        // SAFETY: as above; a register beyond the first exists with that many bits.
        unsafe {
            asm!("msr icc_ctlr_el1, {}", in(reg) control_eoi, options(nostack, preserves_flags));
            if priority_bits > 6 {
                asm!("msr icc_ap1r3_el1, xzr", "msr icc_ap1r2_el1, xzr", options(nostack, preserves_flags));
            }
            if priority_bits > 5 {
                asm!("msr icc_ap1r1_el1, xzr", options(nostack, preserves_flags));
            }
            asm!("msr icc_ap1r0_el1, xzr", "isb", "msr icc_igrpen1_el1, {}", "isb",
                in(reg) 1u64, options(nostack, preserves_flags));
        }
        true
    }
}
