//! CPUs: which one a thread is, and its interrupt flag.

use crate::percpu::Area;
use crate::translate::Tlb;
use mm::addr::CpuId;
use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64};

thread_local! {
    static CURRENT: Cell<CpuId> = const { Cell::new(CpuId::BOOT) };
}

/// The state of one CPU.
#[derive(Debug)]
pub(crate) struct CpuState {
    /// Whether interrupts are on.
    pub(crate) interrupts: AtomicBool,
    /// Another CPU has signalled it, and it has not taken the interrupt.
    pub(crate) signalled: AtomicBool,
    /// How many interrupts it has taken.
    pub(crate) interrupts_taken: AtomicU64,
    /// Translations that it remembers.
    pub(crate) tlb: Mutex<Tlb>,
    /// Its per-CPU variables.
    pub(crate) percpu: Area,
}

impl CpuState {
    pub(crate) fn new() -> Self {
        Self {
            interrupts: AtomicBool::new(true),
            signalled: AtomicBool::new(false),
            interrupts_taken: AtomicU64::new(0),
            tlb: Mutex::default(),
            percpu: Area::default(),
        }
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
