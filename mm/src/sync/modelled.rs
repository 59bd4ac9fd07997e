//! What stands in for atomics and for the lock of `spin` under loom.
//!
//! Loom finds out which orders of two threads' accesses are worth a run by looking at the last access to the same atomic;
//! a thread's own load just before its store hides the other thread's, and orders are left out (loom's issues 166 and
//! 392). All of this crate's protocols load before they exchange. So each access here first stores to one atomic that all
//! threads share and nobody loads: loom then finds every two accesses worth trying in both orders, and an atomic that
//! nobody loads orders nothing else.

use core::ops::{Deref, DerefMut};
use loom::cell::{MutPtr, UnsafeCell};
use loom::sync::atomic::{AtomicUsize as Turn, Ordering};

loom::lazy_static! {
    static ref TURN: Turn = Turn::new(0);
}

/// Another thread may come in here.
fn step() {
    TURN.store(0, Ordering::Relaxed);
}

macro_rules! atomic {
    ($name:ident $(<$parameter:ident>)?, $value:ty, $($more:tt)*) => {
        pub(crate) struct $name $(<$parameter>)? (loom::sync::atomic::$name $(<$parameter>)?);

        impl $(<$parameter>)? $name $(<$parameter>)? {
            pub(crate) fn new(value: $value) -> Self {
                Self(loom::sync::atomic::$name::new(value))
            }

            pub(crate) fn load(&self, order: Ordering) -> $value {
                step();
                self.0.load(order)
            }

            pub(crate) fn store(&self, value: $value, order: Ordering) {
                step();
                self.0.store(value, order);
            }

            $($more)*
        }
    };
}

macro_rules! compare_exchange {
    ($name:ident, $value:ty) => {
        pub(crate) fn $name(
            &self,
            current: $value,
            new: $value,
            success: Ordering,
            failure: Ordering,
        ) -> Result<$value, $value> {
            step();
            self.0.compare_exchange(current, new, success, failure)
        }
    };
}

atomic!(AtomicBool, bool,
    compare_exchange!(compare_exchange, bool);

    pub(crate) fn swap(&self, value: bool, order: Ordering) -> bool {
        step();
        self.0.swap(value, order)
    }
);
atomic!(AtomicU32, u32, compare_exchange!(compare_exchange, u32););
atomic!(AtomicU64, u64,
    compare_exchange!(compare_exchange, u64);

    pub(crate) fn fetch_max(&self, value: u64, order: Ordering) -> u64 {
        step();
        self.0.fetch_max(value, order)
    }
);
atomic!(AtomicUsize, usize, compare_exchange!(compare_exchange_weak, usize););
atomic!(AtomicPtr<T>, *mut T,);

pub(super) struct SpinMutex<T> {
    held: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached by one holder at a time.
unsafe impl<T: Send> Sync for SpinMutex<T> {}

/// The lock is held; `spin` opens it in the same way, by a store.
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
        #[expect(clippy::unwrap_used, reason = "it is there until the guard is dropped")]
        let value = self.value.as_ref().unwrap();
        // SAFETY: this guard is the only one.
        unsafe { value.deref() }
    }
}

impl<T> DerefMut for SpinMutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        #[expect(clippy::unwrap_used, reason = "it is there until the guard is dropped")]
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
