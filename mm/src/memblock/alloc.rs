//! Handing memory out before there is an allocator.
//!
//! A request is served from the free ranges, top-down unless told otherwise, as Linux does: what the kernel keeps for
//! good then stays out of the low zones. What is asked for gives way in this order: an address to start from
//! ([`Memblock::alloc_from`]), then mirrored memory (wanted as soon as any memory is mirrored), then the node
//! ([`NodeWish::Prefer`]). Memory that can be taken out of the machine is not used at all while
//! [`MovableNode::Honour`] holds. A place never reaches from one memory region into the next. Unlike Linux, frame 0 is
//! handed out like any other. Costs O(regions) a request. Nothing is written to the memory; see
//! [`slice`](super::slice) for what is. Linux: `memblock_alloc_range_nid`, `memblock_find_in_range_node`,
//! `choose_memblock_flags`.

#![forbid(unsafe_code)]

use super::free::{Choice, FreeRanges};
use super::region::{HELD, TEMPORARY, Traits};
use super::{Conflict, Contents, Direction, Event, Memblock, MemblockError, RegionFlags};
use crate::addr::{NodeId, PhysAddr, PhysRange};
use crate::arch::PhysMap;
use crate::machine::Owner;
use core::fmt;
use core::panic::Location;

/// What becomes of memory that can be taken out of the machine (`movable_node`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum MovableNode {
    /// It is memory like any other.
    #[default]
    Ignore,
    /// The kernel keeps nothing of its own there.
    Honour,
}

/// Which node memory should come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeWish {
    /// Whichever.
    Any,
    /// This node if it has some, any other if not.
    Prefer(NodeId),
    /// This node or none.
    Only(NodeId),
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// Bytes, more than 0.
    pub size: u64,
    /// The start is a multiple of this power of two.
    pub align: u64,
    /// It lies inside this range.
    pub within: PhysRange,
    /// On which node.
    pub node: NodeWish,
    /// Who holds it from now on.
    pub owner: Owner,
}

/// Why a request could not be served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OutOfMemory {
    /// No free range holds it.
    NoRange {
        /// Bytes asked for.
        size: u64,
        /// Alignment asked for.
        align: u64,
        /// Where it had to lie.
        within: PhysRange,
        /// The wish that could not be met.
        node: NodeWish,
    },
    /// A request for 0 bytes.
    Empty,
    /// The alignment is no power of two.
    Alignment(u64),
    /// The number of bytes does not fit 64 bits.
    TooLarge {
        /// Items asked for.
        items: u64,
        /// Bytes of each.
        each: u64,
    },
    /// Memory was found but could not be booked.
    Booking(MemblockError),
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoRange { size, align, within, node } => {
                write!(f, "no free range of {size:#x} bytes aligned to {align:#x} in {within}")?;
                match node {
                    NodeWish::Only(node) => write!(f, " on node {node}"),
                    NodeWish::Any | NodeWish::Prefer(_) => Ok(()),
                }
            }
            Self::Empty => f.write_str("a request for no memory"),
            Self::Alignment(align) => write!(f, "an alignment of {align:#x} is no power of two"),
            Self::TooLarge { items, each } => write!(f, "{items} items of {each} bytes are more than there can be"),
            Self::Booking(error) => write!(f, "memory was found but could not be booked: {error}"),
        }
    }
}

impl core::error::Error for OutOfMemory {}

impl<A: PhysMap> Memblock<A> {
    /// Finds free memory and reserves it for the request's owner. Contents are arbitrary. Tables of pages and the like
    /// may lie there for good, so [`Memblock::free`] refuses it; see [`Memblock::free_allocated`]. O(regions). Linux:
    /// `memblock_phys_alloc_range`, `memblock_phys_alloc_try_nid`, `memblock_alloc_exact_nid_raw`, and
    /// `memblock_alloc_low` with a range that ends at 4 GiB.
    ///
    /// # Errors
    /// [`OutOfMemory`] says what is wrong with the request, or that nothing fits; then nothing has changed.
    #[track_caller]
    pub fn alloc(&mut self, request: Request) -> Result<PhysRange, OutOfMemory> {
        self.alloc_from(request, PhysAddr::new(0))
    }

