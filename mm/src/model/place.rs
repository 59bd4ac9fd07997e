//! Memory for records at boot, and arrays of them.
//!
//! Memblock gives the memory, under the name [`MEMMAP_OWNER`], by which the page allocator tells it from other
//! reservations. It is RAM like any other, so records there are reached through the direct map, and the frame in which
//! a record lies follows from its address. [`Array`] is such memory for the records of one run of frames: all that
//! `Flat` is, and what `Discontig` has for each node.

use super::page::Page;
use crate::addr::{NodeId, Order, Pfn, PfnRange, PhysAddr, PhysRange};
use crate::arch::Arch;
use crate::machine::Owner;
use crate::memblock::{Memblock, NodeWish, OutOfMemory, Request, Zeroed};
use crate::paging::MapError;
use core::fmt;

/// The name under which memblock holds the memmap of what is described at boot.
pub const MEMMAP_OWNER: &str = "memmap";

/// Why the memmap could not be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemmapError {
    /// Memblock has no memory for it.
    OutOfMemory(OutOfMemory),
    /// It could not be mapped.
    Map(MapError),
    /// The layout's vmemmap is too small for this frame, or not aligned as the leaves need it.
    Layout(Pfn),
    /// There is memory at or beyond this frame, where the model's tables have no room for any.
    Beyond(Pfn),
}

impl fmt::Display for MemmapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfMemory(error) => write!(f, "memmap: {error}"),
            Self::Map(error) => write!(f, "memmap: {error}"),
            Self::Layout(pfn) => write!(f, "memmap: the vmemmap has no room for frame {:#x}", pfn.as_u64()),
            Self::Beyond(pfn) => write!(f, "memmap: the memory model has no room from frame {:#x} on", pfn.as_u64()),
        }
    }
}

impl core::error::Error for MemmapError {}

impl From<OutOfMemory> for MemmapError {
    fn from(error: OutOfMemory) -> Self {
        Self::OutOfMemory(error)
    }
}

impl From<MapError> for MemmapError {
    fn from(error: MapError) -> Self {
        Self::Map(error)
    }
}

/// Memory for records, aligned to `align`: inside `near` and on `node` if it has room, so that no granule is broken
/// for it that could stay untouched; else on the node, else anywhere.
pub(super) fn take<A: Arch>(
    memblock: &mut Memblock<A>,
    near: PhysRange,
    size: u64,
    align: u64,
    node: NodeId,
) -> Result<PhysRange, OutOfMemory> {
    let mapped = memblock.mapped();
    let request = |within, node| Request { size, align, within, node, owner: Owner::new(MEMMAP_OWNER) };
    memblock
        .alloc(request(near.intersection(mapped), NodeWish::Only(node)))
        .or_else(|_| memblock.alloc(request(mapped, NodeWish::Prefer(node))))
}

/// The blocks of the highest order that `frames` touch: whoever frees a block there looks at the records of its
/// buddies. `None` when that leaves the address space.
pub(super) fn whole_blocks(frames: PfnRange) -> Option<PfnRange> {
    let block = Order::MAX.frames();
    let end = frames.end().as_u64().checked_next_multiple_of(block)?;
    Some(PfnRange::new(Pfn::new(frames.start().as_u64() & !(block - 1)), Pfn::new(end)))
}

/// The records of a run of frames, one behind the other in RAM.
#[derive(Clone, Copy, Debug)]
pub(super) struct Array {
    frames: PfnRange,
    /// The first record.
    records: PhysAddr,
}

// SAFETY: transparent integers for which zero is a value: no frame, and so no record; no drop.
unsafe impl Zeroed for Array {}

impl Array {
    /// Memory for the records of `frames`, near `node`; their contents are arbitrary.
    pub(super) fn make<A: Arch>(
        memblock: &mut Memblock<A>,
        frames: PfnRange,
        node: NodeWish,
    ) -> Result<Self, OutOfMemory> {
        let each = Page::BYTES;
        let too_large = OutOfMemory::TooLarge { items: frames.count(), each };
        let size = frames.count().checked_mul(each).and_then(|bytes| bytes.checked_next_multiple_of(A::PAGE_SIZE));
        let request = Request {
            size: size.ok_or(too_large)?,
            align: A::PAGE_SIZE,
            within: memblock.mapped(),
            node,
            owner: Owner::new(MEMMAP_OWNER),
        };
        Ok(Self { frames, records: memblock.alloc(request)?.start() })
    }

    /// The frames that have a record here.
    pub(super) const fn frames(&self) -> PfnRange {
        self.frames
    }

    /// Where the record of `pfn` lies.
    pub(super) fn record(&self, pfn: Pfn) -> Option<PhysAddr> {
        let offset = pfn.checked_sub(self.frames.start())?;
        (offset < self.frames.count()).then(|| self.records.saturating_add(offset * Page::BYTES))
    }

    /// The frame whose record lies at `address`.
    pub(super) fn frame_at(&self, address: PhysAddr) -> Option<Pfn> {
        let offset = address.checked_sub(self.records)? / Page::BYTES;
        (offset < self.frames.count()).then(|| self.frames.start().saturating_add(offset))
    }

    /// Where the records of those of `frames` lie that have one.
    pub(super) fn records_of(&self, frames: PfnRange) -> PhysRange {
        let part = self.frames.intersection(frames);
        let range = self.record(part.start()).and_then(|start| PhysRange::from_size(start, part.count() * Page::BYTES));
        range.unwrap_or(PhysRange::EMPTY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> PfnRange {
        PfnRange::new(Pfn::new(start), Pfn::new(end))
    }

    #[test]
    fn blocks_of_the_highest_order_around_frames() {
        assert_eq!(whole_blocks(range(1, 2)), Some(range(0, 1024)));
        assert_eq!(whole_blocks(range(1023, 1025)), Some(range(0, 2048)));
        assert_eq!(whole_blocks(range(2048, 4096)), Some(range(2048, 4096)));
        assert_eq!(whole_blocks(range(0, u64::MAX)), None);
    }

    #[test]
    fn an_array_finds_frames_and_records() {
        let array = Array { frames: range(1024, 3072), records: PhysAddr::new(0x5000) };
        assert_eq!(array.record(Pfn::new(1024)), Some(PhysAddr::new(0x5000)));
        assert_eq!(array.record(Pfn::new(3071)), Some(PhysAddr::new(0x5000 + 2047 * 32)));
        assert_eq!((array.record(Pfn::new(1023)), array.record(Pfn::new(3072))), (None, None));
        assert_eq!(array.frame_at(PhysAddr::new(0x5000 + 2047 * 32)), Some(Pfn::new(3071)));
        assert_eq!((array.frame_at(PhysAddr::new(0x4fe0)), array.frame_at(PhysAddr::new(0x15000))), (None, None));
        let records = array.records_of(range(0, 1026));
        assert_eq!((records.start().as_u64(), records.size()), (0x5000, 64));
        assert!(array.records_of(range(3072, 9000)).is_empty());
    }
}
