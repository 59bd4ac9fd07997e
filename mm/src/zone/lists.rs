//! In which order an allocation asks nodes and zones.
//!
//! A node asks itself first, then the others by distance; of two equally far, a lower-numbered one counts as one unit
//! farther than a higher one, then the one that is first choice of fewer nodes at its distance wins, so that no node
//! becomes everybody's neighbour. A node without memory is asked by nobody but itself. Within a node the zones go from
//! the highest kind allowed down. Linux: `find_next_best_node`, `build_zonelists` in mm/page_alloc.c (6.1).
//!
//! Every list names all populated zones up to its kind, so all nodes' lists of one kind are equally long: one array,
//! no lengths.

#![forbid(unsafe_code)]

use super::{ZoneError, ZoneIndex, ZoneKind, ZoneTable};
use crate::addr::NodeId;
use crate::arch::PhysMap;
use crate::machine::Owner;
use crate::memblock::{BootSlice, NodeWish};
use crate::numa::{Nodes, Topology};

/// The orders and lists of all nodes, by rank; of those that are only possible too, since memory may still come to
/// them.
pub(super) struct Lists<A> {
    /// A row for each node: itself, then the nodes with memory. A node with memory leaves the last place unused.
    orders: BootSlice<A, NodeId>,
    order_length: usize,
    /// A row for each node: its list for each kind, lowest kind first.
    zones: BootSlice<A, ZoneIndex>,
    /// How many populated zones there are up to each kind.
    populated: [usize; ZoneKind::COUNT],
}

/// Fills the last place of a row that does not need it.
const NOBODY: NodeId = NodeId::new(u16::MAX);

impl<A: PhysMap> Lists<A> {
    pub(super) fn none(access: A) -> Self {
        Self {
            orders: BootSlice::empty(access),
            order_length: 0,
            zones: BootSlice::empty(access),
            populated: [0; ZoneKind::COUNT],
        }
    }

    pub(super) fn build(nodes: &mut Nodes<A>, table: &ZoneTable<A>) -> Result<Self, ZoneError> {
        let owner = Owner::new("zonelists");
        let known = nodes.possible();
        let order_length = nodes.iter().filter(|node| node.has_memory).count() + 1;
        let populated = ZoneKind::ALL
            .map(|kind| table.spans().iter().filter(|zone| zone.is_populated() && zone.kind <= kind).count());
        let row_length: usize = populated.iter().sum();
        let limit = nodes.id_limit();
        let memblock = nodes.memblock_mut();
        let mut orders = memblock.alloc_filled(known.len() * order_length, NOBODY, NodeWish::Any, owner)?;
        let mut zones = memblock.alloc_filled(known.len() * row_length, ZoneIndex::default(), NodeWish::Any, owner)?;
        let mut load = memblock.alloc_filled(limit, 0_u32, NodeWish::Any, owner)?;
        for (node, row) in known.iter().zip(orders.chunks_exact_mut(order_length)) {
            order_nodes(nodes, node, &mut load, row);
        }
        nodes.memblock_mut().release(load);
        // Without a populated zone there are no rows to fill, of any length.
        for (order, row) in orders.chunks_exact(order_length).zip(zones.chunks_exact_mut(row_length.max(1))) {
            let all = ZoneKind::ALL.into_iter().flat_map(|kind| list(table, order, kind));
            row.iter_mut().zip(all).for_each(|(slot, zone)| *slot = zone);
        }
        Ok(Self { orders, order_length, zones, populated })
    }
}

impl<A> Lists<A> {
    /// What the lists lie in.
    pub(super) fn into_slices(self) -> (BootSlice<A, NodeId>, BootSlice<A, ZoneIndex>) {
        (self.orders, self.zones)
    }

    pub(super) fn order(&self, rank: usize) -> &[NodeId] {
        let start = rank * self.order_length;
        let row = self.orders.get(start..start + self.order_length).unwrap_or_default();
        match row.split_last() {
            Some((&NOBODY, used)) => used,
            _ => row,
        }
    }

    pub(super) fn general(&self, rank: usize, kind: ZoneKind) -> &[ZoneIndex] {
        let row: usize = self.populated.iter().sum();
        let below: usize = self.populated.iter().take(kind.index()).sum();
        let length = self.populated.get(kind.index()).copied().unwrap_or_default();
        let start = rank * row + below;
        self.zones.get(start..start + length).unwrap_or_default()
    }
}

/// Fills a node's row. `load` counts how often each node is the first choice at its distance.
fn order_nodes<A>(nodes: &Topology<A>, node: NodeId, load: &mut [u32], row: &mut [NodeId]) {
    let Some((own, others)) = row.split_first_mut() else { return };
    *own = node;
    let with_memory = nodes.iter().filter(|other| other.has_memory && other.id != node);
    let count = others.iter_mut().zip(with_memory).map(|(slot, other)| *slot = other.id).count();
    let others = others.get_mut(..count).unwrap_or_default();
    let distance = |other: NodeId| u32::from(nodes.distance(node, other));
    others.sort_unstable_by_key(|&other| {
        let load = load.get(other.index()).copied().unwrap_or_default();
        (distance(other) + u32::from(other < node), load, other)
    });
    let mut previous = distance(node);
    for &other in others.iter() {
        if distance(other) != previous
            && let Some(load) = load.get_mut(other.index())
        {
            *load += 1;
        }
        previous = distance(other);
    }
}

/// The populated zones of the nodes of `order`, up to `kind`.
fn list<A>(table: &ZoneTable<A>, order: &[NodeId], kind: ZoneKind) -> impl Iterator<Item = ZoneIndex> {
    let zones = order.iter().flat_map(|node| table.zones_of(*node).rev());
    zones.filter(move |(_, zone)| zone.is_populated() && zone.kind <= kind).map(|(number, _)| number)
}
