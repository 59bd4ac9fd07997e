//! `cargo xtask run`: one boot, with its serial line on our stdout.

use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};

use crate::arch::Arch;
use crate::boot::bios::Bios;
use crate::boot::drive::{Drive, Medium};
use crate::boot::esp::Loader;
use crate::boot::flash::Flash;
use crate::boot::{self, BootBy, Folder, limine};
use crate::cli::RunArgs;
use crate::exit::{Exit, Failure, usage};
use crate::firmware::board::Board;
use crate::firmware::{Firmware, Loaded};
use crate::image::{self, Report};
use crate::instructions;
use crate::kernel::Kernel;
use crate::matrix::{self, Machine};
use crate::memory::MemorySize;
use crate::missing;
use crate::needs::Need;
use crate::numa::Numa;
use crate::process::{self, Ending, Input, Next, Piece};
use crate::qemu::{Clock, Console, Debugger, Qemu, TestDevice};
use crate::serial::{Serial, Speaker};
use crate::verdict::{self, Verdict};
use crate::workspace;

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
    let mut qemu = machine(args, config.as_ref(), terminal)?;
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

/// The machine of the matrix, as it is there.
///
/// # Errors
/// When cargo does not say where the image lies.
pub(crate) fn of_matrix(config: &Machine) -> Result<Qemu> {
    machine(&RunArgs::default(), Some(config), Terminal::No)
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

/// Who loads the kernel, by the options, on top of the machine of the matrix that they name.
fn boot_by(args: &RunArgs, config: Option<&Machine>) -> BootBy {
    args.boot.or_else(|| config.map(|machine| machine.boot)).unwrap_or_default()
}

/// The drive that the firmware boots from, where the kernel does not come from QEMU.
fn drive(args: &RunArgs, config: Option<&Machine>, arch: Arch) -> Result<Option<Drive>> {
    let by = boot_by(args, config);
    if args.limine.is_some() && !by.is_limine() {
        return Err(usage("--limine names the files of a boot by Limine: add --boot limine"));
    }
    let loader = match by {
        BootBy::Direct => return Ok(None),
        BootBy::Uefi => Loader::Ours(workspace::loader_program(arch)?),
        BootBy::Limine | BootBy::LimineBios => Loader::Limine(limine::program(arch, args.limine.as_deref())?),
    };
    if let (BootBy::LimineBios, Loader::Limine(program)) = (by, &loader) {
        Bios::beside(program)?;
    }
    let medium = config.map_or_else(Medium::default, |machine| machine.medium);
    let name = config.map_or_else(|| format!("run-{arch}-{by}"), |machine| machine.name.clone());
    Ok(Some(Drive {
        loader,
        damage: config.and_then(|machine| machine.kernel_damage),
        medium: if by == BootBy::LimineBios { Medium::Image } else { medium },
        folder: workspace::machine_logs()?.join(name),
    }))
}

fn time_limit(args: &RunArgs, config: Option<&Machine>, qemu: &Qemu) -> Option<Duration> {
    let watched = qemu.console == Console::Interactive || qemu.debugger == Debugger::Waiting;
    let default = config.map_or_else(|| TIME_LIMIT + boot_by(args, None).grace(), |machine| machine.timeout);
    args.timeout.map(Duration::from_secs).or((!watched).then_some(default))
}

/// The kernel that the options ask for, on top of the machine of the matrix that they name.
fn kernel(args: &RunArgs, config: Option<&Machine>, arch: Arch) -> Kernel {
    let model = args.model.or_else(|| config.map(|machine| machine.kernel().model));
    Kernel { arch, model: model.unwrap_or_default() }
}

/// Whether somebody sits in front of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Terminal {
    There,
    No,
}

