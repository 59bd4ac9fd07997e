//! The record of one frame: 32 bytes, one layout for every arch, all zeroes meaning "not yet described".
//!
//! The memmap is an array of these, one a frame of each described section. A frame belongs to exactly one block (free,
//! allocated, reserved, …), and only the block's first frame, its head, says so; the others stay zero, so handing out
//! or taking back a block of 1024 frames touches one record. Two exceptions: a frame that is no memory (a hole in a
//! described section) is zero too and has no head below it that covers it, and the frames behind the head of a slab
//! are [`PageState::Tail`], so that an object's slab is found in one step.
//!
//! | word | bits | free | allocated | slab |
//! |---|---|---|---|---|
//! | `head` | 0–3 | [`PageState`] | the same | the same |
//! | | 4–7 | order of the block | the same | the same (in tails too) |
//! | | 8–15 | zero; for the migrate type | zero | zero |
//! | | 16–31 | index of the zone | the same | the same |
//! | `count` | 0–31 | stale | references: 1 when handed out | 0–15 objects handed out, 16–31 objects |
//! | `first` | 0–31 | stale | the holder's | byte offset of the first free object, or [`NO_OBJECT`] |
//! | `cache` | 0–31 | stale | the holder's | number of the cache |
//! | `next`, `previous` | 0–63 | neighbours in the free list: frame numbers, or [`NO_LINK`] | the holder's | neighbours in the partial list |
//!
//! Every word is an atomic that is read and written with `Relaxed`, which costs what a plain access costs: another
//! CPU may look at a head without the zone's lock (a free of a neighbour does, and `why`). What orders them is the lock
//! of the zone (free blocks) or of the cache (slabs); a block that was handed out is its holder's alone.
//!
//! Linux: `struct page` (64 bytes) in `include/linux/mm_types.h`, `PageBuddy`, `compound_head`.

use crate::addr::{Order, Pfn};
use crate::zone::ZoneIndex;
use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// No neighbour. Frame 0 is a legal frame, so zero cannot say it.
pub const NO_LINK: u64 = u64::MAX;

/// No free object.
pub const NO_OBJECT: u32 = u32::MAX;

/// What a frame is, as its record says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum PageState {
    /// Inside a block, or no memory.
    Undescribed = 0,
    /// Head of a block on a free list.
    Free = 1,
    /// Head of a block that was handed out.
    Allocated = 2,
    /// Head of a block that was reserved before the allocator took over.
    Reserved = 3,
    /// Head of a block that holds part of the memmap.
    Memmap = 4,
    /// Head of a slab.
    Slab = 5,
    /// Behind the head of a slab.
    Tail = 6,
    /// Head of a block handed out by `kmalloc` as a whole.
    Large = 7,
    /// A page table.
    Table = 8,
    /// A page of an area of virtual space, or of such areas' records.
    Vmalloc = 9,
    /// Bits that nobody writes.
    Corrupt = 15,
}

impl PageState {
    const fn from_bits(bits: u32) -> Self {
        match bits {
            0 => Self::Undescribed,
            1 => Self::Free,
            2 => Self::Allocated,
            3 => Self::Reserved,
            4 => Self::Memmap,
            5 => Self::Slab,
            6 => Self::Tail,
            7 => Self::Large,
            8 => Self::Table,
            9 => Self::Vmalloc,
            _ => Self::Corrupt,
        }
    }

    /// Whether it is the head of a block.
    #[must_use]
    pub const fn is_head(self) -> bool {
        !matches!(self, Self::Undescribed | Self::Tail | Self::Corrupt)
    }
}

impl fmt::Display for PageState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Undescribed => "undescribed",
            Self::Free => "free",
            Self::Allocated => "allocated",
            Self::Reserved => "reserved",
            Self::Memmap => "memmap",
            Self::Slab => "slab",
            Self::Tail => "slab tail",
            Self::Large => "large kmalloc",
            Self::Table => "page table",
            Self::Vmalloc => "vmalloc",
            Self::Corrupt => "corrupt",
        })
    }
}

/// The first word of a [`Page`].
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Head(u32);

impl Head {
    /// Not yet described.
    pub const ZERO: Self = Self(0);

    /// A block of `order` in `zone`.
    #[must_use]
    pub const fn new(state: PageState, order: Order, zone: ZoneIndex) -> Self {
        Self(state as u32 | (order.as_u8() as u32) << 4 | (zone.as_u16() as u32) << 16)
    }

    /// What the frame is.
    #[must_use]
    pub const fn state(self) -> PageState {
        // Bits 8 to 15 are not in use yet, so anything there is corrupt as well.
        if self.0 & 0xff00 != 0 { PageState::Corrupt } else { PageState::from_bits(self.0 & 0xf) }
    }

    /// The order of its block; of a corrupt one above the highest, the highest.
    #[must_use]
    pub const fn order(self) -> Order {
        match Order::new((self.0 >> 4 & 0xf) as u8) {
            Some(order) => order,
            None => Order::MAX,
        }
    }

