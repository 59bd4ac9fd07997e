//! Any size: the least class that holds it, or a block of pages.
//!
//! The classes are Linux's: powers of two from 8 bytes to 8 KiB, and 96 and 192 between. A slab is aligned to its
//! size, so an object of a class is aligned to the largest power of two that divides its size; a request for more
//! alignment goes to a larger class, and past the largest class to the page allocator, whose blocks are aligned to
//! their size.
//!
//! `allocate` and `deallocate` have the shape that `GlobalAlloc` asks for: a kernel's global allocator is a handle that
//! calls them. That is the way from `Box::new` to a page: layout → class → slab → block → zone.
//!
//! Linux: `kmalloc_index`, `kmalloc_large`, `kfree` in `mm/slab_common.c`.

use super::{CacheId, KfreeError, Slab, SlabError};
use crate::addr::{Order, Pfn, PhysAddr};
use crate::arch::Arch;
use crate::model::page::PageState;
use crate::model::{MemoryModel, Page};
use crate::page_alloc::Gfp;
use crate::zone::ZoneKind;
use core::alloc::Layout;
use core::ptr::NonNull;

/// The classes, in ascending order. Cache number = position + 1: `kmem_cache` is number 0.
const CLASSES: [(u32, &str); 13] = [
    (8, "kmalloc-8"),
    (16, "kmalloc-16"),
    (32, "kmalloc-32"),
    (64, "kmalloc-64"),
    (96, "kmalloc-96"),
    (128, "kmalloc-128"),
    (192, "kmalloc-192"),
    (256, "kmalloc-256"),
    (512, "kmalloc-512"),
    (1024, "kmalloc-1k"),
    (2048, "kmalloc-2k"),
    (4096, "kmalloc-4k"),
    (8192, "kmalloc-8k"),
];

/// What serves a size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Class {
    Cache(CacheId),
    Block(Order),
}

/// What serves `size` bytes aligned to `align`, a power of two; `None` when nothing does.
fn class_of(size: usize, align: usize, page_shift: u32) -> Option<Class> {
    let fits = |&(bytes, _): &(u32, &str)| size <= bytes as usize && align <= 1 << bytes.trailing_zeros();
    match CLASSES.iter().position(fits) {
        Some(position) => Some(Class::Cache(CacheId(position as u32 + 1))),
        None => block_of(size, align, page_shift),
    }
}

/// The least block of pages that holds `size` bytes aligned to `align`.
fn block_of(size: usize, align: usize, page_shift: u32) -> Option<Class> {
    Order::for_bytes(size.max(align) as u64, page_shift).map(Class::Block)
}

impl<A: Arch, M: MemoryModel<A>> Slab<A, M> {
    pub(super) fn create_kmalloc_caches(&self) -> Result<(), SlabError> {
        for (size, name) in CLASSES {
            self.create(name, u64::from(size), 1 << size.trailing_zeros().min(A::PAGE_SHIFT))?;
        }
        Ok(())
    }

    /// At least `size` bytes, aligned to `align`, a power of two. Contents are arbitrary.
    ///
    /// # Errors
    /// [`SlabError`].
    pub fn kmalloc(&self, size: usize, align: usize) -> Result<NonNull<u8>, SlabError> {
        self.kmalloc_with(size, align, Gfp::KERNEL)
    }

    /// As [`Slab::kmalloc`], with pages as `gfp` asks. Whatever its size, memory of a zone below Normal is a block of
    /// its own, since the objects of a class may lie in any zone; and nothing that stays where it is goes into Movable.
    ///
    /// # Errors
    /// [`SlabError`].
    pub fn kmalloc_with(&self, size: usize, align: usize, gfp: Gfp) -> Result<NonNull<u8>, SlabError> {
        let too_large = SlabError::TooLarge { size: size as u64, align: align as u64 };
        let class = match gfp.zone {
            ZoneKind::Normal => class_of(size, align, A::PAGE_SHIFT),
            ZoneKind::Dma | ZoneKind::Dma32 => block_of(size, align, A::PAGE_SHIFT),
            ZoneKind::Movable => return Err(SlabError::Zone(gfp.zone)),
        };
        match class.ok_or(too_large)? {
            Class::Cache(cache) => self.alloc_with(cache, gfp),
            Class::Block(order) => {
                let pfn = self.pages.alloc_as(order, gfp, PageState::Large)?;
                NonNull::new(self.access().phys_ptr(pfn.address(A::PAGE_SHIFT))).ok_or(too_large)
            }
        }
    }

