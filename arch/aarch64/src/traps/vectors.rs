//! Where the vectors (vectors.s) and Rust meet.

use super::frame::{TrapFrame, VectorKind};
use super::probe;
use crate::{cpu, irqchip};
use core::mem::{offset_of, size_of};

core::arch::global_asm!(include_str!("vectors.s"), overflow_stack_top = sym cpu::OVERFLOW_STACK_TOP);

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
    let expected = frame.kind() == VectorKind::Interrupt && frame.in_kernel() && !frame.on_overflow_stack();
    frame.find_stack_pointer();
    if expected && irqchip::is_ready() {
        irqchip::take();
    } else if !probe::recover(frame) {
        kernel_trap(frame);
    }
}
