//! Exceptions: what the CPU does when it cannot go on, and accesses that are allowed to fail; and where interrupts
//! arrive.
//!
//! Every vector leads through a stub (stubs.s) that saves all registers in a [`TrapFrame`] and calls `trap_taken`. A
//! fault inside one of the probes ([`try_read`], [`try_write`], [`try_execute`]) goes on where the probe says so;
//! everything else is fatal and goes to the kernel's `kernel_trap`, which reports and ends. Vectors from 32 on are
//! interrupts: the [`irqchip`](crate::irqchip) says what they mean, and the kernel's `kernel_interrupt` runs on the
//! stack that was interrupted, with interrupts off.
//!
//! Each CPU has its own descriptor tables and trap stacks; the gates are the same for all.
//!
//! Linux: `kernel/idt.c`, `kernel/traps.c`, `mm/fault.c`; the probes: `mm/extable.c`, `copy_from_kernel_nofault`.

mod fault;
mod frame;
mod tables;

pub use frame::TrapFrame;
pub use mm::paging::fault::{Fault, FaultAccess, FaultKind};

use crate::cpu::TRAP_STACKS;
use crate::{Native, irqchip};
use core::sync::atomic::{AtomicU64, Ordering};
use fault::{INSTRUCTION, WRITE};
use frame::{GENERAL_PROTECTION, PAGE_FAULT};
use mm::addr::VirtAddr;
use mm::arch::Cpu as _;

#[cfg(not(test))]
core::arch::global_asm!(include_str!("stubs.s"), options(att_syntax));

/// What a probe returns: a value, or, when `failed` is not zero, the error code of the fault.
#[derive(Clone, Copy)]
#[repr(C)]
struct ProbeResult {
    value: u64,
    failed: u64,
}

unsafe extern "C" {
    static probe_begin: u8;
    static probe_end: u8;
    static probe_failed: u8;
    static probe_execute_call: u8;
    static probe_execute_return: u8;
    static probe_execute_failed: u8;
    fn probe_load_byte(address: u64) -> ProbeResult;
    fn probe_store_byte(address: u64, value: u8) -> ProbeResult;
    fn probe_execute(address: u64) -> ProbeResult;
}

/// What `failed` says when the trap was a general protection fault, whose error code tells nothing.
const FAILED_NON_CANONICAL: u64 = 2;
const FAILED: u64 = 1;

mm::percpu! {
    /// Where [`try_execute`] is about to jump on this CPU; a fault there is its own.
    static JUMP_TARGET: AtomicU64 = AtomicU64::new(0);
}

/// An interrupt, as the kernel gets it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C, u32)]
pub enum Interrupt {
    /// This CPU's alarm.
    Timer,
    /// Another CPU wants something.
    Signal,
    /// One that nobody asked for, by its vector.
    Other(u32),
}

/// Vectors below are exceptions.
const FIRST_INTERRUPT: u8 = 32;

/// Loads the boot CPU's descriptor tables, so that traps are reported from here on, and masks every line of the two
/// legacy interrupt controllers, whose vectors would be taken for exceptions.
pub fn init() {
    tables::load_boot();
    // SAFETY: masking lines of the legacy interrupt controllers touches no memory; where there are none, nobody
    // answers.
    unsafe {
        crate::port::write_u8(0x21, 0xff);
        crate::port::write_u8(0xa1, 0xff);
    }
}

/// Loads this CPU's own descriptor tables, with these tops of its trap stacks. For a CPU that was started.
pub(crate) fn init_secondary(stacks: [VirtAddr; TRAP_STACKS]) {
    tables::load_secondary(stacks);
}

/// The byte at `address`, or why it cannot be read. Reading a device's register may have an effect on the device.
///
/// # Errors
/// The fault that the access would have been.
pub fn try_read(address: VirtAddr) -> Result<u8, Fault> {
    // SAFETY: loads one byte or survives the fault; no Rust value is made from the memory but a copy of the byte.
    let result = unsafe { probe_load_byte(address.as_u64()) };
    checked(result, address, 0).map(|value| value as u8)
}

/// Stores a byte, or says why it cannot be stored.
///
/// # Errors
/// The fault that the access would have been; nothing was stored.
///
/// # Safety
/// If something writable is mapped at `address`, it is memory that the caller may overwrite.
pub unsafe fn try_write(address: VirtAddr, value: u8) -> Result<(), Fault> {
    // SAFETY: stores one byte, which the caller allows, or survives the fault.
    let result = unsafe { probe_store_byte(address.as_u64(), value) };
    checked(result, address, WRITE).map(|_| ())
}

