//! The kinds of zones and where each architecture draws their borders.
//!
//! A zone says what its memory can be used for: devices that drive 24 address bits (DMA on x86) or 32 (DMA32, on arm64
//! DMA), everything else (Normal), and what must be movable (Movable). There is no HighMem: 64-bit kernels map all
//! memory. Linux: `zone_sizes_init` in arch/x86/mm/init.c, arch/arm64/mm/init.c (`max_zone_phys`),
//! `free_area_init` in mm/page_alloc.c (6.1).

#![forbid(unsafe_code)]

use crate::addr::{Pfn, PfnRange, PhysAddr, PhysRange};
use bitflags::bitflags;
use core::fmt;

/// What a zone's memory can be used for. Ordered from the most wanted to the least.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum ZoneKind {
    /// Devices with the fewest address bits: below 16 MiB on x86; below 4 GiB, or what the device tree says, on arm64.
    Dma,
    /// Devices with 32 address bits.
    Dma32,
    /// Everything.
    Normal,
    /// Only what can be moved away.
    Movable,
}

impl ZoneKind {
    /// How many kinds there are.
    pub const COUNT: usize = 4;
    /// All of them, from the lowest.
    pub const ALL: [Self; Self::COUNT] = [Self::Dma, Self::Dma32, Self::Normal, Self::Movable];

    /// Linux's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dma => "DMA",
            Self::Dma32 => "DMA32",
            Self::Normal => "Normal",
            Self::Movable => "Movable",
        }
    }

    /// Its place in [`ZoneKind::ALL`], for tables with one entry a kind.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for ZoneKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

bitflags! {
    /// The zones for devices with few address bits that a kernel has. Ours has both; Linux can be built without one or
    /// the other (`CONFIG_ZONE_DMA`, `CONFIG_ZONE_DMA32`), and was before it knew both on arm64.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct LowZones: u8 {
        /// [`ZoneKind::Dma`].
        const DMA = 1;
        /// [`ZoneKind::Dma32`].
        const DMA32 = 2;
    }
}

/// Above this lies what 32 address bits do not reach.
const FOUR_GIB: u64 = 1 << 32;

/// Where kinds of zones end. Each begins where the one before ends, the first with memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ZoneLimits {
    /// The ends of DMA, DMA32 and Normal; `None` for a kind that the kernel has not.
    ends: [Option<PhysAddr>; 3],
    /// Reserved pages below this are left out of the sum of pages: on x86 those that ISA devices reach.
    pub(super) uncounted_below: PhysAddr,
}

impl ZoneLimits {
    /// x86: DMA below 16 MiB, DMA32 below 4 GiB, both borders at a page of `1 << page_shift` bytes.
    #[must_use]
    pub const fn x86(page_shift: u32) -> Self {
        let page = 1 << page_shift;
        let dma = PhysAddr::new(16 << 20).align_down(page);
        let dma32 = PhysAddr::new(FOUR_GIB).align_down(page);
        Self { ends: [Some(dma), Some(dma32), Some(PhysAddr::new(u64::MAX))], uncounted_below: dma }
    }

    /// arm64: DMA below `dma_limit` (what the firmware says of its most limited device; 4 GiB without a word), DMA32
    /// from there to 4 GiB. A device drives whole address bits, so the limit is rounded up to a power of two, and none
    /// drives fewer than 32 because of a limit above 4 GiB. `ram` reaches from the first to the last byte of memory:
    /// where it begins above 4 GiB no device can be so limited, and DMA is all of it.
    #[must_use]
    pub fn arm64(ram: PhysRange, dma_limit: Option<PhysAddr>) -> Self {
        let bits = dma_limit.and_then(|end| end.as_u64().checked_next_power_of_two());
        let dma = arm64_end(ram, bits.map_or(FOUR_GIB, |end| end.min(FOUR_GIB)));
        let ends = [dma, arm64_end(ram, FOUR_GIB), PhysAddr::new(u64::MAX)].map(Some);
        Self { ends, uncounted_below: PhysAddr::new(0) }
    }

    /// The same for a kernel that has only these low zones: the memory of one that it has not is the next one's.
    #[must_use]
    pub fn with(self, zones: LowZones) -> Self {
        let [dma, dma32, normal] = self.ends;
        let dma = dma.filter(|_| zones.contains(LowZones::DMA));
        let dma32 = dma32.filter(|_| zones.contains(LowZones::DMA32));
        Self { ends: [dma, dma32, normal], ..self }
    }

    /// The kinds that have limits, from the lowest.
    pub fn kinds(&self) -> impl Iterator<Item = ZoneKind> {
        ZoneKind::ALL.into_iter().zip(self.ends).filter_map(|(kind, end)| end.map(|_| kind))
    }

    /// The frames of each kind on a machine whose memory begins and ends as `memory` does. Movable takes from the
    /// others, so it has none of its own.
    #[must_use]
    pub fn resolve(&self, memory: PfnRange, page_shift: u32) -> [PfnRange; ZoneKind::COUNT] {
        let mut ranges = [PfnRange::EMPTY; ZoneKind::COUNT];
        let mut start = memory.start();
        for (range, end) in ranges.iter_mut().zip(self.ends) {
            let end = match end.map(PhysAddr::as_u64) {
                None => start,
                Some(u64::MAX) => memory.end(),
                Some(end) => Pfn::containing(PhysAddr::new(end), page_shift),
            };
            let end = end.min(memory.end()).max(start);
            *range = PfnRange::new(start, end);
            start = end;
        }
        ranges
    }
}

/// The end of a zone for devices that reach below `limit`.
fn arm64_end(ram: PhysRange, limit: u64) -> PhysAddr {
    let start = ram.start().as_u64();
    let reach = if start >= FOUR_GIB {
        u64::MAX
    } else if start >= limit {
        FOUR_GIB
    } else {
        limit
    };
    PhysAddr::new(reach).min(ram.end())
}
