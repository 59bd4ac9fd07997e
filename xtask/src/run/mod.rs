//! `cargo xtask run`: one boot, with its serial line on our stdout.
//!
//! [`machine`] says what QEMU is to be, by the options and the matrix. Here it is started, watched and judged, for `run`
//! and for all else that boots: `test`, and `oracle` with Linux in the kernel's place.

mod machine;

use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};

use crate::boot::{BootBy, Folder};
use crate::cli::RunArgs;
use crate::exit::{Exit, Failure};
use crate::image::{self, Report};
use crate::instructions;
use crate::matrix::{self, Machine};
use crate::missing;
use crate::needs::Need;
use crate::process::{self, Ending, Input, Next, Piece};
use crate::qemu::{Clock, Console, Debugger, Qemu};
use crate::serial::{Serial, Speaker};
use crate::verdict::{self, Verdict};
use crate::workspace;
pub(crate) use machine::of_matrix;
use machine::{Terminal, boot_by, kernel};

/// The time limit of a boot that nobody watches.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// After a panic the kernel has this long for its report and its exit.
const AFTER_PANIC: Duration = Duration::from_secs(2);

/// A loader that gives up has this long for its message and to power off.
const AFTER_LOADER_ERROR: Duration = Duration::from_secs(10);

/// Builds, boots, and says how it went.
pub(crate) fn run(args: &RunArgs) -> Result<Exit> {
    let config = args.config.as_deref().map(matrix::find).transpose()?;
    let terminal = if io::stdin().is_terminal() && io::stdout().is_terminal() { Terminal::There } else { Terminal::No };
    let mut qemu = machine::of_options(args, config.as_ref(), terminal)?;
    if args.dry_run {
        println!("{}", qemu.shell_line());
        return Ok(Exit::Right);
    }
    let by = boot_by(args, config.as_ref());
    missing::require(&Need::of_boot(qemu.arch, by), args.consent())?;
    image::build(kernel(args, config.as_ref(), qemu.arch), Report::Progress)?;
    if by == BootBy::Uefi {
        image::build_loader(qemu.arch, Report::Progress)?;
    }
    let _folder = claim(&mut qemu)?;
    if qemu.debugger == Debugger::Waiting {
        let elf = workspace::elf_of(&qemu.image);
        eprintln!("xtask: waiting for gdb: gdb-multiarch {} -ex 'target remote :1234'", elf.display());
    }
    let limit = time_limit(args, config.as_ref(), &qemu);
    let boot = boot(&qemu, limit, &mut Patient(io::stdout()))?;
    if qemu.clock == Clock::Instructions
        && let Some(count) = instructions::to_prompt(qemu.arch, boot.serial.lines())
    {
        println!("instructions from entry to prompt: {count}");
    }
    match boot.verdict {
        Verdict::Right => Ok(Exit::Right),
        Verdict::Wrong(reason) => Err(anyhow!(reason)),
        Verdict::TimeLimit => {
            let seconds = limit.unwrap_or_default().as_secs();
            let last = boot.serial.lines().last().map_or("nothing", String::as_str);
            let sentence = format!("the time limit of {seconds} s was reached; the last line was: {last}");
            Err(Failure::TimeLimit(sentence).into())
        }
    }
}

/// Makes the folder of the machine's drive, or of its firmware's files, this boot's own, until what is returned goes.
///
/// # Errors
/// When there can be no folder.
pub(crate) fn claim(qemu: &mut Qemu) -> Result<Option<Folder>> {
    let drive = qemu.drive.as_mut().map(|drive| &mut drive.folder);
    let firmware = qemu.firmware.as_mut().map(|loaded| &mut loaded.folder);
    // A machine that has both has one folder for them.
    let mut folders: Vec<_> = drive.into_iter().chain(firmware).collect();
    let Some(wanted) = folders.first() else { return Ok(None) };
    let claimed = Folder::claim(wanted)?;
    folders.iter_mut().for_each(|folder| folder.clone_from(&claimed.path));
    Ok(Some(claimed))
}

fn time_limit(args: &RunArgs, config: Option<&Machine>, qemu: &Qemu) -> Option<Duration> {
    let watched = qemu.console == Console::Interactive || qemu.debugger == Debugger::Waiting;
    let default = config.map_or_else(|| TIME_LIMIT + boot_by(args, None).grace(), |machine| machine.timeout);
    args.timeout.map(Duration::from_secs).or((!watched).then_some(default))
}

/// What a boot left behind.
pub(crate) struct Boot {
    pub(crate) verdict: Verdict,
    pub(crate) ending: Ending,
    pub(crate) serial: Serial,
}

