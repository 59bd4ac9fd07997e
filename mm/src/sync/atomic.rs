//! The atomics of the protocols between CPUs: those of the hardware, or under `--cfg loom` those of models, which try
//! the orders in which CPUs may see them. What is written with these runs under loom as it is.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
    fence,
};

#[cfg(loom)]
pub(crate) use super::modelled::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{
    Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
    fence,
};

/// A constructor that is constant, so that a static can hold its value; loom's atomics, which a model registers when it
/// makes them, cannot be made so.
macro_rules! constant {
    ($(#[$attribute:meta])* $visibility:vis const fn $($function:tt)*) => {
        #[cfg(not(loom))]
        $(#[$attribute])*
        $visibility const fn $($function)*

        #[cfg(loom)]
        $(#[$attribute])*
        $visibility fn $($function)*
    };
}

pub(crate) use constant;
