//! The machines of `ci/matrix.toml`: what to boot, and what the serial log must say.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use regex_lite::Regex;
use serde::Deserialize;

use crate::arch::Arch;
use crate::boot::damage::KernelDamage;
use crate::boot::drive::Medium;
use crate::boot::{self, BootBy};
use crate::exit::usage;
use crate::firmware::Firmware;
use crate::firmware::bios::Bios;
use crate::firmware::edited::Edits;
use crate::firmware::reference::Reference;
use crate::firmware::tables::Tables;
use crate::firmware::tree::Tree;
use crate::kernel::{Kernel, Model};
use crate::memory::MemorySize;
use crate::numa::{Distances, Numa};
use crate::qemu::{Room, TestDevice};
use crate::serial::without_time;
use crate::workspace;

/// Where the matrix lies, from the root of the workspace.
const FILE: &str = "ci/matrix.toml";

/// What the kernel's warnings begin with.
const WARNING: &str = "warning: ";

/// One machine, and how a boot of it is judged.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) name: String,
    pub(crate) arch: Arch,
    /// The memory model of the kernel that boots.
    pub(crate) model: Model,
    pub(crate) machine: String,
    /// Who loads the kernel, and from what.
    pub(crate) boot: BootBy,
    pub(crate) medium: Medium,
    /// What is wrong with the kernel's file there.
    pub(crate) kernel_damage: Option<KernelDamage>,
    pub(crate) cpu: Option<String>,
    pub(crate) memory: MemorySize,
    pub(crate) room: Option<Room>,
    pub(crate) smp: u32,
    pub(crate) numa: Option<Numa>,
    pub(crate) distances: Distances,
    /// Options of QEMU that nothing else here stands for.
    pub(crate) extra: Vec<String>,
    /// A file of the workspace that is loaded as initial RAM disk.
    pub(crate) initrd: Option<String>,
    /// What the firmware says, where it is not QEMU's alone.
    pub(crate) firmware: Option<Firmware>,
    /// The device tree of a board, where it is a file that somebody else has.
    pub(crate) dtb: Option<Reference>,
    /// What of the kernel command line is for our kernel alone.
    append: String,
    /// What of the kernel command line shapes memory, and is for Linux too.
    pub(crate) options: String,
    pub(crate) exec: String,
    pub(crate) test_device: TestDevice,
    /// Instructions from entry to prompt that are not to be exceeded; the clock counts them then.
    pub(crate) max_instructions: Option<u64>,
    pub(crate) timeout: Duration,
    /// Linux is not asked about it.
    pub(crate) not_asked: bool,
    /// The right end is a failure with one sentence, the last that is expected.
    pub(crate) stops: bool,
    expect: Vec<Expectation>,
}

/// A line that the log must hold: the whole line, without its time stamp, matches.
#[derive(Clone, Debug)]
struct Expectation {
    written: String,
    pattern: Regex,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    defaults: Defaults,
    machine: Vec<Entry>,
}

/// What a machine has that does not say otherwise. Its expectations come after each machine's own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Defaults {
    append: String,
    exec: String,
    timeout: u64,
    expect: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    arch: Arch,
    #[serde(default)]
    model: Model,
    machine: String,
    #[serde(default)]
    boot: BootBy,
    #[serde(default)]
    medium: Medium,
    #[serde(rename = "kernel-damage")]
    kernel_damage: Option<KernelDamage>,
    cpu: Option<String>,
    memory: Option<MemorySize>,
    room: Option<Room>,
    smp: Option<u32>,
    numa: Option<Numa>,
    #[serde(default, rename = "numa-dist")]
    numa_dist: Distances,
    #[serde(default)]
    qemu: Vec<String>,
    initrd: Option<String>,
    bios: Option<Bios>,
    #[serde(rename = "acpi-tables")]
    acpi_tables: Option<Tables>,
    #[serde(rename = "device-tree")]
    device_tree: Option<Tree>,
    #[serde(rename = "edited-tree")]
    edited_tree: Option<Edits>,
    dtb: Option<Reference>,
    append: Option<String>,
    #[serde(default)]
    options: String,
    exec: Option<String>,
    #[serde(default, rename = "no-test-device")]
    no_test_device: bool,
    #[serde(default, rename = "not-asked")]
    not_asked: bool,
    #[serde(rename = "max-instructions")]
    max_instructions: Option<u64>,
    timeout: Option<u64>,
    #[serde(default)]
    expect: Vec<String>,
    stops: Option<String>,
}

