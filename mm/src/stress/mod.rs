//! Shakes memory management on many CPUs at once, and notices what gets lost or overwritten.
//!
//! The same body runs in the kernel on all CPUs and on the host with threads over an emulated machine. Whoever runs it
//! makes a [`Stress`], calls [`Stress::run`] once on each CPU, [`Stress::interrupt`] from interrupt handlers as often as
//! it likes, and at last [`Stress::finish`].
//!
//! Each CPU does its steps, chosen by seeded random numbers: it takes pages of all orders from all nodes and zones,
//! objects of `kmalloc` and of caches of the run's own, kernel virtual ranges, fills them with contents of their own,
//! looks at them again and gives them back. Blocks wander: a CPU puts one into a shared place and takes out what another put there, to look at it
//! and mostly to free it. Now and then it asks for what nobody can have, frees what cannot be freed, has a request
//! refused on purpose in the middle of an allocation, gives all empty slabs back, or takes nearly all memory of a
//! zonelist and holds it for some steps. Every answer is checked against what the allocator says of the
//! block elsewhere: its state, order, zone and node.
//!
//! At the end everything is given back, every structure is walked, and the counts are those of the start. What may
//! differ, and is checked to the frame: memmap of granules that were carved takes the place of the memmap that they
//! were going to need; page tables and pages of records, which stay, take the place of free frames. The run's own caches
//! stay, empty.
//!
//! The first thing that is wrong stops all CPUs and is one [`Failure`], which prints as one line. After a failure
//! nothing is given back: memory stays as it was found.
//!
//! With one CPU, and where nobody else uses the allocators, a run is the same each time: the same seed gives the same
//! steps on the same blocks, which the digest in [`Summary`] shows.
//!
//! | file | holds |
//! |---|---|
//! | `random` | seeded numbers |
//! | `contents` | what a block is filled with |
//! | `ticket` | who holds which block, and how blocks go from CPU to CPU |
//! | `request` | what is asked for, and the way to it |
//! | `answer` | whether an answer can be right |
//! | `worker` | the steps of one CPU |
//! | `squeeze` | taking nearly everything |
//! | `conserve` | counts at the start and at the end |
//! | `tally`, `failure` | what was done, what went wrong |
//!
//! Linux: `lib/test_vmalloc.c`, `lib/slub_kunit.c`, `mm/kfence`; none of them does all of this at once.

mod answer;
mod conserve;
mod contents;
mod failure;
mod random;
mod request;
mod squeeze;
mod tally;
mod ticket;
mod worker;

pub use failure::{Count, Failure, Place, Problem};
pub use tally::{Summary, Tally};

use crate::Mm;
use crate::arch::Arch;
use crate::model::{MemoryModel, Vmemmap};
use crate::page_alloc::NodeWish;
use crate::slab::CacheId;
use crate::sync::IrqLock;
use conserve::{Before, Grown};
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use failure::Found;
use random::Random;
use request::{Request, Urge};
use ticket::{Origin, Phase, TAKEN, Table};
use worker::Worker;

/// The stream of random numbers of interrupts; CPUs have those from 0.
const INTERRUPTS: u64 = 1 << 32;

/// A run's own caches: names, and bytes and alignment of their objects.
const CACHES: [(&str, u64, u64); 4] =
    [("stress-24", 24, 8), ("stress-200", 200, 64), ("stress-1500", 1500, 4), ("stress-5000", 5000, 512)];

/// What a run is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// What all random numbers follow from.
    pub seed: u64,
    /// Steps of all CPUs together.
    pub operations: u64,
    /// CPUs that take part.
    pub cpus: u32,
}

/// A run.
pub struct Stress<'m, A: Arch, M: MemoryModel<A> = Vmemmap<A>> {
    mm: &'m Mm<A, M>,
    config: Config,
    caches: [CacheId; CACHES.len()],
    table: Table,
    before: Before,
    /// Frames that a CPU may hold, but for a squeeze.
    budget: u64,
    /// Interrupts that came.
    interrupts: AtomicU64,
    /// Blocks that they took and gave back.
    by_interrupts: IrqLock<Tally>,
    first: IrqLock<Option<Failure>>,
    stop: AtomicBool,
}

