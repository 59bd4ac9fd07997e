//! The one table of kernel virtual space, and the only place that converts addresses.
//!
//! An arch states its [`Layout`] as a constant; paging maps what it says, the allocators ask it where things lie, and
//! the monitor prints it. A conversion that has no answer returns `None`: an address of vmalloc has no physical
//! address that arithmetic could find, and asking for one is the classic way to corrupt memory.
//!
//! **Why there is no highmem.** A 32-bit kernel has 1 GiB of virtual space and must map memory above about 896 MiB for
//! a moment at a time (`kmap`). A 64-bit kernel's half holds at least 128 TiB: all RAM is mapped once, at
//! `direct.start + (physical - direct_base)`, for good, and every frame has a kernel address without any work. So
//! there is no highmem zone, and no `kmap`, here.
//!
//! Invariants, checked by [`Layout::check`], which an arch calls in a constant: areas start and end on pages, do not
//! overlap, and lie in the kernel's half. The last page of the address space belongs to no area, so that every end is
//! representable. All conversions are O(1) arithmetic.
//!
//! Linux: `Documentation/arch/x86/x86_64/mm.rst`, `Documentation/arch/arm64/memory.rst`, `asm/page.h`,
//! `asm/memory.h` (`__va`, `__pa`, `__pa_symbol`, `virt_to_page`).

mod image;

pub use image::ImageSection;

use crate::addr::{Pfn, PfnRange, PhysAddr, PhysRange, VirtAddr};
use core::fmt;

/// Bytes `start..end` of the kernel's virtual space. `start <= end` always holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct VirtRange {
    start: VirtAddr,
    end: VirtAddr,
}

impl VirtRange {
    /// No byte.
    pub const EMPTY: Self = Self { start: VirtAddr::new(0), end: VirtAddr::new(0) };

    /// `start..end`; empty at `start` when `end` lies below it.
    #[must_use]
    pub const fn new(start: VirtAddr, end: VirtAddr) -> Self {
        Self { start, end: if end.as_u64() < start.as_u64() { start } else { end } }
    }

    /// `size` bytes from `start`, or `None` when the end is not representable.
    #[must_use]
    pub const fn from_size(start: VirtAddr, size: u64) -> Option<Self> {
        match start.checked_add(size) {
            Some(end) => Some(Self { start, end }),
            None => None,
        }
    }

    /// The first byte's address.
    #[must_use]
    pub const fn start(self) -> VirtAddr {
        self.start
    }

    /// The address after the last byte.
    #[must_use]
    pub const fn end(self) -> VirtAddr {
        self.end
    }

    /// Bytes.
    #[must_use]
    pub const fn size(self) -> u64 {
        self.end.as_u64() - self.start.as_u64()
    }

    /// Whether there is no byte in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.start.as_u64() == self.end.as_u64()
    }

    /// Whether `address` lies in it.
    #[must_use]
    pub const fn contains(self, address: VirtAddr) -> bool {
        self.start.as_u64() <= address.as_u64() && address.as_u64() < self.end.as_u64()
    }

    /// Whether every byte of `other` lies in it. An empty `other` lies everywhere.
    #[must_use]
    pub const fn contains_range(self, other: Self) -> bool {
        other.is_empty() || (self.start.as_u64() <= other.start.as_u64() && other.end.as_u64() <= self.end.as_u64())
    }

    /// Whether a byte lies in both.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.start.as_u64() < other.end.as_u64()
            && other.start.as_u64() < self.end.as_u64()
            && !self.is_empty()
            && !other.is_empty()
    }

    /// Whether start and end are multiples of `align`, a power of two.
    #[must_use]
    pub const fn is_aligned(self, align: u64) -> bool {
        self.start.is_aligned(align) && self.end.is_aligned(align)
    }

    /// The address `offset` bytes from the start, or `None` at or past the end.
    #[must_use]
    pub const fn at(self, offset: u64) -> Option<VirtAddr> {
        if offset < self.size() { self.start.checked_add(offset) } else { None }
    }

    /// How far `address` lies from the start, or `None` outside.
    #[must_use]
    pub const fn offset(self, address: VirtAddr) -> Option<u64> {
        if self.contains(address) { address.checked_sub(self.start) } else { None }
    }
}

