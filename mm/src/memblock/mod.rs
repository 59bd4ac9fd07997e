//! Memory before there is an allocator: which ranges are RAM, and which of them are taken.
//!
//! The firmware's description ([`MachineMemory`](crate::machine::MachineMemory)) is poured in by
//! [`Memblock::populate`]; early code reserves and allocates; [`Nodes`](crate::numa::Nodes) takes it over and
//! the page allocator at last consumes it. What is left then is a read-only [`Record`].
//!
//! Two sorted arrays hold it all: *memory* (with node and flags) and *reserved* (with owner). Free memory is the
//! difference. Both begin inside the structure ([`INLINE_REGIONS`] each) and double into memory found in themselves
//! when full, so the number of regions has no cap.
//!
//! Invariants: regions of an array are sorted, not empty and do not overlap; those that touch differ in node, flags
//! or owner; at least `SPARE` reserved entries are unused before any change, so that the memory of a new array can
//! always be booked. The same `add`s in any order give the same memory; where two reserve the same byte, the first
//! keeps it. A change that fails has changed nothing.
//!
//! Costs: a change finds its place in O(log n) and moves the 24-byte entries behind it, so n regions in any order are
//! taken over in n such moves, and no change walks the whole array. Linux: mm/memblock.c (`memblock_add_range`,
//! `memblock_double_array`, `memblock_isolate_range`).

mod alloc;
mod event;
mod free;
mod grow;
mod limit;
mod populate;
mod record;
mod region;
mod slice;
mod table;

pub use alloc::{MovableNode, NodeWish, OutOfMemory, Request};
pub use event::{Contents, Event, Listener, Tell};
pub use free::{FreeRange, FreeRanges};
pub use record::Record;
pub use region::{Frames, Region, RegionIter, Regions};

pub use crate::machine::RegionFlags;
pub use slice::{BootSlice, Zeroed};

use crate::addr::{NodeId, PhysRange};
use crate::arch::PhysMap;
use crate::machine::Owner;
use core::fmt;
use core::panic::Location;
use free::Choice;
use region::{Entry, HELD, Traits};
use table::Table;

/// Regions of each array that need no memory of their own.
pub const INLINE_REGIONS: usize = 128;
/// Owners' names that need no memory of their own.
const INLINE_OWNERS: usize = 32;
/// Reserved entries that are kept unused: booking a new array adds one, giving an old one back adds one, and an array
/// may grow because another does.
const SPARE: usize = 6;
/// Who holds the arrays, entry 1 of the owners' names. Entry 0 is nobody.
const OWN_TABLES: u16 = 1;

/// Objects to a place by naming what is in the way.
pub(crate) type Conflict<'c> = &'c dyn Fn(PhysRange) -> Option<PhysRange>;

/// From which end of memory allocations come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the highest address down.
    TopDown,
    /// From the lowest address up.
    BottomUp,
}

/// Which of the arrays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// Memory regions.
    Memory,
    /// Reserved regions.
    Reserved,
    /// Names of owners.
    Owners,
}

/// Why a change was refused. Nothing has changed then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemblockError {
    /// An array is full, and no free mapped memory was found for a larger one.
    Full {
        /// Which one.
        table: Which,
        /// How many it holds.
        capacity: usize,
    },
    /// This part of the range was handed out by an allocation and may be in use.
    InUse(PhysRange),
}

impl fmt::Display for MemblockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Full { table, capacity } => {
                let table = match table {
                    Which::Memory => "memory regions",
                    Which::Reserved => "reserved regions",
                    Which::Owners => "owners",
                };
                write!(f, "no free mapped memory for more than {capacity} {table}")
            }
            Self::InUse(range) => write!(f, "{range} was handed out and may be in use"),
        }
    }
}

impl core::error::Error for MemblockError {}

/// Memory and what is reserved of it.
pub struct Memblock<A> {
    access: A,
    memory: Table<A, Entry, INLINE_REGIONS>,
    reserved: Table<A, Entry, INLINE_REGIONS>,
    owners: Table<A, Owner, INLINE_OWNERS>,
    direction: Direction,
    movable_node: MovableNode,
    mapped: PhysRange,
    listener: Option<(Listener<A>, Tell)>,
    /// Whether somebody was told that mirrored memory has run out.
    mirror_warned: bool,
}

impl<A: PhysMap> Memblock<A> {
    /// No memory, nothing reserved, allocation from the top, nothing mapped, nobody listening.
    #[must_use]
    pub fn new(access: A) -> Self {
        let mut owners = Table::new(Owner::default());
        owners.insert(0, Owner::default());
        owners.insert(usize::from(OWN_TABLES), Owner::new("memblock regions"));
        Self {
            access,
            memory: Table::new(Entry::UNUSED),
            reserved: Table::new(Entry::UNUSED),
            owners,
            direction: Direction::TopDown,
            movable_node: MovableNode::Ignore,
            mapped: PhysRange::EMPTY,
            listener: None,
            mirror_warned: false,
        }
    }

