//! All CPUs: each runs what it is given, has its own variables and stack, and loses a page when another one unmaps it.

use super::allocators::conserving;
use super::case::{Failure, Test, fail};
use crate::system::System;
use crate::{cpus, work};
use alloc::boxed::Box;
use alloc::vec::Vec;
use arch::{Native, timer, traps};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use mm::addr::{CpuId, Order, Pfn, VirtAddr};
use mm::arch::{Cpu as _, PageFormat as _, PhysMap as _};
use mm::page_alloc::Gfp;
use mm::smp::{CallError, Work};
use mm::vmalloc::VmallocOptions;

pub(super) const TESTS: &[Test] = &[
    Test { name: "every CPU runs a call and knows itself", run: calls },
    Test { name: "every CPU has variables of its own", run: variables },
    Test { name: "every CPU runs what is queued for it, in order", run: queues },
    Test { name: "every CPU can call the boot CPU", run: calls_back },
    Test { name: "a timer fires on every CPU, and not before its time", run: timers },
    Test { name: "memory is freed on another CPU", run: remote_free },
    Test { name: "an unmapped page is out of every CPU's reach, and its frame is used again", run: shootdown },
    Test { name: "below every CPU's stack lies a page that is not mapped", run: stack_guards },
    Test { name: "interrupt handlers allocate inside allocator code", run: interrupted_allocators },
];

/// How long another CPU may take for what is asked of it.
const PATIENCE: Duration = Duration::from_secs(20);

mm::percpu! {
    /// What the tests leave on each CPU.
    static MARK: AtomicU64 = AtomicU64::new(0);
}

/// Runs `function` on `cpu` and waits for it.
fn on(cpu: CpuId, function: &(dyn Fn() + Sync)) -> Result<(), Failure> {
    match work::on(cpu, function) {
        Ok(()) => Ok(()),
        Err(error) => fail!("{error}"),
    }
}

/// Waits until `done`.
fn wait_until(what: &str, done: impl Fn() -> bool) -> Result<(), Failure> {
    let end = timer::uptime().saturating_add(PATIENCE);
    while !done() {
        if timer::uptime() > end {
            fail!("{what}: not within {} s", PATIENCE.as_secs());
        }
        // A machine with one CPU has its own queue to serve.
        work::run_or_doze(Duration::from_millis(1));
    }
    Ok(())
}

/// Adds `work` to the queue of `cpu`.
fn push(cpu: CpuId, function: fn(usize), argument: usize) -> Result<(), Failure> {
    match work::push(cpu, Work { function, argument }) {
        Ok(()) => Ok(()),
        Err(error) => fail!("CPU {cpu}: {error}"),
    }
}

fn calls(_: &System) -> Result<(), Failure> {
    for cpu in cpus::online() {
        let ran_on = AtomicU64::new(u64::MAX);
        on(cpu, &|| ran_on.store(Native.current().as_u32().into(), Ordering::Relaxed))?;
        let ran_on = ran_on.load(Ordering::Relaxed);
        if ran_on != u64::from(cpu.as_u32()) {
            fail!("what CPU {cpu} was to run ran on CPU {ran_on}");
        }
    }
    Ok(())
}

fn variables(_: &System) -> Result<(), Failure> {
    let mark = |cpu: CpuId| u64::from(cpu.as_u32()) + 100;
    for cpu in cpus::online() {
        on(cpu, &|| MARK.get(&Native.pin()).store(mark(Native.current()), Ordering::Relaxed))?;
    }
    for cpu in cpus::online() {
        let found = MARK.of(&Native, cpu).map(|found| found.load(Ordering::Relaxed));
        if found != Some(mark(cpu)) {
            fail!("the variable of CPU {cpu} holds {found:?}, not {}", mark(cpu));
        }
    }
    Ok(())
}

fn queues(_: &System) -> Result<(), Failure> {
    const COUNT: u64 = 20;
    /// Counts in this CPU's mark when `position` is the next one.
    fn take(position: usize) {
        let pinned = Native.pin();
        // Another order stops the count.
        let _ = MARK.get(&pinned).compare_exchange(
            position as u64,
            position as u64 + 1,
            Ordering::Release,
            Ordering::Relaxed,
        );
    }
    for cpu in cpus::online() {
        on(cpu, &|| MARK.get(&Native.pin()).store(0, Ordering::Relaxed))?;
        for position in 0..COUNT {
            push(cpu, take, position as usize)?;
        }
    }
    let counted = |cpu: CpuId| MARK.of(&Native, cpu).map_or(0, |mark| mark.load(Ordering::Acquire));
    wait_until("what was queued", || cpus::online().all(|cpu| counted(cpu) == COUNT))
}

