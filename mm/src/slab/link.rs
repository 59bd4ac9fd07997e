//! The list of free objects inside a slab.
//!
//! A free object's first word holds the byte offset of the next free object, mixed with the object's own physical
//! address. So a word that a holder left behind almost never looks like a link, and one that does look like a link is
//! a hint that the object is free already: only then is the list walked to make sure. A link that was overwritten
//! does not decode, and is noticed when it is followed.
//!
//! Linux: `freelist_ptr_encode` and `set_freepointer` in `mm/slub.c` (with `CONFIG_SLAB_FREELIST_HARDENED`).

use super::geometry::Geometry;
use crate::addr::{Pfn, PhysAddr};
use crate::arch::Arch;
use crate::model::page::NO_OBJECT;

/// Mixed into every link. A secret of each boot will take its place.
const PATTERN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The memory of one slab.
#[derive(Clone, Copy)]
pub(super) struct Objects<A> {
    access: A,
    start: PhysAddr,
    stride: u32,
    objects: u32,
}

/// What a free object's first word says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Link {
    /// The next free object's offset, or [`NO_OBJECT`].
    To(u32),
    /// No link.
    Broken,
}

impl<A: Arch> Objects<A> {
    /// The slab at `pfn`.
    ///
    /// # Safety
    /// `pfn` is the head of a slab with this geometry: RAM that the direct map maps, whose free objects belong to the
    /// holder of the cache's lock (or to the caller, while nobody else knows the slab).
    pub(super) unsafe fn new(access: A, pfn: Pfn, geometry: &Geometry) -> Self {
        let start = pfn.address(A::PAGE_SHIFT);
        Self { access, start, stride: geometry.stride, objects: geometry.objects }
    }

    /// Where the object at `offset` lies.
    pub(super) fn address(&self, offset: u32) -> PhysAddr {
        self.start.saturating_add(u64::from(offset))
    }

    /// The offset of the object that begins at `address`; `None` when none does.
    pub(super) fn offset_of(&self, address: PhysAddr) -> Option<u32> {
        let offset = u32::try_from(address.checked_sub(self.start)?).ok()?;
        self.is_object(offset).then_some(offset)
    }

    fn is_object(&self, offset: u32) -> bool {
        offset.is_multiple_of(self.stride) && offset / self.stride < self.objects
    }

    fn word(&self, offset: u32) -> *mut u64 {
        self.access.phys_ptr(self.address(offset)).cast()
    }

    fn mask(&self, offset: u32) -> u64 {
        self.address(offset).as_u64() ^ PATTERN
    }

    fn decode(&self, offset: u32, word: u64) -> Link {
        match u32::try_from(word ^ self.mask(offset)) {
            Ok(next) if next == NO_OBJECT || self.is_object(next) => Link::To(next),
            _ => Link::Broken,
        }
    }

    /// The link in the free object at `offset`, which is one of this slab.
    pub(super) fn next(&self, offset: u32) -> Link {
        // SAFETY: the object lies in the slab, is free and so the caller's, holds a word that `set_next` wrote (or
        // whoever wrote past its end), and is aligned to 8.
        self.decode(offset, unsafe { self.word(offset).read() })
    }

    /// Writes the link of the free object at `offset`, which is one of this slab.
    pub(super) fn set_next(&self, offset: u32, next: u32) {
        // SAFETY: as in `next`.
        unsafe { self.word(offset).write(u64::from(next) ^ self.mask(offset)) };
    }

    /// Whether the object at `offset`, which somebody gives back, could be free already: its first word looks like a
    /// link.
    pub(super) fn looks_free(&self, offset: u32) -> bool {
        if cfg!(miri) {
            // A holder may leave bytes uninitialised, which Miri does not let anybody look at: walk the list each time.
            return true;
        }
        // SAFETY: the object lies in the slab and is given back, so nobody else uses it; a volatile read takes
        // whatever bytes the hardware has there.
        let word = unsafe { self.word(offset).read_volatile() };
        self.decode(offset, word) != Link::Broken
    }

    /// Whether the list from `first` on holds the object at `offset`.
    pub(super) fn list_holds(&self, first: u32, offset: u32) -> bool {
        let mut at = first;
        for _ in 0..self.objects {
            if at == offset {
                return true;
            }
            match self.next_checked(at) {
                Some(next) => at = next,
                None => return false,
            }
        }
        false
    }

    fn next_checked(&self, offset: u32) -> Option<u32> {
        if offset == NO_OBJECT {
            return None;
        }
        match self.next(offset) {
            Link::To(NO_OBJECT) | Link::Broken => None,
            Link::To(next) => Some(next),
        }
    }

    /// How many objects the list from `first` on holds; `None` when a link is broken or the list runs in a circle.
    pub(super) fn count(&self, first: u32) -> Option<u32> {
        let (mut at, mut found) = (first, 0);
        while at != NO_OBJECT {
            found += 1;
            if found > self.objects || !self.is_object(at) {
                return None;
            }
            match self.next(at) {
                Link::To(next) => at = next,
                Link::Broken => return None,
            }
        }
        Some(found)
    }

    /// Puts all objects onto the list, in ascending order; returns the first.
    pub(super) fn fill(&self) -> u32 {
        for number in 0..self.objects {
            let next = if number + 1 < self.objects { (number + 1) * self.stride } else { NO_OBJECT };
            self.set_next(number * self.stride, next);
        }
        0
    }
}