    /// Adds memory. What is memory already stays as it is. O(regions behind it). Linux: `memblock_add`.
    ///
    /// # Errors
    /// [`MemblockError::Full`].
    #[track_caller]
    pub fn add(&mut self, range: PhysRange) -> Result<(), MemblockError> {
        self.add_avoiding(range, &in_flight(range))
    }

    #[track_caller]
    fn add_avoiding(&mut self, range: PhysRange, conflict: Conflict<'_>) -> Result<(), MemblockError> {
        self.tell(range, Event::Add { range, caller: Location::caller() });
        self.cover(range, Traits::PLAIN, conflict)
    }

    /// Adds memory that is on `node` and has `flags`. What is memory already stays as it is. O(regions behind it).
    /// Linux: `memblock_add_node`.
    ///
    /// # Errors
    /// [`MemblockError::Full`].
    #[track_caller]
    pub fn add_on(&mut self, range: PhysRange, node: Option<NodeId>, flags: RegionFlags) -> Result<(), MemblockError> {
        self.tell(range, Event::AddNode { range, node, flags, caller: Location::caller() });
        self.cover(range, Traits::PLAIN.on(node).flagged(flags.bits()), &in_flight(range))
    }

    fn cover(&mut self, range: PhysRange, traits: Traits, conflict: Conflict<'_>) -> Result<(), MemblockError> {
        self.make_room(Which::Memory, &|memblock| memblock.memory.plan_cover(range, traits), conflict)?;
        self.memory.cover(range, traits);
        Ok(())
    }

    /// Takes memory away. Reservations stay. O(regions behind it). Linux: `memblock_remove`.
    ///
    /// # Errors
    /// [`MemblockError::Full`] where a region is cut in two.
    #[track_caller]
    pub fn remove(&mut self, range: PhysRange) -> Result<(), MemblockError> {
        self.remove_avoiding(range, &in_flight(range))
    }

    #[track_caller]
    fn remove_avoiding(&mut self, range: PhysRange, conflict: Conflict<'_>) -> Result<(), MemblockError> {
        self.tell(range, Event::Remove { range, caller: Location::caller() });
        self.make_room(Which::Memory, &|memblock| memblock.memory.plan_uncover(range), conflict)?;
        self.memory.uncover(range);
        Ok(())
    }

    /// Reserves a range, memory or not, for `owner`. What is reserved already keeps its owner. O(reserved regions
    /// behind it), and O(owners) to know the name again. Linux: `memblock_reserve`, which knows no owners.
    ///
    /// # Errors
    /// [`MemblockError::Full`].
    #[track_caller]
    pub fn reserve(&mut self, range: PhysRange, owner: Owner) -> Result<(), MemblockError> {
        self.reserve_traits(range, owner, 0, &in_flight(range))
    }

    /// Ends reservations, whoever made them. O(reserved regions behind it). Linux: `memblock_phys_free`.
    ///
    /// # Errors
    /// [`MemblockError::InUse`] when a part was handed out by an allocation, which may be in use;
    /// [`MemblockError::Full`] where a region is cut in two.
    #[track_caller]
    pub fn free(&mut self, range: PhysRange) -> Result<(), MemblockError> {
        let first = self.reserved.position(range.start());
        let overlapping = self.reserved.items().get(first..).unwrap_or_default();
        for entry in overlapping.iter().take_while(|entry| entry.start < range.end()) {
            if entry.traits.flags & HELD != 0 && !range.is_empty() {
                return Err(MemblockError::InUse(entry.range().intersection(range)));
            }
        }
        self.free_held(range)
    }

    #[track_caller]
    fn free_held(&mut self, range: PhysRange) -> Result<(), MemblockError> {
        self.tell(range, Event::Free { range, caller: Location::caller() });
        let conflict = in_flight(range);
        self.make_room(Which::Reserved, &|memblock| memblock.reserved.plan_uncover(range), &conflict)?;
        self.reserved.uncover(range);
        Ok(())
    }

    /// Puts the memory in `range` on `node`. O(regions behind its start). Linux: `memblock_set_node`.
    ///
    /// # Errors
    /// [`MemblockError::Full`] where a region is cut in two.
    pub fn set_node(&mut self, range: PhysRange, node: NodeId) -> Result<(), MemblockError> {
        self.change(range, |traits| traits.on(Some(node)), &in_flight(range))
    }

    /// Takes all memory off its node. O(regions). Linux: `memblock_set_node` with `MAX_NUMNODES`.
    pub fn clear_nodes(&mut self) {
        // Nothing is cut in two, so no room is needed.
        self.memory.change(PhysRange::ALL, |traits| traits.on(None));
    }

    /// Sets flags of the memory in `range`. O(regions behind its start). Linux: `memblock_mark_hotplug`,
    /// `memblock_mark_mirror`, `memblock_mark_nomap`.
    ///
    /// # Errors
    /// [`MemblockError::Full`] where a region is cut in two.
    pub fn mark(&mut self, range: PhysRange, flags: RegionFlags) -> Result<(), MemblockError> {
        self.mark_avoiding(range, flags, &in_flight(range))
    }

