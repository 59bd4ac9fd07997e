//! Tests that only a booted machine can run, at boot with `selftest` on the command line.
//!
//! Each prints `test NAME ... ok` or `FAILED: reason`, the last line is `N passed, N failed`, and a failure makes the
//! later `poweroff` report failure. A test takes what it needs from the running kernel and gives all of it back.

mod allocators;
mod case;
mod cpus;
mod log;
mod protection;

use crate::log::print;
use crate::system::System;
use case::Failure;

/// What the tests found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All passed.
    Passed,
    /// At least one failed.
    Failed,
}

/// Runs all.
pub(crate) fn run(system: &System) -> Verdict {
    let (mut passed, mut failed) = (0, 0);
    for test in allocators::TESTS.iter().chain(protection::TESTS).chain(log::TESTS).chain(cpus::TESTS) {
        // The name stands on the console before the test starts, so that one that hangs is known.
        print(format_args!("test {} ... ", test.name));
        match (test.run)(system) {
            Ok(()) => {
                passed += 1;
                print(format_args!("ok\n"));
            }
            Err(Failure(reason)) => {
                failed += 1;
                print(format_args!("FAILED: {reason}\n"));
            }
        }
    }
    print(format_args!("{passed} passed, {failed} failed\n"));
    if failed == 0 { Verdict::Passed } else { Verdict::Failed }
}
