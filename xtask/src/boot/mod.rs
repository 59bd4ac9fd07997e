//! How a machine comes to its kernel, where that is not QEMU's `-kernel`.
//!
//! UEFI firmware lies in two flash chips ([`flash`]). It looks for a boot loader on an EFI system partition: ours
//! (`platform/loader`) or Limine's ([`limine`]), and that one loads the kernel's ELF file from there and enters it by
//! the Limine boot protocol. [`esp`] says which files the partition holds. QEMU makes a drive of a folder, so a boot
//! needs no disk image; [`disk`] writes one all the same, for `cargo xtask image` ([`image`]) and for machines that
//! start from a disk as real ones do. With Limine a BIOS can start such a disk, too ([`bios`]).

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use serde::Deserialize;

use crate::arch::Arch;
use crate::exit::usage;

pub(crate) mod bios;
pub(crate) mod damage;
pub(crate) mod disk;
pub(crate) mod drive;
pub(crate) mod esp;
pub(crate) mod flash;
pub(crate) mod image;
pub(crate) mod limine;

/// Who loads the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum BootBy {
    /// QEMU, by PVH on x86_64 and as a Linux Image on aarch64
    #[default]
    Direct,
    /// UEFI firmware, with our own loader
    Uefi,
    /// UEFI firmware, with Limine
    Limine,
    /// A BIOS, with Limine from a disk image (x86_64)
    LimineBios,
}

impl BootBy {
    /// Whether the machine has UEFI firmware.
    pub(crate) fn has_uefi(self) -> bool {
        matches!(self, Self::Uefi | Self::Limine)
    }

    /// How much longer than a direct boot this one may take: firmware and loader are some seconds of it on a host with
    /// nothing else to do.
    pub(crate) fn grace(self) -> Duration {
        Duration::from_secs(if self == Self::Direct { 0 } else { 60 })
    }

    /// Whether the loader is Limine.
    pub(crate) fn is_limine(self) -> bool {
        matches!(self, Self::Limine | Self::LimineBios)
    }
}

impl fmt::Display for BootBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::Uefi => "uefi",
            Self::Limine => "limine",
            Self::LimineBios => "limine-bios",
        })
    }
}

/// QEMU's machine types that UEFI firmware is built for, or a BIOS that starts disks. Others have no flash chips to hold
/// it, or need firmware of their own.
fn machines(arch: Arch, by: BootBy) -> &'static [&'static str] {
    match (arch, by) {
        (Arch::X86_64, _) => &["pc", "q35"],
        (Arch::Aarch64, BootBy::LimineBios) => &[],
        (Arch::Aarch64, _) => &["virt"],
    }
}

/// Whether the firmware can start this machine type (with its properties after commas).
///
/// # Errors
/// Wrong usage, which names those that it can start.
pub(crate) fn check_machine(arch: Arch, machine: &str, by: BootBy) -> Result<()> {
    let kind = machine.split(',').next().unwrap_or_default();
    // QEMU's versioned names: pc-i440fx-7.2, pc-q35-7.2, virt-7.2.
    let is = |known: &&str| {
        let long = if *known == "pc" { "pc-i440fx" } else { known };
        let kind = if *known == "q35" { kind.strip_prefix("pc-").unwrap_or(kind) } else { kind };
        kind == *known || kind.strip_prefix(long).is_some_and(|version| version.starts_with('-'))
    };
    let known = machines(arch, by);
    if by == BootBy::Direct || known.iter().any(is) {
        return Ok(());
    }
    let firmware = if by.has_uefi() { "UEFI firmware" } else { "a BIOS" };
    let starts = if known.is_empty() { "nothing".to_owned() } else { known.join(" and ") };
    Err(usage(format!("--boot {by}: {firmware} cannot start {kind}; on {arch} it starts {starts}")))
}

/// A folder for one boot's files.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    /// Keeps others out, as long as it is open.
    _lock: Option<File>,
}

impl Folder {
    /// This folder; one beside it where another boot uses it at this moment, so that boots with different files can run
    /// beside each other.
    ///
    /// # Errors
    /// When none can be made.
    pub(crate) fn claim(wanted: &Path) -> Result<Self> {
        for number in 1_u32.. {
            let mut path = wanted.as_os_str().to_owned();
            if number > 1 {
                path.push(format!(".{number}"));
            }
            let path = PathBuf::from(path);
            fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
            let file = path.join("in-use");
            let lock = File::create(&file).with_context(|| file.display().to_string())?;
            match lock.try_lock() {
                Ok(()) => return Ok(Self { path, _lock: Some(lock) }),
                Err(TryLockError::WouldBlock) => {}
                // A file system without locks: then there is nobody to tell apart.
                Err(TryLockError::Error(_)) => return Ok(Self { path, _lock: None }),
            }
        }
        bail!("{} and all folders beside it are in use", wanted.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Failure;

    #[test]
    fn firmware_starts_the_machines_it_is_built_for() {
        for (arch, machine) in [
            (Arch::X86_64, "pc"),
            (Arch::X86_64, "pc-i440fx-7.2,smm=off"),
            (Arch::X86_64, "q35"),
            (Arch::X86_64, "pc-q35-9.0"),
            (Arch::Aarch64, "virt,gic-version=3"),
            (Arch::Aarch64, "virt-7.2"),
        ] {
            check_machine(arch, machine, BootBy::Uefi).unwrap();
        }
        assert!(check_machine(Arch::X86_64, "q35", BootBy::LimineBios).is_ok());
        assert!(check_machine(Arch::Aarch64, "virt", BootBy::LimineBios).is_err());
        for (arch, machine) in [
            (Arch::X86_64, "microvm"),
            (Arch::X86_64, "pcspk"),
            (Arch::X86_64, "isapc"),
            (Arch::Aarch64, "raspi3b"),
            (Arch::Aarch64, "virtual"),
            (Arch::Aarch64, "sbsa-ref"),
        ] {
            assert!(check_machine(arch, machine, BootBy::Direct).is_ok());
            for by in [BootBy::Uefi, BootBy::Limine, BootBy::LimineBios] {
                let error = check_machine(arch, machine, by).unwrap_err();
                assert!(matches!(error.downcast_ref(), Some(Failure::Usage(line)) if line.contains(machine)));
            }
        }
    }

    #[test]
    fn two_boots_at_once_have_two_folders() {
        let wanted = std::env::temp_dir().join(format!("xtask-claim-{}", std::process::id()));
        let first = Folder::claim(&wanted).unwrap();
        let second = Folder::claim(&wanted).unwrap();
        assert_eq!(first.path, wanted);
        assert_ne!(first.path, second.path);
        drop(first);
        assert_eq!(Folder::claim(&wanted).unwrap().path, wanted);
        for path in [wanted, second.path.clone()] {
            fs::remove_dir_all(path).unwrap();
        }
    }
}
