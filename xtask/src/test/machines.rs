//! The machine tests: each boots one machine of the matrix and holds its serial log against what is expected there.

use std::fmt;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use super::{Case, Outcome, Results};
use crate::arch::Arch;
use crate::boot::{BootBy, limine};
use crate::firmware::reference::Reference;
use crate::image::{self, Report};
use crate::instructions;
use crate::jobs::in_parallel;
use crate::kernel::Kernel;
use crate::matrix::Machine;
use crate::progress::Progress;
use crate::run;
use crate::verdict::{self, Verdict};
use crate::workspace;

/// The name under which the machines are counted, here and by `cargo test`.
pub(super) const SUITE: &str = "machines";

/// The last lines of a log that a failure shows.
const LAST_LINES: usize = 12;

/// Why the machine cannot be booted here, where nothing that can be installed is in the way.
pub(super) fn skipped(machine: &Machine) -> Option<String> {
    limine::absent(machine.arch, machine.boot).or_else(|| machine.dtb.as_ref().and_then(Reference::absent))
}

/// Builds the kernels and loaders and boots the machines, so many at once.
pub(super) fn run(machines: &[Machine], jobs: usize) -> Result<Results> {
    let mut results = Results::default();
    let mut bootable = Vec::new();
    let mut reasons: Vec<String> = Vec::new();
    for machine in machines {
        let Some(reason) = skipped(machine) else {
            bootable.push(machine);
            continue;
        };
        println!("skip   {}", machine.name);
        results.push(case(&machine.name, Outcome::Skipped(reason.clone())));
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    for reason in reasons {
        println!("skipped because {reason}");
    }
    for build in Build::all(&bootable) {
        if let Err(error) = build.carry_out(Report::Progress) {
            let (of_build, others) = bootable.into_iter().partition::<Vec<_>, _>(|machine| build.is_for(machine));
            bootable = others;
            let reason = format!("{error:#}");
            println!("FAILED {reason}; its {} machines were not booted", of_build.len());
            results.push(case(&format!("build of the {build}"), Outcome::Failed(reason)));
        }
    }
    fs::create_dir_all(workspace::machine_logs()?)?;
    let progress = Progress::of_steps(bootable.len());
    let work = |machine: &&Machine| {
        progress.note(&machine.name);
        let start = Instant::now();
        let outcome = test(machine);
        Case { time: Some(start.elapsed()), ..case(&machine.name, outcome) }
    };
    in_parallel(&bootable, jobs, work, |_, case| {
        let seconds = case.time.unwrap_or_default().as_secs_f64();
        match &case.outcome {
            Outcome::Failed(reason) => progress.line(&format!("FAILED {} ({seconds:.1} s): {reason}", case.name)),
            Outcome::Flaky(reason) => progress.line(&format!("FLAKY  {} ({seconds:.1} s): {reason}", case.name)),
            _ => progress.line(&format!("ok     {} ({seconds:.1} s)", case.name)),
        }
        progress.step();
        results.push(case);
    });
    results.cases.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(results)
}

fn case(name: &str, outcome: Outcome) -> Case {
    Case { suite: SUITE.into(), name: name.to_owned(), time: None, outcome }
}

/// What is built before a machine boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Build {
    Kernel(Kernel),
    /// Our loader for UEFI firmware.
    Loader(Arch),
}

impl Build {
    /// What these machines need, each once.
    pub(crate) fn all(machines: &[&Machine]) -> Vec<Self> {
        let mut builds = Vec::new();
        for build in machines.iter().flat_map(|machine| Self::of(machine)) {
            if !builds.contains(&build) {
                builds.push(build);
            }
        }
        builds
    }

    /// What the machine needs.
    pub(crate) fn of(machine: &Machine) -> Vec<Self> {
        let mut builds = vec![Self::Kernel(machine.kernel())];
        if machine.boot == BootBy::Uefi {
            builds.push(Self::Loader(machine.arch));
        }
        builds
    }