impl<'m, A: Arch, M: MemoryModel<A>> Stress<'m, A, M> {
    /// Counts what is there, and takes memory for the run's own table. Nobody else allocates or frees meanwhile.
    ///
    /// # Errors
    /// [`Failure`]: there is no memory for the table or the caches, or something is wrong already.
    pub fn new(mm: &'m Mm<A, M>, config: Config) -> Result<Self, Failure> {
        let failed = |problem| Failure { problem, address: 0, place: Place::Start, seed: config.seed };
        let mut caches = [CacheId::KMEM_CACHE; CACHES.len()];
        for (cache, (name, size, align)) in caches.iter_mut().zip(CACHES) {
            // Caches are for good: a second run uses those of the first.
            let found = mm.slab.find_cache(name).map_or_else(|| mm.slab.create(name, size, align), Ok);
            *cache = found.map_err(|error| failed(Problem::Objects(error)))?;
        }
        let before = Before::count(mm).map_err(failed)?;
        let table = Table::new(&mm.pages, config.cpus, mm.pages.zones().spans().len()).map_err(failed)?;
        conserve::note_zones(mm, &table);
        let budget = mm.pages.free_pages() / (4 * u64::from(config.cpus.max(1)));
        Ok(Self {
            mm,
            config,
            caches,
            table,
            before,
            budget,
            interrupts: AtomicU64::new(0),
            by_interrupts: IrqLock::new(Tally::default()),
            first: IrqLock::new(None),
            stop: AtomicBool::new(false),
        })
    }

    /// What the run is to do.
    #[must_use]
    pub fn config(&self) -> Config {
        self.config
    }

    /// Steps that all CPUs have done so far.
    #[must_use]
    pub fn progress(&self) -> u64 {
        self.table.lanes().iter().map(|lane| lane.steps.load(Relaxed)).sum()
    }

    /// Steps that this CPU of the run has done so far.
    #[must_use]
    pub fn progress_of(&self, cpu: u32) -> u64 {
        self.table.lanes().get(cpu as usize).map_or(0, |lane| lane.steps.load(Relaxed))
    }

    /// The steps of one CPU of the run: all of them, or up to the first failure of any CPU.
    fn share(&self, cpu: u32) -> u64 {
        let cpus = u64::from(self.config.cpus.max(1));
        self.config.operations / cpus + u64::from(u64::from(cpu) < self.config.operations % cpus)
    }

    /// Does the steps of CPU number `cpu` of the run, counted from 0, on the CPU that calls.
    ///
    /// # Errors
    /// The first [`Failure`] of any CPU or interrupt so far.
    pub fn run(&self, cpu: u32) -> Result<Tally, Failure> {
        let place = Place::Step { cpu, step: 0 };
        let Some(lane) = self.table.lanes().get(cpu as usize) else {
            return Err(self.fail(Problem::NoCpu.at(0), place));
        };
        if !lane.advance(Phase::Waiting, Phase::Running) {
            return Err(self.fail(Problem::Busy.at(0), place));
        }
        let mut worker = Worker::new(self, cpu);
        let ended = worker.work(self.share(cpu), &lane.steps);
        *lane.tally.lock(self.mm.pages.access()) = worker.tally();
        let ended = ended.map_err(|found| self.fail(found, Place::Step { cpu, step: worker.step() }));
        let advanced = lane.advance(Phase::Running, Phase::Done);
        debug_assert!(advanced, "another CPU ended this one's run");
        ended?;
        self.first_failure().map_or(Ok(worker.tally()), Err)
    }

