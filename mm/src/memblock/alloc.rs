//! Handing memory out before there is an allocator.
//!
//! A request is served from the free ranges, top-down unless told otherwise, as Linux does: what the kernel keeps for
//! good then stays out of the low zones. Costs O(regions) per request. Nothing is written to the memory; see
//! [`slice`](super::slice) for what is. Linux: `memblock_alloc_range_nid`, `memblock_find_in_range_node`.

#![forbid(unsafe_code)]

use super::region::{HELD, TEMPORARY, Traits};
use super::{Conflict, Direction, Memblock, MemblockError};
use crate::addr::{NodeId, PhysRange};
use crate::arch::PhysMap;
use crate::machine::Owner;
use core::fmt;

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
    /// may lie there for good, so [`Memblock::free`] refuses it; see [`Memblock::free_allocated`].
    ///
    /// # Errors
    /// [`OutOfMemory`] says what is wrong with the request, or that nothing fits; then nothing has changed.
    pub fn alloc(&mut self, request: Request) -> Result<PhysRange, OutOfMemory> {
        let range = self.find(request, &|_| None)?;
        let conflict = move |other: PhysRange| other.overlaps(range).then_some(range);
        self.reserve_traits(range, request.owner, HELD, &conflict).map_err(OutOfMemory::Booking)?;
        Ok(range)
    }

    /// A free place for the request that `conflict` does not object to. Reserves nothing.
    pub(super) fn find(&self, request: Request, conflict: Conflict<'_>) -> Result<PhysRange, OutOfMemory> {
        if request.size == 0 {
            return Err(OutOfMemory::Empty);
        }
        if !request.align.is_power_of_two() {
            return Err(OutOfMemory::Alignment(request.align));
        }
        let found = match request.node {
            NodeWish::Any => self.search(&request, None, conflict),
            NodeWish::Only(node) => self.search(&request, Some(node), conflict),
            NodeWish::Prefer(node) => {
                self.search(&request, Some(node), conflict).or_else(|| self.search(&request, None, conflict))
            }
        };
        let Request { size, align, within, node, .. } = request;
        found.ok_or(OutOfMemory::NoRange { size, align, within, node })
    }

    fn search(&self, request: &Request, node: Option<NodeId>, conflict: Conflict<'_>) -> Option<PhysRange> {
        let mut ranges = self.free_ranges_within(request.within);
        loop {
            let free = match self.direction {
                Direction::TopDown => ranges.next_back()?,
                Direction::BottomUp => ranges.next()?,
            };
            if node.is_some() && free.node != node {
                continue;
            }
            let mut rest = free.range;
            while let Some(place) = self.fit(rest, request) {
                let Some(obstacle) = conflict(place) else { return Some(place) };
                let shorter = match self.direction {
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

    /// The place for the request at the end of `free` from which memory is taken.
    fn fit(&self, free: PhysRange, request: &Request) -> Option<PhysRange> {
        let start = match self.direction {
            Direction::TopDown => {
                let highest = free.size().checked_sub(request.size)?;
                free.start().checked_add(highest)?.align_down(request.align)
            }
            Direction::BottomUp => free.start().checked_align_up(request.align)?,
        };
        let place = PhysRange::from_size(start, request.size)?;
        (place.size() == request.size && free.contains_range(place)).then_some(place)
    }

    /// Reserves what is not reserved yet of `range`, and takes over what is only for a while, unless this is so too.
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
