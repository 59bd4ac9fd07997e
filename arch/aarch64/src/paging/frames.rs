//! The live root, and frames for tables from before memory is known.

use crate::{Native, entry, tlb};
use aarch64_cpu::registers::{Readable, TTBR1_EL1};
use mm::addr::PhysAddr;
use mm::paging::source::FramePool;
use mm::paging::{FrameSource, PageTables};

/// The address bits of TTBR1_EL1.
const ROOT_ADDRESS: u64 = 0x0000_ffff_ffff_fffe;
const PAGE: u64 = 4096;

/// The root table that the CPU uses for the kernel's half.
#[must_use]
pub fn live_root() -> PhysAddr {
    PhysAddr::new(TTBR1_EL1.get() & ROOT_ADDRESS)
}

/// The live tables of the kernel's half: the entry code's, and all that was added since.
#[must_use]
pub fn live_tables() -> PageTables<Native> {
    // SAFETY: the entry code made these tables in the image, which the direct map maps, in this format; whatever was
    // added came from a `FrameSource`. One CPU runs, and nobody holds on to an entry across a call.
    unsafe { PageTables::new(Native, live_root()) }
}

/// Uses `root` for the kernel's half from now on, and no longer executes what is writable, whatever an entry says.
/// May be the live root: then only the latter changes.
///
/// # Safety
/// The tables of `root` map the image, the stack in use and the fixmap to the same memory as the live ones do, with the
/// rights that whoever uses them needs. All of them lie in mapped memory that is theirs for good.
pub unsafe fn activate(root: PhysAddr) {
    unsafe extern "C" {
        static switch_root_identity: u8;
        fn switch_root(root: u64, identity_root: u64, identity_code: u64);
    }
    let code = entry::phys_of_symbol(&raw const switch_root_identity);
    // The tables must have reached the walker.
    tlb::publish();
    // SAFETY: the caller answers for the tables. The root of the lower half is the entry code's own, still as it was
    // used; it maps the page in which `code` lies, executable, at its physical address.
    unsafe { switch_root(root.as_u64(), entry::identity_root().as_u64(), code.as_u64()) };
}

/// Frames inside the image, which are mapped and nobody else's from the first instruction on.
#[derive(Clone, Copy, Debug)]
pub struct EarlyFrames(());

/// Which of them were handed out, by whatever handle.
static POOL: FramePool = FramePool::new();

/// The pool of spare frames. All handles share it.
#[must_use]
pub fn early_frames() -> EarlyFrames {
    EarlyFrames(())
}

// SAFETY: each frame is a whole page of the image that nothing else uses, which both the image's mapping and the direct
// map reach from the entry code on, and `POOL` only shrinks, so none is given twice.
unsafe impl FrameSource for EarlyFrames {
    fn table_frame(&mut self, _near: PhysAddr) -> Option<PhysAddr> {
        POOL.next(entry::early_frame_pool(), PAGE)
    }
}
