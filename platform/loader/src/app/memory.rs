//! Memory from the firmware. All of it is EFI Loader Data: the kernel takes EFI's map for what is RAM, and would not
//! take memory of a type of our own for RAM.

use core::fmt;
use core::ptr::NonNull;
use loader::PAGE;
use loader::memory_map::Entry;
use uefi::boot::{self, AllocateType};
use uefi::mem::memory_map::MemoryType;

/// What memory is for.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    File,
    Image,
    MemoryMap,
    Handover,
}

/// The firmware has not as much memory as is needed.
#[derive(Clone, Copy)]
pub(crate) struct OutOfMemory {
    purpose: Purpose,
    bytes: u64,
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let purpose = match self.purpose {
            Purpose::File => "the file",
            Purpose::Image => "the kernel's image",
            Purpose::MemoryMap => "the memory map",
            Purpose::Handover => "the handover",
        };
        write!(f, "out of memory: {} KiB for {purpose}", self.bytes.div_ceil(1024))
    }
}

/// `bytes` of zeroed memory, contiguous, whose physical address lies `offset` above a multiple of `align`. Both are
/// whole pages, `align` is a power of two. It stays for the kernel: nothing gives it back.
pub(crate) fn allocate(
    purpose: Purpose,
    bytes: u64,
    align: u64,
    offset: u64,
) -> Result<&'static mut [u8], OutOfMemory> {
    let failed = || OutOfMemory { purpose, bytes };
    let pages = bytes.div_ceil(PAGE).max(1);
    let spare = align / PAGE - 1;
    let count = pages.checked_add(spare).and_then(|count| usize::try_from(count).ok()).ok_or_else(failed)?;
    let start = boot::allocate_pages(AllocateType::AnyPages, MemoryType::LOADER_DATA, count).map_err(|_| failed())?;
    // How many pages the right place lies behind the first.
    let before = offset.wrapping_sub(start.as_ptr() as u64) % align / PAGE;
    free(start, 0, before);
    free(start, before + pages, spare - before);
    let length = usize::try_from(bytes).map_err(|_| failed())?;
    let from = usize::try_from(before * PAGE).map_err(|_| failed())?;
    // SAFETY: `before` is at most `spare`, so these pages are inside what was allocated, and no others are freed.
    // Nobody else has them. They are cleared before a slice of them is made.
    unsafe {
        let start = start.add(from);
        start.write_bytes(0, length);
        Ok(NonNull::slice_from_raw_parts(start, length).as_mut())
    }
}

/// Gives back `count` pages, from the `first` on behind `start`. Where that fails they are lost, and no harm is done.
fn free(start: NonNull<u8>, first: u64, count: u64) {
    if let (Ok(offset @ 0..), Ok(count @ 1..)) = (usize::try_from(first * PAGE), usize::try_from(count)) {
        // SAFETY: the caller has allocated these pages and has no reference to them.
        let _ = unsafe { boot::free_pages(start.add(offset), count) };
    }
}

/// Room for `count` entries of the memory map.
pub(crate) fn allocate_entries(count: usize) -> Result<&'static mut [Entry], OutOfMemory> {
    let bytes = allocate(Purpose::MemoryMap, (count * size_of::<Entry>()) as u64, PAGE, 0)?;
    let start = NonNull::from(bytes).cast::<Entry>();
    for index in 0..count {
        // SAFETY: the memory has room for `count` entries, begins at a page, and is nobody else's.
        unsafe { start.add(index).write(Entry::NOTHING) };
    }
    // SAFETY: all `count` entries were written above.
    Ok(unsafe { NonNull::slice_from_raw_parts(start, count).as_mut() })
}
