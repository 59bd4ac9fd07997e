//! CPUs: interrupt masks, per-CPU areas, and how the others are started.
//!
//! [`native`] is the CPU that asks, [`area`] the base register and what each CPU's area says of it, [`method`] which
//! way of starting a CPU the firmware's tables leave, [`record`] what the CPU that starts has to know, [`start`] the
//! kick, [`errata`] what is done about the faults of some CPUs. entry.s has the first instructions of all of them.
//!
//! Invariants: TPIDR_EL1 holds the distance from the per-CPU templates to this CPU's copies; it is 0 until there are
//! areas, and never changes once other CPUs run. A CPU is started once at most. Linux: `arch/arm64/kernel/smp.c`,
//! `cpu_ops.c`, `asm/percpu.h`.

#[cfg(target_os = "none")]
mod area;
mod errata;
mod method;
#[cfg(target_os = "none")]
mod native;
mod record;
#[cfg(target_os = "none")]
mod start;

pub use method::{StartError, StartFacts};
#[cfg(target_os = "none")]
pub use {
    area::{MAIN_STACK_BYTES, Stacks, TRAP_STACK_BYTES, TRAP_STACKS, percpu_template, set_percpu},
    native::{boot_hardware_id, caller_frame, halt, interrupts_enable, set_others, wait_for_interrupt},
    start::{prepare_start, start},
};

#[cfg(target_os = "none")]
pub(crate) use {
    area::{OVERFLOW_STACK_TOP, stack_guards},
    errata::{Remedies, check as check_errata, needs},
    native::hardware_id,
    start::START_LIST,
};
