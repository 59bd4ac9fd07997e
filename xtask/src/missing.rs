//! What to do about a thing that is missing: one line that names it and the command, and, when the user agrees,
//! the installation itself.
//!
//! Packages come from apt-get, everything of Rust from rustup. What these print goes to stderr, because the last
//! line of stdout belongs to the verb.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::exit::Failure;
use crate::needs::Need;
use crate::workspace;

/// Whether things may be installed without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consent {
    /// `--yes`: install what is missing.
    Given,
    /// Ask on a terminal; a script gets the line and exit code 3.
    Ask,
}

/// How a missing thing is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// A Debian package.
    Package(&'static str),
    /// What rustup brings, and the arguments that make it do so.
    Rustup(&'static str, &'static str),
    /// A program that cargo builds and installs.
    Cargo(&'static str),
    /// A command that is left to the user.
    Advice(&'static str),
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sudo = if needs_sudo() { "sudo " } else { "" };
        match self {
            Self::Package(package) => write!(f, "install the package {package}: {sudo}apt-get install {package}"),
            Self::Rustup(what, arguments) => write!(f, "install {what}: rustup {arguments}"),
            Self::Cargo(program) => write!(f, "install it: cargo install --locked {program}"),
            Self::Advice(command) => write!(f, "install it: {command}"),
        }
    }
}

/// One thing that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) what: String,
    pub(crate) remedy: Remedy,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is missing; {}", self.what, self.remedy)
    }
}

/// Sees to it that everything needed is there; installs what is not, with the user's consent.
///
/// # Errors
/// [`Failure::Missing`] names what is still missing; other errors say which installation failed.
pub(crate) fn require(needs: &[Need], consent: Consent) -> Result<()> {
    let mut missing: Vec<Missing> = Vec::new();
    for need in needs {
        if let Err(thing) = need.look()
            && !missing.contains(&thing)
        {
            missing.push(thing);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    if consent == Consent::Ask && !(is_interactive() && ask(&missing)?) {
        return Err(Failure::Missing(missing).into());
    }
    install(&missing)?;
    let still: Vec<Missing> = needs.iter().filter_map(|need| need.look().err()).collect();
    if still.is_empty() { Ok(()) } else { Err(Failure::Missing(still).into()) }
}

fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

fn ask(missing: &[Missing]) -> Result<bool> {
    for thing in missing {
        eprintln!("{thing}");
    }
    eprint!("Install now? [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn install(missing: &[Missing]) -> Result<()> {
    let packages: Vec<&str> = missing
        .iter()
        .filter_map(|thing| if let Remedy::Package(package) = thing.remedy { Some(package) } else { None })
        .collect();
    if !packages.is_empty() {
        install_packages(&packages, missing)?;
    }
    for thing in missing {
        match thing.remedy {
            Remedy::Package(_) => {}
            Remedy::Rustup(_, arguments) => {
                let Some(rustup) = workspace::find_program("rustup") else {
                    return Err(Failure::Missing(vec![thing.clone(), rustup_itself()]).into());
                };
                carry_out(Command::new(rustup).args(arguments.split(' ')).current_dir(workspace::root()))?;
            }
            Remedy::Cargo(program) => carry_out(workspace::cargo().args(["install", "--locked", program]))?,
            Remedy::Advice(_) => return Err(Failure::Missing(vec![thing.clone()]).into()),
        }
    }
    Ok(())
}

fn rustup_itself() -> Missing {
    Need::Rustup.look().err().unwrap_or_else(|| Missing { what: "rustup".into(), remedy: Remedy::Advice("rustup") })
}

/// One call of apt-get per package. In one call for both emulators apt-get gives up where a newer qemu-utils from
/// backports is installed already: it then looks for versions that suit all of them at once and finds none. One
/// after the other, each finds its own.
fn install_packages(packages: &[&str], missing: &[Missing]) -> Result<()> {
    if workspace::find_program("apt-get").is_none() {
        let lines = missing.iter().map(|thing| format!("{thing}, but there is no apt-get here"));
        let sentence = lines.collect::<Vec<_>>().join("\nerror: ");
        return Err(Failure::NoFile(sentence).into());
    }
    // A fresh machine has no package lists. Lists that cannot be renewed may still be good enough.
    if let Err(error) = carry_out(apt_get().arg("update")) {
        eprintln!("xtask: {error:#}; going on with the package lists that are there");
    }
    for package in packages {
        carry_out(apt_get().args(["install", "-y", "--no-install-recommends", package]))?;
    }
    Ok(())
}

fn apt_get() -> Command {
    const QUIET: (&str, &str) = ("DEBIAN_FRONTEND", "noninteractive");
    if !needs_sudo() {
        let mut command = Command::new("apt-get");
        command.env(QUIET.0, QUIET.1);
        return command;
    }
    // sudo hands our environment on only where it is told to.
    let mut command = Command::new("sudo");
    command.args(["env", &format!("{}={}", QUIET.0, QUIET.1), "apt-get"]);
    command
}

fn needs_sudo() -> bool {
    !is_root() && workspace::find_program("sudo").is_some()
}

#[cfg(unix)]
fn is_root() -> bool {
    // SAFETY: geteuid takes nothing, touches no memory of ours and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

#[cfg(not(unix))]
fn is_root() -> bool {
    false
}

fn carry_out(command: &mut Command) -> Result<()> {
    let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    let line = words.join(" ".as_ref()).to_string_lossy().into_owned();
    eprintln!("xtask: {line}");
    // sudo may have to ask for a password, so stdin stays.
    let status = command.stdout(Stdio::from(io::stderr())).status().with_context(|| line.clone())?;
    if !status.success() {
        bail!("`{line}` failed with {status}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_the_thing_the_package_and_the_command() {
        let missing = Missing { what: "qemu-system-aarch64".into(), remedy: Remedy::Package("qemu-system-arm") };
        let line = missing.to_string();
        assert!(line.starts_with("qemu-system-aarch64 is missing; "), "{line}");
        assert!(line.contains("apt-get install qemu-system-arm"), "{line}");
    }

    #[test]
    fn a_command_that_fails_is_named() {
        let error = carry_out(&mut Command::new("false")).unwrap_err();
        assert!(error.to_string().contains("`false` failed"), "{error}");
        assert!(carry_out(&mut Command::new("true")).is_ok());
    }
}
