//! Memory under management, from the memmap to objects, on emulated machines.
#![expect(clippy::unwrap_used, reason = "tests")]

mod model;
mod page_alloc;
mod slab;
mod up;
