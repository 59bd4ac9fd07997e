//! PSCI, the firmware's calls for power: function numbers, results, and the call itself.
//!
//! A call survives where the CPU lacks the level that it goes to: the instruction is undefined there. Linux:
//! `drivers/firmware/psci/psci.c`, `include/uapi/linux/psci.h`.

#[cfg(target_os = "none")]
mod call;
mod guess;
mod result;

#[cfg(target_os = "none")]
pub(crate) use call::{CPU_ON, SYSTEM_OFF, SYSTEM_RESET, call, guess_here};
pub use result::PsciError;
