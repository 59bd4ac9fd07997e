//! Nodes, their CPUs, sizes and distances, as `numactl --hardware` prints them, and below that which nodes are in which
//! state, as the files of `/sys/devices/system/node` say it. Of the CPUs, those that run.

#![forbid(unsafe_code)]

use crate::addr::CpuId;
use crate::arch::Arch;
use crate::model::MemoryModel;
use crate::numa::{Node, NodeSet};
use crate::page_alloc::PageAllocator;
use core::fmt::{self, Write};

/// Writes it; `runs` says of a CPU whether it is online.
///
/// # Errors
/// When `out` does.
pub fn numa<A: Arch, M: MemoryModel<A>>(
    out: &mut dyn Write,
    pages: &PageAllocator<A, M>,
    runs: &dyn Fn(CpuId) -> bool,
) -> fmt::Result {
    let nodes = pages.nodes();
    let cpus_of = |node: &Node| nodes.cpus_of(node.id).map(|cpu| cpu.id).filter(|cpu| runs(*cpu));
    let count = nodes.node_count();
    writeln!(out, "available: {count} nodes ({})", nodes.online())?;
    for node in nodes.iter() {
        write!(out, "node {} cpus:", node.id)?;
        cpus_of(&node).try_for_each(|cpu| write!(out, " {cpu}"))?;
        writeln!(out)?;
        let (mut managed, mut free) = (0, 0);
        for (index, _) in pages.populated().filter(|(_, span)| span.node == node.id) {
            let counts = pages.counts(index);
            managed += counts.managed;
            free += counts.free;
        }
        writeln!(out, "node {} size: {} MB", node.id, (managed << A::PAGE_SHIFT) >> 20)?;
        writeln!(out, "node {} free: {} MB", node.id, (free << A::PAGE_SHIFT) >> 20)?;
    }
    writeln!(out, "node distances:")?;
    write!(out, "node ")?;
    nodes.iter().try_for_each(|node| write!(out, "{:>3} ", node.id))?;
    writeln!(out)?;
    for from in nodes.iter() {
        write!(out, "{:>3}: ", from.id)?;
        nodes.iter().try_for_each(|to| write!(out, "{:>3} ", nodes.distance(from.id, to.id)))?;
        writeln!(out)?;
    }
    writeln!(out, "possible: {}", nodes.possible())?;
    writeln!(out, "online: {}", nodes.online())?;
    let with_cpus: NodeSet = nodes.iter().filter(|node| cpus_of(node).next().is_some()).map(|node| node.id).collect();
    writeln!(out, "has_cpu: {with_cpus}")?;
    writeln!(out, "has_memory: {}", nodes.with_memory())?;
    writeln!(out, "has_normal_memory: {}", pages.zones().with_normal_memory())
}
