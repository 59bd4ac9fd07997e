//! Failures on purpose, to see that each ends in a report: the monitor's `provoke NAME`.
//!
//! Each of them is what a defect would do, on a CPU other than the one that runs the monitor where there is one. None
//! of them comes back but by a report, which every one must bring within its limit; one that does come back has found
//! that a failure stays unseen, and the command fails.

use crate::log::Output;
use crate::system::System;
use crate::{cpus, work};
use arch::{Native, timer, traps};
use core::fmt::Write as _;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use mm::addr::{CpuId, VirtAddr};
use mm::arch::{Cpu as _, PageFormat as _};
use mm::smp::Work;
use mm::vmalloc::VmallocOptions;

/// A failure by its name.
pub(crate) struct Provocation {
    /// What it is called.
    pub(crate) name: &'static str,
    /// What happens.
    pub(crate) help: &'static str,
    run: fn(&System, CpuId) -> Result<(), &'static str>,
}

/// All of them.
pub(crate) const PROVOCATIONS: &[Provocation] = &[
    Provocation { name: "use-after-unmap", help: "a CPU reads a page that another one unmaps", run: use_after_unmap },
    Provocation { name: "stack-overflow", help: "a CPU's stack runs into its guard page", run: stack_overflow },
    Provocation {
        name: "silent-cpu",
        help: "a CPU never answers, and memory that it may reach is unmapped",
        run: silent_cpu,
    },
    Provocation {
        name: "lost-signal",
        help: "a CPU is called, and the interrupt that tells it is lost",
        run: lost_signal,
    },
];

/// How long a failure may take to be noticed before the command gives up.
const PATIENCE: Duration = Duration::from_secs(5);

/// How far the other CPU is.
static PROGRESS: AtomicU64 = AtomicU64::new(0);

/// Provokes a failure. It comes back only when nothing has noticed it, or there is nobody to have it.
pub(crate) fn provoke(provocation: &Provocation, system: &System) -> Result<(), &'static str> {
    let other = cpus::online().last().filter(|cpu| *cpu != Native.current()).ok_or("it takes two CPUs")?;
    // The console takes everything.
    let _ = writeln!(Output, "{} on CPU {other}", provocation.name);
    (provocation.run)(system, other)?;
    wait_until(|| false);
    Err("nothing has noticed it")
}

/// Waits, with interrupts as they are; `false` when `done` has not come true.
fn wait_until(done: impl Fn() -> bool) -> bool {
    let end = timer::uptime().saturating_add(PATIENCE);
    while timer::uptime() < end {
        if done() {
            return true;
        }
        core::hint::spin_loop();
    }
    false
}

/// Lets `cpu` run `function`, and waits until that has counted in [`PROGRESS`].
fn begin(cpu: CpuId, function: fn(usize), argument: usize) -> Result<(), &'static str> {
    PROGRESS.store(0, Ordering::Relaxed);
    work::push(cpu, Work { function, argument }).map_err(|_| "the CPU takes no work")?;
    if wait_until(|| PROGRESS.load(Ordering::Relaxed) > 0) { Ok(()) } else { Err("the CPU does not begin") }
}

/// A page of virtual space.
fn page(system: &System) -> Result<VirtAddr, &'static str> {
    let area = system.mm.vmalloc.alloc(Native::PAGE_SIZE, "provoke", VmallocOptions::ZEROED);
    area.map(|area| area.start()).map_err(|_| "no memory")
}

fn use_after_unmap(system: &System, other: CpuId) -> Result<(), &'static str> {
    fn read_for_ever(address: usize) {
        let address = core::ptr::with_exposed_provenance::<u64>(address);
        loop {
            // SAFETY: it is mapped at first. That it no longer is at some time is what this is for: the access traps.
            unsafe { address.read_volatile() };
            PROGRESS.fetch_add(1, Ordering::Relaxed);
        }
    }
    let address = page(system)?;
    begin(other, read_for_ever, address.as_u64() as usize)?;
    // SAFETY: the other CPU's reads are what is meant to fail; nobody else knows the address.
    unsafe { system.mm.vmalloc.free(address) }.map_err(|_| "it cannot be unmapped")
}

fn stack_overflow(_: &System, other: CpuId) -> Result<(), &'static str> {
    #[expect(unconditional_recursion, reason = "that is what is provoked")]
    fn deeper(depth: usize) {
        let filling = core::hint::black_box([depth; 32]);
        PROGRESS.store(depth as u64 + 1, Ordering::Relaxed);
        deeper(depth + filling.len());
        core::hint::black_box(&filling);
    }
    begin(other, deeper, 0)
}

fn silent_cpu(system: &System, other: CpuId) -> Result<(), &'static str> {
    fn fall_silent(_: usize) {
        let _ = Native.irq_save();
        PROGRESS.store(1, Ordering::Relaxed);
        loop {
            core::hint::spin_loop();
        }
    }
    let address = page(system)?;
    if traps::try_read(address).is_err() {
        return Err("the page cannot be read");
    }
    begin(other, fall_silent, 0)?;
    // Where CPUs answer for their TLBs, this ends here; where the hardware does, with the call.
    // SAFETY: nobody else knows the address.
    unsafe { system.mm.vmalloc.free(address) }.map_err(|_| "it cannot be unmapped")?;
    call(other)
}

fn lost_signal(_: &System, other: CpuId) -> Result<(), &'static str> {
    if let Some(cpus) = cpus::all() {
        cpus.drop_next_signal(other);
    }
    call(other)
}

/// Calls a CPU that will not answer.
fn call(other: CpuId) -> Result<(), &'static str> {
    match work::insist(other, &|| ()) {
        Ok(()) => Err("the call came through"),
        Err(_) => Err("the CPU cannot be called"),
    }
}
