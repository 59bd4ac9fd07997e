//! The live root, and frames for tables from before memory is known.

use crate::{Native, entry, tlb};
use mm::addr::PhysAddr;
use mm::paging::source::FramePool;
use mm::paging::{FrameSource, PageTables};
use x86_64::registers::control::{Cr3, Cr3Flags};
use x86_64::structures::paging::PhysFrame;

const PAGE: u64 = 4096;

/// The root table that the CPU uses.
#[must_use]
pub fn live_root() -> PhysAddr {
    PhysAddr::new(Cr3::read().0.start_address().as_u64())
}

/// The live tables, which the entry code made. Every call returns a handle to the same ones. Once the final ones are in
/// use this is for reading only.
#[must_use]
pub fn live_tables() -> PageTables<Native> {
    // SAFETY: the entry code made them in the image, which the direct map maps, and `activate` asks for the same. Until
    // the final tables stand one CPU runs, without preemption, and traps only read tables: two changes never meet. The
    // fixmap's own entries are written by `fixmap` alone. From then on `mm` changes them, behind its lock.
    unsafe { PageTables::new(Native, live_root()) }
}

/// Makes the CPU use the tables under `root`, and forgets all translations. The CPUs that are started afterwards use
/// them too.
///
/// # Safety
/// No other CPU runs yet.
/// The tables map the image and the stack in use as the current ones do, and the fixmap by its own tables. All of
/// them lie in mapped memory that is theirs for good.
pub unsafe fn activate(root: PhysAddr) {
    let root = PhysFrame::containing_address(x86_64::PhysAddr::new_truncate(root.as_u64()));
    // SAFETY: the caller promises that what runs now is mapped there in the same way.
    unsafe { Cr3::write(root, Cr3Flags::empty()) };
    tlb::flush_all_here();
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

// SAFETY: the pool consists of whole, aligned pages of the image, which the direct map maps from the entry code on.
// Each is handed out once, and nobody else knows them.
unsafe impl FrameSource for EarlyFrames {
    fn table_frame(&mut self, _near: PhysAddr) -> Option<PhysAddr> {
        POOL.next(entry::early_frame_pool(), PAGE)
    }
}
