//! The host tests: `cargo test`, the same under Miri, the stress body under the thread sanitizer, and the models under
//! loom, read line by line.
//!
//! The machines are left out here ([`machines`] boots them, with a bar and in parallel with
//! nothing else): their tests are the only ones whose name holds a `machines/`.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context as _, Result, anyhow};

use super::{Case, Outcome, Results, machines};
use crate::needs;
use crate::progress::Progress;
use crate::workspace;

/// The library crates: what Miri can run. The first has about half of the work.
const LIBRARIES: [&str; 3] = ["tessera-mm", "mm-testkit", "platform"];

/// What is shown when the tests failed in a way that no test reports: they do not build, or one crashed.
const LAST_LINES: usize = 60;

/// Beside them: this tool, and the pure parts of the boot loader and the arch crates, as far as they build on this host.
const OTHERS: &[&str] = if cfg!(target_arch = "x86_64") {
    &["xtask", "tessera-loader", "arch-aarch64", "arch-x86_64"]
} else {
    &["xtask", "tessera-loader", "arch-aarch64"]
};

/// Runs the tests of every crate that builds here.
pub(super) fn native() -> Result<Results> {
    let mut command = workspace::cargo();
    command.args(["test", "--no-fail-fast"]);
    command.args(LIBRARIES.iter().chain(OTHERS).flat_map(|name| ["--package", name]));
    command.args(["--", "--skip", &format!("{}/", machines::SUITE)]);
    run(command, "host tests", "host-tests.log", &Progress::spinner())
}

/// Runs the models of the protocols between CPUs, in every order with so many preemptions, or as many as they choose
/// themselves. They are built apart from all else, with loom's atomics in place of the hardware's.
pub(super) fn loom(preemptions: Option<u8>) -> Result<Results> {
    let mut command = workspace::cargo();
    command.args(["test", "--no-fail-fast", "--package", "tessera-mm", "--profile", "loom", "--test", "loom"]);
    command.arg("--target-dir").arg(workspace::target_dir()?.join("loom"));
    command.env("RUSTFLAGS", "--cfg loom").env_remove("CARGO_ENCODED_RUSTFLAGS");
    // What one run of a model does is told by its failure.
    command.env_remove("LOOM_LOG");
    if let Some(preemptions) = preemptions {
        command.env("LOOM_MAX_PREEMPTIONS", preemptions.to_string());
    }
    run(command, "models under loom", "loom.log", &Progress::spinner())
}

/// Runs the tests of the library crates under Miri. It runs one test at a time, so half of the crates go beside the
/// other half.
pub(super) fn miri() -> Result<Results> {
    let progress = Progress::spinner();
    let halves = [
        ("Miri of mm", "miri-mm.log", &LIBRARIES[..1]),
        ("Miri of the other libraries", "miri-others.log", &LIBRARIES[1..]),
    ];
    let progress = &progress;
    let halves = thread::scope(|scope| {
        let start = |(title, log, libraries)| scope.spawn(move || run(miri_of(libraries), title, log, progress));
        halves
            .map(start)
            .map(|half| half.join().unwrap_or_else(|_| Err(anyhow!("a reader of Miri's output ended early"))))
    });
    let mut results = Results::default();
    for half in halves {
        results.add(half?);
    }
    Ok(results)
}

/// Runs the stress body under the thread sanitizer, with a standard library that is built for it. A race that it finds
/// ends the test program with a status of its own, after all tests have passed.
pub(super) fn tsan() -> Result<Results> {
    let host = needs::nightly(&["rustc", "--print", "host-tuple"]).context("the nightly compiler names no host")?;
    let mut command = nightly(&["cargo", "test", "-Zbuild-std", "--target", &host, "--no-fail-fast"]);
    command.args(["--package", LIBRARIES[0], "--test", "stress"]);
    command.env("RUSTFLAGS", "-Zsanitizer=thread").env_remove("CARGO_ENCODED_RUSTFLAGS");
    // Each access calls the sanitizer: without optimisation there are several times as many.
    command.env("CARGO_PROFILE_DEV_OPT_LEVEL", "2");
    run(command, "thread sanitizer", "tsan.log", &Progress::spinner())
}

