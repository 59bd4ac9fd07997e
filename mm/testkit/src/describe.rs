//! What firmware would say of a machine: a [`MachineMemory`] and the storage behind it.

use crate::machine::Machine;
use mm::machine::{
    Affinity, Bank, CpuAffinity, CpuEntry, Distance, DmaLimit, Initiator, List, MachineMemory, MemoryKind, Persistence,
    Plug, RegionFlags, Reservation, Source, StartMethod, Table, Usable, Wish,
};

/// The facts of a machine, to be changed as a test likes, then lent.
#[derive(Clone, Default, Debug)]
pub struct Description {
    /// Banks of address space.
    pub banks: Vec<Bank>,
    /// Reservations; none at first.
    pub reservations: Vec<Reservation>,
    /// Affinities of memory; none on a machine of one domain.
    pub affinities: Vec<Affinity>,
    /// CPUs.
    pub cpus: Vec<CpuEntry>,
    /// Affinities of CPUs from a second table; none at first.
    pub cpu_affinities: Vec<CpuAffinity>,
    /// Domains by their initiators; none at first.
    pub initiators: Vec<Initiator>,
    /// Distances; none on a machine of one domain, else 10 and 20.
    pub distances: Vec<Distance>,
    /// Memory that must be kept somewhere; none at first.
    pub wishes: Vec<Wish>,
    /// What may be used at all; nothing at first, which means everything.
    pub usable: Vec<Usable>,
    /// What every device reaches; not stated at first.
    pub dma_limit: Option<DmaLimit>,
    /// Which contiguous pool serves every device; not stated at first.
    pub default_pool: Option<Source>,
    storage: Storage,
}

#[derive(Clone, Default, Debug)]
struct Storage {
    banks: Vec<Option<Bank>>,
    reservations: Vec<Option<Reservation>>,
    affinities: Vec<Option<Affinity>>,
    cpus: Vec<Option<CpuEntry>>,
    cpu_affinities: Vec<Option<CpuAffinity>>,
    initiators: Vec<Option<Initiator>>,
    distances: Vec<Option<Distance>>,
    wishes: Vec<Option<Wish>>,
    usable: Vec<Option<Usable>>,
}

impl Description {
    /// The facts in the form that `mm` takes.
    pub fn lend(&mut self) -> MachineMemory<'_> {
        MachineMemory {
            banks: fill(&mut self.storage.banks, &self.banks),
            reservations: fill(&mut self.storage.reservations, &self.reservations),
            affinities: fill(&mut self.storage.affinities, &self.affinities),
            cpus: fill(&mut self.storage.cpus, &self.cpus),
            cpu_affinities: fill(&mut self.storage.cpu_affinities, &self.cpu_affinities),
            initiators: fill(&mut self.storage.initiators, &self.initiators),
            distances: fill(&mut self.storage.distances, &self.distances),
            wishes: fill(&mut self.storage.wishes, &self.wishes),
            usable: fill(&mut self.storage.usable, &self.usable),
            dma_limit: self.dma_limit,
            default_pool: self.default_pool,
        }
    }
}

fn fill<'a, T: Copy>(storage: &'a mut Vec<Option<T>>, facts: &[T]) -> List<'a, T> {
    storage.clear();
    storage.resize(facts.len(), None);
    let mut list = List::new(storage);
    for &fact in facts {
        assert!(list.try_push(fact).is_ok(), "the storage was made for all facts");
    }
    list
}

impl<const SHIFT: u32> Machine<SHIFT> {
    /// What firmware would say: a usable bank for each range of RAM; where there is more than one domain, its
    /// affinity and distances of 10 and 20; the CPUs, dealt out to the domains in turn.
    #[must_use]
    pub fn describe(&self) -> Description {
        let mut domains: Vec<u32> = self.ram().map(|(_, domain)| domain).collect();
        domains.sort_unstable();
        domains.dedup();
        let mut description = Description::default();
        for (entry, (range, domain)) in (0..).zip(self.ram()) {
            let source = Source::entry(Table::MemoryNode, entry);
            description.banks.push(Bank { range, kind: MemoryKind::Usable, flags: RegionFlags::empty(), source });
            if domains.len() > 1 {
                description.affinities.push(Affinity {
                    range,
                    domain,
                    plug: Plug::Fixed,
                    persistence: Persistence::default(),
                    source,
                });
            }
        }
        for (entry, &domain) in (0..self.cpus.len() as u32).zip(domains.iter().cycle()) {
            let source = Source::entry(Table::CpuNode, entry);
            let domain = (domains.len() > 1).then_some(domain);
            description.cpus.push(CpuEntry {
                hardware_id: u64::from(entry),
                domain,
                start: StartMethod::Unstated,
                source,
            });
        }
        if domains.len() > 1 {
            let source = Source::whole(Table::DistanceMap);
            for &from in &domains {
                for &to in &domains {
                    let value = if from == to { 10 } else { 20 };
                    description.distances.push(Distance { from, to, value, source });
                }
            }
        }
        description
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_domains_are_described() {
        let machine = Machine::<12>::builder().ram(0, 0xa0000, 0).ram(0x10_0000, 0x1000, 3).cpus(3).finish();
        let mut description = machine.describe();
        let memory = description.lend();
        assert_eq!(memory.banks.len(), 2);
        assert_eq!(memory.affinities.iter().map(|affinity| affinity.domain).collect::<Vec<_>>(), [0, 3]);
        assert_eq!(memory.cpus.iter().map(|cpu| cpu.domain).collect::<Vec<_>>(), [Some(0), Some(3), Some(0)]);
        assert_eq!(memory.distances.len(), 4);
    }

    #[test]
    fn one_domain_says_nothing_of_nodes() {
        let machine = Machine::<16>::builder().ram(0, 0x10_0000, 0).finish();
        let mut description = machine.describe();
        let memory = description.lend();
        assert!(memory.affinities.is_empty() && memory.distances.is_empty());
        assert_eq!(memory.cpus.iter().next().unwrap().domain, None);
    }
}
