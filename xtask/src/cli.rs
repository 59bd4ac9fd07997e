//! The command line: verbs, options, and the examples that `--help` shows.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::arch::Arch;
use crate::boot::BootBy;
use crate::fuzz::FuzzArgs;
use crate::kernel::Model;
use crate::memory::MemorySize;
use crate::missing::Consent;
use crate::mutants::MutantsArgs;
use crate::numa::{Distances, Numa};
use crate::oracle::OracleArgs;
use crate::shard::Shard;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Builds the Tessera kernel, boots it on QEMU machines, runs every test",
    after_help = "Exit codes: 0 right, 1 something is wrong with what was run, 2 wrong usage, 3 a tool or file is \
                  missing, 4 time limit.\n\nExample:\n  cargo xtask run --arch x86_64 --yes"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Build the kernel and boot it on a machine
    Run(RunArgs),
    /// Build the kernel; the last line on stdout is the path of its bootable image
    Build(BuildArgs),
    /// Write a disk image that boots the kernel on a machine with UEFI firmware
    Image(ImageArgs),
    /// Run the host tests, then boot every machine of ci/matrix.toml
    Test(TestArgs),
    /// Ask Linux what it makes of the machines of ci/matrix.toml, and hold our kernel against that
    Oracle(OracleArgs),
    /// Run the fuzz targets of ci/fuzz for some minutes
    Fuzz(FuzzArgs),
    /// Change the policy modules and see whether a test notices
    Mutants(MutantsArgs),
    /// Say what is needed and whether it is there
    Doctor(DoctorArgs),
    /// Bring a machine up that is not here, from its boot log, device tree or machine file
    Simulate(SimulateArgs),
    /// Say what a board's device tree says beside what is understood, and write what it needs
    NewBoard(NewBoardArgs),
    /// Do exactly what CI does: format, lints, documentation, `test --yes`
    Ci(CiArgs),
}

/// Whether to install what is missing.
#[derive(Args, Clone, Copy, Default)]
pub(crate) struct Installing {
    /// Install what is missing without asking: Rust targets by rustup, QEMU, UEFI firmware and a linker by apt-get
    #[arg(long)]
    yes: bool,
}

impl Installing {
    pub(crate) fn consent(self) -> Consent {
        if self.yes { Consent::Given } else { Consent::Ask }
    }
}

/// Options of `run`.
#[derive(Args, Default)]
#[command(after_help = "On a terminal there is a prompt: Ctrl-A X ends QEMU, Ctrl-A C is its monitor. Without a \
                  terminal, or with commands that power off, the machine boots, reports and ends.\n\n\
                  Examples:\n  \
                  cargo xtask run --arch x86_64 --yes\n  \
                  cargo xtask run --arch aarch64 --machine virt,virtualization=on --memory 4G \
                  --exec \"zoneinfo; poweroff\"\n  \
                  cargo xtask run --arch aarch64 --boot uefi --exec \"why 0x40000000; poweroff\"\n  \
                  cargo xtask run --arch x86_64 --boot limine --limine ~/limine\n  \
                  cargo xtask run --machine q35 --numa 1G:0-1/3G:2-3 --numa-dist 0-1=20 --exec \"numa; poweroff\"")]
