//! Firmware that says what the matrix wants it to say, so that machines whose firmware lies can be booted.
//!
//! QEMU's own way to a kernel (`-kernel`) gives every kernel a true description. Here the kernel gets another one: the
//! image and the description are put into guest memory as they are (`-device loader`), and a few instructions hand the
//! machine over. On x86_64 ([`bios`]) that is a BIOS of our own, which enters the kernel by PVH with our E820 map and
//! ACPI tables; on aarch64 ([`tree`]) a device tree of our own and a trampoline that puts its address into x0. Each
//! description is sound unless a `damage` is named, and then it is damaged in that one place.
//!
//! Three more kinds do not lie; they say what QEMU's options cannot: QEMU's own firmware with ACPI tables of ours beside
//! its own ([`tables`]), QEMU's own device tree with some of it changed ([`edited`]), and the device tree of a board that
//! QEMU has none for ([`board`]), or a file that somebody has of it ([`reference`](mod@reference)). Linux boots with
//! these, too.
//!
//! The command line of QEMU names the files; they are written when the machine is started ([`Loaded::write`]).

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::image;
use crate::qemu::escaped;

mod acpi;
pub(crate) mod bios;
pub(crate) mod board;
pub(crate) mod edited;
mod fdt;
mod ranges;
pub(crate) mod reference;
mod start_info;
mod stub;
pub(crate) mod tables;
mod trampoline;
pub(crate) mod tree;

/// What the firmware of a machine says.
#[derive(Clone, Debug)]
pub(crate) enum Firmware {
    /// Of an x86_64 machine.
    Bios(bios::Bios),
    /// Of an aarch64 machine.
    Tree(tree::Tree),
    /// QEMU's own, with these ACPI tables beside its own.
    Tables(tables::Tables),
    /// QEMU's own device tree, with these changes.
    Edited(edited::Edits),
    /// The device tree of a board for which QEMU has none.
    Board(board::Board),
}

impl Firmware {
    /// Whether it is made to say what is not so.
    pub(crate) fn lies(&self) -> bool {
        matches!(self, Self::Bios(_) | Self::Tree(_))
    }

    /// Which of QEMU's serial lines is the console by what it says, counted from 0.
    pub(crate) fn console_line(&self) -> usize {
        match self {
            Self::Board(board) => board.console_line,
            _ => 0,
        }
    }
}

/// What the firmware hands the machine over to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Payload<'a> {
    pub(crate) image: &'a Path,
    pub(crate) initrd: Option<&'a Path>,
    pub(crate) command_line: &'a str,
}

/// A file of the firmware, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    name: &'static str,
    place: Place,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It is the machine's read-only memory below 4 GiB (`-bios`).
    Bios,
    /// It is put into memory here.
    Memory(u64),
    /// It is put into memory here, and the first CPU starts there.
    Start(u64),
}

impl Place {
    /// QEMU's options for a file that goes here.
    fn options(self, file: &Path) -> Vec<[String; 2]> {
        let device = |value| ["-device".to_owned(), value];
        let memory = |address| device(format!("loader,file={},addr={address:#x},force-raw=on", escaped(file)));
        match self {
            Self::Bios => vec![["-bios".to_owned(), file.to_string_lossy().into_owned()]],
            Self::Memory(address) => vec![memory(address)],
            Self::Start(address) => vec![memory(address), device(format!("loader,addr={address:#x},cpu-num=0"))],
        }
    }
}

/// The firmware of one boot: what it says, to which kernel, and where its files are kept.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) firmware: Firmware,
    /// A folder for the files, of this machine alone.
    pub(crate) folder: PathBuf,
}

impl Loaded {
    /// Whether the options load the kernel, and no `-kernel` is needed.
    pub(crate) fn loads_kernel(&self) -> bool {
        !matches!(self.firmware, Firmware::Tables(_) | Firmware::Board(_))
    }

    /// QEMU's options that take the place of `-kernel`, `-initrd` and `-append`, or stand beside them.
    pub(crate) fn options(&self, payload: Payload<'_>) -> Vec<[String; 2]> {
        let places = match &self.firmware {
            Firmware::Bios(_) => bios::PLACES.to_vec(),
            Firmware::Tree(tree) => tree.places().to_vec(),
            Firmware::Tables(tables) => return tables.options(&self.folder),
            Firmware::Edited(_) => return edited::Edits::options(&self.folder, payload.image, payload.initrd),
            Firmware::Board(board) => return board.options(&self.folder),
        };
        places.iter().flat_map(|(name, place)| place.options(&self.folder.join(name))).collect()
    }

    /// Writes the files that the options name. `elf` is our kernel's ELF file, for a BIOS that enters it; `describe`
    /// makes QEMU write the machine's own device tree.
    ///
    /// # Errors
    /// When the kernel cannot be read, QEMU does not describe the machine, or a file cannot be written.
    pub(crate) fn write(
        &self,
        elf: &Path,
        payload: Payload<'_>,
        describe: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        let read = |path: &Path| std::fs::read(path).with_context(|| path.display().to_string());
        std::fs::create_dir_all(&self.folder).with_context(|| self.folder.display().to_string())?;
        let pieces = match &self.firmware {
            Firmware::Bios(bios) => bios.pieces(&read(elf)?, payload.command_line)?,
            Firmware::Tree(tree) => tree.pieces(read(payload.image)?, payload.command_line),
            Firmware::Tables(tables) => return tables.write(&self.folder),
            Firmware::Board(board) => return board.write(&self.folder),
            Firmware::Edited(edits) => {
                let base = self.folder.join(edited::BASE_FILE);
                describe(&base)?;
                let size = |path: &Path| std::fs::metadata(path).with_context(|| path.display().to_string());
                let initrd_size = payload.initrd.map(size).transpose()?.map(|initrd| initrd.len());
                edits.pieces(&read(&base)?, payload.command_line, initrd_size)?
            }
        };
        pieces.iter().try_for_each(|piece| image::write_whole(&self.folder.join(piece.name), &piece.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_the_bios_or_lies_in_memory() {
        let options = |place: Place| place.options(Path::new("/a,b/c")).concat().join(" ");
        assert_eq!(options(Place::Bios), "-bios /a,b/c");
        assert_eq!(options(Place::Memory(0x8000)), "-device loader,file=/a,,b/c,addr=0x8000,force-raw=on");
        assert_eq!(
            options(Place::Start(0x4000_0000)),
            "-device loader,file=/a,,b/c,addr=0x40000000,force-raw=on -device loader,addr=0x40000000,cpu-num=0"
        );
    }
}
