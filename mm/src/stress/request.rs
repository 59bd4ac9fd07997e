//! What is asked for, and whether the answer can be right.
//!
//! A request that is granted leads to a block whose record says the same as the request: handed out, of this order, in a
//! zone and on a node that were asked for; an object is one of a slab and begins where it was handed out. A request that
//! is refused is refused for lack of memory, or because there is no such node; with one CPU it is also true that no
//! zone had any to spare.

use super::failure::{Found, Problem};
use super::random::Random;
use super::tally::Tally;
use super::ticket::{Block, Kind, Origin};
use super::{CACHES, Stress, contents::Contents};
use crate::addr::{NodeId, Order, Pfn, PhysAddr};
use crate::arch::Arch;
use crate::model::page::PageState;
use crate::model::{MemoryModel, Page};
use crate::page_alloc::{AllocError, Contents as Cleared, Gfp, NodeWish, PageInfo, Urgency};
use crate::slab::{ObjectState, SlabError};
use crate::zone::ZoneKind;

/// Sizes and alignments for `kmalloc`: each class from inside and from its edge, and blocks of their own.
const SIZES: [(usize, usize); 16] = [
    (1, 1),
    (8, 8),
    (13, 4),
    (30, 8),
    (64, 64),
    (90, 8),
    (100, 4),
    (150, 8),
    (192, 64),
    (250, 8),
    (510, 16),
    (1000, 8),
    (2048, 2048),
    (3000, 8),
    (8192, 8),
    (20000, 8),
];

/// Of so many objects, one is looked up in its slab.
const LOOKED_UP: u64 = 32;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Request {
    Pages { order: Order, gfp: Gfp },
    Kmalloc { size: usize, align: usize, gfp: Gfp },
    Object { cache: u8, gfp: Gfp },
}

/// Who asks for something small.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Urge {
    /// A step of a CPU.
    None,
    /// An interrupt handler.
    Interrupt,
}

/// Memory was refused, for a good reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Refused;

impl Request {
    /// An object, or a page or two, from anywhere.
    pub(super) fn small(random: &mut Random, urge: Urge) -> Self {
        let urgency = if urge == Urge::Interrupt { Urgency::Atomic } else { Urgency::Normal };
        let gfp = Gfp { urgency, ..Gfp::KERNEL };
        let choice = random.below(10);
        match choice {
            0..4 => Self::Pages { order: Order::new(random.halving(1)).unwrap_or_default(), gfp },
            4..8 => {
                let (size, align) = random.pick(&SIZES, (8, 8));
                Self::Kmalloc { size, align, gfp }
            }
            _ => Self::Object { cache: random.below(CACHES.len() as u64) as u8, gfp },
        }
    }

    fn gfp(&self) -> Gfp {
        match *self {
            Self::Pages { gfp, .. } | Self::Kmalloc { gfp, .. } | Self::Object { gfp, .. } => gfp,
        }
    }

    /// For a digest.
    pub(super) fn as_word(&self) -> u64 {
        match *self {
            Self::Pages { order, .. } => u64::from(order.as_u8()) << 8 | 1,
            Self::Kmalloc { size, .. } => (size as u64) << 8 | 2,
            Self::Object { cache, .. } => u64::from(cache) << 8 | 3,
        }
    }
}

