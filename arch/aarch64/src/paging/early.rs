//! Reading physical memory while it is not known what is memory: the firmware's tables.
//!
//! [`EarlyMap`] moves one page of the fixmap over what is read, [`map_dtb`] maps the device tree whole. Both read under
//! fault protection, so that an address where nothing answers is an error and not the end, and both refuse addresses
//! that the CPU does not have. Pages are mapped as normal memory, as tables are RAM: a wrong address can at worst
//! make the CPU read ahead in a device. Linux: `early_ioremap`, `fixmap_remap_fdt`.

use super::fixmap::{self, DEVICE_TREE, WINDOW};
use super::format::physical_bits;
use crate::Native;
use crate::traps::probe;
use core::slice;
use core::sync::atomic::{AtomicBool, Ordering};
use mm::addr::{PhysAddr, PhysRange, VirtAddr};
use mm::arch::PhysMap;
use mm::paging::{Access, Mapping, MemoryType};
use mm::sync::IrqLock;
use platform::read::{PhysRead, Unreadable};

const PAGE: u64 = 4096;
/// The greatest device tree that the boot protocol allows.
const LARGEST_TREE: u64 = 2 << 20;
/// The first four bytes of a device tree, and how long its header is.
const TREE_MAGIC: u32 = 0xd00d_feed;

/// The page that the window shows; there is one window, whoever reads.
static SHOWN: IrqLock<Option<PhysAddr>> = IrqLock::new(None);

/// Physical memory as the fixmap's window shows it.
#[derive(Debug, Default)]
pub struct EarlyMap(());

impl EarlyMap {
    /// A reader. All readers share the window.
    #[must_use]
    pub fn new() -> Self {
        Self(())
    }
}

impl PhysRead for EarlyMap {
    fn read(&mut self, at: PhysAddr, into: &mut [u8]) -> Result<(), Unreadable> {
        let unreadable = Unreadable { at };
        let range = PhysRange::from_size(at, into.len() as u64).ok_or(unreadable)?;
        if range.end().as_u64() > 1 << physical_bits() {
            return Err(unreadable);
        }
        let mut shown = SHOWN.lock(Native);
        let mut at = at;
        let mut left = into;
        while !left.is_empty() {
            let page = at.align_down(PAGE);
            if *shown != Some(page) {
                fixmap::set(WINDOW, page, Mapping { access: Access::ReadOnly, memory: MemoryType::Normal });
                *shown = Some(page);
            }
            let offset = at.checked_sub(page).ok_or(unreadable)?;
            let count = (PAGE - offset).min(left.len() as u64);
            let (now, later) = left.split_at_mut(count as usize);
            probe::copy(now, WINDOW.saturating_add(offset)).map_err(|_| Unreadable { at })?;
            at = at.checked_add(count).ok_or(unreadable)?;
            left = later;
        }
        Ok(())
    }
}

/// Maps the device tree at `at`, whole and writable, for good. `None` when there is none: the address is not a
/// multiple of 8, no CPU address, cannot be read, does not hold a device tree's first bytes, or the tree says that it
/// is longer than 2 MiB; and when a tree was mapped before.
#[must_use]
pub fn map_dtb(at: PhysAddr) -> Option<&'static mut [u8]> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if !at.is_aligned(8) {
        return None;
    }
    let mut early = EarlyMap::new();
    let magic = u32::from_be(early.read_u32(at).ok()?);
    let size = u64::from(u32::from_be(early.read_u32(at.checked_add(4)?).ok()?));
    if magic != TREE_MAGIC || !(8..=LARGEST_TREE).contains(&size) {
        return None;
    }
    // A byte of each page answers before any is mapped for good.
    let pages = PhysRange::from_size(at, size)?.expand_to(PAGE);
    for offset in (0..pages.size()).step_by(4096) {
        early.read_u8(pages.start().checked_add(offset)?).ok()?;
    }
    if TAKEN.swap(true, Ordering::Relaxed) {
        return None;
    }
    for offset in (0..pages.size()).step_by(4096) {
        let mapping = Mapping { access: Access::ReadWrite, memory: MemoryType::Normal };
        fixmap::set(DEVICE_TREE.at(offset)?, pages.start().checked_add(offset)?, mapping);
    }
    let first: VirtAddr = DEVICE_TREE.at(at.checked_sub(pages.start())?)?;
    let length = usize::try_from(size).ok()?;
    // SAFETY: `length` bytes from `first` are mapped, writable, to memory that answered, and stay so. They are handed out
    // once, and the kernel reserves their memory before it hands any out. All values are bytes.
    Some(unsafe { slice::from_raw_parts_mut(Native.virt_ptr(first), length) })
}
