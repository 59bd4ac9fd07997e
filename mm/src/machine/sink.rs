//! Where facts go: counted in a first run, stored in borrowed memory in a second.

#![forbid(unsafe_code)]

use super::{
    Affinity, Bank, CpuAffinity, CpuEntry, Distance, DmaLimit, Initiator, Problem, Reservation, Source, Usable,
    Warning, Wish,
};
use core::fmt;

/// One fact, or a warning about one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fact {
    /// A bank of address space.
    Bank(Bank),
    /// A range that must not be handed out.
    Reservation(Reservation),
    /// Memory that must be kept somewhere.
    Wish(Wish),
    /// A range that belongs to a domain.
    Affinity(Affinity),
    /// A CPU.
    Cpu(CpuEntry),
    /// The domain of a CPU.
    CpuAffinity(CpuAffinity),
    /// A domain that has neither memory nor CPUs, perhaps.
    Initiator(Initiator),
    /// A distance.
    Distance(Distance),
    /// What may be used at all.
    Usable(Usable),
    /// What every device reaches.
    DmaLimit(DmaLimit),
    /// The pool of this source serves every device that has none of its own (`linux,cma-default`).
    DefaultPool(Source),
    /// Something that was dropped or changed.
    Warning(Warning),
}

/// Where a front end puts what it reads.
pub trait MachineSink {
    /// Takes a fact.
    fn fact(&mut self, fact: Fact);

    /// Takes a bank of address space.
    fn bank(&mut self, bank: Bank) {
        self.fact(Fact::Bank(bank));
    }

    /// Takes a range that must not be handed out.
    fn reservation(&mut self, reservation: Reservation) {
        self.fact(Fact::Reservation(reservation));
    }

    /// Takes a range that belongs to a domain.
    fn affinity(&mut self, affinity: Affinity) {
        self.fact(Fact::Affinity(affinity));
    }

    /// Takes a CPU.
    fn cpu(&mut self, cpu: CpuEntry) {
        self.fact(Fact::Cpu(cpu));
    }

    /// Takes the domain of a CPU.
    fn cpu_affinity(&mut self, affinity: CpuAffinity) {
        self.fact(Fact::CpuAffinity(affinity));
    }

    /// Takes a distance.
    fn distance(&mut self, distance: Distance) {
        self.fact(Fact::Distance(distance));
    }

    /// Takes a warning.
    fn warning(&mut self, warning: Warning) {
        self.fact(Fact::Warning(warning));
    }
}

/// The first run: how much of each there is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Count {
    /// Banks.
    pub banks: usize,
    /// Reservations.
    pub reservations: usize,
    /// Wishes.
    pub wishes: usize,
    /// Affinities.
    pub affinities: usize,
    /// CPUs.
    pub cpus: usize,
    /// CPU affinities.
    pub cpu_affinities: usize,
    /// Initiators.
    pub initiators: usize,
    /// Distances.
    pub distances: usize,
    /// Usable ranges.
    pub usable: usize,
}

impl MachineSink for Count {
    fn fact(&mut self, fact: Fact) {
        let count = match fact {
            Fact::Bank(_) => &mut self.banks,
            Fact::Reservation(_) => &mut self.reservations,
            Fact::Wish(_) => &mut self.wishes,
            Fact::Affinity(_) => &mut self.affinities,
            Fact::Cpu(_) => &mut self.cpus,
            Fact::CpuAffinity(_) => &mut self.cpu_affinities,
            Fact::Initiator(_) => &mut self.initiators,
            Fact::Distance(_) => &mut self.distances,
            Fact::Usable(_) => &mut self.usable,
            Fact::DmaLimit(_) | Fact::DefaultPool(_) | Fact::Warning(_) => return,
        };
        *count += 1;
    }
}

/// A list in borrowed storage. What does not fit is counted, not lost silently.
#[derive(Debug)]
pub struct List<'a, T> {
    items: &'a mut [Option<T>],
    length: usize,
}

impl<T> Default for List<'_, T> {
    fn default() -> Self {
        Self { items: &mut [], length: 0 }
    }
}

impl<'a, T: Copy> List<'a, T> {
    /// An empty list that holds at most as many as `storage`.
    pub fn new(storage: &'a mut [Option<T>]) -> Self {
        Self { items: storage, length: 0 }
    }

