//! Where facts go: counted in a first run, stored in borrowed memory in a second.

#![forbid(unsafe_code)]

use super::{Affinity, Bank, CpuAffinity, CpuEntry, Distance, Problem, Reservation, Source, Warning};
use core::fmt;

/// Where a front end puts what it reads.
pub trait MachineSink {
    /// A bank of address space.
    fn bank(&mut self, bank: Bank);
    /// A range that must not be handed out.
    fn reservation(&mut self, reservation: Reservation);
    /// A range that belongs to a domain.
    fn affinity(&mut self, affinity: Affinity);
    /// A CPU.
    fn cpu(&mut self, cpu: CpuEntry);
    /// The domain of a CPU.
    fn cpu_affinity(&mut self, affinity: CpuAffinity);
    /// A distance.
    fn distance(&mut self, distance: Distance);
    /// Something that was dropped or changed.
    fn warning(&mut self, warning: Warning);
}

/// The first run: how much of each there is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Count {
    /// Banks.
    pub banks: usize,
    /// Reservations.
    pub reservations: usize,
    /// Affinities.
    pub affinities: usize,
    /// CPUs.
    pub cpus: usize,
    /// CPU affinities.
    pub cpu_affinities: usize,
    /// Distances.
    pub distances: usize,
}

impl MachineSink for Count {
    fn bank(&mut self, _: Bank) {
        self.banks += 1;
    }

    fn reservation(&mut self, _: Reservation) {
        self.reservations += 1;
    }

    fn affinity(&mut self, _: Affinity) {
        self.affinities += 1;
    }

    fn cpu(&mut self, _: CpuEntry) {
        self.cpus += 1;
    }

    fn cpu_affinity(&mut self, _: CpuAffinity) {
        self.cpu_affinities += 1;
    }

    fn distance(&mut self, _: Distance) {
        self.distances += 1;
    }

    fn warning(&mut self, _: Warning) {}
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

    /// Appends; `false` when there is no room.
    #[must_use]
    pub fn push(&mut self, item: T) -> bool {
        match self.items.get_mut(self.length) {
            Some(slot) => {
                *slot = Some(item);
                self.length += 1;
                true
            }
            None => false,
        }
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
    /// Ranges that belong to domains.
    pub affinities: List<'a, Affinity>,
    /// CPUs, in the firmware's order; once a kernel knows which of them it runs on, that one first.
    pub cpus: List<'a, CpuEntry>,
    /// Domains of CPUs.
    pub cpu_affinities: List<'a, CpuAffinity>,
    /// Distances between domains.
    pub distances: List<'a, Distance>,
}

/// The second run: every fact goes into `machine`, every warning to `warn`.
pub struct Fill<'m, 'a, W: FnMut(Warning)> {
    /// Where facts go.
    pub machine: &'m mut MachineMemory<'a>,
    /// Where warnings go.
    pub warn: W,
}

impl<W: FnMut(Warning)> Fill<'_, '_, W> {
    fn full(&mut self, source: Source, what: &'static str, limit: usize) {
        (self.warn)(Warning { source, problem: Problem::TooMany { what, limit: limit as u64 } });
    }
}

impl<W: FnMut(Warning)> MachineSink for Fill<'_, '_, W> {
    fn bank(&mut self, bank: Bank) {
        if !self.machine.banks.push(bank) {
            self.full(bank.source, "banks", self.machine.banks.len());
        }
    }

    fn reservation(&mut self, reservation: Reservation) {
        if !self.machine.reservations.push(reservation) {
            self.full(reservation.source, "reservations", self.machine.reservations.len());
        }
    }

    fn affinity(&mut self, affinity: Affinity) {
        if !self.machine.affinities.push(affinity) {
            self.full(affinity.source, "affinities", self.machine.affinities.len());
        }
    }

    fn cpu(&mut self, cpu: CpuEntry) {
        if !self.machine.cpus.push(cpu) {
            self.full(cpu.source, "CPUs", self.machine.cpus.len());
        }
    }

    fn cpu_affinity(&mut self, affinity: CpuAffinity) {
        if !self.machine.cpu_affinities.push(affinity) {
            self.full(affinity.source, "CPU affinities", self.machine.cpu_affinities.len());
        }
    }

    fn distance(&mut self, distance: Distance) {
        if !self.machine.distances.push(distance) {
            self.full(distance.source, "distances", self.machine.distances.len());
        }
    }

    fn warning(&mut self, warning: Warning) {
        (self.warn)(warning);
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
        assert!([3, 1, 4, 1].into_iter().all(|number| list.push(number)));
        list.bring_first(|number| number == 4);
        assert!(list.iter().eq([4, 3, 1, 1]));
        list.bring_first(|number| number == 4);
        list.bring_first(|number| number == 5);
        assert!(list.iter().eq([4, 3, 1, 1]));
    }
}
