//! `/proc/buddyinfo`: free blocks of each order, a line a zone.
//!
//! Memory that was never touched is counted by arithmetic, as blocks of the highest order. Linux: `frag_show`.

#![forbid(unsafe_code)]

use crate::arch::Arch;
use crate::model::MemoryModel;
use crate::page_alloc::PageAllocator;
use core::fmt::{self, Write};

/// Writes it.
///
/// # Errors
/// When `out` does.
pub fn buddyinfo<A: Arch, M: MemoryModel<A>>(out: &mut dyn Write, pages: &PageAllocator<A, M>) -> fmt::Result {
    for (index, span) in pages.populated() {
        write!(out, "Node {}, zone {:>8} ", span.node, span.kind.name())?;
        for free in pages.counts(index).free_blocks {
            write!(out, "{free:>6} ")?;
        }
        writeln!(out)?;
    }
    Ok(())
}