    /// Appends.
    ///
    /// # Errors
    /// The number of items, when there is room for no more.
    pub fn try_push(&mut self, item: T) -> Result<(), usize> {
        let slot = self.items.get_mut(self.length).ok_or(self.length)?;
        *slot = Some(item);
        self.length += 1;
        Ok(())
    }

    /// The items, in the order in which they came.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = T> + '_ {
        self.items.iter().take(self.length).filter_map(|slot| *slot)
    }

    /// Moves the first item that is `wanted` before all others, which keep their order.
    pub fn bring_first(&mut self, mut wanted: impl FnMut(T) -> bool) {
        let found = self.iter().position(&mut wanted);
        if let Some(items) = found.and_then(|at| self.items.get_mut(..=at)) {
            items.rotate_right(1);
        }
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

/// What the firmware says of the machine's memory, in borrowed storage.
#[derive(Default, Debug)]
pub struct MachineMemory<'a> {
    /// Banks of address space, in the firmware's order.
    pub banks: List<'a, Bank>,
    /// Ranges that must not be handed out.
    pub reservations: List<'a, Reservation>,
    /// Memory that must be kept somewhere.
    pub wishes: List<'a, Wish>,
    /// Ranges that belong to domains.
    pub affinities: List<'a, Affinity>,
    /// CPUs, in the firmware's order; once a kernel knows which of them it runs on, that one first.
    pub cpus: List<'a, CpuEntry>,
    /// Domains of CPUs.
    pub cpu_affinities: List<'a, CpuAffinity>,
    /// Domains by their initiators.
    pub initiators: List<'a, Initiator>,
    /// Distances between domains.
    pub distances: List<'a, Distance>,
    /// What may be used at all; nothing here: everything.
    pub usable: List<'a, Usable>,
    /// What every device reaches: the least that was stated.
    pub dma_limit: Option<DmaLimit>,
    /// Which of the contiguous pools, by its source, serves every device that has none of its own: the last stated.
    pub default_pool: Option<Source>,
}

/// The second run: every fact goes into `machine`, every warning to `warn`.
pub struct Fill<'m, 'a, W: FnMut(Warning)> {
    /// Where facts go.
    pub machine: &'m mut MachineMemory<'a>,
    /// Where warnings go.
    pub warn: W,
}

impl<W: FnMut(Warning)> MachineSink for Fill<'_, '_, W> {
    fn fact(&mut self, fact: Fact) {
        let machine = &mut *self.machine;
        let (source, what, full) = match fact {
            Fact::Bank(bank) => (bank.source, "banks", machine.banks.try_push(bank)),
            Fact::Reservation(held) => (held.source, "reservations", machine.reservations.try_push(held)),
            Fact::Wish(wish) => (wish.source, "wishes", machine.wishes.try_push(wish)),
            Fact::Affinity(affinity) => (affinity.source, "affinities", machine.affinities.try_push(affinity)),
            Fact::Cpu(cpu) => (cpu.source, "CPUs", machine.cpus.try_push(cpu)),
            Fact::CpuAffinity(cpu) => (cpu.source, "CPU affinities", machine.cpu_affinities.try_push(cpu)),
            Fact::Initiator(device) => (device.source, "initiators", machine.initiators.try_push(device)),
            Fact::Distance(distance) => (distance.source, "distances", machine.distances.try_push(distance)),
            Fact::Usable(usable) => (usable.source, "usable ranges", machine.usable.try_push(usable)),
            Fact::DmaLimit(limit) => {
                if machine.dma_limit.is_none_or(|least| limit.end < least.end) {
                    machine.dma_limit = Some(limit);
                }
                return;
            }
            Fact::DefaultPool(source) => {
                machine.default_pool = Some(source);
                return;
            }
            Fact::Warning(warning) => return (self.warn)(warning),
        };
        if let Err(limit) = full {
            (self.warn)(Warning { source, problem: Problem::TooMany { what, limit: limit as u64 } });
        }
    }
}

impl<W: FnMut(Warning)> fmt::Debug for Fill<'_, '_, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fill").field("machine", &self.machine).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_item_is_brought_first_and_the_others_keep_their_order() {
        let mut storage = [None; 5];
        let mut list = List::new(&mut storage);
        assert!([3, 1, 4, 1].into_iter().all(|number| list.try_push(number).is_ok()));
        list.bring_first(|number| number == 4);
        assert!(list.iter().eq([4, 3, 1, 1]));
        list.bring_first(|number| number == 4);
        list.bring_first(|number| number == 5);
        assert!(list.iter().eq([4, 3, 1, 1]));
    }
}
