//! Limine's boot protocol, from the loader's tables to our own.
//!
//! The loader writes pointers to its answers into [`REQUESTS`]. limine.s calls [`limine_prepare`] while its tables still
//! stand: where the image lies and where the loader's direct map begins are the two answers that are read through it;
//! then the boot tables are filled, and limine.s loads them. From there on the loader's answers are read as physical
//! memory, by `platform`, from the pointers that [`left`] copies.
//!
//! What can go wrong here is one sentence on COM1, as all that stops the kernel is one: nothing else can speak yet.

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
#[cfg_attr(test, expect(dead_code, reason = "limine.s calls it"))]
extern "C" fn limine_prepare() -> Prepared {
    match prepare() {
        Ok((root, hhdm)) => Prepared { root: root.as_u64(), word: hhdm },
        Err(refusal) => Prepared { root: 0, word: refusal.sentence().as_ptr().addr() as u64 },
    }
}

/// Why the kernel cannot start from what the loader did.
#[derive(Clone, Copy)]
enum Refusal {
    FiveLevels,
    NoDirectMap,
    NoPlace,
    NotAPage,
    OutOfReach,
}

impl Refusal {
    #[cfg(test)]
    const ALL: [Self; 5] = [Self::FiveLevels, Self::NoDirectMap, Self::NoPlace, Self::NotAPage, Self::OutOfReach];

    /// What COM1 says of it, behind the `T`; in the words that every stop begins with.
    fn sentence(self) -> &'static CStr {
        match self {
            Self::FiveLevels => {
                c"\nkernel stopped: the boot loader has turned five-level paging on; this kernel has four levels\n"
            }
            Self::NoDirectMap => {
                c"\nkernel stopped: the boot loader does not say where its direct map is (Limine: HHDM)\n"
            }
            Self::NoPlace => {
                c"\nkernel stopped: the boot loader does not say where the kernel is (Limine: executable address)\n"
            }
            Self::NotAPage => c"\nkernel stopped: the boot loader has put the kernel where no page begins\n",
            Self::OutOfReach => c"\nkernel stopped: the boot loader has put the kernel above 64 TiB\n",
        }
    }
}

fn prepare() -> Result<(PhysAddr, u64), Refusal> {
    if Cr4::read().contains(Cr4Flags::L5_PAGING) {
        return Err(Refusal::FiveLevels);
    }
    let [hhdm] = answer(Requests::HHDM_RESPONSE).ok_or(Refusal::NoDirectMap)?;
    let [physical, linked] = answer(Requests::EXECUTABLE_ADDRESS_RESPONSE).ok_or(Refusal::NoPlace)?;
    let base = physical.wrapping_add(linked_start().as_u64().wrapping_sub(linked));
    if base % 4096 != 0 {
        return Err(Refusal::NotAPage);
    }
    IMAGE_BASE.store(base, Ordering::Relaxed);
    ENTERED.store(true, Ordering::Relaxed);
    let storage = &raw mut BOOT_TABLES;
    // SAFETY: this is the only CPU that runs, this function runs once, and nothing else of the kernel's refers to the
    // tables but by physical addresses that are not known yet.
    let tables = unsafe { &mut *storage };
    let own = phys_of_symbol(storage.cast());
    let root = tables.fill(own, &image(), &guard_pages()).map_err(|OutOfReach| Refusal::OutOfReach)?;
    Ok((root, hhdm))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sentence_begins_as_the_kernels_stops_do_and_is_one_line() {
        for refusal in Refusal::ALL {
            let sentence = refusal.sentence().to_str().unwrap();
            assert!(sentence.starts_with("\nkernel stopped: the boot loader "), "{sentence}");
            assert_eq!(sentence.trim().lines().count(), 1);
            assert!(sentence.ends_with('\n'));
        }
        let too_old = include_str!("../entry.s").lines().find(|line| line.contains("no 64-bit mode")).unwrap();
        assert!(too_old.contains(r#".asciz "\nkernel stopped: this CPU "#), "{too_old}");
    }
}
