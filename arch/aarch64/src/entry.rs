//! The first instructions, the boot tables, and what the kernel's image consists of.
//!
//! The boot loader puts the image at a 2 MiB boundary and jumps to its first byte, with the MMU off and the physical
//! address of the device tree in x0: Linux's arm64 boot protocol, which QEMU's `-kernel` and U-Boot's `booti` follow.
//! The code (entry.s) leaves EL2 for EL1 when it is entered there, fills the boot tables, turns the MMU and the caches
//! on, clears .bss, and goes on at the linked address, on the boot stack, in [`arch_start`].
//!
//! What holds from there on, in the boot tables. The final ones share those of the image and of the fixmap:
//! - the image is mapped at its link address, page by page, each section with its own rights: nothing is ever writable
//!   and executable;
//! - below the boot stack and the overflow stack lies a page that is not mapped;
//! - the image's physical memory, and nothing else, is mapped in the direct map, by pages, text and rodata read-only;
//!   so no leaf has to be split later, and no device can lie under a cacheable mapping;
//! - the fixmap's page tables are in place and empty;
//! - nothing is mapped in the lower half, and no walk goes there.
//!
//! The other CPUs come when somebody starts them ([`cpu::start`](crate::cpu::start)), to two more places of entry.s.
//! They share the way from EL2 to EL1 and into the MMU, and take everything else from a record that was written for
//! them. TPIDR_EL1 is 0 on the boot CPU, so that it uses the per-CPU templates themselves until there are areas.
//!
//! Cost: about 25 instructions for each page of the image and each of its two mappings. Linux:
//! `arch/arm64/kernel/head.S`, `arch/arm64/include/asm/el2_setup.h`, `Documentation/arch/arm64/booting.rst`.

use crate::layout::{DIRECT_START, FIXMAP_END, FIXMAP_START, LAYOUT};
use crate::{cpu, hello, paging, timer, traps};
use core::sync::atomic::{AtomicU64, Ordering};
use mm::addr::{PhysAddr, PhysRange, VirtAddr};
use mm::layout::{ImageSection, VirtRange};
use mm::paging::Access;

core::arch::global_asm!(
    include_str!("entry.s"),
    direct_start = const DIRECT_START,
    fixmap_start = const FIXMAP_START,
    fixmap_end = const FIXMAP_END,
    mair = const paging::MAIR,
    tcr = const paging::TCR,
    trap_stack_bytes = const cpu::TRAP_STACK_BYTES,
    start_list = sym cpu::START_LIST,
);

unsafe extern "C" {
    static __image_start: u8;
    static __image_end: u8;
    static __text_start: u8;
    static __text_end: u8;
    static __rodata_start: u8;
    static __rodata_end: u8;
    static __data_start: u8;
    static __data_end: u8;
    static __bss_start: u8;
    static __bss_end: u8;
    static __boot_tables_start: u8;
    static __boot_stack_guard: u8;
    static __boot_stack_bottom: u8;
    static __boot_stack_top: u8;
    static __overflow_stack_guard: u8;
    static __overflow_stack_bottom: u8;
    static __early_frames_start: u8;
    static __early_frames_end: u8;
}

/// Where the loader put the image. Written once, before anything reads it.
static IMAGE_BASE: AtomicU64 = AtomicU64::new(0);

/// The exception level at which the loader entered, 1 or 2.
static ENTRY_LEVEL: AtomicU64 = AtomicU64::new(1);

/// Where Rust begins. The asm of this module goes here once, with the loader's x0, the image's physical address, the
/// exception level at which the loader entered, and the virtual counter at that time.
#[unsafe(no_mangle)]
extern "C" fn arch_start(handover: u64, image_base: u64, level: u64, time: u64) -> ! {
    unsafe extern "C" {
        safe fn start_kernel(handover: u64) -> !;
    }
    IMAGE_BASE.store(image_base, Ordering::Relaxed);
    ENTRY_LEVEL.store(level, Ordering::Relaxed);
    timer::begin(time);
    traps::init();
    cpu::check_errata();
    hello::say();
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
    phys_of(VirtRange::new(address_of(&raw const __image_start), address_of(&raw const __image_end)))
}

/// The boot stack. The page below is not mapped.
#[must_use]
pub fn boot_stack() -> VirtRange {
    VirtRange::new(address_of(&raw const __boot_stack_bottom), address_of(&raw const __boot_stack_top))
}

/// The page below the boot stack.
#[must_use]
pub fn boot_stack_guard() -> VirtRange {
    VirtRange::new(address_of(&raw const __boot_stack_guard), address_of(&raw const __boot_stack_bottom))
}

/// Every page of the image that is left unmapped, one below each stack.
#[must_use]
pub fn guard_pages() -> [VirtRange; 2] {
    let overflow =
        VirtRange::new(address_of(&raw const __overflow_stack_guard), address_of(&raw const __overflow_stack_bottom));
    [boot_stack_guard(), overflow]
}

/// The exception level at which the loader entered: 2 when this kernel left EL2 itself, so that nobody is there.
#[must_use]
pub fn entry_level() -> u64 {
    ENTRY_LEVEL.load(Ordering::Relaxed)
}

/// Spare page-sized frames inside the image.
pub(crate) fn early_frame_pool() -> PhysRange {
    phys_of(VirtRange::new(address_of(&raw const __early_frames_start), address_of(&raw const __early_frames_end)))
}

/// The root of the lower half that maps the entry code's page where it lies, and nothing else.
pub(crate) fn identity_root() -> PhysAddr {
    phys_of_symbol(&raw const __boot_tables_start)
}

/// The physical address of a symbol of the image.
pub(crate) fn phys_of_symbol(symbol: *const u8) -> PhysAddr {
    phys_of(VirtRange::new(address_of(symbol), address_of(symbol))).start()
}

fn address_of(symbol: *const u8) -> VirtAddr {
    VirtAddr::new(symbol.addr() as u64)
}

/// Where a range of the image lies in physical memory.
fn phys_of(range: VirtRange) -> PhysRange {
    let base = PhysAddr::new(IMAGE_BASE.load(Ordering::Relaxed));
    match LAYOUT.image_to_phys(range.start(), base) {
        Some(start) => PhysRange::new(start, start.saturating_add(range.size())),
        None => PhysRange::EMPTY,
    }
}
