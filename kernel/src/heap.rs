//! `Box`, `Vec` and `BTreeMap` in the kernel: the global allocator is a zero-sized handle to the slab.
//!
//! Until [`crate::start`] has set the one [`Mm`](mm::Mm), every allocation is refused. Linux: `kmalloc`.

use crate::system::MM;
use core::alloc::{GlobalAlloc, Layout};

struct Heap;

#[global_allocator]
static HEAP: Heap = Heap;

// SAFETY: `Slab::allocate` returns a block of at least the layout's size and alignment that nobody else holds until it
// comes back through `deallocate`, or null; it does not unwind.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        MM.get().map_or(core::ptr::null_mut(), |mm| mm.slab.allocate(layout))
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let Some(mm) = MM.get() else { return };
        // SAFETY: the caller got `pointer` from `alloc` above with this layout and gives it up.
        if let Err(error) = unsafe { mm.slab.deallocate(pointer, layout) } {
            log::error!("freeing {pointer:p}: {error}");
        }
    }
}