/// `0xffff800000000000-0xffffc00000000000`, as ptdump prints ranges.
impl fmt::Display for VirtRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#018x}-{:#018x}", self.start, self.end)
    }
}

impl fmt::Debug for VirtRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..{:#x}", self.start, self.end)
    }
}

/// Where everything of the kernel lies in virtual space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// All RAM, once, in the order of its physical addresses.
    pub direct: VirtRange,
    /// The physical address that is mapped at `direct.start`: a multiple of the largest leaf, so that leaves fit.
    pub direct_base: PhysAddr,
    /// Ranges that are contiguous only here: vmalloc, vmap, ioremap, stacks with guard pages.
    pub vmalloc: VirtRange,
    /// The `Page` of every frame, at `vmemmap.start + pfn * struct_page_bytes`.
    pub vmemmap: VirtRange,
    /// The areas of the CPUs.
    pub percpu: VirtRange,
    /// Pages whose tables exist from the first instruction: early devices, windows onto firmware tables.
    pub fixmap: VirtRange,
    /// The kernel as it is linked. Where it is loaded differs from boot to boot: see [`Layout::image_to_phys`].
    pub image: VirtRange,
    /// Bytes of a page, as a power of two.
    pub page_shift: u32,
    /// Bytes of a `Page`.
    pub struct_page_bytes: u64,
}

/// One line of the layout's table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Area {
    /// Its name.
    pub name: &'static str,
    /// Its bytes.
    pub range: VirtRange,
    /// What it is for.
    pub purpose: &'static str,
}

/// What is wrong with a layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LayoutError {
    /// An area does not start and end on pages.
    Misaligned(VirtRange),
    /// An area begins below the kernel's half.
    OutsideKernelHalf(VirtRange),
    /// Two areas have a byte in common.
    Overlap(VirtRange, VirtRange),
    /// The vmemmap is too small to hold the `Page` of every frame that the direct map can map.
    SmallVmemmap(VirtRange),
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misaligned(range) => write!(f, "layout: {range} does not start and end on pages"),
            Self::OutsideKernelHalf(range) => write!(f, "layout: {range} lies outside the kernel's half"),
            Self::Overlap(one, other) => write!(f, "layout: {one} and {other} overlap"),
            Self::SmallVmemmap(range) => write!(f, "layout: vmemmap {range} is too small for the direct map"),
        }
    }
}

impl core::error::Error for LayoutError {}

impl Layout {
    /// No areas, pages of 4 KiB, records of 32 bytes: to begin from, for a kernel that has only some of the areas.
    pub const EMPTY: Self = Self {
        direct: VirtRange::EMPTY,
        direct_base: PhysAddr::new(0),
        vmalloc: VirtRange::EMPTY,
        vmemmap: VirtRange::EMPTY,
        percpu: VirtRange::EMPTY,
        fixmap: VirtRange::EMPTY,
        image: VirtRange::EMPTY,
        page_shift: 12,
        struct_page_bytes: 32,
    };
    /// How many areas there are.
    pub const AREAS: usize = 6;

    /// The areas, in the order of the fields; [`Display`](fmt::Display) sorts them by address.
    #[must_use]
    pub const fn areas(&self) -> [Area; Self::AREAS] {
        [
            Area { name: "direct", range: self.direct, purpose: "all RAM, once, at a fixed offset" },
            Area { name: "vmalloc", range: self.vmalloc, purpose: "vmalloc, vmap, ioremap" },
            Area { name: "vmemmap", range: self.vmemmap, purpose: "the Page of every frame" },
            Area { name: "percpu", range: self.percpu, purpose: "per-CPU areas" },
            Area { name: "fixmap", range: self.fixmap, purpose: "early devices and windows" },
            Area { name: "image", range: self.image, purpose: "the kernel's text and data" },
        ]
    }

    /// The area that holds `address`.
    #[must_use]
    pub fn area_of(&self, address: VirtAddr) -> Option<Area> {
        self.areas().into_iter().find(|area| area.range.contains(address))
    }

