//! Storage for the description in memory that nobody else holds: the only file of this folder that touches memory.

use super::{Count, List, MachineMemory};
use crate::addr::PhysRange;
use crate::arch::PhysMap;
use core::mem::{align_of, size_of};
use core::slice;

impl Count {
    /// Bytes that [`carve`] needs for as many of each, alignment included.
    #[must_use]
    pub fn storage_bytes(&self) -> u64 {
        let mut layout = Cursor { at: 0 };
        layout.take::<super::Bank>(self.banks);
        layout.take::<super::Reservation>(self.reservations);
        layout.take::<super::Affinity>(self.affinities);
        layout.take::<super::CpuEntry>(self.cpus);
        layout.take::<super::CpuAffinity>(self.cpu_affinities);
        layout.take::<super::Initiator>(self.initiators);
        layout.take::<super::Distance>(self.distances);
        layout.take::<super::Wish>(self.wishes);
        layout.take::<super::Usable>(self.usable);
        layout.at as u64
    }

    /// Bytes that are enough for what memblock and the nodes make of as many facts while they take them over: region
    /// arrays, names, tables of CPUs and nodes, scratch.
    #[must_use]
    pub fn working_bytes(&self) -> u64 {
        // What a fact makes them hold is no larger than the fact, and an array that doubles takes for a moment three
        // times what it held. One more for what alignment and the order of growth leave between.
        self.storage_bytes().saturating_mul(4)
    }
}

/// An offset that lists are laid out by, one after another.
struct Cursor {
    at: usize,
}

impl Cursor {
    /// The offset of `count` slots for `T`.
    fn take<T>(&mut self, count: usize) -> usize {
        let start = self.at.next_multiple_of(align_of::<Option<T>>());
        self.at = start.saturating_add(count.saturating_mul(size_of::<Option<T>>()));
        start
    }
}

/// An empty description with room for `count`, in the memory of `range`; `None` when that is too small.
///
/// # Safety
/// `range` is page-aligned RAM that `access` reaches as long as `'a`, and nobody else uses it for that time.
pub unsafe fn carve<'a, A: PhysMap>(access: A, range: PhysRange, count: Count) -> Option<MachineMemory<'a>> {
    if range.size() < count.storage_bytes() {
        return None;
    }
    let base = access.phys_ptr(range.start());
    let mut cursor = Cursor { at: 0 };
    // SAFETY: the offsets of one cursor never overlap, the last one ends inside `range` as checked above, and the
    // caller gives the whole range away for `'a`.
    unsafe {
        Some(MachineMemory {
            banks: list(base, &mut cursor, count.banks),
            reservations: list(base, &mut cursor, count.reservations),
            affinities: list(base, &mut cursor, count.affinities),
            cpus: list(base, &mut cursor, count.cpus),
            cpu_affinities: list(base, &mut cursor, count.cpu_affinities),
            initiators: list(base, &mut cursor, count.initiators),
            distances: list(base, &mut cursor, count.distances),
            wishes: list(base, &mut cursor, count.wishes),
            usable: list(base, &mut cursor, count.usable),
            dma_limit: None,
            default_pool: None,
        })
    }
}

/// `count` empty slots at the cursor.
///
/// # Safety
/// The slots lie in memory after `base` that is the caller's alone for `'a`; `base` is page-aligned.
unsafe fn list<'a, T: Copy>(base: *mut u8, cursor: &mut Cursor, count: usize) -> List<'a, T> {
    let offset = cursor.take::<T>(count);
    // SAFETY: the caller says that the slots lie inside the memory after `base`, and the offset keeps the alignment.
    let first = unsafe { base.add(offset) }.cast::<Option<T>>();
    for index in 0..count {
        // SAFETY: as above; the memory may hold anything, so it is written before it is seen as a value.
        unsafe { first.add(index).write(None) };
    }
    // SAFETY: `count` slots from `first` are initialised, aligned, and the caller's alone for `'a`.
    List::new(unsafe { slice::from_raw_parts_mut(first, count) })
}
