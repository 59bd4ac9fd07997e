//! The QEMU command line of a machine: the one place that knows QEMU's options.
//!
//! Always without default devices, display and reboot, with the serial line on stdio. Memory of nodes, and memory
//! so large that the host may not have it, is reserved by nobody (`reserve=off`): the guest pays for what it touches.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};
use serde::Deserialize;

use crate::arch::Arch;
use crate::boot::drive::Drive;
use crate::boot::esp::Contents;
use crate::boot::flash::Flash;
use crate::firmware::{Loaded, Payload};
use crate::memory::MemorySize;
use crate::numa::{Distances, Numa};
use crate::process::{self, Ending, Input, Next, Piece};
use crate::workspace;

/// From here on even a single node's memory is not reserved on the host.
const UNRESERVED_FROM: MemorySize = MemorySize::gib(16);

/// How long QEMU may take to write a machine's device tree; it boots nothing for that.
const DESCRIBE_LIMIT: Duration = Duration::from_secs(30);

/// Who reads and writes the serial line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Console {
    /// A person on a terminal, who also gets QEMU's monitor (Ctrl-A C) and its end (Ctrl-A X).
    Interactive,
    /// This program; nobody types.
    Captured,
}

/// Whether the machine has the device that ends QEMU with a status that the kernel chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TestDevice {
    /// isa-debug-exit on x86_64, semihosting on aarch64; `exit=` on the kernel command line says so.
    Present,
    /// As on a real machine: the kernel has to power off by the ways the firmware names.
    Absent,
}

/// Whether QEMU waits for gdb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Debugger {
    /// The machine starts at once.
    None,
    /// The machine starts when gdb, on TCP port 1234, says so.
    Waiting,
}

/// How the guest's clock runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    /// With the host's time.
    Host,
    /// With the instructions: one a nanosecond, so that the guest counts them exactly and every run is the same.
    Instructions,
}

/// Room for memory that is plugged in later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Room {
    slots: u32,
    max_memory: MemorySize,
}

/// A machine, and what it boots.
#[derive(Clone, Debug)]
pub(crate) struct Qemu {
    pub(crate) arch: Arch,
    /// QEMU's machine type, with properties after commas.
    pub(crate) machine: String,
    pub(crate) cpu: Option<String>,
    pub(crate) memory: MemorySize,
    pub(crate) room: Option<Room>,
    pub(crate) smp: u32,
    pub(crate) numa: Option<Numa>,
    pub(crate) distances: Distances,
    /// Options of QEMU that nothing else here stands for.
    pub(crate) extra: Vec<String>,
    pub(crate) image: PathBuf,
    pub(crate) initrd: Option<PathBuf>,
    /// Firmware that is not QEMU's alone.
    pub(crate) firmware: Option<Loaded>,
    /// UEFI firmware, in the place of QEMU's.
    pub(crate) flash: Option<Flash>,
    /// What it boots from. Without, QEMU gives it the kernel.
    pub(crate) drive: Option<Drive>,
    /// The kernel command line, without `exec=` and `exit=`.
    pub(crate) append: String,
    /// What the monitor runs when bring-up is done.
    pub(crate) exec: Option<String>,
    pub(crate) test_device: TestDevice,
    pub(crate) console: Console,
    pub(crate) debugger: Debugger,
    pub(crate) clock: Clock,
}

