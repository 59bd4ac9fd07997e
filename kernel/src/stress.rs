//! The monitor's `stress`: [`mm::stress`] on all CPUs at once, or on some.
//!
//! Each CPU gets its share as one piece of work in its queue; the boot CPU's lies in the queue of the CPU that waits,
//! so it runs like the others'. Where more than one CPU takes part, timers interrupt them some thousand times a second,
//! wherever they are in the allocators, and ask for memory too. With one CPU there is none, so that the same seed gives
//! the same run. Another timer tells how far all of them are, and ends the machine with a report when nothing has moved
//! for [`STANDSTILL`].

use crate::log::print;
use crate::report;
use crate::system::{MM, Mm, Model};
use crate::{cpus, work};
use arch::Native;
use core::fmt::{self, Display};
use core::str::FromStr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};
use core::time::Duration;
use mm::addr::CpuId;
use mm::arch::Cpu as _;
use mm::smp::Work;
use mm::stress::{Config, Failure, Stress, Summary};

type Run = Stress<'static, Native, Model>;

/// Steps where nobody says how many.
const OPERATIONS: u64 = 100_000;
/// Where nobody says a seed.
const SEED: u64 = 1;
/// Time between two interrupts, of all CPUs that take part.
const INTERVAL: Duration = Duration::from_micros(250);
/// Time between two looks at how far the CPUs are.
const LOOK: Duration = Duration::from_millis(100);
/// Without a step of any CPU for so long, something hangs. To take nearly all of a large memory is one step.
const STANDSTILL: Duration = Duration::from_secs(60);

/// CPUs by their numbers, as a list of numbers and ranges says: `0-3,8`.
#[derive(Clone, Copy)]
struct CpuList<'t>(&'t str);

impl CpuList<'_> {
    fn ranges(&self) -> impl Iterator<Item = Option<(u32, u32)>> {
        self.0.split(',').map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some((first.trim().parse().ok()?, last.trim().parse().ok()?)).filter(|(first, last)| first <= last)
        })
    }

    fn contains(&self, cpu: CpuId) -> bool {
        self.ranges().flatten().any(|(first, last)| (first..=last).contains(&cpu.as_u32()))
    }

    /// A number of the list that no running CPU has.
    fn stranger(&self) -> Option<u32> {
        self.ranges().flatten().find_map(|(first, last)| (first..=last).find(|cpu| !cpus::is_online(CpuId::new(*cpu))))
    }
}

/// What is asked for.
#[derive(Clone, Copy)]
struct Request<'t> {
    operations: u64,
    seed: u64,
    cpus: CpuList<'t>,
}

/// Why nothing was shaken, or what came of it.
pub(crate) enum StressError {
    /// The arguments are not what the command takes.
    Usage,
    /// This CPU does not run.
    NoSuchCpu(u32),
    /// A CPU takes no work.
    Refused(CpuId, work::PushError),
    /// Something is wrong.
    Failed(Failure),
}

impl Display for StressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage => f.write_str("wrong arguments"),
            Self::NoSuchCpu(cpu) => write!(f, "CPU {cpu} does not run"),
            Self::Refused(cpu, error) => write!(f, "CPU {cpu}: {error}"),
            Self::Failed(failure) => failure.fmt(f),
        }
    }
}

/// A number, decimal or with `0x`.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => u64::from_str(text).ok(),
    }
}

impl<'t> Request<'t> {
    fn parse(arguments: &'t str) -> Option<Self> {
        // All CPUs that there can be; those that do not run are left out.
        let mut request = Self { operations: OPERATIONS, seed: SEED, cpus: CpuList("") };
        let mut words = arguments.split_whitespace();
        while let Some(option) = words.next() {
            let value = words.next()?;
            match option {
                "--ops" => request.operations = number(value)?,
                "--seed" => request.seed = number(value)?,
                "--cpus" if CpuList(value).ranges().all(|range| range.is_some()) => request.cpus = CpuList(value),
                _ => return None,
            }
        }
        Some(request)
    }

    /// The CPUs that take part, ascending.
    fn members(&self) -> impl Iterator<Item = CpuId> {
        cpus::online().filter(|cpu| self.cpus.0.is_empty() || self.cpus.contains(*cpu))
    }
}

/// The run that is under way.
static RUN: AtomicPtr<Run> = AtomicPtr::new(core::ptr::null_mut());
/// CPUs that have not done their share.
static LEFT: AtomicU32 = AtomicU32::new(0);
/// Tenths of the steps that were told.
static TOLD: AtomicU64 = AtomicU64::new(0);
/// Steps at the last look, and looks since there were more.
static SEEN: AtomicU64 = AtomicU64::new(0);
static STILL: AtomicU32 = AtomicU32::new(0);

/// Whether a look is to come.
static LOOKING: AtomicBool = AtomicBool::new(false);

/// No timer of the run is set on this CPU.
const IDLE: u8 = 0;
/// One is, and sets itself again.
const TICKING: u8 = 1;
/// One is, for the last time.
const ENDING: u8 = 2;

mm::percpu! {
    /// Whether this CPU's timer takes part.
    static TIMER: AtomicU8 = AtomicU8::new(IDLE);
}

/// The run that is under way.
fn current() -> Option<&'static Run> {
    // SAFETY: `shake` puts the address of its run here, and takes it away when no CPU takes part and no timer of the
    // run is set any more. Who asks does so in a share or in such a timer, and keeps nothing beyond it.
    unsafe { RUN.load(Ordering::Acquire).as_ref() }
}

