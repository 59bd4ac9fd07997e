//! Where the kernel's virtual areas lie: Linux's arm64 arrangement for 4 KiB pages and 48-bit addresses.
//!
//! The direct map has room for 128 TiB from physical address 0 on, so a machine whose RAM starts at 1 TiB needs no
//! special case. The image stands at the bottom of the top 2 GiB, where the x86_64 kernel's also is. Linux:
//! `Documentation/arch/arm64/memory.rst`, `asm/memory.h`, `asm/fixmap.h`.

use mm::addr::{PhysAddr, VirtAddr};
use mm::layout::{Layout, VirtRange};

/// Start of the direct map, where physical address 0 is.
pub(crate) const DIRECT_START: u64 = 0xffff_0000_0000_0000;
/// Start of the fixmap, a multiple of what one lowest-level table maps.
pub(crate) const FIXMAP_START: u64 = 0xffff_fbff_fe00_0000;
/// End of the fixmap. The entry code makes the tables of all of it: one for each 2 MiB.
pub(crate) const FIXMAP_END: u64 = FIXMAP_START + (8 << 20);
/// First address that the image is linked at (kernel.ld, entry.s).
pub(crate) const IMAGE_START: u64 = 0xffff_ffff_8000_0000;

const fn range(start: u64, end: u64) -> VirtRange {
    VirtRange::new(VirtAddr::new(start), VirtAddr::new(end))
}

/// Where the kernel's virtual areas lie.
pub const LAYOUT: Layout = Layout {
    direct: range(DIRECT_START, 0xffff_8000_0000_0000),
    direct_base: PhysAddr::new(0),
    vmalloc: range(0xffff_8000_0000_0000, 0xffff_f000_0000_0000),
    vmemmap: range(0xffff_fc00_0000_0000, 0xffff_fe00_0000_0000),
    percpu: range(0xffff_f000_0000_0000, 0xffff_f100_0000_0000),
    fixmap: range(FIXMAP_START, FIXMAP_END),
    image: range(IMAGE_START, 0xffff_ffff_c000_0000),
    page_shift: 12,
    struct_page_bytes: 32,
};

const _: () = assert!(LAYOUT.check(VirtAddr::new(DIRECT_START)).is_ok());