    /// Takes back what [`Slab::kmalloc`] handed out, or an object of any cache.
    ///
    /// # Errors
    /// [`KfreeError`] says why that cannot be right; then nothing has changed.
    ///
    /// # Safety
    /// If `pointer` is something that is handed out, the caller gives it up: nobody uses its memory any more.
    pub unsafe fn kfree(&self, pointer: *mut u8) -> Result<(), KfreeError> {
        let (address, pfn, page) = self.find(pointer)?;
        match page.head().state() {
            PageState::Slab => self.free_object(address, pfn, page),
            PageState::Large => self.free_block(address, pfn, page.head().order()),
            _ => Err(self.no_object(address)),
        }
    }

    /// For `GlobalAlloc`: memory as `layout` asks, null when there is none.
    pub fn allocate(&self, layout: Layout) -> *mut u8 {
        self.kmalloc(layout.size(), layout.align()).map_or(core::ptr::null_mut(), NonNull::as_ptr)
    }

    /// For `GlobalAlloc`: takes back what [`Slab::allocate`] handed out for `layout`.
    ///
    /// # Errors
    /// [`KfreeError`] says why that cannot be right; then nothing has changed.
    ///
    /// # Safety
    /// If `pointer` is something that is handed out, the caller gives it up: nobody uses its memory any more.
    pub unsafe fn deallocate(&self, pointer: *mut u8, layout: Layout) -> Result<(), KfreeError> {
        let (address, pfn, page) = self.find(pointer)?;
        let head = page.head();
        match (class_of(layout.size(), layout.align(), A::PAGE_SHIFT), head.state()) {
            (Some(Class::Cache(cache)), PageState::Slab) if page.cache() == cache.0 => {
                self.free_object(address, pfn, page)
            }
            (Some(Class::Block(order)), PageState::Large) if order == head.order() => {
                self.free_block(address, pfn, order)
            }
            (Some(Class::Block(_)), PageState::Large) => Err(KfreeError::WrongSize { allocated: head.order() }),
            (_, PageState::Slab | PageState::Large) => Err(KfreeError::WrongCache),
            _ => Err(self.no_object(address)),
        }
    }

    fn find(&self, pointer: *mut u8) -> Result<(PhysAddr, Pfn, &Page), KfreeError> {
        let address = self.access().ptr_phys(pointer).ok_or(KfreeError::NotAnObject)?;
        let (pfn, page) = self.block_at(address).ok_or(KfreeError::NotAnObject)?;
        Ok((address, pfn, page))
    }

    /// Pages that are free now were somebody's before.
    fn no_object(&self, address: PhysAddr) -> KfreeError {
        use crate::page_alloc::PageInfo;
        match self.pages.page_info(Pfn::containing(address, A::PAGE_SHIFT)) {
            PageInfo::Block { state: PageState::Free, .. } => KfreeError::DoubleFree,
            PageInfo::Block { state: PageState::Large, head, .. } => {
                let start = head.address(A::PAGE_SHIFT);
                KfreeError::Misaligned { offset: address.checked_sub(start).unwrap_or(0) }
            }
            _ => KfreeError::NotAnObject,
        }
    }

    fn free_block(&self, address: PhysAddr, pfn: Pfn, order: Order) -> Result<(), KfreeError> {
        let offset = address.as_u64() - pfn.address(A::PAGE_SHIFT).as_u64();
        if offset != 0 {
            return Err(KfreeError::Misaligned { offset });
        }
        self.pages.free_as(pfn, order, PageState::Large).map_err(KfreeError::Pages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(size: usize, align: usize) -> &'static str {
        match class_of(size, align, 12) {
            Some(Class::Cache(CacheId(number))) => CLASSES[number as usize - 1].1,
            Some(Class::Block(order)) => ["4k pages", "8k", "16k", "32k", "64k"][order.index().min(4)],
            None => "nothing",
        }
    }

    #[test]
    fn sizes_go_to_the_least_class_that_holds_and_aligns_them() {
        for (size, align, class) in [
            (1, 1, "kmalloc-8"),
            (8, 8, "kmalloc-8"),
            (9, 8, "kmalloc-16"),
            (65, 8, "kmalloc-96"),
            (96, 32, "kmalloc-96"),
            (96, 64, "kmalloc-128"),
            (100, 64, "kmalloc-128"),
            (129, 64, "kmalloc-192"),
            (129, 128, "kmalloc-256"),
            (8, 4096, "kmalloc-4k"),
            (8192, 8192, "kmalloc-8k"),
            (8193, 8, "16k"),
            (8, 16384, "16k"),
            (4 << 20, 8, "64k"),
            ((4 << 20) + 1, 8, "nothing"),
            (8, 8 << 20, "nothing"),
        ] {
            assert_eq!(served(size, align), class, "{size} bytes aligned to {align}");
        }
    }
}
