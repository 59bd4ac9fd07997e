//! Accesses that may fault, and survive it.
//!
//! Each is a few instructions in vectors.s, between two labels. When one of them faults, [`recover`] lets the
//! interrupted code go on behind it with the syndrome in place of the result. So whether an address can be used is
//! found out by using it: the tables are not asked, nor is the bus. Linux: `arch/arm64/mm/extable.c`.

use super::frame::{TrapFrame, VectorKind};
use super::syndrome::{Class, Syndrome};
use mm::addr::VirtAddr;
use mm::paging::fault::{Fault, FaultAccess};
use platform::console::Width;
use platform::power::Conduit;

/// What the asm returns in x0 and x1.
#[repr(C)]
struct Outcome {
    /// The result, or the syndrome.
    value: u64,
    /// 0 when it went well.
    failed: u64,
}

impl Outcome {
    /// The result, or what went wrong with the access to `address`.
    fn result(self, address: VirtAddr, access: FaultAccess) -> Result<u64, Fault> {
        match self.failed {
            0 => Ok(self.value),
            _ => Err(Fault { address, access, kind: Syndrome(self.value).kind() }),
        }
    }
}

unsafe extern "C" {
    static probe_begin: u8;
    static probe_end: u8;
    static probe_failed: u8;
    static probe_execute_return: u8;
    static probe_execute_failed: u8;
    safe fn probe_load_byte(address: u64) -> Outcome;
    safe fn probe_load_half(address: u64) -> Outcome;
    safe fn probe_load_word(address: u64) -> Outcome;
    fn probe_store_byte(address: u64, value: u64) -> Outcome;
    fn probe_store_half(address: u64, value: u64) -> Outcome;
    fn probe_store_word(address: u64, value: u64) -> Outcome;
    fn probe_copy(to: *mut u8, from: u64, bytes: u64) -> Outcome;
    safe fn probe_pending_error() -> Outcome;
    fn probe_semihosting(operation: u64, parameter: *const [u64; 2]) -> Outcome;
    fn probe_hvc(function: u64, first: u64, second: u64, third: u64) -> Outcome;
    fn probe_smc(function: u64, first: u64, second: u64, third: u64) -> Outcome;
    fn probe_execute(address: u64) -> Outcome;
}

/// Reads the byte at `address`.
///
/// # Errors
/// The fault, when it cannot be read.
pub fn try_read(address: VirtAddr) -> Result<u8, Fault> {
    // The upper bytes of a result are zero.
    probe_load_byte(address.as_u64()).result(address, FaultAccess::Read).map(|value| value as u8)
}

/// Writes `byte` to `address`.
///
/// # Errors
/// The fault, when it cannot be written.
///
/// # Safety
/// If the byte can be written, nobody may rely on what it holds.
pub unsafe fn try_write(address: VirtAddr, byte: u8) -> Result<(), Fault> {
    // SAFETY: the caller answers for the byte; a fault ends in an error.
    unsafe { probe_store_byte(address.as_u64(), byte.into()) }.result(address, FaultAccess::Write).map(drop)
}

/// Calls `address`.
///
/// # Errors
/// The fault, when no instruction can be fetched there.
///
/// # Safety
/// If instructions can be fetched there, they are a function without arguments that may be called.
pub unsafe fn try_execute(address: VirtAddr) -> Result<(), Fault> {
    // SAFETY: the caller answers for what runs; a fault of the jump ends in an error.
    unsafe { probe_execute(address.as_u64()) }.result(address, FaultAccess::Execute).map(drop)
}

/// Reads a value of `width` at `address`, of a device's register as a rule.
pub(crate) fn load(address: VirtAddr, width: Width) -> Result<u32, Fault> {
    let outcome = match width {
        Width::Bits8 => probe_load_byte(address.as_u64()),
        Width::Bits16 => probe_load_half(address.as_u64()),
        Width::Bits32 | Width::Bits32Big => probe_load_word(address.as_u64()),
    };
    // The upper bytes of a result are zero.
    outcome.result(address, FaultAccess::Read).map(|value| value as u32)
}

