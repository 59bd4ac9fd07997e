//! Addresses, frames and the small numbers of memory management.
//!
//! Every other module speaks in these types, so that a physical address is never taken for a virtual one, nor a
//! frame number for a byte count. Arithmetic that can leave the 64-bit space is checked or saturates, as its name
//! says; nothing here wraps. All types are `Copy` and as large as the integer inside.
//!
//! A [`PhysRange`] is half open. The last byte of the 64-bit space therefore belongs to no range, as in Linux,
//! where memblock clips a region at `PHYS_ADDR_MAX`.
//!
//! Linux: `include/linux/pfn.h`, `arch/*/include/asm/page.h`.

use core::fmt;

macro_rules! address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[repr(transparent)]
        pub struct $name(u64);

        impl $name {
            /// The address with this value.
            #[must_use]
            pub const fn new(value: u64) -> Self {
                Self(value)
            }

            /// The value as an integer, for formatting, registers and table entries.
            #[must_use]
            pub const fn as_u64(self) -> u64 {
                self.0
            }

            /// This address plus `bytes`, or `None` past the end of the 64-bit space.
            #[must_use]
            pub const fn checked_add(self, bytes: u64) -> Option<Self> {
                match self.0.checked_add(bytes) {
                    Some(value) => Some(Self(value)),
                    None => None,
                }
            }

            /// This address plus `bytes`, or the last address of the 64-bit space.
            #[must_use]
            pub const fn saturating_add(self, bytes: u64) -> Self {
                Self(self.0.saturating_add(bytes))
            }

            /// Bytes from `earlier` up to this address, or `None` when `earlier` lies above.
            #[must_use]
            pub const fn checked_sub(self, earlier: Self) -> Option<u64> {
                self.0.checked_sub(earlier.0)
            }

            /// The greatest multiple of `align` that is not above this address. `align` is a power of two.
            #[must_use]
            pub const fn align_down(self, align: u64) -> Self {
                debug_assert!(align.is_power_of_two());
                Self(self.0 & !(align - 1))
            }

            /// The least multiple of `align` that is not below this address, or `None` when there is none in the
            /// 64-bit space. `align` is a power of two.
            #[must_use]
            pub const fn checked_align_up(self, align: u64) -> Option<Self> {
                debug_assert!(align.is_power_of_two());
                match self.0.checked_add(align - 1) {
                    Some(value) => Some(Self(value & !(align - 1))),
                    None => None,
                }
            }

            /// Whether this address is a multiple of `align`, a power of two.
            #[must_use]
            pub const fn is_aligned(self, align: u64) -> bool {
                debug_assert!(align.is_power_of_two());
                self.0 & (align - 1) == 0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }

        impl fmt::LowerHex for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::LowerHex::fmt(&self.0, f)
            }
        }
    };
}

address! {
    /// A physical byte address.
    PhysAddr
}
address! {
    /// A virtual byte address of the kernel's half. It is no pointer: [`crate::arch::PhysMap::virt_ptr`] makes one.
    VirtAddr
}

/// A page frame number: a physical address divided by the page size. Frame 0 is a legal frame.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
#[repr(transparent)]
pub struct Pfn(u64);

impl Pfn {
    /// The frame with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The frame that holds `address`, with pages of `1 << page_shift` bytes.
    #[must_use]
    pub const fn containing(address: PhysAddr, page_shift: u32) -> Self {
        Self(address.as_u64() >> page_shift)
    }

    /// The first frame that starts at or above `address`. The frame above the last whole one is representable, so
    /// this cannot overflow.
    #[must_use]
    pub const fn at_or_above(address: PhysAddr, page_shift: u32) -> Self {
        let value = address.as_u64();
        let down = value >> page_shift;
        Self(if down << page_shift == value { down } else { down + 1 })
    }

    /// The number.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The address of the frame's first byte; saturates at the end of the 64-bit space.
    #[must_use]
    pub const fn address(self, page_shift: u32) -> PhysAddr {
        if self.0 > u64::MAX >> page_shift { PhysAddr(u64::MAX) } else { PhysAddr(self.0 << page_shift) }
    }

