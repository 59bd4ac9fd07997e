//! `cargo xtask test`: the host tests, then every machine of the matrix, and one line that sums both up.

use std::num::NonZero;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::arch::Arch;
use crate::cli::TestArgs;
use crate::exit::{Exit, usage};
use crate::matrix::{self, Machine, matches_glob};
use crate::missing;
use crate::needs::Need;

pub(crate) mod as_tests;
mod host;
mod junit;
pub(crate) mod machines;

/// How one test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    /// Failed, for this reason, and passed when it was tried once more.
    Flaky(String),
    /// The reason, of one line or more.
    Failed(String),
    Ignored,
    /// Not run, for want of something that nothing here can bring.
    Skipped(String),
}

/// One test that ran.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// What it belongs to: a test program, the machines.
    pub(crate) suite: String,
    pub(crate) name: String,
    /// How long it took, where that is known.
    pub(crate) time: Option<Duration>,
    pub(crate) outcome: Outcome,
}

/// What ran, and the numbers that count. The numbers are those the test programs report themselves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Results {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
    pub(crate) cases: Vec<Case>,
}

impl Results {
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.cases.extend(other.cases);
    }

    /// Adds a test and counts it.
    pub(crate) fn push(&mut self, case: Case) {
        match case.outcome {
            Outcome::Passed | Outcome::Flaky(_) => self.passed += 1,
            Outcome::Failed(_) => self.failed += 1,
            Outcome::Skipped(_) => self.skipped += 1,
            Outcome::Ignored => {}
        }
        self.cases.push(case);
    }

    /// Names what was flaky and prints the closing line. Nothing passed is nothing proved, and counts as wrong.
    pub(crate) fn close(&self) -> Exit {
        let flaky = self.cases.iter().filter(|case| matches!(case.outcome, Outcome::Flaky(_)));
        let flaky: Vec<&str> = flaky.map(|case| case.name.as_str()).collect();
        if !flaky.is_empty() {
            println!("flaky, passed when tried again: {}", flaky.join(", "));
        }
        let skipped = if self.skipped == 0 { String::new() } else { format!(", {} skipped", self.skipped) };
        println!("{} passed, {} failed{skipped}", self.passed, self.failed);
        if self.failed == 0 && self.passed > 0 { Exit::Right } else { Exit::Wrong }
    }
}

/// Runs what the options choose.
pub(crate) fn test(args: &TestArgs) -> Result<Exit> {
    if let Some(results) = instead(args)? {
        write_junit(args.junit.as_deref(), &results)?;
        return Ok(results.close());
    }
    let mut machines = if args.host { Vec::new() } else { chosen(args.arch, args.config.as_deref())? };
    if let Some(shard) = args.shard {
        machines = shard.keep(machines);
        if machines.is_empty() {
            return Err(usage(format!("no machine is in part {shard}: there are fewer machines than parts")));
        }
    }
    if args.list {
        for machine in &machines {
            println!("{}", machine.describe());
        }
        return Ok(Exit::Right);
    }
    missing::require(&needs(&machines), args.consent())?;
    let mut results = Results::default();
    if !args.kernel && args.config.is_none() && args.shard.is_none() {
        results.add(host::native()?);
    }
    if !machines.is_empty() {
        results.add(machines::run(&machines, jobs(args.jobs))?);
    }
    write_junit(args.junit.as_deref(), &results)?;
    Ok(results.close())
}

/// What takes the place of all that, where the options ask for it: tests under a tool that looks for one kind of fault.
fn instead(args: &TestArgs) -> Result<Option<Results>> {
    let require = |need| missing::require(&[Need::Linker, need], args.consent());
    Ok(Some(if args.miri {
        require(Need::Miri)?;
        host::miri()?
    } else if args.tsan {
        require(Need::NightlySources)?;
        host::tsan()?
    } else if args.loom {
        missing::require(&[Need::Linker], args.consent())?;
        host::loom(args.preemptions)?
    } else {
        return Ok(None);
    }))
}

/// Everything: the host tests, the models under loom, and the machines of one arch or both.
///
/// # Errors
/// When a test program cannot be started.
pub(crate) fn everything(machines: &[Machine]) -> Result<Results> {
    let mut results = host::native()?;
    results.add(host::loom(None)?);
    results.add(machines::run(machines, jobs(None))?);
    Ok(results)
}

/// Writes the results as JUnit XML where a file was named.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn write_junit(file: Option<&std::path::Path>, results: &Results) -> Result<()> {
    let Some(file) = file else { return Ok(()) };
    std::fs::write(file, junit::xml(results)).with_context(|| file.display().to_string())
}

/// The machines of the matrix that the options leave.
///
/// # Errors
/// When the matrix cannot be read; wrong usage when no machine is left.
pub(crate) fn chosen(arch: Option<Arch>, glob: Option<&str>) -> Result<Vec<Machine>> {
    let mut machines = matrix::read()?;
    machines.retain(|machine| arch.is_none_or(|arch| machine.arch == arch));
    machines.retain(|machine| glob.is_none_or(|glob| matches_glob(glob, &machine.name)));
    if machines.is_empty() {
        return Err(usage("no machine of ci/matrix.toml is chosen: `cargo xtask test --list` names them"));
    }
    Ok(machines)
}

/// What host tests and these machines need.
pub(crate) fn needs(machines: &[Machine]) -> Vec<Need> {
    let mut needs = vec![Need::Linker];
    for machine in machines.iter().filter(|machine| machines::skipped(machine).is_none()) {
        for need in Need::of_boot(machine.arch, machine.boot) {
            if !needs.contains(&need) {
                needs.push(need);
            }
        }
    }
    needs
}

/// How many machines run at once.
pub(crate) fn jobs(asked: Option<u16>) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, NonZero::get);
    asked.map_or_else(cores, usize::from)
}