    /// Checks the invariants of the module text. `kernel_start` is the first address of the kernel's half.
    ///
    /// # Errors
    /// The first fault found.
    pub const fn check(&self, kernel_start: VirtAddr) -> Result<(), LayoutError> {
        let ranges = [self.direct, self.vmalloc, self.vmemmap, self.percpu, self.fixmap, self.image];
        let mut rest: &[VirtRange] = &ranges;
        while let [range, others @ ..] = rest {
            if !range.is_aligned(1 << self.page_shift) {
                return Err(LayoutError::Misaligned(*range));
            }
            if range.start.as_u64() < kernel_start.as_u64() && !range.is_empty() {
                return Err(LayoutError::OutsideKernelHalf(*range));
            }
            let mut behind = others;
            while let [other, more @ ..] = behind {
                if range.overlaps(*other) {
                    return Err(LayoutError::Overlap(*range, *other));
                }
                behind = more;
            }
            rest = others;
        }
        let frames = self.direct_limit().end().as_u64() >> self.page_shift;
        if frames > self.vmemmap.size() / self.struct_page_bytes {
            return Err(LayoutError::SmallVmemmap(self.vmemmap));
        }
        Ok(())
    }

    /// The physical addresses that the direct map has room for. RAM elsewhere cannot be used.
    #[must_use]
    pub const fn direct_limit(&self) -> PhysRange {
        PhysRange::new(self.direct_base, self.direct_base.saturating_add(self.direct.size()))
    }

    /// Where the direct map maps `address`, or `None` when it has no room for it. Whether something *is* mapped there
    /// only the tables know.
    #[must_use]
    pub const fn phys_to_virt(&self, address: PhysAddr) -> Option<VirtAddr> {
        match address.checked_sub(self.direct_base) {
            Some(offset) => self.direct.at(offset),
            None => None,
        }
    }

    /// Where the direct map maps `range`, or `None` when it has no room for all of it.
    #[must_use]
    pub const fn direct_range(&self, range: PhysRange) -> Option<VirtRange> {
        if !self.direct_limit().contains_range(range) {
            return None;
        }
        match range.start().checked_sub(self.direct_base) {
            Some(offset) => match self.direct.start.checked_add(offset) {
                Some(start) => VirtRange::from_size(start, range.size()),
                None => None,
            },
            None => None,
        }
    }

    /// What the direct map maps at `address`, or `None` for an address of any other area: those have no fixed
    /// physical address (see [`Layout::image_to_phys`] for the image, the page tables for the rest).
    #[must_use]
    pub const fn virt_to_phys(&self, address: VirtAddr) -> Option<PhysAddr> {
        match self.direct.offset(address) {
            Some(offset) => self.direct_base.checked_add(offset),
            None => None,
        }
    }

    /// The physical address of a symbol of the image, or `None` outside `image`. `base` is the physical address that
    /// stands behind `image.start` in this boot; where the loader may choose it, entry code finds it out.
    #[must_use]
    pub const fn image_to_phys(&self, address: VirtAddr, base: PhysAddr) -> Option<PhysAddr> {
        match self.image.offset(address) {
            Some(offset) => base.checked_add(offset),
            None => None,
        }
    }

    /// Where the `Page` of `pfn` lies, or `None` when the vmemmap has no room for it.
    #[must_use]
    pub const fn pfn_to_page(&self, pfn: Pfn) -> Option<VirtAddr> {
        match pfn.as_u64().checked_mul(self.struct_page_bytes) {
            Some(offset) => self.vmemmap.at(offset),
            None => None,
        }
    }

    /// The frame whose `Page` holds the byte at `address`, or `None` outside the vmemmap.
    #[must_use]
    pub const fn page_to_pfn(&self, address: VirtAddr) -> Option<Pfn> {
        match self.vmemmap.offset(address) {
            Some(offset) => Some(Pfn::new(offset / self.struct_page_bytes)),
            None => None,
        }
    }

