//! Mapping and unmapping in the kernel's tables, a lock at a time.
//!
//! The tables' lock is held for one table's worth of pages at most, so that others get between, and never while CPUs
//! are waited for. Pages are mapped as pages, so that nothing is ever split; a device in the largest leaves that fit, and
//! then it is unmapped as one.

#![forbid(unsafe_code)]

use super::{Vmalloc, VmallocError};
use crate::addr::{Pfn, PfnRange, PhysRange, VirtAddr};
use crate::arch::{Arch, PageFormat, PhysMap};
use crate::layout::VirtRange;
use crate::model::{MemoryModel, PageState};
use crate::page_alloc::{PageInfo, TableFrames};
use crate::paging::{Entry, MapError, Mapping, PageTables, RawMapping};

/// Pages that are mapped or unmapped with the lock held once.
pub(super) const BATCH_PAGES: u64 = 512;

/// Where mapping stopped: what it should have mapped before is mapped, and nothing else.
pub(super) const fn stopped_at(error: &MapError) -> VirtAddr {
    match *error {
        MapError::Misaligned { at, .. }
        | MapError::OutsideTables { at, .. }
        | MapError::AlreadyMapped { at }
        | MapError::OutOfFrames { at } => at,
    }
}

/// A leaf, or the part of it that lies in a range.
#[derive(Clone, Copy)]
pub(super) struct Present {
    pub(super) at: VirtAddr,
    pub(super) mapping: RawMapping,
    /// The first address behind the leaf.
    pub(super) end: VirtAddr,
}

/// The first leaf that maps something of `range`. Steps over what is absent by as much as its entry spans.
pub(super) fn first_present<A: PhysMap + PageFormat>(tables: &PageTables<A>, range: VirtRange) -> Option<Present> {
    let mut at = range.start();
    while at < range.end() {
        let walk = tables.walk(at);
        let step = walk.steps().last()?;
        let span = step.level.span::<A>();
        let end = at.align_down(span).saturating_add(span);
        match step.entry {
            Entry::Absent => at = end,
            Entry::Leaf { mapping, .. } => return Some(Present { at, mapping, end }),
            Entry::Table(_) => return None,
        }
    }
    None
}

impl<A: Arch, M: MemoryModel<A>> Vmalloc<A, M> {
    /// Maps `frames` in their order from `at` on, neighbours together.
    pub(super) fn map_frames(&self, mut at: VirtAddr, frames: impl Iterator<Item = Pfn>) -> Result<(), MapError> {
        let mut run = PfnRange::EMPTY;
        for pfn in frames {
            if run.end() != pfn || run.count() >= BATCH_PAGES {
                at = self.map_run(at, run)?;
                run = PfnRange::new(pfn, pfn);
            }
            run = PfnRange::new(run.start(), pfn.saturating_add(1));
        }
        self.map_run(at, run).map(|_| ())
    }

    /// Maps a run at `at`, and says where the next one goes.
    fn map_run(&self, at: VirtAddr, run: PfnRange) -> Result<VirtAddr, MapError> {
        let range = run.bytes(A::PAGE_SHIFT);
        let mut tables = self.pages.tables().lock(self.access());
        tables.map_pages_only(at, range, Mapping::DATA, &mut TableFrames(self.pages))?;
        Ok(at.saturating_add(range.size()))
    }

    /// Whether somebody holds these frames, and the direct map, if it has them, lets them be written.
    pub(super) fn check_frames(&self, frames: &[Pfn]) -> Result<(), VmallocError> {
        let wanted = Mapping::DATA.raw();
        for batch in frames.chunks(BATCH_PAGES as usize) {
            let tables = self.pages.tables().lock(self.access());
            for &pfn in batch {
                match self.pages.page_info(pfn) {
                    PageInfo::Block { state, .. } if state != PageState::Free => {}
                    _ => return Err(VmallocError::NotHeld(pfn)),
                }
                let at = pfn.address(A::PAGE_SHIFT);
                let found = self.layout.phys_to_virt(at).and_then(|virt| tables.translate(virt));
                if let Some(held) = found.map(|found| found.mapping).filter(|&held| held != wanted) {
                    return Err(VmallocError::DirectMap { at, held, wanted });
                }
            }
        }
        Ok(())
    }

    /// Whether the direct map has nothing of `physical`, or all that it has of it as `wanted`.
    pub(super) fn check_direct_map(&self, physical: PhysRange, wanted: RawMapping) -> Result<(), VmallocError> {
        let reach = physical.intersection(self.layout.direct_limit());
        let Some(mut rest) = self.layout.direct_range(reach) else { return Ok(()) };
        let tables = self.pages.tables().lock(self.access());
        while let Some(found) = first_present(&tables, rest) {
            if found.mapping != wanted {
                let at = self.layout.virt_to_phys(found.at).unwrap_or(physical.start());
                return Err(VmallocError::DirectMap { at, held: found.mapping, wanted });
            }
            rest = VirtRange::new(found.end, rest.end());
        }
        Ok(())
    }
}