fn miri_of(libraries: &[&str]) -> Command {
    let mut command = nightly(&["cargo", "miri", "test", "--no-fail-fast"]);
    command.args(libraries.iter().flat_map(|library| ["--package", library]));
    command
}

fn nightly(arguments: &[&str]) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly"]).args(arguments);
    // The libraries of the stable toolchain, which cargo put there for this program.
    command.current_dir(workspace::root()).env_remove("LD_LIBRARY_PATH").env_remove("CARGO").env_remove("RUSTC");
    command
}

fn run(mut command: Command, title: &str, log: &str, progress: &Progress) -> Result<Results> {
    let folder = workspace::target_dir()?;
    let path = folder.join(log);
    let mut log = File::create(&path).with_context(|| path.display().to_string())?;
    // One pipe for both streams, so that the names of the test programs (stderr) stand before their tests (stdout).
    let (reader, writer) = std::io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn().with_context(|| format!("{title} cannot be started"))?;
    // The command holds the pipe's other end; as long as it lives, the pipe does not end.
    drop(command);
    let mut report = Report::default();
    let mut lines = Vec::new();
    for line in BufReader::new(reader).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).trim_end_matches('\r').to_owned();
        writeln!(log, "{line}")?;
        progress.note(line.trim());
        match report.take(&line) {
            Heard::Case => progress.step(),
            Heard::Worth => progress.line(&line),
            Heard::Nothing => {}
        }
        lines.push(line);
    }
    let status = child.wait()?;
    let mut results = report.results();
    if !status.success() && results.failed == 0 {
        for line in &lines[lines.len().saturating_sub(LAST_LINES)..] {
            progress.line(line);
        }
        let outcome = Outcome::Failed(format!("{title}: {status}, see {}", path.display()));
        results.push(Case { suite: title.into(), name: title.into(), time: None, outcome });
    }
    progress.line(&format!("{title}: {} passed, {} failed", results.passed, results.failed));
    Ok(results)
}

/// What a line of the tests' output was.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    /// One test is done.
    Case,
    /// A line to show.
    Worth,
    /// Nothing of interest.
    Nothing,
}

/// What the output of `cargo test` says, read line by line.
#[derive(Default)]
struct Report {
    suite: String,
    results: Results,
    /// Inside the part that tells of the failures of a test program.
    failures: bool,
    /// The test whose failure is being told.
    telling: Option<String>,
}

impl Report {
    fn take(&mut self, line: &str) -> Heard {
        if let Some(suite) = suite(line) {
            self.suite = suite;
            return Heard::Worth;
        }
        if let Some((passed, failed)) = counts(line) {
            self.results.passed += passed;
            self.results.failed += failed;
            self.failures = false;
            self.telling = None;
            return Heard::Worth;
        }
        if line == "failures:" {
            self.failures = true;
            self.telling = None;
        }
        if self.failures {
            self.tell(line);
            return Heard::Worth;
        }
        let Some((name, outcome)) = case(line) else { return Heard::Nothing };
        let failed = matches!(outcome, Outcome::Failed(_));
        self.results.cases.push(Case { suite: self.suite.clone(), name, time: None, outcome });
        if failed { Heard::Worth } else { Heard::Case }
    }

    /// Adds the line to the reason of the test whose failure is being told.
    fn tell(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            self.telling = Some(name.to_owned());
            return;
        }
        let Some(name) = &self.telling else { return };
        let mut of_suite = self.results.cases.iter_mut().rev().take_while(|case| case.suite == self.suite);
        if let Some(Case { outcome: Outcome::Failed(reason), .. }) = of_suite.find(|case| case.name == *name)
            && !(reason.is_empty() && line.is_empty())
        {
            *reason += line;
            reason.push('\n');
        }
    }

    fn results(self) -> Results {
        self.results
    }
}

