//! What libFuzzer says of a run, read line by line.

use std::fmt;
use std::process::ExitStatus;

/// What a target did and found.
#[derive(Default, Debug)]
pub(super) struct Report {
    executions: u64,
    /// Edges of the control flow that were seen.
    edges: u64,
    /// Edges told apart by how often they were taken.
    features: u64,
    inputs: u64,
    /// The first line that tells what is wrong.
    problem: Option<String>,
    input: Option<String>,
    failed: Option<String>,
}

impl Report {
    /// Takes a line of the output.
    pub(super) fn take(&mut self, line: &str) {
        let number = |name: &str| line.split_once(name)?.1.split_whitespace().next()?.split('/').next()?.parse().ok();
        if line.starts_with('#') {
            self.edges = number(" cov: ").unwrap_or(self.edges);
            self.features = number(" ft: ").unwrap_or(self.features);
            self.inputs = number(" corp: ").unwrap_or(self.inputs);
        }
        self.executions = number("stat::number_of_executed_units:").unwrap_or(self.executions);
        if self.problem.is_none() && (line.contains("panicked at") || line.contains("ERROR: ")) {
            self.problem = Some(line.trim().to_owned());
        }
        if let Some((_, path)) = line.split_once("Test unit written to ") {
            self.input = Some(path.trim().to_owned());
        }
    }

    /// Takes the end of the program.
    pub(super) fn ended(&mut self, status: ExitStatus) {
        self.failed = (!status.success()).then(|| status.to_string());
    }

    pub(super) fn is_clean(&self) -> bool {
        self.failed.is_none() && self.problem.is_none() && self.input.is_none()
    }

    /// What was found, in one line.
    pub(super) fn finding(&self) -> String {
        self.problem.clone().or_else(|| self.failed.clone()).unwrap_or_else(|| "an input was kept".to_owned())
    }

    /// The file that holds the input that failed.
    pub(super) fn input(&self) -> Option<&str> {
        self.input.as_deref()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { executions, edges, features, inputs, .. } = self;
        let found = if self.is_clean() { "nothing found" } else { "FAILED" };
        write!(f, "{executions:>10} executions  {edges:>5} edges  {features:>6} features  {inputs:>5} inputs  {found}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    fn status(code: i32) -> ExitStatus {
        std::os::unix::process::ExitStatusExt::from_raw(code << 8)
    }

    #[cfg(unix)]
    #[test]
    fn a_clean_run_is_read() {
        let mut report = Report::default();
        for line in [
            "INFO: Running with entropic power schedule (0xFF, 100).",
            "#2\tINITED cov: 12 ft: 13 corp: 1/1b exec/s: 0 rss: 40Mb",
            "#4096\tpulse  cov: 812 ft: 2031 corp: 144/21Kb lim: 4096 exec/s: 2048 rss: 61Mb",
            "stat::number_of_executed_units: 123456",
        ] {
            report.take(line);
        }
        report.ended(status(0));
        assert!(report.is_clean());
        assert_eq!((report.executions, report.edges, report.features, report.inputs), (123_456, 812, 2031, 144));
    }

    #[cfg(unix)]
    #[test]
    fn a_finding_is_told_with_its_input() {
        let mut report = Report::default();
        report.take("thread '<unnamed>' panicked at src/lib.rs:5:1:");
        report.take("==1== ERROR: libFuzzer: deadly signal");
        report.take("artifact_prefix='a/'; Test unit written to a/crash-0123");
        report.ended(status(77));
        assert!(!report.is_clean());
        assert!(report.finding().contains("src/lib.rs:5:1"), "{}", report.finding());
        assert_eq!(report.input(), Some("a/crash-0123"));
    }

    #[cfg(unix)]
    #[test]
    fn an_end_by_a_limit_is_a_finding() {
        let mut report = Report::default();
        report.ended(status(70));
        assert!(!report.is_clean());
    }
}
