//! The first instructions, the boot tables, and what the kernel's image consists of.
//!
//! The boot loader finds `pvh_entry` (entry.s) by an ELF note and jumps there in 32-bit mode, with the address of its
//! `hvm_start_info`. The code says that it is there (a `T` on COM1, if a UART answers), checks for 64-bit mode and NX,
//! clears .bss, fills the boot tables and goes on in the higher half, on the boot stack, in [`arch_start`].
//!
//! What holds from there on, in the boot tables, which stay the kernel's tables for good:
//! - the image is mapped at its link address, page by page, each section with its own rights: nothing is ever writable
//!   and executable;
//! - below the boot stack and each trap stack lies a page that is not mapped;
//! - the fixmap's page tables are in place and empty;
//! - the first GiB of physical memory is mapped at the start of the direct map, in 2 MiB leaves, until the final
//!   direct map replaces it; nothing is mapped in the lower half.
//!
//! Cost: about 60,000 instructions, most of them clearing .bss. Linux: `arch/x86/platform/pvh/head.S`,
//! `kernel/head_64.S`.

use mm::addr::{PhysAddr, PhysRange, VirtAddr};
use mm::paging::Access;

#[cfg(not(test))]
core::arch::global_asm!(include_str!("entry.s"), options(att_syntax));

/// Link address of physical address 0 (kernel.ld, entry.s).
pub(crate) const IMAGE_BASE: u64 = 0xffff_ffff_8000_0000;

unsafe extern "C" {
    static __text_start: u8;
    static __text_end: u8;
    static __rodata_start: u8;
    static __rodata_end: u8;
    static __data_start: u8;
    static __data_end: u8;
    static __bss_start: u8;
    static __bss_end: u8;
    static boot_pml4: u8;
    static boot_stack_bottom: u8;
    static boot_stack_top: u8;
    static early_frames_start: u8;
    static early_frames_end: u8;
}

/// Where Rust begins. The asm of this module calls it once.
#[cfg(not(test))]
#[unsafe(no_mangle)]
extern "C" fn arch_start(handover: u64) -> ! {
    unsafe extern "C" {
        safe fn start_kernel(handover: u64) -> !;
    }
    crate::cpu::init();
    start_kernel(handover)
}

/// A part of the kernel's image whose pages have the same rights.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ImageSection {
    /// `text`, `rodata`, `data` or `bss`.
    pub name: &'static str,
    /// Address of its first byte, page-aligned.
    pub start: VirtAddr,
    /// Address after its last byte, page-aligned.
    pub end: VirtAddr,
    /// Where it lies in physical memory.
    pub phys: PhysRange,
    /// What may be done with it.
    pub access: Access,
}

impl ImageSection {
    fn new(name: &'static str, start: *const u8, end: *const u8, access: Access) -> Self {
        let (start, end) = (start.addr() as u64, end.addr() as u64);
        let phys = PhysRange::new(image_phys(start), image_phys(end));
        Self { name, start: VirtAddr::new(start), end: VirtAddr::new(end), phys, access }
    }
}

/// The image's sections in the order of their addresses, without gaps.
#[must_use]
pub fn image() -> [ImageSection; 4] {
    [
        ImageSection::new("text", &raw const __text_start, &raw const __text_end, Access::ReadExecute),
        ImageSection::new("rodata", &raw const __rodata_start, &raw const __rodata_end, Access::ReadOnly),
        ImageSection::new("data", &raw const __data_start, &raw const __data_end, Access::ReadWrite),
        ImageSection::new("bss", &raw const __bss_start, &raw const __bss_end, Access::ReadWrite),
    ]
}

/// The physical memory that the image takes, page-aligned.
#[must_use]
pub fn image_range() -> PhysRange {
    let [text, .., bss] = image();
    PhysRange::new(text.phys.start(), bss.phys.end())
}

/// The boot stack: its lowest address and the address after its highest byte. The page below is not mapped.
#[must_use]
pub fn boot_stack() -> (VirtAddr, VirtAddr) {
    (address_of(&raw const boot_stack_bottom), address_of(&raw const boot_stack_top))
}

/// The root table that the CPU uses since the entry code.
pub(crate) fn boot_root() -> PhysAddr {
    image_phys(address_of(&raw const boot_pml4).as_u64())
}

/// Spare page-sized frames inside the image.
pub(crate) fn early_frame_pool() -> PhysRange {
    let start = address_of(&raw const early_frames_start).as_u64();
    let end = address_of(&raw const early_frames_end).as_u64();
    PhysRange::new(image_phys(start), image_phys(end))
}

fn address_of(symbol: *const u8) -> VirtAddr {
    VirtAddr::new(symbol.addr() as u64)
}

fn image_phys(address: u64) -> PhysAddr {
    PhysAddr::new(address.wrapping_sub(IMAGE_BASE))
}
