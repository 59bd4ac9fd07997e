//! The one fixmap: single pages that can be mapped at any time, because the entry code made their tables.
//!
//! `mm`'s [`Fixmap`] says which slot is for what; this holds the instance, from its first use on. Linux:
//! `arch/arm64/mm/fixmap.c`.

use super::frames::live_tables;
use super::physical_bits;
use crate::{LAYOUT, Native};
use mm::addr::{PhysAddr, PhysRange, VirtAddr};
use mm::paging::Mapping;
use mm::paging::fixmap::{Area, Fixmap};
use mm::sync::IrqLock;
use spin::Once;

/// The fixmap. `None` only when the entry code's tables do not fit the layout, which no machine can cause.
#[must_use]
pub fn fixmap() -> Option<&'static IrqLock<Fixmap<Native>>> {
    static FIXMAP: Once<Option<IrqLock<Fixmap<Native>>>> = Once::new();
    // SAFETY: the entry code made the tables of the whole area, in the image; the final tables share them; and this is
    // the only value that changes them.
    FIXMAP.call_once(|| unsafe { Fixmap::new(&LAYOUT, &live_tables()) }.ok().map(IrqLock::new)).as_ref()
}

/// Whether the CPU can address every byte of `range`.
pub(crate) fn addressable(range: PhysRange) -> bool {
    range.end().as_u64() <= 1 << physical_bits()
}

/// Maps `size` bytes of device registers from `at` on, for good. `None` when they cannot be addressed, or when the
/// fixmap has no room left for as many pages.
#[must_use]
pub fn map_device(at: PhysAddr, size: u64) -> Option<VirtAddr> {
    let range = PhysRange::from_size(at, size.max(1)).filter(|&range| addressable(range))?;
    fixmap()?.lock(Native).map(Area::Device, range, Mapping::DEVICE).ok()
}
