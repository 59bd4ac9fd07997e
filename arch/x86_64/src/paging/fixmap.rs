//! The one [`Fixmap`] of this machine: pages whose tables stand in the image and were linked by the entry code.
//!
//! Which slots are for what is `mm`'s table. Linux: `asm/fixmap.h`, `native_set_fixmap`.

use super::frames::live_tables;
use crate::layout::LAYOUT;
use crate::{Native, cpu};
use mm::addr::{PhysAddr, PhysRange, VirtAddr};
use mm::paging::Mapping;
use mm::paging::fixmap::{Area, Fixmap};
use mm::sync::IrqLock;
use spin::Once;

/// The fixmap. `None` only when the entry code's tables do not fit the layout, which no machine can cause.
#[must_use]
pub fn fixmap() -> Option<&'static IrqLock<Fixmap<Native>>> {
    static FIXMAP: Once<Option<IrqLock<Fixmap<Native>>>> = Once::new();
    // SAFETY: the fixmap's lowest tables are part of the image for good, and this is the only value that changes them.
    FIXMAP.call_once(|| unsafe { Fixmap::new(&LAYOUT, &live_tables()) }.ok().map(IrqLock::new)).as_ref()
}

/// Maps `size` bytes of device registers from `at` on, for good. `None` when they cannot be addressed, or when the
/// fixmap has no room left for as many pages.
#[must_use]
pub fn map_device(at: PhysAddr, size: u64) -> Option<VirtAddr> {
    let range = PhysRange::from_size(at, size.max(1))?;
    if range.end().as_u64() > 1 << cpu::physical_bits() {
        return None;
    }
    fixmap()?.lock(Native).map(Area::Device, range, Mapping::DEVICE).ok()
}
