//! Typed memory out of memblock: the one place of this module that touches memory.
//!
//! A [`BootSlice`] is a zeroed array in memory that memblock reserved for it. It is never given back: the tables of
//! nodes, zones and resources live in such slices for as long as the kernel runs. Memblock's own arrays do as well,
//! which is why a grown array that is outgrown gives its memory back by itself. Linux: `memblock_alloc`.
//!
//! Why this is sound: [`Memblock::set_mapped`] is the caller's promise that what is handed out of a range is mapped
//! RAM of nobody else; memblock hands out no byte twice, and a range below a slice is held, so that
//! [`Memblock::free`] refuses it.

use super::alloc::{NodeWish, OutOfMemory, Request};
use super::{Conflict, Contents, Event, Memblock, MemblockError};
use crate::addr::{PhysAddr, PhysRange};
use crate::arch::PhysMap;
use crate::machine::Owner;
use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ops::{Deref, DerefMut};
use core::panic::Location;
use core::ptr::NonNull;

/// Slices start at, and occupy, multiples of this, so that those of one owner lie side by side in one region and no
/// two share a cache line.
const GRAIN: u64 = 64;

/// Types for which memory full of zeroes is a value.
///
/// # Safety
/// All bytes zero must be a valid value of the type, and forgetting a value must be right: what lies in boot memory is
/// never dropped.
pub unsafe trait Zeroed {}

macro_rules! zeroed {
    ($($integer:ty),*) => {
        $(
            // SAFETY: every bit pattern is a value of an integer, and integers need no drop.
            unsafe impl Zeroed for $integer {}
        )*
    };
}

zeroed!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize);

// SAFETY: addresses, frames and node and CPU numbers are transparent integers, ranges are two of them, and zero is a
// value of each.
unsafe impl Zeroed for crate::addr::PhysAddr {}
// SAFETY: as above.
unsafe impl Zeroed for crate::addr::VirtAddr {}
// SAFETY: as above.
unsafe impl Zeroed for crate::addr::Pfn {}
// SAFETY: as above; 0..0 is the empty range.
unsafe impl Zeroed for PhysRange {}
// SAFETY: as above; 0..0 is the empty range.
unsafe impl Zeroed for crate::addr::PfnRange {}
// SAFETY: as above.
unsafe impl Zeroed for crate::addr::NodeId {}
// SAFETY: as above.
unsafe impl Zeroed for crate::addr::CpuId {}
// SAFETY: an `Option` of a `Zeroed` type is not `Zeroed` in general, but an array of one is: nothing stands between
// its items.
unsafe impl<T: Zeroed, const N: usize> Zeroed for [T; N] {}

/// A zeroed array in boot memory.
pub struct BootSlice<A, T> {
    access: A,
    range: PhysRange,
    pointer: NonNull<T>,
    length: usize,
    owns: PhantomData<T>,
}

impl<A: Copy, T> BootSlice<A, T> {
    /// The memory that is reserved for it: its items, rounded up to whole cache lines.
    #[must_use]
    pub const fn range(&self) -> PhysRange {
        self.range
    }

    /// The handle through which it was made.
    #[must_use]
    pub const fn access(&self) -> A {
        self.access
    }

    /// No item, no memory.
    #[must_use]
    pub const fn empty(access: A) -> Self {
        Self { access, range: PhysRange::EMPTY, pointer: NonNull::dangling(), length: 0, owns: PhantomData }
    }
}

impl<A, T> BootSlice<A, T> {
    /// Where it lies, for [`Table::move_to`](super::table::Table::move_to), which knows no handle.
    pub(super) const fn place(&self) -> PhysRange {
        self.range
    }
}

impl<A, T> Deref for BootSlice<A, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `pointer` is aligned and leads to `length` initialised items (zeroes are a value of `T: Zeroed`, and
        // only such slices are made) inside one RAM range, mapped for good by the promise of `set_mapped`; the slice
        // alone has that memory, and `&self` keeps writers away. Without items the pointer dangles, which is right
        // for a length of 0.
        unsafe { core::slice::from_raw_parts(self.pointer.as_ptr(), self.length) }
    }
}

