//! Per-CPU variables: one copy for each CPU, reached through the CPU's own base register.
//!
//! A variable is declared by [`percpu!`](crate::percpu!) and linked once, as the *template* from which the copies are
//! made. [`PerCpu::get`] leads to the copy of the CPU that asks; it takes a [`Pinned`], so that the CPU stays the same
//! while the reference lives. Another CPU's copy is reached by [`PerCpu::of`] only, which says so.
//!
//! A copy is shared with interrupt handlers of its CPU and with whoever asks for it by number, so a variable is `Sync`
//! and is only ever lent by `&`; what changes in it is an atomic or behind a lock. Nothing is dropped.
//!
//! The copies are made once, in the [`FirstChunk`], each on its CPU's node:
//!
//! | file | holds |
//! |---|---|
//! | `layout` | sizes, groups of CPUs, units of an allocation, as arithmetic |
//! | `first_chunk` | memory for each group out of memblock, and the copies |
//! | `text` | the lines that Linux prints of it |
//!
//! Costs: one instruction for the base (`mov %gs:…`, `mrs …, tpidr_el1`), and none for the place in it. Linux:
//! `linux/percpu-defs.h`, `mm/percpu.c`.

mod first_chunk;
mod layout;
pub mod text;

pub use first_chunk::{Area, FirstChunk, Group, PerCpuError};
pub use layout::{DYNAMIC_BYTES, Grain, RESERVED_BYTES, UnitLayout};

use crate::addr::CpuId;
use crate::arch::{Cpu, Pinned, Template};
use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::fmt;

/// What a CPU's area is aligned to at least, and so the most that a per-CPU variable may want: a cache line.
pub const ALIGN: usize = 64;

/// A per-CPU variable.
pub struct PerCpu<T> {
    template: UnsafeCell<T>,
}

// SAFETY: the template is only read to be copied, and each copy is only lent by `&`, of which a `T` allows many.
unsafe impl<T: Sync> Sync for PerCpu<T> {}

impl<T: Sync> PerCpu<T> {
    /// What [`percpu!`](crate::percpu!) makes a variable with.
    ///
    /// # Safety
    /// The value is the whole of a `static` that lies where the kernel's per-CPU templates are linked.
    #[doc(hidden)]
    pub const unsafe fn template(value: T) -> Self {
        const { assert!(align_of::<T>() <= ALIGN, "a per-CPU variable is aligned to a cache line at most") };
        Self { template: UnsafeCell::new(value) }
    }

    /// This CPU's copy.
    #[inline]
    #[must_use]
    pub fn get<'p, C: Cpu>(&'static self, pinned: &'p Pinned<C>) -> &'p T {
        let copy = pinned.handle().percpu(self.as_template());
        // SAFETY: `Cpu` says that the copy is one of these bytes with this layout, this CPU's own, and lives as long as
        // the handle; it was a `T` when it was copied and is only shared since.
        unsafe { &*copy.cast::<T>() }
    }

    /// The copy of CPU `id`, which may be using it at this moment. `None` where that CPU has no area.
    #[inline]
    #[must_use]
    pub fn of<'c, C: Cpu>(&'static self, handle: &'c C, id: CpuId) -> Option<&'c T> {
        let copy = handle.percpu_of(self.as_template(), id)?;
        // SAFETY: as in `get`; `T` is `Sync`, so another CPU may share it.
        Some(unsafe { &*copy.cast::<T>() })
    }

    fn as_template(&'static self) -> Template {
        Template { address: self.template.get().cast(), layout: Layout::new::<T>() }
    }
}

