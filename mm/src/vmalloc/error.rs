//! Why there is no area, and why one is not taken back.

use super::area::{AreaKind, AreaState};
use crate::addr::{Pfn, PhysAddr, PhysRange, VirtAddr};
use crate::page_alloc::{AllocError, FreeError};
use crate::paging::{ChangeError, MapError, MemoryType, RawMapping};
use core::fmt;

/// Why there is no area. Nothing has changed then, except that page tables may have been made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VmallocError {
    /// No byte was asked for.
    Empty,
    /// This alignment is no power of two.
    Alignment(u64),
    /// No gap of the space is large enough.
    NoSpace {
        /// Bytes that were asked for.
        bytes: u64,
        /// To be aligned to this.
        align: u64,
    },
    /// No page for the contents.
    Pages(AllocError),
    /// No page for the area's record.
    Record(AllocError),
    /// The pages could not be mapped.
    Map(MapError),
    /// No table entry can say these addresses.
    Unreachable(PhysRange),
    /// The direct map holds this memory in another way; two ways to cache the same bytes corrupt them.
    DirectMap {
        /// The first byte of which that is so.
        at: PhysAddr,
        /// How the direct map maps it.
        held: RawMapping,
        /// How it was asked for.
        wanted: RawMapping,
    },
    /// Another area maps some of these bytes and caches them in another way.
    CacheType {
        /// What it maps.
        other: PhysRange,
        /// How.
        held: MemoryType,
        /// How it was asked for.
        wanted: MemoryType,
    },
    /// The frame is no memory that somebody holds.
    NotHeld(Pfn),
}

/// A cache type's name, as tables are shown.
struct Name(MemoryType);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            MemoryType::Normal => "normal",
            MemoryType::WriteCombining => "write-combining",
            MemoryType::Device => "device",
        })
    }
}

impl fmt::Display for VmallocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no byte was asked for"),
            Self::Alignment(align) => write!(f, "an alignment of {align:#x} is no power of two"),
            Self::NoSpace { bytes, align } => {
                write!(f, "no gap for {bytes:#x} bytes aligned to {align:#x} in the vmalloc space")
            }
            Self::Pages(error) => write!(f, "no page for an area: {error}"),
            Self::Record(error) => write!(f, "no page for the record of an area: {error}"),
            Self::Map(error) => fmt::Display::fmt(error, f),
            Self::Unreachable(range) => write!(f, "{range} is beyond what page tables can say"),
            Self::DirectMap { at, held, wanted } => {
                write!(f, "the direct map has {at:#x} as {held}, not as {wanted}")
            }
            Self::CacheType { other, held, wanted } => {
                write!(f, "{other} is mapped as {}, not as {}", Name(*held), Name(*wanted))
            }
            Self::NotHeld(pfn) => write!(f, "frame {:#x} is no memory that somebody holds", pfn.as_u64()),
        }
    }
}

impl core::error::Error for VmallocError {}

/// Why an area was not taken back. Nothing has changed then, but for [`VfreeError::Page`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VfreeError {
    /// There is no area.
    NoArea(VirtAddr),
    /// It is not the first address that an area maps.
    NotStart {
        /// This one is.
        start: VirtAddr,
    },
    /// The area is of another kind, for which there is another call.
    Kind(AreaKind),
    /// It is not mapped yet, or somebody has given it back already.
    State(AreaState),
    /// It could not be unmapped.
    Unmap(ChangeError),
    /// The page allocator did not take this page back; all others are free.
    Page {
        /// The first of which that is so.
        pfn: Pfn,
        /// Why.
        error: FreeError,
    },
}

impl fmt::Display for VfreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoArea(address) => write!(f, "no area at {address:#x}"),
            Self::NotStart { start } => write!(f, "it lies inside the area at {start:#x}"),
            Self::Kind(kind) => write!(f, "the area is {kind}"),
            Self::State(AreaState::Retired) => f.write_str("double free: the area is given up already"),
            Self::State(_) => f.write_str("the area is not mapped yet"),
            Self::Unmap(error) => fmt::Display::fmt(error, f),
            Self::Page { pfn, error } => write!(f, "its frame {:#x}: {error}", pfn.as_u64()),
        }
    }
}

impl core::error::Error for VfreeError {}
