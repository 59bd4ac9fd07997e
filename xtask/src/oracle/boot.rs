//! One machine, booted with Linux or with our kernel.
//!
//! QEMU's command line is the same for both but for the kernel, the initial RAM disk, and what of the kernel command
//! line says where output goes and what is to be printed.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::{Facts, initrd, log};
use crate::arch::Arch;
use crate::boot::flash::Flash;
use crate::debian::Linux;
use crate::matrix::Machine;
use crate::process::{self, Ending, Input, Next, Piece};
use crate::qemu::Qemu;
use crate::run;
use crate::serial::{Serial, Speaker};
use crate::verdict::Verdict;
use crate::workspace;

/// Makes both kernels print all they have to say of zones and zonelists.
const TELL_ALL: &str = "mminit_loglevel=4 loglevel=8";

/// What our monitor is asked.
const COMMANDS: &str = "zoneinfo; numa; poweroff";

/// Linux may take this long to stop after its last line, or to panic in full.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What Linux said.
pub(super) struct Answer {
    pub(super) kernel: String,
    pub(super) facts: Facts,
}

/// The folder of logs and of the machines' files.
///
/// # Errors
/// When it cannot be made.
pub(super) fn folder() -> Result<PathBuf> {
    let folder = workspace::target_dir()?.join("oracle");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

/// Boots Linux on the machine.
///
/// # Errors
/// When QEMU cannot be started, or Linux does not come to its userland in time.
pub(super) fn linux(machine: &Machine, linux: &Linux, initrd: &Path, limit: Duration) -> Result<Answer> {
    let console = match machine.arch {
        Arch::X86_64 => "console=ttyS0",
        Arch::Aarch64 => "console=ttyAMA0 earlycon",
    };
    let append = words(&[console, "panic=-1 nokaslr", TELL_ALL, &machine.options]);
    let folder = folder()?;
    let mut qemu = of(machine, append, folder.join(format!("{}.linux", machine.name)))?;
    qemu.image.clone_from(&linux.kernel);
    qemu.initrd = Some(initrd.to_owned());
    qemu.exec = None;
    qemu.drive = None;
    qemu.prepare()?;

    let path = folder.join(format!("{}.linux.log", machine.name));
    let mut out = File::create(&path).with_context(|| path.display().to_string())?;
    writeln!(out, "$ {}", qemu.shell_line())?;
    // Linux names the functions of its backtraces itself.
    let first = if qemu.flash.is_some() { Speaker::Firmware } else { Speaker::Kernel };
    let mut serial = Serial::new(PathBuf::new(), first);
    let ending = process::watch(&mut qemu.command(), Input::Nothing, Some(limit), &mut |piece| {
        match piece {
            Piece::Output(bytes) => serial.feed(&bytes, &mut out)?,
            Piece::Diagnostic(bytes) => out.write_all(&bytes)?,
        }
        let end = serial.panic().is_some() || is_done(serial.lines());
        Ok(if end { Next::EndWithin(LAST_WORDS) } else { Next::GoOn })
    })?;
    serial.finish(&mut out)?;
    if !is_done(serial.lines()) {
        let reason = match (serial.panic(), ending) {
            (Some(panic), _) => panic.to_owned(),
            (None, Ending::TimeLimit) => format!("not done within {} s", limit.as_secs()),
            (None, ending) => format!("QEMU ended before Linux was done ({ending:?})"),
        };
        bail!("{reason}; its log: {}", path.display());
    }
    let kernel = log::linux_version(serial.lines()).context("a log without Linux's version")?;
    Ok(Answer { kernel: kernel.to_owned(), facts: log::facts(serial.lines()) })
}

/// Boots our kernel, which is built, on the machine.
///
/// # Errors
/// When QEMU cannot be started, or the kernel does not power off as it should.
pub(super) fn ours(machine: &Machine) -> Result<Facts> {
    let folder = folder()?;
    let mut qemu = of(machine, words(&[TELL_ALL, &machine.options]), folder.join(&machine.name))?;
    qemu.exec = Some(COMMANDS.to_owned());
    let _folder = run::claim(&mut qemu)?;
    let path = folder.join(format!("{}.log", machine.name));
    let mut out = File::create(&path).with_context(|| path.display().to_string())?;
    writeln!(out, "$ {}", qemu.shell_line())?;
    let boot = run::boot(&qemu, Some(machine.timeout), &mut out)?;
    match boot.verdict {
        Verdict::Right => Ok(log::facts(boot.serial.lines())),
        Verdict::Wrong(reason) => bail!("{reason}; its log: {}", path.display()),
        Verdict::TimeLimit => bail!("not done within {} s; its log: {}", machine.timeout.as_secs(), path.display()),
    }
}

/// The machine's QEMU command line as a record keeps it: without the host's folders and the kernels' own words.
///
/// # Errors
/// When cargo does not say where the image lies.
pub(super) fn written(machine: &Machine) -> Result<String> {
    let mut qemu = of(machine, machine.options.clone(), PathBuf::from("FILES"))?;
    qemu.image = PathBuf::from("KERNEL");
    qemu.drive = None;
    if let Some(flash) = &mut qemu.flash {
        *flash = Flash { code: PathBuf::from("FIRMWARE"), variables: PathBuf::from("VARIABLES") };
    }
    qemu.initrd = None;
    qemu.exec = None;
    Ok(qemu.shell_line())
}

/// The fingerprint of the UEFI firmware that the machine has.
///
/// # Errors
/// When there is none on this host.
pub(super) fn firmware(machine: &Machine) -> Result<Option<String>> {
    run::of_matrix(machine)?.flash.as_ref().map(Flash::fingerprint).transpose()
}

fn of(machine: &Machine, append: String, files: PathBuf) -> Result<Qemu> {
    let mut qemu = run::of_matrix(machine)?;
    qemu.append = append;
    if let Some(drive) = &mut qemu.drive {
        drive.folder.clone_from(&files);
    }
    if let Some(firmware) = &mut qemu.firmware {
        firmware.folder = files;
    }
    Ok(qemu)
}

fn words(parts: &[&str]) -> String {
    parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(" ")
}

/// Whether the script of the RAM disk is at its end; what Linux says while it powers off may follow.
fn is_done(lines: &[String]) -> bool {
    lines.iter().rev().take(8).any(|line| line == initrd::DONE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix;

    #[test]
    fn both_kernels_boot_on_the_same_hardware() {
        let machine = matrix::find("pc-srat-hotplug").unwrap();
        let line = written(&machine).unwrap();
        assert!(line.contains("-acpitable file=FILES/srat.bin -kernel KERNEL"), "{line}");
        assert!(line.ends_with("-append 'movable_node exit=isa-debug'"), "{line}");
    }

    #[test]
    fn the_end_is_among_the_last_lines() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        assert!(is_done(&lines("a\n== done\n[    1.0] reboot: Power down")));
        assert!(!is_done(&lines("a\n== don")));
        assert!(!is_done(&[]));
    }
}
