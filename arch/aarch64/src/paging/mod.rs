//! This CPU's page tables: what an entry looks like, how memory is reached, and what is mapped before there is an
//! allocator.
//!
//! 4 KiB pages and four levels (48-bit addresses), which every ARMv8-A CPU has. One root serves the kernel's half
//! (TTBR1_EL1) and never changes: the boot tables grow into the final ones. TTBR0_EL1 stays off.
//!
//! [`format`] has the entries, [`frames`] the root and spare frames, [`fixmap`] the single pages that can be mapped at
//! any time, [`early`] the windows onto firmware tables. Linux: `asm/pgtable-hwdef.h`, `arch/arm64/mm/mmu.c`.

mod early;
pub(crate) mod fixmap;
mod format;
mod frames;

pub use early::{EarlyMap, TreeError, map_dtb};
pub use fixmap::map_device;
pub use format::physical_bits;
pub use frames::{EarlyFrames, activate, boot_root, boot_tables, early_frames};

pub(crate) use format::{MAIR, TCR};