    /// What an interrupt handler calls, on any CPU at any time between [`Stress::new`] and [`Stress::finish`]: takes a
    /// small block urgently and leaves it to a later interrupt, or gives back what an earlier one took.
    pub fn interrupt(&self) {
        if self.stopped() {
            return;
        }
        let number = self.interrupts.fetch_add(1, Relaxed);
        let mut random = Random::new(self.config.seed, INTERRUPTS.wrapping_add(number));
        let places = self.table.of_interrupts();
        let Some(place) = places.get(random.below(places.len() as u64) as usize) else { return };
        let ticket = place.swap(TAKEN);
        if let Err(found) = self.serve_interrupt(&mut random, ticket, number) {
            self.fail(found, Place::Interrupt(number));
        }
        if ticket != TAKEN {
            place.swap(ticket);
        }
    }

    fn serve_interrupt(&self, random: &mut Random, ticket: u32, number: u64) -> Result<(), Found> {
        // No ticket: another handler has taken it at this moment.
        let Some(ticket) = self.table.ticket(ticket) else { return Ok(()) };
        let mut tally = Tally::default();
        match ticket.block() {
            Some(block) => {
                ticket.set(None);
                self.check(&block, &mut tally)?;
                self.give_back(&block, &mut tally)?;
            }
            None => {
                let request = Request::small(random, Urge::Interrupt);
                let block = self.ask(&request, Origin::Interrupt(number), &mut tally)?;
                ticket.set(block.ok());
            }
        }
        *self.by_interrupts.lock(self.mm.pages.access()) += tally;
        Ok(())
    }

    /// Whether something has gone wrong.
    fn stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }

    /// The first thing that went wrong, if anything has.
    #[must_use]
    pub fn first_failure(&self) -> Option<Failure> {
        *self.first.lock(self.mm.pages.access())
    }

    /// Stops everybody. Returns the first failure, which may be another one.
    fn fail(&self, found: Found, place: Place) -> Failure {
        let Found { problem, address } = found;
        let failure = Failure { problem, address, place, seed: self.config.seed };
        let first = *self.first.lock(self.mm.pages.access()).get_or_insert(failure);
        self.stop.store(true, Relaxed);
        first
    }

    /// Gives everything back and compares with the start. No CPU runs any more, no interrupt calls any more, and nobody
    /// else allocates or frees.
    ///
    /// # Errors
    /// The first [`Failure`] of the run, or of this; then nothing, or not everything, was given back.
    pub fn finish(self) -> Result<Summary, Failure> {
        if self.table.lanes().iter().any(ticket::Lane::is_running) {
            self.fail(Problem::Busy.at(0), Place::End);
        }
        let interrupts = self.interrupts.load(Relaxed);
        let access = self.mm.pages.access();
        let mut tally = *self.by_interrupts.lock(access);
        self.table.lanes().iter().for_each(|lane| tally += *lane.tally.lock(access));
        self.first_failure().map_or(Ok(()), Err)?;
        let given = self.table.tickets().filter_map(ticket::Ticket::block).try_for_each(|block| {
            self.check(&block, &mut tally)?;
            self.give_back(&block, &mut tally)
        });
        let compared = given.and_then(|()| conserve::compare_zones(self.mm, &self.table));
        compared.map_err(|found| self.fail(found, Place::End))?;
        let (seed, cpus) = (self.config.seed, self.config.cpus);
        let compared = self.table.give_back(&self.mm.pages).and_then(|()| self.before.compare(self.mm));
        let failed = |problem| Failure { problem, address: 0, place: Place::End, seed };
        let Grown { verified, described, kept } = compared.map_err(failed)?;
        Ok(Summary { cpus, tally, interrupts, described, kept, verified })
    }

    /// A wish for a node: none, a preference, or this one only.
    fn node_wish(&self, random: &mut Random) -> NodeWish {
        let node = crate::addr::NodeId::new(random.below(self.mm.pages.nodes().id_limit() as u64) as u16);
        match random.below(4) {
            0 => NodeWish::Prefer(node),
            1 => NodeWish::Only(node),
            _ => NodeWish::Any,
        }
    }
}

impl<A: Arch, M: MemoryModel<A>> fmt::Debug for Stress<'_, A, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stress")
            .field("config", &self.config)
            .field("progress", &self.progress())
            .finish_non_exhaustive()
    }
}
