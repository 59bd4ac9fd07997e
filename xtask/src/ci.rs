//! `cargo xtask ci`: exactly what CI runs, so that nobody has to push to find out.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::Result;

use crate::arch::Arch;
use crate::cli::CiArgs;
use crate::exit::Exit;
use crate::kernel::{Kernel, Model};
use crate::missing;
use crate::needs::Need;
use crate::test::{self, Case, Outcome, Results};
use crate::workspace;

/// Runs every check, then every test; each check counts as one test.
pub(crate) fn ci(args: &CiArgs) -> Result<Exit> {
    let machines = test::chosen(args.arch, None)?;
    let mut needs = test::needs(&machines);
    needs.extend([Need::Rustfmt, Need::Clippy]);
    missing::require(&needs, args.consent())?;
    let mut results = Results::default();
    for check in checks(args.arch) {
        results.add(check.run());
    }
    results.add(test::everything(&machines)?);
    test::write_junit(args.junit.as_deref(), &results)?;
    for case in &results.cases {
        if matches!(case.outcome, Outcome::Failed(_)) {
            println!("FAILED {}: {}", case.suite, case.name);
        }
    }
    Ok(results.close())
}

/// A cargo command that says by its status whether all is well.
struct Check {
    name: String,
    arguments: Vec<&'static str>,
    environment: Option<(&'static str, &'static str)>,
}

fn checks(arch: Option<Arch>) -> Vec<Check> {
    let check = |name: &str, arguments: &[&'static str]| Check {
        name: name.to_owned(),
        arguments: arguments.to_vec(),
        environment: None,
    };
    let mut checks = vec![
        check("format", &["fmt", "--all", "--", "--check"]),
        check("clippy of the host crates", &["clippy", "--all-targets", "--", "-D", "warnings"]),
        check(
            "clippy of the boot loader's tests",
            &["clippy", "--package", "tessera-loader", "--all-targets", "--", "-D", "warnings"],
        ),
    ];
    for arch in Arch::ALL.into_iter().filter(|each| arch.is_none_or(|arch| arch == *each)) {
        for kernel in [Model::Vmemmap, Model::Flat].map(|model| Kernel { arch, model }) {
            let mut arguments = vec!["clippy", "--package", "kernel", "--target", arch.target()];
            arguments.extend(kernel.model.feature().map(|feature| ["--features", feature]).into_iter().flatten());
            arguments.extend(["--", "-D", "warnings"]);
            checks.push(check(&format!("clippy of the {kernel}"), &arguments));
        }
        let arguments =
            ["clippy", "--package", "tessera-loader", "--target", arch.uefi_target(), "--", "-D", "warnings"];
        checks.push(check(&format!("clippy of the {arch} boot loader"), &arguments));
    }
    checks.push(Check {
        environment: Some(("RUSTDOCFLAGS", "-D warnings")),
        ..check("documentation", &["doc", "--no-deps"])
    });
    checks
}

impl Check {
    fn run(self) -> Results {
        println!("== {}: cargo {}", self.name, self.arguments.join(" "));
        let start = Instant::now();
        let mut command: Command = workspace::cargo();
        command.args(&self.arguments).envs(self.environment).stdin(Stdio::null());
        // Set from outside, these would replace the flags of the kernel's targets.
        command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        let outcome = match command.status() {
            Ok(status) if status.success() => Outcome::Passed,
            Ok(status) => Outcome::Failed(status.to_string()),
            Err(error) => Outcome::Failed(error.to_string()),
        };
        let word = if outcome == Outcome::Passed { "ok" } else { "FAILED" };
        println!("== {}: {word} ({:.0} s)", self.name, start.elapsed().as_secs_f64());
        let case = Case { suite: "checks".into(), name: self.name, time: Some(start.elapsed()), outcome };
        let mut results = Results::default();
        results.push(case);
        results
    }
}
