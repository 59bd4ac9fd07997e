//! All CPUs: each gets its stacks, is kicked, and arrives.
//!
//! [`bring_up`] runs on the boot CPU when memory management and the interrupt controller stand. It makes a slot for
//! each CPU that the firmware lists, by which CPUs talk to each other ([`mm::smp`]), and starts the others: stacks on
//! the CPU's own node, with a guard page below each, then the architecture's way to start it. When all are kicked, it
//! waits for them to say that they are there, until none has for [`ARRIVAL_LIMIT`]. A CPU that does not come is one
//! warning; its stacks stay, for it may come late, find that it was given up, and park. CPUs that can be plugged in are
//! not there yet and are left alone.
//!
//! Costs: a slot of a cache line or two and its stacks for each CPU. Linux: `smp_init`, `bringup_nonboot_cpus`,
//! `start_secondary`, `secondary_start_kernel`.

use crate::log::warning;
use crate::system::Mm;
use crate::{report, work};
use alloc::vec::Vec;
use arch::cpu::{self, MAIN_STACK_BYTES, Stacks, TRAP_STACK_BYTES, TRAP_STACKS};
use arch::paging::EarlyMap;
use arch::{Native, discover, irqchip, timer};
use core::fmt::{self, Display};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use log::{info, warn};
use mm::addr::{CpuId, VirtAddr};
use mm::arch::Cpu as _;
use mm::machine::StartMethod;
use mm::numa::CpuInfo;
use mm::paging::MemoryType;
use mm::smp::{CpuState, Cpus, Slot};
use mm::vmalloc::VmallocError;
use platform::handover::BootInfo;

/// How long nobody may arrive before those that have not are given up. One that is there takes some milliseconds, even
/// under an emulator. Linux: 5 s (arm64), 10 s (x86) for each.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(2);

static CPUS: spin::Once<Cpus<'static>> = spin::Once::new();

/// The CPUs; `None` until the others may be spoken to.
pub(crate) fn all() -> Option<Cpus<'static>> {
    CPUS.get().copied()
}

/// The CPUs that run, the boot CPU first.
pub(crate) fn online() -> impl Iterator<Item = CpuId> {
    let others = all().into_iter().flat_map(|cpus| cpus.online().filter(|cpu| *cpu != CpuId::BOOT));
    core::iter::once(CpuId::BOOT).chain(others)
}

/// Whether the CPU runs.
pub(crate) fn is_online(cpu: CpuId) -> bool {
    cpu == CpuId::BOOT || all().is_some_and(|cpus| cpus.state(cpu) == CpuState::Online)
}

/// Whether interrupts come, so that a halt ends.
static INTERRUPTS_COME: AtomicBool = AtomicBool::new(false);

/// Whether the interrupt controller is in use. Without it the boot CPU is the only one, and polls.
pub(crate) fn interrupts_come() -> bool {
    INTERRUPTS_COME.load(Ordering::Relaxed)
}

/// Whether this CPU can be interrupted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Interrupts {
    /// By its timer, and by other CPUs.
    Ready,
    /// Not at all: it polls, and no other CPU is started.
    Never,
}

/// Takes the interrupt controller that the firmware names, and turns it on for this CPU. Interrupts stay off.
pub(crate) fn interrupts(mm: &Mm, boot: &BootInfo<'_>, early: &mut EarlyMap) -> Interrupts {
    let Some(facts) = discover::irq_facts(boot, early, &mut warning) else {
        match boot.irq_controller_name() {
            Some(name) => info!("Interrupts: no driver here knows the controller that the firmware names, {name:?}"),
            None => info!("Interrupts: the firmware names no controller"),
        }
        return Interrupts::Never;
    };
    let map = &mut |range| match mm.vmalloc.ioremap(range, MemoryType::Device, "interrupt_controller") {
        Ok(address) => Some(address),
        Err(error) => {
            warn!("interrupts: {range}: {error}");
            None
        }
    };
    if let Err(error) = irqchip::init(&facts, map) {
        warn!("interrupts: {error}");
        return Interrupts::Never;
    }
    irqchip::init_cpu();
    timer::init_cpu();
    INTERRUPTS_COME.store(true, Ordering::Relaxed);
    info!("Interrupts: {}", irqchip::describe());
    Interrupts::Ready
}

/// Makes a slot for each CPU that there may be, through which the architecture's flushes reach the others from now on.
pub(crate) fn prepare(mm: &'static Mm) {
    let possible = mm.pages.nodes().cpus().len().max(1);
    let mut slots = Vec::new();
    if slots.try_reserve_exact(possible).is_err() {
        report::stop(format_args!("no memory for what {possible} CPUs say to each other"));
    }
    slots.extend((0..).map(CpuId::new).map(Slot::new).take(possible));
    let cpus = *CPUS.call_once(|| Cpus::new(slots.leak()));
    cpu::set_others(cpus);
}

/// Why a CPU does not run.
enum Missing {
    Twice(CpuId),
    OutOfReach,
    NoStack(VmallocError),
    NotStarted(cpu::StartError),
    NotArrived(Duration),
}

