//! `cargo xtask mutants`: changes the policy modules one expression at a time and sees whether a test notices.
//!
//! cargo-mutants makes the changes in a copy of the tree and runs the tests of the crate. A change that no test notices
//! (a *survivor*) is either listed in `ci/mutants.toml` with the reason why it makes no difference, or it counts. At
//! most [`ALLOWED_PERCENT`] of all viable changes may survive.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde::Deserialize;

use crate::cli::Installing;
use crate::exit::{Exit, usage};
use crate::missing;
use crate::needs::Need;
use crate::shard::Shard;
use crate::workspace;

/// How many of a hundred viable changes may survive.
const ALLOWED_PERCENT: usize = 5;

/// The list of modules and of survivors with reasons.
const FILE: &str = "ci/mutants.toml";

/// Options of `mutants`.
#[derive(Args)]
#[command(
    after_help = "Takes hours for everything: name a module, or share the work with --shard. The outcome of each \
                        change is kept under target/mutants.\n\n\
                        Examples:\n  \
                        cargo xtask mutants zone\n  \
                        cargo xtask mutants --shard 0/8 --jobs 2"
)]
pub(crate) struct MutantsArgs {
    /// The modules to change, by their names in ci/mutants.toml [default: all]
    module: Vec<String>,
    /// Only part K of N of the changes, counted from 0
    #[arg(long, value_name = "K/N")]
    shard: Option<Shard>,
    /// How many changes are tested at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,
    #[command(flatten)]
    installing: Installing,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    module: BTreeMap<String, Module>,
    /// Changes that make no difference, as cargo-mutants names them without line and column, and why.
    #[serde(default)]
    equivalent: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Module {
    package: String,
    /// Globs of files.
    files: Vec<String>,
    /// Test programs that notice changes there; all of the package's where nothing is said.
    #[serde(default)]
    tests: Vec<String>,
    /// Words in the names of tests that are left out: long ones that look for panics, not for wrong answers.
    #[serde(default)]
    skip: Vec<String>,
}

/// Changes the modules and tells what survived.
pub(crate) fn mutants(args: &MutantsArgs) -> Result<Exit> {
    let file = read()?;
    if let Some(unknown) = args.module.iter().find(|name| !file.module.contains_key(*name)) {
        let known: Vec<&str> = file.module.keys().map(String::as_str).collect();
        return Err(usage(format!("no module {unknown} in {FILE}: there are {}", known.join(", "))));
    }
    missing::require(&[Need::Linker, Need::CargoMutants], args.installing.consent())?;
    let mut exit = Exit::Right;
    let chosen = file.module.iter().filter(|(name, _)| args.module.is_empty() || args.module.contains(name));
    for (name, module) in chosen {
        let outcomes = run(name, module, args)?;
        let survivors = outcomes.missed.iter().filter(|survivor| !file.equivalent.contains_key(&plain(survivor)));
        let survivors: Vec<&String> = survivors.collect();
        for survivor in &survivors {
            println!("survived  {survivor}");
        }
        let viable = outcomes.caught + outcomes.missed.len();
        let excused = outcomes.missed.len() - survivors.len();
        println!("{name}: {viable} viable changes, {} survived, {excused} of no effect", survivors.len());
        if survivors.len() * 100 > viable * ALLOWED_PERCENT {
            println!("FAILED {name}: more than {ALLOWED_PERCENT} % survived");
            exit = Exit::Wrong;
        }
    }
    Ok(exit)
}

fn read() -> Result<File> {
    let text = fs::read_to_string(workspace::root().join(FILE)).context(FILE)?;
    toml::from_str(&text).context(FILE)
}

/// What became of a module's changes.
#[derive(Default, PartialEq, Debug)]
struct Outcomes {
    /// Noticed by a test, or by a time limit.
    caught: usize,
    missed: Vec<String>,
}

fn run(name: &str, module: &Module, args: &MutantsArgs) -> Result<Outcomes> {
    let output = workspace::target_dir()?.join("mutants").join(name);
    fs::create_dir_all(&output)?;
    let mut command: Command = workspace::cargo();
    command.args([
        "mutants",
        "--package",
        &module.package,
        "--no-shuffle",
        "--profile",
        "mutants",
        "--jobs",
        &args.jobs.to_string(),
    ]);
    // Text is for people; what it says is looked at where it matters.
    command.args(["--exclude-re", "impl fmt::(Display|Debug) for"]);
    command.arg("--output").arg(&output);
    command.args(module.files.iter().flat_map(|glob| ["--file", glob]));
    if let Some(shard) = &args.shard {
        command.arg("--shard").arg(shard.to_string());
    }
    if !module.tests.is_empty() {
        // For building too: what stands behind `--` chooses only what is run.
        command.arg("--cargo-arg=--lib").args(module.tests.iter().map(|test| format!("--cargo-arg=--test={test}")));
    }
    command.args(["--", "--"]).args(module.skip.iter().flat_map(|word| ["--skip", word]));
    let status = command.stdin(Stdio::null()).status().context("cargo mutants cannot be started")?;
    // 2: some were missed; 3: some ran into the time limit.
    if !matches!(status.code(), Some(0 | 2 | 3)) {
        bail!("cargo mutants on {name}: {status}");
    }
    outcomes(&output.join("mutants.out"))
}

/// Reads the lists that cargo-mutants leaves behind.
fn outcomes(folder: &Path) -> Result<Outcomes> {
    let lines = |name: &str| -> Result<Vec<String>> {
        let path = folder.join(name);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(text.lines().map(str::to_owned).collect())
    };
    let caught = lines("caught.txt")?.len() + lines("timeout.txt")?.len();
    Ok(Outcomes { caught, missed: lines("missed.txt")? })
}

/// A change's name without line and column, so that it stays the same when a file changes elsewhere:
/// `mm/src/zone/mod.rs:12:5: replace …` becomes `mm/src/zone/mod.rs: replace …`.
fn plain(mutant: &str) -> String {
    let Some((place, change)) = mutant.split_once(": ") else { return mutant.to_owned() };
    let file = place.split(':').next().unwrap_or(place);
    format!("{file}: {change}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_right() {
        let file = read().unwrap();
        for (name, module) in &file.module {
            for glob in &module.files {
                let folder = glob.split('*').next().unwrap();
                assert!(workspace::root().join(folder.trim_end_matches('/')).exists(), "{name}: {glob}");
            }
        }
        for (change, reason) in &file.equivalent {
            assert!(!reason.trim().is_empty(), "{change}");
            let (place, _) = change.split_once(": ").unwrap();
            assert!(workspace::root().join(place).is_file() && plain(change) == *change, "{change}");
        }
    }

    #[test]
    fn the_lists_of_a_run_are_read() {
        let folder = std::env::temp_dir().join(format!("tessera-mutants-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("caught.txt"), "a:1:1: replace x\nb:2:2: replace y\n").unwrap();
        fs::write(folder.join("timeout.txt"), "c:3:3: replace z\n").unwrap();
        fs::write(folder.join("missed.txt"), "mm/src/a.rs:4:4: replace + with - in f\n").unwrap();
        let outcomes = outcomes(&folder).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(outcomes.caught, 3);
        assert_eq!(plain(&outcomes.missed[0]), "mm/src/a.rs: replace + with - in f");
    }
}
