//! Memory under management, from the memmap to objects, on emulated machines.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod every_model;
mod grow;
mod model;
mod page_alloc;
mod records;
mod slab;
mod up;
mod views;
mod vmalloc;
