//! `cargo xtask fuzz`: the fuzz targets of `ci/fuzz`, each for some minutes, with what they did and found.
//!
//! The targets are built once by cargo-fuzz (a nightly compiler with sanitizers), then run side by side as plain
//! programs. What libFuzzer learns stays under `target/fuzz/corpus`, so the next run begins where this one ended; the
//! seeds in `ci/fuzz/corpus` are only read. An input that makes a target fail is kept under `target/fuzz/findings`, and
//! the line that names it says how to run it again.

mod report;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;

use crate::cli::Installing;
use crate::debian;
use crate::exit::{Exit, usage};
use crate::missing;
use crate::needs::Need;
use crate::progress::Progress;
use crate::workspace;
use report::Report;

/// Seconds after which one input is taken for a hang.
const HANG_SECONDS: u32 = 10;
/// MiB of memory after which a target is stopped.
const MEMORY_MIB: u32 = 2048;

/// Options of `fuzz`.
#[derive(Args)]
#[command(after_help = "What a target fails on is kept under target/fuzz/findings, with the command that repeats it. \
                        Needs cargo-fuzz and a nightly toolchain.\n\n\
                        Examples:\n  \
                        cargo xtask fuzz --minutes 5\n  \
                        cargo xtask fuzz device_tree --device-trees --minutes 60")]
pub(crate) struct FuzzArgs {
    /// The targets to run [default: all of ci/fuzz/targets]
    target: Vec<String>,
    /// Minutes for each target
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    minutes: u32,
    /// How many targets run at once [default: the number of CPUs]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Give the device tree's target every tree of Debian's arm64 kernel to begin with
    #[arg(long)]
    device_trees: bool,
    #[command(flatten)]
    installing: Installing,
}

/// Runs the targets; one that finds something does not keep the others from running.
pub(crate) fn fuzz(args: &FuzzArgs) -> Result<Exit> {
    let all = targets()?;
    if let Some(unknown) = args.target.iter().find(|target| !all.contains(target)) {
        return Err(usage(format!("no fuzz target {unknown}: there are {}", all.join(", "))));
    }
    let chosen = if args.target.is_empty() { all } else { args.target.clone() };
    let mut needs = vec![Need::Linker, Need::Nightly, Need::CargoFuzz];
    if args.device_trees {
        needs.extend(Need::of_debian());
    }
    missing::require(&needs, args.installing.consent())?;
    if args.device_trees {
        add_device_trees()?;
    }
    build()?;
    let progress = Progress::of_steps(chosen.len());
    let jobs = args.jobs.map_or_else(|| thread::available_parallelism().map_or(1, usize::from), usize::from);
    let left = Mutex::new(chosen.iter().rev().cloned().collect::<Vec<_>>());
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..jobs.min(chosen.len()) {
            scope.spawn(|| {
                loop {
                    let Some(target) = left.lock().ok().and_then(|mut left| left.pop()) else { return };
                    let report = run(&target, args.minutes, &progress);
                    progress.step();
                    if let Ok(mut done) = done.lock() {
                        done.push((target, report));
                    }
                }
            });
        }
    });
    drop(progress);
    let mut done = done.into_inner().map_err(|_| anyhow!("a runner of targets ended early"))?;
    done.sort_by_key(|(target, _)| chosen.iter().position(|name| name == target));
    close(&done)
}

/// The names of the targets: the files of the folder.
fn targets() -> Result<Vec<String>> {
    let folder = folder().join("targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs")
            && let Some(name) = path.file_stem()
        {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn folder() -> PathBuf {
    workspace::root().join("ci/fuzz")
}

/// Where everything goes that a run makes.
fn output() -> Result<PathBuf> {
    Ok(workspace::target_dir()?.join("fuzz"))
}

/// cargo-fuzz on the nightly toolchain.
fn cargo_fuzz() -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo", "fuzz"]).current_dir(workspace::root());
    // The libraries of the stable toolchain, which cargo put there for this program.
    command.env_remove("LD_LIBRARY_PATH").env_remove("CARGO").env_remove("RUSTC");
    command
}

/// Copies Debian's device trees to where the target begins.
fn add_device_trees() -> Result<()> {
    let corpus = output()?.join("corpus/device_tree");
    fs::create_dir_all(&corpus)?;
    for tree in debian::device_trees()? {
        if let Some(name) = tree.file_name() {
            fs::copy(&tree, corpus.join(name)).with_context(|| tree.display().to_string())?;
        }
    }
    Ok(())
}

fn build() -> Result<()> {
    let mut command = cargo_fuzz();
    command.arg("build").arg("--fuzz-dir").arg(folder()).arg("--target-dir").arg(output()?.join("build"));
    let status = command.stdin(Stdio::null()).status().context("cargo fuzz cannot be started")?;
    if status.success() { Ok(()) } else { bail!("the fuzz targets do not build: {status}") }
}

/// The program that cargo-fuzz has built of a target.
fn program(target: &str) -> Result<PathBuf> {
    let build = output()?.join("build");
    let mut folders = fs::read_dir(&build).with_context(|| build.display().to_string())?;
    let candidates = folders.by_ref().filter_map(|entry| Some(entry.ok()?.path().join("release").join(target)));
    candidates.into_iter().find(|path| path.is_file()).with_context(|| format!("no program {target} was built"))
}

fn run(target: &str, minutes: u32, progress: &Progress) -> Result<Report> {
    let output = output()?;
    let corpus = output.join("corpus").join(target);
    let findings = output.join("findings").join(target);
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&findings)?;
    let mut command = Command::new(program(target)?);
    command.arg(&corpus);
    let seeds = folder().join("corpus").join(target);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    let words = folder().join("dictionaries").join(format!("{target}.dict"));
    if words.is_file() {
        command.arg(format!("-dict={}", words.display()));
    }
    command.args([
        format!("-max_total_time={}", minutes * 60),
        format!("-timeout={HANG_SECONDS}"),
        format!("-rss_limit_mb={MEMORY_MIB}"),
        format!("-artifact_prefix={}/", findings.display()),
        "-print_final_stats=1".to_owned(),
    ]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut report = Report::default();
    let lines = child.stderr.take().context("no output")?;
    for line in BufReader::new(lines).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        report.take(&line);
        progress.note(&format!("{target}: {}", line.trim()));
    }
    report.ended(child.wait()?);
    progress.line(&format!("{target:<14} {report}"));
    Ok(report)
}

/// Tells of what was found, and how many targets found nothing.
fn close(done: &[(String, Result<Report>)]) -> Result<Exit> {
    let mut failed = 0;
    for (target, report) in done {
        match report {
            Ok(report) if report.is_clean() => {}
            Ok(report) => {
                failed += 1;
                println!("FAILED {target}: {}", report.finding());
                if let (Some(input), Ok(program)) = (report.input(), program(target)) {
                    println!("  again: {} {input}", program.display());
                }
            }
            Err(error) => {
                failed += 1;
                println!("FAILED {target}: {error:#}");
            }
        }
    }
    println!("{} passed, {failed} failed", done.len() - failed);
    Ok(if failed == 0 { Exit::Right } else { Exit::Wrong })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_declared_and_has_seeds() {
        let manifest = fs::read_to_string(folder().join("Cargo.toml")).unwrap();
        let targets = targets().unwrap();
        assert!(!targets.is_empty());
        for target in targets {
            assert!(manifest.contains(&format!("path = \"targets/{target}.rs\"")), "{target}");
            let seeds = fs::read_dir(folder().join("corpus").join(&target)).unwrap();
            assert!(seeds.count() > 0, "{target}");
        }
    }
}
