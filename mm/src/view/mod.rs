//! What memory looks like, as text: the boot lines, the formats of `/proc`, and the life of one address.
//!
//! Every view reads the live structures and writes to a [`core::fmt::Write`]; none allocates, none keeps a copy. The
//! formats are Linux 6.1's to the column, so existing parsers read them. Counts that belong to what this kernel has
//! not (the page cache, swap, user processes) are there, and zero.
//!
//! Linux: `mm/vmstat.c`, `fs/proc/meminfo.c`, `mm/slab_common.c`, `kernel/resource.c`.

#![forbid(unsafe_code)]

pub mod boot;
mod buddyinfo;
pub mod iomem;
mod memblock;
mod meminfo;
mod numa;
mod slabinfo;
mod vmallocinfo;
mod why;
mod zoneinfo;

pub use buddyinfo::buddyinfo;
pub use memblock::{memblock, memblock_regions};
pub use meminfo::{SetAside, meminfo};
pub use numa::numa;
pub use slabinfo::slabinfo;
pub use vmallocinfo::vmallocinfo;
pub use why::{why, why_area, why_zones};
pub use zoneinfo::zoneinfo;
