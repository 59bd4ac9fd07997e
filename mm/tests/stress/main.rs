//! The stress body on emulated machines: with one CPU the same each time, with threads as CPUs and interrupts inside
//! the allocators, and with allocators that lose and overwrite things, which it must notice.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod alone;
mod broken;
mod refuse;
mod shake;
mod together;
#[path = "../managed/up.rs"]
#[expect(dead_code, reason = "the tests of pages and objects use the rest")]
mod up;