    /// The zone of its block.
    #[must_use]
    pub const fn zone(self) -> ZoneIndex {
        ZoneIndex::new((self.0 >> 16) as u16)
    }

    /// The same block in another state.
    #[must_use]
    pub const fn with_state(self, state: PageState) -> Self {
        Self(self.0 & !0xf | state as u32)
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} order {} zone {}", self.state(), self.order(), self.zone().as_u16())
    }
}

/// The record of one frame.
#[derive(Debug, Default)]
#[repr(C, align(32))]
pub struct Page {
    head: AtomicU32,
    count: AtomicU32,
    first: AtomicU32,
    cache: AtomicU32,
    next: AtomicU64,
    previous: AtomicU64,
}

const _: () = assert!(size_of::<Page>() == Page::BYTES as usize);

impl Page {
    /// Bytes of a record.
    pub const BYTES: u64 = 32;

    /// The first word.
    #[must_use]
    pub fn head(&self) -> Head {
        Head(self.head.load(Relaxed))
    }

    /// Writes the first word. Who may: the holder of the block's zone's lock, or the holder of the block.
    pub(crate) fn set_head(&self, head: Head) {
        self.head.store(head.0, Relaxed);
    }

    /// The neighbours in the list: frame numbers, or [`NO_LINK`].
    pub(crate) fn next(&self) -> u64 {
        self.next.load(Relaxed)
    }

    pub(crate) fn set_next(&self, link: u64) {
        self.next.store(link, Relaxed);
    }

    pub(crate) fn previous(&self) -> u64 {
        self.previous.load(Relaxed)
    }

    pub(crate) fn set_previous(&self, link: u64) {
        self.previous.store(link, Relaxed);
    }

    /// References to an allocated block.
    #[must_use]
    pub fn references(&self) -> u32 {
        self.count.load(Relaxed)
    }

    pub(crate) fn set_references(&self, count: u32) {
        self.count.store(count, Relaxed);
    }

    /// Objects of a slab that are handed out, and objects it has.
    pub(crate) fn slab_counts(&self) -> SlabCounts {
        let word = self.count.load(Relaxed);
        SlabCounts { in_use: word & 0xffff, objects: word >> 16 }
    }

    /// Both are below 65536: an order-3 slab of 64 KiB pages holds fewer objects of more than 8 bytes, and smaller
    /// ones get smaller slabs.
    pub(crate) fn set_slab_counts(&self, counts: SlabCounts) {
        debug_assert!(counts.in_use <= counts.objects && counts.objects <= 0xffff);
        self.count.store(counts.objects << 16 | counts.in_use, Relaxed);
    }

    /// Byte offset in the slab of its first free object, or [`NO_OBJECT`].
    pub(crate) fn first_object(&self) -> u32 {
        self.first.load(Relaxed)
    }

    pub(crate) fn set_first_object(&self, offset: u32) {
        self.first.store(offset, Relaxed);
    }

    /// The number of a slab's cache.
    pub(crate) fn cache(&self) -> u32 {
        self.cache.load(Relaxed)
    }

    pub(crate) fn set_cache(&self, number: u32) {
        self.cache.store(number, Relaxed);
    }
}

/// How many objects of a slab are handed out, and how many it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SlabCounts {
    pub(crate) in_use: u32,
    pub(crate) objects: u32,
}

/// The head of the block of `order` that holds `pfn`, whether there is such a block or not.
#[must_use]
pub const fn block_head(pfn: Pfn, order: Order) -> Pfn {
    Pfn::new(pfn.as_u64() & !(order.frames() - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zeroed_record_is_undescribed() {
        let page = Page::default();
        assert_eq!(page.head(), Head::ZERO);
        assert_eq!(page.head().state(), PageState::Undescribed);
        assert!(!page.head().state().is_head());
    }

    #[test]
    fn a_head_keeps_its_parts() {
        for state in [PageState::Free, PageState::Allocated, PageState::Reserved, PageState::Tail, PageState::Vmalloc] {
            for order in Order::all() {
                for zone in [0, 1, 4095, u16::MAX] {
                    let head = Head::new(state, order, ZoneIndex::new(zone));
                    assert_eq!((head.state(), head.order(), head.zone().as_u16()), (state, order, zone));
                    let other = head.with_state(PageState::Slab);
                    assert_eq!((other.state(), other.order(), other.zone().as_u16()), (PageState::Slab, order, zone));
                }
            }
        }
    }

    #[test]
    fn bits_that_nobody_writes_are_corrupt() {
        for word in [10, 15, 1 << 8 | 1, 1 << 15 | 2] {
            assert_eq!(Head(word).state(), PageState::Corrupt);
        }
    }

    #[test]
    fn slab_counts_do_not_touch_each_other() {
        let page = Page::default();
        for counts in [SlabCounts { in_use: 0, objects: 0xffff }, SlabCounts { in_use: 0xffff, objects: 0xffff }] {
            page.set_slab_counts(counts);
            assert_eq!(page.slab_counts(), counts);
        }
    }
}
