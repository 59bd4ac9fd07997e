//! One test per machine of `ci/matrix.toml`: `cargo test --test machines pc-1g`.

use std::collections::BTreeSet;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let machines = match xtask::machine_tests() {
        Ok(machines) => machines,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let reasons: BTreeSet<&str> = machines.iter().filter_map(|machine| machine.ignored()).collect();
    if !arguments.list {
        for reason in reasons {
            eprintln!("machines left out: {reason}");
        }
    }
    let trials = machines.into_iter().map(|machine| {
        let (name, ignored) = (machine.name(), machine.ignored().is_some());
        Trial::test(name, move || machine.run().map_err(Into::into)).with_ignored_flag(ignored)
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
