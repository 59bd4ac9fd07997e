//! The steps of one CPU.
//!
//! A step turns to one place in the CPU's hand. What it does there is chosen by chance, and by the wave: for some hundred
//! steps more is taken than given back, then the other way round, so that the allocators' lists grow and shrink.

use super::failure::{Found, Problem};
use super::random::Random;
use super::request::{Refused, Request, Urge};
use super::squeeze::Squeeze;
use super::tally::Tally;
use super::ticket::{Block, Kind, Origin, Slot, Ticket};
use super::{CACHES, Stress};
use crate::addr::{NodeId, Order, Pfn, PhysAddr, VirtAddr};
use crate::arch::Arch;
use crate::model::MemoryModel;
use crate::page_alloc::{AllocError, FreeError, Gfp, NodeWish};
use crate::slab::{KfreeError, SlabError};
use crate::vmalloc::{AreaKind, VfreeError, VmallocError, VmallocOptions};
use crate::zone::ZoneKind;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Steps of a wave.
const WAVE: u64 = 1024;
/// Places that a step looks at for one that it wants.
const LOOKED_AT: usize = 8;
/// Of so many steps, one begins a squeeze, which lasts so many steps.
const BETWEEN_SQUEEZES: u64 = 8192;
const SQUEEZE: u64 = 64;
/// Of so many steps, one gives all empty slabs back.
const BETWEEN_SHRINKS: u64 = 1024;
/// Pages of a block that are mapped once more at most.
const MAPPED: usize = 4;
/// A refusal on purpose comes after fewer requests for pages than this.
const BEFORE_REFUSAL: u64 = 6;

/// What a step does.
#[derive(Clone, Copy, Debug)]
enum Action {
    /// Takes a block.
    Take,
    /// Gives one back.
    Give,
    /// Swaps a block with what another CPU left.
    Exchange,
    /// Looks at a block.
    Look,
    /// Takes a block while a request for pages is refused on purpose.
    Refuse,
    /// Asks for what nobody can have, or frees what cannot be freed.
    Wrong,
}

/// One CPU of a run.
pub(super) struct Worker<'s, 'm, A: Arch, M: MemoryModel<A>> {
    stress: &'s Stress<'m, A, M>,
    cpu: u32,
    step: u64,
    random: Random,
    tally: Tally,
    hand: &'s [Slot],
    /// Frames in the hand.
    frames: u64,
    squeeze: Option<Squeeze>,
    /// The step at which the squeeze ends.
    until: u64,
}