fn calls_back(_: &System) -> Result<(), Failure> {
    static SEEN: AtomicU64 = AtomicU64::new(0);
    fn call_boot_cpu(_: usize) {
        let caller = u64::from(Native.current().as_u32());
        let count = || {
            if Native.current() == CpuId::BOOT {
                SEEN.fetch_add(caller + 1, Ordering::Release);
            }
        };
        // They all call at once, and one is let in at a time. Any other error is missed in the count.
        while matches!(work::on(CpuId::BOOT, &count), Err(CallError::Busy(_))) {}
    }
    SEEN.store(0, Ordering::Relaxed);
    for cpu in cpus::online() {
        push(cpu, call_boot_cpu, 0)?;
    }
    let expected: u64 = cpus::online().map(|cpu| u64::from(cpu.as_u32()) + 1).sum();
    wait_until("calls of the boot CPU", || SEEN.load(Ordering::Acquire) == expected)
}

fn timers(_: &System) -> Result<(), Failure> {
    const DELAY: Duration = Duration::from_millis(2);
    const NOT_YET: u64 = u64::MAX;
    fn note_time(_: usize) {
        MARK.get(&Native.pin()).store(micros(), Ordering::Release);
    }
    fn micros() -> u64 {
        u64::try_from(timer::uptime().as_micros()).unwrap_or(NOT_YET - 1)
    }
    for cpu in cpus::online() {
        let accepted = AtomicBool::new(false);
        let begun = micros();
        on(cpu, &|| {
            MARK.get(&Native.pin()).store(NOT_YET, Ordering::Relaxed);
            let timer = work::after(DELAY, Work { function: note_time, argument: 0 });
            accepted.store(timer.is_ok(), Ordering::Relaxed);
        })?;
        if !accepted.load(Ordering::Relaxed) {
            fail!("CPU {cpu} has no room for a timer");
        }
        let fired = || MARK.of(&Native, cpu).map_or(NOT_YET, |mark| mark.load(Ordering::Acquire));
        wait_until("a timer", || fired() != NOT_YET)?;
        let after = fired().saturating_sub(begun);
        if u128::from(after) < DELAY.as_micros() {
            fail!("the timer of CPU {cpu} fired after {after} us, not after {} us", DELAY.as_micros());
        }
    }
    Ok(())
}

fn remote_free(system: &System) -> Result<(), Failure> {
    let pages = &system.mm.pages;
    conserving(system, || {
        for cpu in cpus::online() {
            let number = cpu.as_u32();
            let object = Box::new(number);
            let Ok(pfn) = pages.alloc(Order::default(), Gfp::KERNEL) else { fail!("no page") };
            let lost = AtomicBool::new(true);
            let object = spin::Mutex::new(Some(object));
            on(cpu, &|| {
                let found = object.lock().take();
                // SAFETY: the page was allocated above and is not used again.
                let freed = unsafe { pages.free(pfn, Order::default()) };
                lost.store(found.is_none_or(|found| *found != number) || freed.is_err(), Ordering::Relaxed);
            })?;
            if lost.load(Ordering::Relaxed) {
                fail!("CPU {cpu} could not free what another one had allocated");
            }
        }
        Ok(())
    })
}

fn shootdown(system: &System) -> Result<(), Failure> {
    const PATTERN: u8 = 0x5a;
    let (pages, vmalloc) = (&system.mm.pages, &system.mm.vmalloc);
    let address = match vmalloc.alloc(Native::PAGE_SIZE, "selftest", VmallocOptions::ZEROED) {
        Ok(area) => area.start(),
        Err(error) => fail!("{error}"),
    };
    let Some(found) = pages.tables().lock(Native).translate(address) else { fail!("{address:#x} is not mapped") };
    let frame = Pfn::new(found.address.as_u64() >> Native::PAGE_SHIFT);
    // SAFETY: the page is mapped, and this test's own.
    unsafe { Native.virt_ptr(address).write_volatile(PATTERN) };
    let read_everywhere = || -> Result<Vec<(CpuId, Option<u8>)>, Failure> {
        let mut seen = Vec::new();
        for cpu in cpus::online() {
            let byte = AtomicU64::new(u64::MAX);
            on(cpu, &|| {
                if let Ok(read) = traps::try_read(address) {
                    byte.store(read.into(), Ordering::Relaxed);
                }
            })?;
            seen.push((cpu, u8::try_from(byte.load(Ordering::Relaxed)).ok()));
        }
        Ok(seen)
    };
    if let Some((cpu, byte)) = read_everywhere()?.into_iter().find(|(_, byte)| *byte != Some(PATTERN)) {
        fail!("CPU {cpu} reads {byte:?} while the page is mapped");
    }
    // SAFETY: nobody uses the page any more but by accesses that may fault.
    if let Err(error) = unsafe { vmalloc.free(address) } {
        fail!("{error}");
    }
    if let Some((cpu, _)) = read_everywhere()?.into_iter().find(|(_, byte)| byte.is_some()) {
        fail!("CPU {cpu} still reads the page that is unmapped");
    }
    // The frame is free: it comes again, soon.
    let mut held = Vec::new();
    let mut came_again = false;
    for _ in 0..4096 {
        let Ok(pfn) = pages.alloc(Order::default(), Gfp::KERNEL) else { break };
        held.push(pfn);
        came_again = pfn == frame;
        if came_again {
            break;
        }
    }
    for pfn in held {
        // SAFETY: allocated above, never used.
        if let Err(error) = unsafe { pages.free(pfn, Order::default()) } {
            fail!("{error}");
        }
    }
    if came_again { Ok(()) } else { fail!("frame {} was not handed out again", frame.as_u64()) }
}

