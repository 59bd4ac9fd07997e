//! Refusals on purpose: one request of one CPU is refused, although there is memory.
//!
//! What an allocation does when memory runs out in the middle is hard to reach: a slab that needs a block, a table of
//! caches, a range of many pages. So a test arms a refusal, says how many requests of its own CPU still go through, and
//! does what it wants to see fail. Requests of other CPUs do not notice. One refusal is armed at a time.
//!
//! Costs: a request reads one word that nobody writes. Linux: `should_fail_alloc_page` (`CONFIG_FAIL_PAGE_ALLOC`), which
//! refuses by chance.

#![forbid(unsafe_code)]

use super::PageAllocator;
use crate::arch::{Arch, Cpu};
use crate::model::MemoryModel;
use core::fmt;
use core::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// Nobody has armed a refusal.
const NONE: u64 = 0;
/// In the low half: it has happened.
const HAPPENED: u64 = u32::MAX as u64;

/// The armed refusal: the CPU's number and one in the high half, in the low half how many requests go through before.
#[derive(Debug, Default)]
pub(super) struct Refusals(AtomicU64);

impl Refusals {
    fn of<C: Cpu>(cpu: C) -> u64 {
        (u64::from(cpu.current().as_u32()) + 1) << 32
    }

    /// Whether this request is to be refused.
    #[inline]
    pub(super) fn strikes<C: Cpu>(&self, cpu: C) -> bool {
        let armed = self.0.load(Relaxed);
        armed != NONE && self.count(armed, Self::of(cpu))
    }

    /// Only the CPU that armed it changes it, so nothing else comes between.
    #[cold]
    fn count(&self, armed: u64, cpu: u64) -> bool {
        let left = armed & u64::from(u32::MAX);
        if armed & !u64::from(u32::MAX) != cpu || left == HAPPENED {
            return false;
        }
        self.0.store(if left == 0 { cpu | HAPPENED } else { armed - 1 }, Relaxed);
        left == 0
    }
}

/// A refusal is armed until this goes.
pub struct Refusal<'p, A: Arch, M: MemoryModel<A>> {
    pages: &'p PageAllocator<A, M>,
}

impl<A: Arch, M: MemoryModel<A>> Refusal<'_, A, M> {
    /// Whether it has happened.
    #[must_use]
    pub fn happened(&self) -> bool {
        self.pages.shared().refusals.0.load(Relaxed) & u64::from(u32::MAX) == HAPPENED
    }
}

impl<A: Arch, M: MemoryModel<A>> Drop for Refusal<'_, A, M> {
    fn drop(&mut self) {
        self.pages.shared().refusals.0.store(NONE, Release);
    }
}

impl<A: Arch, M: MemoryModel<A>> fmt::Debug for Refusal<'_, A, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal").field("happened", &self.happened()).finish()
    }
}

impl<A: Arch, M: MemoryModel<A>> PageAllocator<A, M> {
    /// Of the requests that this CPU makes from now on, refuses the one after the next `requests`, whoever makes it:
    /// interrupt handlers of this CPU too. The caller stays on its CPU until the result is gone. `None` when a
    /// refusal is armed already.
    #[must_use]
    pub fn refuse_after(&self, requests: u16) -> Option<Refusal<'_, A, M>> {
        let armed = Refusals::of(self.access()) | u64::from(requests);
        self.shared().refusals.0.compare_exchange(NONE, armed, Acquire, Relaxed).ok()?;
        Some(Refusal { pages: self })
    }
}
