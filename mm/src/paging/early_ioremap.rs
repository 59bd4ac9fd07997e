//! Windows onto physical memory before there is a direct map: firmware tables are read through them.
//!
//! A window is 64 neighbouring pages of the fixmap, and there are six. Who opens one closes it; a [`Window`] that is
//! dropped without being closed stays open for good, and [`Fixmap::open_windows`] shows it, so bring-up can say who
//! forgot (Linux: `check_early_ioremap_leak`).
//!
//! Linux: `mm/early_ioremap.c` (`early_ioremap`, `early_memremap`, `NR_FIX_BTMAPS` 64).

use crate::addr::{PhysRange, VirtAddr};
use crate::arch::{PageFormat, PhysMap};
use crate::paging::fixmap::{Area, Fixmap, FixmapError, Slot};
use crate::paging::mapping::Mapping;

/// Windows that there are.
pub const WINDOWS: u32 = 6;
/// Pages of one window.
pub const WINDOW_PAGES: u32 = 64;

const FIRST_SLOT: u32 = 128;

/// Physical memory that is mapped for a while.
#[derive(PartialEq, Eq, Debug)]
#[must_use = "a window stays open until it is closed"]
pub struct Window {
    address: VirtAddr,
    range: PhysRange,
    first: Slot,
    pages: u32,
}

impl Window {
    /// Where its first byte is mapped.
    #[must_use]
    pub const fn address(&self) -> VirtAddr {
        self.address
    }

    /// The memory that it shows.
    #[must_use]
    pub const fn range(&self) -> PhysRange {
        self.range
    }
}

impl<A: PhysMap + PageFormat> Fixmap<A> {
    /// Opens a window onto `range`, at any offset in a page.
    ///
    /// # Errors
    /// [`FixmapError::Full`] when the range touches more than [`WINDOW_PAGES`] pages or all windows are open,
    /// [`FixmapError::BadRange`].
    pub fn early_ioremap(&mut self, range: PhysRange, mapping: Mapping) -> Result<Window, FixmapError> {
        let pages = Self::pages(range)?;
        let count = pages.size() >> A::PAGE_SHIFT;
        let full = FixmapError::Full { area: Area::Window, slots: count };
        if count > u64::from(WINDOW_PAGES) {
            return Err(full);
        }
        let mut firsts = (0..WINDOWS).map(|window| FIRST_SLOT + window * WINDOW_PAGES);
        let first = firsts.find(|&first| self.get(Slot::new(first)).is_none()).ok_or(full)?;
        let first = Slot::new(first);
        let start = self.address(first).ok_or(FixmapError::NoSuchSlot(first))?;
        self.set_run(first, pages, mapping)?;
        let address = start.saturating_add(range.start().as_u64() - pages.start().as_u64());
        Ok(Window { address, range, first, pages: count as u32 })
    }

    /// Closes a window. Its addresses must not be used any more.
    pub fn early_iounmap(&mut self, window: Window) {
        for page in 0..window.pages {
            // A slot of an open window exists.
            let _ = self.clear(Slot::new(window.first.as_u32() + page));
        }
    }

    /// How many windows are open.
    #[must_use]
    pub fn open_windows(&self) -> u32 {
        let open = |window| self.get(Slot::new(FIRST_SLOT + window * WINDOW_PAGES)).is_some();
        (0..WINDOWS).map(|window| u32::from(open(window))).sum()
    }
}