/// Starts the machine, shows its serial line (and QEMU's own messages) on `out`, and judges its end.
///
/// # Errors
/// When QEMU cannot be started, `out` not be written to, or a file of the machine's own firmware not be made.
pub(crate) fn boot(qemu: &Qemu, limit: Option<Duration>, out: &mut dyn Write) -> Result<Boot> {
    qemu.prepare()?;
    let interactive = qemu.console == Console::Interactive;
    let input = if interactive { Input::Terminal } else { Input::Nothing };
    let first = if qemu.drive.is_some() { Speaker::Firmware } else { Speaker::Kernel };
    let mut serial = Serial::new(workspace::elf_of(&qemu.image), first);
    let ending = process::watch(&mut qemu.command(), input, limit, &mut |piece| {
        match piece {
            Piece::Output(bytes) => serial.feed(&bytes, out).context("writing the serial line")?,
            Piece::Diagnostic(bytes) => out.write_all(&bytes)?,
        }
        out.flush()?;
        // On a terminal a person decides when the end has come.
        Ok(match serial.who_gave_up().filter(|_| !interactive) {
            None => Next::GoOn,
            Some(Speaker::Kernel) => Next::EndWithin(AFTER_PANIC),
            Some(Speaker::Loader) => Next::EndWithin(AFTER_LOADER_ERROR),
            // It waits for somebody to type.
            Some(Speaker::Firmware) => Next::EndWithin(Duration::ZERO),
        })
    })?;
    serial.finish(out)?;
    let ended = interactive && matches!(ending, Ending::Exited(status) if status.success());
    // By Ctrl-A X. A loader that gives up ends the machine like that, too.
    let left = ended && serial.who_gave_up().is_none_or(|who| who == Speaker::Kernel);
    let loaded = qemu.drive.is_some();
    let verdict = match left {
        true => Verdict::Right,
        false if loaded && !serial.heard_kernel() && serial.panic().is_none() => verdict::judge_silence(ending),
        false => verdict::judge(qemu.arch, qemu.test_device, ending, serial.panic()),
    };
    Ok(Boot { verdict, ending, serial })
}

/// Our stdout while QEMU has the terminal: it makes the terminal non-blocking, for us as well.
struct Patient<W>(W);

impl<W: Write> Patient<W> {
    fn insist<T>(&mut self, mut attempt: impl FnMut(&mut W) -> io::Result<T>) -> io::Result<T> {
        loop {
            match attempt(&mut self.0) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                result => return result,
            }
        }
    }
}

impl<W: Write> Write for Patient<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.insist(|inner| inner.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.insist(Write::flush)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: RunArgs,
    }

    pub(super) fn args(words: &[&str]) -> RunArgs {
        Line::try_parse_from(["run"].iter().chain(words)).unwrap().args
    }

    fn described(words: &[&str], terminal: Terminal) -> Qemu {
        machine::of_options(&args(words), None, terminal).unwrap()
    }

    #[test]
    fn only_a_boot_that_nobody_watches_has_a_limit_of_its_own() {
        let limit = |words: &[&str], terminal| {
            let words = [&["--arch", "aarch64"], words].concat();
            time_limit(&args(&words), None, &described(&words, terminal))
        };
        assert_eq!(limit(&[], Terminal::No), Some(TIME_LIMIT));
        assert_eq!(limit(&["--gdb"], Terminal::No), None);
        assert_eq!(limit(&[], Terminal::There), None);
        assert_eq!(limit(&["--timeout", "5"], Terminal::There), Some(Duration::from_secs(5)));
        assert!(limit(&["--boot", "uefi"], Terminal::No) > Some(TIME_LIMIT));
    }

    #[test]
    fn two_boots_of_a_board_at_once_have_two_device_trees() {
        let wanted = std::env::temp_dir().join(format!("xtask-board-{}", std::process::id()));
        let boards = ["1", "4"].map(|smp| {
            let words = ["--arch", "aarch64", "--machine", "raspi3b", "--smp", smp];
            let mut qemu = described(&words, Terminal::No);
            qemu.firmware.as_mut().unwrap().folder.clone_from(&wanted);
            (claim(&mut qemu).unwrap(), qemu.shell_line())
        });
        assert_ne!(boards[0].1.split("-dtb").nth(1), boards[1].1.split("-dtb").nth(1));
        boards.into_iter().flat_map(|(folder, _)| folder).for_each(|it| std::fs::remove_dir_all(&it.path).unwrap());
    }

    #[test]
    fn a_terminal_that_is_not_ready_is_waited_for() {
        struct Busy(u32, Vec<u8>);
        impl Write for Busy {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 += 1;
                if !self.0.is_multiple_of(3) {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                self.1.write(&bytes[..1])
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut out = Patient(Busy(0, Vec::new()));
        out.write_all(b"text").unwrap();
        assert_eq!(out.0.1, b"text");
    }
}