/// Writes the low bits of `value`, as many as `width` says, to `address`, of a device's register as a rule.
///
/// # Safety
/// If it can be written, nobody may rely on what it holds.
pub(crate) unsafe fn store(address: VirtAddr, width: Width, value: u32) -> Result<(), Fault> {
    // SAFETY: the caller answers for what is written; a fault ends in an error.
    let outcome = unsafe {
        match width {
            Width::Bits8 => probe_store_byte(address.as_u64(), value.into()),
            Width::Bits16 => probe_store_half(address.as_u64(), value.into()),
            Width::Bits32 | Width::Bits32Big => probe_store_word(address.as_u64(), value.into()),
        }
    };
    outcome.result(address, FaultAccess::Write).map(drop)
}

/// Copies the bytes from `address` on into `into`.
pub(crate) fn copy(into: &mut [u8], address: VirtAddr) -> Result<(), Fault> {
    // SAFETY: the target is a slice of that many bytes, exclusively borrowed; a fault of the reads ends in an error.
    unsafe { probe_copy(into.as_mut_ptr(), address.as_u64(), into.len() as u64) }
        .result(address, FaultAccess::Read)
        .map(drop)
}

/// Asks a debugger, or QEMU's `-semihosting`, for an operation. Comes back when it was done, or nobody is there.
///
/// # Safety
/// The operation reads and writes only what its description says of `parameter`.
pub(crate) unsafe fn semihosting(operation: u64, parameter: &[u64; 2]) {
    // SAFETY: the caller answers for the operation; where the instruction is undefined, nothing happens.
    let _ = unsafe { probe_semihosting(operation, parameter) };
}

/// Calls the firmware's function. Comes back when it does, with its result, or `None` when there is no firmware to
/// call.
///
/// # Safety
/// The function follows Arm's calling convention, and the caller answers for what it does.
pub(crate) unsafe fn call_firmware(conduit: Conduit, function: u32, arguments: [u64; 3]) -> Option<u64> {
    let [first, second, third] = arguments;
    // SAFETY: the caller answers for the function; where the instruction is undefined, nothing happens.
    let outcome = unsafe {
        match conduit {
            Conduit::Hvc => probe_hvc(function.into(), first, second, third),
            Conduit::Smc => probe_smc(function.into(), first, second, third),
        }
    };
    (outcome.failed == 0).then_some(outcome.value)
}

/// Unmasks SError and takes one that was pending.
pub(crate) fn take_pending_error() -> Result<(), Fault> {
    probe_pending_error().result(VirtAddr::new(0), FaultAccess::Read).map(drop)
}

/// Lets the interrupted code go on behind its probe, when it was in one; `false` when it was not.
#[must_use]
pub(super) fn recover(frame: &mut TrapFrame) -> bool {
    let address = |label: *const u8| label.addr() as u64;
    let class = Syndrome(frame.esr).class();
    let aborted = match frame.kind() {
        VectorKind::Synchronous => matches!(class, Class::DataAbort | Class::Undefined),
        VectorKind::SystemError => true,
        VectorKind::Interrupt | VectorKind::FastInterrupt => return false,
    };
    let [x0, x1, .., return_address] = &mut frame.x;
    let probes = address(&raw const probe_begin)..address(&raw const probe_end);
    if aborted && probes.contains(&frame.elr) {
        (*x0, *x1) = (frame.esr, 1);
        frame.elr = address(&raw const probe_failed);
        return true;
    }
    // The jump itself faulted: nothing ran since the call, so the return address is still the probe's.
    let jump = matches!(class, Class::InstructionAbort | Class::PcAlignment);
    if jump && frame.far == frame.elr && *return_address == address(&raw const probe_execute_return) {
        (*x0, *x1) = (frame.esr, 1);
        frame.elr = address(&raw const probe_execute_failed);
        return true;
    }
    false
}
