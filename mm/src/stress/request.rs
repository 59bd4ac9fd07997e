//! What is asked for, and the way to what was handed out: filling it, looking at it, giving it back.

use super::contents::Contents;
use super::failure::{Found, Problem};
use super::random::Random;
use super::tally::Tally;
use super::ticket::{Block, Kind, Origin};
use super::{CACHES, Stress};
use crate::addr::{Order, Pfn, PhysAddr, VirtAddr};
use crate::arch::Arch;
use crate::model::MemoryModel;
use crate::page_alloc::{Contents as Cleared, Gfp, Urgency};
use crate::slab::CacheId;
use crate::vmalloc::VmallocOptions;
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

/// A kernel virtual range has up to so many pages, and seldom so many.
const AREA_PAGES: u64 = 8;
const MANY_AREA_PAGES: u64 = 40;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Request {
    Pages { order: Order, gfp: Gfp },
    Kmalloc { size: usize, align: usize, gfp: Gfp },
    Object { cache: u8, gfp: Gfp },
    Area { bytes: u64, options: VmallocOptions },
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

    /// What was asked to be in it.
    fn cleared(&self) -> Cleared {
        match *self {
            Self::Pages { gfp, .. } | Self::Kmalloc { gfp, .. } | Self::Object { gfp, .. } => gfp.contents,
            Self::Area { options, .. } => options.contents,
        }
    }

    /// For a digest.
    pub(super) fn as_word(&self) -> u64 {
        match *self {
            Self::Pages { order, .. } => u64::from(order.as_u8()) << 8 | 1,
            Self::Kmalloc { size, .. } => (size as u64) << 8 | 2,
            Self::Object { cache, .. } => u64::from(cache) << 8 | 3,
            Self::Area { bytes, .. } => bytes << 8 | 4,
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
        match random.below(20) {
            0..8 => {
                let zone = random.pick(&ZoneKind::ALL, ZoneKind::Normal);
                let highest = Order::all().rev().find(|order| order.frames() <= most).unwrap_or_default();
                let order = Order::new(random.halving(highest.as_u8())).unwrap_or_default();
                Request::Pages { order, gfp: Gfp { zone, ..gfp } }
            }
            8..14 => {
                let (size, align) = random.pick(&SIZES, (8, 8));
                let zone = if random.once_in(16) { ZoneKind::Dma32 } else { ZoneKind::Normal };
                Request::Kmalloc { size, align, gfp: Gfp { zone, ..gfp } }
            }
            14..18 => Request::Object { cache: random.below(CACHES.len() as u64) as u8, gfp },
            _ => {
                let most = most.min(if random.once_in(16) { MANY_AREA_PAGES } else { AREA_PAGES });
                let bytes = (1 + random.below(most)) << A::PAGE_SHIFT;
                Request::Area { bytes, options: VmallocOptions { node: wish, contents, align_bytes: 1 } }
            }
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
            Request::Area { bytes, options } => {
                let area = self.mm.vmalloc.alloc(bytes, "stress", options);
                tally.areas += u64::from(area.is_ok());
                self.expect_area(area, bytes, options.node)?.map(|address| (Kind::Area, address, bytes))
            }
        };
        let Ok((kind, address, bytes)) = handed_out else {
            tally.refused += 1;
            return Ok(Err(Refused));
        };
        let block = Block { kind, address, bytes, origin };
        let contents = self.contents(&block);
        let at = self.reach(&block);
        if request.cleared() == Cleared::Zeroed {
            // SAFETY: the block was just handed out to this caller, and all of it was cleared.
            let zero = unsafe { contents.check_zero(&at) };
            zero.map_err(|found| Problem::NotZero { offset: found.offset, found: found.found }.at(address))?;
        }
        // SAFETY: the block is as large as was asked for and nobody else's; objects begin at multiples of 8.
        unsafe { contents.fill(&at) };
        Ok(Ok(block))
    }

    /// The number of one of the run's own caches, and what it is for.
    pub(super) fn own_cache(&self, cache: u8) -> (CacheId, (&'static str, u64, u64)) {
        let found = self.caches.iter().zip(CACHES).nth(usize::from(cache));
        found.map_or((CacheId::KMEM_CACHE, ("", 0, 8)), |(id, cache)| (*id, cache))
    }

    /// What a block is filled with.
    pub(super) fn contents(&self, block: &Block) -> Contents {
        Contents { bytes: block.bytes, page: A::PAGE_SIZE, tag: block.tag(self.config.seed) }
    }

    /// The way to a block's bytes.
    pub(super) fn reach(&self, block: &Block) -> impl Fn(u64) -> *mut u8 + use<A, M> {
        let access = self.mm.pages.access();
        let Block { kind, address, .. } = *block;
        let first = match kind {
            // Page by page: neighbours here need not be neighbours elsewhere.
            Kind::Area => None,
            _ => Some(access.phys_ptr(PhysAddr::new(address))),
        };
        move |offset| match first {
            // All of a block lies in one range of RAM.
            Some(first) => first.wrapping_add(offset as usize),
            None => access.virt_ptr(VirtAddr::new(address).saturating_add(offset)),
        }
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
                Kind::Area => self.mm.vmalloc.free(VirtAddr::new(block.address)).map_err(Problem::Vfree),
            }
        };
        tally.freed += 1;
        freed.map_err(|problem| problem.at(block.address))
    }
}
