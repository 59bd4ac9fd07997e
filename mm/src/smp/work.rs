//! Work for one CPU: a bounded queue, from which that CPU takes what it runs to completion.
//!
//! Any CPU pushes, from interrupt handlers too; nobody waits. The queue is a ring of cells; two counters say how much was
//! ever pushed and taken. A cell's *turn* says what it is ready for: in lap `n` it is `2n` while it waits to be filled,
//! `2n + 1` when it holds something. Who wants a cell claims it by moving the counter, then uses it, then moves the turn.
//! So a producer that is interrupted in between delays the taker of that cell, and no other producer.
//!
//! Work comes out in the order in which it was claimed. Whoever pushes to another CPU signals it afterwards, if
//! that CPU may sleep.
//!
//! Costs: one atomic read-modify-write and a store for each push and each pop; 24 bytes an entry. After the bounded queue
//! of D. Vyukov (1024cores.net). Linux: `kernel/workqueue.c`, `lib/llist.c`.

use crate::sync::atomic::{Acquire, AtomicPtr, AtomicUsize, Relaxed, Release, constant};
use core::fmt;

/// A function and what it is given.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// What is run.
    pub function: fn(usize),
    /// What it is given: a number, or the address of something that lives as long as the kernel.
    pub argument: usize,
}

impl Work {
    /// Runs it.
    pub fn run(self) {
        (self.function)(self.argument);
    }
}

/// The queue has no room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no room for more")
    }
}

impl core::error::Error for Full {}

/// A [`Work`] that one CPU leaves for another. Whether both halves belong together is the matter of who owns it.
pub(super) struct Stored {
    function: AtomicPtr<()>,
    argument: AtomicUsize,
}

impl Stored {
    constant! {
        pub(super) const fn new() -> Self {
            Self { function: AtomicPtr::new(core::ptr::null_mut()), argument: AtomicUsize::new(0) }
        }
    }

    pub(super) fn put(&self, work: Work) {
        self.function.store(work.function as *mut (), Relaxed);
        self.argument.store(work.argument, Relaxed);
    }

    /// What was put here last; `None` before anything was.
    pub(super) fn take(&self) -> Option<Work> {
        let function = self.function.load(Relaxed);
        if function.is_null() {
            return None;
        }
        // SAFETY: the pointer is not null, and nothing but a `fn(usize)` is ever put here.
        let function = unsafe { core::mem::transmute::<*mut (), fn(usize)>(function) };
        Some(Work { function, argument: self.argument.load(Relaxed) })
    }
}

struct Cell {
    turn: AtomicUsize,
    work: Stored,
}

impl Cell {
    constant! {
        const fn new() -> Self {
            Self { turn: AtomicUsize::new(0), work: Stored::new() }
        }
    }
}

/// Up to `N` pieces of work. `N` is a power of two.
pub struct WorkQueue<const N: usize = 64> {
    /// How many were ever pushed.
    pushed: AtomicUsize,
    /// How many were ever taken.
    popped: AtomicUsize,
    cells: [Cell; N],
}

/// In the lap of the `position`th piece its cell is ready to be filled.
const fn empty<const N: usize>(position: usize) -> usize {
    (position / N).wrapping_mul(2)
}

impl<const N: usize> WorkQueue<N> {
    const SIZE_HOLDS: () = assert!(N.is_power_of_two(), "the counters wrap, so the size is a power of two");

    /// An empty queue.
    #[cfg(not(loom))]
    #[must_use]
    pub const fn new() -> Self {
        const { Self::SIZE_HOLDS };
        Self { pushed: AtomicUsize::new(0), popped: AtomicUsize::new(0), cells: [const { Cell::new() }; N] }
    }

    /// An empty queue.
    #[cfg(loom)]
    #[must_use]
    pub fn new() -> Self {
        const { Self::SIZE_HOLDS };
        Self { pushed: AtomicUsize::new(0), popped: AtomicUsize::new(0), cells: core::array::from_fn(|_| Cell::new()) }
    }

    /// Adds a piece of work at the end.
    ///
    /// # Errors
    /// [`Full`] when as many as fit are waiting.
    pub fn push(&self, work: Work) -> Result<(), Full> {
        let (cell, position) = self.claim(&self.pushed, empty::<N>).ok_or(Full)?;
        cell.work.put(work);
        // Release: who finds the cell full finds the work in it, and all that was done before.
        cell.turn.store(empty::<N>(position).wrapping_add(1), Release);
        Ok(())
    }

    /// Takes the first piece of work, or `None` when there is none (or the first is just being put in).
    pub fn pop(&self) -> Option<Work> {
        let (cell, position) = self.claim(&self.popped, |position| empty::<N>(position).wrapping_add(1))?;
        let work = cell.work.take();
        // Release: the work has been read before the cell is filled anew.
        cell.turn.store(empty::<N>(position.wrapping_add(N)), Release);
        work
    }

    /// The cell at the counter, if its turn is what is `wanted` there, and moves the counter past it.
    fn claim(&self, counter: &AtomicUsize, wanted: impl Fn(usize) -> usize) -> Option<(&Cell, usize)> {
        let mut position = counter.load(Relaxed);
        loop {
            let cell = self.cells.get(position % N)?;
            // Acquire: pairs with the store by who used the cell before.
            if cell.turn.load(Acquire) != wanted(position) {
                let now = counter.load(Relaxed);
                if now == position {
                    return None;
                }
                position = now;
                continue;
            }
            match counter.compare_exchange_weak(position, position.wrapping_add(1), Relaxed, Relaxed) {
                Ok(_) => return Some((cell, position)),
                Err(now) => position = now,
            }
        }
    }
}

impl<const N: usize> Default for WorkQueue<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> fmt::Debug for WorkQueue<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkQueue").finish_non_exhaustive()
    }
}
