//! What cannot be believed: a fact that was dropped or changed, and why.
//!
//! `mm` and `platform` hand typed warnings to a sink; only the kernel and xtask turn them into text. Every text names
//! the table and the entry.

#![forbid(unsafe_code)]

use super::Source;
use crate::addr::{PhysAddr, PhysRange};
use core::fmt;

/// Why a fact was dropped or changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Problem {
    /// The range runs past the end of the address space.
    Wraps {
        /// Its start.
        start: u64,
        /// Its length.
        size: u64,
    },
    /// The range overlaps one that was stated before; the stricter statement holds where they meet.
    Overlaps(PhysRange),
    /// The same was stated before.
    Duplicate(PhysRange),
    /// The entry stands before one with a lower address.
    Unsorted(PhysRange),
    /// The range does not begin with a page.
    Unaligned(PhysRange),
    /// There is nothing in it.
    Empty {
        /// Its start.
        start: u64,
    },
    /// The bytes of the table do not add up to zero.
    Checksum,
    /// The table or entry is not as long as its kind must be, or runs past what holds it.
    Length {
        /// The length that it states.
        stated: u64,
    },
    /// The table does not begin as its kind must.
    Signature,
    /// The table lies where nothing can be read.
    Unreadable(PhysAddr),
    /// A structural fault at this byte of the table.
    Malformed {
        /// Offset of the fault in bytes.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// A property or field has a value that its kind cannot have.
    Value {
        /// Which one.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// What somebody asked for cannot be understood, and is not done.
    Ignored {
        /// What was asked for.
        what: &'static str,
        /// Why it cannot be.
        why: &'static str,
    },
    /// A range does not lie in RAM.
    NotRam(PhysRange),
    /// The kernel's image lies here, where the table names no RAM.
    ImageNotRam(PhysRange),
    /// The kernel's image lies here, so this cannot be kept out of every mapping.
    ImageMapped(PhysRange),
    /// This part of a range lies where the kernel cannot reach it.
    OutOfReach(PhysRange),
    /// There are more of these than can be held.
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are held.
        limit: u64,
    },
    /// The whole table is not used, for this reason.
    TableIgnored(&'static str),
    /// This entry is not used, for this reason.
    EntryIgnored(&'static str),
}

/// A fact that was dropped or changed, and why. Its text is one line without a newline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Warning {
    /// Who stated it.
    pub source: Source,
    /// What is wrong with it.
    pub problem: Problem,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = self.source;
        match self.problem {
            Problem::Wraps { start, size } => {
                write!(
                    f,
                    "{source}: {size:#x} bytes at {start:#x} run past the end of the address space; entry dropped"
                )
            }
            Problem::Overlaps(range) => write!(f, "{source}: {range} overlaps an earlier entry"),
            Problem::Duplicate(range) => write!(f, "{source}: {range} was stated before; entry dropped"),
            Problem::Unsorted(range) => write!(f, "{source}: {range} is out of order"),
            Problem::Unaligned(range) => write!(f, "{source}: {range} does not begin with a page"),
            Problem::Empty { start } => write!(f, "{source}: nothing at {start:#x}; entry dropped"),
            Problem::Checksum => write!(f, "{source}: wrong checksum; table ignored"),
            Problem::Length { stated } => write!(f, "{source}: a length of {stated} bytes cannot be; dropped"),
            Problem::Signature => write!(f, "{source}: wrong signature; ignored"),
            Problem::Unreadable(address) => write!(f, "{source}: cannot be read at {address:#x}; ignored"),
            Problem::Malformed { offset, what } => write!(f, "{source}: {what} at offset {offset:#x}"),
            Problem::Value { what, value } => write!(f, "{source}: {what} cannot be {value:#x}; dropped"),
            Problem::Ignored { what, why } => write!(f, "{source}: {what}: {why}; ignored"),
            Problem::NotRam(range) => write!(f, "{source}: {range} does not lie in RAM"),
            Problem::ImageNotRam(range) => {
                write!(f, "{source}: the kernel's image at {range} does not lie in RAM; taken as RAM")
            }
            Problem::ImageMapped(range) => {
                write!(f, "{source}: the kernel's image lies at {range}, which stays mapped")
            }
            Problem::OutOfReach(range) => write!(f, "{source}: {range} is out of the kernel's reach; not used"),
            Problem::TooMany { what, limit } => write!(f, "{source}: more than {limit} {what}; the rest is dropped"),
            Problem::TableIgnored(why) => write!(f, "{source}: {why}; table ignored"),
            Problem::EntryIgnored(why) => write!(f, "{source}: {why}; entry dropped"),
        }
    }
}
