//! Who holds which block: tickets, which wander between CPUs.
//!
//! A ticket says all of one block, or that there is none. Its number is at any moment in exactly one place: in the hand
//! of a CPU, in one of the slots that all CPUs share, or with an interrupt handler. Whoever takes the number out of its
//! place owns the ticket. Every place always has a number and is only ever swapped, so no list of free tickets is
//! needed, none is lost, and a block goes to another CPU by one atomic operation. Its `Release` half publishes the
//! block's contents with the ticket, its `Acquire` half receives them.
//!
//! The table of it all is one block of the page allocator that is shaken; the CPUs' records come first in it, then the
//! tickets, then the places, then what each zone had. It is taken at the start and given back at the end. Where memory is
//! short, hands get smaller.
//!
//! Cost: 36 bytes for each block that can be held.

use super::failure::{Place, Problem};
use super::random::mix;
use super::tally::Tally;
use crate::addr::{Order, Pfn};
use crate::arch::Arch;
use crate::model::MemoryModel;
use crate::page_alloc::{Gfp, PageAllocator};
use crate::sync::IrqLock;
use core::ptr::NonNull;
use core::sync::atomic::{
    AtomicU8, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Relaxed},
};

/// Tickets in a CPU's hand, where there is room for so many.
const HAND: usize = 512;
/// Fewer are not worth a run.
const LEAST_HAND: usize = 16;
/// The number in a place whose ticket an interrupt handler has taken.
pub(super) const TAKEN: u32 = u32::MAX;

/// Who took a block, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    Step { cpu: u32, step: u64 },
    Interrupt(u64),
}

impl Origin {
    const SHIFT: u32 = 40;

    /// Steps beyond 2^40 would show as later CPUs; a run of a million operations a second takes twelve days.
    const fn as_word(self) -> u64 {
        match self {
            Self::Step { cpu, step } => (cpu as u64) << Self::SHIFT | step & ((1 << Self::SHIFT) - 1),
            Self::Interrupt(number) => number | 1 << 63,
        }
    }

    const fn of_word(word: u64) -> Self {
        if word >> 63 != 0 {
            return Self::Interrupt(word & !(1 << 63));
        }
        Self::Step { cpu: (word >> Self::SHIFT) as u32, step: word & ((1 << Self::SHIFT) - 1) }
    }

    /// The same for a report.
    pub(super) const fn place(self) -> Place {
        match self {
            Self::Step { cpu, step } => Place::Step { cpu, step },
            Self::Interrupt(number) => Place::Interrupt(number),
        }
    }
}

/// What a block is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Pages.
    Pages(Order),
    /// By `kmalloc`.
    Kmalloc,
    /// An object of this one of the run's own caches.
    Object(u8),
    /// A kernel virtual range.
    Area,
}

impl Kind {
    const fn as_word(self) -> u64 {
        match self {
            Self::Pages(order) => 1 | (order.as_u8() as u64) << 8,
            Self::Kmalloc => 2,
            Self::Object(cache) => 3 | (cache as u64) << 8,
            Self::Area => 4,
        }
    }

    fn of_word(word: u64) -> Option<Self> {
        let detail = (word >> 8) as u8;
        match word & 0xff {
            1 => Order::new(detail).map(Self::Pages),
            2 => Some(Self::Kmalloc),
            3 => Some(Self::Object(detail)),
            4 => Some(Self::Area),
            _ => None,
        }
    }
}

/// A block that somebody holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Block {
    pub(super) kind: Kind,
    /// The address of its first byte: a virtual one of an area, a physical one of all else.
    pub(super) address: u64,
    pub(super) bytes: u64,
    pub(super) origin: Origin,
}

impl Block {
    /// What its contents follow from.
    pub(super) const fn tag(&self, seed: u64) -> u64 {
        mix(seed ^ mix(self.address ^ mix(self.origin.as_word())))
    }

    /// Frames that it takes for itself.
    pub(super) const fn frames(&self, page_shift: u32) -> u64 {
        self.bytes >> page_shift
    }
}

/// A ticket: a block, or none. Only whoever has its number reads and writes it.
#[derive(Debug, Default)]
pub(super) struct Ticket {
    kind: AtomicU64,
    address: AtomicU64,
    bytes: AtomicU64,
    origin: AtomicU64,
}

impl Ticket {
    pub(super) fn block(&self) -> Option<Block> {
        Some(Block {
            kind: Kind::of_word(self.kind.load(Relaxed))?,
            address: self.address.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            origin: Origin::of_word(self.origin.load(Relaxed)),
        })
    }