pub(crate) struct RunArgs {
    /// The arch to boot [default: the host's]
    #[arg(long)]
    pub(crate) arch: Option<Arch>,
    /// QEMU's machine type (pc, q35, microvm, virt), with its properties after commas [default: q35, virt]
    #[arg(long)]
    pub(crate) machine: Option<String>,
    /// A machine of ci/matrix.toml, with all it says there, also what it executes; other options change it.
    /// --exec "" gives the prompt on it
    #[arg(long, value_name = "NAME")]
    pub(crate) config: Option<String>,
    /// Who loads the kernel [default: direct]
    #[arg(long)]
    pub(crate) boot: Option<BootBy>,
    /// The folder with Limine's files, for --boot limine [default: $LIMINE_DIR, /usr/share/limine,
    /// /usr/local/share/limine]
    #[arg(long, value_name = "DIR")]
    pub(crate) limine: Option<PathBuf>,
    /// Where the kernel keeps its records of frames [default: vmemmap]
    #[arg(long)]
    pub(crate) model: Option<Model>,
    /// QEMU's CPU model [default: QEMU's own on x86_64, cortex-a57 on aarch64]
    #[arg(long)]
    pub(crate) cpu: Option<String>,
    /// Memory: a number and K, M, G or T [default: 1G, or what --numa adds up to]
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<MemorySize>,
    /// Number of CPUs [default: 1, or as many as --numa names]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) smp: Option<u32>,
    /// Nodes: MEMORY:CPUS of each, joined by `/`. 1G:0-1/3G:2-3 is two nodes; 1G:0/:1/2G three: the second without
    /// memory, the third without CPU
    #[arg(long, value_name = "SPEC")]
    pub(crate) numa: Option<Numa>,
    /// Distances between nodes: FROM-TO=VALUE, joined by `/`, as 0-1=15/0-2=30
    #[arg(long, value_name = "SPEC")]
    pub(crate) numa_dist: Option<Distances>,
    /// A file to load as initial RAM disk
    #[arg(long, value_name = "FILE")]
    pub(crate) initrd: Option<PathBuf>,
    /// A device tree blob for a board that QEMU makes none for [default: ours, of ci/boards]
    #[arg(long, value_name = "FILE")]
    pub(crate) dtb: Option<PathBuf>,
    /// Kernel command line
    #[arg(long, value_name = "LINE", allow_hyphen_values = true, value_parser = one_line)]
    pub(crate) append: Option<String>,
    /// Monitor commands to run when the machine is up, separated by `;`. Where nobody can type after them,
    /// `poweroff` is added
    #[arg(long, value_name = "COMMANDS", value_parser = one_line)]
    pub(crate) exec: Option<String>,
    /// Wait for gdb on TCP port 1234 before the first instruction
    #[arg(long)]
    pub(crate) gdb: bool,
    /// Time limit in seconds [default: 60, by firmware 120; none on a terminal and with --gdb]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) timeout: Option<u64>,
    /// Let the guest's clock count its instructions, one a nanosecond: every run is the same
    #[arg(long)]
    pub(crate) icount: bool,
    /// Leave out the device that ends QEMU with a status: the kernel powers off as on a real machine
    #[arg(long)]
    pub(crate) no_test_device: bool,
    /// Print the QEMU command and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    installing: Installing,
}

impl RunArgs {
    pub(crate) fn consent(&self) -> Consent {
        self.installing.consent()
    }
}

/// Options of `build`.
#[derive(Args)]
#[command(after_help = "The image is what plain QEMU boots:\n  \
                        qemu-system-aarch64 -M virt -cpu cortex-a57 -nographic \
                        -kernel \"$(cargo xtask build --arch aarch64 | tail -n 1)\"\n\n\
                        Example:\n  cargo xtask build --arch aarch64")]
pub(crate) struct BuildArgs {
    /// The arch to build for [default: the host's]
    #[arg(long)]
    pub(crate) arch: Option<Arch>,
    /// Where the kernel keeps its records of frames
    #[arg(long, value_enum, default_value_t)]
    pub(crate) model: Model,
    #[command(flatten)]
    pub(crate) installing: Installing,
}

/// Options of `image`.
#[derive(Args)]
#[command(
    after_help = "The last line on stdout is the path of the image. It has a GPT and one EFI system partition; the \
                        same files make the same bytes. On a real machine, copy it to a whole USB stick.\n\n\
                        Examples:\n  \
                        cargo xtask image --arch x86_64\n  \
                        cargo xtask image --arch aarch64 --boot limine --limine ~/limine --size 128M \
                        --append 'console=ttyAMA0' --output tessera.img"
)]
pub(crate) struct ImageArgs {
    /// The arch to build for [default: the host's]
    #[arg(long)]
    pub(crate) arch: Option<Arch>,
    /// The boot loader on it. Limine for x86_64 can be started by a BIOS, too
    #[arg(long, value_enum, default_value_t)]
    pub(crate) boot: ImageBoot,
    /// The folder with Limine's files, for --boot limine [default: $LIMINE_DIR, /usr/share/limine,
    /// /usr/local/share/limine]
    #[arg(long, value_name = "DIR")]
    pub(crate) limine: Option<PathBuf>,
    /// Where the kernel keeps its records of frames
    #[arg(long, value_enum, default_value_t)]
    pub(crate) model: Model,
    /// The size of the disk: a number and K, M, G or T
    #[arg(long, value_name = "SIZE", default_value = "64M")]
    pub(crate) size: MemorySize,
    /// The file to write [default: target/images/ARCH-BOOT.img]
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Kernel command line
    #[arg(long, value_name = "LINE", allow_hyphen_values = true, default_value = "", value_parser = one_line)]
    pub(crate) append: String,
    /// A file to load as initial RAM disk
    #[arg(long, value_name = "FILE")]
    pub(crate) initrd: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) installing: Installing,
}

