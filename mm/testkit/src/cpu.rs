//! CPUs: which one a thread is, and its interrupt flag.

use crate::percpu::Area;
use crate::translate::Tlb;
use mm::addr::CpuId;
use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

thread_local! {
    static CURRENT: Cell<CpuId> = const { Cell::new(CpuId::BOOT) };
}

/// The state of one CPU.
#[derive(Debug)]
pub(crate) struct CpuState {
    /// Whether interrupts are on.
    pub(crate) interrupts: AtomicBool,
    /// Translations that it remembers.
    pub(crate) tlb: Mutex<Tlb>,
    /// Its per-CPU variables.
    pub(crate) percpu: Area,
}

impl CpuState {
    pub(crate) fn new() -> Self {
        Self { interrupts: AtomicBool::new(true), tlb: Mutex::default(), percpu: Area::default() }
    }
}

/// The CPU that the calling thread is, in every machine. The boot CPU unless [`run_on`] says otherwise.
#[must_use]
pub fn current_cpu() -> CpuId {
    CURRENT.get()
}

/// Runs `work` with the calling thread as CPU `cpu`. Two threads must not be one CPU of one machine at a time.
pub fn run_on<T>(cpu: CpuId, work: impl FnOnce() -> T) -> T {
    struct Back(CpuId);
    impl Drop for Back {
        fn drop(&mut self) {
            CURRENT.set(self.0);
        }
    }
    let _back = Back(CURRENT.replace(cpu));
    work()
}
