//! Limine's way from a BIOS: its first sector, the rest of its beginning in a partition of its own, and
//! `limine-bios.sys` beside its configuration.
//!
//! The first sector is one that the BIOS starts. It holds, at [`PATCH`], where on the disk the rest lies: in one piece
//! since Limine 10, in two before, which stand one behind the other here. Which of both a sector expects, its own code
//! says: it names the address from which it reads the place of the first piece. Limine's own installer (`limine
//! bios-install IMAGE PARTITION`) writes the same.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::exit::Failure;

/// The file with the beginning, as Limine delivers it: an array in C.
const BEGINNING: &str = "limine-bios-hdd.h";
/// What it loads from the file system.
const SYSTEM: &str = "limine-bios.sys";

const SECTOR: usize = 512;

/// Where the first sector has the places of the rest.
const PATCH: usize = 0x1a4;

/// Where the BIOS puts the first sector.
const ORIGIN: u16 = 0x7c00;

/// How the first sector wants to be told of the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pieces {
    /// Where it lies: one number of 64 bits, in bytes.
    One,
    /// How many bytes each of two pieces has (16 bits each), and where they lie (64 bits each).
    Two,
}

impl Pieces {
    /// Bytes from [`PATCH`] to the place of the first piece.
    const fn place(self) -> u16 {
        match self {
            Self::One => 0,
            Self::Two => 4,
        }
    }

    /// What the code of the first sector reads.
    fn of(code: &[u8]) -> Option<Self> {
        let mut both = [Self::One, Self::Two].into_iter().filter(|pieces| {
            let address = ORIGIN + PATCH as u16 + pieces.place();
            code.windows(2).any(|word| word == address.to_le_bytes())
        });
        both.next().filter(|_| both.next().is_none())
    }

    /// What is to stand at [`PATCH`] when the rest, so many bytes, begins at this byte of the disk.
    fn patch(self, place: u64, length: usize) -> Result<Vec<u8>> {
        if self == Self::One {
            return Ok(place.to_le_bytes().to_vec());
        }
        let sectors = length.div_ceil(SECTOR);
        let [first, second] = [sectors.div_ceil(2), sectors / 2].map(|sectors| sectors * SECTOR);
        let size = |bytes: usize| u16::try_from(bytes).context("Limine's beginning is too long for a boot sector");
        let places = [place, place + first as u64].map(u64::to_le_bytes).concat();
        Ok([&size(first)?.to_le_bytes()[..], &size(second)?.to_le_bytes(), &places].concat())
    }
}

/// What some BIOSes write a time to, and what must be nothing then.
const TIME: std::ops::Range<usize> = 218..224;

/// A sector's share of code; behind it the partition table.
const CODE: usize = 440;

/// Limine's files for a BIOS.
#[derive(Clone, Debug)]
pub(crate) struct Bios {
    /// The first sector, and what follows.
    beginning: Vec<u8>,
    system: Vec<u8>,
}

impl Bios {
    /// The files in the folder that holds Limine's EFI program.
    ///
    /// # Errors
    /// [`Failure::NoFile`] when one is not there; when the array is none.
    pub(crate) fn beside(program: &Path) -> Result<Self> {
        let folder = program.parent().unwrap_or(Path::new("."));
        let [beginning, system] = [BEGINNING, SYSTEM].map(|name| folder.join(name));
        if let Some(file) = [&beginning, &system].into_iter().find(|file| !file.is_file()) {
            let sentence = format!("Limine's {} is missing: a BIOS cannot start Limine without it", file.display());
            return Err(Failure::NoFile(sentence).into());
        }
        let text = fs::read_to_string(&beginning).with_context(|| beginning.display().to_string())?;
        let bytes = array(&text).filter(|bytes| bytes.get(510..SECTOR) == Some(&[0x55, 0xaa]));
        let bytes = bytes.with_context(|| format!("{}: no boot sector in an array of C", beginning.display()))?;
        let system = fs::read(&system).with_context(|| system.display().to_string())?;
        Ok(Self { beginning: bytes, system })
    }

