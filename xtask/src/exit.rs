//! The exit codes of every verb, and the failures that carry one of their own through `anyhow`.

use std::fmt;
use std::process::ExitCode;

use crate::missing::Missing;

/// How a verb ended. The numbers are part of the tool's interface: scripts and CI rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Everything that was asked for went right.
    Right = 0,
    /// Something is wrong with what was run: it did not build, a test failed, the kernel reported a failure.
    Wrong = 1,
    /// The command line asks for something that cannot be (clap uses the same number).
    Usage = 2,
    /// A tool or a file is missing.
    Missing = 3,
    /// A time limit was reached.
    TimeLimit = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A failure whose exit code is not [`Exit::Wrong`].
#[derive(Debug)]
pub(crate) enum Failure {
    /// The sentence says which option and why.
    Usage(String),
    /// Every tool that is missing.
    Missing(Vec<Missing>),
    /// The sentence names the file that is missing.
    NoFile(String),
    /// The sentence says what ran into which limit.
    TimeLimit(String),
}

impl Failure {
    fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Missing(_) | Self::NoFile(_) => Exit::Missing,
            Self::TimeLimit(_) => Exit::TimeLimit,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(sentence) | Self::NoFile(sentence) | Self::TimeLimit(sentence) => f.write_str(sentence),
            Self::Missing(missing) => {
                for (index, missing) in missing.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "\nerror: " };
                    write!(f, "{separator}{missing} (--yes does it)")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for Failure {}

/// Wrong usage, as an error.
pub(crate) fn usage(sentence: impl Into<String>) -> anyhow::Error {
    Failure::Usage(sentence.into()).into()
}

/// Prints the error, one line each, and returns the exit code that belongs to it.
pub(crate) fn report(error: &anyhow::Error) -> Exit {
    eprintln!("error: {error:#}");
    exit_of(error)
}

fn exit_of(error: &anyhow::Error) -> Exit {
    error.chain().find_map(|cause| cause.downcast_ref::<Failure>()).map_or(Exit::Wrong, Failure::exit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::missing::Remedy;
    use anyhow::Context as _;

    #[test]
    fn each_failure_has_its_own_code_also_under_context() {
        let missing = Missing { what: "cc".into(), remedy: Remedy::Package("gcc") };
        let cases = [
            (usage("no such machine"), Exit::Usage),
            (Failure::Missing(vec![missing]).into(), Exit::Missing),
            (Failure::NoFile("no initrd".into()).into(), Exit::Missing),
            (Failure::TimeLimit("60 s".into()).into(), Exit::TimeLimit),
            (anyhow::anyhow!("the kernel panicked"), Exit::Wrong),
        ];
        for (error, exit) in cases {
            assert_eq!(exit_of(&error), exit, "{error}");
            assert_eq!(exit_of(&error.context("while booting")), exit);
        }
        let nested: anyhow::Result<()> = Err(usage("a")).context("b").context("c");
        assert_eq!(exit_of(&nested.unwrap_err()), Exit::Usage);
    }

    #[test]
    fn the_numbers_are_the_published_ones() {
        let all = [Exit::Right, Exit::Wrong, Exit::Usage, Exit::Missing, Exit::TimeLimit];
        assert_eq!(all.map(|exit| exit as u8), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn every_missing_thing_gets_a_line_of_its_own() {
        let missing = |what: &str, package| Missing { what: what.into(), remedy: Remedy::Package(package) };
        let failure = Failure::Missing(vec![missing("cc", "gcc"), missing("qemu-system-x86_64", "qemu-system-x86")]);
        let text = format!("error: {failure}");
        assert_eq!(text.lines().count(), 2);
        assert!(text.lines().all(|line| line.starts_with("error: ")), "{text}");
    }
}
