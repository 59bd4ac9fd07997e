//! The oracle: what is true of each cell of a small arena, and what a change makes of it, cell by cell.
//!
//! It shares no code and no idea with memblock: there are no regions here, only cells.

use mm::addr::{NodeId, PhysAddr, PhysRange};
use mm::arch::PhysMap;
use mm::machine::Owner;
use mm::memblock::{Direction, Memblock, MemblockError, NodeWish, OutOfMemory, RegionFlags, Request};
use mm::zone::MovableNode;

/// The owners that changes name: so many that their names need an array of their own.
pub(crate) const OWNERS: u8 = 40;
/// What an allocation handed out.
const ALLOCATED: u8 = 254;
/// Where an array of memblock lies.
const TABLES: u8 = 255;

const HOTPLUG: u32 = 1;
const MIRROR: u32 = 2;
const NOMAP: u32 = 4;
const DRIVER_MANAGED: u32 = 8;

/// One change, in cells.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Add(usize, usize),
    AddOn(usize, usize, Option<u16>, u32),
    Remove(usize, usize),
    Reserve(usize, usize, u8),
    Free(usize, usize),
    FreeAllocated(usize, usize),
    Node(usize, usize, u16),
    ClearNodes,
    Mark(usize, usize, u32),
    Clear(usize, usize, u32),
    Trim(u32),
    Cap(usize, usize),
    Limit(usize),
    MapLimit(usize),
    Direction(Direction),
    Movable(MovableNode),
    Alloc(Ask),
}

/// An allocation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) size: usize,
    pub(crate) align: u32,
    pub(crate) within: (usize, usize),
    pub(crate) from: usize,
    pub(crate) node: NodeWish,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Cell {
    /// Node and flags, where there is memory.
    pub(crate) memory: Option<(Option<u16>, u32)>,
    pub(crate) owner: Option<u8>,
}

impl Cell {
    fn is_held(self) -> bool {
        self.owner.is_some_and(|owner| owner >= ALLOCATED)
    }

