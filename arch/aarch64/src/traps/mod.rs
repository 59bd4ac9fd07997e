//! Exceptions: the vectors, what is done about the expected ones, and the report of all others.
//!
//! The vectors (vectors.s) save all registers in a [`TrapFrame`] on the interrupted stack, or on a stack of their own
//! when that one cannot take a frame, and call `trap_taken`. A fault of one of the accesses in [`probe`] goes on behind
//! it; everything else is the kernel's end, `kernel_trap`. No interrupt is expected yet.
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

pub use mm::paging::fault::{Fault, FaultAccess, FaultKind};
#[cfg(target_os = "none")]
pub use {
    frame::TrapFrame,
    probe::{try_execute, try_read, try_write},
    vectors::init,
};
