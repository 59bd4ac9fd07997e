//! CPUs: which one a thread is, and its interrupt flag.

use crate::percpu::Area;
use crate::translate::Tlb;
use mm::addr::CpuId;
use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64};

thread_local! {
    static CURRENT: Cell<CpuId> = const { Cell::new(CpuId::BOOT) };
    static HANDLER: Cell<Option<&'static dyn Fn()>> = const { Cell::new(None) };
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

/// Runs `work` with `handler` as this CPU's interrupt handler. An interrupt arrives each time that code is about to turn
/// interrupts off and each time that it has turned them on again: at every place where one can meet an allocator that has
/// just let a lock go, or is about to take one. While the handler runs, interrupts are off.
pub fn with_interrupts<T>(handler: &dyn Fn(), work: impl FnOnce() -> T) -> T {
    struct Back(Option<&'static dyn Fn()>);
    impl Drop for Back {
        fn drop(&mut self) {
            HANDLER.set(self.0);
        }
    }
    // SAFETY: only the lifetime is another; the reference is gone from the thread when `_back` drops, before this
    // function returns, and the thread alone can reach it.
    let handler = unsafe { core::mem::transmute::<&dyn Fn(), &'static dyn Fn()>(handler) };
    let _back = Back(HANDLER.replace(Some(handler)));
    work()
}

/// Delivers an interrupt to the calling thread's CPU, if it has a handler. Interrupts are off.
pub(crate) fn interrupt() {
    if let Some(handler) = HANDLER.get() {
        handler();
    }
}
