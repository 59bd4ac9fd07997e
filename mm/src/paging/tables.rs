//! A tree of page tables, and how its entries are read and written.
//!
//! [`PageTables`] is a handle: the root's address and the access to memory. Tables lie in ordinary RAM and are read and
//! written through the direct map, an entry at a time, by atomic loads and stores, because the table walkers of all
//! CPUs read them at any moment. An entry that points to a table is stored with release order, so that a walker
//! which sees it sees what the table holds.
//!
//! Linux: `asm/pgtable.h` (`set_pte` and its like), `pmd_populate_kernel`.

use crate::addr::{PhysAddr, VirtAddr};
use crate::arch::{PageFormat, PhysMap};
use crate::paging::mapping::{Entry, Level, Mapping};
use crate::paging::source::FrameSource;
use core::sync::atomic::{AtomicU64, Ordering};

/// A tree of page tables.
#[derive(Debug)]
pub struct PageTables<A> {
    pub(super) access: A,
    pub(super) root: PhysAddr,
}

impl<A: PhysMap + PageFormat> PageTables<A> {
    /// The tree whose root is at `root`.
    ///
    /// # Safety
    /// `root` and every table below it are whole frames of RAM, aligned, reached by `phys_ptr`, in the format of `A`
    /// and used as tables only. Nobody but the hardware changes them in another way than through this value, while it
    /// lives, except where two changes cannot meet (the fixmap's own tables).
    #[must_use]
    pub const unsafe fn new(access: A, root: PhysAddr) -> Self {
        Self { access, root }
    }

    /// An empty tree, or `None` when `frames` has no frame for its root.
    #[must_use]
    pub fn create(access: A, near: PhysAddr, frames: &mut impl FrameSource) -> Option<Self> {
        let root = Table::zeroed(access, frames.table_frame(near)?);
        Some(Self { access, root: root.frame })
    }

    /// The root's physical address, for the register that holds it.
    #[must_use]
    pub const fn root(&self) -> PhysAddr {
        self.root
    }

    pub(super) fn root_table(&self) -> Table<A> {
        Table::at(self.access, self.root)
    }

    /// The highest level at which leaves may stand. A CPU that has leaves of one size has all smaller ones.
    pub(super) fn largest_leaf(&self) -> Level {
        let mut largest = Level::PAGE;
        for number in 1..A::LEVELS {
            if !self.access.leaf_at(Level::new(number)) {
                break;
            }
            largest = Level::new(number);
        }
        largest
    }
}

/// Whether the tables of `A` translate `address`: the kernel's half, and where the same root serves both (x86_64), the
/// lower half.
pub(super) const fn translates<A: PageFormat>(address: VirtAddr) -> bool {
    address.as_u64() >= A::KERNEL_START.as_u64()
        || (shares_lower_half::<A>() && address.as_u64() < 1 << (A::VIRT_BITS - 1))
}

/// The address whose translation begins at entry `index` of the root.
pub(super) const fn root_address<A: PageFormat>(index: usize) -> VirtAddr {
    let low = (index as u64) << Level::top::<A>().shift::<A>();
    let high = low | (u64::MAX << A::VIRT_BITS);
    VirtAddr::new(if high >= A::KERNEL_START.as_u64() { high } else { low })
}

const fn shares_lower_half<A: PageFormat>() -> bool {
    A::KERNEL_START.as_u64() & (1 << (A::VIRT_BITS - 1)) != 0
}

/// One table of a tree. Exists only for frames that are tables.
pub(super) struct Table<A> {
    access: A,
    frame: PhysAddr,
    /// The first entry.
    entries: *mut u64,
}

impl<A: Copy> Clone for Table<A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A: Copy> Copy for Table<A> {}

impl<A: PhysMap + PageFormat> Table<A> {
    /// Entries that fit into a page.
    pub(super) const ENTRIES: usize = 1 << (A::PAGE_SHIFT - 3);

    /// The table at `frame`: the root of a [`PageTables`], or what an entry of another table points to.
    pub(super) fn at(access: A, frame: PhysAddr) -> Self {
        Self { access, frame, entries: access.phys_ptr(frame).cast() }
    }

    /// A table without entries in a frame that a [`FrameSource`] gave.
    pub(super) fn zeroed(access: A, frame: PhysAddr) -> Self {
        let table = Self::at(access, frame);
        // SAFETY: `FrameSource` promises a whole page of reachable RAM that nobody else uses.
        unsafe { table.entries.write_bytes(0, Self::ENTRIES) };
        table
    }

    /// A table full of leaves at `level` that map the memory from `to` on, in a frame that a [`FrameSource`] gave.
    pub(super) fn filled(access: A, frame: PhysAddr, level: Level, to: PhysAddr, mapping: Mapping) -> Self {
        let table = Self::at(access, frame);
        let span = level.span::<A>();
        let mut to = to.as_u64();
        for index in 0..Self::ENTRIES {
            table.set(index, access.leaf(PhysAddr::new(to), level, mapping));
            // Past the last entry this may leave the address space.
            to = to.wrapping_add(span);
        }
        table
    }

    /// Where it lies.
    pub(super) const fn frame(self) -> PhysAddr {
        self.frame
    }

    /// What entry `index` says at `level`.
    pub(super) fn entry(self, level: Level, index: usize) -> Entry {
        self.access.decode(self.get(index), level)
    }

    /// The table at `frame`, to which an entry of this one points.
    pub(super) fn child(self, frame: PhysAddr) -> Self {
        Self::at(self.access, frame)
    }

    /// The bits of entry `index`, zero when it is absent.
    pub(super) fn get(self, index: usize) -> u64 {
        self.slot(index).load(Ordering::Acquire)
    }

    /// Writes a leaf, or zero.
    pub(super) fn set(self, index: usize, entry: u64) {
        self.slot(index).store(entry, Ordering::Relaxed);
    }

    /// Makes entry `index` point to `next`, after all that was written to it.
    pub(super) fn link(self, index: usize, next: Self) {
        self.slot(index).store(self.access.table(next.frame), Ordering::Release);
    }

    /// Copies an entry from another tree, leaf or table.
    pub(super) fn copy(self, index: usize, entry: u64) {
        self.slot(index).store(entry, Ordering::Release);
    }

    fn slot<'t>(self, index: usize) -> &'t AtomicU64 {
        let index = index & (Self::ENTRIES - 1);
        // SAFETY: a `Table` is a whole, aligned page of RAM that `phys_ptr` reaches and that is used as a table only
        // (`PageTables::new`, `FrameSource`), and the index lies inside it, so the pointer is valid and aligned to 8.
        // All accesses by software to entries of tables that somebody walks are atomic. The reference does not outlive
        // the call: no caller keeps it.
        unsafe { AtomicU64::from_ptr(self.entries.add(index)) }
    }
}
