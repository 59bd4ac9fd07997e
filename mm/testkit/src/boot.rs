//! Boot tables as entry code leaves them, and frames out of a range.
//!
//! An entry path maps just enough to run: the image where it is linked, the image's memory and one window of RAM where
//! the direct map will have them, and the tables of the fixmap. [`Machine::boot`] does the same, entry by entry and
//! without `mm`, so that tests begin where a kernel begins.

use crate::emulated::Emulated;
use crate::format;
use crate::machine::Machine;
use mm::addr::{PhysAddr, PhysRange, VirtAddr};
use mm::paging::{Entry, FrameSource, Level, MemoryType, PageTables, RawMapping};
use std::sync::atomic::Ordering;

/// Frames from the end of a range downwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RangeFrames {
    start: PhysAddr,
    end: PhysAddr,
    page: u64,
}

impl RangeFrames {
    /// The whole pages of `range`, each `1 << page_shift` bytes.
    ///
    /// # Safety
    /// As [`FrameSource`]: the range is RAM that `phys_ptr` reaches and that nobody else uses.
    #[must_use]
    pub const unsafe fn new(range: PhysRange, page_shift: u32) -> Self {
        let pages = range.shrink_to(1 << page_shift);
        Self { start: pages.start(), end: pages.end(), page: 1 << page_shift }
    }

    /// How many frames are left.
    #[must_use]
    pub const fn left(&self) -> u64 {
        (self.end.as_u64() - self.start.as_u64()) / self.page
    }

    /// What has not been given yet.
    #[must_use]
    pub const fn rest(&self) -> PhysRange {
        PhysRange::new(self.start, self.end)
    }
}

// SAFETY: whoever made it promised reachable RAM of nobody else; each page is given once.
unsafe impl FrameSource for RangeFrames {
    fn table_frame(&mut self, _near: PhysAddr) -> Option<PhysAddr> {
        if self.start == self.end {
            return None;
        }
        self.end = PhysAddr::new(self.end.as_u64() - self.page);
        Some(self.end)
    }
}

/// What entry code hands to the kernel.
#[derive(Debug)]
pub struct Boot<'m, const SHIFT: u32> {
    /// The live tables.
    pub tables: PageTables<Emulated<'m, SHIFT>>,
    /// The rest of the image's memory, as a pool of frames.
    pub frames: RangeFrames,
}