/// The share of a CPU, from its queue.
fn take_part(member: usize) {
    let Some(run) = current() else { return };
    let pinned = Native.pin();
    let timer = TIMER.get(&pinned);
    if run.config().cpus > 1 {
        timer.store(TICKING, Ordering::Relaxed);
        tick(run, timer);
    }
    // What goes wrong, the run keeps.
    let _ = u32::try_from(member).map(|member| run.run(member));
    // The timer runs on this CPU. It has ended before the share has.
    if timer.compare_exchange(TICKING, ENDING, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
        while timer.load(Ordering::Relaxed) != IDLE {
            core::hint::spin_loop();
        }
    }
    LEFT.fetch_sub(1, Ordering::Release);
}

/// Sets this CPU's timer once more. Without room for it there are no more interrupts of this kind.
fn tick(run: &Run, timer: &AtomicU8) {
    let delay = INTERVAL.saturating_mul(run.config().cpus);
    if work::after(delay, Work { function: interrupt, argument: 0 }).is_err() {
        timer.store(IDLE, Ordering::Relaxed);
    }
}

/// In the timer's interrupt of a CPU that takes part.
fn interrupt(_: usize) {
    let pinned = Native.pin();
    let timer = TIMER.get(&pinned);
    match current().filter(|_| timer.load(Ordering::Relaxed) == TICKING) {
        Some(run) => {
            run.interrupt();
            tick(run, timer);
        }
        None => timer.store(IDLE, Ordering::Relaxed),
    }
}

/// In a timer's interrupt of the CPU that waits: how far is it?
fn look(_: usize) {
    let Some(run) = current().filter(|_| LEFT.load(Ordering::Acquire) > 0) else {
        return LOOKING.store(false, Ordering::Release);
    };
    let (steps, all) = (run.progress(), run.config().operations.max(1));
    let tenths = steps.saturating_mul(10) / all;
    if tenths > TOLD.swap(tenths, Ordering::Relaxed) {
        print(format_args!("stress: {steps} of {all} operations\n"));
    }
    if SEEN.swap(steps, Ordering::Relaxed) != steps {
        STILL.store(0, Ordering::Relaxed);
    } else if LOOK.saturating_mul(STILL.fetch_add(1, Ordering::Relaxed)) > STANDSTILL {
        let least = (0..run.config().cpus).min_by_key(|member| run.progress_of(*member)).unwrap_or_default();
        report::hang(format_args!(
            "stress: seed {:#x}: {} CPUs have not ended, and none has done a step for {} s; CPU {least} of the run is \
             in step {}",
            run.config().seed,
            LEFT.load(Ordering::Relaxed),
            STANDSTILL.as_secs(),
            run.progress_of(least)
        ));
    }
    look_later();
}

/// Looks after a while. Without room for the timer nobody does.
fn look_later() {
    let set = work::after(LOOK, Work { function: look, argument: 0 });
    LOOKING.store(set.is_ok(), Ordering::Release);
}

fn shake(mm: &'static Mm, request: &Request<'_>) -> Result<Summary, StressError> {
    if let Some(stranger) = Some(request.cpus).filter(|list| !list.0.is_empty()).and_then(|list| list.stranger()) {
        return Err(StressError::NoSuchCpu(stranger));
    }
    let cpus = request.members().count() as u32;
    let Request { operations, seed, .. } = *request;
    let run = Stress::new(mm, Config { seed, operations, cpus }).map_err(StressError::Failed)?;
    [&TOLD, &SEEN].into_iter().for_each(|count| count.store(0, Ordering::Relaxed));
    STILL.store(0, Ordering::Relaxed);
    RUN.store((&raw const run).cast_mut(), Ordering::Release);
    LEFT.store(cpus, Ordering::Relaxed);
    let mut refused = Ok(());
    for (cpu, member) in request.members().zip(0..) {
        if let Err(error) = work::push(cpu, Work { function: take_part, argument: member }) {
            LEFT.fetch_sub(1, Ordering::Relaxed);
            refused = Err(StressError::Refused(cpu, error));
        }
    }
    look_later();
    while LEFT.load(Ordering::Acquire) > 0 || LOOKING.load(Ordering::Acquire) {
        work::run_or_doze(LOOK);
    }
    RUN.store(core::ptr::null_mut(), Ordering::Release);
    refused?;
    run.finish().map_err(StressError::Failed)
}

/// Shakes memory management as `arguments` say. What came of it is printed.
///
/// # Errors
/// [`StressError`]; after a failure memory stays as it was found.
pub(crate) fn stress(arguments: &str) -> Result<(), StressError> {
    let request = Request::parse(arguments).ok_or(StressError::Usage)?;
    let Some(mm) = MM.get() else { return Ok(()) };
    match shake(mm, &request) {
        Ok(summary) => print(format_args!("stress: ok ({summary})\n")),
        Err(error) => {
            print(format_args!("stress: FAILED: {error}\n"));
            print(format_args!("again: stress --ops {} --seed {:#x} --cpus ", request.operations, request.seed));
            request.members().enumerate().for_each(|(place, cpu)| {
                print(format_args!("{}{cpu}", if place == 0 { "" } else { "," }));
            });
            print(format_args!("   (on this machine, first of all)\n"));
            return Err(error);
        }
    }
    Ok(())
}
