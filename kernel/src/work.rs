//! What a CPU does: work that is queued for it, timers that fall due, and nothing in between.
//!
//! Each CPU has a queue of its own. Whoever has work for a CPU pushes it and signals that CPU, which takes it out in
//! its loop, with interrupts on, and runs it to completion; there is no scheduler beyond this. A *timer* runs its work
//! in the interrupt that its alarm raises, so such work is short, takes what it may wait for without waiting, and
//! pushes the rest to the queue. A *call* ([`on`]) runs in the other CPU's interrupt, and the caller waits for it.
//!
//! An idle CPU looks at its queue with interrupts off and then turns them on and halts in one step, so a signal that
//! comes in between ends the halt at once. The boot CPU runs the monitor, and serves its own queue while it waits for
//! input. Costs: a push is a lock and a signal; an idle CPU wakes for signals and alarms only. Linux: `kernel/smp.c`,
//! `kernel/workqueue.c`, `kernel/time/timer.c`, `kernel/sched/idle.c`.

use crate::cpus;
use crate::report;
use arch::traps::Interrupt;
use arch::{Native, irqchip, timer};
use core::fmt::Display;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use mm::addr::CpuId;
use mm::arch::Cpu as _;
use mm::smp::{CallError, Full, TimerId, Timers, Work, WorkQueue};
use mm::sync::IrqLock;

/// How long a CPU may take to run what another one waits for. Even under an emulator with many CPUs on few it takes
/// milliseconds; that of a flush is the same.
const CALL_LIMIT: Duration = Duration::from_secs(5);

mm::percpu! {
    /// What the CPU has to do.
    static QUEUE: WorkQueue = WorkQueue::new();
    /// What it has to do later.
    static TIMERS: IrqLock<Timers> = IrqLock::new(Timers::new());
    /// What it has done so far.
    static DONE: Counters = Counters::new();
}

/// What a CPU counts.
struct Counters {
    alarms: AtomicU64,
    signals: AtomicU64,
    other_interrupts: AtomicU64,
    work: AtomicU64,
}

impl Counters {
    const fn new() -> Self {
        let [alarms, signals, other_interrupts, work] = [const { AtomicU64::new(0) }; 4];
        Self { alarms, signals, other_interrupts, work }
    }
}

/// What CPU `cpu` has done, in words; nothing for one that has no area.
pub(crate) fn describe(cpu: CpuId) -> impl Display {
    core::fmt::from_fn(move |f| {
        let Some(done) = DONE.of(&Native, cpu) else { return Ok(()) };
        let [alarms, signals, others, work] = [&done.alarms, &done.signals, &done.other_interrupts, &done.work]
            .map(|count| count.load(Ordering::Relaxed));
        write!(f, "{alarms} alarms, {signals} signals, {others} other interrupts, {work} pieces of work")
    })
}

/// Why work is not done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PushError {
    /// The CPU does not run.
    Offline,
    /// Its queue is full.
    Full,
}

impl core::fmt::Display for PushError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Offline => "the CPU does not run",
            Self::Full => "the CPU's queue is full",
        })
    }
}

/// Gives `work` to CPU `to`, which runs it once it has done what it has been given before.
pub(crate) fn push(to: CpuId, work: Work) -> Result<(), PushError> {
    if !cpus::is_online(to) {
        return Err(PushError::Offline);
    }
    let queue = QUEUE.of(&Native, to).ok_or(PushError::Offline)?;
    queue.push(work).map_err(|Full| PushError::Full)?;
    if to != Native.current() {
        irqchip::signal(to);
    }
    Ok(())
}

/// Runs `function` on CPU `to`, in its interrupt handler, and waits until it has. With interrupts off, so it is short
/// and calls nobody itself. On the caller's own CPU it is simply run.
///
/// # Errors
/// The CPU does not run, or does not answer; then `function` was not run and will not be. If it was begun and does not
/// end, that is the kernel's end: it may reach what was on the caller's stack.
pub(crate) fn on(to: CpuId, function: &(dyn Fn() + Sync)) -> Result<(), CallError> {
    fn run(argument: usize) {
        let function = core::ptr::with_exposed_provenance::<&(dyn Fn() + Sync)>(argument);
        // SAFETY: `on` passes the address of its own argument, and does not return before this has run or never will.
        let function = unsafe { *function };
        function();
    }
    let argument = (&raw const function).expose_provenance();
    let Some(cpus) = cpus::all() else {
        if to != CpuId::BOOT {
            return Err(CallError::NotOnline(to));
        }
        function();
        return Ok(());
    };
    match cpus.call(&Native.pin(), Native, to, run, argument, CALL_LIMIT) {
        Err(CallError::Unfinished(cpu)) => report::unanswered(cpu, "a call that it has begun", CALL_LIMIT, ""),
        outcome => outcome,
    }
}

