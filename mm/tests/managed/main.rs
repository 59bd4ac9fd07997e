//! Memory under management, from the memmap to objects, on emulated machines.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod model;
mod page_alloc;
mod slab;
mod up;
mod views;