/// Boot loaders that a disk can have.
#[derive(Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ImageBoot {
    /// Our own, for UEFI firmware
    #[default]
    Uefi,
    /// Limine
    Limine,
}

/// Options of `test`.
#[derive(Args)]
#[command(
    after_help = "Each machine's serial log is kept as target/machines/NAME.log. A machine that fails is booted \
                        once more (NAME.again.log); if it passes then, it counts as passed and \
                        is named as flaky. `cargo test` runs the same machines, as tests named machines/NAME.\n\n\
                        Examples:\n  \
                        cargo xtask test --yes\n  \
                        cargo xtask test --config 'virt-*' --jobs 2\n  \
                        cargo xtask test --kernel --shard 0/4\n  \
                        cargo xtask test --junit target/junit.xml"
)]
pub(crate) struct TestArgs {
    /// Machines of this arch only
    #[arg(long)]
    pub(crate) arch: Option<Arch>,
    /// Machines whose name matches (`*` any letters, `?` one), and no host tests
    #[arg(long, value_name = "GLOB", conflicts_with = "host")]
    pub(crate) config: Option<String>,
    /// Host tests only
    #[arg(long, conflicts_with = "kernel")]
    pub(crate) host: bool,
    /// Machines only
    #[arg(long)]
    pub(crate) kernel: bool,
    /// List the machines and run nothing
    #[arg(long)]
    pub(crate) list: bool,
    /// Only part K of N of the machines, counted from 0, and no host tests
    #[arg(long, value_name = "K/N", conflicts_with = "host")]
    pub(crate) shard: Option<Shard>,
    /// How many machines run at once [default: the number of CPUs]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) jobs: Option<u16>,
    /// Instead of all that, the libraries' tests under Miri, which finds undefined behaviour (nightly)
    #[arg(long, conflicts_with_all = ["arch", "config", "host", "kernel", "shard", "jobs"])]
    pub(crate) miri: bool,
    /// Instead of all that, the stress body under the thread sanitizer, which finds data races (nightly)
    #[arg(long, conflicts_with_all = ["arch", "config", "host", "kernel", "shard", "jobs", "miri"])]
    pub(crate) tsan: bool,
    /// Instead of all that, the protocols between CPUs in every order (loom)
    #[arg(long, conflicts_with_all = ["arch", "config", "host", "kernel", "shard", "jobs", "miri", "tsan"])]
    pub(crate) loom: bool,
    /// Preemptions that an order may have [default: 2; three take minutes]
    #[arg(long, value_name = "N", requires = "loom", value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) preemptions: Option<u8>,
    /// Write the results as JUnit XML
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    #[command(flatten)]
    installing: Installing,
}

impl TestArgs {
    pub(crate) fn consent(&self) -> Consent {
        self.installing.consent()
    }
}

