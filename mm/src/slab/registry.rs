//! From a cache's number to its descriptor, and how descriptors are made.
//!
//! The first [`INLINE`] caches are found in a table inside the [`Slab`](super::Slab); later ones in tables that double,
//! each made when the first cache that needs it is created. Numbers are handed out in order and never reused, an entry
//! is written once, so looking up takes no lock and a cache costs nothing to find. Numbers, not pointers, stand in a
//! slab's record: 4 bytes, and a number that nobody handed out is an error, not a wild pointer.
//!
//! Linux: `kmem_cache_create`, `slab_caches`, `create_boot_cache`, `bootstrap`.

use super::cache::Cache;
use core::ptr::{self, NonNull};
use core::sync::atomic::{
    AtomicPtr, AtomicU32,
    Ordering::{Acquire, Release},
};

/// Caches in the first table.
pub(super) const INLINE: u32 = 64;
/// Further tables: table `n` holds twice as many as all before it, so these reach 2^31 caches.
const TABLES: usize = 25;

type Slot = AtomicPtr<Cache>;

/// The table of all caches.
pub(super) struct Registry {
    inside: [Slot; INLINE as usize],
    outside: [AtomicPtr<Slot>; TABLES],
    count: AtomicU32,
}

/// Where a number's slot is.
enum Place {
    Inside(usize),
    Outside { table: usize, slot: usize },
}

const fn place(number: u32) -> Place {
    if number < INLINE {
        return Place::Inside(number as usize);
    }
    let table = number.ilog2() - INLINE.ilog2();
    Place::Outside { table: table as usize, slot: (number - (INLINE << table)) as usize }
}

impl Registry {
    pub(super) const fn new() -> Self {
        Self {
            inside: [const { AtomicPtr::new(ptr::null_mut()) }; INLINE as usize],
            outside: [const { AtomicPtr::new(ptr::null_mut()) }; TABLES],
            count: AtomicU32::new(0),
        }
    }

    /// How many caches there are.
    pub(super) fn count(&self) -> u32 {
        self.count.load(Acquire)
    }

    fn slot(&self, number: u32) -> Option<&Slot> {
        match place(number) {
            Place::Inside(at) => self.inside.get(at),
            Place::Outside { table, slot } => {
                let slots = NonNull::new(self.outside.get(table)?.load(Acquire))?;
                // SAFETY: `set_table` says that the table holds as many null slots as numbers fall into it, for good.
                Some(unsafe { slots.add(slot).as_ref() })
            }
        }
    }

    /// The cache with this number.
    pub(super) fn get(&self, number: u32) -> Option<&Cache> {
        let cache = NonNull::new(self.slot(number)?.load(Acquire))?;
        // SAFETY: `add` says that the descriptor is there for good.
        Some(unsafe { cache.as_ref() })
    }

    /// Bytes of the table that the next number needs and that is not there yet.
    pub(super) fn missing_table(&self) -> Option<usize> {
        match place(self.count()) {
            Place::Outside { table, .. } if self.outside.get(table)?.load(Acquire).is_null() => {
                Some((INLINE as usize * size_of::<Slot>()) << table)
            }
            _ => None,
        }
    }

    /// Provides the table that [`Registry::missing_table`] asked for.
    ///
    /// # Safety
    /// `memory` is aligned for pointers, as large as was asked for, zeroed, and given away for good. Calls do not meet
    /// each other or [`Registry::add`].
    pub(super) unsafe fn set_table(&self, memory: NonNull<u8>) {
        if let Place::Outside { table, .. } = place(self.count())
            && let Some(slot) = self.outside.get(table)
        {
            slot.store(memory.as_ptr().cast(), Release);
        }
    }

    /// Adds the next cache, whose descriptor carries [`Registry::count`] as its number. `false` without room for it.
    ///
    /// # Safety
    /// `cache` leads to a descriptor that stays there for good and is only shared from now on. Calls do not meet each
    /// other.
    #[must_use]
    pub(super) unsafe fn add(&self, cache: NonNull<Cache>) -> bool {
        let number = self.count();
        let Some(slot) = self.slot(number) else { return false };
        slot.store(cache.as_ptr(), Release);
        self.count.store(number + 1, Release);
        true
    }

    /// All caches, in the order in which they were made.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Cache> {
        (0..self.count()).filter_map(|number| self.get(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fall_into_tables_without_gaps() {
        let mut expected = (0, 0);
        for number in INLINE..INLINE * 40 {
            let Place::Outside { table, slot } = place(number) else { panic!("{number} is inside") };
            assert_eq!((table, slot), expected, "number {number}");
            expected = if slot + 1 == (INLINE as usize) << table { (table + 1, 0) } else { (table, slot + 1) };
        }
        assert!(matches!(place(INLINE - 1), Place::Inside(63)));
    }
}
