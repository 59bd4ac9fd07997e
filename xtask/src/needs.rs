//! What the verbs need from the machine they run on, and how to see whether it is there.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::arch::Arch;
use crate::boot::BootBy;
use crate::boot::flash::Flash;
use crate::missing::{Missing, Remedy};
use crate::workspace;

/// The toolchain of Miri, fuzzing and sanitizers, and of nothing else.
const NIGHTLY: &str = "nightly";

/// One thing that must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// rustup, which brings the rest of Rust.
    Rustup,
    /// The compiler that `rust-toolchain.toml` names.
    Toolchain,
    /// The C compiler driver that Rust links host programs with.
    Linker,
    /// The core library of the kernel's target.
    RustTarget(Arch),
    /// The core library of programs for UEFI firmware.
    UefiTarget(Arch),
    /// The emulator.
    Qemu(Arch),
    /// UEFI firmware for machines of the emulator.
    Firmware(Arch),
    /// What fetches Debian's packages.
    Apt,
    /// What unpacks them.
    DpkgDeb,
    /// The keys that Debian signs its lists of packages with.
    DebianKeys,
    /// `cargo fmt`.
    Rustfmt,
    /// `cargo clippy`.
    Clippy,
    /// A nightly toolchain with Miri, and the sources it builds the core library from.
    Miri,
    /// A nightly toolchain, for what cargo-fuzz builds.
    Nightly,
    /// A nightly toolchain and the sources of its standard library, which a sanitizer wants built anew.
    NightlySources,
    /// `cargo fuzz`.
    CargoFuzz,
    /// `cargo mutants`.
    CargoMutants,
}

impl Need {
    /// What a build of the kernel needs.
    pub(crate) fn of_build(arch: Arch) -> Vec<Self> {
        vec![Self::Linker, Self::RustTarget(arch)]
    }

    /// What building and booting needs.
    pub(crate) fn of_boot(arch: Arch, by: BootBy) -> Vec<Self> {
        let mut needs = Self::of_loading(arch, by);
        needs.push(Self::Qemu(arch));
        if by.has_uefi() {
            needs.push(Self::Firmware(arch));
        }
        needs
    }

    /// What building the kernel and its loader needs.
    pub(crate) fn of_loading(arch: Arch, by: BootBy) -> Vec<Self> {
        let mut needs = Self::of_build(arch);
        if by == BootBy::Uefi {
            needs.push(Self::UefiTarget(arch));
        }
        needs
    }

    /// What asking Linux needs beside the emulator.
    pub(crate) fn of_debian() -> [Self; 3] {
        [Self::Apt, Self::DpkgDeb, Self::DebianKeys]
    }

    /// The name under which the thing is known.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Rustup => "rustup".into(),
            Self::Toolchain => "the Rust toolchain of rust-toolchain.toml".into(),
            Self::Linker => "the C linker cc".into(),
            Self::RustTarget(arch) => format!("the Rust target {}", arch.target()),
            Self::UefiTarget(arch) => format!("the Rust target {}", arch.uefi_target()),
            Self::Qemu(arch) => arch.qemu().into(),
            Self::Firmware(arch) => format!("UEFI firmware for {arch} machines"),
            Self::Apt => "apt-get".into(),
            Self::DpkgDeb => "dpkg-deb".into(),
            Self::DebianKeys => workspace::DEBIAN_KEYS.into(),
            Self::Rustfmt => "rustfmt".into(),
            Self::Clippy => "clippy".into(),
            Self::Miri => "Miri on the nightly toolchain".into(),
            Self::Nightly => "the nightly toolchain".into(),
            Self::NightlySources => "the sources of the nightly toolchain's standard library".into(),
            Self::CargoFuzz => "cargo-fuzz".into(),
            Self::CargoMutants => "cargo-mutants".into(),
        }
    }

    /// What was found (a version, a path), or what is missing and how it is installed.
    ///
    /// # Errors
    /// The thing is missing.
    pub(crate) fn look(self) -> Result<String, Missing> {
        self.find().ok_or_else(|| Missing { what: self.name(), remedy: self.remedy() })
    }

    fn find(self) -> Option<String> {
        match self {
            Self::Rustup => first_line(Command::new(workspace::find_program("rustup")?).arg("--version")),
            Self::Toolchain => first_line(rustc().arg("--version")),
            Self::Linker => {
                let cc = workspace::find_program("cc")?;
                Some(first_line(Command::new(&cc).arg("--version")).unwrap_or_else(|| cc.display().to_string()))
            }
            Self::RustTarget(arch) => libraries(arch.target()),
            Self::UefiTarget(arch) => libraries(arch.uefi_target()),
            Self::Firmware(arch) => {
                let flash = Flash::of_host(arch).ok().filter(Flash::is_there)?;
                Some(flash.code.display().to_string())
            }
            Self::Qemu(arch) => first_line(Command::new(workspace::find_program(arch.qemu())?).arg("--version")),
            Self::Apt => first_line(Command::new(workspace::find_program("apt-get")?).arg("--version")),
            Self::DpkgDeb => first_line(Command::new(workspace::find_program("dpkg-deb")?).arg("--version")),
            Self::DebianKeys => Path::new(workspace::DEBIAN_KEYS).is_file().then(|| workspace::DEBIAN_KEYS.to_owned()),
            Self::Rustfmt => first_line(workspace::cargo().args(["fmt", "--version"])),
            Self::Clippy => first_line(workspace::cargo().args(["clippy", "--version"])),
            Self::Miri => {
                nightly_sources()?;
                nightly(&["cargo", "miri", "--version"])
            }
            Self::Nightly => nightly(&["rustc", "--version"]),
            Self::NightlySources => nightly_sources(),
            Self::CargoFuzz => first_line(workspace::cargo().args(["fuzz", "--version"])),
            Self::CargoMutants => first_line(workspace::cargo().args(["mutants", "--version"])),
        }
    }

    fn remedy(self) -> Remedy {
        match self {
            Self::Rustup => Remedy::Advice("curl -sSf https://sh.rustup.rs | sh"),
            Self::Toolchain => Remedy::Rustup("the toolchain", "toolchain install"),
            Self::Linker => Remedy::Package("gcc"),
            Self::RustTarget(Arch::X86_64) => Remedy::Rustup("the target", "target add x86_64-unknown-none"),
            Self::RustTarget(Arch::Aarch64) => {
                Remedy::Rustup("the target", "target add aarch64-unknown-none-softfloat")
            }
            Self::UefiTarget(Arch::X86_64) => Remedy::Rustup("the target", "target add x86_64-unknown-uefi"),
            Self::UefiTarget(Arch::Aarch64) => Remedy::Rustup("the target", "target add aarch64-unknown-uefi"),
            Self::Qemu(arch) => Remedy::Package(arch.qemu_package()),
            Self::Firmware(arch) => Remedy::Package(arch.firmware_package()),
            Self::Apt => Remedy::Package("apt"),
            Self::DpkgDeb => Remedy::Package("dpkg"),
            Self::DebianKeys => Remedy::Package("debian-archive-keyring"),
            Self::Rustfmt => Remedy::Rustup("the component", "component add rustfmt"),
            Self::Clippy => Remedy::Rustup("the component", "component add clippy"),
            Self::Miri => Remedy::Rustup(
                "the toolchain",
                "toolchain install nightly --profile minimal --component miri --component rust-src",
            ),
            Self::Nightly => Remedy::Rustup("the toolchain", "toolchain install nightly --profile minimal"),
            Self::NightlySources => {
                Remedy::Rustup("the toolchain", "toolchain install nightly --profile minimal --component rust-src")
            }
            Self::CargoFuzz => Remedy::Cargo("cargo-fuzz"),
            Self::CargoMutants => Remedy::Cargo("cargo-mutants"),
        }
    }
}

