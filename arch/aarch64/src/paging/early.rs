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
use core::fmt;
use core::slice;
use core::sync::atomic::{AtomicBool, Ordering};
use mm::addr::{PhysAddr, PhysRange};
use mm::arch::PhysMap;
use mm::paging::Mapping;
use mm::sync::IrqLock;
use platform::read::{PhysRead, Unreadable};

const PAGE: u64 = 4096;
/// The greatest device tree that the boot protocol allows.
const LARGEST_TREE: u64 = 2 << 20;
/// The first four bytes of a device tree.
const TREE_MAGIC: u32 = 0xd00d_feed;
/// Bytes of a device tree's header.
const TREE_HEADER: u64 = 40;

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
                fixmap::set(WINDOW, page, Mapping::RODATA);
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

/// Why there is no device tree where the loader says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TreeError {
    /// The address is not a multiple of 8.
    Misaligned,
    /// Nothing can be read there, or not as much as the tree says.
    Unreadable(Unreadable),
    /// It does not begin as a device tree.
    Magic(u32),
    /// It says that it is longer than 2 MiB, which the boot protocol forbids, or too short for a header.
    Size(u64),
    /// A tree was mapped before.
    Taken,
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misaligned => f.write_str("the address is not a multiple of 8"),
            Self::Unreadable(error) => write!(f, "{error}"),
            Self::Magic(value) => write!(f, "it begins with {value:#010x}, not {TREE_MAGIC:#010x}"),
            Self::Size(size) => write!(f, "it says that it is {size} bytes long"),
            Self::Taken => f.write_str("one was mapped before"),
        }
    }
}

impl core::error::Error for TreeError {}

impl From<Unreadable> for TreeError {
    fn from(error: Unreadable) -> Self {
        Self::Unreadable(error)
    }
}

/// Maps the device tree at `at`, whole and writable, for good.
///
/// # Errors
/// Why there is none.
pub fn map_dtb(at: PhysAddr) -> Result<&'static mut [u8], TreeError> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if !at.is_aligned(8) {
        return Err(TreeError::Misaligned);
    }
    let unreadable = Unreadable { at };
    let mut early = EarlyMap::new();
    let magic = u32::from_be(early.read_u32(at)?);
    if magic != TREE_MAGIC {
        return Err(TreeError::Magic(magic));
    }
    let size = u64::from(u32::from_be(early.read_u32(at.checked_add(4).ok_or(unreadable)?)?));
    if !(TREE_HEADER..=LARGEST_TREE).contains(&size) {
        return Err(TreeError::Size(size));
    }
    // A byte of each page answers before any is mapped for good.
    let pages = PhysRange::from_size(at, size).ok_or(unreadable)?.expand_to(PAGE);
    let page = |offset| pages.start().checked_add(offset).ok_or(unreadable);
    for offset in (0..pages.size()).step_by(PAGE as usize) {
        early.read_u8(page(offset)?)?;
    }
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Err(TreeError::Taken);
    }
    let window = DEVICE_TREE.start();
    for offset in (0..pages.size()).step_by(PAGE as usize) {
        fixmap::set(window.saturating_add(offset), page(offset)?, Mapping::DATA);
    }
    let first = window.saturating_add(at.as_u64() % PAGE);
    // SAFETY: the tree's bytes from `first` on are mapped, writable, to memory that answered, and stay so: 2 MiB and a page
    // fit into the window. They are handed out once, and the kernel reserves their memory before it hands any
    // out. All values are bytes.
    Ok(unsafe { slice::from_raw_parts_mut(Native.virt_ptr(first), size as usize) })
}
