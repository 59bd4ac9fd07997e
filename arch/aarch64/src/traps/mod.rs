//! Exceptions: the vectors, what is done about the expected ones, and the report of all others.
//!
//! The vectors (vectors.s) save all registers in a [`TrapFrame`] on the interrupted stack, or on a stack of their own
//! when that one cannot take a frame, and call `trap_taken`. A fault of one of the accesses in [`probe`] goes on behind
//! it; everything else is the kernel's end, `kernel_trap`. No interrupt is expected yet.
//!
//! The vectors stand from the entry code on. [`init`] lets errors in that arrive late, as SError. An exception costs
//! about 100 instructions. Linux: `arch/arm64/kernel/entry.S`, `kernel/traps.c`, `mm/fault.c`, `mm/extable.c`.

mod fault;
mod frame;
pub(crate) mod probe;
mod syndrome;

pub use fault::{Fault, FaultAccess, FaultKind};
pub use frame::TrapFrame;
pub use probe::{try_execute, try_read, try_write};

use core::mem::{offset_of, size_of};

core::arch::global_asm!(include_str!("vectors.s"));

// The offsets that vectors.s spells out.
const _: () = assert!(size_of::<TrapFrame>() == 304);
const _: () = assert!(offset_of!(TrapFrame, sp) == 31 * 8);
const _: () = assert!(offset_of!(TrapFrame, elr) == 32 * 8 && offset_of!(TrapFrame, spsr) == 33 * 8);
const _: () = assert!(offset_of!(TrapFrame, esr) == 34 * 8 && offset_of!(TrapFrame, far) == 35 * 8);
const _: () = assert!(offset_of!(TrapFrame, vector) == 36 * 8);

/// Lets SError through. One that was pending already concerns what ran before this kernel: it is taken and dropped.
/// May be called again.
pub fn init() {
    // Whether one was pending changes nothing.
    let _ = probe::take_pending_error();
}

/// What the vectors call. Returning resumes what the frame says.
#[unsafe(no_mangle)]
extern "C" fn trap_taken(frame: &mut TrapFrame) {
    unsafe extern "C" {
        safe fn kernel_trap(frame: &TrapFrame) -> !;
    }
    frame.find_stack_pointer();
    if !probe::recover(frame) {
        kernel_trap(frame);
    }
}
