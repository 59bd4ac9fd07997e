//! The commands: name, arguments, one line of help, what to do.

use super::{CommandError, Failures, Monitor, Outcome};
use crate::cpus;
use crate::log::{self, Output};
use crate::provoke::{self, PROVOCATIONS, Provocation};
use crate::stress::{self, StressError};
use crate::system::System;
use crate::work;
use arch::{LAYOUT, Native, exit};
use core::fmt::Write;
use mm::addr::{PhysAddr, VirtAddr};
use mm::view;

/// A command.
pub(super) struct Command {
    name: &'static str,
    arguments: &'static str,
    help: &'static str,
    pub(super) run: fn(&mut Monitor<'_>, &str) -> Outcome,
}

const COMMANDS: &[Command] = &[
    command("help", "", "this list", help),
    command("meminfo", "", "totals in KiB, as /proc/meminfo", meminfo),
    command("zoneinfo", "", "every zone of every node, as /proc/zoneinfo", zoneinfo),
    command("buddyinfo", "", "free blocks of each order, as /proc/buddyinfo", buddyinfo),
    command("slabinfo", "", "slab caches, as /proc/slabinfo", slabinfo),
    command("vmallocinfo", "", "areas of kernel virtual space, as /proc/vmallocinfo", vmallocinfo),
    command("iomem", "", "who lives where in physical address space, as /proc/iomem", iomem),
    command("memblock", "", "what memblock handed over, and who reserved what", memblock),
    command("numa", "", "nodes, CPUs, distances, as `numactl --hardware`", numa),
    command("percpu", "", "each CPU's area, and what the CPU has done", percpu),
    command("layout", "", "the kernel's virtual address space", layout),
    command("why", "ADDR", "the life of one address, from the firmware's entry to the allocator", why),
    command("verify", "", "walk every structure of the memory manager and check it", verify),
    command("stress", "[--ops N] [--seed S] [--cpus LIST]", "shake the allocators on all CPUs at once", stress),
    command("provoke", "NAME", "fail on purpose; `provoke` alone lists the ways", provoke),
    command("cmdline", "", "the kernel command line, and the parameters that are known", cmdline),
    command("dmesg", "", "the kernel log", dmesg),
    command("poweroff", "", "power off; reports failure when a command has failed", poweroff),
    command("reboot", "", "reset the machine", reboot),
];

const fn command(
    name: &'static str,
    arguments: &'static str,
    help: &'static str,
    run: fn(&mut Monitor<'_>, &str) -> Outcome,
) -> Command {
    Command { name, arguments, help, run }
}

/// The command with this name.
pub(super) fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

fn help(_: &mut Monitor<'_>, _: &str) -> Outcome {
    for command in COMMANDS {
        let usage = format_args!("{} {}", command.name, command.arguments);
        writeln!(Output, "{:<41} {}", alloc::format!("{usage}"), command.help)?;
    }
    Ok(())
}

fn meminfo(monitor: &mut Monitor<'_>, _: &str) -> Outcome {
    let system = monitor.system;
    Ok(view::meminfo(&mut Output, system.mm, &LAYOUT, &system.reserved.set_aside())?)
}

fn zoneinfo(monitor: &mut Monitor<'_>, _: &str) -> Outcome {
    let mm = monitor.system.mm;
    Ok(view::zoneinfo(&mut Output, &mm.pages, &mm.slab)?)
}

fn buddyinfo(monitor: &mut Monitor<'_>, _: &str) -> Outcome {
    Ok(view::buddyinfo(&mut Output, &monitor.system.mm.pages)?)
}

fn slabinfo(monitor: &mut Monitor<'_>, _: &str) -> Outcome {
    Ok(view::slabinfo(&mut Output, &monitor.system.mm.slab)?)
}

fn vmallocinfo(monitor: &mut Monitor<'_>, _: &str) -> Outcome {
    Ok(view::vmallocinfo(&mut Output, &monitor.system.mm.vmalloc)?)
}

fn iomem(monitor: &mut Monitor<'_>, _: &str) -> Outcome {
    Ok(view::iomem::iomem(&monitor.system.resources, &mut Output)?)
}

fn memblock(monitor: &mut Monitor<'_>, _: &str) -> Outcome {
    Ok(view::memblock(&mut Output, &monitor.system.mm.record)?)
}

fn numa(monitor: &mut Monitor<'_>, _: &str) -> Outcome {
    Ok(view::numa(&mut Output, &monitor.system.mm.pages, &cpus::is_online)?)
}

fn percpu(monitor: &mut Monitor<'_>, _: &str) -> Outcome {
    let System { mm, percpu, .. } = monitor.system;
    view::percpu(&mut Output, percpu, mm.pages.nodes())?;
    for cpu in cpus::online() {
        writeln!(Output, "cpu {cpu} runs: {}", work::describe(cpu))?;
    }
    Ok(())
}

fn layout(_: &mut Monitor<'_>, _: &str) -> Outcome {
    Ok(writeln!(Output, "{LAYOUT}")?)
}

fn why(monitor: &mut Monitor<'_>, arguments: &str) -> Outcome {
    const USAGE: CommandError = CommandError::Usage("why ADDR   (physical, or virtual of the kernel's half)");
    let digits = arguments.strip_prefix("0x").or_else(|| arguments.strip_prefix("0X"));
    let parsed = match digits {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => arguments.parse(),
    };
    let Ok(address) = parsed else { return Err(USAGE) };
    let system = monitor.system;
    let virt = VirtAddr::new(address);
    let physical = if let Some(area) = LAYOUT.area_of(virt) {
        write!(Output, "{address:#x} is a virtual address of the {} area", area.name)?;
        let found = system.mm.pages.tables().lock(Native).translate(virt);
        match found {
            Some(found) => {
                writeln!(Output, "; it maps to {:#x}", found.address)?;
                view::why_area(&mut Output, virt, system.mm)?;
                found.address
            }
            None => {
                writeln!(Output, "; nothing is mapped there")?;
                return Ok(view::why_area(&mut Output, virt, system.mm)?);
            }
        }
    } else {
        PhysAddr::new(address)
    };
    Ok(view::why(&mut Output, physical, &system.machine, system.mm)?)
}

fn verify(monitor: &mut Monitor<'_>, _: &str) -> Outcome {
    match monitor.system.mm.verify() {
        Ok(counts) => Ok(writeln!(Output, "verify: ok ({counts})")?),
        Err(fault) => {
            writeln!(Output, "verify: {fault}")?;
            Err(CommandError::Found)
        }
    }
}

fn stress(_: &mut Monitor<'_>, arguments: &str) -> Outcome {
    const USAGE: &str = "stress [--ops N] [--seed S] [--cpus LIST]   (LIST: 0-3,8; without it all CPUs)";
    stress::stress(arguments).map_err(|error| match error {
        StressError::Usage => CommandError::Usage(USAGE),
        _ => CommandError::Found,
    })
}

fn provoke(monitor: &mut Monitor<'_>, arguments: &str) -> Outcome {
    let Some(provocation) = PROVOCATIONS.iter().find(|provocation| provocation.name == arguments) else {
        for Provocation { name, help, .. } in PROVOCATIONS {
            writeln!(Output, "{name:<16} {help}")?;
        }
        return if arguments.is_empty() { Ok(()) } else { Err(CommandError::Usage("provoke NAME")) };
    };
    match provoke::provoke(provocation, monitor.system) {
        Ok(()) => Ok(()),
        Err(reason) => {
            writeln!(Output, "{}: {reason}", provocation.name)?;
            Err(CommandError::Found)
        }
    }
}

fn cmdline(monitor: &mut Monitor<'_>, _: &str) -> Outcome {
    let line = &monitor.system.boot.cmdline;
    writeln!(Output, "{}", line.as_str())?;
    writeln!(Output, "known parameters (* is given):")?;
    for parameter in platform::cmdline::PARAMETERS {
        let given = if line.has(parameter.name) { '*' } else { ' ' };
        writeln!(Output, "{given} {}{}", parameter.name, parameter.value)?;
        writeln!(Output, "      {}", parameter.help)?;
    }
    for item in line.unknown() {
        writeln!(Output, "  {item}: means nothing here")?;
    }
    Ok(())
}

fn dmesg(_: &mut Monitor<'_>, _: &str) -> Outcome {
    log::dmesg();
    Ok(())
}

fn poweroff(monitor: &mut Monitor<'_>, _: &str) -> Outcome {
    exit::power_off(match monitor.failed {
        Failures::None => exit::ExitStatus::Success,
        Failures::Some => exit::ExitStatus::Failure,
    })
}

fn reboot(_: &mut Monitor<'_>, _: &str) -> Outcome {
    exit::reset()
}
