//! The fixmap: pages of virtual space whose tables exist from the first instruction.
//!
//! To map something usually takes a table, a table takes a frame, and a frame takes an allocator, which needs
//! firmware tables that must be mapped to be read. The fixmap ends that circle: entry code installs its lowest tables,
//! and mapping is one store into a known slot. Slots have uses for good:
//!
//! | slots | use |
//! |---|---|
//! | 0 | [`Slot::CONSOLE`]: the registers of the first console |
//! | 1–127 | [`Area::Device`]: registers that stay mapped |
//! | 128–511 | [`Area::Window`]: six windows of 64 pages, for [`early_ioremap`](super::early_ioremap) |
//! | 512 … | [`Area::DeviceTree`]: the device tree, up to 2 MiB at any offset, where the arch's fixmap goes that far |
//!
//! Invariants: a slot that is set keeps its mapping until it is cleared; clearing flushes. The tables are those that
//! the boot tables had: the final tables share them ([`PageTables::share`]), so a `Fixmap` works on across the switch.
//! `set` and `clear` are O(1), and [`Fixmap::map`] O(slots of its area).
//!
//! Linux: `asm/fixmap.h`, `__set_fixmap`; `early_fixmap_init` in `arch/arm64/mm/fixmap.c`.

use crate::addr::{PhysAddr, PhysRange, VirtAddr};
use crate::arch::{PageFormat, PhysMap};
use crate::layout::{Layout, VirtRange};
use crate::paging::mapping::{Entry, Level, Mapping, RawMapping};
use crate::paging::tables::{PageTables, Table};
use arrayvec::ArrayVec;
use core::fmt;

/// Lowest tables that a fixmap has at most: 8 MiB with 4 KiB pages.
const MOST_TABLES: usize = 4;

/// A page of the fixmap.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot(u32);

impl Slot {
    /// The registers of the first console.
    pub const CONSOLE: Self = Self(0);

    /// Slot `number`.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn as_u32(self) -> u32 {
        self.0
    }
}

/// Slots of one use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Area {
    /// Registers of devices, mapped for good.
    Device,
    /// Windows that are opened and closed.
    Window,
    /// The device tree.
    DeviceTree,
}

impl Area {
    const fn bounds(self) -> (u32, u32) {
        match self {
            Self::Device => (1, 128),
            Self::Window => (128, 512),
            Self::DeviceTree => (512, u32::MAX),
        }
    }
}

/// Why a slot could not be set or cleared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FixmapError {
    /// The fixmap has no such slot.
    NoSuchSlot(Slot),
    /// The slot maps something else.
    InUse(Slot),
    /// There is no room of that many slots left in the area.
    Full {
        /// The area.
        area: Area,
        /// Slots that were needed.
        slots: u64,
    },
    /// The physical address is not on a page.
    Misaligned(PhysAddr),
    /// The range has no byte, or ends past the last page of the address space.
    BadRange(PhysRange),
    /// The tables have no lowest table for this part of the fixmap: entry code has not made it.
    NoTable(VirtAddr),
    /// The layout's fixmap needs more tables than a `Fixmap` holds.
    TooLarge(VirtRange),
}

impl fmt::Display for FixmapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchSlot(slot) => write!(f, "the fixmap has no slot {}", slot.0),
            Self::InUse(slot) => write!(f, "fixmap slot {} maps something else", slot.0),
            Self::Full { area, slots } => write!(f, "the fixmap has no {slots} slots left for {area:?}"),
            Self::Misaligned(address) => write!(f, "{address:#x} does not start a page"),
            Self::BadRange(range) => write!(f, "{range} cannot be mapped"),
            Self::NoTable(address) => write!(f, "the boot tables have no table for the fixmap at {address:#x}"),
            Self::TooLarge(range) => write!(f, "the fixmap {range} needs too many tables"),
        }
    }
}

impl core::error::Error for FixmapError {}

/// The slots of the layout's fixmap, and the tables behind them.
pub struct Fixmap<A> {
    access: A,
    range: VirtRange,
    /// Where the first table's translations begin.
    base: VirtAddr,
    tables: ArrayVec<PhysAddr, MOST_TABLES>,
}

impl<A: PhysMap + PageFormat> Fixmap<A> {
    /// The fixmap of `layout`, whose lowest tables `tables` has.
    ///
    /// # Safety
    /// The tables of the fixmap's addresses stay what they are for as long as this value lives, and only it changes
    /// them.
    ///
    /// # Errors
    /// [`FixmapError::NoTable`], [`FixmapError::TooLarge`].
    pub unsafe fn new(layout: &Layout, tables: &PageTables<A>) -> Result<Self, FixmapError> {
        let range = layout.fixmap;
        let span = Level::new(1).span::<A>();
        let base = range.start().align_down(span);
        let mut lowest = ArrayVec::new();
        let mut at = base;
        while at < range.end() {
            let table = tables.table_at(Level::PAGE, at).ok_or(FixmapError::NoTable(at))?;
            lowest.try_push(table.frame()).map_err(|_| FixmapError::TooLarge(range))?;
            at = at.saturating_add(span);
        }
        Ok(Self { access: tables.access, range, base, tables: lowest })
    }

    /// How many slots there are.
    #[must_use]
    pub fn slots(&self) -> u32 {
        u32::try_from(self.range.size() >> A::PAGE_SHIFT).unwrap_or(u32::MAX)
    }