    /// The same, where they are.
    ///
    /// # Errors
    /// When they are there and cannot be read.
    pub(crate) fn found(program: &Path) -> Result<Option<Self>> {
        match Self::beside(program) {
            Ok(bios) => Ok(Some(bios)),
            Err(error) if error.is::<Failure>() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The file for the file system.
    pub(crate) fn system(&self) -> (String, Vec<u8>) {
        (SYSTEM.to_owned(), self.system.clone())
    }

    /// What goes into the partition.
    pub(crate) fn rest(&self) -> &[u8] {
        self.beginning.get(SECTOR..).unwrap_or_default()
    }

    /// The code of the first sector, for a partition that begins at this byte of the disk.
    ///
    /// # Errors
    /// When the sector does not say where it looks for the rest, or the rest is longer than it can be told.
    pub(crate) fn first_sector(&self, partition: u64) -> Result<[u8; CODE]> {
        let mut code: [u8; CODE] = *self.beginning.first_chunk().context("no boot sector")?;
        let (head, tail) = code.split_at_mut(PATCH);
        let pieces = Pieces::of(head).context("Limine's boot sector is of a kind that is not known here")?;
        let patch = pieces.patch(partition, self.rest().len())?;
        tail.iter_mut().zip(patch).for_each(|(byte, value)| *byte = value);
        if let Some(time) = head.get_mut(TIME) {
            time.fill(0);
        }
        Ok(code)
    }
}

/// The bytes of an array in C.
fn array(text: &str) -> Option<Vec<u8>> {
    let (_, list) = text.split_once('{')?;
    let (list, _) = list.rsplit_once('}')?;
    let items = list.split(',').map(str::trim).filter(|item| !item.is_empty());
    items.map(|item| u8::from_str_radix(item.strip_prefix("0x")?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(length: usize) -> String {
        let bytes = (0..length).map(|at| match at {
            510 => "0x55".to_owned(),
            511 => "0xaa".to_owned(),
            _ => format!("0x{:02x}", at % 256),
        });
        let list = bytes.collect::<Vec<_>>().join(",\n    ");
        format!("const uint8_t binary_limine_hdd_bin_data[] = {{\n    {list},\n}};\n")
    }

    fn reading(pieces: Pieces, length: usize) -> Bios {
        let mut beginning = array(&text(length)).unwrap();
        beginning[100..102].copy_from_slice(&(0x7da4 + pieces.place()).to_le_bytes());
        Bios { beginning, system: Vec::new() }
    }

    #[test]
    fn the_first_sector_says_where_the_rest_is() {
        let bios = reading(Pieces::Two, 512 + 1300);
        assert_eq!(bios.rest().len(), 1300);
        let sector = bios.first_sector(1 << 20).unwrap();
        // Three sectors: two, and one.
        assert_eq!(sector[0x1a4..0x1a8], [0, 4, 0, 2]);
        assert_eq!(sector[0x1a8..0x1b8], [1u64 << 20, (1 << 20) + 1024].map(u64::to_le_bytes).concat());
        assert_eq!(sector[218..224], [0; 6]);
        assert_eq!((sector[217], sector[224], sector[0x1a3]), (217, 224, 0xa3));
        assert!(reading(Pieces::Two, 200_000).first_sector(0).is_err());
    }

    #[test]
    fn a_newer_first_sector_wants_one_place_only() {
        let sector = reading(Pieces::One, 200_000).first_sector(0x12_3400).unwrap();
        assert_eq!(sector[0x1a4..0x1ac], 0x12_3400_u64.to_le_bytes());
        assert_eq!((sector[0x1a3], sector[0x1ac]), (0xa3, 0xac));
    }

    #[test]
    fn a_first_sector_that_reads_neither_place_is_refused() {
        let bios = Bios { beginning: array(&text(600)).unwrap(), system: Vec::new() };
        assert!(format!("{:#}", bios.first_sector(0).unwrap_err()).contains("not known"));
    }

    #[test]
    fn what_is_no_array_of_a_boot_sector_is_refused() {
        for text in ["", "{", "}{", "{ 0x1ff }", "{ 12 }"] {
            assert_eq!(array(text), None, "{text}");
        }
        let folder = std::env::temp_dir().join(format!("xtask-bios-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let program = folder.join("BOOTX64.EFI");
        let reason = || format!("{:#}", Bios::beside(&program).unwrap_err());
        assert!(reason().contains("limine-bios-hdd.h is missing"));
        fs::write(folder.join(BEGINNING), "{ 0x55, 0xaa }").unwrap();
        assert!(reason().contains("limine-bios.sys is missing"));
        fs::write(folder.join(SYSTEM), "").unwrap();
        assert!(reason().contains("no boot sector"));
        fs::write(folder.join(BEGINNING), text(600)).unwrap();
        assert_eq!(Bios::beside(&program).unwrap().rest().len(), 88);
        fs::remove_dir_all(&folder).unwrap();
    }
}
