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

mod range;

pub use range::{PfnRange, PhysRange};

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
    fn orders_for_sizes() {
        assert_eq!(Order::for_bytes(0, 12), Some(Order(0)));
        assert_eq!(Order::for_bytes(4096, 12), Some(Order(0)));
        assert_eq!(Order::for_bytes(4097, 12), Some(Order(1)));
        assert_eq!(Order::for_bytes(4 << 20, 12), Some(Order::MAX));
        assert_eq!(Order::for_bytes((4 << 20) + 1, 12), None);
    }
}
