//! The first instructions, the boot tables, and what the kernel's image consists of.
//!
//! There are two ways in. Both say that they are there (a `T` on COM1, if a UART answers), check for 64-bit mode and NX,
//! clear .bss, fill the boot tables and go on at the linked address, on the boot stack, in `arch_start`:
//! - PVH (entry.s): the boot loader finds `pvh_entry` by an ELF note, has loaded the image where it is linked, and jumps
//!   there in 32-bit mode with the address of its `hvm_start_info`.
//! - Limine's protocol (limine.s, [`limine`]): the boot loader finds requests in .data, answers them, and jumps to the
//!   ELF's entry point in 64-bit mode, in tables of its own that map the image where it is linked. The image lies at any
//!   page, also above 4 GiB. Nothing of the loader's tables is used once CR3 is loaded.
//!
//! From then on the image's place in physical memory is a number found at entry, and nothing here is a constant of it but
//! in the 32-bit code.
//!
//! What holds from there on, in the boot tables. The final ones share those of the image and of the fixmap:
//! - the image is mapped at its link address, page by page, each section with its own rights: nothing is ever writable
//!   and executable;
//! - below the boot stack and each trap stack lies a page that is not mapped;
//! - the fixmap's page tables are in place and empty;
//! - the image's physical memory, and nothing else, is mapped in the direct map, by pages, text and rodata read-only,
//!   nothing executable; so no leaf has to be split later, and no device can lie under a cacheable mapping;
//! - nothing is mapped in the lower half.
//!
//! The other CPUs come by secondary.s, with a root of their own, until they take the kernel's (see `cpu`).
//!
//! Cost (PVH): one instruction for each 4 bytes of .bss, about 9 for each page of the image. Linux:
//! `arch/x86/platform/pvh/head.S`, `kernel/head_64.S`.

pub(crate) mod limine;
mod tables;

use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering};
use mm::addr::{PhysAddr, PhysRange, VirtAddr};
use mm::layout::{ImageSection, VirtRange};
use mm::paging::Access;
use tables::BootTables;

#[cfg(not(test))]
core::arch::global_asm!(
    include_str!("entry.s"),
    include_str!("limine.s"),
    include_str!("secondary.s"),
    root = const offset_of!(BootTables, root),
    high = const offset_of!(BootTables, high),
    image_directory = const offset_of!(BootTables, image_directory),
    image = const offset_of!(BootTables, image),
    fixmap_directory = const offset_of!(BootTables, fixmap_directory),
    fixmap = const offset_of!(BootTables, fixmap),
    direct_pointers = const offset_of!(BootTables, direct_pointers),
    direct_directories = const offset_of!(BootTables, direct_directories),
    direct = const offset_of!(BootTables, direct),
    fixmap_tables = const tables::FIXMAP_TABLES,
    linked = const tables::LINKED_AT.as_u64(),
    boot_tables = sym BOOT_TABLES,
    options(att_syntax)
);

unsafe extern "C" {
    static __image_start: u8;
    static __text_start: u8;
    static __text_end: u8;
    static __rodata_start: u8;
    static __rodata_end: u8;
    static __data_start: u8;
    static __data_end: u8;
    static __bss_start: u8;
    static __bss_end: u8;
    static boot_stack_unmapped: u8;
    static boot_stack_bottom: u8;
    static boot_stack_top: u8;
    static double_fault_stack_unmapped: u8;
    static nmi_stack_unmapped: u8;
    static machine_check_stack_unmapped: u8;
    static early_frames_start: u8;
    static early_frames_end: u8;
}

/// The boot tables. Either way in fills them, and they are page tables from then on.
static mut BOOT_TABLES: BootTables = BootTables::EMPTY;

/// Where the image lies in physical memory: its first byte. Where it is linked, until somebody says otherwise, which is
/// before anything reads it.
static IMAGE_BASE: AtomicU64 = AtomicU64::new(tables::LINKED_AT.as_u64());

/// Where Rust begins. Both ways in lead here, with what the loader handed over (PVH: the address of its
/// `hvm_start_info`; Limine: the offset of its direct map) and the time stamp counter at entry.
#[cfg(not(test))]
#[unsafe(no_mangle)]
extern "C" fn arch_start(handover: u64, entry_time: u64) -> ! {
    unsafe extern "C" {
        safe fn start_kernel(handover: u64) -> !;
    }
    crate::cpu::init();
    crate::timer::begin(entry_time);
    start_kernel(handover)
}

/// The image's sections in the order of their addresses. `bss` includes stacks, spare frames and boot tables.
#[must_use]
pub fn image() -> [ImageSection; 4] {
    [
        section("text", &raw const __text_start, &raw const __text_end, Access::ReadExecute),
        section("rodata", &raw const __rodata_start, &raw const __rodata_end, Access::ReadOnly),
        section("data", &raw const __data_start, &raw const __data_end, Access::ReadWrite),
        section("bss", &raw const __bss_start, &raw const __bss_end, Access::ReadWrite),
    ]
}

fn section(name: &'static str, start: *const u8, end: *const u8, access: Access) -> ImageSection {
    let virt = VirtRange::new(address_of(start), address_of(end));
    ImageSection { name, virt, phys: phys_of(virt), access }
}

/// The physical memory that the image takes, page-aligned.
#[must_use]
pub fn image_range() -> PhysRange {
    phys_of(VirtRange::new(address_of(&raw const __text_start), address_of(&raw const __bss_end)))
}

/// The boot stack. The page below is not mapped.
#[must_use]
pub fn boot_stack() -> VirtRange {
    VirtRange::new(address_of(&raw const boot_stack_bottom), address_of(&raw const boot_stack_top))
}

/// The page below the boot stack.
#[must_use]
pub fn boot_stack_guard() -> VirtRange {
    guard(&raw const boot_stack_unmapped)
}

/// Every page of the image that is left unmapped, one below each stack.
#[must_use]
pub fn guard_pages() -> [VirtRange; 4] {
    [
        boot_stack_guard(),
        guard(&raw const double_fault_stack_unmapped),
        guard(&raw const nmi_stack_unmapped),
        guard(&raw const machine_check_stack_unmapped),
    ]
}

fn guard(symbol: *const u8) -> VirtRange {
    let start = address_of(symbol);
    VirtRange::new(start, start.saturating_add(4096))
}

/// Spare page-sized frames inside the image.
pub(crate) fn early_frame_pool() -> PhysRange {
    phys_of(VirtRange::new(address_of(&raw const early_frames_start), address_of(&raw const early_frames_end)))
}

fn address_of(symbol: *const u8) -> VirtAddr {
    VirtAddr::new(symbol.addr() as u64)
}

/// The physical address of a symbol of the image.
fn phys_of_symbol(symbol: *const u8) -> PhysAddr {
    phys_of(VirtRange::new(address_of(symbol), address_of(symbol))).start()
}

/// Where the image is linked.
fn linked_start() -> VirtAddr {
    address_of(&raw const __image_start)
}

/// Where a range of the image lies in physical memory: as far from its first byte as it is linked.
fn phys_of(range: VirtRange) -> PhysRange {
    let base = PhysAddr::new(IMAGE_BASE.load(Ordering::Relaxed));
    let start = range.start().checked_sub(linked_start()).and_then(|offset| base.checked_add(offset));
    start.and_then(|start| PhysRange::from_size(start, range.size())).unwrap_or(PhysRange::EMPTY)
}