impl Qemu {
    /// The command, ready to be started.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(self.arch.qemu());
        command.args(self.arguments());
        command
    }

    /// The command as a line for a shell.
    pub(crate) fn shell_line(&self) -> String {
        let words = std::iter::once(self.arch.qemu().to_owned()).chain(self.arguments());
        words.map(|word| shell_word(&word)).collect::<Vec<_>>().join(" ")
    }

    /// The kernel command line.
    pub(crate) fn kernel_command_line(&self) -> String {
        let exit = match (self.test_device, self.arch) {
            (TestDevice::Absent, _) => None,
            (TestDevice::Present, Arch::X86_64) => Some("exit=isa-debug".to_owned()),
            (TestDevice::Present, Arch::Aarch64) => Some("exit=semihosting".to_owned()),
        };
        let exec = self.exec.as_ref().map(|commands| format!("exec=\"{commands}\""));
        let append = Some(self.append.clone()).filter(|append| !append.is_empty());
        [append, exec, exit].into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    /// Writes the files that the command names beside the kernel's.
    ///
    /// # Errors
    /// When one cannot be written.
    pub(crate) fn prepare(&self) -> Result<()> {
        let command_line = self.kernel_command_line();
        if let Some(drive) = &self.drive {
            drive.write(&Contents {
                arch: self.arch,
                loader: &drive.loader,
                kernel: &workspace::elf_of(&self.image),
                damage: drive.damage,
                command_line: &command_line,
                initrd: self.initrd.as_deref(),
            })?;
        }
        let Some(firmware) = &self.firmware else { return Ok(()) };
        firmware.write(&workspace::elf_of(&self.image), self.payload(&command_line), |file| self.describe(file))
    }

    /// Makes QEMU write the device tree that it makes for this machine.
    fn describe(&self, file: &Path) -> Result<()> {
        let mut list = Arguments(Vec::new());
        self.hardware(&mut list, &format!(",dumpdtb={}", escaped(file)));
        let mut complaint = String::new();
        let mut command = Command::new(self.arch.qemu());
        command.args(list.0);
        let ending = process::watch(&mut command, Input::Nothing, Some(DESCRIBE_LIMIT), &mut |piece| {
            if let Piece::Diagnostic(bytes) = piece {
                complaint.push_str(&String::from_utf8_lossy(&bytes));
            }
            Ok(Next::GoOn)
        })?;
        match ending {
            Ending::Exited(status) if status.success() && file.is_file() => Ok(()),
            _ => bail!("{} does not write the machine's device tree: {}", self.arch.qemu(), complaint.trim()),
        }
    }

    fn payload<'a>(&'a self, command_line: &'a str) -> Payload<'a> {
        Payload { image: &self.image, initrd: self.initrd.as_deref(), command_line }
    }

    fn arguments(&self) -> Vec<String> {
        let mut list = Arguments(Vec::new());
        self.hardware(&mut list, "");
        if self.debugger == Debugger::Waiting {
            list.flag("-s").flag("-S");
        }
        if self.clock == Clock::Instructions {
            list.option("-icount", "shift=0,sleep=off");
        }
        self.kernel(&mut list);
        list.0
    }

    /// The machine, without what it boots. `properties` stand behind the machine's own.
    fn hardware(&self, list: &mut Arguments, properties: &str) {
        let unreserved = self.numa.is_none() && self.memory >= UNRESERVED_FROM;
        let backend = if unreserved { ",memory-backend=ram" } else { "" };
        list.option("-machine", format!("{}{backend}{properties}", self.machine));
        if let Some(cpu) = self.cpu.as_deref().or(self.arch.default_cpu(&self.machine)) {
            list.option("-cpu", cpu);
        }
        let room = self.room.map(|room| format!(",slots={},maxmem={}", room.slots, room.max_memory));
        list.option("-m", format!("{}{}", self.memory, room.unwrap_or_default()));
        list.option("-smp", self.smp.to_string());
        if unreserved {
            list.option("-object", format!("memory-backend-ram,id=ram,size={},reserve=off", self.memory));
        }
        self.nodes(list);
        list.flag("-nodefaults").option("-display", "none").flag("-no-reboot");
        for _ in 0..self.firmware.as_ref().map_or(0, |loaded| loaded.firmware.console_line()) {
            list.option("-serial", "null");
        }
        list.option("-serial", if self.console == Console::Interactive { "mon:stdio" } else { "stdio" });
        match (self.test_device, self.arch) {
            (TestDevice::Absent, _) => {}
            (TestDevice::Present, Arch::X86_64) => {
                list.option("-device", "isa-debug-exit,iobase=0xf4,iosize=4");
            }
            (TestDevice::Present, Arch::Aarch64) => {
                list.option("-semihosting-config", "enable=on,target=native");
            }
        }
        for [option, value] in self.flash.iter().flat_map(Flash::options) {
            list.option(&option, value);
        }
        list.0.extend(self.extra.iter().cloned());
    }

    fn kernel(&self, list: &mut Arguments) {
        let append = self.kernel_command_line();
        if let Some(firmware) = &self.firmware {
            for [option, value] in firmware.options(self.payload(&append)) {
                list.option(&option, value);
            }
            if firmware.loads_kernel() {
                return;
            }
        }
        if let Some(drive) = &self.drive {
            for [option, value] in drive.options(self.arch) {
                list.option(&option, value);
            }
            return;
        }
        list.option("-kernel", self.image.to_string_lossy());
        if let Some(initrd) = &self.initrd {
            list.option("-initrd", initrd.to_string_lossy());
        }
        if !append.is_empty() {
            list.option("-append", append);
        }
    }

    fn nodes(&self, list: &mut Arguments) {
        let Some(numa) = &self.numa else { return };
        for (id, node) in numa.nodes().iter().enumerate() {
            let mut text = format!("node,nodeid={id}");
            if let Some(memory) = node.memory {
                list.option("-object", format!("memory-backend-ram,id=node{id},size={memory},reserve=off"));
                text += &format!(",memdev=node{id}");
            }
            for (first, last) in &node.cpus {
                text += &if first == last { format!(",cpus={first}") } else { format!(",cpus={first}-{last}") };
            }
            list.option("-numa", text);
        }
        for distance in self.distances.iter() {
            list.option("-numa", format!("dist,src={},dst={},val={}", distance.from, distance.to, distance.value));
        }
    }
}

