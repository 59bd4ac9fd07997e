//! CPUs that speak to each other by `mm::smp`: threads that are online, and answer.
//!
//! A machine begins with one CPU that sees to all TLBs: a flush clears each of them, whoever asks. After
//! [`Machine::per_cpu_flush`] a CPU's TLB is cleared by that CPU only, when it answers: a flush goes the way that it goes
//! in a kernel, and what the protocol forgets is found as the use of a stale translation.
//!
//! A thread has no interrupts. A signal is pending until its CPU comes to a point where interrupts are on: an access by a
//! virtual address, [`Cpu::irq_restore`], [`Emulated::idle_until`]. Who waits for a lock answers flushes there, as in a
//! kernel. So a thread that is a CPU and only waits for other threads must do so in [`Emulated::idle_until`], not in
//! `join`.

use crate::cpu::{current_cpu, run_on};
use crate::emulated::Emulated;
use crate::machine::Machine;
use mm::addr::CpuId;
use mm::arch::Cpu;
use mm::layout::VirtRange;
use mm::smp::{Cpus, Signal};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What a flush may take before the machine says that a CPU does not answer: far more than any takes on a busy host.
const FLUSH_LIMIT: Duration = Duration::from_secs(120);

impl<const SHIFT: u32> Machine<SHIFT> {
    /// From now on each CPU forgets translations by itself, when it is asked. Only the boot CPU is online.
    pub fn per_cpu_flush(&self) {
        self.per_cpu_flush.store(true, Ordering::Release);
    }

    pub(crate) fn flushes_per_cpu(&self) -> bool {
        self.per_cpu_flush.load(Ordering::Acquire)
    }

    /// The CPUs, as `mm::smp` knows them.
    #[must_use]
    pub fn cpus(&self) -> Cpus<'_> {
        Cpus::new(&self.slots)
    }

    /// Runs `work` with the calling thread as CPU `cpu`, which comes online before and leaves for good afterwards.
    ///
    /// # Panics
    /// When that CPU is online or was before.
    pub fn online<T>(&self, cpu: CpuId, work: impl FnOnce(Emulated<'_, SHIFT>) -> T) -> T {
        struct Leaves<'m>(Cpus<'m>, CpuId);
        impl Drop for Leaves<'_> {
            fn drop(&mut self) {
                self.0.leave(self.1);
            }
        }
        run_on(cpu, || {
            let here = self.handle();
            self.cpus().expect(cpu);
            self.cpus().arrive(cpu, here).unwrap_or_else(|late| panic!("CPU {cpu} comes online again: {late}"));
            let leaves = Leaves(self.cpus(), cpu);
            let result = work(here);
            drop(leaves);
            self.forget_all_of(self.this_cpu());
            result
        })
    }

    /// Takes the interrupt of a signal, if one is pending and interrupts are on.
    pub(crate) fn take_interrupt(&self, here: Emulated<'_, SHIFT>) {
        let cpu = self.this_cpu();
        let waits = cpu.signalled.load(Ordering::Relaxed) && cpu.interrupts.load(Ordering::Acquire);
        // A swap: what was asked before any signal that this clears is seen.
        if !waits || !cpu.signalled.swap(false, Ordering::AcqRel) {
            return;
        }
        cpu.interrupts.store(false, Ordering::Release);
        cpu.interrupts_taken.fetch_add(1, Ordering::Relaxed);
        self.cpus().answer(current_cpu(), here);
        cpu.interrupts.store(true, Ordering::Release);
    }

    /// How many interrupts `cpu` has taken.
    ///
    /// # Panics
    /// When there is no such CPU.
    #[must_use]
    pub fn interrupts_taken(&self, cpu: CpuId) -> u64 {
        self.cpus[cpu.index()].interrupts_taken.load(Ordering::Relaxed)
    }

    /// A flush by the protocol.
    pub(crate) fn shoot_down(&self, here: Emulated<'_, SHIFT>, range: VirtRange) {
        self.cpus()
            .flush(&here.pin(), here, range, FLUSH_LIMIT)
            .unwrap_or_else(|silent| panic!("{silent} to the flush of {range}"));
    }
}

impl<const SHIFT: u32> Emulated<'_, SHIFT> {
    /// What a CPU does that has nothing to do: takes interrupts until `done` says so.
    pub fn idle_until(self, done: impl Fn() -> bool) {
        while !done() {
            self.machine().take_interrupt(self);
            std::thread::yield_now();
        }
    }
}

impl<const SHIFT: u32> Signal for Emulated<'_, SHIFT> {
    fn interrupt(self, to: CpuId) {
        if let Some(cpu) = self.machine.cpus.get(to.index()) {
            cpu.signalled.swap(true, Ordering::AcqRel);
        }
    }

    fn flush_here(self, range: VirtRange) {
        self.machine.forget(self.machine.this_cpu(), range);
    }

    fn now(self) -> Duration {
        self.machine.built.elapsed()
    }

    fn relax(self) {
        std::thread::yield_now();
    }
}
