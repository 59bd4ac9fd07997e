//! What the EFI system partition holds.
//!
//! ```text
//! \EFI\BOOT\BOOTX64.EFI or BOOTAA64.EFI   the boot loader, by the name that firmware starts without being told
//! \boot\tessera.elf                       the kernel
//! \boot\cmdline.txt                       its command line, for our loader
//! \boot\initrd                            the initial RAM disk, where there is one
//! \limine.conf                            for Limine
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::bios::Bios;
use super::damage::KernelDamage;
use super::limine;
use crate::arch::Arch;
use crate::image;

const KERNEL: &str = "boot/tessera.elf";
const COMMAND_LINE: &str = "boot/cmdline.txt";
const INITRD: &str = "boot/initrd";
const LIMINE_CONFIGURATION: &str = "limine.conf";

/// The boot loader's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Loader {
    /// Of `platform/loader`.
    Ours(PathBuf),
    Limine(PathBuf),
}

/// What is put there.
#[derive(Clone, Debug)]
pub(crate) struct Contents<'a> {
    pub(crate) arch: Arch,
    pub(crate) loader: &'a Loader,
    /// The kernel's ELF file.
    pub(crate) kernel: &'a Path,
    pub(crate) damage: Option<KernelDamage>,
    pub(crate) command_line: &'a str,
    pub(crate) initrd: Option<&'a Path>,
}

/// A file of the partition: its path there, parts joined by `/`, and its bytes.
pub(crate) type FileOfEsp = (String, Vec<u8>);

impl Contents<'_> {
    /// What a BIOS needs to start from a disk with these, where Limine brings it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn bios(&self) -> Result<Option<Bios>> {
        match (self.arch, self.loader) {
            (Arch::X86_64, Loader::Limine(program)) => Bios::found(program),
            _ => Ok(None),
        }
    }

    /// The files, in an order that does not change.
    ///
    /// # Errors
    /// When one cannot be read.
    pub(crate) fn files(&self) -> Result<Vec<FileOfEsp>> {
        let (Loader::Ours(program) | Loader::Limine(program)) = self.loader;
        let mut files = vec![(format!("EFI/BOOT/{}", self.arch.efi_program()), read(program)?)];
        let kernel = read(self.kernel)?;
        let kernel = match self.damage {
            None => Some(kernel),
            Some(damage) => damage.apply(kernel).with_context(|| self.kernel.display().to_string())?,
        };
        files.extend(kernel.map(|kernel| (KERNEL.to_owned(), kernel)));
        if let Some(initrd) = self.initrd {
            files.push((INITRD.to_owned(), read(initrd)?));
        }
        files.push(match self.loader {
            Loader::Ours(_) => (COMMAND_LINE.to_owned(), format!("{}\n", self.command_line).into_bytes()),
            Loader::Limine(_) => {
                let text = limine::configuration(KERNEL, self.command_line, self.initrd.map(|_| INITRD));
                (LIMINE_CONFIGURATION.to_owned(), text.into_bytes())
            }
        });
        Ok(files)
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| file.display().to_string())
}

/// Makes `folder` hold these files and nothing that an earlier boot left there.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn write_folder(folder: &Path, files: &[FileOfEsp]) -> Result<()> {
    for path in [KERNEL, COMMAND_LINE, INITRD, LIMINE_CONFIGURATION] {
        let path = folder.join(path);
        if !files.iter().any(|(name, _)| folder.join(name) == path) {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| path.display().to_string());
                }
                _ => {}
            }
        }
    }
    for (name, bytes) in files {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        }
        image::write_whole(&path, bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("xtask-esp-{name}-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }

        fn file(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.join(name);
            fs::write(&path, text).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn each_loader_finds_what_it_looks_for() {
        let folder = Folder::new("contents");
        let (efi, kernel, initrd) = (folder.file("efi", "e"), folder.file("kernel", "k"), folder.file("initrd", "i"));
        let names = |loader: &Loader, initrd: Option<&Path>, damage| {
            let kernel = &kernel;
            let contents = Contents { arch: Arch::Aarch64, loader, kernel, damage, command_line: "a b", initrd };
            contents.files().unwrap().into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(" ")
        };
        let ours = Loader::Ours(efi.clone());
        let limine = Loader::Limine(efi);
        assert_eq!(names(&ours, None, None), "EFI/BOOT/BOOTAA64.EFI boot/tessera.elf boot/cmdline.txt");
        assert_eq!(names(&ours, None, Some(KernelDamage::Absent)), "EFI/BOOT/BOOTAA64.EFI boot/cmdline.txt");
        assert_eq!(
            names(&limine, Some(&initrd), None),
            "EFI/BOOT/BOOTAA64.EFI boot/tessera.elf boot/initrd limine.conf"
        );
    }

    #[test]
    fn nothing_of_an_earlier_boot_is_left() {
        let folder = Folder::new("left");
        let file = |name: &str| (name.to_owned(), name.as_bytes().to_vec());
        write_folder(&folder.0, &[file(KERNEL), file(INITRD), file(COMMAND_LINE)]).unwrap();
        write_folder(&folder.0, &[file(KERNEL), file(LIMINE_CONFIGURATION)]).unwrap();
        let there = |name: &str| folder.0.join(name).exists();
        assert!(there(KERNEL) && there(LIMINE_CONFIGURATION) && !there(INITRD) && !there(COMMAND_LINE));
    }
}
