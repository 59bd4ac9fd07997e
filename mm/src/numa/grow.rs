//! Memory that comes to a node after nodes were made. Linux: `acpi_get_node`, `__try_online_node`,
//! `resize_pgdat_range`.

#![forbid(unsafe_code)]

use super::Nodes;
use super::topology::{Entry, State, Topology};
use crate::addr::{NodeId, PfnRange};

/// What the table said of a node, to be put back when memory does not come after all.
#[derive(Clone, Copy)]
pub(crate) struct Before {
    node: NodeId,
    entry: Entry,
}

impl<A> Topology<A> {
    /// The node that the firmware calls `domain`, whether it is online or only possible. Where it was cut into
    /// emulated nodes, the first of them.
    #[must_use]
    pub fn node_of_domain(&self, domain: u32) -> Option<NodeId> {
        let known = |entry: &Entry| entry.state != State::Unknown && entry.domain == domain;
        let numbered = self.table.iter().zip((0..).map(NodeId::new));
        numbered.filter(|(entry, _)| known(entry)).map(|(_, node)| node).next()
    }
}

impl<A> Nodes<A> {
    /// Counts `pages` of memory to `node`, which comes online by it. `None`: nobody has named such a node.
    pub(crate) fn grow(&mut self, node: NodeId, pages: PfnRange) -> Option<Before> {
        let entry = self.topology.table.get_mut(node.index()).filter(|entry| entry.state != State::Unknown)?;
        let before = Before { node, entry: *entry };
        entry.span = if entry.present == 0 {
            pages
        } else {
            PfnRange::new(entry.span.start().min(pages.start()), entry.span.end().max(pages.end()))
        };
        entry.present += pages.count();
        entry.state = State::Online;
        Some(before)
    }

    /// Takes [`Nodes::grow`] back.
    pub(crate) fn shrink(&mut self, before: Before) {
        if let Some(entry) = self.topology.table.get_mut(before.node.index()) {
            *entry = before.entry;
        }
    }
}