    /// The frame `count` frames above; saturates.
    #[must_use]
    pub const fn saturating_add(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }

    /// Frames from `earlier` up to this one, or `None` when `earlier` lies above.
    #[must_use]
    pub const fn checked_sub(self, earlier: Self) -> Option<u64> {
        self.0.checked_sub(earlier.0)
    }
}

/// Bytes `start..end` of physical memory. `start <= end` always holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PhysRange {
    start: PhysAddr,
    end: PhysAddr,
}

impl PhysRange {
    /// No byte.
    pub const EMPTY: Self = Self { start: PhysAddr(0), end: PhysAddr(0) };
    /// Every byte that a range can name.
    pub const ALL: Self = Self { start: PhysAddr(0), end: PhysAddr(u64::MAX) };

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

/// A NUMA node, numbered densely from 0 in the order in which firmware names its domains.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
#[repr(transparent)]
pub struct NodeId(u16);

impl NodeId {
    /// More nodes than this are refused, as in Linux (`NODES_SHIFT` 10).
    pub const MAX_COUNT: usize = 1024;

    /// The node with this number.
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn as_u16(self) -> u16 {
        self.0
    }

    /// The number as an index into a table of nodes.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A CPU, numbered densely from 0, the boot CPU first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
#[repr(transparent)]
pub struct CpuId(u32);

impl CpuId {
    /// The CPU that brings memory up.
    pub const BOOT: Self = Self(0);

    /// The CPU with this number.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn as_u32(self) -> u32 {
        self.0
    }

    /// The number as an index into a table of CPUs.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for CpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The size of a block of frames: `1 << order` of them, aligned to as many.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
#[repr(transparent)]
pub struct Order(u8);

impl Order {
    /// The highest order that the buddy serves: 4 MiB with 4 KiB pages (Linux 6.1: `MAX_ORDER - 1`).
    pub const MAX: Self = Self(10);
    /// Orders there are.
    pub const COUNT: usize = Self::MAX.0 as usize + 1;

    /// This order, or `None` above [`Order::MAX`].
    #[must_use]
    pub const fn new(order: u8) -> Option<Self> {
        if order <= Self::MAX.0 { Some(Self(order)) } else { None }
    }

    /// The least order whose block holds `bytes`, or `None` above [`Order::MAX`].
    #[must_use]
    pub const fn for_bytes(bytes: u64, page_shift: u32) -> Option<Self> {
        let pages = bytes.div_ceil(1 << page_shift);
        if pages <= 1 {
            return Some(Self(0));
        }
        if pages > 1 << Self::MAX.0 {
            return None;
        }
        // pages <= 1024, so the logarithm fits any integer.
        Some(Self((u64::BITS - (pages - 1).leading_zeros()) as u8))
    }

    /// All orders from 0 to [`Order::MAX`].
    pub fn all() -> impl DoubleEndedIterator<Item = Self> + ExactSizeIterator {
        (0..Self::COUNT as u8).map(Self)
    }

    /// The number.
    #[must_use]
    pub const fn as_u8(self) -> u8 {
        self.0
    }

    /// The number as an index into a table of orders.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Frames in a block.
    #[must_use]
    pub const fn frames(self) -> u64 {
        1 << self.0
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
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
    fn orders_for_sizes() {
        assert_eq!(Order::for_bytes(0, 12), Some(Order(0)));
        assert_eq!(Order::for_bytes(4096, 12), Some(Order(0)));
        assert_eq!(Order::for_bytes(4097, 12), Some(Order(1)));
        assert_eq!(Order::for_bytes(4 << 20, 12), Some(Order::MAX));
        assert_eq!(Order::for_bytes((4 << 20) + 1, 12), None);
    }

    #[test]
    fn ranges_print_as_linux_prints_them() {
        let range = PhysRange::new(PhysAddr::new(0x1000), PhysAddr::new(0x9f000));
        assert_eq!(std::format!("{range}"), "[mem 0x0000000000001000-0x000000000009efff]");
    }
}
