//! Exceptions: the vectors, what is done about the expected ones, and the report of all others.
//!
//! The vectors (vectors.s) save all registers in a [`TrapFrame`] on the interrupted stack, or on a stack of their own
//! when that one cannot take a frame, and call `trap_taken`. A fault of one of the accesses in [`probe`] goes on behind
//! it, an IRQ goes to the interrupt controller's driver and from there to the kernel as an [`Interrupt`]; everything
//! else is the kernel's end, `kernel_trap`: an FIQ too, since nothing here is routed there.
//!
//! Every CPU has an overflow stack of its own; the vectors find it by TPIDR_EL1. They use TPIDR_EL0 and TPIDRRO_EL0 as
//! scratch registers, of which each CPU has its own too.
//!
//! The vectors stand from the entry code on. [`init`] lets errors in that arrive late, as SError. An exception costs
//! about 100 instructions. Linux: `arch/arm64/kernel/entry.S`, `kernel/traps.c`, `mm/fault.c`, `mm/extable.c`.

#[cfg(target_os = "none")]
mod frame;
#[cfg(target_os = "none")]
pub(crate) mod probe;
mod syndrome;
#[cfg(target_os = "none")]
mod vectors;

/// What interrupted the kernel.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interrupt {
    /// This CPU's alarm went off. It is silent until it is set again.
    Timer,
    /// Another CPU wants something, or this one of itself.
    Signal,
    /// One that nobody asked for, by its number. It is masked from now on.
    Other(u32),
}

pub use mm::paging::fault::{Fault, FaultAccess, FaultKind};
#[cfg(target_os = "none")]
pub use {
    frame::TrapFrame,
    probe::{try_execute, try_read, try_write},
    vectors::init,
};