/// The machine that the options describe, on top of the one of the matrix that they name.
fn machine(args: &RunArgs, config: Option<&Machine>, terminal: Terminal) -> Result<Qemu> {
    let arch = match (args.arch, config) {
        (Some(arch), Some(machine)) if arch != machine.arch => {
            return Err(usage(format!("{} is an {} machine, not {arch}", machine.name, machine.arch)));
        }
        (Some(arch), _) => arch,
        (None, Some(machine)) => machine.arch,
        (None, None) => Arch::host()?,
    };
    let numa = args.numa.clone().or_else(|| config.and_then(|machine| machine.numa.clone()));
    let memory = memory(args.memory, numa.as_ref(), config)?;
    let smp = smp(args, numa.as_ref(), config)?;
    let distances = args.numa_dist.clone().or_else(|| config.map(|machine| machine.distances.clone()));
    let distances = distances.unwrap_or_default();
    let nodes = numa.as_ref().map_or(0, |numa| numa.nodes().len());
    if let Some(distance) = distances.iter().find(|distance| distance.from.max(distance.to) >= nodes) {
        return Err(usage(format!(
            "--numa-dist names nodes {} and {}, but there are {nodes} nodes",
            distance.from, distance.to
        )));
    }
    let exec = args.exec.clone().or_else(|| config.map(|machine| machine.exec.clone()));
    let exec = exec.filter(|commands| !commands.trim().is_empty());
    if exec.as_ref().is_some_and(|commands| commands.contains('"')) {
        return Err(usage("--exec: the kernel reads the commands between double quotes, so they cannot hold one"));
    }
    let (console, exec) = match (exec, terminal) {
        (Some(commands), _) if end_the_machine(&commands) => (Console::Captured, Some(commands)),
        (exec, Terminal::There) => (Console::Interactive, exec),
        (None, Terminal::No) => (Console::Captured, Some("poweroff".to_owned())),
        (Some(commands), Terminal::No) => (Console::Captured, Some(format!("{commands}; poweroff"))),
    };
    let counted = config.is_some_and(|machine| machine.max_instructions.is_some());
    let absent = args.no_test_device || config.is_some_and(|machine| machine.test_device == TestDevice::Absent);
    let initrd = args.initrd.clone().or_else(|| {
        let file = config?.initrd.as_ref()?;
        Some(workspace::root().join(file))
    });
    if let Some(initrd) = initrd.as_ref().filter(|initrd| !initrd.is_file()) {
        return Err(Failure::NoFile(format!("--initrd: there is no file {}", initrd.display())).into());
    }
    let firmware = config.and_then(|machine| Some((machine, machine.firmware.clone()?)));
    if let Some((machine, _)) = firmware.as_ref().filter(|(_, firmware)| firmware.lies() && initrd.is_some()) {
        return Err(usage(format!("--initrd: the firmware of {} loads none", machine.name)));
    }
    let kind = args.machine.as_ref().or_else(|| config.map(|machine| &machine.machine));
    let kind = kind.cloned().unwrap_or_else(|| arch.default_machine().to_owned());
    let by = boot_by(args, config);
    boot::check_machine(arch, &kind, by)?;
    if let Some((machine, _)) = firmware.as_ref().filter(|(_, firmware)| !matches!(firmware, Firmware::Tables(_)))
        && by != BootBy::Direct
    {
        return Err(usage(format!("--boot {by}: {} has firmware of its own, which enters the kernel", machine.name)));
    }
    let dtb = args.dtb.clone().map_or_else(
        || config.and_then(|machine| Some(machine.dtb.as_ref()?.found())).transpose(),
        |file| Ok(Some(file)),
    )?;
    let firmware = match (firmware.map(|(_, firmware)| firmware), &dtb) {
        (_, Some(_)) if arch == Arch::X86_64 => return Err(usage("--dtb: x86_64 machines have no device tree")),
        (_, Some(_)) if by != BootBy::Direct => return Err(usage(format!("--dtb: --boot {by} has the firmware's"))),
        (Some(_), Some(_)) => return Err(usage("--dtb: the machine of the matrix says what its firmware says")),
        (firmware @ Some(_), None) => firmware,
        (None, Some(file)) => Some(Firmware::Board(Board::given(file, &kind)?)),
        (None, None) => Board::of_machine(&kind, smp)?.map(Firmware::Board),
    };
    let firmware = firmware.map(|firmware| {
        let name = config.map_or_else(|| kind.replace(',', "-"), |machine| machine.name.clone());
        anyhow::Ok(Loaded { firmware, folder: workspace::machine_logs()?.join(name) })
    });
    Ok(Qemu {
        arch,
        machine: kind,
        cpu: args.cpu.clone().or_else(|| config.and_then(|machine| machine.cpu.clone())),
        memory,
        room: config.filter(|_| args.memory.is_none()).and_then(|machine| machine.room),
        smp,
        numa,
        distances,
        extra: config.map(|machine| machine.extra.clone()).unwrap_or_default(),
        image: workspace::kernel_image(kernel(args, config, arch))?,
        initrd,
        firmware: firmware.transpose()?,
        flash: by.has_uefi().then(|| Flash::of(arch)).transpose()?,
        drive: drive(args, config, arch)?,
        append: args.append.clone().or_else(|| config.map(Machine::command_line)).unwrap_or_default(),
        exec,
        test_device: if absent { TestDevice::Absent } else { TestDevice::Present },
        console,
        debugger: if args.gdb { Debugger::Waiting } else { Debugger::None },
        clock: if args.icount || counted { Clock::Instructions } else { Clock::Host },
    })
}