    /// Node and flags of what is free here.
    fn free(self) -> Option<(Option<u16>, u32)> {
        self.memory.filter(|(_, flags)| self.owner.is_none() && flags & (NOMAP | DRIVER_MANAGED) == 0)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Oracle {
    pub(crate) cells: Vec<Cell>,
    base: u64,
    unit: u64,
    direction: Direction,
    movable: MovableNode,
}

impl Oracle {
    /// `count` cells of `unit` bytes from `base`, where there is nothing.
    pub(crate) fn new(count: usize, base: u64, unit: u64) -> Self {
        let (direction, movable) = (Direction::TopDown, MovableNode::Ignore);
        Self { cells: vec![Cell::default(); count], base, unit, direction, movable }
    }

    fn range(&self, start: usize, end: usize) -> PhysRange {
        let at = |cell: usize| PhysAddr::new(self.base + cell as u64 * self.unit);
        PhysRange::new(at(start), at(end))
    }

    fn cells_of(&self, range: PhysRange) -> (usize, usize) {
        let cell = |address: PhysAddr| {
            let offset = address.as_u64() - self.base;
            assert!(offset.is_multiple_of(self.unit), "{range} is no range of whole cells");
            usize::try_from(offset / self.unit).unwrap()
        };
        (cell(range.start()), cell(range.end()))
    }

    /// Does `op` here and in `memblock`, and looks whether both are the same afterwards.
    pub(crate) fn step<A: PhysMap>(&mut self, memblock: &mut Memblock<A>, op: Op) {
        let expected = self.clone().apply(op, None);
        let touched = match op {
            Op::Add(a, b) | Op::AddOn(a, b, ..) | Op::Remove(a, b) | Op::Reserve(a, b, _) | Op::Free(a, b) => (a, b),
            Op::FreeAllocated(a, b) | Op::Node(a, b, _) | Op::Mark(a, b, _) | Op::Clear(a, b, _) => (a, b),
            Op::Alloc(ask) => expected.place.map_or((0, 0), |place| (place, place + ask.size)),
            _ => (0, 0),
        };
        let result = self.perform(memblock, op);
        // Room is made first, so arrays move before anything else changes.
        self.follow_tables(memblock, touched);
        if matches!(result, Err(MemblockError::Full { .. })) {
            assert!(self.cells.len() > 200, "{op:?} needs no larger array");
        } else {
            let place = expected.place.map(|place| self.range(place, place).start());
            let in_use = expected.in_use.map(|(a, b)| MemblockError::InUse(self.range(a, b)));
            assert_eq!(result, in_use.map_or(Ok(place), Err), "{op:?}");
            self.apply(op, expected.place);
        }
        self.check(memblock);
    }

    /// Arrays move as they please, but only to where nothing was and nothing is to be.
    fn follow_tables<A: PhysMap>(&mut self, memblock: &Memblock<A>, touched: (usize, usize)) {
        let mut tables = vec![false; self.cells.len()];
        for region in memblock.reserved().iter().filter(|region| region.owner().as_str() == "memblock regions") {
            let (start, end) = self.cells_of(region.range());
            tables[start..end].fill(true);
        }
        for (at, is_table) in tables.into_iter().enumerate() {
            let was_table = self.cells[at].owner == Some(TABLES);
            if is_table && !was_table {
                assert!(self.cells[at].free().is_some(), "an array lies where something was");
                assert!(at < touched.0 || at >= touched.1, "an array lies in what was being changed");
                self.cells[at].owner = Some(TABLES);
            } else if was_table && !is_table {
                self.cells[at].owner = None;
            }
        }
    }

    fn perform<A: PhysMap>(&self, memblock: &mut Memblock<A>, op: Op) -> Result<Option<PhysAddr>, MemblockError> {
        let flags = RegionFlags::from_bits_retain;
        match op {
            Op::Add(a, b) => memblock.add(self.range(a, b)),
            Op::AddOn(a, b, node, bits) => memblock.add_on(self.range(a, b), node.map(NodeId::new), flags(bits)),
            Op::Remove(a, b) => memblock.remove(self.range(a, b)),
            Op::Reserve(a, b, owner) => memblock.reserve(self.range(a, b), Owner::new(&owner.to_string())),
            Op::Free(a, b) => memblock.free(self.range(a, b)),
            Op::FreeAllocated(a, b) if self.cells[a..b].iter().all(|cell| cell.owner != Some(TABLES)) => {
                // SAFETY: nobody uses what was allocated, and no array lies there.
                unsafe { memblock.free_allocated(self.range(a, b)) }
            }
            Op::FreeAllocated(..) => Ok(()),
            Op::Node(a, b, node) => memblock.set_node(self.range(a, b), NodeId::new(node)),
            Op::ClearNodes => {
                memblock.clear_nodes();
                Ok(())
            }
            Op::Mark(a, b, bits) => memblock.mark(self.range(a, b), flags(bits)),
            Op::Clear(a, b, bits) => memblock.clear(self.range(a, b), flags(bits)),
            Op::Trim(shift) => {
                memblock.trim(self.unit << shift);
                Ok(())
            }
            Op::Cap(a, b) => memblock.cap(self.range(a, b)),
            Op::Limit(count) => memblock.enforce_limit(count as u64 * self.unit),
            Op::MapLimit(count) => memblock.mem_limit_remove_map(count as u64 * self.unit),
            Op::Direction(direction) => {
                memblock.set_direction(direction);
                Ok(())
            }
            Op::Movable(movable) => {
                memblock.set_movable_node(movable);
                Ok(())
            }
            Op::Alloc(ask) => {
                let request = Request {
                    size: ask.size as u64 * self.unit,
                    align: self.unit << ask.align,
                    within: self.range(ask.within.0, ask.within.1),
                    node: ask.node,
                    owner: Owner::new("allocated"),
                };
                let from = self.range(ask.from, ask.from).start();
                return match memblock.alloc_from(request, from) {
                    Ok(range) => {
                        assert_eq!(range.size(), request.size);
                        Ok(Some(range.start()))
                    }
                    Err(OutOfMemory::Booking(error)) => Err(error),
                    Err(OutOfMemory::NoRange { size, align, within, node }) => {
                        assert_eq!((size, align, node), (request.size, request.align, request.node));
                        assert_eq!(within, request.within);
                        Ok(None)
                    }
                    Err(error) => panic!("{error}"),
                };
            }
        }?;
        Ok(None)
    }

    /// Makes the change. An allocation takes `place`, or the best one when none is given.
    fn apply(&mut self, op: Op, place: Option<usize>) -> Expected {
        let (direction, movable) = (self.direction, self.movable);
        let mut expected = Expected { place: None, in_use: None };
        match op {
            Op::Add(a, b) => self.each(a, b, |cell| cell.memory = cell.memory.or(Some((None, 0)))),
            Op::AddOn(a, b, node, flags) => self.each(a, b, |cell| cell.memory = cell.memory.or(Some((node, flags)))),
            Op::Remove(a, b) => self.each(a, b, |cell| cell.memory = None),
            Op::Reserve(a, b, owner) => self.each(a, b, |cell| cell.owner = cell.owner.or(Some(owner))),
            Op::Free(a, b) => match (a..b).find(|&at| self.cells[at].is_held()) {
                // The first region that is held, as far as it lies in the range.
                Some(first) => {
                    let same = (first..b).take_while(|&at| self.cells[at].owner == self.cells[first].owner).count();
                    expected.in_use = Some((first, first + same));
                }
                None => self.each(a, b, |cell| cell.owner = None),
            },
            Op::FreeAllocated(a, b) if self.cells[a..b].iter().all(|cell| cell.owner != Some(TABLES)) => {
                self.each(a, b, |cell| cell.owner = None);
            }
            Op::FreeAllocated(..) => {}
            Op::Node(a, b, node) => self.each_memory(a, b, |memory| memory.0 = Some(node)),
            Op::ClearNodes => self.each_memory(0, self.cells.len(), |memory| memory.0 = None),
            Op::Mark(a, b, flags) => self.each_memory(a, b, |memory| memory.1 |= flags),
            Op::Clear(a, b, flags) => self.each_memory(a, b, |memory| memory.1 &= !flags),
            Op::Trim(shift) => self.trim(1 << shift),
            Op::Cap(a, b) if a < b && self.cells.iter().any(|cell| cell.memory.is_some()) => self.keep(a, b, NOMAP),
            Op::Cap(..) => {}
            Op::Limit(count) => self.limit(count, 0),
            Op::MapLimit(count) => self.limit(count, NOMAP),
            Op::Direction(direction) => self.direction = direction,
            Op::Movable(movable) => self.movable = movable,
            Op::Alloc(ask) => {
                expected.place = place.or_else(|| self.place(ask, direction, movable));
                if let Some(place) = expected.place {
                    self.each(place, place + ask.size, |cell| cell.owner = Some(ALLOCATED));
                }
            }
        }
        expected
    }

    fn each(&mut self, start: usize, end: usize, change: impl FnMut(&mut Cell)) {
        self.cells[start..end].iter_mut().for_each(change);
    }

    fn each_memory(&mut self, start: usize, end: usize, change: impl FnMut(&mut (Option<u16>, u32))) {
        self.cells[start..end].iter_mut().filter_map(|cell| cell.memory.as_mut()).for_each(change);
    }

    /// Each run of equal memory loses its ragged ends.
    fn trim(&mut self, align: usize) {
        let before = self.cells.clone();
        let mut start = 0;
        while start < before.len() {
            let run = before[start..].iter().take_while(|cell| cell.memory == before[start].memory).count();
            let end = start + run;
            let (first, last) = (start.next_multiple_of(align), end / align * align);
            for at in (start..end).filter(|at| *at < first || *at >= last) {
                self.cells[at].memory = None;
            }
            start = end;
        }
    }

    fn keep(&mut self, start: usize, end: usize, flags_to_keep: u32) {
        for (at, cell) in self.cells.iter_mut().enumerate() {
            if (start..end).contains(&at) || cell.is_held() {
                continue;
            }
            cell.memory = cell.memory.filter(|(_, flags)| flags & flags_to_keep != 0);
            cell.owner = None;
        }
    }

    fn limit(&mut self, count: usize, flags_to_keep: u32) {
        let cells = self.cells.iter().enumerate().filter(|(_, cell)| cell.memory.is_some());
        let last = count.checked_sub(1).and_then(|skipped| cells.map(|(at, _)| at).nth(skipped));
        if let Some(last) = last {
            self.keep(0, last + 1, flags_to_keep);
        }
    }

    /// Tries every place in the order in which they are wanted.
    fn place(&self, ask: Ask, direction: Direction, movable: MovableNode) -> Option<usize> {
        let (low, high) = ask.within;
        let mirrored = self.cells.iter().any(|cell| cell.memory.is_some_and(|(_, flags)| flags & MIRROR != 0));
        let nodes = match ask.node {
            NodeWish::Any => vec![None],
            NodeWish::Prefer(node) => vec![Some(node.as_u16()), None],
            NodeWish::Only(node) => vec![Some(node.as_u16())],
        };
        for floor in [low.max(ask.from), low] {
            for flags in if mirrored { vec![MIRROR, 0] } else { vec![0] } {
                for node in &nodes {
                    let fits = |start: &usize| {
                        let part = &self.cells[*start..*start + ask.size];
                        start.is_multiple_of(1 << ask.align)
                            && part.iter().all(|cell| {
                                cell.memory == part[0].memory
                                    && cell.free().is_some_and(|(on, has)| {
                                        (node.is_none() || on == *node)
                                            && has & flags == flags
                                            && (movable == MovableNode::Ignore || has & HOTPLUG == 0)
                                    })
                            })
                    };
                    let mut starts = floor..(high + 1).saturating_sub(ask.size);
                    let found = match direction {
                        Direction::TopDown => starts.rev().find(fits),
                        Direction::BottomUp => starts.find(fits),
                    };
                    if found.is_some() {
                        return found;
                    }
                }
            }
        }
        None
    }

    /// Whether memblock says the same of every cell, in the fewest regions.
    pub(crate) fn check<A: PhysMap>(&self, memblock: &Memblock<A>) {
        let mut at = 0;
        let mut last = None;
        for region in memblock.memory() {
            let (start, end) = self.cells_of(region.range());
            let traits = Some((region.node().map(NodeId::as_u16), region.flags().bits()));
            assert!(at <= start && start < end, "regions are sorted, disjoint and not empty");
            assert!(at < start || last != traits, "neighbours that agree are one region");
            assert!(self.cells[at..start].iter().all(|cell| cell.memory.is_none()));
            assert!(self.cells[start..end].iter().all(|cell| cell.memory == traits));
            (at, last) = (end, traits);
        }
        assert!(self.cells[at..].iter().all(|cell| cell.memory.is_none()));
        let (mut at, mut last) = (0, None);
        for region in memblock.reserved() {
            let (start, end) = self.cells_of(region.range());
            let owner = match region.owner().as_str() {
                "allocated" => ALLOCATED,
                "memblock regions" => TABLES,
                number => number.parse().unwrap(),
            };
            assert!(at <= start && start < end, "regions are sorted, disjoint and not empty");
            assert!(at < start || last != Some(owner), "neighbours that agree are one region");
            assert!(self.cells[at..start].iter().all(|cell| cell.owner.is_none()));
            assert!(self.cells[start..end].iter().all(|cell| cell.owner == Some(owner)));
            (at, last) = (end, Some(owner));
        }
        assert!(self.cells[at..].iter().all(|cell| cell.owner.is_none()));
        let count = |is: fn(&Cell) -> bool| self.cells.iter().filter(|cell| is(cell)).count() as u64 * self.unit;
        assert_eq!(memblock.memory_size(), count(|cell| cell.memory.is_some()));
        assert_eq!(memblock.reserved_size(), count(|cell| cell.owner.is_some()));
        self.check_free(memblock, 0, self.cells.len(), None);
    }

    /// Whether free ranges in `start..end` on `node` are the same from below, from above and from both ends at once.
    pub(crate) fn check_free<A: PhysMap>(&self, memblock: &Memblock<A>, start: usize, end: usize, node: Option<u16>) {
        let mut expected = Vec::new();
        let mut at = start;
        while at < end {
            let run = self.cells[at..end].iter().take_while(|cell| **cell == self.cells[at]).count();
            if let Some((on, _)) = self.cells[at].free().filter(|(on, _)| node.is_none() || *on == node) {
                expected.push((self.range(at, at + run), on.map(NodeId::new)));
            }
            at += run;
        }
        let within = self.range(start, end);
        let ranges = match node {
            None => memblock.free_ranges_within(within),
            Some(node) => memblock.free_ranges_on(within, NodeId::new(node)),
        };
        assert!(ranges.clone().map(|free| (free.range, free.node)).eq(expected.iter().copied()));
        assert!(ranges.clone().rev().map(|free| (free.range, free.node)).eq(expected.iter().rev().copied()));
        let (mut ranges, mut left) = (ranges, expected.as_slice());
        while let Some((first, rest)) = left.split_first() {
            assert_eq!(ranges.next().map(|free| free.range), Some(first.0));
            left = rest;
            if let Some((last, rest)) = left.split_last() {
                assert_eq!(ranges.next_back().map(|free| free.range), Some(last.0));
                left = rest;
            }
        }
        assert_eq!((ranges.next(), ranges.next_back()), (None, None));
    }
}

/// What a change should answer.
struct Expected {
    place: Option<usize>,
    in_use: Option<(usize, usize)>,
}
