//! What only this CPU's instructions can do: ask it what it can, and the way from the firmware to the kernel.

use core::fmt;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64::{MACHINE, clean, enter, format, jump, mask_interrupts};
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::{MACHINE, clean, enter, format, jump, mask_interrupts};

/// The CPU, or the state that the firmware left it in, is not what the protocol needs.
pub(crate) struct CpuError(&'static str);

impl fmt::Display for CpuError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
