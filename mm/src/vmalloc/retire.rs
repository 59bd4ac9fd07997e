//! The way back of an area, in an order that the types force.
//!
//! 1. [`Vmalloc::retire`] marks the area and takes its leaves out of the tables. CPUs may still remember them, so a
//!    write through an old translation could still arrive: the frames must not be another's yet, nor the addresses.
//! 2. [`Unmapped::flush`] makes every CPU forget, and waits, with no lock held.
//! 3. [`Forgotten::give_back`], which only the second step's result has, returns frames, addresses and record.
//!
//! Linux: `vfree`, `remove_vm_area`, `__purge_vmap_area_lazy`; there the order is a matter of care.

use super::area::{AreaKind, AreaState};
use super::record::Ref;
use super::tree::Store;
use super::{State, VfreeError, Vmalloc, device};
use crate::addr::VirtAddr;
use crate::arch::Arch;
use crate::layout::VirtRange;
use crate::model::{MemoryModel, Vmemmap};
use crate::paging::{ChangeError, Flushed, NoFrames, Stale};
use core::fmt;

/// An area that the tables no longer have and that CPUs may still reach. Dropped, it is lost: nobody gets its memory.
///
/// ```
/// # use mm::vmalloc::{Vmalloc, VmallocOptions, VfreeError};
/// # fn f<A: mm::arch::Arch>(vmalloc: &Vmalloc<A>, address: mm::addr::VirtAddr) -> Result<(), VfreeError> {
/// // SAFETY: nobody uses the area any more.
/// unsafe { vmalloc.retire(address) }?.flush().give_back()
/// # }
/// ```
///
/// Memory that CPUs may still reach cannot be given back:
/// ```compile_fail,E0599
/// # use mm::vmalloc::{Vmalloc, VmallocOptions, VfreeError};
/// # fn f<A: mm::arch::Arch>(vmalloc: &Vmalloc<A>, address: mm::addr::VirtAddr) -> Result<(), VfreeError> {
/// // SAFETY: nobody uses the area any more.
/// unsafe { vmalloc.retire(address) }?.give_back()
/// # }
/// ```
///
/// Nor can it be given back twice:
/// ```compile_fail,E0382
/// # use mm::vmalloc::{Vmalloc, VmallocOptions, VfreeError};
/// # fn f<A: mm::arch::Arch>(vmalloc: &Vmalloc<A>, address: mm::addr::VirtAddr) -> Result<(), VfreeError> {
/// // SAFETY: nobody uses the area any more.
/// let forgotten = unsafe { vmalloc.retire(address) }?.flush();
/// forgotten.give_back()?;
/// forgotten.give_back()
/// # }
/// ```
#[must_use = "until every CPU has forgotten the area, nobody can have its memory"]
pub struct Unmapped<'v, A, M = Vmemmap<A>> {
    vmalloc: &'v Vmalloc<A, M>,
    area: Ref,
    stale: Stale,
}

/// An area that no CPU can reach any more. Dropped, it is lost: nobody gets its memory.
#[must_use = "its memory is not free until it is given back"]
pub struct Forgotten<'v, A, M = Vmemmap<A>> {
    vmalloc: &'v Vmalloc<A, M>,
    area: Ref,
    proof: Flushed,
}

impl<'v, A: Arch, M: MemoryModel<A>> Unmapped<'v, A, M> {
    /// `stale` is what CPUs may still remember of `area`.
    pub(super) const fn new(vmalloc: &'v Vmalloc<A, M>, area: Ref, stale: Stale) -> Self {
        Self { vmalloc, area, stale }
    }

    /// Makes every CPU forget it, and waits until it has.
    pub fn flush(self) -> Forgotten<'v, A, M> {
        let Self { vmalloc, area, stale } = self;
        Forgotten { vmalloc, area, proof: stale.flush(vmalloc.access()) }
    }
}

impl<A: Arch, M: MemoryModel<A>> Forgotten<'_, A, M> {
    /// Gives its pages, if it has any of its own, and its addresses to others.
    ///
    /// # Errors
    /// [`VfreeError::Page`]: a page was not taken back. All else was.
    pub fn give_back(self) -> Result<(), VfreeError> {
        self.vmalloc.reuse(self.area, self.proof)
    }

    /// As [`Forgotten::give_back`], for an area whose pages nobody has used.
    pub(super) fn settle(self) {
        let given = self.give_back();
        debug_assert!(given.is_ok(), "an area that nobody used is not taken back: {given:?}");
    }
}

impl<A: Arch, M: MemoryModel<A>> Vmalloc<A, M> {
    /// Takes back what [`Vmalloc::alloc`] or [`Vmalloc::stack`] handed out; `address` is the first that it maps.
    ///
    /// # Errors
    /// [`VfreeError`].
    ///
    /// # Safety
    /// If there is such an area, it is the caller's, and nobody uses its memory any more.
    pub unsafe fn free(&self, address: VirtAddr) -> Result<(), VfreeError> {
        self.retire_if(address, AreaKind::owns_pages)?.flush().give_back()
    }