impl<'s, 'm, A: Arch, M: MemoryModel<A>> Worker<'s, 'm, A, M> {
    pub(super) fn new(stress: &'s Stress<'m, A, M>, cpu: u32) -> Self {
        let random = Random::new(stress.config.seed, u64::from(cpu));
        let hand = stress.table.hand(cpu);
        Self { stress, cpu, step: 0, random, tally: Tally::default(), hand, frames: 0, squeeze: None, until: 0 }
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    pub(super) fn step(&self) -> u64 {
        self.step
    }

    /// Does the steps, until somebody finds a failure. What the hand holds afterwards stays there.
    pub(super) fn work(&mut self, steps: u64, done: &AtomicU64) -> Result<(), Found> {
        // One squeeze there is in every run that is long enough for it.
        let sure = steps / 2;
        while self.step < steps && !self.stress.stopped() {
            if self.until == self.step {
                self.relieve()?;
            }
            if self.squeeze.is_none() && (self.step == sure || self.random.once_in(BETWEEN_SQUEEZES)) {
                let origin = self.origin();
                self.squeeze = Some(Squeeze::new(self.stress, &mut self.random, origin, &mut self.tally)?);
                self.until = self.step + SQUEEZE;
            }
            if self.random.once_in(BETWEEN_SHRINKS) {
                self.stress.mm.slab.shrink();
            }
            self.act()?;
            self.step += 1;
            self.tally.operations = self.step;
            done.store(self.step, Relaxed);
        }
        if self.stress.stopped() { Ok(()) } else { self.relieve() }
    }

    fn relieve(&mut self) -> Result<(), Found> {
        match self.squeeze.take() {
            Some(squeeze) => squeeze.end(self.stress, &mut self.tally),
            None => Ok(()),
        }
    }

    fn act(&mut self) -> Result<(), Found> {
        let action = self.action();
        let start = self.random.below(self.hand.len() as u64) as usize;
        let places = self.hand.iter().cycle().skip(start);
        let tickets = places.filter_map(|place| Some((place, self.stress.table.ticket(place.number())?)));
        // The first one that suits, or any.
        let wants_block = !matches!(action, Action::Take | Action::Refuse);
        let mut near = tickets.take(LOOKED_AT);
        let Some(mut chosen) = near.next() else { return Ok(()) };
        if chosen.1.block().is_some() != wants_block {
            chosen = near.find(|(_, ticket)| ticket.block().is_some() == wants_block).unwrap_or(chosen);
        }
        let (place, ticket) = chosen;
        let held = ticket.block();
        self.tally.digest(action as u64 ^ held.map_or(0, |block| block.address));
        match (action, held) {
            (Action::Exchange, held) => self.exchange(place, held),
            (Action::Wrong, Some(block)) if self.random.once_in(2) => self.free_wrongly(&block),
            (Action::Wrong, _) => self.ask_in_vain(),
            (Action::Refuse, None) => self.take_while_refused(ticket),
            (_, None) => self.take(ticket),
            (Action::Look, Some(block)) => self.look(&block),
            (_, Some(block)) => self.free(ticket, &block),
        }
    }

    fn action(&mut self) -> Action {
        let grows = (self.step / WAVE).is_multiple_of(2);
        match self.random.below(100) {
            0..50 if grows => Action::Take,
            0..50 => Action::Give,
            50..60 => Action::Take,
            60..70 => Action::Give,
            70..85 => Action::Exchange,
            85..90 => Action::Look,
            90..95 => Action::Refuse,
            _ => Action::Wrong,
        }
    }

    fn origin(&self) -> Origin {
        Origin::Step { cpu: self.cpu, step: self.step }
    }

    fn request(&mut self) -> Request {
        let left = self.stress.budget.saturating_sub(self.frames);
        let request = match left {
            0 => Request::small(&mut self.random, Urge::None),
            _ => self.stress.any_request(&mut self.random, left),
        };
        self.tally.digest(request.as_word());
        request
    }

    /// Takes a block for the ticket, which has none.
    fn take(&mut self, ticket: &Ticket) -> Result<(), Found> {
        let request = self.request();
        let interrupts = self.stress.interrupts.load(Relaxed);
        let granted = self.ask(&request, ticket)?;
        let alone = self.stress.config.cpus == 1 && interrupts == self.stress.interrupts.load(Relaxed);
        if let (Err(Refused), Request::Pages { order, gfp }, true) = (granted, request, alone) {
            self.stress.expect_scarcity(order, gfp).map_err(|problem| problem.at(0))?;
        }
        Ok(())
    }

    fn ask(&mut self, request: &Request, ticket: &Ticket) -> Result<Result<(), Refused>, Found> {
        let granted = self.stress.ask(request, self.origin(), &mut self.tally)?;
        self.tally.digest(granted.map_or(0, |block| block.address));
        if let Ok(block) = granted {
            self.frames += block.frames(A::PAGE_SHIFT);
            ticket.set(Some(block));
        }
        Ok(granted.map(|_| ()))
    }

    /// As [`Worker::take`], while one of the next requests for pages is refused.
    fn take_while_refused(&mut self, ticket: &Ticket) -> Result<(), Found> {
        let request = self.request();
        let after = self.random.below(BEFORE_REFUSAL) as u16;
        let refusal = self.stress.mm.pages.refuse_after(after);
        let granted = self.ask(&request, ticket)?;
        if refusal.is_some_and(|refusal| refusal.happened()) {
            self.tally.refused_on_purpose += 1;
            if granted.is_err() {
                self.tally.refused -= 1;
            }
        }
        Ok(())
    }

    /// Gives the ticket's block back.
    fn free(&mut self, ticket: &Ticket, block: &Block) -> Result<(), Found> {
        self.stress.check(block, &mut self.tally)?;
        ticket.set(None);
        self.frames = self.frames.saturating_sub(block.frames(A::PAGE_SHIFT));
        if !matches!(block.origin, Origin::Step { cpu, .. } if cpu == self.cpu) {
            self.tally.freed_for_others += 1;
        }
        self.stress.give_back(block, &mut self.tally)
    }

    /// Looks at a block, sometimes also through a kernel virtual range that is made for that.
    fn look(&mut self, block: &Block) -> Result<(), Found> {
        self.stress.check(block, &mut self.tally)?;
        let Kind::Pages(order) = block.kind else { return Ok(()) };
        let first = Pfn::containing(PhysAddr::new(block.address), A::PAGE_SHIFT);
        // Upside down, so that what lies side by side is apart there.
        let mut frames = [first; MAPPED];
        let count = (order.frames() as usize).min(MAPPED);
        let (frames, _) = frames.split_at_mut(count);
        frames.iter_mut().zip((0..count as u64).rev()).for_each(|(frame, at)| *frame = first.saturating_add(at));
        let area = self.stress.mm.vmalloc.map_pages(frames, "stress");
        let bytes = (count as u64) << A::PAGE_SHIFT;
        let Ok(start) = self.stress.expect_area(area, bytes, NodeWish::Any)? else { return Ok(()) };
        let access = self.stress.mm.pages.access();
        let at = |offset: u64| {
            let page = offset >> A::PAGE_SHIFT;
            let inside = offset & (A::PAGE_SIZE - 1);
            let there = (count as u64 - 1 - page) << A::PAGE_SHIFT | inside;
            access.virt_ptr(VirtAddr::new(start + there))
        };
        let contents = self.stress.contents(block);
        // SAFETY: the block is this CPU's and was filled; of a block of more pages, no word behind these is looked at.
        let checked = unsafe { contents.check_up_to(at, bytes) };
        checked.map_err(|mismatch| Found::contents(mismatch, start, block.origin))?;
        self.tally.mapped += count as u64;
        // SAFETY: the range was made right above, and nobody else knows it.
        let freed = unsafe { self.stress.mm.vmalloc.unmap_pages(VirtAddr::new(start)) };
        freed.map_err(|error| Problem::Vfree(error).at(start))
    }

    /// Leaves the ticket at `place`, with its block or without, where another CPU may find it, and takes what is there.
    fn exchange(&mut self, place: &Slot, held: Option<Block>) -> Result<(), Found> {
        let shared = self.stress.table.shared();
        let Some(slot) = shared.get(self.random.below(shared.len() as u64) as usize) else { return Ok(()) };
        let number = slot.swap(place.number());
        place.swap(number);
        let frames = |block: Option<Block>| block.map_or(0, |block| block.frames(A::PAGE_SHIFT));
        self.frames = self.frames.saturating_sub(frames(held));
        let Some(ticket) = self.stress.table.ticket(number) else { return Ok(()) };
        let found = ticket.block();
        self.frames += frames(found);
        match found {
            Some(block) if !self.random.once_in(4) => self.free(ticket, &block),
            Some(block) => self.stress.check(&block, &mut self.tally),
            None => Ok(()),
        }
    }

    /// Asks for what nobody can have.
    fn ask_in_vain(&mut self) -> Result<(), Found> {
        let mm = self.stress.mm;
        let nowhere = NodeId::new(mm.pages.nodes().id_limit() as u16);
        let (own, _) = self.stress.own_cache(self.random.below(CACHES.len() as u64) as u8);
        let objects = |size: usize, gfp| mm.slab.kmalloc_with(size, 8, gfp).map(|_| ());
        let area = |bytes, align| mm.vmalloc.alloc(bytes, "stress", VmallocOptions::RAW.aligned(align)).map(|_| ());
        let right = match self.random.below(9) {
            0 => {
                let asked = mm.pages.alloc(Order::default(), Gfp::KERNEL.on(NodeWish::Only(nowhere)));
                asked == Err(AllocError::NoNode)
            }
            1 => {
                let too_many = ((Order::MAX.frames() << A::PAGE_SHIFT) + 1) as usize;
                matches!(objects(too_many, Gfp::KERNEL), Err(SlabError::TooLarge { .. }))
            }
            2 => objects(64, Gfp::MOVABLE) == Err(SlabError::Zone(ZoneKind::Movable)),
            3 => mm.slab.alloc_with(own, Gfp::DMA).map(|_| ()) == Err(SlabError::Zone(ZoneKind::Dma)),
            4 => area(0, 1) == Err(VmallocError::Empty),
            5 => area(1, 3) == Err(VmallocError::Alignment(3)),
            6 => matches!(area(mm.vmalloc.space().size(), 1), Err(VmallocError::NoSpace { .. })),
            7 => objects(20_000, Gfp::KERNEL.on(NodeWish::Only(nowhere))) == Err(SlabError::Pages(AllocError::NoNode)),
            _ => match self.stress.memoryless_node() {
                Some(node) => {
                    let order = Order::default();
                    let asked = mm.pages.alloc(order, Gfp::MOVABLE.on(NodeWish::Only(node)));
                    asked == Err(AllocError::NoMemory { order })
                }
                None => return Ok(()),
            },
        };
        self.tally.wrong += 1;
        if right { Ok(()) } else { Err(Problem::Granted.at(0)) }
    }

    /// Frees a block that is held as if it were something else. It stays what it is.
    fn free_wrongly(&mut self, block: &Block) -> Result<(), Found> {
        let mm = self.stress.mm;
        let at = |offset| self.stress.reach(block)(offset);
        // SAFETY: the block is this CPU's, and each of these calls names what is none: no block of the order begins
        // there, no object does, or it is none of the cache. So nothing is given up that anybody uses.
        let right = unsafe {
            match block.kind {
                Kind::Pages(order) => {
                    let pfn = Pfn::containing(PhysAddr::new(block.address), A::PAGE_SHIFT);
                    let inside = pfn.saturating_add(order.frames() / 2);
                    match Order::new(order.as_u8() + 1) {
                        Some(larger) if order.as_u8() == 0 || self.random.once_in(2) => {
                            mm.pages.free(pfn, larger) == Err(FreeError::WrongOrder { allocated: order })
                        }
                        _ => mm.pages.free(inside, Order::default()) == Err(FreeError::NotHead { head: pfn, order }),
                    }
                }
                Kind::Kmalloc if block.bytes > 8 => {
                    matches!(mm.slab.kfree(at(8)), Err(KfreeError::Misaligned { .. }))
                }
                Kind::Kmalloc => mm.slab.free(self.stress.own_cache(0).0, at(0)) == Err(KfreeError::WrongCache),
                Kind::Object(cache) => {
                    let other = if cache == 0 { 1 } else { 0 };
                    mm.slab.free(self.stress.own_cache(other).0, at(0)) == Err(KfreeError::WrongCache)
                }
                Kind::Area => {
                    let start = VirtAddr::new(block.address);
                    let inside = start.saturating_add(block.bytes - A::PAGE_SIZE);
                    match inside == start {
                        true => mm.vmalloc.unmap_pages(start) == Err(VfreeError::Kind(AreaKind::Pages)),
                        false => mm.vmalloc.free(inside) == Err(VfreeError::NotStart { start }),
                    }
                }
            }
        };
        self.tally.wrong += 1;
        if right { Ok(()) } else { Err(Problem::WrongFree.at(block.address)) }
    }
}
