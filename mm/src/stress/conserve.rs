//! Counts at the start, and the same counts at the end.
//!
//! Everything is counted anew by walking all records, not by what the allocators count themselves; `verify` compares
//! the two. Empty slabs are given back before each count, so that what caches keep for later does not show. Page tables
//! and the records of kernel virtual ranges stay once they are made: what they have taken must be missing from what is
//! free in their zone, and nothing else may be.

#![forbid(unsafe_code)]

use super::failure::{Count, Found, Problem};
use super::ticket::Table;
use crate::Mm;
use crate::arch::Arch;
use crate::mm::Verified;
use crate::model::{MemoryModel, PageState};
use crate::page_alloc::PageCounts;
use crate::zone::ZoneIndex;
use core::convert::Infallible;
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
    pub(super) fn compare<A: Arch, M: MemoryModel<A>>(&self, mm: &Mm<A, M>) -> Result<Grown, Problem> {
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
            (Count::Areas, before.vmalloc.areas, after.vmalloc.areas),
            (Count::AreaPages, before.vmalloc.pages, after.vmalloc.pages),
            (Count::Memmap, old.memmap + old.future_memmap, new.memmap + new.future_memmap),
            (Count::Free, usable(old), usable(new)),
        ] {
            same(what, before, after)?;
        }
        let grown = |what, before: u64, after: u64| {
            // None of these ever goes back.
            after.checked_sub(before).ok_or(Problem::Lost { what, before, after })
        };
        let described = grown(Count::Memmap, old.memmap, new.memmap)?;
        let kept = grown(Count::Free, old.tables + old.vmalloc, new.tables + new.vmalloc)?;
        Ok(Grown { verified: after, described, kept })
    }
}

/// What there is at the end, and what may be more than at the start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grown {
    pub(super) verified: Verified,
    /// Frames of memmap that were made.
    pub(super) described: u64,
    /// Frames of page tables and of records of kernel virtual ranges, which both stay once they are made.
    pub(super) kept: u64,
}

/// Frames that are free, and those that can take their place.
const fn usable(counts: PageCounts) -> u64 {
    counts.free + counts.untouched + counts.tables + counts.vmalloc
}

/// The same of each zone; `each` is called with its number among them.
fn for_each_zone<A: Arch, M: MemoryModel<A>>(mm: &Mm<A, M>, mut each: impl FnMut(usize, u64)) {
    for (number, zone) in (0..mm.pages.zones().spans().len()).zip((0..).map(ZoneIndex::new)) {
        each(number, mm.pages.counts(zone).free);
    }
    let walked = mm.pages.try_for_each_block::<Infallible>(&mut |_, page| {
        let head = page.head();
        if matches!(head.state(), PageState::Table | PageState::Vmalloc) {
            each(head.zone().index(), head.order().frames());
        }
        Ok(())
    });
    let Ok(()) = walked;
}

/// Writes down what each zone has.
pub(super) fn note_zones<A: Arch, M: MemoryModel<A>>(mm: &Mm<A, M>, table: &Table) {
    for_each_zone(mm, |zone, frames| {
        if let Some(note) = table.zones().get(zone) {
            note.fetch_add(frames, Relaxed);
        }
    });
}

/// Whether each zone has as much as then.
pub(super) fn compare_zones<A: Arch, M: MemoryModel<A>>(mm: &Mm<A, M>, table: &Table) -> Result<(), Found> {
    mm.slab.shrink();
    // What is missing from the notes afterwards is lost.
    for_each_zone(mm, |zone, frames| {
        if let Some(note) = table.zones().get(zone) {
            note.fetch_sub(frames, Relaxed);
        }
    });
    for (zone, note) in (0..).map(ZoneIndex::new).zip(table.zones()) {
        let missing = note.load(Relaxed);
        if missing != 0 {
            let after = mm.pages.counts(zone).free;
            let before = after.wrapping_add(missing);
            return Err(Problem::Lost { what: Count::FreeOfZone(zone), before, after }.at(0));
        }
    }
    Ok(())
}
