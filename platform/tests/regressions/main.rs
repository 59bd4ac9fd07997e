//! What broke other kernels, each under its own name: maps, reservations and nodes that firmware and loaders really
//! state, brought up by the same stages as in the kernel. `mm_testkit::Told` checks after each stage that every page is
//! on one node and in one zone, and that nothing that somebody holds is free.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod machine;
mod map;
mod nodes;
mod reservations;