    /// Where `slot` lies.
    #[must_use]
    pub fn address(&self, slot: Slot) -> Option<VirtAddr> {
        self.range.at(u64::from(slot.0) << A::PAGE_SHIFT)
    }

    /// What `slot` maps.
    #[must_use]
    pub fn get(&self, slot: Slot) -> Option<(PhysAddr, RawMapping)> {
        let (_, table, index) = self.find(slot).ok()?;
        match table.entry(Level::PAGE, index) {
            Entry::Leaf { address, mapping } => Some((address, mapping)),
            Entry::Absent | Entry::Table(_) => None,
        }
    }

    /// Maps the page at `frame` in `slot`, and says where that is. To set it again to the same is no error.
    ///
    /// # Errors
    /// [`FixmapError::NoSuchSlot`], [`FixmapError::Misaligned`], [`FixmapError::InUse`].
    pub fn set(&mut self, slot: Slot, frame: PhysAddr, mapping: Mapping) -> Result<VirtAddr, FixmapError> {
        let address = self.write(slot, frame, mapping)?;
        self.access.publish();
        Ok(address)
    }

    /// Empties `slot`. Its address must not be used any more. Emptying an empty slot is no error.
    ///
    /// # Errors
    /// [`FixmapError::NoSuchSlot`].
    pub fn clear(&mut self, slot: Slot) -> Result<(), FixmapError> {
        let (address, table, index) = self.find(slot)?;
        if table.get(index) != 0 {
            table.set(index, 0);
            self.access.flush(VirtRange::new(address, address.saturating_add(A::PAGE_SIZE)));
        }
        Ok(())
    }

    /// Maps all pages that `range` touches in neighbouring slots of `area`, the first that are free, and returns where
    /// its first byte is.
    ///
    /// # Errors
    /// [`FixmapError::BadRange`], [`FixmapError::Full`].
    pub fn map(&mut self, area: Area, range: PhysRange, mapping: Mapping) -> Result<VirtAddr, FixmapError> {
        let pages = Self::pages(range)?;
        let count = pages.size() >> A::PAGE_SHIFT;
        let (first, end) = area.bounds();
        let first = self.free_run(first, end.min(self.slots()), count);
        let first = first.ok_or(FixmapError::Full { area, slots: count })?;
        self.set_run(first, pages, mapping)?;
        let start = self.address(first).ok_or(FixmapError::NoSuchSlot(first))?;
        Ok(start.saturating_add(range.start().as_u64() - pages.start().as_u64()))
    }

    /// The whole pages that `range` touches.
    pub(super) fn pages(range: PhysRange) -> Result<PhysRange, FixmapError> {
        let pages = range.expand_to(A::PAGE_SIZE);
        if range.is_empty() || !pages.end().is_aligned(A::PAGE_SIZE) {
            return Err(FixmapError::BadRange(range));
        }
        Ok(pages)
    }

    /// Sets the slots from `first` on to the pages of `pages`, all of which are empty.
    pub(super) fn set_run(&mut self, first: Slot, pages: PhysRange, mapping: Mapping) -> Result<(), FixmapError> {
        let mut slot = first;
        let mut frame = pages.start();
        while frame < pages.end() {
            self.write(slot, frame, mapping)?;
            slot = Slot(slot.0 + 1);
            frame = frame.saturating_add(A::PAGE_SIZE);
        }
        self.access.publish();
        Ok(())
    }

    /// The first of `count` neighbouring empty slots in `first..end`.
    pub(super) fn free_run(&self, first: u32, end: u32, count: u64) -> Option<Slot> {
        let mut start = first;
        let mut at = first;
        while u64::from(at - start) < count {
            if at >= end {
                return None;
            }
            at += 1;
            if self.get(Slot(at - 1)).is_some() {
                start = at;
            }
        }
        Some(Slot(start))
    }

    fn write(&mut self, slot: Slot, frame: PhysAddr, mapping: Mapping) -> Result<VirtAddr, FixmapError> {
        let (address, table, index) = self.find(slot)?;
        if !frame.is_aligned(A::PAGE_SIZE) {
            return Err(FixmapError::Misaligned(frame));
        }
        match table.entry(Level::PAGE, index) {
            Entry::Absent => table.set(index, self.access.leaf(frame, Level::PAGE, mapping)),
            Entry::Leaf { address, mapping: found } if address == frame && found == mapping.raw() => {}
            Entry::Leaf { .. } | Entry::Table(_) => return Err(FixmapError::InUse(slot)),
        }
        Ok(address)
    }

    fn find(&self, slot: Slot) -> Result<(VirtAddr, Table<A>, usize), FixmapError> {
        let address = self.address(slot).ok_or(FixmapError::NoSuchSlot(slot))?;
        let number = address.checked_sub(self.base).unwrap_or(0) >> Level::new(1).shift::<A>();
        let table = usize::try_from(number).ok().and_then(|number| self.tables.get(number));
        let table = table.ok_or(FixmapError::NoTable(address))?;
        Ok((address, Table::at(self.access, *table), Level::PAGE.index::<A>(address)))
    }
}

impl<A> fmt::Debug for Fixmap<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fixmap").field("range", &self.range).finish_non_exhaustive()
    }
}
