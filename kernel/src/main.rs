//! The Tessera kernel: brings the memory of the machine up and answers questions about it.
//!
//! | file | what it is |
//! |---|---|
//! | `start` | the order of bring-up: open this first |
//! | `describe` | what the firmware says, in memory of its own |
//! | `tables` | the final page tables |
//! | `system` | what the running kernel knows of its machine |
//! | `monitor` | the prompt and its commands |
//! | `selftest` | tests that only a booted machine can run |
//! | `log`, `report`, `heap` | the log, the end of a kernel that cannot go on, `Box` and `Vec` |
#![no_std]
#![no_main]

extern crate alloc;

mod describe;
mod heap;
mod log;
mod monitor;
mod plug;
mod report;
mod selftest;
mod start;
mod system;
mod tables;
