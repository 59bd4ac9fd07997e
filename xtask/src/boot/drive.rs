//! The drive from which the firmware starts the boot loader.

use std::path::PathBuf;

use anyhow::Result;
use serde::Deserialize;

use super::damage::KernelDamage;
use super::disk;
use super::esp::{self, Contents, Loader};
use crate::arch::Arch;
use crate::memory::MemorySize;
use crate::qemu::escaped;

/// How large the disk of a machine of the matrix is: as `cargo xtask image` makes it when nothing is said.
pub(crate) const DISK_SIZE: MemorySize = MemorySize::mib(64);

/// What QEMU makes the drive of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Medium {
    /// A folder, which QEMU shows as a FAT file system.
    #[default]
    Folder,
    /// A disk image, as `cargo xtask image` writes it.
    Image,
}

/// The drive of one machine.
#[derive(Clone, Debug)]
pub(crate) struct Drive {
    pub(crate) loader: Loader,
    pub(crate) damage: Option<KernelDamage>,
    pub(crate) medium: Medium,
    /// A folder for its files, of this boot alone.
    pub(crate) folder: PathBuf,
}

impl Drive {
    fn path(&self) -> PathBuf {
        self.folder.join(match self.medium {
            Medium::Folder => "esp",
            Medium::Image => "disk.img",
        })
    }

    /// QEMU's options.
    pub(crate) fn options(&self, arch: Arch) -> [[String; 2]; 2] {
        let path = escaped(&self.path());
        let from = match self.medium {
            // Not `file=fat:…`, in which a colon in the folder's path would mean something.
            Medium::Folder => format!("file.driver=vvfat,file.dir={path}"),
            Medium::Image => format!("file.driver=file,file.filename={path}"),
        };
        let device = match arch {
            Arch::X86_64 => "virtio-blk-pci",
            Arch::Aarch64 => "virtio-blk-device",
        };
        [
            ["-drive".to_owned(), format!("if=none,id=esp,read-only=on,driver=raw,{from}")],
            ["-device".to_owned(), format!("{device},drive=esp")],
        ]
    }

    /// Writes what the options name.
    ///
    /// # Errors
    /// When a file cannot be read or written, or a disk is too small.
    pub(crate) fn write(&self, contents: &Contents<'_>) -> Result<()> {
        match self.medium {
            Medium::Folder => esp::write_folder(&self.path(), &contents.files()?),
            Medium::Image => disk::write(&self.path(), DISK_SIZE, contents),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_or_a_disk() {
        let drive = |medium| Drive { loader: Loader::Ours("/l".into()), damage: None, medium, folder: "/a,b:c".into() };
        assert_eq!(
            drive(Medium::Folder).options(Arch::X86_64).concat().join(" "),
            "-drive if=none,id=esp,read-only=on,driver=raw,file.driver=vvfat,file.dir=/a,,b:c/esp \
             -device virtio-blk-pci,drive=esp"
        );
        assert_eq!(
            drive(Medium::Image).options(Arch::Aarch64).concat().join(" "),
            "-drive if=none,id=esp,read-only=on,driver=raw,file.driver=file,file.filename=/a,,b:c/disk.img \
             -device virtio-blk-device,drive=esp"
        );
    }
}
