//! This CPU's page tables: what an entry looks like, how memory is reached, and what is mapped before there is an
//! allocator.
//!
//! 4 KiB pages and four levels (48-bit addresses), which every 64-bit CPU has. One root serves both halves; the lower
//! one is empty. The final tables share the image's and the fixmap's with the boot tables.
//!
//! `format` has the entries, `frames` the root and spare frames, `fixmap` the pages that can be mapped at any time,
//! `early` the window onto firmware tables. Linux: `asm/pgtable_types.h`, `mm/init_64.c`,
//! `mm/early_ioremap.c`.

mod early;
mod fixmap;
mod format;
mod frames;

pub use early::EarlyMap;
pub use fixmap::{fixmap, map_device};
pub use frames::{EarlyFrames, activate, early_frames, live_root, live_tables};

pub use crate::cpu::physical_bits;
