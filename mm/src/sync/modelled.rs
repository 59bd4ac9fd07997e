//! What stands in for the lock of `spin` under loom: the same compare-exchange and store, in loom's atomics, around a
//! cell in which loom sees every access that no order forbids.

use core::ops::{Deref, DerefMut};
use loom::cell::{MutPtr, UnsafeCell};
use loom::sync::atomic::{AtomicBool, Ordering};

pub(super) struct SpinMutex<T> {
    held: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached by one holder at a time.
unsafe impl<T: Send> Sync for SpinMutex<T> {}

pub(super) struct SpinMutexGuard<'a, T> {
    held: &'a AtomicBool,
    value: Option<MutPtr<T>>,
}

impl<T> SpinMutex<T> {
    pub(super) fn new(value: T) -> Self {
        Self { held: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    pub(super) fn try_lock(&self) -> Option<SpinMutexGuard<'_, T>> {
        self.held.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).ok()?;
        Some(SpinMutexGuard { held: &self.held, value: Some(self.value.get_mut()) })
    }

    pub(super) fn get_mut(&mut self) -> &mut T {
        // SAFETY: nobody else can reach the value, and the result borrows all of this.
        self.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T> Deref for SpinMutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        #[expect(clippy::unwrap_used, reason = "a model fails by a panic")]
        let value = self.value.as_ref().unwrap();
        // SAFETY: this guard is the only one.
        unsafe { value.deref() }
    }
}

impl<T> DerefMut for SpinMutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        #[expect(clippy::unwrap_used, reason = "a model fails by a panic")]
        let value = self.value.as_ref().unwrap();
        // SAFETY: this guard is the only one.
        unsafe { value.deref() }
    }
}

impl<T> Drop for SpinMutexGuard<'_, T> {
    fn drop(&mut self) {
        // The access ends before the lock opens.
        self.value = None;
        self.held.store(false, Ordering::Release);
    }
}