/// The page below each stack of a secondary CPU; the boot CPU's is of the image (`protection`).
fn stack_guards(system: &System) -> Result<(), Failure> {
    for cpu in cpus::online().filter(|cpu| *cpu != CpuId::BOOT) {
        let inside = AtomicU64::new(0);
        on(cpu, &|| {
            let here = 0u8;
            inside.store((&raw const here).addr() as u64, Ordering::Relaxed);
        })?;
        let inside = VirtAddr::new(inside.load(Ordering::Relaxed));
        let Some(area) = system.mm.vmalloc.find(inside) else { fail!("the stack of CPU {cpu} is in no area") };
        let below = VirtAddr::new(area.mapped.start().as_u64() - 1);
        if traps::try_read(area.mapped.start()).is_err() {
            fail!("the lowest byte of CPU {cpu}'s stack cannot be read");
        }
        if traps::try_read(below).is_ok() {
            fail!("the byte below CPU {cpu}'s stack can be read");
        }
    }
    Ok(())
}

/// Rounds that each CPU allocates and frees, while its own timer interrupts it.
const ROUNDS: u64 = 300;
/// Interrupt handlers that found no memory, or could not give it back.
static HANDLER_FAILURES: AtomicU64 = AtomicU64::new(0);
/// Handlers that were run.
static HANDLERS: AtomicU64 = AtomicU64::new(0);
/// CPUs that have done their rounds.
static DONE: AtomicU64 = AtomicU64::new(0);

/// A page and an object, taken and given back.
fn take_and_give() -> bool {
    let Some(mm) = crate::system::MM.get() else { return false };
    let Ok(pfn) = mm.pages.alloc(Order::default(), Gfp::ATOMIC) else { return false };
    let layout = core::alloc::Layout::new::<[u64; 8]>();
    let object = mm.slab.allocate(layout);
    // SAFETY: both were allocated just above and are not used again.
    let freed = unsafe { object.is_null() || mm.slab.deallocate(object, layout).is_ok() };
    // SAFETY: as above.
    let page = unsafe { mm.pages.free(pfn, Order::default()) };
    !object.is_null() && freed && page.is_ok()
}

fn interrupted_allocators(system: &System) -> Result<(), Failure> {
    const INTERVAL: Duration = Duration::from_micros(50);
    const RUNNING: u64 = 1;
    const ENDING: u64 = 2;
    const ENDED: u64 = 3;
    /// In the timer's interrupt: allocates, and sets the timer again.
    fn handler(_: usize) {
        if !take_and_give() {
            HANDLER_FAILURES.fetch_add(1, Ordering::Relaxed);
        }
        HANDLERS.fetch_add(1, Ordering::Relaxed);
        let pinned = Native.pin();
        let mark = MARK.get(&pinned);
        if mark.load(Ordering::Relaxed) == ENDING {
            return mark.store(ENDED, Ordering::Relaxed);
        }
        if work::after(INTERVAL, Work { function: handler, argument: 0 }).is_err() {
            HANDLER_FAILURES.fetch_add(1, Ordering::Relaxed);
            mark.store(ENDED, Ordering::Relaxed);
        }
    }
    fn rounds(_: usize) {
        let pinned = Native.pin();
        let mark = MARK.get(&pinned);
        mark.store(RUNNING, Ordering::Relaxed);
        handler(0);
        let start = HANDLERS.load(Ordering::Relaxed);
        let mut round = 0;
        // At least one interrupt comes in between.
        while round < ROUNDS || HANDLERS.load(Ordering::Relaxed) == start {
            if !take_and_give() {
                HANDLER_FAILURES.fetch_add(1, Ordering::Relaxed);
            }
            round += 1;
        }
        // The last interrupt ends it.
        let _ = mark.compare_exchange(RUNNING, ENDING, Ordering::Relaxed, Ordering::Relaxed);
        while mark.load(Ordering::Relaxed) != ENDED {
            core::hint::spin_loop();
        }
        DONE.fetch_add(1, Ordering::Release);
    }
    if !cpus::interrupts_come() {
        return Ok(());
    }
    conserving(system, || {
        [&HANDLER_FAILURES, &HANDLERS, &DONE].into_iter().for_each(|count| count.store(0, Ordering::Relaxed));
        for cpu in cpus::online() {
            push(cpu, rounds, 0)?;
        }
        let all = cpus::online().count() as u64;
        wait_until("allocations under interrupts", || DONE.load(Ordering::Acquire) == all)?;
        match HANDLER_FAILURES.load(Ordering::Relaxed) {
            0 => Ok(()),
            failures => fail!("{failures} allocations failed"),
        }
    })
}
