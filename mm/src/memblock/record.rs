//! What stays of memblock when the page allocator has taken memory over.
//!
//! Nothing changes any more: `memblock`, `iomem` and `why` read it. Linux keeps the arrays with
//! `CONFIG_ARCH_KEEP_MEMBLOCK`.

#![forbid(unsafe_code)]

use super::INLINE_OWNERS;
use super::INLINE_REGIONS;
use super::region::{Entry, Regions};
use super::table::Table;
use crate::machine::Owner;
use core::fmt;

/// Memory and reservations as they were at hand-over.
pub struct Record<A> {
    memory: Table<A, Entry, INLINE_REGIONS>,
    reserved: Table<A, Entry, INLINE_REGIONS>,
    owners: Table<A, Owner, INLINE_OWNERS>,
}

impl<A> Record<A> {
    pub(super) fn new(
        memory: Table<A, Entry, INLINE_REGIONS>,
        reserved: Table<A, Entry, INLINE_REGIONS>,
        owners: Table<A, Owner, INLINE_OWNERS>,
    ) -> Self {
        Self { memory, reserved, owners }
    }

    /// The memory regions.
    #[must_use]
    pub fn memory(&self) -> Regions<'_> {
        Regions::new(self.memory.items(), self.owners.items())
    }

    /// The reserved regions.
    #[must_use]
    pub fn reserved(&self) -> Regions<'_> {
        Regions::new(self.reserved.items(), self.owners.items())
    }
}

impl<A> fmt::Debug for Record<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("memory", &self.memory()).field("reserved", &self.reserved()).finish()
    }
}