    /// As [`Memblock::alloc`], at `from` or above where that can be, else wherever the request allows. O(regions).
    /// Linux: `memblock_alloc_from`, and `min_addr` of `memblock_alloc_try_nid`.
    ///
    /// # Errors
    /// As [`Memblock::alloc`].
    #[track_caller]
    pub fn alloc_from(&mut self, request: Request, from: PhysAddr) -> Result<PhysRange, OutOfMemory> {
        self.take(request, from, Contents::Raw)
    }

    /// Takes memory that is reserved only for a while ([`Purpose::Temporary`](crate::machine::Purpose)) for an owner who
    /// stays: for who must have some in `within`, where nothing is free, and does not touch it before hand-over. At the
    /// top, whatever the direction. O(regions). Linux: `efi_free_boot_services`, which leaves the trampoline such memory.
    ///
    /// # Errors
    /// As [`Memblock::alloc`].
    #[track_caller]
    pub fn alloc_temporary(&mut self, request: Request) -> Result<PhysRange, OutOfMemory> {
        let Request { size, align, within, node, .. } = request;
        if size == 0 {
            return Err(OutOfMemory::Empty);
        }
        if !align.is_power_of_two() {
            return Err(OutOfMemory::Alignment(align));
        }
        let on = if let NodeWish::Only(node) = node { Some(node) } else { None };
        // All memory that may be handed out, whoever holds it.
        let memory = FreeRanges::new(self.memory.items(), &[], within, Choice { node: on, ..Choice::FREE });
        let place = |part| fit(part, &request, Direction::TopDown);
        let range = memory.rev().find_map(|all| self.temporary_parts(all.range).filter_map(place).last());
        let range = range.ok_or(OutOfMemory::NoRange { size, align, within, node })?;
        let conflict = move |other: PhysRange| other.overlaps(range).then_some(range);
        self.reserve_traits(range, request.owner, HELD, &conflict).map_err(OutOfMemory::Booking)?;
        Ok(range)
    }

    /// Finds free memory as [`Memblock::alloc`] does, but from the end `from` and clear of `avoid`, and reserves it so
    /// that [`Memblock::free`] takes it back: what is kept for somebody who need not use it. Never at address 0, which
    /// means 'nowhere' to too many. `None` where nothing fits. O(regions). Linux: `memblock_find_in_range` and
    /// `memblock_reserve`.
    ///
    /// # Errors
    /// [`MemblockError::Full`] when it cannot be booked.
    #[track_caller]
    pub fn keep(
        &mut self,
        request: Request,
        from: Direction,
        avoid: PhysRange,
    ) -> Result<Option<PhysRange>, MemblockError> {
        let above_zero = PhysRange::new(PhysAddr::new(1), PhysRange::ALL.end());
        let within = request.within.intersection(above_zero);
        let conflict = |place: PhysRange| place.overlaps(avoid).then_some(avoid);
        let Ok(range) = self.find(Request { within, ..request }, from, &conflict) else { return Ok(None) };
        self.reserve(range, request.owner)?;
        Ok(Some(range))
    }

    #[track_caller]
    pub(super) fn take(
        &mut self,
        request: Request,
        from: PhysAddr,
        contents: Contents,
    ) -> Result<PhysRange, OutOfMemory> {
        let caller = Location::caller();
        self.tell(PhysRange::ALL, Event::Alloc { request, from, contents, caller });
        let above =
            Request { within: PhysRange::new(from, PhysRange::ALL.end()).intersection(request.within), ..request };
        let range = match self.find(above, self.direction, &|_| None) {
            // Where both are the same, this fails as that did.
            Err(OutOfMemory::NoRange { .. }) => self.find(request, self.direction, &|_| None)?,
            found => found?,
        };
        let conflict = move |other: PhysRange| other.overlaps(range).then_some(range);
        self.reserve_traits(range, request.owner, HELD, &conflict).map_err(OutOfMemory::Booking)?;
        Ok(range)
    }

