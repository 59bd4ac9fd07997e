//! TLB shootdown: every CPU forgets what the page tables no longer say, before the memory is used again.
//!
//! Requests are numbered: the *generation*. Who has changed tables publishes its range under the next generation, and
//! interrupts the CPUs that are online. Each CPU keeps the generation up to which it has flushed. When it is asked, it
//! compares: nothing to do when it is up to date (one interrupt then served several requests); exactly one behind, it
//! flushes the range of the newest request; further behind, or when the range is being replaced at this moment, all.
//! Who asked is a CPU like all others: it answers itself, then waits until each CPU that is online has reached its
//! generation, and answers others' requests meanwhile. So any number of CPUs may ask at once, with interrupts off.
//!
//! The newest request is one word and two addresses: the generation in the upper 63 bits, and in the lowest whether the
//! addresses are being written. That bit is the lock between those who publish (held for three stores, interrupts off),
//! and tells readers that what they read does not belong together.
//!
//! **A CPU that comes online meanwhile.** It writes *online*, then reads the generation and flushes everything; who
//! publishes writes the generation, then reads who is online. With a full fence between the two on both sides at least
//! one of them sees the other: the one waits, or the other's flush comes after the change of the tables.
//!
//! Costs: two atomic read-modify-writes and a fence by who asks, one by each who answers, O(CPUs) loads. Nothing is
//! allocated, no lock is taken to answer. Linux: `arch/x86/mm/tlb.c` (`flush_tlb_func`, `tlb_gen`), which keeps
//! generations for user memory; kernel ranges are flushed everywhere each time (`flush_tlb_kernel_range`).

use super::{CpuState, Cpus, Deadline, EVERYTHING, NoAnswer, Signal, Slot, without_interrupts};
use crate::addr::{CpuId, VirtAddr};
use crate::arch::{Cpu, Pinned};
use crate::layout::VirtRange;
use crate::sync::atomic::{Acquire, AtomicU32, AtomicU64, Relaxed, Release, SeqCst, constant, fence};
use core::time::Duration;

/// The lowest bit of [`Requests::newest`]: the range is being written.
const WRITING: u64 = 1;
/// From one generation to the next.
const STEP: u64 = 2;

/// The newest request. It lies apart from what CPUs keep for themselves: everybody reads it.
#[repr(align(128))]
pub(super) struct Requests {
    /// The generation, and [`WRITING`].
    newest: AtomicU64,
    start: AtomicU64,
    end: AtomicU64,
    /// Who writes, or was the last who did: for the report, should it never end.
    writer: AtomicU32,
}

/// Up to which generation a CPU has flushed. Only that CPU writes it.
pub(super) struct Answered(AtomicU64);

impl Answered {
    constant! {
        pub(super) const fn new() -> Self {
            Self(AtomicU64::new(0))
        }
    }
}

impl Requests {
    constant! {
        pub(super) const fn new() -> Self {
            Self {
                newest: AtomicU64::new(0),
                start: AtomicU64::new(0),
                end: AtomicU64::new(0),
                writer: AtomicU32::new(0),
            }
        }
    }

    /// The newest generation that is published. What its asker, and those before, had changed is seen from now on.
    fn generation(&self) -> u64 {
        self.newest.load(Acquire) & !WRITING
    }

    /// The range of `generation`, unless another is already in its place or being put there.
    fn range_of(&self, generation: u64) -> Option<VirtRange> {
        // Acquire: if one of these is a later request's, then so is the word that is read after it.
        let start = VirtAddr::new(self.start.load(Acquire));
        let end = VirtAddr::new(self.end.load(Acquire));
        (self.newest.load(Relaxed) == generation).then_some(VirtRange::new(start, end))
    }