/// Reads the matrix of this workspace.
///
/// # Errors
/// When the file cannot be read, or says something that cannot be.
pub(crate) fn read() -> Result<Vec<Machine>> {
    let text = fs::read_to_string(workspace::root().join(FILE)).context(FILE)?;
    parse(&text).context(FILE)
}

/// The machine of this name.
///
/// # Errors
/// As [`read`]; wrong usage when there is none of this name.
pub(crate) fn find(name: &str) -> Result<Machine> {
    let found = read()?.into_iter().find(|machine| machine.name == name);
    found.ok_or_else(|| usage(format!("no machine {name} in {FILE}: `cargo xtask test --list` names them")))
}

fn parse(text: &str) -> Result<Vec<Machine>> {
    let File { defaults, machine: entries } = toml::from_str(text)?;
    let mut machines: Vec<Machine> = Vec::with_capacity(entries.len());
    for entry in entries {
        let name = entry.name.clone();
        let machine = Machine::from_entry(entry, &defaults).with_context(|| format!("machine {name}"))?;
        if machines.iter().any(|other| other.name == machine.name) {
            bail!("machine {name}: there are two of this name");
        }
        machines.push(machine);
    }
    Ok(machines)
}

impl Machine {
    fn from_entry(entry: Entry, defaults: &Defaults) -> Result<Self> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if entry.name.is_empty() || !entry.name.bytes().all(plain) {
            bail!("a name has lower-case letters, digits and `-`: it becomes the name of a log file");
        }
        let mut given = [
            entry.bios.map(Firmware::Bios),
            entry.acpi_tables.map(Firmware::Tables),
            entry.device_tree.map(Firmware::Tree),
            entry.edited_tree.map(Firmware::Edited),
        ]
        .into_iter()
        .flatten();
        let firmware = given.next();
        let arch = firmware.as_ref().map(|firmware| match firmware {
            Firmware::Bios(_) | Firmware::Tables(_) => Arch::X86_64,
            Firmware::Tree(_) | Firmware::Edited(_) | Firmware::Board(_) => Arch::Aarch64,
        });
        if given.next().is_some() || arch.is_some_and(|arch| arch != entry.arch) {
            bail!("one of these: a bios or acpi-tables for x86_64, a device-tree or edited-tree for aarch64");
        }
        if entry.dtb.is_some() && (firmware.is_some() || entry.arch == Arch::X86_64 || entry.boot != BootBy::Direct) {
            bail!("a dtb is for an aarch64 board that boots directly, without another device tree");
        }
        if firmware.as_ref().is_some_and(Firmware::lies) && entry.initrd.is_some() {
            bail!("no initrd goes with a bios or device-tree");
        }
        boot::check_machine(entry.arch, &entry.machine, entry.boot)?;
        let by_qemu = entry.boot == BootBy::Direct;
        if by_qemu && (entry.kernel_damage.is_some() || entry.medium != Medium::default()) {
            bail!("medium and kernel-damage go with boot: QEMU takes the kernel from no drive");
        }
        if !by_qemu && firmware.as_ref().is_some_and(|firmware| !matches!(firmware, Firmware::Tables(_))) {
            bail!(
                "boot by {} has firmware of its own, so it goes with no bios, device-tree or edited-tree",
                entry.boot
            );
        }
        let stops = entry.stops.is_some();
        let last = entry.stops.map_or_else(|| defaults.expect.clone(), |sentence| vec![sentence]);
        let expect = entry.expect.into_iter().chain(last);
        let memory = match (entry.memory, &entry.numa) {
            (Some(memory), None) => memory,
            (None, Some(numa)) => numa.memory(),
            _ => bail!("give either memory or numa: the nodes' memory is the machine's"),
        };
        Ok(Self {
            name: entry.name,
            arch: entry.arch,
            model: entry.model,
            machine: entry.machine,
            boot: entry.boot,
            medium: if entry.boot == BootBy::LimineBios { Medium::Image } else { entry.medium },
            kernel_damage: entry.kernel_damage,
            cpu: entry.cpu,
            memory,
            room: entry.room,
            smp: entry.smp.unwrap_or_else(|| entry.numa.as_ref().map_or(1, Numa::cpu_count)),
            numa: entry.numa,
            distances: entry.numa_dist,
            extra: entry.qemu,
            initrd: entry.initrd,
            firmware,
            dtb: entry.dtb,
            append: entry.append.unwrap_or_else(|| defaults.append.clone()),
            options: entry.options,
            exec: entry.exec.unwrap_or_else(|| defaults.exec.clone()),
            test_device: if entry.no_test_device { TestDevice::Absent } else { TestDevice::Present },
            max_instructions: entry.max_instructions,
            not_asked: entry.not_asked,
            timeout: entry
                .timeout
                .map_or_else(|| Duration::from_secs(defaults.timeout) + entry.boot.grace(), Duration::from_secs),
            stops,
            expect: expect.map(Expectation::new).collect::<Result<_>>()?,
        })
    }

    /// The kernel that boots on it.
    pub(crate) fn kernel(&self) -> Kernel {
        Kernel { arch: self.arch, model: self.model }
    }

    /// The kernel command line, without what xtask adds.
    pub(crate) fn command_line(&self) -> String {
        let parts = [self.append.as_str(), self.options.as_str()];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    }

    /// The first expectation that the log does not meet. They are met in their order, each by a line after the one
    /// that met the one before.
    pub(crate) fn unmet<'m>(&'m self, log: &[String]) -> Option<&'m str> {
        let mut lines = log.iter().map(|line| without_time(line).trim_end());
        let unmet = self.expect.iter().find(|expectation| !lines.any(|line| expectation.pattern.is_match(line)));
        unmet.map(|expectation| expectation.written.as_str())
    }

    /// The first warning of the kernel that nothing expects, on a machine whose firmware is all the matrix's: there
    /// each is the answer to something.
    pub(crate) fn unexpected<'l>(&self, log: &'l [String]) -> Option<&'l str> {
        self.firmware.as_ref().filter(|firmware| firmware.lies())?;
        let expected = |line: &&str| self.expect.iter().any(|expectation| expectation.pattern.is_match(line));
        let mut warnings =
            log.iter().map(|line| without_time(line).trim_end()).filter(|line| line.starts_with(WARNING));
        warnings.find(|line| !expected(line))
    }

    /// The line that `test --list` prints.
    pub(crate) fn describe(&self) -> String {
        let Self { name, arch, machine, memory, smp, .. } = self;
        let boot = if self.boot == BootBy::Direct { String::new() } else { format!(", by {}", self.boot) };
        format!("{name:<24} {arch:<8} {machine}, {memory}, {smp} CPU{}{boot}", if *smp == 1 { "" } else { "s" })
    }
}

