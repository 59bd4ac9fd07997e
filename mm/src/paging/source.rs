//! Where the frames of page tables come from.
//!
//! A tree of tables does not know who manages memory: at first a few frames inside the image, then memblock, then the
//! page allocator. Each of them is a [`FrameSource`]. Linux: `pgtable_alloc` in `arch/arm64/mm/mmu.c`,
//! `alloc_low_pages` in `arch/x86/mm/init.c`.

use crate::addr::PhysAddr;

/// Gives frames for page tables.
///
/// # Safety
/// Each frame that it gives is one whole page of RAM, aligned to its size, that `PhysMap::phys_ptr` reaches now and from
/// now on, and that nobody else uses from now on.
pub unsafe trait FrameSource {
    /// A frame for a table that will translate to `near`, best on the same node. Its contents do not matter. `None` when
    /// there is none left.
    fn table_frame(&mut self, near: PhysAddr) -> Option<PhysAddr>;
}

// SAFETY: hands on what the source behind it promises.
unsafe impl<F: FrameSource + ?Sized> FrameSource for &mut F {
    fn table_frame(&mut self, near: PhysAddr) -> Option<PhysAddr> {
        (**self).table_frame(near)
    }
}

/// Gives nothing: for changes that need no new table.
#[derive(Clone, Copy, Debug)]
pub struct NoFrames;

// SAFETY: it gives no frame.
unsafe impl FrameSource for NoFrames {
    fn table_frame(&mut self, _near: PhysAddr) -> Option<PhysAddr> {
        None
    }
}
