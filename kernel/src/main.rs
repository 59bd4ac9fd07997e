//! The Tessera kernel: brings the memory of the machine up and answers questions about it.
//!
//! | file | what it is |
//! |---|---|
//! | `start` | the order of bring-up: open this first |
//! | `describe` | what the firmware says, in memory of its own |
//! | `tables` | the final page tables |
//! | `cpus` | all CPUs come up |
//! | `work` | what a CPU does: its queue, its timers, calls, nothing |
//! | `system` | what the running kernel knows of its machine |
//! | `monitor` | the prompt and its commands |
//! | `selftest`, `stress`, `provoke` | tests that only a booted machine can run; failures on purpose |
//! | `log`, `report`, `heap` | the log, the end of a kernel that cannot go on, `Box` and `Vec` |
#![no_std]
#![no_main]

extern crate alloc;

mod cpus;
mod describe;
mod heap;
mod log;
mod monitor;
mod plug;
mod provoke;
mod report;
mod selftest;
mod start;
mod stress;
mod system;
mod tables;
mod work;
