//! The machine tests as `cargo test` and cargo-nextest see them: names, reasons to leave one out, and a body.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::{Mutex, PoisonError};

use super::Outcome;
use super::machines::{self, SUITE};
use crate::arch::Arch;
use crate::image::{self, Report};
use crate::kernel::Kernel;
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
}

impl MachineTest {
    /// The name, `machines/` and the machine's.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{SUITE}/{}", self.machine.name)
    }

    /// Why the test cannot run here: one line that names what is missing. `None` also where it must run.
    #[must_use]
    pub fn ignored(&self) -> Option<&str> {
        let required = REQUIRE.iter().any(|variable| std::env::var_os(variable).is_some_and(|value| !value.is_empty()));
        self.missing.as_deref().filter(|_| !required)
    }

    /// Builds the kernel, boots the machine, and judges the boot.
    ///
    /// # Errors
    /// The reason of the failure, and how to see it again.
    pub fn run(self) -> Result<(), String> {
        if let Some(missing) = self.missing {
            return Err(missing);
        }
        built(self.machine.kernel())?;
        match machines::test(&self.machine) {
            Outcome::Failed(reason) => Err(reason),
            Outcome::Flaky(reason) => {
                eprintln!("FLAKY {}, passed when tried again: {reason}", self.machine.name);
                Ok(())
            }
            Outcome::Passed | Outcome::Ignored => Ok(()),
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
    let missing = Arch::ALL.map(|arch| {
        let first = Need::of_boot(arch).into_iter().find_map(|need| need.look().err());
        (arch, first.map(|missing| format!("{missing} (`cargo xtask doctor --yes` does it)")))
    });
    let missing = HashMap::from(missing);
    let of_arch = |arch| missing.get(&arch).cloned().flatten();
    Ok(machines.into_iter().map(|machine| MachineTest { missing: of_arch(machine.arch), machine }).collect())
}

/// Builds the kernel, once in this process.
fn built(kernel: Kernel) -> Result<(), String> {
    static BUILT: OnceLock<Mutex<HashMap<Kernel, Result<(), String>>>> = OnceLock::new();
    let mut built = BUILT.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let build = || image::build(kernel, Report::Errors).map(|_| ()).map_err(|error| format!("{error:#}"));
    built.entry(kernel).or_insert_with(build).clone()
}
