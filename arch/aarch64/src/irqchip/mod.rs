//! The interrupt controller: Arm's GIC, version 2 or 3, or a BCM2836's, for the two interrupts that this kernel uses.
//!
//! One is the *signal*, by which CPUs ask each other for something (SGI 0, or a mailbox), the other the timer's. Both
//! exist once for each CPU. All else is turned off; what comes nevertheless is masked and told as
//! [`Interrupt::Other`].
//!
//! [`init`] chooses by what the firmware's tables say, maps the registers and turns the controller on; [`init_cpu`]
//! turns on what is each CPU's own, and learns how that CPU is signalled: a word in its per-CPU area, so that
//! [`signal`] costs a load and one write. An interrupt is acknowledged before the kernel hears of it, so that a signal
//! that comes meanwhile is not lost, and a signal that was sent after something was written is seen after it.
//!
//! [`gic2`], [`gic3`] and [`bcm2836`] have the register logic, over traits behind which the tests have a model. Linux:
//! `drivers/irqchip/irq-gic.c`, `irq-gic-v3.c`, `irq-bcm2836.c`; `arch/arm64/kernel/smp.c` (`ipi_handler`).

mod bcm2836;
mod block;
mod error;
mod gic2;
mod gic3;
#[cfg(target_os = "none")]
mod native;
#[cfg(target_os = "none")]
mod system;
#[cfg(test)]
mod tests;

pub use error::IrqError;
#[cfg(target_os = "none")]
pub use native::{IrqFacts, describe, init, init_cpu, signal};
#[cfg(target_os = "none")]
pub(crate) use native::{is_ready, reaches, take};

/// The signal's number.
const SIGNAL: u32 = 0;
/// A number that says that no interrupt waits.
const NONE: u32 = 1023;
/// Every bit.
const ALL: u32 = u32::MAX;
/// Words of a byte for each of the 32 interrupts that a CPU has its own of.
const LOCAL_WORDS: u64 = 8;
/// Priority 0xa0 for four interrupts: below the mask, and none before another.
const LOCAL_PRIORITIES: u32 = 0xa0a0_a0a0;