struct Arguments(Vec<String>);

impl Arguments {
    fn flag(&mut self, flag: &str) -> &mut Self {
        self.0.push(flag.to_owned());
        self
    }

    fn option(&mut self, option: &str, value: impl Into<String>) -> &mut Self {
        self.0.extend([option.to_owned(), value.into()]);
        self
    }
}

/// A path as part of one of QEMU's lists of properties, in which a comma that is meant is doubled.
pub(crate) fn escaped(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

/// The word as a shell reads it back.
fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=,./:+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A plain machine, for tests to change.
    pub(crate) fn plain(arch: Arch) -> Qemu {
        Qemu {
            arch,
            machine: arch.default_machine().to_owned(),
            cpu: None,
            memory: MemorySize::gib(1),
            room: None,
            smp: 1,
            numa: None,
            distances: Distances::default(),
            extra: Vec::new(),
            image: PathBuf::from("/kernel"),
            initrd: None,
            firmware: None,
            flash: None,
            drive: None,
            append: String::new(),
            exec: None,
            test_device: TestDevice::Present,
            console: Console::Captured,
            debugger: Debugger::None,
            clock: Clock::Host,
        }
    }

    #[test]
    fn a_plain_machine_of_each_arch() {
        assert_eq!(
            plain(Arch::X86_64).shell_line(),
            "qemu-system-x86_64 -machine q35 -m 1G -smp 1 -nodefaults -display none -no-reboot -serial stdio \
             -device isa-debug-exit,iobase=0xf4,iosize=4 -kernel /kernel -append exit=isa-debug"
        );
        assert_eq!(
            plain(Arch::Aarch64).shell_line(),
            "qemu-system-aarch64 -machine virt -cpu cortex-a57 -m 1G -smp 1 -nodefaults -display none -no-reboot \
             -serial stdio -semihosting-config enable=on,target=native -kernel /kernel -append exit=semihosting"
        );
    }

    #[test]
    fn without_test_devices_nothing_speaks_of_them() {
        for arch in Arch::ALL {
            let line = Qemu { test_device: TestDevice::Absent, ..plain(arch) }.shell_line();
            for word in ["isa-debug", "semihosting", "exit=", "-append"] {
                assert!(!line.contains(word), "{line}");
            }
        }
    }

    #[test]
    fn commands_of_the_monitor_are_one_quoted_item() {
        let qemu = Qemu { append: "selftest".into(), exec: Some("verify; poweroff".into()), ..plain(Arch::X86_64) };
        assert_eq!(qemu.kernel_command_line(), r#"selftest exec="verify; poweroff" exit=isa-debug"#);
        assert!(qemu.shell_line().ends_with(r#"-append 'selftest exec="verify; poweroff" exit=isa-debug'"#));
    }

    #[test]
    fn large_memory_is_not_reserved() {
        let qemu = Qemu { memory: MemorySize::gib(256), machine: "virt,gic-version=3".into(), ..plain(Arch::Aarch64) };
        let line = qemu.shell_line();
        assert!(line.contains("-machine virt,gic-version=3,memory-backend=ram "), "{line}");
        assert!(line.contains("-object memory-backend-ram,id=ram,size=256G,reserve=off "), "{line}");
        assert!(!plain(Arch::Aarch64).shell_line().contains("memory-backend"));
    }

    #[test]
    fn every_node_has_its_backend_and_its_cpus() {
        let numa = "1G:0-1/:2/3G".parse().ok();
        let distances = "0-1=15/0-2=20".parse().unwrap();
        let line = Qemu { numa, distances, memory: MemorySize::gib(4), smp: 3, ..plain(Arch::X86_64) }.shell_line();
        let expected = "-object memory-backend-ram,id=node0,size=1G,reserve=off \
                        -numa node,nodeid=0,memdev=node0,cpus=0-1 -numa node,nodeid=1,cpus=2 \
                        -object memory-backend-ram,id=node2,size=3G,reserve=off -numa node,nodeid=2,memdev=node2 \
                        -numa dist,src=0,dst=1,val=15 -numa dist,src=0,dst=2,val=20 ";
        assert!(line.contains(expected), "{line}");
    }

    #[test]
    fn debugger_clock_initrd_and_terminal() {
        let qemu = Qemu {
            debugger: Debugger::Waiting,
            clock: Clock::Instructions,
            initrd: Some("/init rd".into()),
            console: Console::Interactive,
            cpu: Some("max".into()),
            ..plain(Arch::Aarch64)
        };
        let line = qemu.shell_line();
        for part in [" -s -S ", " -icount shift=0,sleep=off ", " -initrd '/init rd' ", " mon:stdio ", " -cpu max "] {
            assert!(line.contains(part), "{line}");
        }
        assert!(!line.contains("cortex"), "{line}");
    }

    #[test]
    fn firmware_takes_the_place_of_kernel_and_command_line() {
        let tree = toml::from_str("memory = ['1G 1G']").unwrap();
        let loaded = Loaded { firmware: crate::firmware::Firmware::Tree(tree), folder: "/folder".into() };
        let line = Qemu { firmware: Some(loaded), append: "selftest".into(), ..plain(Arch::Aarch64) }.shell_line();
        for part in
            ["/folder/kernel.img,addr=0x40200000", "/folder/tree.dtb,addr=0x48000000", "addr=0x40100000,cpu-num"]
        {
            assert!(line.contains(part), "{line}");
        }
        for word in ["-kernel", "-append", "selftest"] {
            assert!(!line.contains(word), "{line}");
        }
    }

    #[test]
    fn tables_stand_beside_the_kernel_and_an_edited_tree_enters_it() {
        let loaded = |firmware| Some(Loaded { firmware, folder: "/folder".into() });
        let tables = crate::firmware::Firmware::Tables(toml::from_str("srat = ['0 1G domain 0']").unwrap());
        let line = Qemu { firmware: loaded(tables), ..plain(Arch::X86_64) }.shell_line();
        assert!(line.ends_with("-acpitable file=/folder/srat.bin -kernel /kernel -append exit=isa-debug"), "{line}");
        let edits = crate::firmware::Firmware::Edited(toml::from_str("memory = ['1G 1G']").unwrap());
        let qemu = Qemu { firmware: loaded(edits), initrd: Some("/initrd".into()), ..plain(Arch::Aarch64) };
        let line = qemu.shell_line();
        for part in ["file=/kernel,addr=0x40200000", "file=/folder/tree.dtb,", "file=/initrd,addr=0x4a000000"] {
            assert!(line.contains(part), "{line}");
        }
        assert!(!line.contains("-kernel") && !line.contains("-append"), "{line}");
    }

    #[test]
    fn firmware_in_flash_boots_from_its_drive_or_takes_the_kernel_from_qemu() {
        let flash = Some(Flash { code: "/code".into(), variables: "/variables".into() });
        let loader = crate::boot::esp::Loader::Ours("/loader".into());
        let medium = crate::boot::drive::Medium::Folder;
        let drive = Some(Drive { loader, damage: None, medium, folder: "/folder".into() });
        let qemu = Qemu { flash, drive, append: "selftest".into(), ..plain(Arch::X86_64) };
        let line = qemu.shell_line();
        for part in ["file=/code -drive ", "file=/variables -drive ", "/folder/esp -device virtio-blk-pci,drive=esp"] {
            assert!(line.contains(part), "{line}");
        }
        assert!(!line.contains("-kernel") && !line.contains("-append"), "{line}");
        let line = Qemu { drive: None, ..qemu }.shell_line();
        assert!(line.contains("file=/variables -kernel /kernel -append 'selftest"), "{line}");
    }

    #[test]
    fn room_and_other_options_are_part_of_the_machine() {
        let room = toml::from_str("slots = 4\nmax-memory = '16G'").ok();
        let extra = vec!["-device".to_owned(), "pc-dimm,memdev=d".to_owned()];
        let line = Qemu { room, extra, ..plain(Arch::X86_64) }.shell_line();
        assert!(line.contains(" -m 1G,slots=4,maxmem=16G "), "{line}");
        assert!(line.contains(" -device pc-dimm,memdev=d -kernel"), "{line}");
    }

    #[test]
    fn a_shell_reads_every_word_back() {
        for word in ["", "plain", "two words", "it's", "a\"b", "$HOME", "a;b", "*", "tab\t"] {
            let output = Command::new("sh").arg("-c").arg(format!("printf %s {}", shell_word(word))).output();
            assert_eq!(String::from_utf8(output.unwrap().stdout).unwrap(), word);
        }
    }
}