/// Calls the code at `address`, or says why it cannot be fetched.
///
/// # Errors
/// The fault of the first fetch; nothing ran.
///
/// # Safety
/// If what is mapped at `address` may be executed, it is a function without arguments that returns.
pub unsafe fn try_execute(address: VirtAddr) -> Result<(), Fault> {
    let pin = Native.pin();
    let target = JUMP_TARGET.get(&pin);
    target.store(address.as_u64(), Ordering::Relaxed);
    // SAFETY: calls a function, as the caller promises, or survives the fault of its first fetch.
    let result = unsafe { probe_execute(address.as_u64()) };
    target.store(0, Ordering::Relaxed);
    checked(result, address, INSTRUCTION).map(|_| ())
}

fn checked(result: ProbeResult, address: VirtAddr, access: u64) -> Result<u64, Fault> {
    match result.failed {
        0 => Ok(result.value),
        FAILED_NON_CANONICAL => Err(Fault { kind: FaultKind::NonCanonical, ..fault::decode(address, access) }),
        _ => Err(fault::decode(address, result.value)),
    }
}

/// Where a fault inside a probe goes on; `None` when it was in none.
fn fixup(frame: &TrapFrame) -> Option<TrapFrame> {
    let at = |symbol: *const u8| symbol.addr() as u64;
    let failed = match frame.vector {
        PAGE_FAULT => FAILED,
        GENERAL_PROTECTION => FAILED_NON_CANONICAL,
        _ => return None,
    };
    let mut next = TrapFrame { rax: frame.error, rdx: failed, ..*frame };
    if (at(&raw const probe_begin)..at(&raw const probe_end)).contains(&frame.rip) {
        next.rip = at(&raw const probe_failed);
    } else if frame.rip == at(&raw const probe_execute_call) {
        next.rip = at(&raw const probe_execute_failed);
    } else if frame.rip == JUMP_TARGET.get(&Native.pin()).load(Ordering::Relaxed) && fetch_failed(frame) {
        // SAFETY: RIP is where `probe_execute` jumps to and that fetch failed, so its call has just pushed the word
        // that RSP points to.
        let return_address = unsafe { core::ptr::with_exposed_provenance::<u64>(frame.rsp as usize).read_volatile() };
        if return_address != at(&raw const probe_execute_return) {
            return None;
        }
        next.rsp = frame.rsp + 8;
        next.rip = at(&raw const probe_execute_failed);
    } else {
        return None;
    }
    Some(next)
}

/// Whether the instruction at RIP was not even fetched. A page fault says so. A general protection fault does not, but
/// nothing can be fetched from what is no address; QEMU faults there only after the jump.
fn fetch_failed(frame: &TrapFrame) -> bool {
    let canonical = x86_64::VirtAddr::new_truncate(frame.rip).as_u64() == frame.rip;
    frame.vector == PAGE_FAULT && frame.error & INSTRUCTION != 0 || !canonical
}

/// Called by the stubs with every trap; returns to go on with the frame as it is then.
#[cfg_attr(not(test), unsafe(no_mangle))]
#[cfg_attr(test, expect(dead_code, reason = "the stubs call it"))]
extern "C" fn trap_taken(frame: &mut TrapFrame) {
    if let Some(vector) = u8::try_from(frame.vector).ok().filter(|&vector| vector >= FIRST_INTERRUPT) {
        if let Some(interrupt) = irqchip::acknowledge(vector) {
            handle(interrupt);
        }
        return;
    }
    match fixup(frame) {
        Some(next) => *frame = next,
        None => fatal(frame),
    }
}

#[cfg(not(test))]
fn handle(interrupt: Interrupt) {
    unsafe extern "C" {
        safe fn kernel_interrupt(kind: Interrupt);
    }
    kernel_interrupt(interrupt);
}

#[cfg(test)]
fn handle(_: Interrupt) {}

#[cfg(not(test))]
fn fatal(frame: &TrapFrame) -> ! {
    unsafe extern "C" {
        safe fn kernel_trap(frame: &TrapFrame) -> !;
    }
    kernel_trap(frame)
}

#[cfg(test)]
fn fatal(_: &TrapFrame) -> ! {
    crate::cpu::halt()
}
