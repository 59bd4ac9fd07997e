//! The machine of the models: pages, TLBs, signals; and CPUs, which are threads.

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};
use loom::thread;
use mm::addr::{CpuId, VirtAddr};
use mm::arch::{Cpu, IrqState, Pinned};
use mm::layout::VirtRange;
use mm::smp::{Cpus, EVERYTHING, Signal, Slot};
use std::sync::Arc;
use std::time::Duration;

/// More than any model waits; its clock stands still.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) const PAGES: usize = 2;
const PAGE: u64 = 4096;

pub(crate) struct Machine {
    slots: Vec<Slot>,
    signalled: Vec<AtomicBool>,
    tlb: Vec<[AtomicBool; PAGES]>,
    present: [AtomicBool; PAGES],
    memory: [UnsafeCell<u32>; PAGES],
    /// CPUs that want nothing more of others.
    finished: AtomicUsize,
}

// SAFETY: the cells are loom's, which watches over them.
unsafe impl Sync for Machine {}
// SAFETY: as above.
unsafe impl Send for Machine {}

/// A CPU of the machine.
#[derive(Clone, Copy)]
pub(crate) struct Here<'m> {
    pub(crate) machine: &'m Machine,
    id: CpuId,
}

impl Machine {
    /// With `cpus` CPUs, all pages present, all TLBs full of them. Only the boot CPU is online.
    pub(crate) fn new(cpus: usize) -> Arc<Self> {
        let each = || (0..cpus).map(|id| CpuId::new(id as u32));
        Arc::new(Self {
            slots: each().map(Slot::new).collect(),
            signalled: each().map(|_| AtomicBool::new(false)).collect(),
            tlb: each().map(|_| core::array::from_fn(|_| AtomicBool::new(true))).collect(),
            present: core::array::from_fn(|_| AtomicBool::new(true)),
            memory: core::array::from_fn(|_| UnsafeCell::new(0)),
            finished: AtomicUsize::new(0),
        })
    }

    /// As above, and all CPUs are online.
    pub(crate) fn all_online(cpus: usize) -> Arc<Self> {
        let machine = Self::new(cpus);
        for id in 1..cpus {
            let here = machine.cpu(id);
            here.cpus().expect(here.id);
            here.cpus().arrive(here.id, here).unwrap();
            for page in &machine.tlb[id] {
                page.store(true, Relaxed);
            }
        }
        machine
    }

    pub(crate) fn cpu(&self, id: usize) -> Here<'_> {
        Here { machine: self, id: CpuId::new(id as u32) }
    }

    /// Runs `body` as CPU `id` on a thread of its own.
    pub(crate) fn spawn<T: 'static>(
        self: &Arc<Self>,
        id: usize,
        body: impl FnOnce(Here<'_>) -> T + 'static,
    ) -> thread::JoinHandle<T> {
        let machine = Arc::clone(self);
        thread::spawn(move || body(machine.cpu(id)))
    }
}

/// The addresses of a page.
pub(crate) fn page(number: usize) -> VirtRange {
    VirtRange::from_size(VirtAddr::new(0x10_0000 + number as u64 * PAGE), PAGE).unwrap()
}

impl<'m> Here<'m> {
    pub(crate) fn id(self) -> CpuId {
        self.id
    }

    pub(crate) fn cpus(self) -> Cpus<'m> {
        Cpus::new(&self.machine.slots)
    }

    pub(crate) fn pinned(self) -> Pinned<Self> {
        self.pin()
    }

    /// Takes the signal's interrupt, if there is one.
    pub(crate) fn take_interrupt(self) {
        if self.machine.signalled[self.id.index()].swap(false, AcqRel) {
            self.cpus().answer(self.id, self);
        }
    }

    /// Says that this CPU wants nothing more of others, and serves them until `cpus` CPUs have said so.
    pub(crate) fn serve(self, cpus: usize) {
        self.machine.finished.fetch_add(1, AcqRel);
        while self.machine.finished.load(Acquire) < cpus {
            self.take_interrupt();
            thread::yield_now();
        }
    }

    /// Reads page `number` as the hardware does: by the TLB, or by the tables, and then the TLB remembers it.
    pub(crate) fn touch(self, number: usize) {
        let cached = &self.machine.tlb[self.id.index()][number];
        if cached.load(Relaxed) || self.machine.present[number].load(Relaxed) {
            cached.store(true, Relaxed);
            self.read(number);
        }
    }

    fn read(self, number: usize) {
        // SAFETY: loom fails the model when somebody writes meanwhile.
        self.machine.memory[number].with(|memory| unsafe { memory.read() });
    }

    /// Takes page `number` out of the tables.
    pub(crate) fn unmap(self, number: usize) {
        self.machine.present[number].store(false, Relaxed);
    }

    /// Uses the memory of page `number` for something else.
    pub(crate) fn reuse(self, number: usize) {
        // SAFETY: loom fails the model when somebody reads or writes meanwhile.
        self.machine.memory[number].with_mut(|memory| unsafe { memory.write(1) });
    }

    pub(crate) fn flush(self, number: usize) {
        self.cpus().flush(&self.pinned(), self, page(number), PATIENCE).unwrap();
    }
}

impl Signal for Here<'_> {
    fn interrupt(self, to: CpuId) {
        // A swap: loom may put a plain store after any number of the other CPU's swaps.
        self.machine.signalled[to.index()].swap(true, AcqRel);
    }

    fn flush_here(self, range: VirtRange) {
        for (number, cached) in self.machine.tlb[self.id.index()].iter().enumerate() {
            if range.contains_range(page(number)) {
                // Up to the flush the CPU may use what it remembers; but who arrives uses nothing that may be gone.
                if range != EVERYTHING && cached.load(Relaxed) {
                    self.read(number);
                }
                cached.store(false, Relaxed);
            }
        }
    }

    fn now(self) -> Duration {
        Duration::ZERO
    }

    fn relax(self) {
        thread::yield_now();
    }
}

// SAFETY: a thread stays the CPU that it is, there are no interrupts, and no per-CPU variable is used.
unsafe impl Cpu for Here<'_> {
    fn current(self) -> CpuId {
        self.id
    }

    fn irq_save(self) -> IrqState {
        IrqState::Disabled
    }

    fn irq_restore(self, _: IrqState) {}

    fn relax(self) {
        self.cpus().answer_flush(self.id, self);
        thread::yield_now();
    }
}
