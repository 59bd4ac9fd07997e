//! How far nodes are from each other.
//!
//! The firmware's table is believed as a whole or not at all: 10 from a node to itself, 11 to 255 to any other. From a
//! SLIT every pair is wanted; a device tree may name one direction of a pair, which then holds for both. Without a
//! table all others are 20 away. Emulated nodes are as far from each other as what they were cut from, but where the
//! command line says otherwise. A table costs one byte a pair; the default costs none. Linux: `slit_valid`,
//! `acpi_numa_slit_init`, `of_numa_parse_distance_map_v1`, `numa_set_distance`, `numa_emulation`.

#![forbid(unsafe_code)]

use super::NumaError;
use super::domains::Domains;
use crate::addr::NodeId;
use crate::arch::PhysMap;
use crate::machine::{Distance, MachineMemory, Owner, Problem, Source, Table, Warning};
use crate::memblock::{BootSlice, Memblock, NodeWish};

/// From a node to itself.
pub const LOCAL: u8 = 10;
/// To any other node when the firmware does not say.
pub const REMOTE: u8 = 20;

/// The distance of each pair, or nothing when all are at their default.
pub(super) struct Distances<A> {
    table: BootSlice<A, u8>,
    nodes: usize,
}

impl<A: PhysMap> Distances<A> {
    /// All at their default.
    pub(super) fn default_for(memblock: &Memblock<A>) -> Self {
        Self { table: BootSlice::empty(memblock.access()), nodes: 0 }
    }

    /// Takes the firmware's table over, if it can be believed.
    pub(super) fn read(
        memblock: &mut Memblock<A>,
        machine: &MachineMemory<'_>,
        domains: &Domains<A>,
        warn: &mut dyn FnMut(Warning),
    ) -> Result<Self, NumaError> {
        let default = Self::default_for(memblock);
        let Some(first) = machine.distances.iter().next() else { return Ok(default) };
        if let Some((source, why)) = doubt(machine, domains) {
            warn(Warning { source, problem: Problem::TableIgnored(why) });
            return Ok(default);
        }
        let nodes = domains.limit();
        let mut table = memblock.alloc_filled(nodes * nodes, REMOTE, NodeWish::Any, Owner::new("NUMA distances"))?;
        let mut set = |from: NodeId, to: NodeId, value: u8| {
            if let Some(slot) = table.get_mut(from.index() * nodes + to.index()) {
                *slot = value;
            }
        };
        for index in (0..nodes).filter_map(|index| u16::try_from(index).ok()) {
            set(NodeId::new(index), NodeId::new(index), LOCAL);
        }
        let known = |distance: Distance| {
            let value = u8::try_from(distance.value).ok()?;
            Some((domains.node(distance.from)?, domains.node(distance.to)?, value))
        };
        if first.source.table != Table::Slit {
            machine.distances.iter().filter_map(known).for_each(|(from, to, value)| set(to, from, value));
        }
        machine.distances.iter().filter_map(known).for_each(|(from, to, value)| set(from, to, value));
        Ok(Self { table, nodes })
    }

    /// A table of `nodes` nodes: of the pairs row by row those that `wished` has first, the others as `cut_from` says.
    /// A wish that a node be further than 10 from itself is none, and is warned of.
    pub(super) fn wished(
        memblock: &mut Memblock<A>,
        nodes: usize,
        wished: &[u8],
        cut_from: impl Fn(NodeId, NodeId) -> u8,
        warn: &mut dyn FnMut(Warning),
    ) -> Result<Self, NumaError> {
        let owner = Owner::new("NUMA distances");
        let mut table = memblock.alloc_filled(nodes * nodes, REMOTE, NodeWish::Any, owner)?;
        let numbers = || (0..nodes).filter_map(|index| u16::try_from(index).ok()).map(NodeId::new);
        let pairs = numbers().flat_map(|from| numbers().map(move |to| (from, to)));
        let wishes = wished.iter().copied().map(Some).chain(core::iter::repeat(None));
        let mut refused = false;
        for ((slot, (from, to)), wish) in table.iter_mut().zip(pairs).zip(wishes) {
            *slot = match wish {
                None => cut_from(from, to),
                Some(value) if from != to => value,
                Some(value) => {
                    refused |= value != LOCAL;
                    LOCAL
                }
            };
        }
        if refused {
            let problem = Problem::Ignored { what: "numa=fake", why: "a node cannot but be 10 from itself" };
            warn(Warning { source: Source::whole(Table::CommandLine), problem });
        }
        Ok(Self { table, nodes })
    }
}

impl<A> Distances<A> {
    /// Whether the firmware's table is in use.
    pub(super) fn is_stated(&self) -> bool {
        self.nodes != 0
    }

    pub(super) fn get(&self, from: NodeId, to: NodeId) -> u8 {
        // A node beyond the table has no row in it; within its row each place is one node's.
        let place = (to.index() < self.nodes).then(|| from.index() * self.nodes + to.index());
        let stated = place.and_then(|place| self.table.get(place)).copied();
        stated.unwrap_or(if from == to { LOCAL } else { REMOTE })
    }
}

/// Which entry of the table cannot be believed, and why.
fn doubt<A>(machine: &MachineMemory<'_>, domains: &Domains<A>) -> Option<(Source, &'static str)> {
    let mut pairs = 0;
    for distance in machine.distances.iter() {
        let local = distance.from == distance.to;
        if local && distance.value != u32::from(LOCAL) {
            return Some((distance.source, "a domain is not 10 from itself"));
        }
        if !local && !(u32::from(LOCAL) + 1..=u32::from(u8::MAX)).contains(&distance.value) {
            return Some((distance.source, "two domains are not 11 to 255 apart"));
        }
        if domains.node(distance.from).is_some() && domains.node(distance.to).is_some() {
            pairs += 1;
        }
    }
    let source = machine.distances.iter().next()?.source;
    let complete = domains.limit() * domains.limit();
    (source.table == Table::Slit && pairs < complete)
        .then_some((Source::whole(Table::Slit), "it does not name every pair of domains that SRAT names"))
}