fn memory(asked: Option<MemorySize>, numa: Option<&Numa>, config: Option<&Machine>) -> Result<MemorySize> {
    match (asked, numa) {
        (Some(memory), Some(numa)) if memory != numa.memory() => {
            Err(usage(format!("--memory {memory} is not what the nodes add up to: {}", numa.memory())))
        }
        (_, Some(numa)) => Ok(numa.memory()),
        (Some(memory), None) => Ok(memory),
        (None, None) => Ok(config.map_or(MemorySize::gib(1), |machine| machine.memory)),
    }
}

fn smp(args: &RunArgs, numa: Option<&Numa>, config: Option<&Machine>) -> Result<u32> {
    let needed = numa.map_or(1, Numa::cpu_count);
    let of_config = config.filter(|_| args.numa.is_none()).map(|machine| machine.smp);
    let smp = args.smp.or(of_config).unwrap_or(needed);
    if smp < needed {
        return Err(usage(format!("the nodes name CPU {}, but --smp {smp} gives CPUs 0 to {}", needed - 1, smp - 1)));
    }
    Ok(smp)
}

/// Whether nothing is left to type after these commands.
fn end_the_machine(commands: &str) -> bool {
    commands.split(';').any(|command| matches!(command.trim(), "poweroff" | "reboot"))
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

    fn args(words: &[&str]) -> RunArgs {
        Line::try_parse_from(["run"].iter().chain(words)).unwrap().args
    }

    fn described(words: &[&str], config: Option<&Machine>, terminal: Terminal) -> Result<Qemu> {
        machine(&args(words), config, terminal)
    }

    fn in_script(words: &[&str]) -> Qemu {
        described(&[&["--arch", "x86_64"], words].concat(), None, Terminal::No).unwrap()
    }

    #[test]
    fn without_a_terminal_the_machine_powers_off() {
        let qemu = in_script(&[]);
        assert_eq!((qemu.exec.as_deref(), qemu.console), (Some("poweroff"), Console::Captured));
        assert_eq!(time_limit(&args(&[]), None, &qemu), Some(TIME_LIMIT));
    }

    #[test]
    fn on_a_terminal_there_is_a_prompt_unless_commands_are_given() {
        let qemu = described(&["--arch", "aarch64"], None, Terminal::There).unwrap();
        assert_eq!((qemu.exec.clone(), qemu.console), (None, Console::Interactive));
        assert_eq!(time_limit(&args(&[]), None, &qemu), None);
        assert_eq!(time_limit(&args(&["--timeout", "5"]), None, &qemu), Some(Duration::from_secs(5)));
    }

    #[test]
    fn commands_are_followed_by_the_prompt_or_by_the_end() {
        let exec = |commands, terminal| {
            let qemu = described(&["--arch", "aarch64", "--exec", commands], None, terminal).unwrap();
            (qemu.exec.unwrap(), qemu.console)
        };
        assert_eq!(exec("verify", Terminal::There), ("verify".into(), Console::Interactive));
        assert_eq!(exec("verify", Terminal::No), ("verify; poweroff".into(), Console::Captured));
        for terminal in [Terminal::There, Terminal::No] {
            assert_eq!(exec("verify; poweroff", terminal), ("verify; poweroff".into(), Console::Captured));
            assert_eq!(exec("reboot;", terminal), ("reboot;".into(), Console::Captured));
        }
    }

    #[test]
    fn a_config_is_the_whole_machine_and_options_change_it() {
        let config = matrix::read().unwrap().into_iter().find(|machine| machine.numa.is_some()).unwrap();
        let qemu = described(&[], Some(&config), Terminal::There).unwrap();
        assert_eq!(qemu.exec.as_deref(), Some(config.exec.as_str()));
        assert_eq!((qemu.smp, qemu.memory, &qemu.append), (config.smp, config.memory, &config.command_line()));
        let qemu = described(&["--exec", "", "--numa", "2G:0/2G:1"], Some(&config), Terminal::There).unwrap();
        assert_eq!((qemu.console, qemu.smp, qemu.memory), (Console::Interactive, 2, MemorySize::gib(4)));
        let other = if config.arch == Arch::X86_64 { "aarch64" } else { "x86_64" };
        assert!(described(&["--arch", other], Some(&config), Terminal::No).is_err());
    }

    #[test]
    fn two_boots_of_a_board_at_once_have_two_device_trees() {
        let wanted = std::env::temp_dir().join(format!("xtask-board-{}", std::process::id()));
        let boards = ["1", "4"].map(|smp| {
            let words = ["--arch", "aarch64", "--machine", "raspi3b", "--smp", smp];
            let mut qemu = described(&words, None, Terminal::No).unwrap();
            qemu.firmware.as_mut().unwrap().folder.clone_from(&wanted);
            (claim(&mut qemu).unwrap(), qemu.shell_line())
        });
        assert_ne!(boards[0].1.split("-dtb").nth(1), boards[1].1.split("-dtb").nth(1));
        boards.into_iter().flat_map(|(folder, _)| folder).for_each(|it| std::fs::remove_dir_all(&it.path).unwrap());
    }

    #[test]
    fn nodes_decide_memory_and_cpus() {
        let qemu = in_script(&["--numa", "1G:0-1/3G:2-3"]);
        assert_eq!((qemu.memory, qemu.smp), (MemorySize::gib(4), 4));
        assert_eq!(in_script(&["--numa", "1G:0", "--smp", "3"]).smp, 3);
    }

    #[test]
    fn what_cannot_be_is_wrong_usage() {
        for words in [
            &["--numa", "1G:0-3", "--smp", "2"][..],
            &["--numa", "1G:0/1G:1", "--memory", "4G"],
            &["--numa-dist", "0-1=20"],
            &["--numa", "1G:0/1G:1", "--numa-dist", "0-2=20"],
            &["--exec", "echo \"x\""],
            &["--machine", "microvm", "--boot", "uefi"],
            &["--machine", "microvm", "--boot", "limine", "--limine", "/nowhere"],
            &["--machine", "microvm", "--boot", "limine-bios"],
            &["--limine", "/nowhere"],
        ] {
            let error = described(&[&["--arch", "x86_64"], words].concat(), None, Terminal::No).unwrap_err();
            assert!(matches!(error.downcast_ref(), Some(Failure::Usage(_))), "{words:?}: {error}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_missing() {
        let error = described(&["--arch", "x86_64", "--initrd", "/nowhere/initrd"], None, Terminal::No).unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(Failure::NoFile(_))), "{error}");
    }

    #[test]
    fn limine_that_is_not_where_it_should_be_is_missing() {
        let words = ["--arch", "aarch64", "--boot", "limine", "--limine", "/nowhere"];
        let error = described(&words, None, Terminal::No).unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(Failure::NoFile(_))), "{error}");
    }

    #[test]
    fn a_boot_by_firmware_takes_the_options_of_any_boot() {
        let words = ["--boot", "uefi", "--gdb", "--icount", "--no-test-device", "--append", "selftest"];
        let qemu = in_script(&words);
        assert!(qemu.flash.is_some() && qemu.drive.is_some());
        assert_eq!(qemu.kernel_command_line(), "selftest exec=\"poweroff\"");
        let line = qemu.shell_line();
        for part in [" -s -S ", " -icount ", "run-x86_64-uefi/esp "] {
            assert!(line.contains(part), "{line}");
        }
        assert!(!line.contains("isa-debug-exit"), "{line}");
        let config = matrix::read().unwrap().into_iter().find(|machine| machine.boot == BootBy::Uefi).unwrap();
        let arch = config.arch;
        assert!(described(&["--boot", "direct"], Some(&config), Terminal::No).unwrap().flash.is_none());
        let liar = matrix::read()
            .unwrap()
            .into_iter()
            .find(|machine| machine.arch == arch && machine.firmware.as_ref().is_some_and(Firmware::lies));
        let error = described(&["--boot", "uefi"], liar.as_ref(), Terminal::No).unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(Failure::Usage(_))), "{error}");
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
