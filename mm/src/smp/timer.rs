//! Timers: what one CPU has to do at given times.
//!
//! A bounded set, sorted so that the next deadline stands last: [`Timers::next`] and [`Timers::due`] cost O(1), adding and
//! cancelling O(N) moves. The CPU sets its one hardware alarm to [`Timers::next`], and in the interrupt takes out
//! what is due until nothing is. Equal deadlines come in the order in which they were added.
//!
//! It belongs to one CPU, but its interrupt handler uses it too, so a kernel keeps it behind an
//! [`IrqLock`](crate::sync::IrqLock). Linux: `kernel/time/hrtimer.c`.

use super::{Full, Work};
use arrayvec::ArrayVec;
use core::time::Duration;

/// Names a timer that was added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimerId(u64);

#[derive(Clone, Copy, Debug)]
struct Timer {
    at: Duration,
    id: TimerId,
    work: Work,
}

/// Up to `N` deadlines.
#[derive(Debug)]
pub struct Timers<const N: usize = 16> {
    /// Descending by time, and by number where times are equal.
    waiting: ArrayVec<Timer, N>,
    added: u64,
}

impl<const N: usize> Timers<N> {
    /// No timer.
    #[must_use]
    pub const fn new() -> Self {
        Self { waiting: ArrayVec::new_const(), added: 0 }
    }

    /// Adds work that is due at `at`.
    ///
    /// # Errors
    /// [`Full`] when as many as fit are waiting.
    pub fn add(&mut self, at: Duration, work: Work) -> Result<TimerId, Full> {
        let id = TimerId(self.added);
        let place = self.waiting.partition_point(|timer| timer.at > at);
        self.waiting.try_insert(place, Timer { at, id, work }).map_err(|_| Full)?;
        self.added += 1;
        Ok(id)
    }

    /// Takes the timer out, and returns its work; `None` when it was due already, or cancelled.
    pub fn cancel(&mut self, id: TimerId) -> Option<Work> {
        let place = self.waiting.iter().position(|timer| timer.id == id)?;
        self.waiting.pop_at(place).map(|timer| timer.work)
    }

    /// Takes out one timer that is due at `now`, the earliest first.
    pub fn due(&mut self, now: Duration) -> Option<Work> {
        self.next().filter(|at| *at <= now)?;
        self.waiting.pop().map(|timer| timer.work)
    }

    /// The next deadline.
    #[must_use]
    pub fn next(&self) -> Option<Duration> {
        self.waiting.last().map(|timer| timer.at)
    }
}

impl<const N: usize> Default for Timers<N> {
    fn default() -> Self {
        Self::new()
    }
}
