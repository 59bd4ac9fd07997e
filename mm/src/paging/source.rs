//! Where the frames of page tables come from.
//!
//! A tree of tables does not know who manages memory: at first a few frames inside the image, then memblock, then the
//! page allocator. Each of them is a [`FrameSource`].
//!
//! [`BootFrames`] is memblock as a source: a frame on the node of the memory that the table will translate to, where
//! that node has memory that is mapped already; any other mapped frame if not. One frame costs one memblock request,
//! O(regions); a frame translates 1 GiB where leaves are 2 MiB.
//!
//! Linux: `pgtable_alloc` in `arch/arm64/mm/mmu.c`, `alloc_low_pages` in `arch/x86/mm/init.c`.

use crate::addr::{PhysAddr, PhysRange};
use crate::arch::{PageFormat, PhysMap};
use crate::machine::Owner;
use crate::memblock::{Memblock, NodeWish, Request};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Gives frames for page tables.
///
/// # Safety
/// Each frame that it gives is one whole page of RAM, aligned to its size, that `PhysMap::phys_ptr` reaches now and
/// from now on, and that nobody else uses from now on.
pub unsafe trait FrameSource {
    /// A frame for a table that will translate to `near`, best on the same node. Its contents do not matter. `None`
    /// when there is none left.
    fn table_frame(&mut self, near: PhysAddr) -> Option<PhysAddr>;
}

// SAFETY: hands on what the source behind it promises.
unsafe impl<F: FrameSource + ?Sized> FrameSource for &mut F {
    fn table_frame(&mut self, near: PhysAddr) -> Option<PhysAddr> {
        (**self).table_frame(near)
    }
}

/// Hands out the pages of a range in order, each once; they never come back. For a kernel's spare frames in its image.
#[derive(Debug, Default)]
pub struct FramePool {
    /// Bytes that were handed out.
    taken: AtomicU64,
}

impl FramePool {
    /// A pool of which nothing was handed out.
    #[must_use]
    pub const fn new() -> Self {
        Self { taken: AtomicU64::new(0) }
    }

    /// The next page of `range`, which is the same in every call, or `None` when all were handed out.
    pub fn next(&self, range: PhysRange, page_size: u64) -> Option<PhysAddr> {
        let next = |taken: u64| (taken < range.size()).then(|| taken.saturating_add(page_size));
        let taken = self.taken.fetch_update(Relaxed, Relaxed, next).ok()?;
        range.start().checked_add(taken)
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

/// Frames from memblock, out of the memory that [`Memblock::set_mapped`] named.
#[derive(Debug)]
pub struct BootFrames<'m, A> {
    memblock: &'m mut Memblock<A>,
    /// More memory that is mapped: what the direct map under construction holds already.
    also: PhysRange,
    owner: Owner,
}

impl<'m, A: PhysMap + PageFormat> BootFrames<'m, A> {
    /// Who holds them in memblock.
    pub const OWNER: &'static str = "page tables";

    /// Frames from `memblock`.
    #[must_use]
    pub fn new(memblock: &'m mut Memblock<A>) -> Self {
        Self { memblock, also: PhysRange::EMPTY, owner: Owner::new(Self::OWNER) }
    }

    /// Frames from `memblock`, from `also` before what it knows to be mapped.
    ///
    /// # Safety
    /// For `also` holds what [`Memblock::set_mapped`] asks of a range.
    pub(super) unsafe fn reaching(memblock: &'m mut Memblock<A>, also: PhysRange) -> Self {
        Self { memblock, also, owner: Owner::new(Self::OWNER) }
    }

    fn frame(&mut self, node: NodeWish) -> Option<PhysAddr> {
        for within in [self.also, self.memblock.mapped()] {
            if within.is_empty() {
                continue;
            }
            let request = Request { size: A::PAGE_SIZE, align: A::PAGE_SIZE, within, node, owner: self.owner };
            if let Ok(frame) = self.memblock.alloc(request) {
                return Some(frame.start());
            }
        }
        None
    }
}

// SAFETY: memblock finds a whole aligned page inside memory that is RAM, reached and nobody's by the promise behind
// `set_mapped` and `reaching`; it hands out no byte twice, and holds what it gave so that `free` refuses it.
unsafe impl<A: PhysMap + PageFormat> FrameSource for BootFrames<'_, A> {
    fn table_frame(&mut self, near: PhysAddr) -> Option<PhysAddr> {
        let node = self.memblock.memory().find(near).and_then(|region| region.node());
        let local = node.and_then(|node| self.frame(NodeWish::Only(node)));
        local.or_else(|| self.frame(NodeWish::Any))
    }
}

/// Frames from the first source as long as it has some, then from the second.
#[derive(Debug)]
pub struct Either<F, G>(pub F, pub G);

// SAFETY: each frame is one of the two sources', which promise.
unsafe impl<F: FrameSource, G: FrameSource> FrameSource for Either<F, G> {
    fn table_frame(&mut self, near: PhysAddr) -> Option<PhysAddr> {
        self.0.table_frame(near).or_else(|| self.1.table_frame(near))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_gives_each_page_once() {
        let range = PhysRange::new(PhysAddr::new(0x5000), PhysAddr::new(0x7000));
        let pool = FramePool::new();
        let given: Vec<_> = std::iter::from_fn(|| pool.next(range, 0x1000)).collect();
        assert_eq!(given, [PhysAddr::new(0x5000), PhysAddr::new(0x6000)]);
        assert_eq!(pool.next(range, 0x1000), None);
    }
}
