//! Single pages that can be mapped at any time: their tables were made by the entry code.
//!
//! The area is dealt out here, by offset: a page for the first character, one for the window onto firmware tables, one
//! page after the other for device registers, and 4 MiB for the device tree. Setting a page costs a walk of four levels and
//! a TLB flush. Linux: `asm/fixmap.h`, `arch/arm64/mm/fixmap.c`.

use super::frames::boot_tables;
use crate::Native;
use crate::layout::FIXMAP_START;
use core::sync::atomic::{AtomicU64, Ordering};
use mm::addr::{PhysAddr, VirtAddr};
use mm::arch::{PageFormat, PhysMap};
use mm::layout::VirtRange;
use mm::paging::{Level, Mapping};
use mm::sync::IrqLock;

const PAGE: u64 = 4096;

/// The page through which the first character goes.
pub(crate) const EARLY_CONSOLE: VirtAddr = VirtAddr::new(FIXMAP_START);
/// The page through which firmware tables are read.
pub(super) const WINDOW: VirtAddr = VirtAddr::new(FIXMAP_START + PAGE);
/// Registers of devices, mapped for good.
const DEVICES: VirtRange =
    VirtRange::new(VirtAddr::new(FIXMAP_START + 16 * PAGE), VirtAddr::new(FIXMAP_START + 272 * PAGE));
/// The device tree: the greatest one that the boot protocol allows is 2 MiB, and it may begin anywhere in a page.
pub(super) const DEVICE_TREE: VirtRange =
    VirtRange::new(VirtAddr::new(FIXMAP_START + (4 << 20)), VirtAddr::new(FIXMAP_START + (8 << 20)));

/// The first page of [`DEVICES`] that is still free.
static NEXT_DEVICE: IrqLock<VirtAddr> = IrqLock::new(DEVICES.start());

/// Writes the lowest-level entry of the fixmap page at `at`.
fn write(at: VirtAddr, value: u64) {
    let walk = boot_tables().walk(at);
    let Some(step) = walk.steps().last().filter(|step| step.level == Level::PAGE) else { return };
    let table = Native.phys_ptr(step.table).cast::<u64>();
    // SAFETY: the walk ended in a lowest-level table of the fixmap, which lies in the image and so in the direct map, and
    // the index is one of a table. The pages of the fixmap are dealt out at the top of this file, so nobody else's
    // mapping changes. Software accesses to entries are atomic.
    unsafe { AtomicU64::from_ptr(table.add(step.index)) }.store(value, Ordering::Release);
    Native.flush_page(at);
}

/// Maps the fixmap page at `at` to the page that holds `target`.
pub(crate) fn set(at: VirtAddr, target: PhysAddr, mapping: Mapping) {
    // An entry never goes from one page to another directly.
    clear(at);
    write(at, Native.leaf(target.align_down(PAGE), Level::PAGE, mapping));
}

/// Unmaps the fixmap page at `at`.
pub(crate) fn clear(at: VirtAddr) {
    write(at, 0);
}

/// Maps `size` bytes of device registers from `at` on, for good. `None` when they cannot be addressed, or when the
/// fixmap has no room left for as many pages.
#[must_use]
pub fn map_device(at: PhysAddr, size: u64) -> Option<VirtAddr> {
    let end = at.checked_add(size.max(1))?.checked_align_up(PAGE)?;
    if end.as_u64() > 1 << super::physical_bits() {
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
