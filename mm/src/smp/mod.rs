//! What CPUs say to each other, and what each has to do.
//!
//! A kernel keeps one [`Slot`] for each CPU that may come up, in the order of their numbers, and makes a [`Cpus`] of
//! them: a `Copy` handle through which the CPUs meet.
//!
//! | file | what is said | Linux |
//! |---|---|---|
//! | `arrival` | *I am here*, or *you are given up*: one word decides | `kernel/cpu.c`, `arch/x86/kernel/smpboot.c` |
//! | `shootdown` | *forget these translations*; answered by generation | `arch/x86/mm/tlb.c` |
//! | `call` | *run this*, one mailbox for each CPU | `kernel/smp.c` |
//! | [`WorkQueue`] | *do this when you have time*, one queue for each CPU | `kernel/workqueue.c` |
//! | [`Timers`] | *do this then*, the deadlines of one CPU | `kernel/time/timer.c` |
//!
//! What this needs of the machine is a [`Signal`]: interrupt that CPU, flush here, the time. The interrupt handler of a
//! CPU calls [`Cpus::answer`]; who waits with interrupts off, for a lock or for anything else, calls
//! [`Cpus::answer_flush`] each time round ([`Cpu::relax`]).
//!
//! Invariants: everything may be called with interrupts off; no wait is without a time limit, and the error names the
//! CPU that was waited for; who waits answers meanwhile, so two CPUs that wait for each other both get on. A signal is
//! sent once: one that is lost is a defect of the machine or of its driver, and ends in an error, not in a
//! delay that nobody sees. There is no cap on CPUs: nothing here is a mask.
//!
//! Costs: 256 bytes a CPU. A flush is two atomic read-modify-writes by who asks and one by each CPU that answers; a call
//! two and two. `docs/smp.md` argues each ordering; `tests/loom` tries them.

mod arrival;
mod call;
mod shootdown;
mod timer;
mod work;

pub use arrival::{CpuState, TooLate};
pub use call::CallError;
pub use timer::{TimerId, Timers};
pub use work::{Full, Work, WorkQueue};

use crate::addr::{CpuId, VirtAddr};
use crate::arch::{Cpu, Pinned};
use crate::layout::VirtRange;
use crate::sync::atomic::{AtomicBool, Relaxed, constant};
use arrival::Presence;
use call::Mailbox;
use core::fmt;
use core::time::Duration;
use shootdown::{Answered, Requests};

/// All addresses: what [`Signal::flush_here`] gets when everything must go.
pub const EVERYTHING: VirtRange = VirtRange::new(VirtAddr::new(0), VirtAddr::new(u64::MAX));

/// What the protocols need of the machine.
pub trait Signal: Copy {
    /// Makes CPU `to` call [`Cpus::answer`] soon, from an interrupt. What this CPU wrote before is seen by then.
    fn interrupt(self, to: CpuId);

    /// Makes this CPU forget its translations of `range`, or all of them for a range that is too large to go through
    /// page by page, and waits until it has. Translations are read from the tables as they are after all that this
    /// CPU has seen of other CPUs' writes.
    fn flush_here(self, range: VirtRange);

    /// The time since some moment; it never goes back.
    fn now(self) -> Duration;

    /// Tells the hardware that the caller only waits. It answers nothing.
    fn relax(self);
}

/// What others see of one CPU, and leave for it.
#[repr(align(128))]
pub struct Slot {
    presence: Presence,
    answered: Answered,
    mailbox: Mailbox,
    /// The next signal to this CPU is not sent.
    drop_signal: AtomicBool,
    /// Used in the boot CPU's slot, for all.
    requests: Requests,
}

impl Slot {
    constant! {
        /// The slot of CPU `id`. The boot CPU is online from the start, the others are offline.
        #[must_use]
        pub const fn new(id: CpuId) -> Self {
            Self {
                presence: Presence::new(id),
                answered: Answered::new(),
                mailbox: Mailbox::new(),
                drop_signal: AtomicBool::new(false),
                requests: Requests::new(),
            }
        }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("state", &self.presence.state()).finish_non_exhaustive()
    }
}

/// All CPUs that may come up.
#[derive(Clone, Copy, Debug)]
pub struct Cpus<'c> {
    slots: &'c [Slot],
}

/// A CPU did not answer within the time limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoAnswer {
    /// Which one.
    pub cpu: CpuId,
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CPU {} does not answer", self.cpu)
    }
}

impl core::error::Error for NoAnswer {}

impl<'c> Cpus<'c> {
    /// The CPUs of these slots, the one of CPU 0 first and so on. Only the boot CPU (number 0) need be there.
    #[must_use]
    pub const fn new(slots: &'c [Slot]) -> Self {
        Self { slots }
    }

    /// How many CPUs there may be.
    #[must_use]
    pub const fn possible(self) -> usize {
        self.slots.len()
    }

    /// The CPUs that are online now, ascending.
    pub fn online(self) -> impl Iterator<Item = CpuId> + use<'c> {
        self.each().filter(|(_, slot)| slot.presence.state() == CpuState::Online).map(|(id, _)| id)
    }

    /// Answers all that others ask of this CPU, `here`: flushes, then a call. For the handler of the signal's
    /// interrupt, with interrupts off.
    pub fn answer<S: Signal>(self, here: CpuId, signal: S) {
        self.answer_flush(here, signal);
        if let Some(slot) = self.slot(here) {
            slot.mailbox.answer();
        }
    }

    /// For tests: the next signal to `to` is lost.
    pub fn drop_next_signal(self, to: CpuId) {
        if let Some(slot) = self.slot(to) {
            slot.drop_signal.store(true, Relaxed);
        }
    }

    fn each(self) -> impl Iterator<Item = (CpuId, &'c Slot)> + use<'c> {
        (0..).map(CpuId::new).zip(self.slots)
    }

    fn slot(self, id: CpuId) -> Option<&'c Slot> {
        self.slots.get(id.index())
    }

    fn signal<S: Signal>(self, signal: S, to: CpuId) {
        let lost =
            self.slot(to).is_some_and(|slot| slot.drop_signal.load(Relaxed) && slot.drop_signal.swap(false, Relaxed));
        if !lost {
            signal.interrupt(to);
        }
    }
}

/// A moment at which a wait ends.
#[derive(Clone, Copy)]
struct Deadline(Duration);

impl Deadline {
    fn after<S: Signal>(signal: S, limit: Duration) -> Self {
        Self(signal.now().saturating_add(limit))
    }

    fn is_over<S: Signal>(self, signal: S) -> bool {
        signal.now() >= self.0
    }
}

/// Runs `body` with this CPU's interrupts off.
fn without_interrupts<C: Cpu, T>(pinned: &Pinned<C>, body: impl FnOnce() -> T) -> T {
    let state = pinned.handle().irq_save();
    let result = body();
    pinned.handle().irq_restore(state);
    result
}
