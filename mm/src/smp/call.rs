//! Calls: a function that another CPU runs now, while the caller waits.
//!
//! Each CPU has one mailbox. A caller claims it, puts function and argument in, and interrupts the CPU; the CPU runs the
//! function and frees the mailbox. One word holds the number of the call (its *ticket*) and how far it is:
//!
//! ```text
//!   Free(t) ──claim──► Filling(t+1) ──► Asked(t+1) ──taken──► Running(t+1) ──► Free(t+1)
//!                                           └───── withdrawn by the caller ───────┘
//! ```
//!
//! A caller knows that its call has been run when the word has gone past it, so nobody must come back to acknowledge, and
//! an interrupt handler may call the same CPU as the code that it interrupted.
//!
//! Who waits, for the mailbox or for the end, answers calls itself: two CPUs that call each other with interrupts off
//! both get on. So **a caller may run others' functions while it waits** and must hold no lock that they take. A called
//! function runs with interrupts off, must not call (that could close a ring, and is refused), and may ask for flushes.
//!
//! After the time limit the caller withdraws the call, if it was not begun; it will then never be run. One that was
//! begun cannot be withdrawn: the error says so, and the mailbox is free again when the function ends, if ever.
//! Arguments are plain numbers, so nothing of the caller's stack is reached later.
//!
//! Costs: two atomic read-modify-writes by the caller and one by the callee. Linux: `kernel/smp.c`
//! (`smp_call_function_single`), where each caller brings its own entry and the callee has a list.

use super::{CpuState, Cpus, Deadline, Signal, Work, without_interrupts};
use crate::addr::CpuId;
use crate::arch::{Cpu, Pinned};
use crate::smp::work::Stored;
use crate::sync::atomic::{Acquire, AtomicU64, Relaxed, Release, constant};
use core::fmt;
use core::time::Duration;

/// Why a call was not made, or not seen to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallError {
    /// That CPU is not online. The function was not run and will not be.
    NotOnline(CpuId),
    /// The caller is itself inside a function that another CPU has called. The function was not run and will not be.
    Nested,
    /// Others' calls have kept the CPU's mailbox until the time limit. The function was not run and will not be.
    Busy(CpuId),
    /// The CPU did not take the call within the time limit. The function was not run and will not be.
    NoAnswer(CpuId),
    /// The CPU has begun and did not end within the time limit.
    Unfinished(CpuId),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOnline(cpu) => write!(f, "CPU {cpu} is not online"),
            Self::Nested => f.write_str("a call from inside a called function"),
            Self::Busy(cpu) => write!(f, "CPU {cpu} is busy with others' calls"),
            Self::NoAnswer(cpu) => write!(f, "CPU {cpu} does not answer"),
            Self::Unfinished(cpu) => write!(f, "CPU {cpu} runs the function and does not end"),
        }
    }
}

impl core::error::Error for CallError {}

/// Bits of the mailbox's word below the ticket.
const PHASE_BITS: u32 = 2;
const PHASE: u64 = (1 << PHASE_BITS) - 1;
const FREE: u64 = 0;
const FILLING: u64 = 1;
const ASKED: u64 = 2;
const RUNNING: u64 = 3;

/// The calls to one CPU, one at a time.
pub(super) struct Mailbox {
    /// `ticket << PHASE_BITS | phase`
    word: AtomicU64,
    work: Stored,
}

/// The number of a call to one CPU.
#[derive(Clone, Copy)]
struct Ticket(u64);

impl Mailbox {
    constant! {
        pub(super) const fn new() -> Self {
            Self { word: AtomicU64::new(0), work: Stored::new() }
        }
    }

    /// Asks for `work`, or `None` while another call is under way. Nothing may interrupt this CPU meanwhile.
    fn ask(&self, work: Work) -> Option<Ticket> {
        let before = self.word.load(Relaxed);
        if before & PHASE != FREE {
            return None;
        }
        let ticket = (before >> PHASE_BITS) + 1;
        // Acquire: the function before has been read from the mailbox.
        self.word.compare_exchange(before, ticket << PHASE_BITS | FILLING, Acquire, Relaxed).ok()?;
        self.work.put(work);
        // Release: who takes the call finds it whole, and all that the caller did before.
        self.word.store(ticket << PHASE_BITS | ASKED, Release);
        Some(Ticket(ticket))
    }

