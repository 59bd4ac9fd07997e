//! The two arches the kernel is built for: target, emulator, package, and what a boot on each needs.

use clap::ValueEnum;
use serde::Deserialize;

use crate::exit::usage;

/// An arch the kernel runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum, Deserialize)]
pub(crate) enum Arch {
    /// Machines pc, q35, microvm
    #[value(name = "x86_64")]
    #[serde(rename = "x86_64")]
    X86_64,
    /// Machine virt
    #[value(name = "aarch64")]
    #[serde(rename = "aarch64")]
    Aarch64,
}

impl Arch {
    pub(crate) const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// The arch of the machine this runs on.
    ///
    /// # Errors
    /// On a host of another arch there is no default: `--arch` must say.
    pub(crate) fn host() -> anyhow::Result<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Ok(Self::X86_64),
            "aarch64" => Ok(Self::Aarch64),
            other => Err(usage(format!("this host is {other}: say which machine to boot with --arch x86_64|aarch64"))),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// The Rust target of the kernel.
    pub(crate) fn target(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-none",
            Self::Aarch64 => "aarch64-unknown-none-softfloat",
        }
    }

    /// The Rust target of programs for UEFI firmware.
    pub(crate) fn uefi_target(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-uefi",
            Self::Aarch64 => "aarch64-unknown-uefi",
        }
    }

    /// The name of the program that UEFI firmware starts from a disk when nothing tells it which.
    pub(crate) fn efi_program(self) -> &'static str {
        match self {
            Self::X86_64 => "BOOTX64.EFI",
            Self::Aarch64 => "BOOTAA64.EFI",
        }
    }

    /// The Debian package that brings UEFI firmware for its machines.
    pub(crate) fn firmware_package(self) -> &'static str {
        match self {
            Self::X86_64 => "ovmf",
            Self::Aarch64 => "qemu-efi-aarch64",
        }
    }

    /// The emulator's program.
    pub(crate) fn qemu(self) -> &'static str {
        match self {
            Self::X86_64 => "qemu-system-x86_64",
            Self::Aarch64 => "qemu-system-aarch64",
        }
    }

    /// The Debian package that brings the emulator.
    pub(crate) fn qemu_package(self) -> &'static str {
        match self {
            Self::X86_64 => "qemu-system-x86",
            Self::Aarch64 => "qemu-system-arm",
        }
    }

    /// The machine that `run` boots when nothing else is said.
    pub(crate) fn default_machine(self) -> &'static str {
        match self {
            Self::X86_64 => "q35",
            Self::Aarch64 => "virt",
        }
    }

    /// The CPU model of a machine type, with properties after commas, where QEMU's own default does not do: virt's is a
    /// 32-bit one.
    pub(crate) fn default_cpu(self, machine: &str) -> Option<&'static str> {
        let of_virt = self == Self::Aarch64 && machine.split(',').next().is_some_and(|name| name.starts_with("virt"));
        of_virt.then_some("cortex-a57")
    }
}

impl std::fmt::Display for Arch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