    fn is_for(self, machine: &Machine) -> bool {
        Self::of(machine).contains(&self)
    }

    /// Builds it.
    ///
    /// # Errors
    /// When it does not build.
    pub(crate) fn carry_out(self, report: Report) -> Result<()> {
        match self {
            Self::Kernel(kernel) => image::build(kernel, report)?,
            Self::Loader(arch) => image::build_loader(arch, report)?,
        };
        Ok(())
    }
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(kernel) => kernel.fmt(f),
            Self::Loader(arch) => write!(f, "{arch} boot loader"),
        }
    }
}

/// Boots one machine whose kernel is built, and once more if that fails. Each boot's log is kept.
pub(super) fn test(machine: &Machine) -> Outcome {
    twice(|log| boot(machine, &format!("{}.{log}", machine.name)))
}

/// Tries once, and once more if that fails. Only who fails twice has failed; who fails once is not forgotten.
fn twice(attempt: impl Fn(&str) -> Result<()>) -> Outcome {
    let Err(first) = attempt("log") else { return Outcome::Passed };
    match attempt("again.log") {
        Ok(()) => Outcome::Flaky(format!("{first:#}")),
        Err(error) => Outcome::Failed(format!("{error:#}")),
    }
}

/// Boots one machine. Of a failure the error says all that is needed.
fn boot(machine: &Machine, log: &str) -> Result<()> {
    let mut qemu = run::of_matrix(machine)?;
    let _folder = run::claim(&mut qemu)?;
    let path = workspace::machine_logs()?.join(log);
    let mut log = File::create(&path).with_context(|| path.display().to_string())?;
    writeln!(log, "$ {}", qemu.shell_line())?;
    let boot = run::boot(&qemu, Some(machine.timeout), &mut log)?;
    let verdict = match machine.stops {
        true => verdict::judge_stop(machine.arch, boot.ending, boot.serial.who_gave_up(), boot.serial.last_words()),
        false => boot.verdict,
    };
    let reason = match verdict {
        Verdict::Wrong(reason) => reason,
        Verdict::TimeLimit => format!("the time limit of {} s was reached", machine.timeout.as_secs()),
        Verdict::Right => match complaint(machine, boot.serial.lines()) {
            None => return Ok(()),
            Some(reason) => reason,
        },
    };
    bail!(describe(&reason, boot.serial.lines(), &path, machine))
}

/// What is wrong with the log of a boot that ended as it should.
fn complaint(machine: &Machine, log: &[String]) -> Option<String> {
    if let Some(expected) = machine.unmet(log) {
        return Some(format!("expected next in the log, and not there: {expected}"));
    }
    if let Some(warning) = machine.unexpected(log) {
        return Some(format!("a warning that is not expected: {warning}"));
    }
    too_many(machine, log)
}

/// Why the boot took more instructions than the matrix allows, if it did.
fn too_many(machine: &Machine, log: &[String]) -> Option<String> {
    let limit = machine.max_instructions?;
    match instructions::to_prompt(machine.arch, log) {
        None => Some("the log does not say how many timer ticks went by".to_owned()),
        Some(count) if count <= limit => None,
        Some(count) => Some(format!("{count} instructions from entry to prompt; {limit} are allowed")),
    }
}

fn describe(reason: &str, lines: &[String], log: &Path, machine: &Machine) -> String {
    let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
    let last: String = last.iter().map(|line| format!("    | {line}\n")).collect();
    let name = &machine.name;
    format!(
        "{reason}\n{last}    log: {}\n    again: cargo xtask test --config {name}   or, to look at it: \
         cargo xtask run --config {name}",
        log.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn one_failure_is_told_and_two_are_a_failure() {
        assert_eq!(twice(|_| Ok(())), Outcome::Passed);
        let late = |log: &str| if log == "log" { Err(anyhow!("late")) } else { Ok(()) };
        assert_eq!(twice(late), Outcome::Flaky("late".into()));
        assert_eq!(twice(|log| Err(anyhow!("{log}"))), Outcome::Failed("again.log".into()));
    }
}
