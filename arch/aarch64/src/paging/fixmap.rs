//! The one fixmap: single pages that can be mapped at any time, because the entry code made their tables.
//!
//! `mm`'s [`Fixmap`] says which slot is for what; this holds the instance, from its first use on. Linux:
//! `arch/arm64/mm/fixmap.c`.

use super::frames::boot_tables;
use super::physical_bits;
use crate::{LAYOUT, Native};
use mm::addr::{PhysAddr, PhysRange, VirtAddr};
use mm::paging::Mapping;
use mm::paging::fixmap::{Area, Fixmap};
use mm::sync::IrqLock;

static FIXMAP: IrqLock<Option<Fixmap<Native>>> = IrqLock::new(None);

/// Gives the fixmap to `work`; `None` when `work` has nothing to say.
pub(crate) fn with<R>(work: impl FnOnce(&mut Fixmap<Native>) -> Option<R>) -> Option<R> {
    let mut fixmap = FIXMAP.lock(Native);
    if fixmap.is_none() {
        // SAFETY: the entry code made the tables of the whole area, the final tables share them, and this is the only
        // place that makes a `Fixmap`, once.
        *fixmap = unsafe { Fixmap::new(&LAYOUT, &boot_tables()) }.ok();
    }
    work(fixmap.as_mut()?)
}

/// Whether the CPU can address every byte of `range`.
pub(super) fn addressable(range: PhysRange) -> bool {
    range.end().as_u64() <= 1 << physical_bits()
}

/// Maps `size` bytes of device registers from `at` on, for good. `None` when they cannot be addressed, or when the
/// fixmap has no room left for as many pages.
#[must_use]
pub fn map_device(at: PhysAddr, size: u64) -> Option<VirtAddr> {
    let range = PhysRange::from_size(at, size).filter(|&range| addressable(range))?;
    with(|fixmap| fixmap.map(Area::Device, range, Mapping::DEVICE).ok())
}
