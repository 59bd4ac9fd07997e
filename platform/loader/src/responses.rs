//! The answers to what the kernel asks for.
//!
//! An answer is a structure in the pool that begins with its revision (0 for all of them); the kernel finds the address
//! of the structure in its request. Addresses in answers are those of the HHDM, except where the base revision wants
//! physical ones. What is not there (no device tree, no clock) is not answered.

use crate::memory_map::Entry;
use crate::pool::{Full, Pool};
use crate::requests::{Request, Requests};

/// Our name and version, as the kernel reads them.
pub const NAME: &str = env!("CARGO_PKG_NAME");
/// The version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Firmware type: UEFI of 64 bits.
const UEFI_64: u64 = 2;
/// Paging mode: four levels.
const FOUR_LEVELS: u64 = 0;

/// A file in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File<'a> {
    /// Its physical address.
    pub start: u64,
    /// Its bytes.
    pub size: u64,
    /// Where it was, with slashes.
    pub path: &'a str,
}

/// The firmware's memory map as it stands in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EfiMap {
    /// Its physical address.
    pub start: u64,
    /// Its bytes.
    pub size: u64,
    /// Bytes of a descriptor.
    pub descriptor_size: u64,
    /// The descriptors' version.
    pub descriptor_version: u64,
}

/// What the firmware says, as far as it is handed on. Addresses are physical.
#[derive(Debug, Clone, Copy, Default)]
pub struct Facts<'a> {
    /// The command line.
    pub command_line: &'a [u8],
    /// ACPI's root pointer.
    pub rsdp: Option<u64>,
    /// SMBIOS's entry points, of 32 and of 64 bits.
    pub smbios: [Option<u64>; 2],
    /// The device tree, which is copied.
    pub device_tree: Option<&'a [u8]>,
    /// EFI's system table.
    pub system_table: u64,
    /// EFI's memory map.
    pub efi_map: Option<EfiMap>,
    /// Seconds since 1970.
    pub date: Option<i64>,
    /// The kernel's file, where it is kept.
    pub executable_file: Option<File<'a>>,
    /// The first module.
    pub module: Option<File<'a>>,
}

/// Where the image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The physical address of its first byte.
    pub physical: u64,
    /// The virtual address of its first byte.
    pub linked: u64,
    /// Where physical address 0 is mapped.
    pub hhdm: u64,
}

/// Writes every answer, and where it is into the requests in `image`.
///
/// # Errors
/// When the pool is used up.
pub fn answer(
    requests: &Requests,
    image: &mut [u8],
    pool: &mut Pool<'_>,
    place: Place,
    map: &[Entry],
    facts: &Facts<'_>,
) -> Result<(), Full> {
    requests.answer_revision(image);
    for request in Request::ALL {
        if requests.asks(request)
            && let Some(at) = (Answers { requests, pool, place, map, facts }).structure(request)?
        {
            requests.answer(image, request, place.hhdm + at);
        }
    }
    Ok(())
}

struct Answers<'a, 'p, 'm> {
    requests: &'a Requests,
    pool: &'p mut Pool<'m>,
    place: Place,
    map: &'a [Entry],
    facts: &'a Facts<'a>,
}

impl Answers<'_, '_, '_> {
    /// The physical address of the answer.
    fn structure(&mut self, request: Request) -> Result<Option<u64>, Full> {
        let hhdm = self.place.hhdm;
        let revision = self.requests.revision;
        let table = |physical: u64| if revision.tables_are_physical() { physical } else { hhdm + physical };
        let facts = self.facts;
        let words: [u64; 4] = match request {
            Request::BootloaderInfo => [hhdm + self.text(NAME)?, hhdm + self.text(VERSION)?, 0, 0],
            Request::CommandLine => [hhdm + self.pool.text(facts.command_line)?, 0, 0, 0],
            Request::FirmwareType => [UEFI_64, 0, 0, 0],
            // Both have been done, and this says so.
            Request::StackSize | Request::EntryPoint => [0; 4],
            Request::Hhdm => [hhdm, 0, 0, 0],
            Request::PagingMode => [FOUR_LEVELS, 0, 0, 0],
            Request::MemoryMap => self.memory_map()?,
            Request::ExecutableFile => match facts.executable_file {
                Some(file) => [hhdm + self.file(file, facts.command_line)?, 0, 0, 0],
                None => return Ok(None),
            },
            Request::Modules => self.modules()?,
            Request::Rsdp => match facts.rsdp {
                Some(at) if revision.rsdp_is_physical() => [at, 0, 0, 0],
                Some(at) => [hhdm + at, 0, 0, 0],
                None => return Ok(None),
            },
            Request::Smbios => match facts.smbios {
                [None, None] => return Ok(None),
                [of_32, of_64] => [of_32.map_or(0, table), of_64.map_or(0, table), 0, 0],
            },
            Request::EfiSystemTable => [table(facts.system_table), 0, 0, 0],
            Request::EfiMemoryMap => match facts.efi_map {
                Some(map) => [hhdm + map.start, map.size, map.descriptor_size, map.descriptor_version],
                None => return Ok(None),
            },
            Request::DateAtBoot => match facts.date {
                Some(date) => [date.cast_unsigned(), 0, 0, 0],
                None => return Ok(None),
            },
            Request::ExecutableAddress => [self.place.physical, self.place.linked, 0, 0],
            Request::DeviceTree => match facts.device_tree {
                Some(tree) => {
                    let copy = self.pool.take(tree.len() as u64, 8)?;
                    self.pool.write(copy, tree);
                    [hhdm + copy, 0, 0, 0]
                }
                None => return Ok(None),
            },
        };
        let [one, two, three, four] = words;
        self.pool.words(&[0, one, two, three, four]).map(Some)
    }

    fn text(&mut self, text: &str) -> Result<u64, Full> {
        self.pool.text(text.as_bytes())
    }

    /// A list of pointers to entries: how many, and where the list is.
    fn memory_map(&mut self) -> Result<[u64; 4], Full> {
        let count = self.map.len() as u64;
        let list = self.pool.take(count * 8, 8)?;
        for (index, entry) in (0..).zip(self.map) {
            let at = self.pool.words(&[entry.start, entry.end - entry.start, entry.kind.number()])?;
            self.pool.set(list + index * 8, self.place.hhdm + at);
        }
        Ok([count, self.place.hhdm + list, 0, 0])
    }

    fn modules(&mut self) -> Result<[u64; 4], Full> {
        // A list of none has an address too, for kernels that make a slice of it.
        let list = self.pool.take(8, 8)?;
        if let Some(module) = self.facts.module {
            let file = self.file(module, b"")?;
            self.pool.set(list, self.place.hhdm + file);
        }
        Ok([self.facts.module.iter().len() as u64, self.place.hhdm + list, 0, 0])
    }

    fn file(&mut self, file: File<'_>, string: &[u8]) -> Result<u64, Full> {
        let hhdm = self.place.hhdm;
        let (path, string) = (self.text(file.path)?, self.pool.text(string)?);
        // Behind these stand the medium, network addresses, the partition and disk identifiers: all unknown, so zero.
        let mut words = [0; 14];
        for (word, value) in words.iter_mut().zip([0, hhdm + file.start, file.size, hhdm + path, hhdm + string]) {
            *word = value;
        }
        self.pool.words(&words)
    }
}