impl Expectation {
    fn new(written: String) -> Result<Self> {
        let pattern = Regex::new(&format!("^(?:{written})$")).with_context(|| format!("expect `{written}`"))?;
        Ok(Self { written, pattern })
    }
}

/// Whether the name matches a pattern in which `*` stands for any letters and `?` for one.
pub(crate) fn matches_glob(pattern: &str, name: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => name.is_empty(),
        Some('*') => {
            let rest = rest.as_str();
            name.char_indices().map(|(at, _)| at).chain([name.len()]).any(|at| matches_glob(rest, &name[at..]))
        }
        Some(wanted) => {
            let mut name = name.chars();
            name.next().is_some_and(|letter| wanted == '?' || wanted == letter)
                && matches_glob(rest.as_str(), name.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "[defaults]\nappend = 'selftest'\nexec = 'verify; poweroff'\ntimeout = 60\nexpect = ['last']\n";

    fn one(entry: &str) -> Result<Machine> {
        let mut machines = parse(&format!("{HEAD}[[machine]]\n{entry}"))?;
        machines.pop().context("no machine")
    }

    #[test]
    fn the_matrix_covers_what_it_promises() {
        let machines = read().unwrap();
        let of_kind = |kind: fn(&Firmware) -> bool| {
            machines.iter().filter(|machine| machine.firmware.as_ref().is_some_and(kind)).count()
        };
        assert!(of_kind(|firmware| matches!(firmware, Firmware::Tables(_))) >= 5);
        assert!(of_kind(|firmware| matches!(firmware, Firmware::Edited(_))) >= 2);
        for option in
            ["mem=", "memmap=", "kernelcore=", "movablecore=", "movable_node", "numa=", "cma=", "crashkernel="]
        {
            assert!(machines.iter().any(|machine| machine.options.starts_with(option)), "{option}");
        }
        for arch in Arch::ALL {
            let of_arch = || machines.iter().filter(move |machine| machine.arch == arch);
            assert!(of_arch().any(|machine| machine.numa.is_some()));
            assert!(of_arch().any(|machine| machine.memory == MemorySize::gib(256)));
            assert!(of_arch().any(|machine| machine.cpu.as_deref() == Some("max")));
            assert!(of_arch().any(|machine| machine.model == Model::Flat));
        }
        for kind in ["pc", "q35", "virt"] {
            for by in [BootBy::Uefi, BootBy::Limine] {
                let is = |machine: &Machine| machine.machine.split(',').next() == Some(kind) && machine.boot == by;
                assert!(machines.iter().any(is), "{kind} by {by}");
            }
        }
        for kind in ["pc", "q35", "microvm", "virt", "raspi3b", "sbsa-ref", "xlnx-zcu102", "xlnx-versal-virt"] {
            let powers_off = |machine: &&Machine| {
                machine.machine.split(',').next() == Some(kind) && machine.test_device == TestDevice::Absent
            };
            assert!(machines.iter().any(|machine| powers_off(&machine)), "{kind}");
        }
    }

    #[test]
    fn defaults_fill_what_a_machine_leaves_out() {
        let machine = one("name = 'a'\narch = 'x86_64'\nmachine = 'pc'\nmemory = '1G'\nexpect = ['first']").unwrap();
        assert_eq!((machine.command_line().as_str(), machine.exec.as_str()), ("selftest", "verify; poweroff"));
        assert_eq!((machine.smp, machine.timeout), (1, Duration::from_secs(60)));
        assert_eq!(machine.test_device, TestDevice::Present);
        let written: Vec<&str> = machine.expect.iter().map(|expectation| expectation.written.as_str()).collect();
        assert_eq!(written, ["first", "last"]);
    }

    #[test]
    fn options_stand_behind_what_is_for_our_kernel_alone() {
        let entry = "name = 'a'\narch = 'x86_64'\nmachine = 'pc'\nmemory = '1G'\noptions = 'mem=512M'";
        assert_eq!(one(entry).unwrap().command_line(), "selftest mem=512M");
        assert_eq!(one(&format!("{entry}\nappend = ''")).unwrap().command_line(), "mem=512M");
    }

    #[test]
    fn nodes_say_how_much_memory_and_how_many_cpus() {
        let machine = one("name = 'a'\narch = 'aarch64'\nmachine = 'virt'\nnuma = '1G:0-1/3G:2-3'\nexpect = []");
        let machine = machine.unwrap();
        assert_eq!((machine.memory, machine.smp), (MemorySize::gib(4), 4));
    }

    #[test]
    fn mistakes_are_named() {
        let good = "name = 'a'\narch = 'x86_64'\nmachine = 'pc'\nmemory = '1G'\nexpect = []\n";
        assert!(one(good).is_ok());
        for (entry, reason) in [
            (good.replace("'a'", "'../a'"), "machine ../a"),
            (good.replace("1G", "much"), "no memory size"),
            (good.replace("x86_64", "riscv"), "riscv"),
            (good.replace("[]", "['(']"), "expect `(`"),
            (good.to_owned() + "colour = 'red'", "colour"),
            (good.to_owned() + "numa = '1G'", "either memory or numa"),
            (good.to_owned() + "device-tree = { memory = [] }", "a device-tree or edited-tree for aarch64"),
            (good.to_owned() + "bios = { e820 = [] }\nacpi-tables = { srat = [] }", "one of these"),
            (good.to_owned() + "boot = 'tftp'", "tftp"),
            (good.to_owned() + "medium = 'image'", "go with boot"),
            (good.to_owned() + "kernel-damage = 'absent'", "go with boot"),
            (good.to_owned() + "boot = 'uefi'\nbios = { e820 = [] }", "goes with no bios"),
            (good.replace("'pc'", "'microvm'") + "boot = 'uefi'", "cannot start microvm"),
            (good.to_owned() + "initrd = 'a'\nbios = { e820 = [] }", "no initrd"),
            (good.to_owned() + "bios = { e820 = ['0 1 odd'] }", "`0 1 odd`"),
            (good.to_owned() + "[[machine]]\n" + good, "two of this name"),
        ] {
            let error = format!("{:#}", one(&entry).unwrap_err());
            assert!(error.contains(reason), "{error}");
        }
    }

    fn expecting(patterns: &[&str]) -> Machine {
        let list = patterns.iter().map(|pattern| format!("'{pattern}',")).collect::<String>();
        let entry = format!("name = 'a'\narch = 'x86_64'\nmachine = 'pc'\nmemory = '1G'\nexpect = [{list}]");
        one(&entry).unwrap()
    }

    #[test]
    fn whole_lines_are_expected_in_order() {
        let log = ["[    0.000001] Zone ranges:", "[    0.000002]   Normal   empty", "3 passed, 0 failed", "last"];
        let log = log.map(str::to_owned);
        assert_eq!(expecting(&["Zone ranges:", "[0-9]+ passed, 0 failed"]).unmet(&log), None);
        assert_eq!(expecting(&["  Normal   empty", "Zone ranges:"]).unmet(&log), Some("Zone ranges:"));
        assert_eq!(expecting(&["Zone"]).unmet(&log), Some("Zone"));
        assert_eq!(expecting(&["Zone ranges:", "Zone ranges:"]).unmet(&log), Some("Zone ranges:"));
        assert_eq!(expecting(&[]).unmet(&log[..3]), Some("last"));
    }

    #[test]
    fn a_machine_that_stops_is_expected_to_say_so_last() {
        let machine = one("name = 'a'\narch = 'x86_64'\nmachine = 'pc'\nmemory = '1G'\nstops = 'kernel stopped: .*'");
        let machine = machine.unwrap();
        assert!(machine.stops);
        assert_eq!(machine.unmet(&["kernel stopped: no memory".to_owned()]), None);
        assert_eq!(machine.unmet(&["last".to_owned()]), Some("kernel stopped: .*"));
        assert!(!expecting(&[]).stops);
    }

    #[test]
    fn a_warning_is_unexpected_only_where_firmware_is_ours() {
        let log = ["[    0.000001] warning: E820 entry 1: odd", "warning: SRAT: odd", "last"].map(str::to_owned);
        let tree = "name = 'a'\narch = 'aarch64'\nmachine = 'virt'\nmemory = '1G'\ndevice-tree = { memory = [] }\n";
        let one = |expect: &str| one(&format!("{tree}expect = [{expect}]")).unwrap();
        assert_eq!(one("'warning: E820 .*', 'warning: SRAT: odd'").unexpected(&log), None);
        assert_eq!(one("'warning: E820 .*'").unexpected(&log), Some("warning: SRAT: odd"));
        assert_eq!(expecting(&[]).unexpected(&log), None);
    }

    #[test]
    fn globs() {
        for (pattern, name) in [("*", ""), ("pc-*", "pc-1g"), ("*numa*", "q35-numa2"), ("pc-?g", "pc-4g"), ("a", "a")] {
            assert!(matches_glob(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("", "a"), ("pc", "pc-1g"), ("?", ""), ("pc-*g", "pc-1m"), ("*x", "pc")] {
            assert!(!matches_glob(pattern, name), "{pattern} {name}");
        }
    }
}