/// Options of `new-board`.
#[derive(Args)]
#[command(
    after_help = "What it writes, where it is needed: platform/src/board/NAME.rs with its line in the table, and a \
                        machine in ci/matrix.toml where QEMU has one. docs/porting.md is the guide.\n\n\
                        Examples:\n  \
                        cargo xtask new-board my-board --dtb my-board.dtb --dry-run\n  \
                        cargo xtask new-board raspi3ap --dtb bcm2837-rpi-3-a-plus.dtb"
)]
pub(crate) struct NewBoardArgs {
    /// Its name: lower-case letters, digits and `-`; of a machine of QEMU, QEMU's
    pub(crate) name: String,
    /// Its device tree blob
    #[arg(long, value_name = "FILE")]
    pub(crate) dtb: PathBuf,
    /// QEMU's machine type that it is, if it is one [default: NAME, where QEMU has one of this name]
    #[arg(long, value_name = "MACHINE")]
    pub(crate) machine: Option<String>,
    /// Print what is understood and what would be written, and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Options of `simulate`.
#[derive(Args)]
#[command(after_help = "The kind of a file is seen from what stands in it: a log of a kernel of any age (dmesg, \
                        journalctl -k, a serial console), a device tree blob; a machine file ends in .toml \
                        (ci/maps/README.md).\n\n\
                        Examples:\n  \
                        cargo xtask simulate ci/maps/x86-hp-16-node-12-tib.toml\n  \
                        dmesg > here.log && cargo xtask simulate here.log --why 0x100000\n  \
                        cargo xtask simulate --format json ci/maps/*.toml\n  \
                        cargo xtask simulate --debian --format totals")]
pub(crate) struct SimulateArgs {
    /// Boot logs, .dtb and .toml files
    #[arg(required_unless_present = "debian", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Every device tree of Debian's arm64 kernel besides, fetched with apt-get into the target folder
    #[arg(long)]
    pub(crate) debian: bool,
    /// What to print: the boot's lines, one JSON object a file, or how many files say what
    #[arg(long, value_enum, default_value_t = SimulateFormat::Text)]
    pub(crate) format: SimulateFormat,
    /// Print the life of this physical address instead
    #[arg(long, value_name = "ADDR", conflicts_with = "format")]
    pub(crate) why: Option<Address>,
    /// The machine's page size [default: what the file says, else 4K]
    #[arg(long, value_enum, value_name = "SIZE")]
    pub(crate) page_size: Option<SimulatePages>,
    /// More of the kernel command line, behind what the file has of it
    #[arg(long, value_name = "LINE", allow_hyphen_values = true, value_parser = one_line)]
    pub(crate) append: Option<String>,
}

/// What `simulate` prints.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum SimulateFormat {
    Text,
    Json,
    Totals,
}

/// Page sizes of machines.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum SimulatePages {
    #[value(name = "4K")]
    K4,
    #[value(name = "16K")]
    K16,
    #[value(name = "64K")]
    K64,
}

/// A physical address: `0x…`, or in base 10.
#[derive(Clone, Copy)]
pub(crate) struct Address(pub(crate) u64);

impl std::str::FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        number.map(Self).map_err(|_| format!("`{text}` is no address: write 0x and digits in base 16"))
    }
}

/// What becomes part of the kernel command line: the files of boot loaders have it in a line.
fn one_line(text: &str) -> Result<String, &'static str> {
    if text.contains(['\n', '\r', '\0']) {
        return Err("a kernel command line is one line of text");
    }
    Ok(text.to_owned())
}

/// Options of `doctor`.
#[derive(Args)]
#[command(after_help = "Exit code 3 when something is missing that `run` or `test` needs.\n\n\
                        Example:\n  cargo xtask doctor")]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) installing: Installing,
}

/// Options of `ci`.
#[derive(Args)]
#[command(
    after_help = "In this order: cargo fmt --check, clippy with warnings denied for the host crates and for the \
                  kernel, the documentation with warnings denied, all that `cargo xtask test` runs. One that \
                  fails does not keep the others from running.\n\nExample:\n  cargo xtask ci --yes"
)]
pub(crate) struct CiArgs {
    /// Kernel and machines of this arch only; the host's checks stay
    #[arg(long)]
    pub(crate) arch: Option<Arch>,
    /// Write the tests' results as JUnit XML
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    #[command(flatten)]
    installing: Installing,
}

impl CiArgs {
    pub(crate) fn consent(&self) -> Consent {
        self.installing.consent()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_has_an_example() {
        for verb in Cli::command().get_subcommands_mut() {
            let name = verb.get_name().to_owned();
            let help = verb.render_long_help().to_string();
            assert!(help.contains(&format!("\n  cargo xtask {name}")), "{help}");
        }
    }

    #[test]
    fn no_option_adds_a_line_to_the_kernel_command_line() {
        for verb in ["run --append", "run --exec", "image --append", "simulate a.dtb --append"] {
            let parsed =
                |value| Cli::try_parse_from(["xtask"].into_iter().chain(verb.split(' ')).chain([value])).map(drop);
            assert!(parsed("a=1 -b; c").is_ok(), "{verb}");
            for value in ["a\nb", "a\rb", "a\n", "a\0"] {
                let error = parsed(value).unwrap_err();
                assert_eq!(error.exit_code(), i32::from(Exit::Usage as u8), "{verb} {value:?}");
                assert!(error.to_string().contains("one line of text"), "{error}");
            }
        }
    }

    #[test]
    fn wrong_usage_is_refused_by_name() {
        for (line, word) in [
            ("run --numa 1G:0-1/", "a node needs memory"),
            ("run --memory much", "no memory size"),
            ("run --timeout 0", "--timeout"),
            ("run --arch riscv64", "x86_64"),
            ("test --host --kernel", "--kernel"),
            ("test --miri --config a", "--config"),
            ("test --shard 4/4", "K below N"),
            ("test --tsan --miri", "--miri"),
            ("test --loom --miri", "--loom"),
            ("test --preemptions 3", "--loom"),
            ("fly", "fly"),
        ] {
            let words = std::iter::once("xtask").chain(line.split(' '));
            let Err(error) = Cli::try_parse_from(words) else { panic!("{line} was accepted") };
            assert_eq!(error.exit_code(), i32::from(Exit::Usage as u8), "{line}");
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}