    pub(super) fn set(&self, block: Option<Block>) {
        self.kind.store(block.map_or(0, |block| block.kind.as_word()), Relaxed);
        if let Some(block) = block {
            self.address.store(block.address, Relaxed);
            self.bytes.store(block.bytes, Relaxed);
            self.origin.store(block.origin.as_word(), Relaxed);
        }
    }
}

/// A place for the number of a ticket.
#[derive(Debug)]
pub(super) struct Slot(AtomicU32);

impl Slot {
    /// The number. Only the owner of the place may rely on it.
    pub(super) fn number(&self) -> u32 {
        self.0.load(Relaxed)
    }

    /// Puts `number` there and takes what was there.
    pub(super) fn swap(&self, number: u32) -> u32 {
        self.0.swap(number, AcqRel)
    }
}

/// How far a CPU of the run is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Phase {
    Waiting = 0,
    Running = 1,
    Done = 2,
}

/// What is kept for a CPU of the run, in cache lines of its own.
#[derive(Debug)]
#[repr(C, align(128))]
pub(super) struct Lane {
    phase: AtomicU8,
    /// Steps done, for whoever watches.
    pub(super) steps: AtomicU64,
    /// What it did, once it is done.
    pub(super) tally: IrqLock<Tally>,
}

impl Lane {
    /// Goes from one phase to the next; `false` when it was in another.
    #[must_use]
    pub(super) fn advance(&self, from: Phase, to: Phase) -> bool {
        self.phase.compare_exchange(from as u8, to as u8, AcqRel, Relaxed).is_ok()
    }

    pub(super) fn is_running(&self) -> bool {
        self.phase.load(core::sync::atomic::Ordering::Acquire) == Phase::Running as u8
    }
}

/// How many there are of everything.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    cpus: usize,
    hand: usize,
    zones: usize,
}

impl Sizes {
    /// Slots through which blocks go from CPU to CPU.
    const fn shared(&self) -> usize {
        4 + 2 * self.cpus
    }

    /// Slots of blocks that interrupt handlers take and leave to the next ones.
    const fn of_interrupts(&self) -> usize {
        4 + 2 * self.cpus
    }

    const fn tickets(&self) -> usize {
        self.cpus * self.hand + self.shared() + self.of_interrupts()
    }

    /// Where tickets, zones and slots begin, and where all ends; bytes.
    const fn places(&self) -> [usize; 4] {
        let tickets = self.cpus * size_of::<Lane>();
        let zones = tickets + self.tickets() * size_of::<Ticket>();
        let slots = zones + self.zones * size_of::<AtomicU64>();
        [tickets, zones, slots, slots + self.tickets() * size_of::<Slot>()]
    }
}

/// All tickets and all places.
#[derive(Debug)]
pub(super) struct Table {
    sizes: Sizes,
    pfn: Pfn,
    order: Order,
    lanes: NonNull<Lane>,
    tickets: NonNull<Ticket>,
    zones: NonNull<AtomicU64>,
    slots: NonNull<Slot>,
}

// SAFETY: the pointers lead to the table's own block, of which only shared references are made; all in it is atomic or
// behind a lock.
unsafe impl Send for Table {}
// SAFETY: as above.
unsafe impl Sync for Table {}

impl Table {
    /// A table in a block of `pages`, with every ticket in a place of its own; hands are as large as memory allows.
    pub(super) fn new<A: Arch, M: MemoryModel<A>>(
        pages: &PageAllocator<A, M>,
        cpus: u32,
        zones: usize,
    ) -> Result<Self, Problem> {
        // More than half of the memory is never taken for this.
        let most = pages.free_pages() << A::PAGE_SHIFT >> 1;
        let mut sizes = Sizes { cpus: cpus as usize, hand: HAND, zones };
        loop {
            let [tickets, frees, slots, bytes] = sizes.places();
            let order = Order::for_bytes(bytes as u64, A::PAGE_SHIFT).filter(|_| bytes as u64 <= most);
            let refused = match order.map(|order| (order, pages.alloc(order, Gfp::KERNEL))) {
                Some((order, Ok(pfn))) => {
                    let first = pages.access().phys_ptr(pfn.address(A::PAGE_SHIFT));
                    // SAFETY: the block is this table's alone, holds all of it, and is aligned to a page, so that each
                    // part is aligned: lanes of 128 bytes, then tickets of 32, words of 8, numbers of 4.
                    return Ok(unsafe {
                        let table = Self {
                            sizes,
                            pfn,
                            order,
                            lanes: NonNull::new_unchecked(first.cast()),
                            tickets: NonNull::new_unchecked(first.add(tickets).cast()),
                            zones: NonNull::new_unchecked(first.add(frees).cast()),
                            slots: NonNull::new_unchecked(first.add(slots).cast()),
                        };
                        table.write();
                        table
                    });
                }
                Some((_, Err(error))) => error,
                None => crate::page_alloc::AllocError::NoMemory { order: Order::MAX },
            };
            if sizes.hand / 2 < LEAST_HAND {
                return Err(Problem::Pages(refused));
            }
            sizes.hand /= 2;
        }
    }

