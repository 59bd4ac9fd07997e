//! `Discontig`: an array like that of [`Flat`](super::Flat) for each node, on that node.
//!
//! The gap between nodes, often the largest one, costs nothing, and the records of a node's memory lie in it. The way
//! from a frame to its record goes over the frame's node, which the table of sections knows; a section that nodes
//! share is, as a whole, in the array of the node whose memory comes first in it. So an array covers, in whole blocks
//! of the highest order, the memory of all sections of its node, holes between them and other nodes' sections among
//! them too: nodes that are interleaved pay for each other's frames. A node without memory has no array.
//!
//! Everything else is as in `Flat`. From a record to its frame costs O(nodes): the arrays are tried one by one.
//!
//! Linux: `DISCONTIGMEM`, until 5.13; `arch_pfn_to_nid` and `NODE_DATA(nid)->node_mem_map`, of `alloc_node_mem_map`.

use super::describe::{Describe, clear};
use super::page::Page;
use super::place::{Array, MemmapError, whole_blocks};
use super::section::{SectionState, Sections};
use super::table::SectionTable;
use super::{Granule, Memmap, MemoryModel};
use crate::addr::{NodeId, Order, Pfn, PfnRange};
use crate::arch::Arch;
use crate::layout::Layout;
use crate::machine::Owner;
use crate::memblock::{BootSlice, Memblock, NodeWish};
use crate::paging::{MapError, PageTables};
use core::fmt;

/// An array for each node.
pub struct Discontig<A> {
    access: A,
    sections: SectionTable<A>,
    /// By the node's number.
    arrays: BootSlice<A, Array>,
}

impl<A: Arch> Memmap for Discontig<A> {
    fn page(&self, pfn: Pfn) -> Option<&Page> {
        let section = self.sections.get(Granule::<A>::section_of(pfn));
        if section.state != SectionState::Described {
            return None;
        }
        let record = self.arrays.get(section.node.index())?.record(pfn)?;
        // SAFETY: the section is described, so its part of its node's array, which memblock gave for good in mapped
        // RAM, was cleared, a value of `Page`, before the state said so. Records are as long as their alignment and
        // the array begins at a page. They are only ever reached as atomics.
        Some(unsafe { &*self.access.phys_ptr(record).cast::<Page>() })
    }
}

impl<A: Arch> MemoryModel<A> for Discontig<A> {
    const NAME: &'static str = "discontig";
    const GRANULE_MEMMAP: Option<Order> = None;

    fn pfn_of(&self, page: &Page) -> Option<Pfn> {
        let address = self.access.ptr_phys((&raw const *page).cast())?;
        let pfn = self.arrays.iter().find_map(|array| array.frame_at(address))?;
        self.page(pfn).filter(|found| core::ptr::eq(*found, page)).map(|_| pfn)
    }
}

impl<A: Arch> Discontig<A> {
    /// Takes the arrays of all nodes from memblock.
    fn make_arrays(memblock: &mut Memblock<A>) -> Result<BootSlice<A, Array>, MemmapError> {
        let nodes = memblock.memory().iter().map(|region| region.node().unwrap_or_default().index() + 1).max();
        let owner = Owner::new("memmap arrays");
        let mut arrays = memblock.alloc_slice::<Array>(nodes.unwrap_or(0), NodeWish::Any, owner)?;
        for (number, array) in (0..).zip(arrays.iter_mut()) {
            let node = NodeId::new(number);
            let span = span_of(memblock, node);
            if !span.is_empty() {
                let frames = whole_blocks(span).ok_or(MemmapError::Beyond(span.end()))?;
                *array = Array::make(memblock, frames, NodeWish::Prefer(node))?;
            }
        }
        Ok(arrays)
    }

    /// Clears the records of `frames`, which lie in sections of `node`.
    fn clear(&self, frames: PfnRange, node: NodeId) {
        let Some(array) = self.arrays.get(node.index()) else { return };
        // SAFETY: the array is mapped RAM that memblock gave it, and the sections of these frames are not described.
        unsafe { clear(self.access, array.records_of(frames)) };
    }
}

/// From the first to the last frame of memory in the sections of `node`. O(regions).
fn span_of<A: Arch>(memblock: &Memblock<A>, node: NodeId) -> PfnRange {
    let mut span = PfnRange::EMPTY;
    let mut cover = |owner: NodeId, frames: PfnRange| {
        if owner == node && !frames.is_empty() {
            let start = if span.is_empty() { frames.start() } else { span.start() };
            span = PfnRange::new(start, frames.end());
        }
    };
    // The last section that has memory so far, and the node of the first memory in it.
    let mut last: Option<(u64, NodeId)> = None;
    for region in memblock.memory() {
        let frames = PfnRange::inside(region.range(), A::PAGE_SHIFT);
        if frames.is_empty() {
            continue;
        }
        let own = region.node().unwrap_or_default();
        let first = Granule::<A>::section_of(frames.start());
        let end = Granule::<A>::section_of(Pfn::new(frames.end().as_u64() - 1));
        let shared = last.filter(|&(section, _)| section == first);
        let border = if shared.is_some() { Granule::<A>::section_frames(first).end() } else { frames.start() };
        let border = border.min(frames.end());
        if let Some((_, owner)) = shared {
            cover(owner, PfnRange::new(frames.start(), border));
        }
        cover(own, PfnRange::new(border, frames.end()));
        last = if end == first { shared.or(Some((first, own))) } else { Some((end, own)) };
    }
    span
}

impl<A: Arch> Describe<A> for Discontig<A> {
    type Sections = SectionTable<A>;

    fn make(memblock: &mut Memblock<A>, _: &PageTables<A>, _: &Layout) -> Result<Self, MemmapError> {
        let arrays = Self::make_arrays(memblock)?;
        Ok(Self { access: memblock.access(), sections: SectionTable::make(memblock)?, arrays })
    }

    fn sections(&self) -> &SectionTable<A> {
        &self.sections
    }

    fn describe(
        &mut self,
        _: &mut Memblock<A>,
        _: &mut PageTables<A>,
        frames: PfnRange,
        node: NodeId,
    ) -> Result<(), MemmapError> {
        self.clear(frames, node);
        self.sections.set_described(frames);
        Ok(())
    }

    unsafe fn describe_granule(&self, granule: PfnRange) -> Result<(), MapError> {
        // A granule is of one zone, so of one node; the caller keeps others from describing it.
        self.clear(granule, self.sections.get(Granule::<A>::section_of(granule.start())).node);
        self.sections.set_described(granule);
        Ok(())
    }
}

impl<A: Arch> fmt::Debug for Discontig<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discontig")
            .field("arrays", &self.arrays)
            .field("sections", &self.sections)
            .finish_non_exhaustive()
    }
}
