//! The call, and the numbers of the functions.

use super::guess::guess;
use crate::entry;
use crate::traps::probe;
use core::arch::asm;
use platform::power::Conduit;

/// Turns the machine off.
pub(crate) const SYSTEM_OFF: u32 = 0x8400_0008;
/// Starts the machine over.
pub(crate) const SYSTEM_RESET: u32 = 0x8400_0009;
/// Starts a CPU (64-bit form): its MPIDR affinity, the physical entry point, and what it finds in x0.
pub(crate) const CPU_ON: u32 = 0xc400_0003;

/// Calls `function` by the conduit that the firmware's tables state; but nobody serves `hvc` once this kernel itself
/// has left EL2, and nobody is there to refuse it either. Comes back when it does, with what it left in x0, or `None`
/// when nobody takes the call.
///
/// # Safety
/// The function follows Arm's calling convention, and the caller answers for what it does.
pub(crate) unsafe fn call(stated: Conduit, function: u32, arguments: [u64; 3]) -> Option<u64> {
    let conduit = match stated {
        Conduit::Hvc if entry::entry_level() == 1 => Conduit::Hvc,
        _ => Conduit::Smc,
    };
    // SAFETY: the caller answers for the function.
    unsafe { probe::call_firmware(conduit, function, arguments) }
}

/// The conduit to try on this CPU while the firmware's tables have not been read; `None` where that might not come
/// back.
pub(crate) fn guess_here() -> Option<Conduit> {
    let id: u64;
    // SAFETY: reads an identification register.
    unsafe { asm!("mrs {}, id_aa64pfr0_el1", out(reg) id, options(nomem, nostack, preserves_flags)) };
    guess(entry::entry_level(), id)
}
