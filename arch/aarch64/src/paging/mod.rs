//! This CPU's page tables: what an entry looks like, how memory is reached, and what is mapped before there is an
//! allocator.
//!
//! 4 KiB pages and four levels (48-bit addresses), which every ARMv8-A CPU has. One root serves the kernel's half
//! (TTBR1_EL1); the lower half (TTBR0_EL1) is off but for the moments in which another root takes its place.
//!
//! [`format`] has the entries, [`native`] puts them before `mm`, [`frames`] has the root and spare frames, [`fixmap`]
//! the single pages that can be mapped at any time, [`early`] the windows onto firmware tables. Linux:
//! `asm/pgtable-hwdef.h`, `arch/arm64/mm/mmu.c`.

#[cfg(target_os = "none")]
mod clear;
#[cfg(target_os = "none")]
mod early;
#[cfg(target_os = "none")]
mod fixmap;
mod format;
#[cfg(target_os = "none")]
mod frames;
#[cfg(target_os = "none")]
mod native;

#[cfg(target_os = "none")]
pub use {
    early::{EarlyMap, TreeError, map_dtb},
    fixmap::{fixmap, map_device},
    frames::{EarlyFrames, activate, early_frames, live_root, live_tables},
    native::physical_bits,
};

#[cfg(target_os = "none")]
pub(crate) use fixmap::addressable;
pub(crate) use format::{MAIR, TCR};
