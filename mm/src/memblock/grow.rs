//! Room for more regions: an array that is full doubles into free memory that memblock itself finds.
//!
//! It does so in the middle of a change, so two things are kept apart: a new array never lies in the range that is
//! being changed (the caller's [`Conflict`] says so), and booking the array must not need room that is not there (the
//! spare entries). A change states how many entries it adds at most; growth books memory, so that plan is made anew
//! after each step. Copying costs O(n) each time, which is O(1) a region on the whole. Linux: `memblock_double_array`.

#![forbid(unsafe_code)]

use super::region::{Entry, HELD, Traits};
use super::{Conflict, Event, Memblock, MemblockError, OWN_TABLES, SPARE, Which};
use crate::arch::PhysMap;
use crate::machine::Owner;
use core::panic::Location;

impl<A: PhysMap> Memblock<A> {
    /// The number of `owner`'s name.
    pub(super) fn intern(&mut self, owner: Owner, conflict: Conflict<'_>) -> Result<u16, MemblockError> {
        let known = self.owners.items().iter().position(|known| *known == owner);
        let at = known.unwrap_or(self.owners.len());
        let number = u16::try_from(at).map_err(|_| MemblockError::Full { table: Which::Owners, capacity: at })?;
        if known.is_none() {
            self.make_room(Which::Owners, &|_| 1, conflict)?;
            self.owners.insert(at, owner);
        }
        Ok(number)
    }

    pub(super) fn has_spare_entry(&self) -> bool {
        self.reserved.len() < self.reserved.capacity()
    }

    fn capacity(&self, which: Which) -> usize {
        match which {
            Which::Memory => self.memory.capacity(),
            Which::Reserved => self.reserved.capacity(),
            Which::Owners => self.owners.capacity(),
        }
    }

    fn unused(&self, which: Which) -> usize {
        match which {
            Which::Memory => self.memory.capacity() - self.memory.len(),
            Which::Reserved => (self.reserved.capacity() - self.reserved.len()).saturating_sub(SPARE),
            Which::Owners => self.owners.capacity() - self.owners.len(),
        }
    }

    /// Lets an array grow until it has as much room as `plan` asks for, besides the spare entries. The plan is made
    /// anew after each step, because growth books memory.
    pub(super) fn make_room(
        &mut self,
        which: Which,
        plan: &dyn Fn(&Self) -> usize,
        conflict: Conflict<'_>,
    ) -> Result<(), MemblockError> {
        while self.unused(which) < plan(self) {
            // The spare entries pay for booking, so they must be there.
            if which != Which::Reserved && self.reserved.capacity() - self.reserved.len() < SPARE {
                self.grow(Which::Reserved, conflict)?;
            }
            self.grow(which, conflict)?;
        }
        Ok(())
    }

    /// Doubles an array.
    #[track_caller]
    fn grow(&mut self, which: Which, conflict: Conflict<'_>) -> Result<(), MemblockError> {
        let (new, old) = match which {
            Which::Memory => {
                let larger = self.place_table(self.memory.capacity() * 2, Entry::UNUSED, conflict);
                let larger = larger.map_err(|_| self.full(which))?;
                (larger.range(), self.memory.move_to(larger))
            }
            Which::Reserved => {
                let larger = self.place_table(self.reserved.capacity() * 2, Entry::UNUSED, conflict);
                let larger = larger.map_err(|_| self.full(which))?;
                (larger.range(), self.reserved.move_to(larger))
            }
            Which::Owners => {
                let larger = self.place_table(self.owners.capacity() * 2, Owner::default(), conflict);
                let larger = larger.map_err(|_| self.full(which))?;
                (larger.range(), self.owners.move_to(larger))
            }
        };
        let caller = Location::caller();
        self.tell(new, Event::Doubled { table: which, capacity: self.capacity(which), range: new });
        self.tell(new, Event::Reserve { range: new, caller });
        self.reserved.cover(new, Traits::owned(OWN_TABLES, HELD));
        if let Some(old) = old {
            self.tell(old, Event::Free { range: old, caller });
            self.reserved.uncover(old);
        }
        Ok(())
    }

    fn full(&self, table: Which) -> MemblockError {
        let spare = if table == Which::Reserved { SPARE } else { 0 };
        let capacity = self.capacity(table) - spare;
        MemblockError::Full { table, capacity }
    }
}
