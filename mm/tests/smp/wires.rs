//! Wires between CPUs that are all this one thread: a signal is answered at once, unless its CPU is deaf.

use mm::addr::{CpuId, VirtAddr};
use mm::arch::{Cpu, IrqState, Pinned};
use mm::layout::VirtRange;
use mm::smp::{Cpus, Signal, Slot};
use std::cell::{Cell, RefCell};
use std::time::Duration;

/// Long, for a clock that goes a millisecond each time it is read.
pub(crate) const LIMIT: Duration = Duration::from_millis(50);

#[derive(Default)]
pub(crate) struct Log {
    /// Who flushed what.
    pub(crate) flushes: RefCell<Vec<(u32, VirtRange)>>,
    /// Who was signalled.
    pub(crate) signals: RefCell<Vec<u32>>,
    /// Who takes no interrupt.
    pub(crate) deaf: RefCell<Vec<u32>>,
    clock: Cell<Duration>,
}

impl Log {
    pub(crate) fn flushes(&self) -> Vec<(u32, VirtRange)> {
        self.flushes.take()
    }

    pub(crate) fn signals(&self) -> Vec<u32> {
        self.signals.take()
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.clock.get()
    }
}

/// One of the CPUs.
#[derive(Clone, Copy)]
pub(crate) struct Wires<'w> {
    pub(crate) cpus: Cpus<'w>,
    pub(crate) log: &'w Log,
    pub(crate) here: CpuId,
}

impl<'w> Wires<'w> {
    pub(crate) fn new(slots: &'w [Slot], log: &'w Log) -> Self {
        Self { cpus: Cpus::new(slots), log, here: CpuId::BOOT }
    }

    /// The same wires, as seen by CPU `id`.
    pub(crate) fn at(self, id: u32) -> Self {
        Self { here: CpuId::new(id), ..self }
    }

    pub(crate) fn pinned(self) -> Pinned<Self> {
        self.pin()
    }

    /// Brings all CPUs online, and forgets what was logged.
    pub(crate) fn all_online(self) -> Self {
        for id in 1..self.cpus.possible() as u32 {
            self.cpus.expect(CpuId::new(id));
            self.cpus.arrive(CpuId::new(id), self.at(id)).unwrap();
        }
        self.log.flushes();
        self
    }
}

pub(crate) fn slots(count: u32) -> Vec<Slot> {
    (0..count).map(|id| Slot::new(CpuId::new(id))).collect()
}

/// `count` pages from the `first`.
pub(crate) fn pages(first: u64, count: u64) -> VirtRange {
    VirtRange::from_size(VirtAddr::new(0xffff_8000_0000_0000 + (first << 12)), count << 12).unwrap()
}

impl Signal for Wires<'_> {
    fn interrupt(self, to: CpuId) {
        self.log.signals.borrow_mut().push(to.as_u32());
        if !self.log.deaf.borrow().contains(&to.as_u32()) {
            self.cpus.answer(to, Self { here: to, ..self });
        }
    }

    fn flush_here(self, range: VirtRange) {
        self.log.flushes.borrow_mut().push((self.here.as_u32(), range));
    }

    fn now(self) -> Duration {
        self.log.clock.set(self.log.clock.get() + Duration::from_millis(1));
        self.log.clock.get()
    }

    fn relax(self) {}
}

// SAFETY: there are no interrupts, one thread is all CPUs, and no per-CPU variable is used.
unsafe impl Cpu for Wires<'_> {
    fn current(self) -> CpuId {
        self.here
    }

    fn irq_save(self) -> IrqState {
        IrqState::Disabled
    }

    fn irq_restore(self, _: IrqState) {}
}
