//! `/proc/vmallocinfo`: a line an area.
//!
//! The size is all that the area has taken, guard pages too, as in Linux; `N0=` counts its pages on each node. The
//! caller is the name that whoever asked has given. Linux: `s_show`, `show_numa_info` in `mm/vmalloc.c`.

#![forbid(unsafe_code)]

use crate::addr::NodeId;
use crate::arch::Arch;
use crate::model::MemoryModel;
use crate::vmalloc::{AreaInfo, AreaKind, AreaState, Vmalloc};
use core::fmt::{self, Write};

/// Nodes that are counted in one walk over an area's pages.
const NODES_AT_ONCE: usize = 16;

/// Writes it.
///
/// # Errors
/// When `out` does.
pub fn vmallocinfo<A: Arch, M: MemoryModel<A>>(out: &mut dyn Write, vmalloc: &Vmalloc<A, M>) -> fmt::Result {
    vmalloc.areas().try_for_each(|area| line(out, vmalloc, &area))
}

fn line<A: Arch, M: MemoryModel<A>>(out: &mut dyn Write, vmalloc: &Vmalloc<A, M>, area: &AreaInfo) -> fmt::Result {
    write!(out, "{} {:>7}", area.taken, area.taken.size())?;
    if area.state == AreaState::Retired {
        return writeln!(out, " unpurged vm_area");
    }
    write!(out, " {}", area.owner)?;
    if area.pages > 0 {
        write!(out, " pages={}", area.pages)?;
    }
    match area.kind {
        AreaKind::Pages | AreaKind::Stack => write!(out, " vmalloc")?,
        AreaKind::Mapped => write!(out, " vmap")?,
        AreaKind::Device { physical, .. } => write!(out, " phys={:#018x} ioremap", physical.start())?,
    }
    if area.pages > 0 {
        nodes(out, vmalloc, area)?;
    }
    writeln!(out)
}

/// How many pages lie on each node that has some.
fn nodes<A: Arch, M: MemoryModel<A>>(out: &mut dyn Write, vmalloc: &Vmalloc<A, M>, area: &AreaInfo) -> fmt::Result {
    let mut counts = [0; NODES_AT_ONCE];
    for first in (0..vmalloc.node_limit()).step_by(NODES_AT_ONCE) {
        vmalloc.count_nodes(area.mapped.start(), NodeId::new(first), &mut counts);
        for (node, &count) in (first..).zip(&counts).filter(|(_, count)| **count > 0) {
            write!(out, " N{node}={count}")?;
        }
    }
    Ok(())
}
