//! Reading physical memory while it is not known what is memory: the firmware's tables.
//!
//! [`EarlyMap`] moves a window of one page over what is read, [`map_dtb`] maps the device tree whole. Both read under
//! fault protection, so that an address where nothing answers is an error and not the end, and both refuse addresses
//! that the CPU does not have. Pages are mapped as normal memory, as tables are RAM: a wrong address can at worst
//! make the CPU read ahead in a device. Linux: `early_ioremap`, `fixmap_remap_fdt`.

use super::fixmap::{addressable, fixmap};
use crate::Native;
use crate::traps::probe;
use core::fmt;
use core::slice;
use core::sync::atomic::{AtomicBool, Ordering};
use mm::addr::{PhysAddr, PhysRange, VirtAddr};
use mm::arch::PhysMap;
use mm::paging::Mapping;
use mm::paging::early_ioremap::Window;
use mm::paging::fixmap::Area;
use platform::read::{PhysRead, Unreadable};

const PAGE: u64 = 4096;
/// The greatest device tree that Linux's boot protocol allows. The room in the fixmap is for one of that size, and
/// a greater one by another protocol is refused likewise.
const LARGEST_TREE: u64 = 2 << 20;
/// The first four bytes of a device tree.
const TREE_MAGIC: u32 = 0xd00d_feed;
/// Bytes of a device tree's header.
const TREE_HEADER: u64 = 40;

/// Physical memory as a window of the fixmap shows it, a page at a time. The window closes with this value.
#[derive(Debug, Default)]
pub struct EarlyMap {
    shown: Option<Window>,
}

impl EarlyMap {
    /// A reader.
    #[must_use]
    pub const fn new() -> Self {
        Self { shown: None }
    }

    /// Where the page at `page` is mapped now.
    fn show(&mut self, page: PhysAddr) -> Option<VirtAddr> {
        if let Some(window) = self.shown.as_ref().filter(|window| window.range().start() == page) {
            return Some(window.address());
        }
        self.close();
        let range = PhysRange::from_size(page, PAGE)?;
        let window = fixmap()?.lock(Native).early_ioremap(range, Mapping::RODATA).ok()?;
        Some(self.shown.insert(window).address())
    }

    fn close(&mut self) {
        if let (Some(window), Some(fixmap)) = (self.shown.take(), fixmap()) {
            fixmap.lock(Native).early_iounmap(window);
        }
    }
}

impl Drop for EarlyMap {
    fn drop(&mut self) {
        self.close();
    }
}

impl PhysRead for EarlyMap {
    fn read(&mut self, at: PhysAddr, into: &mut [u8]) -> Result<(), Unreadable> {
        let unreadable = Unreadable { at };
        let range = PhysRange::from_size(at, into.len() as u64).ok_or(unreadable)?;
        if !addressable(range) {
            return Err(unreadable);
        }
        let mut at = at;
        let mut left = into;
        while !left.is_empty() {
            let page = at.align_down(PAGE);
            let offset = at.checked_sub(page).ok_or(unreadable)?;
            let count = (PAGE - offset).min(left.len() as u64);
            let (now, later) = left.split_at_mut(count as usize);
            let window = self.show(page).ok_or(Unreadable { at })?;
            probe::copy(now, window.saturating_add(offset)).map_err(|_| Unreadable { at })?;
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
            Self::Size(size) => {
                write!(f, "it says that it is {size} bytes long, and the boot protocol allows ")?;
                write!(f, "{TREE_HEADER} to {LARGEST_TREE} (2 MiB)")
            }
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
    let tree = PhysRange::from_size(at, size).ok_or(unreadable)?;
    let mut page = Some(at.align_down(PAGE));
    while let Some(here) = page.filter(|&here| here < tree.end()) {
        early.read_u8(here)?;
        page = here.checked_add(PAGE);
    }
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Err(TreeError::Taken);
    }
    let fixmap = fixmap().ok_or(unreadable)?;
    let first = fixmap.lock(Native).map(Area::DeviceTree, tree, Mapping::DATA).map_err(|_| unreadable)?;
    // SAFETY: the tree's bytes from `first` on are mapped, writable, to memory that answered, and stay so. They are
    // handed out once, and the kernel reserves their memory before it hands any out. All values are bytes.
    Ok(unsafe { slice::from_raw_parts_mut(Native.virt_ptr(first), size as usize) })
}