/// How far each CPU's copies lie from the templates: what an architecture keeps, which comes from the one to the other by
/// adding ([`Template::copy_at`]). Until there are areas the boot CPU uses the templates themselves.
#[derive(Debug)]
pub struct Offsets(spin::Once<&'static [usize]>);

impl Offsets {
    /// There are no areas yet.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it is the value of a static")]
    pub const fn new() -> Self {
        Self(spin::Once::new())
    }

    /// Takes the distances, of the boot CPU first, and lets `switch` move it to its own copies. Works once.
    pub fn set(&self, offsets: &'static [usize], switch: impl FnOnce()) {
        self.0.call_once(|| {
            switch();
            offsets
        });
    }

    /// That of `cpu`, when it has copies.
    #[inline]
    #[must_use]
    pub fn of(&self, cpu: CpuId) -> Option<usize> {
        match self.0.get() {
            Some(offsets) => offsets.get(cpu.index()).copied(),
            None => (cpu == CpuId::BOOT).then_some(0),
        }
    }
}

impl<T> fmt::Debug for PerCpu<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerCpu").finish_non_exhaustive()
    }
}

/// Declares per-CPU variables, each with the value that every CPU begins with.
///
/// ```
/// use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
/// use mm::arch::Cpu as _;
///
/// mm::percpu! {
///     /// How many interrupts this CPU has taken.
///     static INTERRUPTS: AtomicU64 = AtomicU64::new(0);
/// }
///
/// let machine = mm_testkit::Machine::<12>::builder().ram(0, 1 << 20, 0).cpus(2).finish();
/// let cpu = machine.handle();
/// INTERRUPTS.get(&cpu.pin()).fetch_add(1, Relaxed);
/// assert_eq!(INTERRUPTS.of(&cpu, mm::addr::CpuId::BOOT).map(|count| count.load(Relaxed)), Some(1));
/// assert_eq!(INTERRUPTS.of(&cpu, mm::addr::CpuId::new(1)).map(|count| count.load(Relaxed)), Some(0));
/// ```
///
/// A reference ends with the pin, so it does not outlast the stay on the CPU:
/// ```compile_fail
/// # use core::sync::atomic::AtomicU64;
/// # use mm::arch::Cpu as _;
/// mm::percpu! { static COUNT: AtomicU64 = AtomicU64::new(0); }
/// fn escapes<C: mm::arch::Cpu>(cpu: C) -> &'static AtomicU64 {
///     COUNT.get(&cpu.pin())
/// }
/// ```
///
/// The value is not inside the macro's `unsafe`:
/// ```compile_fail
/// # use core::sync::atomic::AtomicU64;
/// const unsafe fn promised() -> AtomicU64 { AtomicU64::new(0) }
/// mm::percpu! { static COUNT: AtomicU64 = promised(); }
/// ```
///
/// What is not `Sync` is no per-CPU variable, since interrupts and other CPUs may look at it:
/// ```compile_fail
/// mm::percpu! { static COUNT: core::cell::Cell<u64> = core::cell::Cell::new(0); }
/// ```
#[macro_export]
macro_rules! percpu {
    ($($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty = $value:expr;)*) => {
        $(
            $(#[$attribute])*
            #[cfg_attr(target_os = "none", unsafe(link_section = ".data.percpu"))]
            $visibility static $name: $crate::percpu::PerCpu<$type> = {
                // Outside of the unsafe block: the value answers for itself.
                let value: $type = $value;
                // SAFETY: the value is all of this static, which lies in the section of the templates.
                unsafe { $crate::percpu::PerCpu::template(value) }
            };
        )*
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_area_may_lie_below_the_templates() {
        let template = 0xffff_ffff_8020_0040;
        let area = 0xffff_8880_0012_3000_usize;
        let offset = area.wrapping_sub(0xffff_ffff_8020_0000);
        let template = Template { address: core::ptr::without_provenance_mut(template), layout: Layout::new::<u64>() };
        assert_eq!(template.copy_at(offset).addr(), area + 0x40);
    }

    #[test]
    fn distances_are_taken_once() {
        let offsets = Offsets::new();
        assert_eq!((offsets.of(CpuId::BOOT), offsets.of(CpuId::new(1))), (Some(0), None));
        let mut switched = 0;
        offsets.set(&[10, 20], || switched += 1);
        offsets.set(&[30], || switched += 1);
        assert_eq!(switched, 1);
        assert_eq!([0, 1, 2].map(|cpu| offsets.of(CpuId::new(cpu))), [Some(10), Some(20), None]);
    }
}
