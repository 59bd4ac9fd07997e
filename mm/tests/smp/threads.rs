//! Real threads as CPUs of the emulated machine, whose TLBs are emptied by their own CPUs only: a use of a stale
//! translation panics there.

use mm::addr::{CpuId, PhysAddr, PhysRange, VirtAddr};
use mm::arch::Cpu;
use mm::layout::VirtRange;
use mm::paging::{Access, Mapping, NoFrames, PageTables};
use mm::sync::IrqLock;
use mm_testkit::{Emulated, Intent, Machine, RangeFrames};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const BASE: u64 = 0xffff_8000_0000_0000;
const CPUS: u32 = 4;
const ROUNDS: usize = if cfg!(miri) { 5 } else { 500 };
const LIMIT: Duration = Duration::from_secs(120);

fn machine() -> Machine<12> {
    Machine::<12>::builder().ram(0, 0x10_0000, 0).cpus(CPUS).finish()
}

fn tables(machine: &Machine<12>) -> (PageTables<Emulated<'_, 12>>, RangeFrames) {
    let pool = PhysRange::from_size(PhysAddr::new(0), 32 << 12).unwrap();
    // SAFETY: the test made this machine and uses its first frames for nothing else.
    let mut pool = unsafe { RangeFrames::new(pool, 12) };
    let tables = PageTables::create(machine.handle(), PhysAddr::new(0), &mut pool).unwrap();
    machine.set_root(tables.root());
    (tables, pool)
}

/// Runs `body` on each CPU, each on its own thread, all at once; each answers until all have ended.
fn on_all(machine: &Machine<12>, body: impl Fn(Emulated<'_, 12>) + Sync) {
    let (arrived, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let run = |here: Emulated<'_, 12>| {
        let all = |count: &AtomicUsize| {
            count.fetch_add(1, Ordering::AcqRel);
            here.idle_until(|| count.load(Ordering::Acquire) == CPUS as usize);
        };
        all(&arrived);
        body(here);
        all(&ended);
    };
    let run = &run;
    std::thread::scope(|scope| {
        for id in 1..CPUS {
            scope.spawn(move || machine.online(CpuId::new(id), run));
        }
        run(machine.handle());
    });
}

/// Each CPU maps a page of its own again and again, to another frame each time; all look at all pages that are mapped.
/// Who had not forgotten the page before would find the old frame.
#[test]
fn a_page_is_used_again_only_when_no_cpu_remembers_it() {
    struct Shared<'m> {
        tables: PageTables<Emulated<'m, 12>>,
        frames: RangeFrames,
        mapped: [Option<PhysAddr>; CPUS as usize],
    }
    let machine = machine();
    let (tables, frames) = tables(&machine);
    let shared = IrqLock::new(Shared { tables, frames, mapped: [None; CPUS as usize] });
    let page = |owner: usize| VirtRange::from_size(VirtAddr::new(BASE + ((owner as u64) << 21)), 4096).unwrap();
    machine.per_cpu_flush();
    on_all(&machine, |here| {
        let id = here.current().index();
        for round in 0..ROUNDS {
            let frame = PhysAddr::new(0x8_0000 + ((id * 2 + round % 2) << 12) as u64);
            {
                let mut locked = shared.lock(here);
                let Shared { tables, frames, mapped } = &mut *locked;
                let range = PhysRange::from_size(frame, 4096).unwrap();
                tables.map(page(id).start(), range, Mapping::DATA, frames).unwrap();
                mapped[id] = Some(frame);
            }
            {
                let locked = shared.lock(here);
                for (owner, frame) in locked.mapped.iter().enumerate() {
                    let Some(frame) = frame else { continue };
                    assert_eq!(machine.access(page(owner).start(), Intent::Write), Ok(*frame));
                }
            }
            let stale = {
                let mut locked = shared.lock(here);
                locked.mapped[id] = None;
                // SAFETY: nothing but this test's accesses uses the page, and they look before.
                unsafe { locked.tables.unmap(page(id), &mut NoFrames) }.unwrap()
            };
            assert!(stale.flush(here).covers(page(id)));
        }
    });
    assert_eq!(machine.page_flushes(), (ROUNDS * CPUS as usize) as u64);
}

/// All CPUs use one page while one takes the right to write away and gives it back.
#[test]
fn rights_that_go_are_gone_everywhere() {
    let machine = machine();
    let (tables, frames) = tables(&machine);
    let tables = IrqLock::new((tables, frames));
    let page = VirtRange::from_size(VirtAddr::new(BASE), 4096).unwrap();
    let frame = PhysRange::from_size(PhysAddr::new(0x8_0000), 4096).unwrap();
    {
        let mut locked = tables.lock(machine.handle());
        let (tables, frames) = &mut *locked;
        tables.map(page.start(), frame, Mapping::DATA, frames).unwrap();
    }
    machine.per_cpu_flush();
    // The CPUs use the page in turns with who changes it.
    let turn = AtomicUsize::new(0);
    on_all(&machine, |here| {
        let id = here.current().index();
        for round in 0..ROUNDS.min(10) {
            for step in 0..CPUS as usize {
                let now = round * CPUS as usize + step;
                here.idle_until(|| turn.load(Ordering::Acquire) >= now);
                if step == id {
                    let access = if round % 2 == 0 { Access::ReadOnly } else { Access::ReadWrite };
                    if step == 0 {
                        let mut locked = tables.lock(here);
                        // SAFETY: nothing but this test's accesses uses the page.
                        let stale = unsafe { locked.0.protect(page, access, &mut NoFrames) }.unwrap();
                        drop(locked);
                        stale.flush(here);
                    }
                    let written = machine.access(page.start(), Intent::Write);
                    assert_eq!(written.is_ok(), access == Access::ReadWrite);
                    turn.store(now + 1, Ordering::Release);
                }
            }
        }
    });
}

/// All CPUs call each other, with interrupts off.
#[test]
fn calls_cross_and_each_is_run_once() {
    static RUN: AtomicUsize = AtomicUsize::new(0);
    fn count(value: usize) {
        RUN.fetch_add(value, Ordering::Relaxed);
    }
    let machine = machine();
    on_all(&machine, |here| {
        for round in 0..ROUNDS {
            for to in (0..CPUS).map(CpuId::new) {
                let state = here.irq_save();
                machine.cpus().call(&here.pin(), here, to, count, 1 + round, LIMIT).unwrap();
                here.irq_restore(state);
            }
        }
    });
    let all: usize = (0..ROUNDS).map(|round| 1 + round).sum();
    assert_eq!(RUN.load(Ordering::Relaxed), all * (CPUS * CPUS) as usize);
}

/// Who forgets a stale translation too late is caught: here a CPU leaves the protocol alone and goes on.
#[test]
#[should_panic(expected = "stale translation")]
fn a_use_after_unmap_on_another_cpu_is_reported() {
    let machine = machine();
    let (mut tables, mut frames) = tables(&machine);
    let page = VirtRange::from_size(VirtAddr::new(BASE), 4096).unwrap();
    let frame = PhysRange::from_size(PhysAddr::new(0x8_0000), 4096).unwrap();
    tables.map(page.start(), frame, Mapping::DATA, &mut frames).unwrap();
    machine.per_cpu_flush();
    mm_testkit::run_on(CpuId::new(1), || machine.access(page.start(), Intent::Read)).unwrap();
    // SAFETY: CPU 1 uses the page below, which is what is tried.
    unsafe { tables.unmap(page, &mut NoFrames) }.unwrap().flush(machine.handle());
    let _ = mm_testkit::run_on(CpuId::new(1), || machine.access(page.start(), Intent::Read));
}
