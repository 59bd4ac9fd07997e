//! Nodes, distances and CPUs as they stay for good: what the rest of the kernel asks.
//!
//! A node has a *state*: it is possible when the firmware names it, online when memory, a CPU or an initiator is on it
//! (on arm64 the firmware's word is enough). Linux: `node_states`, `node_distance`, `cpumask_of_node`.

#![forbid(unsafe_code)]

use super::cpus::CpuInfo;
use super::distance::{Distances, LOCAL, REMOTE};
use super::set::NodeSet;
use super::x86::Emulated;
use crate::addr::{NodeId, PfnRange, PhysRange};
use crate::memblock::BootSlice;
use core::fmt;

/// A node that memory or CPUs are on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Node {
    /// Its number.
    pub id: NodeId,
    /// The firmware's number for it.
    pub domain: u32,
    /// From its first to its last page of memory, holes and other nodes' memory inside.
    pub span: PfnRange,
    /// Pages of memory on it.
    pub present: u64,
    /// Where its data lies, once [`Nodes::place_data`](super::Nodes::place_data) has run.
    pub data: Option<PhysRange>,
    /// Whether it has any memory.
    pub has_memory: bool,
}

/// What is set up for a node.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Its number stands between those of others.
    Unknown,
    /// The firmware names it, for memory that may come.
    Possible,
    /// It has memory, CPUs or initiators, or its firmware's word is enough (arm64).
    Online,
}

#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) domain: u32,
    pub(super) state: State,
    pub(super) span: PfnRange,
    pub(super) present: u64,
    pub(super) data: PhysRange,
}

impl Entry {
    pub(super) const UNKNOWN: Self =
        Self { domain: 0, state: State::Unknown, span: PfnRange::EMPTY, present: 0, data: PhysRange::EMPTY };
}

/// Nodes, distances and CPUs: what stays when memblock is gone.
pub struct Topology<A> {
    pub(super) table: BootSlice<A, Entry>,
    pub(super) distances: Distances<A>,
    /// Of emulated nodes, where the command line says them.
    pub(super) wished_distances: Option<Distances<A>>,
    pub(super) cpus: BootSlice<A, CpuInfo>,
    /// What emulated nodes were cut from; `None`: nodes are what they seem.
    pub(super) emulated: Option<Emulated<A>>,
}

impl<A> Topology<A> {
    /// The nodes that are online, in the order of their numbers.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Node> + Clone {
        (0..self.table.len()).filter_map(|index| self.get(index))
    }

    /// All nodes that the firmware names or that are online.
    #[must_use]
    pub fn possible(&self) -> NodeSet {
        let numbered = self.table.iter().zip(0..);
        numbered.filter(|(entry, _)| entry.state != State::Unknown).map(|(_, number)| NodeId::new(number)).collect()
    }

    /// The nodes that are online.
    #[must_use]
    pub fn online(&self) -> NodeSet {
        self.iter().map(|node| node.id).collect()
    }

    /// The nodes with memory of any kind.
    #[must_use]
    pub fn with_memory(&self) -> NodeSet {
        self.iter().filter(|node| node.has_memory).map(|node| node.id).collect()
    }

    /// The nodes with CPUs.
    #[must_use]
    pub fn with_cpus(&self) -> NodeSet {
        let physical: NodeSet = self.cpus.iter().map(|cpu| self.physical(cpu.node)).collect();
        self.iter().map(|node| node.id).filter(|node| physical.contains(self.physical(*node))).collect()
    }

    pub(super) fn get(&self, index: usize) -> Option<Node> {
        let entry = self.table.get(index).filter(|entry| entry.state == State::Online)?;
        Some(Node {
            id: NodeId::new(u16::try_from(index).ok()?),
            domain: entry.domain,
            span: entry.span,
            present: entry.present,
            data: Some(entry.data).filter(|data| !data.is_empty()),
            has_memory: entry.present > 0,
        })
    }

    /// The node with this number, if it is online.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<Node> {
        self.get(id.index())
    }

    /// How many nodes are online.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.table.iter().filter(|entry| entry.state == State::Online).count()
    }

    /// One more than the highest node number, for tables that are indexed by it.
    #[must_use]
    pub fn id_limit(&self) -> usize {
        self.table.len()
    }

    /// How far it is from one node to another; 10 is local.
    #[must_use]
    pub fn distance(&self, from: NodeId, to: NodeId) -> u8 {
        if let Some(wished) = &self.wished_distances {
            return wished.get(from, to);
        }
        let known = |node| self.emulated.as_ref().is_none_or(|emulated| emulated.physical(node).is_some());
        match (known(from), known(to)) {
            (true, true) => self.distances.get(self.physical(from), self.physical(to)),
            _ if from == to => LOCAL,
            _ => REMOTE,
        }
    }

    /// What an emulated node was cut from; any other is itself.
    fn physical(&self, node: NodeId) -> NodeId {
        self.emulated.as_ref().and_then(|emulated| emulated.physical(node)).unwrap_or(node)
    }

    /// The CPUs of a node, ascending. What was cut into emulated nodes shares its CPUs: each is on all of them.
    pub fn cpus_of(&self, node: NodeId) -> impl Iterator<Item = &CpuInfo> {
        let physical = self.physical(node);
        self.cpus.iter().filter(move |cpu| self.physical(cpu.node) == physical)
    }

    /// The CPUs, the boot CPU first.
    #[must_use]
    pub fn cpus(&self) -> &[CpuInfo] {
        &self.cpus
    }
}

impl<A> fmt::Debug for Topology<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topology").field("cpus", &self.cpus).finish_non_exhaustive()
    }
}
