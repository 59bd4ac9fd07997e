//! From the options of `run`, on top of the machine of the matrix that they name, to the machine that QEMU is to be.
//!
//! An option outweighs the matrix, the matrix the defaults. What cannot be together is wrong usage, said before anything
//! is built or started; nothing here writes a file.

use anyhow::Result;

use crate::arch::Arch;
use crate::boot::bios::Bios;
use crate::boot::drive::{Drive, Medium};
use crate::boot::esp::Loader;
use crate::boot::flash::Flash;
use crate::boot::{self, BootBy, limine};
use crate::cli::RunArgs;
use crate::exit::{Failure, usage};
use crate::firmware::board::Board;
use crate::firmware::{Firmware, Loaded};
use crate::kernel::Kernel;
use crate::matrix::Machine;
use crate::memory::MemorySize;
use crate::numa::Numa;
use crate::qemu::{Clock, Console, Debugger, Qemu, TestDevice};
use crate::workspace;

/// Whether somebody sits in front of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Terminal {
    There,
    No,
}

/// The machine of the matrix, as it is there.
///
/// # Errors
/// When cargo does not say where the image lies.
pub(crate) fn of_matrix(config: &Machine) -> Result<Qemu> {
    of_options(&RunArgs::default(), Some(config), Terminal::No)
}

/// The machine that the options describe, on top of the one of the matrix that they name.
///
/// # Errors
/// Wrong usage where the options do not go together; [`Failure::NoFile`] where a file is not there.
pub(super) fn of_options(args: &RunArgs, config: Option<&Machine>, terminal: Terminal) -> Result<Qemu> {
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
        flash: by.has_uefi().then(|| Flash::of_host(arch)).transpose()?,
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

/// Who loads the kernel, by the options, on top of the machine of the matrix that they name.
pub(super) fn boot_by(args: &RunArgs, config: Option<&Machine>) -> BootBy {
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

/// The kernel that the options ask for, on top of the machine of the matrix that they name.
pub(super) fn kernel(args: &RunArgs, config: Option<&Machine>, arch: Arch) -> Kernel {
    let model = args.model.or_else(|| config.map(|machine| machine.kernel().model));
    Kernel { arch, model: model.unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix;
    use crate::run::tests::args;

    fn described(words: &[&str], config: Option<&Machine>, terminal: Terminal) -> Result<Qemu> {
        of_options(&args(words), config, terminal)
    }

    fn in_script(words: &[&str]) -> Qemu {
        described(&[&["--arch", "x86_64"], words].concat(), None, Terminal::No).unwrap()
    }

    #[test]
    fn without_a_terminal_the_machine_powers_off() {
        let qemu = in_script(&[]);
        assert_eq!((qemu.exec.as_deref(), qemu.console), (Some("poweroff"), Console::Captured));
    }

    #[test]
    fn on_a_terminal_there_is_a_prompt_unless_commands_are_given() {
        let qemu = described(&["--arch", "aarch64"], None, Terminal::There).unwrap();
        assert_eq!((qemu.exec.clone(), qemu.console), (None, Console::Interactive));
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
}
