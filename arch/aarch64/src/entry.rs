//! The first instructions, the boot tables, and what the kernel's image consists of.
//!
//! A boot loader of Linux Images jumps to the first byte, with the MMU off and the physical address of the device tree
//! in x0: Linux's arm64 boot protocol, which QEMU's `-kernel` and U-Boot's `booti` follow. The code (entry.s) leaves EL2
//! for EL1 when it is entered there, fills the boot tables, turns the MMU and the caches on, clears .bss, and goes on at
//! the linked address, on the boot stack, in [`arch_start`].
//!
//! A boot loader of the Limine protocol jumps to the ELF's entry point, `limine_entry`, with the MMU on, in tables of its
//! own, at EL1 or at EL2 with VHE. That code (limine.s) takes the offset of the loader's direct map along, which is all
//! that goes with the loader's tables, maps one page where it lies in memory, turns the MMU off there and joins the
//! other. So there is one way to EL1 and into the boot tables, and nothing of the loader's own state is relied on behind
//! it. [`handover`] then says which of the two it was.
//!
//! Either may put the image at any page of memory; nothing of it is relocated, because it is linked at a virtual address.
//!
//! Caches, on hardware where they matter. What is read with the MMU off, so past the caches, has been cleaned to the
//! point of coherency: code and constants of the image by the loader (Linux's protocol asks for it) or by limine.s; the
//! page tables by nobody, as they are written with the MMU off, after the lines of their memory have been cleaned and
//! dropped, and again after, since a CPU may fetch lines ahead. The walker reads them through the caches from then on.
//! The instruction cache is invalidated before the MMU goes on. `.bss`, stacks and spare frames are first touched
//! through the caches, so lines that a loader left dirty there are part of what is overwritten. What a loader leaves in
//! other memory is read by mappings with the same attributes as it wrote it with.
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
use platform::handover::limine::{Left, Requests};

core::arch::global_asm!(
    include_str!("entry.s"),
    include_str!("limine.s"),
    direct_start = const DIRECT_START,
    fixmap_start = const FIXMAP_START,
    fixmap_end = const FIXMAP_END,
    mair = const paging::MAIR,
    tcr = const paging::TCR,
    tcr_low = const paging::TCR & 0xffff,
    protocol_image = const PROTOCOL_IMAGE,
    protocol_limine = const PROTOCOL_LIMINE,
    hhdm_response = const Requests::HHDM_RESPONSE,
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

/// What a loader of the Limine protocol looks for in the image, and writes its answers to.
#[used]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".limine_requests")]
static limine_requests: Requests = Requests::new();

/// By which protocol the loader entered: [`PROTOCOL_IMAGE`] or [`PROTOCOL_LIMINE`].
static PROTOCOL: AtomicU64 = AtomicU64::new(PROTOCOL_IMAGE);
const PROTOCOL_IMAGE: u64 = 0;
const PROTOCOL_LIMINE: u64 = 1;

/// The offset of the Limine protocol's direct map of memory, 0 when the loader did not say.
static HHDM: AtomicU64 = AtomicU64::new(0);

/// Where Rust begins. The asm of this module goes here once, with the loader's x0, the image's physical address, the
/// exception level at which the loader entered, the virtual counter at that time, the protocol, and the offset of the
/// loader's direct map.
#[unsafe(no_mangle)]
extern "C" fn arch_start(x0: u64, image_base: u64, level: u64, time: u64, protocol: u64, hhdm: u64) -> ! {
    unsafe extern "C" {
        safe fn start_kernel(handover: u64) -> !;
    }
    IMAGE_BASE.store(image_base, Ordering::Relaxed);
    ENTRY_LEVEL.store(level, Ordering::Relaxed);
    PROTOCOL.store(protocol, Ordering::Relaxed);
    HHDM.store(hhdm, Ordering::Relaxed);
    timer::begin(time);
    traps::init();
    cpu::check_errata();
    hello::say(x0);
    start_kernel(x0)
}

/// Whether a loader of Linux Images loaded the kernel, so that x0 leads to a device tree.
pub(crate) fn is_image() -> bool {
    PROTOCOL.load(Ordering::Relaxed) == PROTOCOL_IMAGE
}

/// What a loader of the Limine protocol answered; `None` when another one loaded the kernel.
pub(crate) fn limine_answers() -> Option<Left> {
    if is_image() {
        return None;
    }
    let first = (&raw const limine_requests).cast::<u64>();
    // SAFETY: the requests consist of as many words. The loader has written to them, behind the compiler's back and
    // before the kernel was entered; nobody does any more.
    let words = core::array::from_fn(|word| unsafe { first.add(word).read_volatile() });
    Some(Left { words, hhdm: HHDM.load(Ordering::Relaxed) })
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
