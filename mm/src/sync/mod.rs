//! The interrupt-saving lock.
//!
//! `spin` supplies the lock, [`Cpu`] the interrupts: while it is held none arrives on this CPU, so a handler that takes
//! the same lock cannot meet its own CPU inside. Costs one atomic read-modify-write and two interrupt-flag
//! operations when nobody else wants it. Who waits answers what other CPUs wait for meanwhile ([`Cpu::relax`]), so that a
//! holder may wait for all CPUs. A guard stays on the CPU whose interrupts it turned off, so it cannot be sent
//! to another thread. Linux: `spin_lock_irqsave`.
//!
//! Under `--cfg loom` the lock and the atomics are loom's, so that models try what is here, not a copy of it.

pub(crate) mod atomic;
#[cfg(loom)]
mod modelled;

use crate::arch::{Cpu, IrqState};
use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};
#[cfg(loom)]
use modelled::{SpinMutex, SpinMutexGuard};
#[cfg(not(loom))]
use spin::mutex::{SpinMutex, SpinMutexGuard};

/// A value behind a spin lock that is held with interrupts off.
pub struct IrqLock<T> {
    inner: SpinMutex<T>,
}

impl<T> IrqLock<T> {
    atomic::constant! {
        /// An unlocked value.
        pub const fn new(value: T) -> Self {
            Self { inner: SpinMutex::new(value) }
        }
    }

    /// Turns interrupts off, then waits for the lock.
    pub fn lock<C: Cpu>(&self, cpu: C) -> IrqGuard<'_, T, C> {
        let state = cpu.irq_save();
        let guard = loop {
            match self.inner.try_lock() {
                Some(guard) => break guard,
                None => cpu.relax(),
            }
        };
        IrqGuard { guard: ManuallyDrop::new(guard), cpu, state, not_send: PhantomData }
    }

    /// As [`IrqLock::lock`], but `None` at once when somebody holds it: for reports from a place that may have
    /// interrupted the holder.
    pub fn try_lock<C: Cpu>(&self, cpu: C) -> Option<IrqGuard<'_, T, C>> {
        let state = cpu.irq_save();
        match self.inner.try_lock() {
            Some(guard) => Some(IrqGuard { guard: ManuallyDrop::new(guard), cpu, state, not_send: PhantomData }),
            None => {
                cpu.irq_restore(state);
                None
            }
        }
    }

    /// The value, which nobody else can reach.
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut()
    }
}

impl<T> fmt::Debug for IrqLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IrqLock").finish_non_exhaustive()
    }
}

/// The lock is held, interrupts are off, until this goes.
///
/// It belongs to its CPU:
/// ```compile_fail
/// fn sends<T: Send>() {}
/// sends::<mm::sync::IrqGuard<'static, u8, SendCpu>>();
/// # #[derive(Clone, Copy)]
/// # struct SendCpu;
/// # // SAFETY: nothing is run.
/// # unsafe impl mm::arch::Cpu for SendCpu {
/// #     fn current(self) -> mm::addr::CpuId { mm::addr::CpuId::BOOT }
/// #     fn irq_save(self) -> mm::arch::IrqState { mm::arch::IrqState::Disabled }
/// #     fn irq_restore(self, _: mm::arch::IrqState) {}
/// # }
/// ```
pub struct IrqGuard<'a, T, C: Cpu> {
    guard: ManuallyDrop<SpinMutexGuard<'a, T>>,
    cpu: C,
    state: IrqState,
    not_send: PhantomData<*const ()>,
}

impl<T, C: Cpu> Deref for IrqGuard<'_, T, C> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T, C: Cpu> DerefMut for IrqGuard<'_, T, C> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

impl<T, C: Cpu> Drop for IrqGuard<'_, T, C> {
    fn drop(&mut self) {
        // SAFETY: this is the only place that takes the guard out, and `drop` runs once. The lock must open before
        // interrupts come back.
        unsafe { ManuallyDrop::drop(&mut self.guard) };
        self.cpu.irq_restore(self.state);
    }
}

impl<T: fmt::Debug, C: Cpu> fmt::Debug for IrqGuard<'_, T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
