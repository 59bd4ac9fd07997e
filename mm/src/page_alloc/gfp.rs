//! What an allocation may have: which zones, which node, cleared or not, how urgent.
//!
//! Linux: `gfp_t` in `include/linux/gfp_types.h`; the constants carry its names.

#![forbid(unsafe_code)]

use crate::zone::ZoneKind;

pub use crate::memblock::NodeWish;

/// What the pages hold when they are handed out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contents {
    /// Whatever they held before.
    Any,
    /// Zeroes.
    Zeroed,
}

/// How deep an allocation may dig.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Urgency {
    /// Down to the min watermark.
    Normal,
    /// Down to half of it: for callers that cannot wait for memory to be freed.
    Atomic,
}

/// What an allocation may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gfp {
    /// The highest zone that may serve it.
    pub zone: ZoneKind,
    /// On which node. `Any` is the current CPU's node first, then the others by distance.
    pub node: NodeWish,
    /// What the pages hold.
    pub contents: Contents,
    /// How deep it may dig.
    pub urgency: Urgency,
}

impl Gfp {
    /// For the kernel itself (`GFP_KERNEL`).
    pub const KERNEL: Self =
        Self { zone: ZoneKind::Normal, node: NodeWish::Any, contents: Contents::Any, urgency: Urgency::Normal };
    /// For the kernel where it cannot wait (`GFP_ATOMIC`).
    pub const ATOMIC: Self = Self { urgency: Urgency::Atomic, ..Self::KERNEL };
    /// For devices that reach the first 16 MiB (x86) or what the machine's devices reach (`GFP_DMA`).
    pub const DMA: Self = Self { zone: ZoneKind::Dma, ..Self::KERNEL };
    /// For devices that reach the first 4 GiB (`GFP_DMA32`).
    pub const DMA32: Self = Self { zone: ZoneKind::Dma32, ..Self::KERNEL };
    /// For what can be moved elsewhere later (`GFP_HIGHUSER_MOVABLE`).
    pub const MOVABLE: Self = Self { zone: ZoneKind::Movable, ..Self::KERNEL };

    /// The same, cleared (`__GFP_ZERO`).
    #[must_use]
    pub const fn zeroed(self) -> Self {
        Self { contents: Contents::Zeroed, ..self }
    }

    /// The same, with this wish for a node (`Only`: `__GFP_THISNODE`).
    #[must_use]
    pub const fn on(self, node: NodeWish) -> Self {
        Self { node, ..self }
    }
}
