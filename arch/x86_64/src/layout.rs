//! Where the kernel's virtual areas lie: Linux's x86_64 arrangement for four levels of tables, without KASLR.
//!
//! The direct map has room for 64 TiB from physical address 0 on. The image stands at the bottom of the top 2 GiB,
//! where 32-bit signed displacements reach it; the fixmap just below the end of the address space. Linux:
//! `Documentation/arch/x86/x86_64/mm.rst`, `asm/pgtable_64_types.h`, `asm/fixmap.h`.

use mm::addr::{PhysAddr, VirtAddr};
use mm::layout::{Layout, VirtRange};

/// First address of the kernel's half.
pub(crate) const KERNEL_START: u64 = 0xffff_8000_0000_0000;
/// Start of the direct map, where physical address 0 is.
pub(crate) const DIRECT_START: u64 = 0xffff_8880_0000_0000;
/// Link address of physical address 0 (also in kernel.ld and entry.s).
pub(crate) const IMAGE_START: u64 = 0xffff_ffff_8000_0000;
/// Start of the fixmap, a multiple of what one lowest-level table maps.
pub(crate) const FIXMAP_START: u64 = 0xffff_ffff_ff00_0000;
/// End of the fixmap. The entry code makes the tables of all of it: one for each 2 MiB.
pub(crate) const FIXMAP_END: u64 = FIXMAP_START + (4 << 20);

const fn range(start: u64, end: u64) -> VirtRange {
    VirtRange::new(VirtAddr::new(start), VirtAddr::new(end))
}

/// Where the kernel's virtual areas lie.
pub const LAYOUT: Layout = Layout {
    direct: range(DIRECT_START, DIRECT_START + (64 << 40)),
    direct_base: PhysAddr::new(0),
    vmalloc: range(0xffff_c900_0000_0000, 0xffff_e900_0000_0000),
    vmemmap: range(0xffff_ea00_0000_0000, 0xffff_eb00_0000_0000),
    percpu: range(0xffff_f000_0000_0000, 0xffff_f100_0000_0000),
    fixmap: range(FIXMAP_START, FIXMAP_END),
    image: range(IMAGE_START, IMAGE_START + (1 << 30)),
    page_shift: 12,
    struct_page_bytes: 32,
};

const _: () = assert!(LAYOUT.check(VirtAddr::new(KERNEL_START)).is_ok());
