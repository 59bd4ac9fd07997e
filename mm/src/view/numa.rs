//! Nodes, their CPUs, sizes and distances, as `numactl --hardware` prints them.

#![forbid(unsafe_code)]

use crate::addr::NodeId;
use crate::arch::Arch;
use crate::model::MemoryModel;
use crate::page_alloc::PageAllocator;
use core::fmt::{self, Write};

/// Writes it.
///
/// # Errors
/// When `out` does.
pub fn numa<A: Arch, M: MemoryModel<A>>(out: &mut dyn Write, pages: &PageAllocator<A, M>) -> fmt::Result {
    let nodes = pages.nodes();
    let count = nodes.node_count();
    write!(out, "available: {count} nodes (")?;
    runs(out, nodes.iter().map(|node| node.id))?;
    writeln!(out, ")")?;
    for node in nodes.iter() {
        write!(out, "node {} cpus:", node.id)?;
        for cpu in nodes.cpus().iter().filter(|cpu| cpu.node == node.id) {
            write!(out, " {}", cpu.id)?;
        }
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
    Ok(())
}

/// Ascending numbers as `0-2,5`.
fn runs(out: &mut dyn Write, ids: impl Iterator<Item = NodeId>) -> fmt::Result {
    let mut open: Option<(NodeId, NodeId)> = None;
    let close = |out: &mut dyn Write, (first, last): (NodeId, NodeId)| {
        if first == last { write!(out, "{first}") } else { write!(out, "{first}-{last}") }
    };
    for id in ids {
        open = match open {
            Some((first, last)) if last.as_u16() + 1 == id.as_u16() => Some((first, id)),
            Some(done) => {
                close(out, done)?;
                write!(out, ",")?;
                Some((id, id))
            }
            None => Some((id, id)),
        };
    }
    open.map_or(Ok(()), |last| close(out, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_nodes_are_joined() {
        let text = |ids: &[u16]| {
            let mut text = std::string::String::new();
            runs(&mut text, ids.iter().copied().map(NodeId::new)).unwrap();
            text
        };
        assert_eq!(text(&[0]), "0");
        assert_eq!(text(&[0, 1, 2]), "0-2");
        assert_eq!(text(&[0, 2, 3, 5]), "0,2-3,5");
        assert_eq!(text(&[]), "");
    }
}