    /// Ends what [`Vmalloc::map_pages`] began. The frames are the caller's alone then.
    ///
    /// # Errors
    /// [`VfreeError`].
    ///
    /// # Safety
    /// As [`Vmalloc::free`].
    pub unsafe fn unmap_pages(&self, address: VirtAddr) -> Result<(), VfreeError> {
        self.retire_if(address, |kind| kind == AreaKind::Mapped)?.flush().give_back()
    }

    /// Ends what [`Vmalloc::ioremap`] began; `address` is the one that it returned.
    ///
    /// # Errors
    /// [`VfreeError`].
    ///
    /// # Safety
    /// As [`Vmalloc::free`].
    pub unsafe fn iounmap(&self, address: VirtAddr) -> Result<(), VfreeError> {
        let page = address.align_down(A::PAGE_SIZE);
        self.retire_if(page, |kind| matches!(kind, AreaKind::Device { .. }))?.flush().give_back()
    }

    /// Unmaps an area of any kind, `address` being the first that it maps. What it maps can no longer be reached by
    /// who has not reached it yet; it is nobody else's until it is given back.
    ///
    /// # Errors
    /// [`VfreeError`].
    ///
    /// # Safety
    /// As [`Vmalloc::free`].
    pub unsafe fn retire(&self, address: VirtAddr) -> Result<Unmapped<'_, A, M>, VfreeError> {
        self.retire_if(address, |_| true)
    }

    /// The body of the four above, whose callers promise that nobody uses the area.
    fn retire_if(
        &self,
        address: VirtAddr,
        wanted: impl FnOnce(AreaKind) -> bool,
    ) -> Result<Unmapped<'_, A, M>, VfreeError> {
        let (node, mapped, kind) = {
            let mut state = self.state.lock(self.access());
            let State { tree, records, .. } = &mut *state;
            let node = tree.find(records, address).ok_or(VfreeError::NoArea(address))?;
            let taken = records.links(node).range;
            let area = records.area_mut(node);
            let mapped = area.mapped(taken, A::PAGE_SIZE);
            if mapped.start() != address {
                return Err(VfreeError::NotStart { start: mapped.start() });
            }
            if !wanted(area.kind) {
                return Err(VfreeError::Kind(area.kind));
            }
            if area.state != AreaState::Live {
                return Err(VfreeError::State(area.state));
            }
            area.state = AreaState::Retired;
            (node, mapped, area.kind)
        };
        let stale = self.unmap_leaves(mapped, kind).map_err(VfreeError::Unmap)?;
        Ok(Unmapped::new(self, node, stale))
    }

    /// Takes the leaves of an area out of the tables: those of `range`, which nobody uses. No leaf reaches beyond it.
    pub(super) fn unmap_leaves(&self, range: VirtRange, kind: AreaKind) -> Result<Stale, ChangeError> {
        let batch = match kind {
            // Its leaves may be larger than pages.
            AreaKind::Device { .. } => range.size(),
            _ => super::tables::BATCH_PAGES << A::PAGE_SHIFT,
        };
        let mut stale = Stale::NONE;
        let mut at = range.start();
        while at < range.end() {
            let end = at.saturating_add(batch).min(range.end());
            let mut tables = self.pages.tables().lock(self.access());
            // SAFETY: the range is of an area that is not live any more, whose holder has given it up, or that was
            // never handed out.
            stale = stale.and(unsafe { tables.unmap(VirtRange::new(at, end), &mut NoFrames) }?);
            at = end;
        }
        Ok(stale)
    }

    /// Gives an area's pages and addresses to others. `_proof` is that no CPU reaches them through it any more.
    fn reuse(&self, node: Ref, _proof: Flushed) -> Result<(), VfreeError> {
        let (first, count) = {
            let mut state = self.state.lock(self.access());
            let area = state.records.area_mut(node);
            let held = (area.first.take(), core::mem::take(&mut area.pages));
            state.pages = state.pages.saturating_sub(held.1);
            held
        };
        let given = self.give_pages(first, count);
        let mut state = self.state.lock(self.access());
        let State { tree, records, devices, .. } = &mut *state;
        if matches!(records.area(node).kind, AreaKind::Device { .. }) {
            device::unlink(records, devices, node);
        }
        tree.remove(records, node);
        records.give(node);
        given
    }
}

impl<A, M> fmt::Debug for Unmapped<'_, A, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Unmapped").field(&self.stale).finish()
    }
}

impl<A, M> fmt::Debug for Forgotten<'_, A, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Forgotten").field(&self.proof).finish()
    }
}
