//! Counts at the start, and the same counts at the end.
//!
//! Everything is counted anew by walking all records, not by what the allocators count themselves; `verify` compares
//! the two. Empty slabs are given back before each count, so that what caches keep for later does not show.

#![forbid(unsafe_code)]

use super::failure::{Count, Found, Problem};
use super::ticket::Table;
use crate::Mm;
use crate::arch::Arch;
use crate::mm::Verified;
use crate::model::MemoryModel;
use crate::zone::ZoneIndex;
use core::sync::atomic::Ordering::Relaxed;

/// What there was at the start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before(Verified);

fn count<A: Arch, M: MemoryModel<A>>(mm: &Mm<A, M>) -> Result<Verified, Problem> {
    mm.slab.shrink();
    mm.verify().map_err(Problem::Verify)
}

const fn same(what: Count, before: u64, after: u64) -> Result<(), Problem> {
    if before == after { Ok(()) } else { Err(Problem::Lost { what, before, after }) }
}

impl Before {
    pub(super) fn count<A: Arch, M: MemoryModel<A>>(mm: &Mm<A, M>) -> Result<Self, Problem> {
        count(mm).map(Self)
    }

    /// What there is now, and how many frames of memmap were made; or what is lost.
    pub(super) fn compare<A: Arch, M: MemoryModel<A>>(&self, mm: &Mm<A, M>) -> Result<(Verified, u64), Problem> {
        let Self(before) = *self;
        let after = count(mm)?;
        let (old, new) = (before.pages, after.pages);
        for (what, before, after) in [
            (Count::Objects, before.slab.objects, after.slab.objects),
            (Count::Slabs, before.slab.slabs, after.slab.slabs),
            (Count::Slab, old.slab, new.slab),
            (Count::Allocated, old.allocated, new.allocated),
            (Count::Large, old.large, new.large),
            (Count::Reserved, old.reserved, new.reserved),
            (Count::Tables, old.tables, new.tables),
            (Count::Memmap, old.memmap + old.future_memmap, new.memmap + new.future_memmap),
            (Count::Free, old.free + old.untouched, new.free + new.untouched),
        ] {
            same(what, before, after)?;
        }
        // Memmap never goes back, so this cannot be negative unless it is damaged.
        let described = new.memmap.checked_sub(old.memmap);
        let lost = Problem::Lost { what: Count::Memmap, before: old.memmap, after: new.memmap };
        Ok((after, described.ok_or(lost)?))
    }
}

/// Writes down what each zone has free.
pub(super) fn note_zones<A: Arch, M: MemoryModel<A>>(mm: &Mm<A, M>, table: &Table) {
    for (zone, note) in (0..).map(ZoneIndex::new).zip(table.zones()) {
        note.store(mm.pages.counts(zone).free, Relaxed);
    }
}

/// Whether each zone has as much free as then.
pub(super) fn compare_zones<A: Arch, M: MemoryModel<A>>(mm: &Mm<A, M>, table: &Table) -> Result<(), Found> {
    mm.slab.shrink();
    for (zone, note) in (0..).map(ZoneIndex::new).zip(table.zones()) {
        let (before, after) = (note.load(Relaxed), mm.pages.counts(zone).free);
        same(Count::FreeOfZone(zone), before, after).map_err(|problem| problem.at(0))?;
    }
    Ok(())
}
