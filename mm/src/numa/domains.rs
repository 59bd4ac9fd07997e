//! Which node a firmware domain is.
//!
//! ACPI's proximity domains are any 32-bit numbers and become nodes in the order in which SRAT names them, CPUs first:
//! domains 7 and 200 are nodes 0 and 1. A device tree's `numa-node-id` is the node's number itself. Finding a domain
//! costs O(nodes). Linux: `acpi_map_pxm_to_node`, `of_node_to_nid`.

#![forbid(unsafe_code)]

use super::NumaError;
use crate::addr::NodeId;
use crate::arch::PhysMap;
use crate::machine::{MachineMemory, Owner, Problem, Source, Table, Warning};
use crate::memblock::{BootSlice, Memblock, NodeWish};

/// The nodes that the firmware names.
pub(super) enum Domains<A> {
    /// Each node's domain, in the order of nodes.
    Numbered {
        /// The first `count` of them are in use.
        domains: BootSlice<A, u32>,
        /// How many nodes there are.
        count: usize,
    },
    /// Domains are node numbers below this.
    Direct {
        /// One more than the highest.
        limit: usize,
    },
}

impl<A: PhysMap> Domains<A> {
    /// Numbers all domains. `None` when there are more than nodes can be, after one warning.
    pub(super) fn number(
        memblock: &mut Memblock<A>,
        machine: &MachineMemory<'_>,
        warn: &mut dyn FnMut(Warning),
    ) -> Result<Option<Self>, NumaError> {
        let mut domains = Self::empty(memblock, machine)?;
        for (domain, source) in named(machine) {
            if !domains.add(domain) {
                let problem = match domains {
                    Self::Direct { .. } => Problem::Value { what: "a node number", value: domain.into() },
                    Self::Numbered { .. } => Problem::TooMany { what: "domains", limit: NodeId::MAX_COUNT as u64 },
                };
                warn(Warning { source, problem });
                if let Self::Numbered { domains, .. } = domains {
                    memblock.release(domains);
                }
                return Ok(None);
            }
        }
        Ok(Some(domains))
    }

    fn empty(memblock: &mut Memblock<A>, machine: &MachineMemory<'_>) -> Result<Self, NumaError> {
        if !is_srat(machine) {
            return Ok(Self::Direct { limit: 0 });
        }
        let stated = machine.cpu_affinities.len() + machine.initiators.len() + machine.affinities.len();
        let most = stated.min(NodeId::MAX_COUNT);
        let domains = memblock.alloc_filled(most, 0, NodeWish::Any, Owner::new("NUMA domains"))?;
        Ok(Self::Numbered { domains, count: 0 })
    }

    fn add(&mut self, domain: u32) -> bool {
        if self.node(domain).is_some() {
            return true;
        }
        match self {
            Self::Numbered { domains, count } => match domains.get_mut(*count) {
                Some(slot) => {
                    *slot = domain;
                    *count += 1;
                    true
                }
                None => false,
            },
            Self::Direct { limit } => {
                let number = usize::try_from(domain).unwrap_or(usize::MAX);
                *limit = (*limit).max(number.saturating_add(1).min(NodeId::MAX_COUNT));
                number < NodeId::MAX_COUNT
            }
        }
    }
}

impl<A> Domains<A> {
    /// The node that `domain` is.
    pub(super) fn node(&self, domain: u32) -> Option<NodeId> {
        let at = match self {
            Self::Numbered { domains, count } => domains.iter().take(*count).position(|known| *known == domain)?,
            Self::Direct { limit } => usize::try_from(domain).ok().filter(|number| number < limit)?,
        };
        u16::try_from(at).ok().map(NodeId::new)
    }

    /// The domain that node `index` is.
    pub(super) fn domain(&self, index: usize) -> u32 {
        match self {
            Self::Numbered { domains, .. } => domains.get(index).copied().unwrap_or_default(),
            Self::Direct { .. } => u32::try_from(index).unwrap_or_default(),
        }
    }

    /// One more than the highest node number.
    pub(super) fn limit(&self) -> usize {
        match self {
            Self::Numbered { count, .. } => *count,
            Self::Direct { limit } => *limit,
        }
    }
}

/// Whether affinities come from ACPI.
pub(super) fn is_srat(machine: &MachineMemory<'_>) -> bool {
    machine.affinities.iter().next().is_some_and(|affinity| affinity.source.table == Table::Srat)
}

/// Every domain that has a CPU, an initiator or memory, as often as it is named, in the order that numbers nodes.
pub(super) fn named<'m>(machine: &'m MachineMemory<'_>) -> impl Iterator<Item = (u32, Source)> + 'm {
    let listed = machine.cpus.iter().filter_map(|cpu| cpu.domain.map(|domain| (domain, cpu.source)));
    let cpus = machine.cpu_affinities.iter().map(|affinity| (affinity.domain, affinity.source));
    let memory = machine.affinities.iter().map(|affinity| (affinity.domain, affinity.source));
    let initiators = machine.initiators.iter().map(|initiator| (initiator.domain, initiator.source));
    listed.chain(cpus).chain(initiators).chain(memory)
}
