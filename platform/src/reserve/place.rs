//! Where a range can go: free memory, searched from either end.
//!
//! What is kept here for good must stay out of the one window that is mapped before the final tables stand: memblock's
//! own arrays grow there, and the first page tables come from it. Otherwise the search is memblock's own: top-down, on
//! one node or any, never in page 0, and in hot-pluggable memory only where nobody has asked to keep out of it
//! (`movable_node`). Costs O(free ranges) a search. Linux: `memblock_find_in_range_node`, `should_skip_region`.

use crate::options::Options;
use mm::addr::{NodeId, PhysAddr, PhysRange};
use mm::arch::PhysMap;
use mm::machine::Owner;
use mm::memblock::{Direction, Memblock, MemblockError, RegionFlags};
use mm::zone::{Amount, MovableNode};

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search {
    /// Bytes, more than 0.
    pub(super) size: u64,
    /// The start is a multiple of this power of two.
    pub(super) align: u64,
    /// It lies inside.
    pub(super) within: PhysRange,
    /// On this node, or on any.
    pub(super) node: Option<NodeId>,
    /// From which end.
    pub(super) from: Direction,
}

/// Free memory, and what of it is not for the taking.
pub(super) struct Places<'m, A> {
    pub(super) memblock: &'m mut Memblock<A>,
    /// Nothing is placed here.
    avoid: PhysRange,
    hot_pluggable: MovableNode,
    mirror: Mirror,
}

/// Whether mirrored memory comes first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mirror {
    Any,
    First,
}

impl<'m, A: PhysMap> Places<'m, A> {
    /// All free memory but what is mapped already: for the time before the final tables stand.
    pub(super) fn outside_window(memblock: &'m mut Memblock<A>, options: &Options) -> Self {
        let avoid = memblock.mapped();
        Self { avoid, ..Self::everywhere(memblock, options) }
    }

    /// All free memory.
    pub(super) fn everywhere(memblock: &'m mut Memblock<A>, options: &Options) -> Self {
        let is_mirrored = |memblock: &Memblock<A>| {
            memblock.memory().iter().any(|region| region.flags().contains(RegionFlags::MIRROR))
        };
        let mirror = if options.movable.kernelcore == Some(Amount::Mirror) && is_mirrored(memblock) {
            Mirror::First
        } else {
            Mirror::Any
        };
        Self { memblock, avoid: PhysRange::EMPTY, hot_pluggable: options.movable.movable_node, mirror }
    }

    /// Finds a place and reserves it for `owner`; `None` where there is none.
    ///
    /// # Errors
    /// [`MemblockError::Full`] when it cannot be booked.
    pub(super) fn take(&mut self, search: Search, owner: Owner) -> Result<Option<PhysRange>, MemblockError> {
        let Some(range) = self.find(search) else { return Ok(None) };
        self.memblock.reserve(range, owner)?;
        Ok(Some(range))
    }

    fn find(&self, search: Search) -> Option<PhysRange> {
        match self.mirror {
            Mirror::First => {
                self.search(search, RegionFlags::MIRROR).or_else(|| self.search(search, RegionFlags::empty()))
            }
            Mirror::Any => self.search(search, RegionFlags::empty()),
        }
    }

    /// A place in memory that has all of `flags`.
    fn search(&self, search: Search, flags: RegionFlags) -> Option<PhysRange> {
        if search.size == 0 || !search.align.is_power_of_two() {
            return None;
        }
        let mut ranges = self.memblock.free_ranges_within(search.within);
        loop {
            let free = match search.from {
                Direction::TopDown => ranges.next_back()?,
                Direction::BottomUp => ranges.next()?,
            };
            if search.node.is_some() && free.node != search.node || !self.may_use(free.range.start(), flags) {
                continue;
            }
            let below = PhysRange::new(free.range.start(), free.range.end().min(self.avoid.start()));
            let above = PhysRange::new(free.range.start().max(self.avoid.end()), free.range.end());
            let parts = match search.from {
                _ if !free.range.overlaps(self.avoid) => [free.range, PhysRange::EMPTY],
                Direction::TopDown => [above, below],
                Direction::BottomUp => [below, above],
            };
            if let Some(place) = parts.into_iter().find_map(|part| fit(part, search)) {
                return Some(place);
            }
        }
    }

    /// Whether the memory at `address` is for the taking, and has all of `flags`.
    fn may_use(&self, address: PhysAddr, flags: RegionFlags) -> bool {
        let found = self.memblock.memory().find(address).map_or(RegionFlags::empty(), |region| region.flags());
        let kept_free = self.hot_pluggable == MovableNode::Honour && found.contains(RegionFlags::HOTPLUG);
        found.contains(flags) && !kept_free
    }
}

/// The place at that end of `free`.
fn fit(free: PhysRange, search: Search) -> Option<PhysRange> {
    let start = match search.from {
        Direction::TopDown => {
            let highest = free.size().checked_sub(search.size)?;
            free.start().checked_add(highest)?.align_down(search.align)
        }
        // Page 0 is never given away: its address means 'nowhere' to too many.
        Direction::BottomUp => free.start().max(PhysAddr::new(1)).checked_align_up(search.align)?,
    };
    let place = PhysRange::from_size(start, search.size)?;
    let fits = place.size() == search.size && free.contains_range(place) && start.as_u64() > 0;
    fits.then_some(place)
}
