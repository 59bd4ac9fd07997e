//! The only place that asks for the target's architecture: it hands on the one arch crate that fits.
//!
//! Both offer the same modules and functions (`entry discover paging traps cpu irqchip tlb timer exit`), so that the
//! kernel is written once. On any other architecture this crate is empty.
#![no_std]

#[cfg(target_arch = "aarch64")]
pub use arch_aarch64::*;
#[cfg(target_arch = "x86_64")]
pub use arch_x86_64::*;