impl Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Twice(other) => write!(f, "it is CPU {other}, listed once more"),
            Self::OutOfReach => f.write_str("it could not be interrupted"),
            Self::NoStack(error) => write!(f, "no stack: {error}"),
            Self::NotStarted(error) => write!(f, "it cannot be started: {error}"),
            Self::NotArrived(limit) => write!(f, "it was started and has not arrived within {} ms", limit.as_millis()),
        }
    }
}

/// Starts all CPUs that are there. To be called once, on the boot CPU, when [`prepare`] has run.
pub(crate) fn bring_up(mm: &'static Mm, facts: &cpu::StartFacts, interrupts: Interrupts) {
    let Some(cpus) = all() else { return };
    info!("smp: Bringing up secondary CPUs ...");
    let listed = mm.pages.nodes().cpus().iter().skip(1);
    let there = listed.filter(|info| info.start != StartMethod::Plugged);
    let missing = |info: &CpuInfo, missing: Missing| {
        let CpuInfo { id, hardware_id, source, .. } = info;
        warn!("smp: CPU {id} ({source}, hardware id {hardware_id:#x}) does not come up: {missing}");
    };
    // Two of one number are one CPU: it would be started while it runs.
    let earlier = |info: &CpuInfo| {
        let mut before = mm.pages.nodes().cpus().iter().take(info.id.index());
        before.find(|other| other.hardware_id == info.hardware_id)
    };
    // All are kicked before the first is waited for, so that they begin side by side.
    for info in there.clone() {
        let started = match (earlier(info), interrupts) {
            (Some(other), _) => Err(Missing::Twice(other.id)),
            (None, Interrupts::Ready) => start(mm, facts, cpus, info),
            (None, Interrupts::Never) => Err(Missing::OutOfReach),
        };
        if let Err(reason) = started {
            missing(info, reason);
        }
    }
    let mut last = timer::uptime();
    let mut here = cpus.online().count();
    for info in there.filter(|info| cpus.state(info.id) == CpuState::Starting) {
        // Others may have arrived while one was waited for in vain.
        let now_here = cpus.online().count();
        if now_here > here {
            (here, last) = (now_here, timer::uptime());
        }
        let rest = ARRIVAL_LIMIT.saturating_sub(timer::uptime().saturating_sub(last));
        match cpus.await_arrival(&Native.pin(), info.id, Native, rest) {
            Ok(()) => last = timer::uptime(),
            Err(_) => missing(info, Missing::NotArrived(ARRIVAL_LIMIT)),
        }
    }
    let (nodes, online) = (mm.pages.nodes().node_count(), cpus.online().count());
    let ending = |count: usize| if count > 1 { "s" } else { "" };
    info!("smp: Brought up {nodes} node{}, {online} CPU{}", ending(nodes), ending(online));
}

/// Kicks a CPU, which is expected from then on.
fn start(mm: &Mm, facts: &cpu::StartFacts, cpus: Cpus<'static>, info: &CpuInfo) -> Result<(), Missing> {
    let stack =
        |bytes| mm.vmalloc.stack(bytes, info.node, "secondary_cpu").map(|stack| stack.end()).map_err(Missing::NoStack);
    let mut stacks = Stacks { main: stack(MAIN_STACK_BYTES)?, traps: [VirtAddr::new(0); TRAP_STACKS] };
    for top in &mut stacks.traps {
        *top = stack(TRAP_STACK_BYTES)?;
    }
    cpus.expect(info.id);
    cpu::start(info, facts, &stacks).or_else(|error| {
        // Nobody waits for it from here on, unless it has come all the same.
        let arrival = cpus.await_arrival(&Native.pin(), info.id, Native, Duration::ZERO);
        arrival.map_err(|_| Missing::NotStarted(error))
    })
}

/// Entered by the architecture's code on a CPU that was started, with interrupts off, on its own stack, in the final
/// tables, its per-CPU area in place.
#[unsafe(no_mangle)]
extern "C" fn start_secondary(cpu: u32) -> ! {
    // All that others may want of this CPU is ready before it says that it is here.
    irqchip::init_cpu();
    timer::init_cpu();
    let arrived = all().is_some_and(|cpus| cpus.arrive(CpuId::new(cpu), Native).is_ok());
    if !arrived {
        cpu::halt();
    }
    cpu::interrupts_enable();
    work::serve()
}

/// Stops the other CPUs, because this one reports; returns those that have not stopped within `limit`.
pub(crate) fn stop_others(limit: Duration) -> impl Iterator<Item = CpuId> {
    /// Enough turns where the clock stands.
    const TURNS: u32 = 100_000_000;
    let here = Native.current();
    // Who stops is not online any more.
    let others = move || all().into_iter().flat_map(Cpus::online).filter(move |cpu| *cpu != here);
    others().for_each(irqchip::signal);
    let start = timer::uptime();
    for _ in 0..TURNS {
        if others().next().is_none() || timer::uptime().saturating_sub(start) > limit {
            break;
        }
        core::hint::spin_loop();
    }
    others()
}

/// Stops this CPU for good, because another one reports.
pub(crate) fn stand_still() -> ! {
    if let Some(cpus) = all() {
        cpus.leave(Native.current());
    }
    cpu::halt()
}
