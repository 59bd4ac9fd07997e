//! The live root, and frames for tables from before memory is known.

use crate::{Native, entry, tlb};
use aarch64_cpu::asm::barrier;
use aarch64_cpu::registers::{ReadWriteable, Readable, SCTLR_EL1, TTBR1_EL1};
use core::sync::atomic::{AtomicU64, Ordering};
use mm::addr::PhysAddr;
use mm::paging::{FrameSource, PageTables};

/// The address bits of TTBR1_EL1.
const ROOT_ADDRESS: u64 = 0x0000_ffff_ffff_fffe;
const PAGE: u64 = 4096;

/// The root table that the CPU uses for the kernel's half.
fn boot_root() -> PhysAddr {
    PhysAddr::new(TTBR1_EL1.get() & ROOT_ADDRESS)
}

/// The live tables of the kernel's half: the entry code's, and all that was added since.
#[must_use]
pub fn boot_tables() -> PageTables<Native> {
    // SAFETY: the entry code made these tables in the image, which the direct map maps, in this format; whatever was
    // added came from a `FrameSource`. One CPU runs, and nobody holds on to an entry across a call.
    unsafe { PageTables::new(Native, boot_root()) }
}

/// Uses `root` for the kernel's half from now on, and no longer executes what is writable, whatever an entry says.
///
/// # Safety
/// The tables of `root` map the image, its stacks and the fixmap as the live ones do, and stay. When `root` is not the
/// live root, both use leaves of the same size wherever both map the same.
pub unsafe fn activate(root: PhysAddr) {
    barrier::dsb(barrier::ISHST);
    if root != boot_root() {
        TTBR1_EL1.set_baddr(root.as_u64());
        barrier::isb(barrier::SY);
        tlb::flush_all();
    }
    SCTLR_EL1.modify(SCTLR_EL1::WXN::Enable);
    barrier::isb(barrier::SY);
    // The bit may be cached with translations.
    tlb::flush_all();
}

/// Frames inside the image, which are mapped and nobody else's from the first instruction on.
#[derive(Clone, Copy, Debug)]
pub struct EarlyFrames;

/// Bytes of the pool that were handed out, in whatever order the handles are used.
static TAKEN: AtomicU64 = AtomicU64::new(0);

/// The pool of spare frames. All handles share it.
#[must_use]
pub fn early_frames() -> EarlyFrames {
    EarlyFrames
}

// SAFETY: each frame is a whole page of the image that nothing else uses, which both the image's mapping and the direct
// map reach from the entry code on, and `TAKEN` only grows, so none is given twice.
unsafe impl FrameSource for EarlyFrames {
    fn table_frame(&mut self, _near: PhysAddr) -> Option<PhysAddr> {
        let pool = entry::early_frame_pool();
        let next = |taken: u64| (taken < pool.size()).then(|| taken.saturating_add(PAGE));
        let taken = TAKEN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok()?;
        pool.start().checked_add(taken)
    }
}