    fn mark_avoiding(
        &mut self,
        range: PhysRange,
        flags: RegionFlags,
        conflict: Conflict<'_>,
    ) -> Result<(), MemblockError> {
        self.change(range, |traits| traits.flagged(traits.flags | flags.bits()), conflict)
    }

    /// Clears flags of the memory in `range`. O(regions behind its start). Linux: `memblock_clear_hotplug`,
    /// `memblock_clear_nomap`.
    ///
    /// # Errors
    /// [`MemblockError::Full`] where a region is cut in two.
    pub fn clear(&mut self, range: PhysRange, flags: RegionFlags) -> Result<(), MemblockError> {
        self.change(range, |traits| traits.flagged(traits.flags & !flags.bits()), &in_flight(range))
    }

    fn change(
        &mut self,
        range: PhysRange,
        change: impl Fn(Traits) -> Traits,
        conflict: Conflict<'_>,
    ) -> Result<(), MemblockError> {
        self.make_room(Which::Memory, &|memblock| memblock.memory.plan_change(range), conflict)?;
        self.memory.change(range, change);
        Ok(())
    }

    /// Cuts every memory region inward to multiples of `align`, a power of two. What is left without a byte goes.
    /// O(regions). Linux: `memblock_trim_memory`.
    pub fn trim(&mut self, align: u64) {
        debug_assert!(align.is_power_of_two());
        self.memory.trim(align);
    }

    /// Says from which end of memory allocations come. Linux: `memblock_set_bottom_up`.
    pub fn set_direction(&mut self, direction: Direction) {
        self.direction = direction;
    }

    /// Says whether allocations stay out of memory that can be taken out of the machine. Linux:
    /// `movable_node_is_enabled`.
    pub fn set_movable_node(&mut self, movable_node: MovableNode) {
        self.movable_node = movable_node;
    }

    /// The handle to physical memory.
    #[must_use]
    pub fn access(&self) -> A {
        self.access
    }

    /// Where own tables and slices may lie.
    #[must_use]
    pub fn mapped(&self) -> PhysRange {
        self.mapped
    }

    /// The memory regions. Linux: `for_each_mem_region`.
    #[must_use]
    pub fn memory(&self) -> Regions<'_> {
        Regions::new(self.memory.items(), self.owners.items())
    }

    /// The reserved regions. Linux: `for_each_reserved_mem_region`.
    #[must_use]
    pub fn reserved(&self) -> Regions<'_> {
        Regions::new(self.reserved.items(), self.owners.items())
    }

    /// Memory that nobody holds: neither reserved nor `NOMAP` nor driver-managed. From either end. Two pieces that
    /// touch differ in node or flags. O(regions) for all of it. Linux: `for_each_free_mem_range` and its reverse.
    #[must_use]
    pub fn free_ranges(&self) -> FreeRanges<'_> {
        self.free_ranges_within(PhysRange::ALL)
    }

    /// The parts of [`Memblock::free_ranges`] that lie in `within`. O(log n) to begin, then O(regions in `within`).
    #[must_use]
    pub fn free_ranges_within(&self, within: PhysRange) -> FreeRanges<'_> {
        self.chosen_ranges(within, Choice::FREE)
    }

    /// The parts of [`Memblock::free_ranges`] that lie in `within` and on `node`. O(log n) to begin, then O(regions in
    /// `within`).
    #[must_use]
    pub fn free_ranges_on(&self, within: PhysRange, node: NodeId) -> FreeRanges<'_> {
        self.chosen_ranges(within, Choice { node: Some(node), ..Choice::FREE })
    }

    fn chosen_ranges(&self, within: PhysRange, choice: Choice) -> FreeRanges<'_> {
        FreeRanges::new(self.memory.items(), self.reserved.items(), within, choice)
    }

    /// Bytes of memory. O(regions). Linux: `memblock_phys_mem_size`.
    #[must_use]
    pub fn memory_size(&self) -> u64 {
        self.memory().size()
    }

    /// Bytes that are reserved, memory or not. O(reserved regions). Linux: `memblock_reserved_size`.
    #[must_use]
    pub fn reserved_size(&self) -> u64 {
        self.reserved().size()
    }

    /// Ends all changes. What is reserved stays so; what is free is the caller's.
    #[must_use]
    pub fn freeze(self) -> Record<A> {
        Record::new(self.memory, self.reserved, self.owners)
    }
}

/// A new array must not lie in the range that is being changed.
fn in_flight(range: PhysRange) -> impl Fn(PhysRange) -> Option<PhysRange> {
    move |place| place.overlaps(range).then_some(range)
}

impl<A> fmt::Debug for Memblock<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memblock")
            .field("memory", &Regions::new(self.memory.items(), self.owners.items()))
            .field("reserved", &Regions::new(self.reserved.items(), self.owners.items()))
            .finish_non_exhaustive()
    }
}
