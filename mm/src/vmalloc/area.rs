//! What is known of an area.

#![forbid(unsafe_code)]

use super::record::Ref;
use crate::addr::{Pfn, PhysRange, VirtAddr};
use crate::layout::VirtRange;
use crate::paging::MemoryType;
use core::fmt;

/// What an area maps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AreaKind {
    /// Pages of its own ([`Vmalloc::alloc`](super::Vmalloc::alloc)).
    Pages,
    /// Pages of its own, with a guard page below them too ([`Vmalloc::stack`](super::Vmalloc::stack)).
    Stack,
    /// Pages that are somebody's ([`Vmalloc::map_pages`](super::Vmalloc::map_pages)).
    Mapped,
    /// A device ([`Vmalloc::ioremap`](super::Vmalloc::ioremap)).
    Device {
        /// Its bytes, in whole pages.
        physical: PhysRange,
        /// How they are cached.
        memory: MemoryType,
    },
}

impl AreaKind {
    /// Whether its pages go back with it.
    #[must_use]
    pub const fn owns_pages(self) -> bool {
        matches!(self, Self::Pages | Self::Stack)
    }
}

impl fmt::Display for AreaKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pages => "pages",
            Self::Stack => "a stack",
            Self::Mapped => "mapped pages of somebody",
            Self::Device { .. } => "a device",
        })
    }
}

/// How far an area has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AreaState {
    /// Its pages are being taken and mapped.
    Growing,
    /// All of it is mapped.
    Live,
    /// It is being unmapped, or is unmapped, and CPUs may still remember it.
    Retired,
}

/// The record of an area, beside its range.
#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    pub(super) kind: AreaKind,
    pub(super) state: AreaState,
    pub(super) owner: &'static str,
    /// The first of its own frames, each of whose records leads to the next.
    pub(super) first: Option<Pfn>,
    /// How many.
    pub(super) pages: u64,
    /// Of a device: the next device. Of a free record: the next one.
    pub(super) next: Option<Ref>,
}

impl Area {
    /// Of a free record.
    pub(super) const NONE: Self = Self::new(AreaKind::Pages, "");

    pub(super) const fn new(kind: AreaKind, owner: &'static str) -> Self {
        Self { kind, state: AreaState::Growing, owner, first: None, pages: 0, next: None }
    }

    /// The part of `taken`, all that the area has taken of the space, that it maps.
    pub(super) fn mapped(&self, taken: VirtRange, page: u64) -> VirtRange {
        let below = if self.kind == AreaKind::Stack { page } else { 0 };
        let end = VirtAddr::new(taken.end().as_u64().saturating_sub(page));
        VirtRange::new(taken.start().saturating_add(below), end)
    }
}

/// An area, as it was when it was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AreaInfo {
    /// All that it has taken of the space, guard pages too.
    pub taken: VirtRange,
    /// What it maps.
    pub mapped: VirtRange,
    /// What that is.
    pub kind: AreaKind,
    /// How far it has come.
    pub state: AreaState,
    /// Who asked for it.
    pub owner: &'static str,
    /// Pages of its own.
    pub pages: u64,
}

/// Where in its area an address lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AreaPart {
    /// In the guard page below a stack: the stack has overflowed.
    GuardBelow,
    /// In what it maps, this many bytes from the start.
    Mapped(u64),
    /// In the guard page behind it.
    GuardAbove,
}

impl AreaInfo {
    /// Where `address`, which lies in the area, is in it.
    #[must_use]
    pub fn part(&self, address: VirtAddr) -> AreaPart {
        match self.mapped.offset(address) {
            Some(offset) => AreaPart::Mapped(offset),
            None if address < self.mapped.start() => AreaPart::GuardBelow,
            None => AreaPart::GuardAbove,
        }
    }
}

/// `0xffffc90000001000-0xffffc90000005000, a stack for kernel_stack`
impl fmt::Display for AreaInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} for {}", self.mapped, self.kind, self.owner)?;
        match self.state {
            AreaState::Growing => f.write_str(", not mapped yet"),
            AreaState::Live => Ok(()),
            AreaState::Retired => f.write_str(", given up"),
        }
    }
}