    /// # Safety
    /// The table's memory is as `new` says.
    unsafe fn write(&self) {
        // SAFETY: each part has room for as many, as `Sizes::places` says.
        unsafe {
            for at in 0..self.sizes.cpus {
                let phase = AtomicU8::new(Phase::Waiting as u8);
                let tally = IrqLock::new(Tally::default());
                self.lanes.add(at).write(Lane { phase, steps: AtomicU64::new(0), tally });
            }
            for at in 0..self.sizes.tickets() {
                self.tickets.add(at).write(Ticket::default());
                self.slots.add(at).write(Slot(AtomicU32::new(at as u32)));
            }
            (0..self.sizes.zones).for_each(|at| self.zones.add(at).write(AtomicU64::new(0)));
        }
    }

    /// Gives the table's block back.
    pub(super) fn give_back<A: Arch, M: MemoryModel<A>>(self, pages: &PageAllocator<A, M>) -> Result<(), Problem> {
        // SAFETY: the block came from these pages, and the table, which alone leads there, goes.
        unsafe { pages.free(self.pfn, self.order) }.map_err(Problem::Free)
    }

    /// The records of the CPUs.
    pub(super) fn lanes(&self) -> &[Lane] {
        // SAFETY: `write` made as many, and only shared references are made of them.
        unsafe { core::slice::from_raw_parts(self.lanes.as_ptr(), self.sizes.cpus) }
    }

    /// What each zone had at the start.
    pub(super) fn zones(&self) -> &[AtomicU64] {
        // SAFETY: as in `lanes`.
        unsafe { core::slice::from_raw_parts(self.zones.as_ptr(), self.sizes.zones) }
    }

    fn slots(&self) -> &[Slot] {
        // SAFETY: as in `lanes`.
        unsafe { core::slice::from_raw_parts(self.slots.as_ptr(), self.sizes.tickets()) }
    }

    /// The ticket with this number, which the caller has.
    pub(super) fn ticket(&self, number: u32) -> Option<&Ticket> {
        // SAFETY: as in `lanes`.
        unsafe { core::slice::from_raw_parts(self.tickets.as_ptr(), self.sizes.tickets()) }.get(number as usize)
    }

    /// All tickets, for when nobody else runs.
    pub(super) fn tickets(&self) -> impl Iterator<Item = &Ticket> {
        (0..self.sizes.tickets() as u32).filter_map(|number| self.ticket(number))
    }

    /// The places of a CPU's own.
    pub(super) fn hand(&self, cpu: u32) -> &[Slot] {
        let start = cpu as usize * self.sizes.hand;
        self.slots().get(start..start + self.sizes.hand).unwrap_or_default()
    }

    /// The places through which blocks go from CPU to CPU.
    pub(super) fn shared(&self) -> &[Slot] {
        let start = self.sizes.cpus * self.sizes.hand;
        self.slots().get(start..start + self.sizes.shared()).unwrap_or_default()
    }

    /// The places of interrupt handlers.
    pub(super) fn of_interrupts(&self) -> &[Slot] {
        self.slots().get(self.sizes.cpus * self.sizes.hand + self.sizes.shared()..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_keeps_its_block() {
        let ticket = Ticket::default();
        assert_eq!(ticket.block(), None);
        let order = Order::new(10).unwrap();
        for kind in [Kind::Pages(order), Kind::Pages(Order::default()), Kind::Kmalloc, Kind::Object(3), Kind::Area] {
            for origin in [Origin::Step { cpu: 4095, step: 1 << 39 }, Origin::Interrupt(1 << 50)] {
                let block = Block { kind, address: 1 << 51, bytes: 4 << 20, origin };
                ticket.set(Some(block));
                assert_eq!(ticket.block(), Some(block));
            }
        }
        ticket.set(None);
        assert_eq!(ticket.block(), None);
    }

    #[test]
    fn every_part_of_a_table_is_aligned_and_behind_the_one_before() {
        for cpus in [1, 2, 3, 255, 4096] {
            for hand in [16, 512] {
                for zones in [1, 7, 4096] {
                    let sizes = Sizes { cpus, hand, zones };
                    let [tickets, frees, slots, end] = sizes.places();
                    assert!(tickets % 32 == 0 && frees % 8 == 0 && slots % 4 == 0);
                    assert!(tickets < frees && frees < slots && slots < end);
                }
            }
        }
    }
}