/// The test program that starts: `Running unittests src/lib.rs (target/debug/deps/mm-0123)`, `Doc-tests mm`.
fn suite(line: &str) -> Option<String> {
    let line = line.trim_start();
    if let Some(library) = line.strip_prefix("Doc-tests ") {
        return Some(format!("{library} (documentation)"));
    }
    let (what, program) = line.strip_prefix("Running ")?.strip_suffix(')')?.rsplit_once(" (")?;
    let program = program.rsplit('/').next()?;
    let name = program.rsplit_once('-').map_or(program, |(name, _)| name);
    Some(format!("{name} ({what})"))
}

/// A test that is done: `test a::b ... ok`.
fn case(line: &str) -> Option<(String, Outcome)> {
    let (name, outcome) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let outcome = match outcome.split([',', ' ']).next()? {
        "ok" => Outcome::Passed,
        "FAILED" => Outcome::Failed(String::new()),
        "ignored" => Outcome::Ignored,
        _ => return None,
    };
    Some((name.trim_end().trim_end_matches(" - should panic").to_owned(), outcome))
}

/// The end of a test program: `test result: ok. 5 passed; 0 failed; 1 ignored; …`.
fn counts(line: &str) -> Option<(usize, usize)> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |word: &str| {
        let part = counts.split("; ").find_map(|part| part.strip_suffix(word))?;
        part.trim().parse().ok()
    };
    Some((count("passed")?, count("failed")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
   Compiling mm v0.1.0
     Running unittests src/lib.rs (target/debug/deps/tessera_mm-0123456789abcdef)

running 4 tests
test addr::tests::good ... ok
test addr::tests::later ... ignored, not on this host
test addr::tests::bad ... FAILED
test addr::tests::overflow - should panic ... ok

failures:

---- addr::tests::bad stdout ----

thread 'addr::tests::bad' panicked at mm/src/addr.rs:1:2:
left is not right

failures:
    addr::tests::bad

test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.00s

     Running tests/memblock.rs (target/debug/deps/memblock-0123456789abcdef)

running 1 test
test grows    ... ok

test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s

   Doc-tests mm

running 1 test
test mm/src/lib.rs - (line 3) ... ok

test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s
";

    #[test]
    fn programs_tests_reasons_and_counts_are_read() {
        let mut report = Report::default();
        let heard: Vec<Heard> = OUTPUT.lines().map(|line| report.take(line)).collect();
        assert_eq!(heard.iter().filter(|heard| **heard == Heard::Case).count(), 5);
        let results = report.results();
        assert_eq!((results.passed, results.failed), (4, 1));
        let reason = "thread 'addr::tests::bad' panicked at mm/src/addr.rs:1:2:\nleft is not right\n\n";
        let expected = [
            ("tessera_mm (unittests src/lib.rs)", "addr::tests::good", Outcome::Passed),
            ("tessera_mm (unittests src/lib.rs)", "addr::tests::later", Outcome::Ignored),
            ("tessera_mm (unittests src/lib.rs)", "addr::tests::bad", Outcome::Failed(reason.into())),
            ("tessera_mm (unittests src/lib.rs)", "addr::tests::overflow", Outcome::Passed),
            ("memblock (tests/memblock.rs)", "grows", Outcome::Passed),
            ("mm (documentation)", "mm/src/lib.rs - (line 3)", Outcome::Passed),
        ];
        let read: Vec<_> =
            results.cases.iter().map(|c| (c.suite.as_str(), c.name.as_str(), c.outcome.clone())).collect();
        assert_eq!(read, expected);
    }

    #[test]
    fn other_lines_are_no_tests() {
        for line in ["test", "test a", "testing ... ok", "test x has been running for over 60 seconds", "ok", ""] {
            assert_eq!(case(line), None, "{line}");
            assert_eq!(counts(line), None, "{line}");
            assert_eq!(suite(line), None, "{line}");
        }
    }

    #[test]
    fn a_command_that_says_nothing_and_fails_counts_as_failed() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo error: it does not build >&2; exit 101"]);
        let results =
            run(command, "broken tests", &format!("xtask-broken-{}.log", std::process::id()), &Progress::spinner())
                .unwrap();
        assert_eq!((results.passed, results.failed), (0, 1));
        let path = workspace::target_dir().unwrap().join(format!("xtask-broken-{}.log", std::process::id()));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "error: it does not build\n");
        std::fs::remove_file(path).unwrap();
    }
}