/// The first line that a program of the nightly toolchain prints.
pub(crate) fn nightly(arguments: &[&str]) -> Option<String> {
    let rustup = workspace::find_program("rustup")?;
    first_line(Command::new(rustup).args(["run", NIGHTLY]).args(arguments))
}

/// Where the libraries of the target lie.
fn libraries(target: &str) -> Option<String> {
    let libraries = first_line(rustc().args(["--print", "target-libdir", "--target", target]))?;
    PathBuf::from(&libraries).is_dir().then_some(libraries)
}

/// Where the sources of its standard library lie.
fn nightly_sources() -> Option<String> {
    let sources = PathBuf::from(nightly(&["rustc", "--print", "sysroot"])?).join("lib/rustlib/src/rust/library");
    sources.join("Cargo.lock").is_file().then(|| sources.display().to_string())
}

fn rustc() -> Command {
    let mut command = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    command.current_dir(workspace::root());
    command
}

/// The first line that the command prints, or `None` where it cannot be started or fails.
fn first_line(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    if !output.status.success() {
        return None;
    }
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().map(|line| line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_need_names_a_command_that_installs_it() {
        let per_arch = Arch::ALL
            .into_iter()
            .flat_map(|arch| [Need::RustTarget(arch), Need::UefiTarget(arch), Need::Qemu(arch), Need::Firmware(arch)]);
        let fixed =
            [Need::Rustup, Need::Toolchain, Need::Linker, Need::Rustfmt, Need::Clippy, Need::Miri, Need::Nightly];
        let fixed = fixed.into_iter().chain([Need::NightlySources, Need::CargoFuzz, Need::CargoMutants]);
        for need in per_arch.chain(fixed).chain(Need::of_debian()) {
            let missing = Missing { what: need.name(), remedy: need.remedy() };
            let line = missing.to_string();
            assert_eq!(line.lines().count(), 1, "{line}");
            assert!(
                ["apt-get install ", "rustup ", "curl ", "cargo install "].iter().any(|command| line.contains(command)),
                "{line}"
            );
        }
    }

    #[test]
    fn a_target_of_the_remedy_is_the_target_of_the_arch() {
        for arch in Arch::ALL {
            for (need, target) in
                [(Need::RustTarget(arch), arch.target()), (Need::UefiTarget(arch), arch.uefi_target())]
            {
                let missing = Missing { what: String::new(), remedy: need.remedy() };
                assert!(missing.to_string().contains(&format!("rustup target add {target}")));
            }
        }
    }

    #[test]
    fn the_compiler_that_builds_this_is_found() {
        assert!(Need::Toolchain.look().unwrap().starts_with("rustc "));
    }

    #[test]
    fn a_program_that_fails_is_not_there() {
        assert_eq!(first_line(Command::new("false").arg("--version")), None);
        assert_eq!(first_line(&mut Command::new("/nowhere/tool")), None);
    }
}