impl<const SHIFT: u32> Machine<SHIFT> {
    /// Makes boot tables in the end of `image` and activates them. They map, readable, writable and executable as entry
    /// code does: `image` at the layout's image area, `image` and `window` in the direct map, with leaves of level 1
    /// where alignment allows; and hold empty tables for the fixmap.
    ///
    /// # Safety
    /// The memory of `image` is nobody else's.
    ///
    /// # Panics
    /// When the image is too small for the tables, or a range is not RAM or not whole pages.
    #[must_use]
    pub unsafe fn boot(&self, image: PhysRange, window: PhysRange) -> Boot<'_, SHIFT> {
        let layout = Emulated::<SHIFT>::LAYOUT;
        // SAFETY: the caller gives the image's memory, and nothing but the tables below it is taken here.
        let mut frames = unsafe { RangeFrames::new(image, SHIFT) };
        let root = self.boot_frame(&mut frames);
        let page = 1 << SHIFT;
        let large = 1 << format::span_shift(SHIFT, 1);
        let base = layout.direct.start().as_u64() - layout.direct_base.as_u64();
        for (start, range) in [
            (layout.image.start().as_u64(), image),
            (base + image.start().as_u64(), image),
            (base + window.start().as_u64(), window),
        ] {
            let mut done = 0;
            while done < range.size() {
                let physical = range.start().as_u64() + done;
                let fits = (start + done) % large == 0 && physical % large == 0 && range.size() - done >= large;
                let level = u8::from(fits && self.largest_leaf > Level::PAGE);
                let slot = self.boot_slot(root, VirtAddr::new(start + done), level, &mut frames);
                let raw = RawMapping { writable: true, executable: true, memory: MemoryType::Normal };
                if slot.load(Ordering::Relaxed) == 0 {
                    let entry = format::leaf(SHIFT, PhysAddr::new(physical), Level::new(level), raw);
                    slot.store(entry, Ordering::Relaxed);
                }
                done += if level == 1 { large } else { page };
            }
        }
        let mut at = layout.fixmap.start().as_u64();
        while at < layout.fixmap.end().as_u64() {
            self.boot_slot(root, VirtAddr::new(at), 0, &mut frames);
            at += large;
        }
        self.set_root(root);
        // SAFETY: `boot_frame` and `boot_slot` wrote a tree of whole frames in this machine's format, in memory that
        // the direct map part of it reaches; the caller gives up the image's memory, so nobody else changes them.
        Boot { tables: unsafe { PageTables::new(self.handle(), root) }, frames }
    }

    fn boot_frame(&self, frames: &mut RangeFrames) -> PhysAddr {
        let frame = frames.table_frame(PhysAddr::new(0)).unwrap_or_else(|| panic!("the image has no room for tables"));
        self.poison(PhysRange::new(frame, PhysAddr::new(frame.as_u64() + (1 << SHIFT))), 0);
        frame
    }

    /// The entry of `address` at level `to`, with the tables above it made where there are none.
    fn boot_slot(
        &self,
        root: PhysAddr,
        address: VirtAddr,
        to: u8,
        frames: &mut RangeFrames,
    ) -> &std::sync::atomic::AtomicU64 {
        let low = address.as_u64() & ((1 << 48) - 1);
        let mut table = root;
        let mut level = format::levels(SHIFT) - 1;
        loop {
            let mut index = low >> format::span_shift(SHIFT, level);
            if level + 1 < format::levels(SHIFT) {
                index &= (1 << (SHIFT - 3)) - 1;
            }
            let slot = &self.entries(table)[index as usize];
            if level == to {
                return slot;
            }
            let entry = slot.load(Ordering::Relaxed);
            table = match format::decode(SHIFT, entry, Level::new(level), self.largest_leaf) {
                Entry::Table(next) => next,
                // A larger leaf maps it already.
                Entry::Leaf { .. } => return slot,
                Entry::Absent => {
                    let next = self.boot_frame(frames);
                    slot.store(format::table(SHIFT, next), Ordering::Relaxed);
                    next
                }
            };
            level -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::translate::{Fault, Intent};
    use mm::arch::PhysMap;

    fn range(start: u64, end: u64) -> PhysRange {
        PhysRange::new(PhysAddr::new(start), PhysAddr::new(end))
    }

    #[test]
    fn boot_tables_reach_the_image_and_the_window_only() {
        let machine = Machine::<12>::builder().ram(0, 0x100_0000, 0).finish();
        // SAFETY: nobody else uses this machine.
        let boot = unsafe { machine.boot(range(0x20_1000, 0x24_0000), range(0x40_0000, 0x60_0000)) };
        assert!(boot.frames.left() > 32);
        machine.require_mapped();
        let handle = machine.handle();
        let layout = handle.layout();
        for physical in [0x20_1000, 0x23_ffff, 0x40_0000, 0x5f_ffff] {
            let address = layout.phys_to_virt(PhysAddr::new(physical)).unwrap();
            assert_eq!(machine.access(address, Intent::Write), Ok(PhysAddr::new(physical)));
            assert_eq!(handle.virt_ptr(address), handle.phys_ptr(PhysAddr::new(physical)));
        }
        for physical in [0x20_0fff, 0x24_0000, 0x3f_ffff, 0x60_0000] {
            let address = layout.phys_to_virt(PhysAddr::new(physical)).unwrap();
            assert_eq!(machine.access(address, Intent::Read), Err(Fault::Absent(address)));
        }
        assert_eq!(machine.access(layout.image.start(), Intent::Execute), Ok(PhysAddr::new(0x20_1000)));
        assert_eq!(machine.access(layout.fixmap.start(), Intent::Read), Err(Fault::Absent(layout.fixmap.start())));
    }

    #[test]
    #[should_panic(expected = "before the direct map maps it")]
    fn memory_outside_the_boot_tables_is_out_of_reach() {
        let machine = Machine::<12>::builder().ram(0, 0x100_0000, 0).finish();
        // SAFETY: nobody else uses this machine.
        let _boot = unsafe { machine.boot(range(0x20_0000, 0x24_0000), range(0x40_0000, 0x60_0000)) };
        machine.require_mapped();
        let _ = machine.handle().phys_ptr(PhysAddr::new(0x60_0000));
    }

    #[test]
    #[should_panic(expected = "stale translation")]
    fn a_translation_that_was_not_flushed_is_found() {
        let machine = Machine::<12>::builder().ram(0, 0x100_0000, 0).finish();
        // SAFETY: nobody else uses this machine.
        let mut boot = unsafe { machine.boot(range(0x20_1000, 0x24_0000), range(0x40_0000, 0x60_0000)) };
        let address = Emulated::<12>::LAYOUT.phys_to_virt(PhysAddr::new(0x20_1000)).unwrap();
        let _ = machine.access(address, Intent::Read);
        let root = boot.tables.root();
        machine.boot_slot(root, address, 0, &mut boot.frames).store(0, Ordering::Relaxed);
        let _ = machine.access(address, Intent::Read);
    }
}
