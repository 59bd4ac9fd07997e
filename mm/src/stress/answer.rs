//! Whether an answer can be right.
//!
//! A request that is granted leads to a block whose record says the same as the request: handed out, of this order, in a
//! zone and on a node that were asked for; an object is one of a slab and begins where it was handed out; a kernel
//! virtual range is live. A request that is refused is refused for lack of memory, or because there is no such node; with
//! one CPU it is also true that no zone had any to spare.

#![forbid(unsafe_code)]

use super::Stress;
use super::failure::{Found, Problem};
use super::request::Refused;
use super::tally::Tally;
use crate::addr::{NodeId, Order, Pfn};
use crate::arch::Arch;
use crate::layout::VirtRange;
use crate::model::{MemoryModel, Page, PageState};
use crate::page_alloc::{AllocError, Gfp, NodeWish, PageInfo, Urgency};
use crate::paging::MapError;
use crate::slab::{ObjectState, SlabError};
use crate::vmalloc::{AreaState, VmallocError};

/// Of so many objects, one is looked up in its slab.
const LOOKED_UP: u64 = 32;

impl<A: Arch, M: MemoryModel<A>> Stress<'_, A, M> {
    /// Whether the block that was handed out is one, and lies where it was asked for.
    pub(super) fn expect_block(&self, pfn: Pfn, order: Order, gfp: Gfp) -> Result<(), Found> {
        let found = self.mm.pages.page_info(pfn);
        let fits = match found {
            PageInfo::Block { head, order: of, state: PageState::Allocated, zone } if head == pfn && of == order => {
                self.mm.pages.zones().span(zone).is_some_and(|span| {
                    let on_node = !matches!(gfp.node, NodeWish::Only(node) if node != span.node);
                    on_node && span.kind <= gfp.zone && span.range.contains(pfn)
                })
            }
            _ => false,
        };
        let aligned = pfn.as_u64().is_multiple_of(order.frames());
        let address = pfn.address(A::PAGE_SHIFT).as_u64();
        if fits && aligned { Ok(()) } else { Err(Problem::Misplaced { order, found }.at(address)) }
    }

    /// Whether pages can have been refused like this.
    pub(super) fn expect_refusal(&self, error: AllocError, order: Order, gfp: Gfp) -> Result<Refused, Problem> {
        match error {
            AllocError::NoMemory { order: of } if of == order => Ok(Refused),
            AllocError::NoNode if self.lacks(gfp.node) => Ok(Refused),
            _ => Err(Problem::Pages(error)),
        }
    }

    fn lacks(&self, wish: NodeWish) -> bool {
        match wish {
            NodeWish::Any => false,
            NodeWish::Prefer(node) | NodeWish::Only(node) => self.mm.pages.nodes().node(node).is_none(),
        }
    }

    /// The address of an object that was handed out; or whether it can have been refused like this.
    pub(super) fn expect_object(
        &self,
        object: Result<core::ptr::NonNull<u8>, SlabError>,
        align: u64,
        gfp: Gfp,
        tally: &mut Tally,
    ) -> Result<Result<u64, Refused>, Found> {
        let pointer = match object {
            Ok(pointer) => pointer,
            Err(SlabError::Pages(AllocError::NoMemory { .. })) => return Ok(Err(Refused)),
            Err(SlabError::Pages(AllocError::NoNode)) if self.lacks(gfp.node) => return Ok(Err(Refused)),
            Err(error) => return Err(Problem::Objects(error).at(0)),
        };
        tally.objects += 1;
        let none = Problem::NotAnObject;
        let address = self.mm.pages.access().ptr_phys(pointer.as_ptr()).ok_or(none.at(0))?;
        if !address.is_aligned(align.max(8)) {
            return Err(none.at(address.as_u64()));
        }
        // Looking an object up walks its slab's list.
        if tally.objects.is_multiple_of(LOOKED_UP) {
            let is_object = match self.mm.slab.object_at(address) {
                Some(object) => object.start == address && object.state == ObjectState::InUse,
                None => {
                    let pfn = Pfn::containing(address, A::PAGE_SHIFT);
                    let state = self.mm.pages.memmap().page(pfn).map(Page::head).map(|head| head.state());
                    state == Some(PageState::Large) && address == pfn.address(A::PAGE_SHIFT)
                }
            };
            if !is_object {
                return Err(none.at(address.as_u64()));
            }
        }
        Ok(Ok(address.as_u64()))
    }

    /// The first address of a kernel virtual range that was handed out; or whether it can have been refused like this.
    pub(super) fn expect_area(
        &self,
        area: Result<VirtRange, VmallocError>,
        bytes: u64,
        node: NodeWish,
    ) -> Result<Result<u64, Refused>, Found> {
        let range = match area {
            Ok(range) => range,
            Err(
                VmallocError::Pages(AllocError::NoMemory { .. })
                | VmallocError::Record(AllocError::NoMemory { .. })
                | VmallocError::Map(MapError::OutOfFrames { .. }),
            ) => return Ok(Err(Refused)),
            Err(VmallocError::Pages(AllocError::NoNode)) if self.lacks(node) => return Ok(Err(Refused)),
            Err(error) => return Err(Problem::Areas(error).at(0)),
        };
        let start = range.start();
        let found = self.mm.vmalloc.find(start);
        let is_area = found.is_some_and(|area| area.mapped == range && area.state == AreaState::Live);
        if is_area && range.size() == bytes && start.is_aligned(A::PAGE_SIZE) {
            Ok(Ok(start.as_u64()))
        } else {
            Err(Problem::NotAnObject.at(start.as_u64()))
        }
    }

    /// Whether no zone could spare a block that was refused. Only true where nobody else allocates.
    pub(super) fn expect_scarcity(&self, order: Order, gfp: Gfp) -> Result<(), Problem> {
        let pages = &self.mm.pages;
        let zones = pages.zones();
        let list = match gfp.node {
            NodeWish::Any => zones.zonelist(pages.current_node(), gfp.zone),
            NodeWish::Prefer(node) => zones.zonelist(node, gfp.zone),
            NodeWish::Only(node) => zones.this_node_zonelist(node, gfp.zone),
        };
        for &zone in list {
            let counts = pages.counts(zone);
            let min = match gfp.urgency {
                Urgency::Normal => counts.watermarks.min,
                Urgency::Atomic => counts.watermarks.min.div_ceil(2),
            };
            let kept = min + counts.protection.get(gfp.zone.index()).copied().unwrap_or(0);
            let enough = counts.free + 1 > kept + order.frames();
            let fits = Order::all().zip(counts.free_blocks).any(|(of, blocks)| of >= order && blocks > 0);
            if enough && fits {
                return Err(Problem::Withheld { order, zone });
            }
        }
        Ok(())
    }

    /// A node that is there but has no memory.
    pub(super) fn memoryless_node(&self) -> Option<NodeId> {
        self.mm.pages.nodes().iter().find(|node| !node.has_memory).map(|node| node.id)
    }
}
