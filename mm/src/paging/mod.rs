//! Page tables over any [`PageFormat`](crate::arch::PageFormat): the kernel's mappings, from the boot tables to the
//! final ones.
//!
//! | file | holds |
//! |---|---|
//! | [`mapping`] | levels, entries, what a page may be used for |
//! | [`tables`] | [`PageTables`]: a tree with its root, how its entries are read and written |
//! | [`map`] | absent → present, with the largest leaves that fit |
//! | [`change`] | unmapping and protecting what is mapped, splitting leaves where a change ends inside one |
//! | [`graft`] | two trees that share tables |
//! | [`prepare`] | tables without leaves, for what is mapped later without a frame at hand |
//! | [`walk`] | one address, level by level; the page-table walk of a fault report |
//! | [`fault`] | an access that did not go |
//! | [`dump`] | all mappings as merged runs: ptdump and the check for W^X |
//! | [`direct`] | the direct map: all RAM, in the tables that the kernel switches to |
//! | [`extend`] | RAM that joins it later |
//! | [`fixmap`] | [`Fixmap`]: slots whose tables exist from the first instruction |
//! | [`early_ioremap`] | windows onto firmware tables over them |
//! | [`source`] | where table frames come from |
//!
//! The order of bring-up: entry code writes boot tables by hand, which map the image, a little RAM and the tables of
//! the fixmap. From then on everything goes through [`PageTables`].
//!
//! Invariants, for every tree that this module has written: a table's frame is reachable by the direct map, and was
//! zeroed or filled before an entry pointed to it; a present entry is never overwritten by `map`; nothing is both
//! writable and executable, because [`Mapping`] cannot say so. Tables are 8 bytes for each leaf, and one page for each
//! `1 << (PAGE_SHIFT - 3)` entries.
//!
//! Linux: `arch/x86/mm/init_64.c`, `arch/arm64/mm/mmu.c`, `mm/ptdump.c`, `mm/early_ioremap.c`.

pub mod change;
pub mod direct;
pub mod dump;
pub mod early_ioremap;
pub mod extend;
pub mod fault;
pub mod fixmap;
pub mod graft;
pub mod map;
pub mod mapping;
pub mod prepare;
pub mod source;
pub mod tables;
pub mod walk;

pub use change::{ChangeError, Flushed, Stale};
pub use direct::{DirectError, map_direct};
pub use dump::Run;
pub use early_ioremap::Window;
pub use extend::{MappedRam, extend_direct};
pub use fixmap::{Fixmap, FixmapError, Slot};
pub use map::MapError;
pub use mapping::{Access, Entry, Level, Mapping, MemoryType, RawMapping};
pub use source::{BootFrames, FrameSource, NoFrames};
pub use tables::PageTables;
pub use walk::{Step, Translation, Walk};
