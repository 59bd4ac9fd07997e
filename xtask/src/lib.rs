//! `cargo xtask`: builds the kernel, boots it on QEMU machines, runs every test, says what is missing.
//!
//! The way of a boot: `cli` reads the command line, `missing` sees to it that the tools are there, `image`
//! builds what QEMU loads, `boot` finds UEFI firmware and makes the drive that it boots from, `firmware` makes the
//! firmware of machines that do not take QEMU's, `qemu` writes QEMU's command line, `process` runs it under a time
//! limit, `serial` turns its bytes into lines (names of functions from `symbols`, without the codes of terminals by
//! `screen`), and `verdict` says how it went. The verbs `run`, `test`, `doctor` and `ci` put these together; `oracle`
//! boots Linux in place of our kernel.
//!
//! It is a library so that `tests/machines.rs` can boot the machines of `ci/matrix.toml` as ordinary tests, by the
//! same code that `cargo xtask test` uses.

use std::process::ExitCode;

mod arch;
mod boot;
mod ci;
mod cli;
mod debian;
mod doctor;
mod exit;
mod firmware;
mod fuzz;
mod image;
mod instructions;
mod jobs;
mod kernel;
mod matrix;
mod memory;
mod missing;
mod mutants;
mod needs;
mod new_board;
mod numa;
mod oracle;
mod process;
mod progress;
mod qemu;
mod run;
mod screen;
mod serial;
mod shard;
mod simulate;
mod symbols;
mod test;
mod verbs;
mod verdict;
mod workspace;

pub use test::as_tests::{MachineTest, machine_tests};

/// Reads the command line, does what it asks for, and says how it went by one of the exit codes that the help names.
#[must_use]
pub fn main() -> ExitCode {
    end_when_nobody_reads();
    match verbs::perform() {
        Ok(exit) => exit.into(),
        Err(error) => exit::report(&error).into(),
    }
}

/// Lets a reader that has seen enough (`| head`) end this program quietly, as every tool ends. Rust's start-up code
/// asks for an error instead, which `print!` answers with a panic.
#[cfg(unix)]
fn end_when_nobody_reads() {
    // SAFETY: the default action is no function of ours, and no other thread runs yet.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

#[cfg(not(unix))]
fn end_when_nobody_reads() {}
