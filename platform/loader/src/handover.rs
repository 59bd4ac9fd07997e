//! All that the kernel is handed: tables, stack, answers, in one pool.
//!
//! [`build`] is run twice. The first time the firmware is still there, so that what goes wrong can be said; its result
//! is thrown away. The second time the firmware's memory map is the last one, and nothing can be said any more, but
//! nothing is left that could go wrong: the pool has room for a map that grew meanwhile ([`most_bytes`]).

use crate::elf::{Executable, Machine};
use crate::memory_map::Entry;
use crate::plan::{Plan, Roots, hhdm};
use crate::pool::{Full, Pool};
use crate::requests::{Request, RequestError, Requests};
use crate::responses::{self, Facts, Place};
use crate::tables::{Format, MapError};
use core::fmt;

/// Bytes of the stack, where the kernel asks for no more.
pub const STACK_BYTES: u64 = 64 * 1024;
/// Entries by which the memory map may grow while the firmware ends.
pub const MORE_ENTRIES: usize = 64;
/// Segments that the protocol wants in the GDT: nothing, then code and data of 16, of 32 and of 64 bits.
const GDT: [u64; 7] = [
    0,
    0x0000_9b00_0000_ffff,
    0x0000_9300_0000_ffff,
    0x00cf_9b00_0000_ffff,
    0x00cf_9300_0000_ffff,
    0x00af_9b00_0000_ffff,
    0x00cf_9300_0000_ffff,
];

/// What the handover is made of.
#[derive(Clone, Copy)]
pub struct Handover<'a> {
    /// The format of the tables.
    pub format: Format,
    /// The kernel.
    pub executable: &'a Executable<'a>,
    /// What it asks for.
    pub requests: &'a Requests,
    /// The physical address of its image.
    pub image: u64,
    /// The physical address of the loader's own page.
    pub jump: u64,
}

/// What the last instructions need to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// The tables' roots.
    pub roots: Roots,
    /// Where the kernel is entered.
    pub entry: u64,
    /// The end of the stack: a multiple of 16, in the HHDM.
    pub stack: u64,
    /// x86_64: the address of what `lgdt` takes, in the HHDM. 0 on others.
    pub gdt: u64,
}

/// The handover cannot be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandoverError {
    /// What the kernel asks for cannot be done.
    Request(RequestError),
    /// The tables cannot be built.
    Map(MapError),
    /// The pool is too small.
    Full,
}

impl From<RequestError> for HandoverError {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<MapError> for HandoverError {
    fn from(error: MapError) -> Self {
        Self::Map(error)
    }
}

impl From<Full> for HandoverError {
    fn from(Full: Full) -> Self {
        Self::Full
    }
}

impl fmt::Display for HandoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(error) => error.fmt(f),
            Self::Map(MapError::Taken { address }) => write!(f, "two things would be mapped at {address:#x}"),
            Self::Map(MapError::Range { address }) => write!(f, "memory at {address:#x} is beyond what can be mapped"),
            Self::Map(MapError::Full) | Self::Full => f.write_str("the memory set aside for the handover is too small"),
        }
    }
}

impl<'a> Handover<'a> {
    fn plan<'b>(&'b self, map: &'b [Entry]) -> Plan<'b> {
        Plan {
            format: self.format,
            revision: self.requests.revision,
            map,
            executable: self.executable,
            image: self.image,
            jump: self.jump,
        }
    }

    fn stack_bytes(&self, image: &[u8]) -> Result<u64, RequestError> {
        let asked = self.requests.argument(image, Request::StackSize, 0)?.unwrap_or(0);
        Ok(asked.max(STACK_BYTES).checked_next_multiple_of(16).unwrap_or(u64::MAX))
    }

    fn entry(&self, image: &[u8]) -> Result<u64, RequestError> {
        let asked = self.requests.argument(image, Request::EntryPoint, 0)?;
        let address = asked.unwrap_or(self.executable.entry);
        if self.executable.enters(address) { Ok(address) } else { Err(RequestError::Entry { address }) }
    }

    /// Whether there are as many levels of tables as the kernel wants. Requests of revision 0 cannot say.
    fn check_levels(&self, image: &[u8]) -> Result<(), RequestError> {
        let says = self.requests.request_revision(image, Request::PagingMode).is_some_and(|revision| revision >= 1);
        let least = if says { self.requests.argument(image, Request::PagingMode, 2)? } else { None };
        if least.unwrap_or(0) > 0 { Err(RequestError::Levels) } else { Ok(()) }
    }

    /// Bytes that [`Handover::build`] takes at most, for a map of up to [`MORE_ENTRIES`] more entries.
    ///
    /// # Errors
    /// When what the kernel asks for cannot be done.
    pub fn most_bytes(&self, facts: &Facts<'_>, image: &[u8], map: &[Entry]) -> Result<u64, RequestError> {
        self.check_levels(image)?;
        self.entry(image)?;
        let tree = facts.device_tree.map_or(0, <[u8]>::len) as u64;
        let texts = 2 * facts.command_line.len() as u64;
        let map_bytes = (map.len() + MORE_ENTRIES) as u64 * 32;
        // All structures of fixed size, their texts, and what is lost between them, are less than two pages.
        let fixed = 2 * crate::PAGE;
        let sizes = [self.stack_bytes(image)?, tree, texts, map_bytes, fixed];
        let tables = self.plan(map).most_bytes(MORE_ENTRIES as u64);
        Ok(sizes.into_iter().fold(tables, u64::saturating_add))
    }

    /// Builds everything in `pool` and puts the answers' addresses into the requests in `image`.
    ///
    /// # Errors
    /// When what the kernel asks for cannot be done, or the pool is used up.
    pub fn build(
        &self,
        facts: &Facts<'_>,
        image: &mut [u8],
        map: &[Entry],
        pool: &mut Pool<'_>,
    ) -> Result<Ready, HandoverError> {
        self.check_levels(image)?;
        let entry = self.entry(image)?;
        let hhdm = hhdm(self.format.machine());
        let stack_bytes = self.stack_bytes(image)?;
        let roots = self.plan(map).build(pool)?;
        let stack = pool.take(stack_bytes, 16)? + stack_bytes;
        let place = Place { physical: self.image, linked: self.executable.start(), hhdm };
        responses::answer(self.requests, image, pool, place, map, facts)?;
        let gdt = match self.format.machine() {
            Machine::X86_64 => hhdm + descriptor_table(pool, hhdm)?,
            Machine::Aarch64 => 0,
        };
        Ok(Ready { roots, entry, stack: hhdm + stack, gdt })
    }
}

/// The GDT and, at the address that comes back, what `lgdt` takes: its last byte's number, and where it is.
fn descriptor_table(pool: &mut Pool<'_>, hhdm: u64) -> Result<u64, Full> {
    let table = hhdm + pool.words(&GDT)?;
    let pointer = pool.take(10, 8)?;
    pool.write(pointer, &(size_of_val(&GDT) as u16 - 1).to_le_bytes());
    pool.write(pointer + 2, &table.to_le_bytes());
    Ok(pointer)
}

#[cfg(test)]
mod tests;
