//! One table: its header, its checksum, and reads that stay inside it.

use crate::read::{PhysRead, u32_at};
use arrayvec::ArrayString;
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{MachineSink, Problem, Source, Table as Name};

/// Bytes of the header that all tables begin with.
pub(super) const HEADER: u32 = 36;
/// A table that states more bytes than this is damaged.
pub(super) const MAX_LENGTH: u32 = 1 << 20;

/// The most of one entry of a table that is looked at.
const ENTRY: usize = 80;

/// A table whose header is readable and whose length can be. Its checksum is another matter: [`Table::verify`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    at: PhysAddr,
    signature: [u8; 4],
    length: u32,
    revision: u8,
}

impl Table {
    /// The table at `at`.
    pub(super) fn open(read: &mut dyn PhysRead, at: PhysAddr) -> Result<Self, Problem> {
        let mut header = [0; 9];
        read.read(at, &mut header).map_err(|error| Problem::Unreadable(error.at))?;
        let signature = header.first_chunk().copied().unwrap_or_default();
        let length = u32_at(&header, 4);
        let revision = header.last().copied().unwrap_or_default();
        if !signature.iter().all(|byte| byte.is_ascii_graphic()) {
            return Err(Problem::Signature);
        }
        if !(HEADER..=MAX_LENGTH).contains(&length) {
            return Err(Problem::Length { stated: length.into() });
        }
        match at.checked_add(length.into()) {
            Some(_) => Ok(Self { at, signature, length, revision }),
            None => Err(Problem::Wraps { start: at.as_u64(), size: length.into() }),
        }
    }

    pub(super) const fn signature(&self) -> [u8; 4] {
        self.signature
    }

    pub(super) const fn length(&self) -> u32 {
        self.length
    }

    pub(super) const fn revision(&self) -> u8 {
        self.revision
    }

    pub(super) fn range(&self) -> PhysRange {
        PhysRange::new(self.at, self.at.saturating_add(self.length.into()))
    }

    /// Under what name its range is reserved.
    pub(super) fn name(&self) -> ArrayString<15> {
        let mut name = ArrayString::new();
        // Eleven letters and four fit.
        let _ = name.try_push_str("ACPI table ");
        for byte in self.signature {
            let _ = name.try_push(char::from(byte));
        }
        name
    }

    /// As whom it states its facts.
    pub(super) const fn source(&self) -> Source {
        Source::whole(name(self.signature))
    }

    /// Which of the tables that are read here the bytes at `at` say that they are, whatever else is wrong with them.
    pub(super) fn claim(read: &mut dyn PhysRead, at: PhysAddr) -> Option<Source> {
        let mut signature = [0; 4];
        read.read(at, &mut signature).ok()?;
        Some(name(signature)).filter(|&name| name != Name::Acpi).map(Source::whole)
    }

    /// Whether all its bytes can be read and add up to zero.
    pub(super) fn verify(&self, read: &mut dyn PhysRead) -> Result<(), Problem> {
        verify(read, self.at, self.length)
    }

    /// Fills `into` with the table's bytes from `offset` on. What lies past the table's end is zero.
    pub(super) fn bytes(&self, read: &mut dyn PhysRead, offset: u32, into: &mut [u8]) -> Result<(), Problem> {
        into.fill(0);
        let left = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let count = left.min(into.len());
        let at = self.at.saturating_add(offset.into());
        let into = into.get_mut(..count).unwrap_or_default();
        read.read(at, into).map_err(|error| Problem::Unreadable(error.at))
    }

    /// Shows `each` entry of a table that consists, from `offset` on, of entries that begin with a type and a length of
    /// one byte each: number, type, length, and the first [`ENTRY`] bytes. An entry that cannot be ends the walk.
    pub(super) fn entries(
        &self,
        offset: u32,
        read: &mut dyn PhysRead,
        sink: &mut dyn MachineSink,
        each: &mut dyn FnMut(Entry<'_>, &mut dyn MachineSink),
    ) {
        let mut offset = offset;
        let mut index = 0;
        while offset < self.length {
            let source = Source { entry: Some(index), ..self.source() };
            let mut bytes = [0; ENTRY];
            if let Err(problem) = self.bytes(read, offset, &mut bytes) {
                return super::warn(sink, source, problem);
            }
            let [kind, length, ..] = bytes;
            let next = offset.saturating_add(length.into());
            if length < 2 || next > self.length {
                return super::warn(sink, source, Problem::Length { stated: length.into() });
            }
            let bytes = bytes.get(..bytes.len().min(length.into())).unwrap_or_default();
            each(Entry { kind, bytes, source }, sink);
            offset = next;
            index += 1;
        }
    }
}

const fn name(signature: [u8; 4]) -> Name {
    match &signature {
        b"APIC" => Name::Madt,
        b"SRAT" => Name::Srat,
        b"SLIT" => Name::Slit,
        b"FACP" => Name::Fadt,
        b"SPCR" => Name::Spcr,
        b"IORT" => Name::Iort,
        b"GTDT" => Name::Gtdt,
        b"XSDT" => Name::Xsdt,
        b"RSDT" => Name::Rsdt,
        _ => Name::Acpi,
    }
}

/// One entry of a table.
pub(super) struct Entry<'e> {
    /// Its type.
    pub(super) kind: u8,
    /// Its bytes, type and length included.
    pub(super) bytes: &'e [u8],
    /// Its place.
    pub(super) source: Source,
}

impl Entry<'_> {
    /// Whether it has at least `length` bytes; otherwise says so.
    pub(super) fn has(&self, length: usize, sink: &mut dyn MachineSink) -> bool {
        let has = self.bytes.len() >= length;
        if !has {
            super::warn(sink, self.source, Problem::Length { stated: self.bytes.len() as u64 });
        }
        has
    }
}

/// Whether the `length` bytes at `at` can be read and add up to zero.
pub(in crate::firmware) fn verify(read: &mut dyn PhysRead, at: PhysAddr, length: u32) -> Result<(), Problem> {
    let mut block = [0; 256];
    let mut sum = 0u8;
    let mut done = 0;
    while done < length {
        let count = (length - done).min(256);
        let bytes = usize::try_from(count).ok().and_then(|count| block.get_mut(..count)).unwrap_or_default();
        let here = at.checked_add(done.into()).ok_or(Problem::Unreadable(at))?;
        read.read(here, bytes).map_err(|error| Problem::Unreadable(error.at))?;
        sum = sum.wrapping_add(byte_sum(bytes));
        done += count;
    }
    if sum == 0 { Ok(()) } else { Err(Problem::Checksum) }
}

/// The sum of all bytes, eight at a time: a DSDT has thousands, and all tables are read several times over.
fn byte_sum(bytes: &[u8]) -> u8 {
    const EVERY_OTHER: u64 = 0x00ff_00ff_00ff_00ff;
    let (words, rest) = bytes.as_chunks::<8>();
    let mut sum = rest.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte));
    for word in words {
        let word = u64::from_le_bytes(*word);
        let pairs = (word & EVERY_OTHER) + (word >> 8 & EVERY_OTHER);
        // The top 16 bits of the product are the sum of the four pairs.
        sum = sum.wrapping_add((pairs.wrapping_mul(0x0001_0001_0001_0001) >> 48) as u8);
    }
    sum
}