    /// Where the `Page` of the frame lies that the direct map maps at `address`; `None` outside the direct map.
    #[must_use]
    pub const fn virt_to_page(&self, address: VirtAddr) -> Option<VirtAddr> {
        match self.virt_to_phys(address) {
            Some(physical) => self.pfn_to_page(Pfn::containing(physical, self.page_shift)),
            None => None,
        }
    }

    /// Where the `Page`s of `frames` lie, or `None` when the vmemmap has no room for all of them.
    #[must_use]
    pub const fn memmap_of(&self, frames: PfnRange) -> Option<VirtRange> {
        let (Some(from), Some(to)) = (
            frames.start().as_u64().checked_mul(self.struct_page_bytes),
            frames.end().as_u64().checked_mul(self.struct_page_bytes),
        ) else {
            return None;
        };
        if to > self.vmemmap.size() {
            return None;
        }
        match (self.vmemmap.start.checked_add(from), self.vmemmap.start.checked_add(to)) {
            (Some(start), Some(end)) => Some(VirtRange::new(start, end)),
            _ => None,
        }
    }
}

/// The table that is printed at boot: one line an area, by address, without a newline at the end.
impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut areas = self.areas();
        areas.sort_unstable_by_key(|area| area.range);
        write!(f, "{:<8} {:<18} {:<18} {:>9}  for", "area", "start", "end", "size")?;
        for area in areas.into_iter().filter(|area| !area.range.is_empty()) {
            let VirtRange { start, end } = area.range;
            write!(f, "\n{:<8} {start:#018x} {end:#018x} {}  {}", area.name, Size(area.range.size()), area.purpose)?;
        }
        Ok(())
    }
}

