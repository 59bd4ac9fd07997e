//! Limine's boot protocol, from the loader's tables to our own.
//!
//! The loader writes pointers to its answers into [`REQUESTS`]. limine.s calls [`limine_prepare`] while its tables still
//! stand: where the image lies and where the loader's direct map begins are the two answers that are read through it;
//! then the boot tables are filled, and limine.s loads them. From there on the loader's answers are read as physical
//! memory, by `platform`, from the pointers that [`left`] copies.
//!
//! What can go wrong here is one sentence on COM1: nothing else can speak yet.

use super::tables::OutOfReach;
use super::{BOOT_TABLES, IMAGE_BASE, guard_pages, image, linked_start, phys_of_symbol};
use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, Ordering};
use mm::addr::PhysAddr;
use platform::handover::limine::{Left, Requests};
use x86_64::registers::control::{Cr4, Cr4Flags};

/// The requests, where the loader looks for them: in data that stands in the kernel's file.
#[used]
#[cfg_attr(not(test), unsafe(link_section = ".limine_requests"))]
static REQUESTS: Requests = Requests::new();

/// Whether this is how the kernel was entered.
static ENTERED: AtomicBool = AtomicBool::new(false);

/// What the loader left, when it is one of Limine's protocol. `handover` is what [`limine_prepare`] found.
pub(crate) fn left(handover: u64) -> Option<Left> {
    if !ENTERED.load(Ordering::Relaxed) {
        return None;
    }
    let mut words = [0; Requests::WORDS];
    for (index, word) in words.iter_mut().enumerate() {
        *word = request_word(index);
    }
    Some(Left { words, hhdm: handover })
}

/// Word `index` of the requests, which the loader may have written.
fn request_word(index: usize) -> u64 {
    let words = (&raw const REQUESTS).cast::<u64>();
    // SAFETY: callers stay below `WORDS`, so it lies inside; the requests consist of words. Nobody writes them any more.
    unsafe { words.add(index).read_volatile() }
}

/// What limine.s does next.
#[repr(C)]
struct Prepared {
    /// The root of the tables to load, or 0: stop.
    root: u64,
    /// What the kernel is to get as its hand-over; or the address of the sentence that says why not.
    word: u64,
}

/// Fills the boot tables. limine.s calls it once, in the loader's tables, on the boot stack, with .bss cleared.
#[cfg_attr(not(test), unsafe(no_mangle))]
extern "C" fn limine_prepare() -> Prepared {
    match prepare() {
        Ok((root, hhdm)) => Prepared { root: root.as_u64(), word: hhdm },
        Err(sentence) => Prepared { root: 0, word: sentence.as_ptr().addr() as u64 },
    }
}

fn prepare() -> Result<(PhysAddr, u64), &'static CStr> {
    if Cr4::read().contains(Cr4Flags::L5_PAGING) {
        return Err(c"\nThe boot loader has turned five-level paging on; this kernel has four levels. Stopped.\n");
    }
    let [hhdm] = answer(Requests::HHDM_RESPONSE)
        .ok_or(c"\nThe boot loader does not say where its direct map is (Limine: HHDM). Stopped.\n")?;
    let [physical, linked] = answer(Requests::EXECUTABLE_ADDRESS_RESPONSE)
        .ok_or(c"\nThe boot loader does not say where the kernel is (Limine: executable address). Stopped.\n")?;
    let base = physical.wrapping_add(linked_start().as_u64().wrapping_sub(linked));
    if base % 4096 != 0 {
        return Err(c"\nThe boot loader has put the kernel where no page begins. Stopped.\n");
    }
    IMAGE_BASE.store(base, Ordering::Relaxed);
    ENTERED.store(true, Ordering::Relaxed);
    let own = phys_of_symbol((&raw const BOOT_TABLES).cast());
    // SAFETY: this is the only CPU that runs, this function runs once, and nothing else of the kernel's refers to the
    // tables but by physical addresses that are not known yet.
    let tables = unsafe { &mut *(&raw mut BOOT_TABLES) };
    match tables.fill(own, &image(), &guard_pages()) {
        Ok(root) => Ok((root, hhdm)),
        Err(OutOfReach) => Err(c"\nThe boot loader has put the kernel above 64 TiB. Stopped.\n"),
    }
}

/// The words of the answer to which the pointer at byte `request` of the requests leads, behind its revision; `None`
/// when the loader has none.
fn answer<const N: usize>(request: usize) -> Option<[u64; N]> {
    let pointer = request_word(request / size_of::<u64>());
    if pointer == 0 {
        return None;
    }
    let words = core::ptr::with_exposed_provenance::<u64>(pointer as usize);
    // SAFETY: the protocol has it that such a pointer leads to an answer of at least these words, aligned, in the
    // loader's tables, which are still in use. That is all that can be asked of a loader that has started this code.
    Some(core::array::from_fn(|index| unsafe { words.add(1 + index).read_volatile() }))
}