impl<A: Arch, M: MemoryModel<A>> Stress<'_, A, M> {
    /// Any request at all, of at most so many frames.
    pub(super) fn any_request(&self, random: &mut Random, most: u64) -> Request {
        let wish = self.node_wish(random);
        let clear = random.once_in(4);
        let urgency = if random.once_in(8) { Urgency::Atomic } else { Urgency::Normal };
        let contents = if clear { Cleared::Zeroed } else { Cleared::Any };
        let gfp = Gfp { zone: ZoneKind::Normal, node: wish, contents, urgency };
        match random.below(10) {
            0..5 => {
                let zone = random.pick(&ZoneKind::ALL, ZoneKind::Normal);
                let highest = Order::all().rev().find(|order| order.frames() <= most).unwrap_or_default();
                let order = Order::new(random.halving(highest.as_u8())).unwrap_or_default();
                Request::Pages { order, gfp: Gfp { zone, ..gfp } }
            }
            5..8 => {
                let (size, align) = random.pick(&SIZES, (8, 8));
                let zone = if random.once_in(16) { ZoneKind::Dma32 } else { ZoneKind::Normal };
                Request::Kmalloc { size, align, gfp: Gfp { zone, ..gfp } }
            }
            _ => Request::Object { cache: random.below(CACHES.len() as u64) as u8, gfp },
        }
    }

    /// Asks, looks at the answer, and fills what was handed out.
    pub(super) fn ask(
        &self,
        request: &Request,
        origin: Origin,
        tally: &mut Tally,
    ) -> Result<Result<Block, Refused>, Found> {
        let slab = &self.mm.slab;
        let handed_out = match *request {
            Request::Pages { order, gfp } => match self.mm.pages.alloc(order, gfp) {
                Ok(pfn) => {
                    tally.pages += 1;
                    self.expect_block(pfn, order, gfp)?;
                    Ok((Kind::Pages(order), pfn.address(A::PAGE_SHIFT).as_u64(), order.frames() << A::PAGE_SHIFT))
                }
                Err(error) => Err(self.expect_refusal(error, order, gfp).map_err(|problem| problem.at(0))?),
            },
            Request::Kmalloc { size, align, gfp } => {
                let object = slab.kmalloc_with(size, align, gfp);
                self.expect_object(object, align as u64, gfp, tally)?
                    .map(|address| (Kind::Kmalloc, address, size as u64))
            }
            Request::Object { cache, gfp } => {
                let (id, (_, size, align)) = self.own_cache(cache);
                self.expect_object(slab.alloc_with(id, gfp), align, gfp, tally)?
                    .map(|address| (Kind::Object(cache), address, size))
            }
        };
        let Ok((kind, address, bytes)) = handed_out else {
            tally.refused += 1;
            return Ok(Err(Refused));
        };
        let block = Block { kind, address, bytes, origin };
        let contents = self.contents(&block);
        let at = self.reach(&block);
        if request.gfp().contents == Cleared::Zeroed {
            // SAFETY: the block was just handed out to this caller, and all of it was cleared.
            let zero = unsafe { contents.check_zero(&at) };
            zero.map_err(|found| Problem::NotZero { offset: found.offset, found: found.found }.at(address))?;
        }
        // SAFETY: the block is as large as was asked for and nobody else's; objects begin at multiples of 8.
        unsafe { contents.fill(&at) };
        Ok(Ok(block))
    }

    /// The number of one of the run's own caches, and what it is for.
    pub(super) fn own_cache(&self, cache: u8) -> (crate::slab::CacheId, (&'static str, u64, u64)) {
        let found = self.caches.iter().zip(CACHES).nth(usize::from(cache));
        found.map_or((crate::slab::CacheId::KMEM_CACHE, ("", 0, 8)), |(id, cache)| (*id, cache))
    }

    /// What a block is filled with.
    pub(super) fn contents(&self, block: &Block) -> Contents {
        Contents { bytes: block.bytes, page: A::PAGE_SIZE, tag: block.tag(self.config.seed) }
    }

    /// The way to a block's bytes.
    pub(super) fn reach(&self, block: &Block) -> impl Fn(u64) -> *mut u8 + use<A, M> {
        let access = self.mm.pages.access();
        let start = PhysAddr::new(block.address);
        move |offset| access.phys_ptr(start.saturating_add(offset))
    }

    /// Looks whether a block that is held holds what was written into it.
    pub(super) fn check(&self, block: &Block, tally: &mut Tally) -> Result<(), Found> {
        tally.checked += 1;
        // SAFETY: whoever has the block's ticket owns the block, and it was filled when it was handed out.
        let checked = unsafe { self.contents(block).check(self.reach(block)) };
        checked.map_err(|mismatch| Found::contents(mismatch, block.address, block.origin))
    }

    /// Gives a block back that is held.
    pub(super) fn give_back(&self, block: &Block, tally: &mut Tally) -> Result<(), Found> {
        let pointer = self.reach(block)(0);
        // SAFETY: whoever has the block's ticket owns the block, and gives the ticket up with it.
        let freed = unsafe {
            match block.kind {
                Kind::Pages(order) => {
                    let pfn = Pfn::containing(PhysAddr::new(block.address), A::PAGE_SHIFT);
                    self.mm.pages.free(pfn, order).map_err(Problem::Free)
                }
                Kind::Kmalloc => self.mm.slab.kfree(pointer).map_err(Problem::Kfree),
                Kind::Object(cache) => self.mm.slab.free(self.own_cache(cache).0, pointer).map_err(Problem::Kfree),
            }
        };
        tally.freed += 1;
        freed.map_err(|problem| problem.at(block.address))
    }

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
    fn expect_object(
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
