//! An x86_64 machine whose BIOS says what the matrix says.

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::acpi::{self, Domain};
use super::ranges::{Ranges, What};
use super::start_info::{self, Entry, MAGIC};
use super::{Piece, Place, stub};
use crate::image;

/// Where `hvm_start_info` and all that it points to are put: free memory of a PC, if the map is honest.
const START_INFO: u32 = 0x8000;
/// Where the ACPI tables are put.
const ACPI: u32 = 0x7_0000;
/// Where the kernel's lowest segment belongs.
const KERNEL: u64 = 0x20_0000;
/// Where a PC with less than 3 GiB has nothing, neither memory nor a device.
const NOTHING: u32 = 0xd000_0000;

const BIOS_FILE: &str = "bios.bin";
const KERNEL_FILE: &str = "kernel.bin";
const START_INFO_FILE: &str = "start-info.bin";
const ACPI_FILE: &str = "acpi.bin";

/// The files, and where each goes.
pub(super) const PLACES: [(&str, Place); 4] = [
    (BIOS_FILE, Place::Bios),
    (KERNEL_FILE, Place::Memory(KERNEL)),
    (START_INFO_FILE, Place::Memory(START_INFO as u64)),
    (ACPI_FILE, Place::Memory(ACPI as u64)),
];

/// What the BIOS says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bios {
    /// Memory, in this order.
    e820: Vec<Ranges<Kind>>,
    /// The APIC ids of its CPUs; there is no such table without.
    #[serde(default)]
    cpus: Vec<u8>,
    /// Memory of proximity domains; there is no such table without.
    #[serde(default)]
    srat: Vec<Ranges<Domain>>,
    /// Distances, a list for each domain; there is no such table without.
    #[serde(default)]
    slit: Vec<Vec<u8>>,
    damage: Option<Damage>,
}

/// The type of an E820 entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind(u32);

impl What for Kind {
    fn from_words(words: &[&str]) -> Result<Self, String> {
        match words {
            ["usable"] => Ok(Self(1)),
            ["reserved"] => Ok(Self(2)),
            ["acpi"] => Ok(Self(3)),
            ["nvs"] => Ok(Self(4)),
            ["unusable"] => Ok(Self(5)),
            ["type", number] => number.parse().map(Self).map_err(|_| format!("{number} is no type")),
            _ => Err("write usable, reserved, acpi, nvs, unusable or `type NUMBER` behind the size".to_owned()),
        }
    }
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Damage {
    StartInfo(StartInfoDamage),
    Acpi(acpi::Damage),
}

/// What is wrong with what EBX points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StartInfoDamage {
    /// It does not begin as an `hvm_start_info` does.
    StartInfoMagic,
    /// There is no memory there.
    StartInfoOutside,
    /// It says that the memory map has 2^32 - 1 entries.
    E820Count,
}

impl Bios {
    /// The files for the kernel in this ELF file, as [`PLACES`] names them.
    pub(super) fn pieces(&self, elf: &[u8], command_line: &str) -> Result<Vec<Piece>> {
        let (base, kernel) = image::flatten(elf)?;
        anyhow::ensure!(base == KERNEL, "the kernel's image begins at {base:#x}, not at {KERNEL:#x}");
        let entry = image::pvh_entry(elf).context("the kernel has no PVH note")?;
        let damage = match self.damage {
            Some(Damage::Acpi(damage)) => Some(damage),
            _ => None,
        };
        let acpi = acpi::Tables { madt: &self.cpus, cpus: &[], srat: &self.srat, slit: &self.slit, damage };
        let acpi = acpi.bytes(ACPI);
        let rsdp = if acpi.is_empty() { 0 } else { ACPI };
        let magic = if self.is(StartInfoDamage::StartInfoMagic) { !MAGIC } else { MAGIC };
        let mut start_info = start_info::bytes(START_INFO.into(), magic, command_line, &self.map(), rsdp.into());
        if self.is(StartInfoDamage::E820Count) {
            start_info[start_info::COUNT..][..4].fill(0xff);
        }
        let ebx = if self.is(StartInfoDamage::StartInfoOutside) { NOTHING } else { START_INFO };
        // QEMU refuses a file without a byte.
        let acpi = if acpi.is_empty() { vec![0] } else { acpi };
        let files = [stub::image(entry, ebx), kernel, start_info, acpi];
        Ok(PLACES.into_iter().zip(files).map(|((name, place), bytes)| Piece { name, place, bytes }).collect())
    }

    fn is(&self, damage: StartInfoDamage) -> bool {
        self.damage == Some(Damage::StartInfo(damage))
    }

    fn map(&self) -> Vec<Entry> {
        let ranges = self.e820.iter().flat_map(|ranges| ranges.iter().map(|range| (range, ranges.what)));
        ranges.map(|((start, size), Kind(kind))| (start, size, kind)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bios(text: &str) -> Result<Bios, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn the_map_stands_as_it_is_written() {
        let bios = bios("e820 = ['1M 511M usable', '0 0x9fc00 usable', '0 0 type 0', '1G 4K acpi 2 times every 8K']");
        assert_eq!(
            bios.unwrap().map(),
            [
                (0x10_0000, 511 << 20, 1),
                (0, 0x9_fc00, 1),
                (0, 0, 0),
                (1 << 30, 0x1000, 3),
                ((1 << 30) + 0x2000, 0x1000, 3)
            ]
        );
    }

    #[test]
    fn damage_is_of_the_start_info_or_of_acpi() {
        let damage = |name: &str| bios(&format!("e820 = []\ndamage = '{name}'")).map(|bios| bios.damage);
        assert_eq!(damage("srat-checksum").unwrap(), Some(Damage::Acpi(acpi::Damage::SratChecksum)));
        let start_info = StartInfoDamage::StartInfoMagic;
        assert_eq!(damage("start-info-magic").unwrap(), Some(Damage::StartInfo(start_info)));
        assert!(damage("all-of-it").is_err());
        assert!(bios("e820 = ['0 1M good']").is_err());
    }

    #[test]
    fn what_is_placed_low_does_not_meet() {
        assert!(START_INFO < ACPI && u64::from(ACPI) < 0x9_fc00 && KERNEL > 0x10_0000);
    }
}
