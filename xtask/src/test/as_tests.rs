//! The machine tests as `cargo test` and cargo-nextest see them: names, reasons to leave one out, and a body.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::{Mutex, PoisonError};

use super::Outcome;
use super::machines::{self, Build, SUITE};
use crate::arch::Arch;
use crate::boot::BootBy;
use crate::image::Report;
use crate::matrix::{self, Machine};
use crate::needs::Need;
use crate::workspace;

/// With this in the environment, what is missing makes the machine tests fail. Without it they are left out, with a
/// line that says what is missing, so that `cargo test` is of use on a host without QEMU. `CI`, which CI services
/// set, does the same.
const REQUIRE: [&str; 2] = ["TESSERA_REQUIRE_MACHINES", "CI"];

/// One machine of the matrix as a test.
pub struct MachineTest {
    machine: Machine,
    missing: Option<String>,
    /// It cannot be booted here, and need not be.
    skipped: Option<String>,
}

impl MachineTest {
    /// The name, `machines/` and the machine's.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{SUITE}/{}", self.machine.name)
    }

    /// Why the test cannot run here: one line that names what is missing. `None` also where it must run. What nothing
    /// here can install, Limine, is not asked for.
    #[must_use]
    pub fn ignored(&self) -> Option<&str> {
        let required = REQUIRE.iter().any(|variable| std::env::var_os(variable).is_some_and(|value| !value.is_empty()));
        self.skipped.as_deref().or_else(|| self.missing.as_deref().filter(|_| !required))
    }

    /// Builds the kernel, boots the machine, and judges the boot.
    ///
    /// # Errors
    /// The reason of the failure, and how to see it again.
    pub fn run(self) -> Result<(), String> {
        if let Some(missing) = self.skipped.or(self.missing) {
            return Err(missing);
        }
        for build in Build::of(&self.machine) {
            built(build)?;
        }
        match machines::test(&self.machine) {
            Outcome::Failed(reason) => Err(reason),
            Outcome::Flaky(reason) => {
                eprintln!("FLAKY {}, passed when tried again: {reason}", self.machine.name);
                Ok(())
            }
            Outcome::Passed | Outcome::Ignored | Outcome::Skipped(_) => Ok(()),
        }
    }
}

/// Every machine of `ci/matrix.toml`.
///
/// # Errors
/// When the matrix cannot be read, or the folder of the logs not be made.
pub fn machine_tests() -> Result<Vec<MachineTest>, String> {
    let machines = matrix::read().map_err(|error| format!("{error:#}"))?;
    let logs = workspace::machine_logs().map_err(|error| format!("{error:#}"))?;
    std::fs::create_dir_all(&logs).map_err(|error| format!("{}: {error}", logs.display()))?;
    let mut looked: HashMap<(Arch, BootBy), Option<String>> = HashMap::new();
    let tests = machines.into_iter().map(|machine| {
        let (arch, by) = (machine.arch, machine.boot);
        let look = || {
            let missing = Need::of_boot(arch, by).into_iter().find_map(|need| need.look().err());
            missing.map(|missing| format!("{missing} (`cargo xtask doctor --yes` does it)"))
        };
        let missing = looked.entry((arch, by)).or_insert_with(look).clone();
        MachineTest { skipped: machines::skipped(&machine), missing, machine }
    });
    Ok(tests.collect())
}

/// Builds it, once in this process.
fn built(build: Build) -> Result<(), String> {
    static BUILT: OnceLock<Mutex<HashMap<Build, Result<(), String>>>> = OnceLock::new();
    let mut built = BUILT.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let carry_out = || build.carry_out(Report::Errors).map_err(|error| format!("{error:#}"));
    built.entry(build).or_insert_with(carry_out).clone()
}
