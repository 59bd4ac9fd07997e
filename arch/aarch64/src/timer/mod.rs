//! Time since boot, and alarms.
//!
//! The virtual counter is the clock: every ARMv8-A CPU has it, it never stops, and its frequency stands in CNTFRQ_EL0,
//! where the firmware put it. Each CPU has a timer of its own that compares the counter with a value: an alarm, once.
//! Its interrupt is a level that stays up until the timer is turned off, which the interrupt controller's driver does
//! before the kernel hears of it. Linux: `drivers/clocksource/arm_arch_timer.c`.

#[cfg(target_os = "none")]
mod native;
mod ticks;

#[cfg(target_os = "none")]
pub(crate) use native::{USUAL_INTERRUPT, begin};
#[cfg(target_os = "none")]
pub use native::{clear_alarm, frequency, init, init_cpu, set_alarm, ticks, uptime};
