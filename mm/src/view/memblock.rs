//! What memblock knew when it handed memory over, in the form of Linux's `memblock=debug` dump, and who reserved what.
//!
//! Linux: `__memblock_dump_all`.

#![forbid(unsafe_code)]

use crate::arch::PhysMap;
use crate::memblock::{Record, Regions};
use core::fmt::{self, Write};

/// Writes what was left at hand-over.
///
/// # Errors
/// When `out` does.
pub fn memblock<A: PhysMap>(out: &mut dyn Write, record: &Record<A>) -> fmt::Result {
    memblock_regions(out, record.memory(), record.reserved())
}

/// Writes what is there while memblock lives. Linux: `memblock_dump_all`.
///
/// # Errors
/// When `out` does.
pub fn memblock_regions(out: &mut dyn Write, memory: Regions<'_>, reserved: Regions<'_>) -> fmt::Result {
    writeln!(out, "MEMBLOCK configuration:")?;
    writeln!(out, " memory size = {:#018x} reserved size = {:#018x}", memory.size(), reserved.size())?;
    regions(out, "memory", memory)?;
    regions(out, "reserved", reserved)
}

fn regions(out: &mut dyn Write, name: &str, regions: Regions<'_>) -> fmt::Result {
    writeln!(out, " {name}.cnt  = {:#x}", regions.len())?;
    for (number, region) in regions.iter().enumerate() {
        let range = region.range();
        write!(
            out,
            " {name}[{number:#x}]\t[{:#018x}-{:#018x}], {:#018x} bytes",
            range.start(),
            range.last(),
            range.size()
        )?;
        if let Some(node) = region.node() {
            write!(out, " on node {node}")?;
        }
        write!(out, " flags: {:#x}", region.flags().bits())?;
        match region.owner().as_str() {
            "" => writeln!(out)?,
            owner => writeln!(out, " ({owner})")?,
        }
    }
    Ok(())
}
