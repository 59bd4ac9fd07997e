//! Why objects are not handed out or not taken back.

use crate::addr::Order;
use crate::page_alloc::{AllocError, FreeError};
use crate::zone::ZoneKind;
use core::fmt;

/// Why there is no object, or no cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlabError {
    /// No pages for a slab.
    Pages(AllocError),
    /// No slab or block can hold an object of this size and alignment.
    TooLarge {
        /// Bytes.
        size: u64,
        /// Alignment in bytes.
        align: u64,
    },
    /// There is no cache with this number.
    NoCache,
    /// There are as many caches as can be numbered.
    TooManyCaches,
    /// Objects are not made in this kind of zone: those of one cache are handed out to everybody, and stay where they
    /// are.
    Zone(ZoneKind),
    /// These pages have a slab allocator already.
    Taken,
}

impl fmt::Display for SlabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pages(error) => write!(f, "no slab: {error}"),
            Self::TooLarge { size, align } => write!(f, "{size} bytes aligned to {align} fit no block"),
            Self::NoCache => f.write_str("no such cache"),
            Self::TooManyCaches => f.write_str("too many caches"),
            Self::Zone(kind) => write!(f, "no objects in zone {kind}"),
            Self::Taken => f.write_str("these pages have a slab allocator already"),
        }
    }
}

impl core::error::Error for SlabError {}

impl From<AllocError> for SlabError {
    fn from(error: AllocError) -> Self {
        Self::Pages(error)
    }
}

/// Why an object was not taken back. Nothing has changed then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KfreeError {
    /// It lies in no slab and in no large block.
    NotAnObject,
    /// It is free already.
    DoubleFree,
    /// It does not point to the beginning of an object.
    Misaligned {
        /// Bytes from the beginning of the slab.
        offset: u64,
    },
    /// It belongs to another cache, or to a large block.
    WrongCache,
    /// It is a large block of another order than its layout says.
    WrongSize {
        /// The order in which it was handed out.
        allocated: Order,
    },
    /// The page allocator did not take the block back.
    Pages(FreeError),
}

impl fmt::Display for KfreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnObject => f.write_str("not an object of any slab"),
            Self::DoubleFree => f.write_str("double free"),
            Self::Misaligned { offset } => write!(f, "no object begins at byte {offset:#x} of its slab"),
            Self::WrongCache => f.write_str("an object of another cache"),
            Self::WrongSize { allocated } => write!(f, "it was handed out as a block of order {allocated}"),
            Self::Pages(error) => write!(f, "its block: {error}"),
        }
    }
}

impl core::error::Error for KfreeError {}