    /// A free place for the request that `conflict` does not object to. Reserves nothing.
    pub(super) fn find(
        &mut self,
        request: Request,
        from: Direction,
        conflict: Conflict<'_>,
    ) -> Result<PhysRange, OutOfMemory> {
        let Request { size, align, within, node, .. } = request;
        if size == 0 {
            return Err(OutOfMemory::Empty);
        }
        if !align.is_power_of_two() {
            return Err(OutOfMemory::Alignment(align));
        }
        let mut usable = Choice::FREE;
        if self.movable_node == MovableNode::Honour {
            usable.without |= RegionFlags::HOTPLUG;
        }
        if self.memory().iter().any(|region| region.flags().contains(RegionFlags::MIRROR)) {
            let mirrored = Choice { with: RegionFlags::MIRROR, ..usable };
            if let Some(place) = self.find_near(&request, mirrored, from, conflict) {
                return Ok(place);
            }
            self.tell_mirror_exhausted(size);
        }
        self.find_near(&request, usable, from, conflict).ok_or(OutOfMemory::NoRange { size, align, within, node })
    }

    /// A place on the node that is wished for, or where the wish allows another.
    fn find_near(
        &self,
        request: &Request,
        choice: Choice,
        from: Direction,
        conflict: Conflict<'_>,
    ) -> Option<PhysRange> {
        let search = |choice| self.search(request, choice, from, conflict);
        let on = |node| Choice { node: Some(node), ..choice };
        match request.node {
            NodeWish::Any => search(choice),
            NodeWish::Only(node) => search(on(node)),
            NodeWish::Prefer(node) => search(on(node)).or_else(|| search(choice)),
        }
    }

    fn search(&self, request: &Request, choice: Choice, from: Direction, conflict: Conflict<'_>) -> Option<PhysRange> {
        let mut ranges = self.chosen_ranges(request.within, choice);
        loop {
            let free = match from {
                Direction::TopDown => ranges.next_back()?,
                Direction::BottomUp => ranges.next()?,
            };
            let mut rest = free.range;
            while let Some(place) = fit(rest, request, from) {
                let Some(obstacle) = conflict(place) else { return Some(place) };
                let shorter = match from {
                    Direction::TopDown => PhysRange::new(rest.start(), obstacle.start().max(rest.start())),
                    Direction::BottomUp => PhysRange::new(obstacle.end().min(rest.end()), rest.end()),
                };
                // An obstacle overlaps the place, so the rest gets shorter each time.
                if shorter.size() >= rest.size() {
                    break;
                }
                rest = shorter;
            }
        }
    }

    /// Reserves what is not reserved yet of `range`, and takes over what is only for a while, unless this is so too.
    #[track_caller]
    pub(super) fn reserve_traits(
        &mut self,
        range: PhysRange,
        owner: Owner,
        flags: u32,
        conflict: Conflict<'_>,
    ) -> Result<(), MemblockError> {
        if range.is_empty() {
            return Ok(());
        }
        self.tell(range, Event::Reserve { range, caller: Location::caller() });
        let traits = Traits::owned(self.intern(owner, conflict)?, flags);
        let takes_over = flags & TEMPORARY == 0 && self.has_temporary(range);
        let plan = |memblock: &Self| {
            let edges = if takes_over { memblock.reserved.plan_change(range) } else { 0 };
            edges + memblock.reserved.plan_cover(range, traits)
        };
        self.make_room(super::Which::Reserved, &plan, conflict)?;
        if takes_over {
            self.reserved.change(range, |held| if held.flags & TEMPORARY == 0 { held } else { traits });
        }
        self.reserved.cover(range, traits);
        Ok(())
    }
}

/// The place for the request at the end of `free` from which memory is taken.
fn fit(free: PhysRange, request: &Request, from: Direction) -> Option<PhysRange> {
    let start = match from {
        Direction::TopDown => {
            let highest = free.size().checked_sub(request.size)?;
            free.start().checked_add(highest)?.align_down(request.align)
        }
        Direction::BottomUp => free.start().checked_align_up(request.align)?,
    };
    let place = PhysRange::from_size(start, request.size)?;
    (place.size() == request.size && free.contains_range(place)).then_some(place)
}