    /// Whether the call has been run. All that the function did is seen then.
    fn is_done(&self, Ticket(ticket): Ticket) -> bool {
        // Acquire: by way of any later call's word, too, whose caller acquired this call's end.
        let now = self.word.load(Acquire);
        now >> PHASE_BITS > ticket || now == ticket << PHASE_BITS | FREE
    }

    /// Takes the call back, unless it was begun.
    fn withdraw(&self, Ticket(ticket): Ticket) -> bool {
        let asked = ticket << PHASE_BITS | ASKED;
        // Relaxed: an exchange hands on what the store that it replaces released, and this CPU made that one.
        self.word.compare_exchange(asked, ticket << PHASE_BITS | FREE, Relaxed, Relaxed).is_ok()
    }

    /// Whether this mailbox's CPU is inside a called function.
    fn is_running(&self) -> bool {
        self.word.load(Relaxed) & PHASE == RUNNING
    }

    /// For the mailbox's CPU, with interrupts off: runs what is asked.
    pub(super) fn answer(&self) {
        let asked = self.word.load(Relaxed);
        if asked & PHASE != ASKED {
            return;
        }
        let ticket = asked & !PHASE;
        // Acquire: the call is whole. It may have been withdrawn, and another put in its place, which signals anew.
        if self.word.compare_exchange(asked, ticket | RUNNING, Acquire, Relaxed).is_err() {
            return;
        }
        if let Some(work) = self.work.take() {
            work.run();
        }
        // Release: what the function did comes before its end.
        self.word.store(ticket | FREE, Release);
    }
}

impl Cpus<'_> {
    /// Runs `function(argument)` on CPU `to`, with interrupts off there, and waits until it has ended. On this CPU it is
    /// simply run. Meanwhile this CPU answers others' flushes and calls, so the caller holds no lock that a called
    /// function takes.
    ///
    /// # Errors
    /// [`CallError`], which says whether the function was run, is being run, or will never be.
    pub fn call<C: Cpu, S: Signal>(
        self,
        from: &Pinned<C>,
        signal: S,
        to: CpuId,
        function: fn(usize),
        argument: usize,
        limit: Duration,
    ) -> Result<(), CallError> {
        let here = from.cpu();
        let work = Work { function, argument };
        if self.slot(here).is_some_and(|slot| slot.mailbox.is_running()) {
            return Err(CallError::Nested);
        }
        if here == to {
            without_interrupts(from, || work.run());
            return Ok(());
        }
        let slot = self.slot(to).ok_or(CallError::NotOnline(to))?;
        let is_gone = || slot.presence.state() != CpuState::Online;
        let deadline = Deadline::after(signal, limit);
        let wait = || {
            without_interrupts(from, || self.answer(here, signal));
            signal.relax();
        };
        let ticket = loop {
            if is_gone() {
                return Err(CallError::NotOnline(to));
            }
            // An interrupt here that calls, too, would wait for a mailbox that this CPU has claimed.
            match without_interrupts(from, || slot.mailbox.ask(work)) {
                Some(ticket) => break ticket,
                None if deadline.is_over(signal) => return Err(CallError::Busy(to)),
                None => wait(),
            }
        };
        self.signal(signal, to);
        loop {
            if slot.mailbox.is_done(ticket) {
                return Ok(());
            }
            let gone = is_gone();
            if gone || deadline.is_over(signal) {
                return match slot.mailbox.withdraw(ticket) {
                    true if gone => Err(CallError::NotOnline(to)),
                    true => Err(CallError::NoAnswer(to)),
                    false if slot.mailbox.is_done(ticket) => Ok(()),
                    false => Err(CallError::Unfinished(to)),
                };
            }
            wait();
        }
    }
}