/// As [`on`], but a CPU that does not answer is the kernel's end. The report says whether it answers at all.
pub(crate) fn insist(to: CpuId, function: &(dyn Fn() + Sync)) -> Result<(), CallError> {
    /// Long enough for a CPU that is well.
    const AGAIN: Duration = Duration::from_secs(1);
    let outcome = on(to, function);
    if outcome != Err(CallError::NoAnswer(to)) {
        return outcome;
    }
    let again = cpus::all().map(|cpus| cpus.call(&Native.pin(), Native, to, |_| (), 0, AGAIN));
    match again {
        Some(Ok(())) => report::unanswered(to, "a call", CALL_LIMIT, ", but another one: a signal was lost"),
        _ => report::unanswered(to, "a call", CALL_LIMIT, ", nor another one: it is silent"),
    }
}

/// Runs `work` on this CPU, in the interrupt of its timer, `delay` from now.
///
/// # Errors
/// [`Full`]: there are too many timers already.
pub(crate) fn after(delay: Duration, work: Work) -> Result<TimerId, Full> {
    let pinned = Native.pin();
    let mut timers = TIMERS.get(&pinned).lock(Native);
    let id = timers.add(timer::uptime().saturating_add(delay), work)?;
    arm(&timers);
    Ok(id)
}

/// Takes a timer of this CPU back, unless it was due already.
fn cancel(id: TimerId) {
    let pinned = Native.pin();
    let mut timers = TIMERS.get(&pinned).lock(Native);
    timers.cancel(id);
    arm(&timers);
}

/// Sets this CPU's alarm to the first of its timers.
fn arm(timers: &Timers) {
    if !cpus::interrupts_come() {
        return;
    }
    match timers.next() {
        Some(at) => timer::set_alarm(at),
        None => timer::clear_alarm(),
    }
}

/// What the arch's handlers call for an interrupt, with interrupts off.
#[unsafe(no_mangle)]
extern "C" fn kernel_interrupt(kind: Interrupt) {
    let pinned = Native.pin();
    let done = DONE.get(&pinned);
    let count = match kind {
        Interrupt::Timer => &done.alarms,
        Interrupt::Signal => &done.signals,
        Interrupt::Other(_) => &done.other_interrupts,
    };
    count.fetch_add(1, Ordering::Relaxed);
    match kind {
        Interrupt::Timer => run_due(),
        Interrupt::Signal => {
            if report::is_under_way() {
                cpus::stand_still();
            }
            if let Some(cpus) = cpus::all() {
                cpus.answer(pinned.cpu(), Native);
            }
        }
        Interrupt::Other(number) => log::warn!("CPU {}: interrupt {number} is nobody's", pinned.cpu()),
    }
}

/// Runs the timers of this CPU that are due.
fn run_due() {
    let pinned = Native.pin();
    loop {
        let mut timers = TIMERS.get(&pinned).lock(Native);
        let Some(work) = timers.due(timer::uptime()) else {
            return arm(&timers);
        };
        drop(timers);
        work.run();
    }
}

/// Runs the oldest work of this CPU's queue; when there is none, halts until an interrupt has come.
fn run_or_halt() {
    if let Some(work) = take(None) {
        work.run();
    }
}

/// Runs the oldest work of this CPU's queue; when there is none, halts until an interrupt has come, or for `limit`.
pub(crate) fn run_or_doze(limit: Duration) {
    if let Some(work) = take(Some(limit)) {
        work.run();
    }
}

/// The oldest work of this CPU's queue; when there is none, the CPU halts for a while.
fn take(limit: Option<Duration>) -> Option<Work> {
    fn wake(_: usize) {}
    // Off from before it looks, and before its alarm is set, until it halts: work that comes from here on signals this
    // CPU, and neither that nor the alarm can pass before the halt, which they end.
    let state = Native.irq_save();
    let work = QUEUE.get(&Native.pin()).pop();
    if work.is_some() {
        DONE.get(&Native.pin()).work.fetch_add(1, Ordering::Relaxed);
    } else if !cpus::interrupts_come() {
        // Then there is this CPU alone, and it looks at its timers itself.
        run_due();
    } else {
        match limit.map(|limit| after(limit, Work { function: wake, argument: 0 })) {
            None => arch::cpu::wait_for_interrupt(),
            Some(Ok(alarm)) => {
                arch::cpu::wait_for_interrupt();
                cancel(alarm);
            }
            // Nothing would end the halt.
            Some(Err(Full)) => core::hint::spin_loop(),
        }
    }
    Native.irq_restore(state);
    work
}

/// What a CPU does for good.
pub(crate) fn serve() -> ! {
    loop {
        run_or_halt();
    }
}