impl<A, T> DerefMut for BootSlice<A, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`; `&mut self` keeps everybody else away.
        unsafe { core::slice::from_raw_parts_mut(self.pointer.as_ptr(), self.length) }
    }
}

// SAFETY: the slice owns its items as a `Vec` does; sending it sends them and the handle.
unsafe impl<A: Send, T: Send> Send for BootSlice<A, T> {}
// SAFETY: through a shared slice only shared items and the handle are reached.
unsafe impl<A: Sync, T: Sync> Sync for BootSlice<A, T> {}

impl<A, T: fmt::Debug> fmt::Debug for BootSlice<A, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<A: PhysMap> Memblock<A> {
    /// Says where own tables and slices may lie: [`PhysRange::EMPTY`] (as at the start) for nowhere, the early window
    /// while only that is mapped, [`PhysRange::ALL`] once all memory is.
    ///
    /// # Safety
    /// From now on, whatever part of `range` is memory here (now or when it is added later) and not reserved must be
    /// RAM that [`PhysMap::phys_ptr`] reaches, for as long as the handle lives, and that nobody else uses. While
    /// [`Memblock::populate`] runs, what its description reserves or does not call usable counts as reserved.
    pub unsafe fn set_mapped(&mut self, range: PhysRange) {
        self.mapped = range;
    }

    /// A zeroed array of `len` items, inside the mapped memory, for `owner`. Memory is never given back. O(regions),
    /// and the clearing. Linux: `memblock_alloc_try_nid`, `memblock_alloc_node`.
    ///
    /// # Errors
    /// [`OutOfMemory`] when no free range of the mapped memory holds it, or when it cannot be booked.
    #[track_caller]
    pub fn alloc_slice<T: Zeroed>(
        &mut self,
        len: usize,
        node: NodeWish,
        owner: Owner,
    ) -> Result<BootSlice<A, T>, OutOfMemory> {
        let Some((range, pointer)) = self.hold::<T>(len, node, owner, Contents::Zeroed)? else {
            return Ok(BootSlice { length: len, ..BootSlice::empty(self.access) });
        };
        // SAFETY: as `pointer_to` says, `len` items fit there.
        unsafe { pointer.write_bytes(0, len) };
        Ok(BootSlice { access: self.access, range, pointer, length: len, owns: PhantomData })
    }

    /// As [`Memblock::alloc_slice`], with whatever lies there. O(regions). Linux: `memblock_alloc_try_nid_raw`.
    ///
    /// # Errors
    /// As [`Memblock::alloc_slice`].
    #[track_caller]
    pub fn alloc_raw<T>(
        &mut self,
        len: usize,
        node: NodeWish,
        owner: Owner,
    ) -> Result<BootSlice<A, MaybeUninit<T>>, OutOfMemory> {
        let Some((range, pointer)) = self.hold::<MaybeUninit<T>>(len, node, owner, Contents::Raw)? else {
            return Ok(BootSlice { length: len, ..BootSlice::empty(self.access) });
        };
        // Any bytes are a value of `MaybeUninit`.
        Ok(BootSlice { access: self.access, range, pointer, length: len, owns: PhantomData })
    }

    /// As [`Memblock::alloc_slice`], with every item equal to `value`.
    ///
    /// # Errors
    /// As [`Memblock::alloc_slice`].
    #[track_caller]
    pub fn alloc_filled<T: Copy>(
        &mut self,
        len: usize,
        value: T,
        node: NodeWish,
        owner: Owner,
    ) -> Result<BootSlice<A, T>, OutOfMemory> {
        let Some((range, pointer)) = self.hold::<T>(len, node, owner, Contents::Raw)? else {
            return Ok(BootSlice { length: len, ..BootSlice::empty(self.access) });
        };
        // SAFETY: as `pointer_to` says, `len` items fit there.
        unsafe { fill(pointer, len, value) };
        Ok(BootSlice { access: self.access, range, pointer, length: len, owns: PhantomData })
    }

    /// Ends reservations, allocated memory among them. O(reserved regions behind it). Linux: `memblock_free`.
    ///
    /// # Errors
    /// [`MemblockError::Full`] where a region is cut in two.
    ///
    /// # Safety
    /// Nobody uses what [`Memblock::alloc`] or [`Memblock::alloc_slice`] handed out in `range` from now on, nor does an
    /// array of memblock lie there.
    #[track_caller]
    pub unsafe fn free_allocated(&mut self, range: PhysRange) -> Result<(), MemblockError> {
        self.free_held(range)
    }

    /// Gives the memory of a slice back, for scratch tables of this crate.
    ///
    /// The slice must come from this memblock: another one may hold a slice of its own at the same address.
    #[track_caller]
    pub(crate) fn release<T>(&mut self, slice: BootSlice<A, T>) {
        let range = slice.range;
        // Cutting a region in two takes one of the spare entries; they are made up for at the next change.
        if !range.is_empty() && self.has_spare_entry() {
            self.tell(range, Event::Free { range, caller: Location::caller() });
            self.reserved.uncover(range);
        }
    }

    /// Reserves memory for `len` items; `None` when they need none.
    #[track_caller]
    fn hold<T>(
        &mut self,
        len: usize,
        node: NodeWish,
        owner: Owner,
        contents: Contents,
    ) -> Result<Option<(PhysRange, NonNull<T>)>, OutOfMemory> {
        let Some((size, align)) = layout::<T>(len)? else { return Ok(None) };
        let request = Request { size, align, within: self.mapped, node, owner };
        let range = self.take(request, PhysAddr::new(0), contents)?;
        Ok(Some((range, self.pointer_to::<T>(range)?)))
    }

    /// A place for `len` items of a table of memblock itself, not yet reserved, filled with `unused`.
    pub(super) fn place_table<T: Copy>(
        &mut self,
        len: usize,
        unused: T,
        conflict: Conflict<'_>,
    ) -> Result<BootSlice<A, T>, OutOfMemory> {
        let (size, align) = layout::<T>(len)?.ok_or(OutOfMemory::Empty)?;
        let owner = Owner::default();
        let request = Request { size, align, within: self.mapped, node: NodeWish::Any, owner };
        let range = self.find(request, self.direction, conflict)?;
        let pointer = self.pointer_to::<T>(range)?;
        // SAFETY: as `pointer_to` says, `len` items fit there.
        unsafe { fill(pointer, len, unused) };
        Ok(BootSlice { access: self.access, range, pointer, length: len, owns: PhantomData })
    }

    /// A pointer to the start of `range`, which was just found free inside `mapped` for a layout of `T`s: by the
    /// promise of `set_mapped` it is mapped RAM that nobody uses, and its start is aligned for `T`, because physical
    /// and virtual alignment are the same up to a page at least.
    fn pointer_to<T>(&self, range: PhysRange) -> Result<NonNull<T>, OutOfMemory> {
        let pointer = NonNull::new(self.access.phys_ptr(range.start()).cast::<T>());
        let (size, align) = (range.size(), align_of::<T>() as u64);
        pointer.ok_or(OutOfMemory::NoRange { size, align, within: self.mapped, node: NodeWish::Any })
    }
}

/// Writes `value` to `len` items.
///
/// # Safety
/// `pointer` is aligned, and `len` items may be written there.
unsafe fn fill<T: Copy>(pointer: NonNull<T>, len: usize, value: T) {
    for index in 0..len {
        // SAFETY: the caller says that `len` items may be written there, and `index` is below `len`.
        unsafe { pointer.add(index).write(value) };
    }
}

/// Bytes and alignment of `len` items; `None` when they need no memory.
fn layout<T>(len: usize) -> Result<Option<(u64, u64)>, OutOfMemory> {
    let overflow = OutOfMemory::TooLarge { items: len as u64, each: size_of::<T>() as u64 };
    let bytes = (len as u64).checked_mul(size_of::<T>() as u64).ok_or(overflow)?;
    if bytes == 0 {
        return Ok(None);
    }
    let align = GRAIN.max(align_of::<T>() as u64);
    let size = bytes.checked_next_multiple_of(align).ok_or(overflow)?;
    Ok(Some((size, align)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::{PhysAddr, VirtAddr};
    use crate::memblock::{INLINE_REGIONS, SPARE};
    use core::cell::UnsafeCell;

    #[repr(align(4096))]
    struct Ram(UnsafeCell<[u8; 4096]>);

    #[derive(Clone, Copy)]
    struct Access<'r>(&'r Ram);

    // SAFETY: all pointers derive from the cell, and physical address 0 is its first byte.
    unsafe impl PhysMap for Access<'_> {
        fn phys_ptr(self, address: PhysAddr) -> *mut u8 {
            self.0.0.get().cast::<u8>().wrapping_add(usize::try_from(address.as_u64()).unwrap())
        }

        fn ptr_phys(self, _: *const u8) -> Option<PhysAddr> {
            None
        }

        fn virt_ptr(self, _: VirtAddr) -> *mut u8 {
            core::ptr::null_mut()
        }
    }

    /// Each scratch table that lies amid others takes a spare entry to give back; without one it stays where it is.
    #[test]
    fn scratch_is_given_back_while_there_are_spare_entries() {
        let ram = Ram(UnsafeCell::new([0; 4096]));
        let mut memblock = Memblock::new(Access(&ram));
        let range = |start: u64, end: u64| PhysRange::new(PhysAddr::new(start), PhysAddr::new(end));
        memblock.add(range(0, 4096)).unwrap();
        // SAFETY: this memory is the cell's, and only this test uses it.
        unsafe { memblock.set_mapped(range(0, 4096)) };
        let owner = Owner::new("scratch");
        let mut slices = [const { None }; 2 * SPARE + 4];
        for slice in &mut slices {
            *slice = Some(memblock.alloc_slice::<u64>(8, NodeWish::Any, owner).unwrap());
        }
        let nothing = memblock.alloc_slice::<u64>(0, NodeWish::Any, owner).unwrap();
        let before = memblock.reserved_size();
        memblock.release(nothing);
        assert_eq!((memblock.reserved_size(), memblock.reserved().len()), (before, 1));
        for index in 1..(INLINE_REGIONS - SPARE) as u64 {
            memblock.reserve(range(index << 16, (index << 16) + 1), owner).unwrap();
        }
        // What is left is too small for a larger array.
        assert_eq!(memblock.reserve(range(1 << 40, 2 << 40), owner).map_err(|_| ()), Err(()));
        let size = memblock.reserved_size();
        for (count, at) in (1..2 * SPARE + 4).step_by(2).enumerate() {
            memblock.release(slices[at].take().unwrap());
            assert_eq!(memblock.reserved().len(), INLINE_REGIONS - SPARE + (count + 1).min(SPARE));
            assert_eq!(memblock.reserved_size(), size - 64 * (count as u64 + 1).min(SPARE as u64));
        }
    }
}
