//! The piece in which untouched memory becomes described.
//!
//! A granule is the memory whose records fill one leaf a level above pages, where that is at most 1 GiB: with 4 KiB
//! pages 256 MiB, whose memmap is one 2 MiB leaf. With larger pages such a leaf would describe far too much, so a
//! granule is one section there, and its memmap a few pages. Where the model takes the memmap from the granule's own
//! first frames (`Vmemmap`, `Sparse`), it is aligned to its own size, because a granule is aligned to its; where it has
//! an array for all memory (`Flat`, `Discontig`), all of the granule is left to hand out.
//!
//! Everything here is arithmetic over the page size, resolved at compile time.

#![forbid(unsafe_code)]

use super::page::Page;
use crate::addr::{Order, Pfn, PfnRange};
use crate::arch::PageFormat;
use crate::paging::Level;
use core::marker::PhantomData;

/// The largest granule: 1 GiB of memory.
const LARGEST_SHIFT: u32 = 30;

/// The sizes for the pages of `A`.
#[derive(Debug)]
pub struct Granule<A>(PhantomData<A>);

impl<A: PageFormat> Granule<A> {
    /// Bytes of memory that the records of one leaf above pages describe, as a power of two.
    const LEAF_SHIFT: u32 = 3 * A::PAGE_SHIFT - 3 - Page::BYTES.ilog2();

    /// Whether the memmap of a granule is one leaf above pages.
    const BY_LEAF: bool = Self::LEAF_SHIFT <= LARGEST_SHIFT && Self::LEAF_SHIFT >= A::SECTION_SHIFT;

    /// Bytes of memory, as a power of two.
    pub const SHIFT: u32 = if Self::BY_LEAF { Self::LEAF_SHIFT } else { A::SECTION_SHIFT };

    /// Frames.
    pub const FRAMES: u64 = 1 << (Self::SHIFT - A::PAGE_SHIFT);

    /// Frames of a section.
    pub const SECTION_FRAMES: u64 = 1 << (A::SECTION_SHIFT - A::PAGE_SHIFT);

    /// The order of the block at its start that holds its memmap, in models where that lies there.
    pub const MEMMAP_ORDER: Order = {
        let shift = Self::SHIFT + Page::BYTES.ilog2() - 2 * A::PAGE_SHIFT;
        match Order::new(shift as u8) {
            Some(order) if order.as_u8() < Order::MAX.as_u8() => order,
            _ => panic!("the memmap of a granule is larger than a block of the highest order"),
        }
    };

    /// Frames that a granule can hand out once it is carved, with its memmap in its first block, of order `memmap`, or
    /// elsewhere.
    #[must_use]
    pub const fn usable_frames(memmap: Option<Order>) -> u64 {
        match memmap {
            Some(order) => Self::FRAMES - order.frames(),
            None => Self::FRAMES,
        }
    }

    /// The level of the leaves that map its memmap.
    pub fn leaf_level(access: A) -> Level {
        let above = Level::new(1);
        if Self::BY_LEAF && access.leaf_at(above) { above } else { Level::PAGE }
    }

    /// The whole granules inside `range`.
    #[must_use]
    pub const fn inside(range: PfnRange) -> PfnRange {
        let mask = Self::FRAMES - 1;
        let Some(start) = range.start().as_u64().checked_add(mask) else { return PfnRange::EMPTY };
        PfnRange::new(Pfn::new(start & !mask), Pfn::new(range.end().as_u64() & !mask))
    }

    /// Free blocks of `order` that carving one granule gives. A memmap's block at the start leaves one block of each
    /// order from its own to the highest but one, and all the rest is blocks of the highest.
    #[must_use]
    pub const fn free_blocks(memmap: Option<Order>, order: Order) -> u64 {
        let highest = Self::FRAMES / Order::MAX.frames();
        match memmap {
            Some(_) if order.as_u8() == Order::MAX.as_u8() => highest - 1,
            Some(memmap) => (order.as_u8() >= memmap.as_u8()) as u64,
            None if order.as_u8() == Order::MAX.as_u8() => highest,
            None => 0,
        }
    }

    /// The section that holds `pfn`.
    #[must_use]
    pub const fn section_of(pfn: Pfn) -> u64 {
        pfn.as_u64() / Self::SECTION_FRAMES
    }

    /// The frames of a section.
    #[must_use]
    pub const fn section_frames(section: u64) -> PfnRange {
        let start = Pfn::new(section.saturating_mul(Self::SECTION_FRAMES));
        PfnRange::new(start, start.saturating_add(Self::SECTION_FRAMES))
    }
}