    /// Publishes `range` under the next generation, or `None` while another CPU publishes.
    fn publish(&self, here: CpuId, range: VirtRange) -> Option<u64> {
        let before = self.newest.load(Relaxed);
        if before & WRITING != 0 {
            return None;
        }
        // Acquire: with this request those before it are handed on.
        self.newest.compare_exchange(before, before | WRITING, Acquire, Relaxed).ok()?;
        self.writer.store(here.as_u32(), Relaxed);
        // Release: a reader that finds one of these finds the word above, too.
        self.start.store(range.start().as_u64(), Release);
        self.end.store(range.end().as_u64(), Release);
        let generation = before + STEP;
        // Release: a reader of this generation finds the tables changed.
        self.newest.store(generation, Release);
        Some(generation)
    }
}

impl Cpus<'_> {
    /// Makes all CPUs that are online forget their translations of `range`, and waits until they have. When it returns
    /// `Ok`, no CPU uses a translation from before the call, and whatever a CPU did through one has happened before.
    ///
    /// May be called with interrupts off, and with locks held whose waiters answer ([`Cpu::relax`]).
    ///
    /// # Errors
    /// [`NoAnswer`] with the first CPU that did not flush within `limit`: it may still use old translations, and the
    /// memory behind them is not free.
    pub fn flush<C: Cpu, S: Signal>(
        self,
        from: &Pinned<C>,
        signal: S,
        range: VirtRange,
        limit: Duration,
    ) -> Result<(), NoAnswer> {
        let here = from.cpu();
        let Some(board) = self.slots.first().filter(|_| self.slot(here).is_some()) else {
            signal.flush_here(range);
            return Ok(());
        };
        let deadline = Deadline::after(signal, limit);
        let generation = loop {
            // An interrupt here that asks for a flush, too, would wait for this CPU.
            match without_interrupts(from, || board.requests.publish(here, range)) {
                Some(generation) => break generation,
                None if deadline.is_over(signal) => {
                    return Err(NoAnswer { cpu: CpuId::new(board.requests.writer.load(Relaxed)) });
                }
                None => {
                    self.answer_flush(here, signal);
                    signal.relax();
                }
            }
        };
        // The other half is in `begin_to_answer`.
        fence(SeqCst);
        self.answer_flush(here, signal);
        for (id, slot) in self.each() {
            if slot.owes(generation) {
                self.signal(signal, id);
            }
        }
        for (id, slot) in self.each() {
            while slot.owes(generation) {
                if deadline.is_over(signal) {
                    return Err(NoAnswer { cpu: id });
                }
                self.answer_flush(here, signal);
                signal.relax();
            }
        }
        Ok(())
    }

    /// Flushes what others have asked this CPU, `here`, to flush, and nothing else: no lock, no allocation, no other
    /// CPU's function. For who waits with interrupts off; see [`Cpu::relax`].
    pub fn answer_flush<S: Signal>(self, here: CpuId, signal: S) {
        let (Some(board), Some(slot)) = (self.slots.first(), self.slot(here)) else { return };
        let newest = board.requests.generation();
        let answered = slot.answered.0.load(Relaxed);
        if answered >= newest {
            return;
        }
        let range = if newest - answered == STEP { board.requests.range_of(newest) } else { None };
        signal.flush_here(range.unwrap_or(EVERYTHING));
        // Release: what this CPU did through the old translations comes before. The maximum, since an interrupt may have
        // answered more while this was under way.
        slot.answered.0.fetch_max(newest, Release);
    }

    /// Makes up for all requests that this CPU was not asked about. It is online already, and its slot is `slot`.
    pub(super) fn begin_to_answer<S: Signal>(self, slot: &Slot, signal: S) {
        let Some(board) = self.slots.first() else { return };
        // The other half is in `flush`.
        fence(SeqCst);
        let newest = board.requests.generation();
        signal.flush_here(EVERYTHING);
        slot.answered.0.fetch_max(newest, Release);
    }
}

impl Slot {
    /// Whether this CPU is online and has not flushed up to `generation`.
    fn owes(&self, generation: u64) -> bool {
        self.presence.state() == CpuState::Online && self.answered.0.load(Acquire) < generation
    }
}
