//! Ranges of bytes and of frames.
//!
//! Both are half open, and their start never lies above their end. What [`PhysRange`] prints has an inclusive end, as
//! in Linux's boot text.

use super::{Pfn, PhysAddr};
use core::fmt;

/// Bytes `start..end` of physical memory. `start <= end` always holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PhysRange {
    start: PhysAddr,
    end: PhysAddr,
}

impl PhysRange {
    /// No byte.
    pub const EMPTY: Self = Self { start: PhysAddr::new(0), end: PhysAddr::new(0) };
    /// Every byte that a range can name.
    pub const ALL: Self = Self { start: PhysAddr::new(0), end: PhysAddr(u64::MAX) };

    /// `start..end`; empty at `start` when `end` lies below it.
    #[must_use]
    pub const fn new(start: PhysAddr, end: PhysAddr) -> Self {
        Self { start, end: if end.0 < start.0 { start } else { end } }
    }

    /// `size` bytes from `start`, or `None` when they leave the 64-bit space. A range that ends exactly at 2^64 is
    /// clipped by one byte (see the module text).
    #[must_use]
    pub const fn from_size(start: PhysAddr, size: u64) -> Option<Self> {
        if size == 0 {
            return Some(Self { start, end: start });
        }
        match start.0.checked_add(size - 1) {
            Some(last) => Some(Self { start, end: PhysAddr(last.saturating_add(1)) }),
            None => None,
        }
    }

    /// The first byte's address.
    #[must_use]
    pub const fn start(self) -> PhysAddr {
        self.start
    }

    /// The address after the last byte.
    #[must_use]
    pub const fn end(self) -> PhysAddr {
        self.end
    }

    /// The last byte's address, as the boot text prints ranges; of an empty range, its start.
    #[must_use]
    pub const fn last(self) -> PhysAddr {
        if self.is_empty() { self.start } else { PhysAddr(self.end.0 - 1) }
    }

    /// Bytes.
    #[must_use]
    pub const fn size(self) -> u64 {
        self.end.0 - self.start.0
    }

    /// Whether there is no byte in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.start.0 == self.end.0
    }

    /// Whether `address` lies in it.
    #[must_use]
    pub const fn contains(self, address: PhysAddr) -> bool {
        self.start.0 <= address.0 && address.0 < self.end.0
    }

    /// Whether every byte of `other` lies in it. An empty `other` lies everywhere.
    #[must_use]
    pub const fn contains_range(self, other: Self) -> bool {
        other.is_empty() || (self.start.0 <= other.start.0 && other.end.0 <= self.end.0)
    }

    /// Whether a byte lies in both.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.start.0 < other.end.0 && other.start.0 < self.end.0 && !self.is_empty() && !other.is_empty()
    }

    /// The bytes that lie in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        let start = if self.start.0 > other.start.0 { self.start } else { other.start };
        let end = if self.end.0 < other.end.0 { self.end } else { other.end };
        Self::new(start, end)
    }

    /// The whole pages inside it: start rounded up, end rounded down. `align` is a power of two.
    #[must_use]
    pub const fn shrink_to(self, align: u64) -> Self {
        match self.start.checked_align_up(align) {
            Some(start) => Self::new(start, self.end.align_down(align)),
            None => Self { start: self.end, end: self.end },
        }
    }

    /// The pages it touches: start rounded down, end rounded up (saturating). `align` is a power of two.
    #[must_use]
    pub const fn expand_to(self, align: u64) -> Self {
        let end = match self.end.checked_align_up(align) {
            Some(end) => end,
            None => PhysAddr(u64::MAX),
        };
        Self::new(self.start.align_down(align), end)
    }
}

/// `[mem 0x0000000000001000-0x000000000009efff]`, Linux's `%pa` range with an inclusive end.
impl fmt::Display for PhysRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[mem {:#018x}-{:#018x}]", self.start.0, self.last().0)
    }
}

impl fmt::Debug for PhysRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..{:#x}", self.start.0, self.end.0)
    }
}

/// Frames `start..end`. `start <= end` always holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct PfnRange {
    start: Pfn,
    end: Pfn,
}

impl PfnRange {
    /// No frame.
    pub const EMPTY: Self = Self { start: Pfn(0), end: Pfn(0) };

    /// `start..end`; empty at `start` when `end` lies below it.
    #[must_use]
    pub const fn new(start: Pfn, end: Pfn) -> Self {
        Self { start, end: if end.0 < start.0 { start } else { end } }
    }

    /// The whole frames inside `range`.
    #[must_use]
    pub const fn inside(range: PhysRange, page_shift: u32) -> Self {
        Self::new(Pfn::at_or_above(range.start, page_shift), Pfn::containing(range.end, page_shift))
    }

    /// The first frame.
    #[must_use]
    pub const fn start(self) -> Pfn {
        self.start
    }

    /// The frame after the last one.
    #[must_use]
    pub const fn end(self) -> Pfn {
        self.end
    }

    /// Frames.
    #[must_use]
    pub const fn count(self) -> u64 {
        self.end.0 - self.start.0
    }

    /// Whether there is no frame in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.start.0 == self.end.0
    }

    /// Whether `pfn` lies in it.
    #[must_use]
    pub const fn contains(self, pfn: Pfn) -> bool {
        self.start.0 <= pfn.0 && pfn.0 < self.end.0
    }

    /// The frames that lie in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        let start = if self.start.0 > other.start.0 { self.start } else { other.start };
        let end = if self.end.0 < other.end.0 { self.end } else { other.end };
        Self::new(start, end)
    }

    /// The bytes of these frames.
    #[must_use]
    pub const fn bytes(self, page_shift: u32) -> PhysRange {
        PhysRange::new(self.start.address(page_shift), self.end.address(page_shift))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_at_the_end_of_the_space_is_clipped_not_wrapped() {
        let range = PhysRange::from_size(PhysAddr::new(u64::MAX - 0xfff), 0x1000).unwrap();
        assert_eq!(range.size(), 0xfff);
        assert_eq!(PhysRange::from_size(PhysAddr::new(u64::MAX), 2), None);
    }

    #[test]
    fn pages_inside_and_pages_touched() {
        let range = PhysRange::new(PhysAddr::new(0x1801), PhysAddr::new(0x3fff));
        assert_eq!(range.shrink_to(0x1000), PhysRange::new(PhysAddr::new(0x2000), PhysAddr::new(0x3000)));
        assert_eq!(range.expand_to(0x1000), PhysRange::new(PhysAddr::new(0x1000), PhysAddr::new(0x4000)));
        let last = PhysRange::new(PhysAddr::new(u64::MAX - 1), PhysAddr::new(u64::MAX));
        assert!(last.shrink_to(0x1000).is_empty());
    }

    #[test]
    fn ranges_print_as_linux_prints_them() {
        let range = PhysRange::new(PhysAddr::new(0x1000), PhysAddr::new(0x9f000));
        assert_eq!(std::format!("{range}"), "[mem 0x0000000000001000-0x000000000009efff]");
    }
}
