//! Single pages that can be mapped at any time: their tables stand in the image and were linked by the entry code.
//!
//! The area is dealt out here, by page: one for the window onto firmware tables, then device registers, one page after
//! the other; the rest, from [`SHARED_START`] on, is for `mm`'s windows. Setting a page costs a store and a TLB flush.
//! Linux: `asm/fixmap.h`, `native_set_fixmap`.

use crate::layout::{FIXMAP_END, FIXMAP_START};
use crate::{Native, cpu};
use core::sync::atomic::{AtomicU64, Ordering};
use mm::addr::{PhysAddr, VirtAddr};
use mm::arch::PageFormat;
use mm::layout::VirtRange;
use mm::paging::{Level, Mapping};
use mm::sync::IrqLock;

const PAGE: u64 = 4096;
const PAGES: usize = ((FIXMAP_END - FIXMAP_START) / PAGE) as usize;

const fn page(number: u64) -> VirtAddr {
    VirtAddr::new(FIXMAP_START + number * PAGE)
}

/// The page through which firmware tables are read.
pub(super) const WINDOW: VirtAddr = page(1);
/// Registers of devices, mapped for good.
const DEVICES: VirtRange = VirtRange::new(page(16), page(512));

/// The first page of [`DEVICES`] that is still free.
static NEXT_DEVICE: IrqLock<VirtAddr> = IrqLock::new(DEVICES.start());

unsafe extern "C" {
    /// The lowest-level tables of the area (entry.s), one after the other.
    static boot_pt_fixmap: [AtomicU64; PAGES];
}

fn write(at: VirtAddr, value: u64) {
    // SAFETY: the entry code made these tables for the whole area, in memory that is theirs; only this function touches
    // their entries, and atomically, as the table walker does.
    let entries = unsafe { &boot_pt_fixmap };
    let number = at.as_u64().checked_sub(FIXMAP_START).map(|offset| offset / PAGE);
    if let Some(entry) = number.and_then(|number| entries.get(usize::try_from(number).ok()?)) {
        entry.store(value, Ordering::Release);
        Native.flush_page(at);
    }
}

/// Maps the fixmap page at `at` to the page that holds `target`.
pub(super) fn set(at: VirtAddr, target: PhysAddr, mapping: Mapping) {
    write(at, Native.leaf(target.align_down(PAGE), Level::PAGE, mapping));
}

/// Maps `size` bytes of device registers from `at` on, for good. `None` when they cannot be addressed, or when the
/// fixmap has no room left for as many pages.
#[must_use]
pub fn map_device(at: PhysAddr, size: u64) -> Option<VirtAddr> {
    let end = at.checked_add(size.max(1))?.checked_align_up(PAGE)?;
    if end.as_u64() > 1 << cpu::physical_bits() {
        return None;
    }
    let first = at.align_down(PAGE);
    let mut next = NEXT_DEVICE.lock(Native);
    let pages = VirtRange::from_size(*next, end.checked_sub(first)?)?;
    if !DEVICES.contains_range(pages) {
        return None;
    }
    for offset in (0..pages.size()).step_by(PAGE as usize) {
        set(pages.at(offset)?, first.checked_add(offset)?, Mapping::DEVICE);
    }
    *next = pages.end();
    pages.start().checked_add(at.checked_sub(first)?)
}
