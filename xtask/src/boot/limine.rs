//! Limine: where its files lie, and what its configuration says.
//!
//! Nothing here fetches it. Limine is not packaged by Debian, so most hosts have none, and the machines of the matrix
//! that boot by it are skipped there.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Result;

use super::BootBy;
use super::bios::Bios;
use crate::arch::Arch;
use crate::exit::Failure;
use crate::workspace;

/// The variable that names the folder.
const VARIABLE: &str = "LIMINE_DIR";

/// Where distributions and `make install` put its files.
const FOLDERS: [&str; 2] = ["/usr/share/limine", "/usr/local/share/limine"];

/// Limine's EFI program for machines of this arch, in the folder that the option or the environment names, or where
/// Limine is installed.
///
/// # Errors
/// [`Failure::NoFile`] with the places that were looked at, and where to get it.
pub(crate) fn program(arch: Arch, option: Option<&Path>) -> Result<PathBuf> {
    let named =
        option.map(Path::to_owned).or_else(|| env::var_os(VARIABLE).filter(|it| !it.is_empty()).map(Into::into));
    let folders = named.map_or_else(installed, |folder| vec![folder]);
    Ok(find(arch, &folders)?)
}

/// Why machines that boot by Limine are skipped: nobody names a folder, and it is not installed.
pub(crate) fn absent(arch: Arch, by: BootBy) -> Option<String> {
    if !by.is_limine() || env::var_os(VARIABLE).is_some_and(|value| !value.is_empty()) {
        return None;
    }
    let there = find(arch, &installed()).map_err(Into::into).and_then(|program| match by {
        BootBy::LimineBios => Bios::beside(&program).map(drop),
        _ => Ok(()),
    });
    there.err().map(|error| format!("{error:#}"))
}

fn find(arch: Arch, folders: &[PathBuf]) -> Result<PathBuf, Failure> {
    let name = arch.efi_program();
    if let Some(found) = folders.iter().map(|folder| folder.join(name)).find(|file| file.is_file()) {
        return Ok(found);
    }
    let folders: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    Err(Failure::NoFile(format!(
        "Limine's {name} is missing, looked for in {}; Alpine and Gentoo package it as limine, its authors publish it as \
         branches named vN.x-binary of https://github.com/limine-bootloader/limine; name its folder by --limine DIR or \
         {VARIABLE}",
        folders.join(", ")
    )))
}

/// The folder that an installed Limine names itself, and those where it usually is.
fn installed() -> Vec<PathBuf> {
    let asked = || {
        let mut limine = Command::new(workspace::find_program("limine")?);
        let output = limine.arg("--print-datadir").stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
        let folder = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (output.status.success() && !folder.is_empty()).then(|| PathBuf::from(folder))
    };
    let mut folders: Vec<PathBuf> = FOLDERS.map(PathBuf::from).into();
    folders.extend(asked().filter(|folder| !FOLDERS.iter().any(|known| Path::new(known) == folder)));
    folders
}

/// Limine's configuration. Its names for the kernel's file and command line changed between versions 8 and 9; a name
/// that a version does not know it passes over, so both stand there.
pub(crate) fn configuration(kernel: &str, command_line: &str, initrd: Option<&str>) -> String {
    let place = |path: &str| format!("boot():/{path}");
    let kernel = place(kernel);
    let mut text = format!(
        "timeout: 0\nserial: yes\n\n/Tessera\n    protocol: limine\n    path: {kernel}\n    kernel_path: {kernel}\n    \
         cmdline: {command_line}\n    kernel_cmdline: {command_line}\n"
    );
    if let Some(initrd) = initrd {
        text += &format!("    module_path: {}\n", place(initrd));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_is_told_in_one_line_with_where_to_get_it() {
        let folders = ["/nowhere/a", "/nowhere/b"].map(PathBuf::from);
        let failure = find(Arch::Aarch64, &folders).unwrap_err();
        let line = failure.to_string();
        assert!(matches!(failure, Failure::NoFile(_)));
        assert_eq!(line.lines().count(), 1);
        for part in ["BOOTAA64.EFI", "/nowhere/a, /nowhere/b", "vN.x-binary", "--limine DIR", "LIMINE_DIR"] {
            assert!(line.contains(part), "{line}");
        }
    }

    #[test]
    fn every_version_finds_its_names() {
        let text = configuration("boot/tessera.elf", "a=1 exec=\"verify; poweroff\"", Some("boot/initrd"));
        for line in [
            "timeout: 0",
            "    path: boot():/boot/tessera.elf",
            "    kernel_path: boot():/boot/tessera.elf",
            "    cmdline: a=1 exec=\"verify; poweroff\"",
            "    kernel_cmdline: a=1 exec=\"verify; poweroff\"",
            "    module_path: boot():/boot/initrd",
        ] {
            assert!(text.lines().any(|found| found == line), "{text}");
        }
        assert!(!configuration("k", "", None).contains("module"));
    }
}