/// A size in the largest unit that leaves no rest, nine columns wide: `  128 TiB`.
pub(crate) struct Size(pub(crate) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        for (shift, unit) in units {
            if self.0 != 0 && self.0.trailing_zeros() >= shift {
                return write!(f, "{:>5} {unit}", self.0 >> shift);
            }
        }
        write!(f, "{:>7} B", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    const fn range(start: u64, end: u64) -> VirtRange {
        VirtRange::new(VirtAddr::new(start), VirtAddr::new(end))
    }

    const LAYOUT: Layout = Layout {
        direct: range(0xffff_8000_0000_0000, 0xffff_c000_0000_0000),
        direct_base: PhysAddr::new(0x8000_0000),
        vmalloc: range(0xffff_c900_0000_0000, 0xffff_e900_0000_0000),
        vmemmap: range(0xffff_ea00_0000_0000, 0xffff_eb00_0000_0000),
        percpu: range(0xffff_f000_0000_0000, 0xffff_f100_0000_0000),
        fixmap: range(0xffff_ffff_ff00_0000, 0xffff_ffff_ff20_0000),
        image: range(0xffff_ffff_8000_0000, 0xffff_ffff_c000_0000),
        page_shift: 12,
        struct_page_bytes: 32,
    };
    const KERNEL_START: VirtAddr = VirtAddr::new(0xffff_8000_0000_0000);
    // An arch checks its layout when it is compiled.
    const _: () = assert!(LAYOUT.check(KERNEL_START).is_ok());

    #[test]
    fn direct_map_is_a_bijection_that_ends_at_its_ends() {
        let base = PhysAddr::new(0x8000_0000);
        assert_eq!(LAYOUT.phys_to_virt(base), Some(LAYOUT.direct.start()));
        assert_eq!(LAYOUT.phys_to_virt(PhysAddr::new(0x7fff_ffff)), None);
        let last = PhysAddr::new(0x8000_0000 + (64 << 40) - 1);
        assert_eq!(LAYOUT.phys_to_virt(last), Some(VirtAddr::new(0xffff_bfff_ffff_ffff)));
        assert_eq!(LAYOUT.phys_to_virt(PhysAddr::new(last.as_u64() + 1)), None);
        for address in [base, PhysAddr::new(0x1_2345_6789), last] {
            assert_eq!(LAYOUT.virt_to_phys(LAYOUT.phys_to_virt(address).unwrap()), Some(address));
        }
        let whole = LAYOUT.direct_limit();
        assert_eq!(LAYOUT.direct_range(whole), Some(LAYOUT.direct));
        assert_eq!(LAYOUT.direct_range(PhysRange::new(PhysAddr::new(0), base)), None);
    }

    #[test]
    fn only_the_direct_map_converts_by_offset() {
        for area in LAYOUT.areas().into_iter().skip(1) {
            assert_eq!(LAYOUT.virt_to_phys(area.range.start()), None, "{}", area.name);
            assert_eq!(LAYOUT.virt_to_page(area.range.start()), None, "{}", area.name);
        }
    }

    #[test]
    fn image_addresses_follow_the_load_address() {
        let symbol = VirtAddr::new(0xffff_ffff_8020_1234);
        assert_eq!(LAYOUT.image_to_phys(symbol, PhysAddr::new(0)), Some(PhysAddr::new(0x20_1234)));
        assert_eq!(LAYOUT.image_to_phys(symbol, PhysAddr::new(0x4000_0000)), Some(PhysAddr::new(0x4020_1234)));
        assert_eq!(LAYOUT.image_to_phys(LAYOUT.direct.start(), PhysAddr::new(0)), None);
        assert_eq!(LAYOUT.image_to_phys(LAYOUT.image.end(), PhysAddr::new(0)), None);
    }

    #[test]
    fn pages_of_frames() {
        let pfn = Pfn::new(0x8_0003);
        let page = LAYOUT.pfn_to_page(pfn).unwrap();
        assert_eq!(page.as_u64(), 0xffff_ea00_0000_0000 + 0x8_0003 * 32);
        assert_eq!(LAYOUT.page_to_pfn(page), Some(pfn));
        assert_eq!(LAYOUT.page_to_pfn(VirtAddr::new(page.as_u64() + 31)), Some(pfn));
        let direct = LAYOUT.phys_to_virt(PhysAddr::new(0x8000_3fff)).unwrap();
        assert_eq!(LAYOUT.virt_to_page(direct), Some(page));
        assert_eq!(LAYOUT.pfn_to_page(Pfn::new(u64::MAX / 32 + 1)), None);
        let all = PfnRange::new(Pfn::new(0), Pfn::new((1 << 40) / 32));
        assert_eq!(LAYOUT.memmap_of(all), Some(LAYOUT.vmemmap));
        assert_eq!(LAYOUT.memmap_of(PfnRange::new(Pfn::new(0), Pfn::new((1 << 40) / 32 + 1))), None);
    }

    #[test]
    fn check_finds_each_fault() {
        let overlapping = Layout { vmemmap: range(0xffff_bfff_ffff_f000, 0xffff_ffff_0000_0000), ..LAYOUT };
        assert!(matches!(overlapping.check(KERNEL_START), Err(LayoutError::Overlap(..))));
        let odd = Layout { fixmap: range(0xffff_ffff_ff00_0010, 0xffff_ffff_ff20_0000), ..LAYOUT };
        assert!(matches!(odd.check(KERNEL_START), Err(LayoutError::Misaligned(_))));
        let low = Layout { percpu: range(0x1000, 0x2000), ..LAYOUT };
        assert!(matches!(low.check(KERNEL_START), Err(LayoutError::OutsideKernelHalf(_))));
        let small = Layout { vmemmap: range(0xffff_ea00_0000_0000, 0xffff_ea00_0000_1000), ..LAYOUT };
        assert!(matches!(small.check(KERNEL_START), Err(LayoutError::SmallVmemmap(_))));
    }

    #[test]
    fn table_is_sorted_and_aligned() {
        let text = format!("{LAYOUT}");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 7);
        assert_eq!(
            lines[1],
            "direct   0xffff800000000000 0xffffc00000000000    64 TiB  all RAM, once, at a fixed offset"
        );
        assert_eq!(lines[5], "image    0xffffffff80000000 0xffffffffc0000000     1 GiB  the kernel's text and data");
        assert_eq!(lines[6], "fixmap   0xffffffffff000000 0xffffffffff200000     2 MiB  early devices and windows");
        let column = lines[0].find("for").unwrap();
        assert!(lines[1..].iter().all(|line| line.as_bytes()[column - 1] == b' ' && line.as_bytes()[column] != b' '));
    }
}
