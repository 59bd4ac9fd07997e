//! What lies where in physical address space: the tree behind `iomem`.
//!
//! Memory, firmware's ranges, the kernel's sections, reservations and devices, each inside what contains it. The
//! kernel fills it once memory is known ([`ResourceTree::describe`]) and adds devices as it finds them; `iomem` and
//! `why` read it.
//!
//! The tree is one array in depth-first order: sorted by start, the wider of two that start together first. So a
//! parent stands before its children, and a range's place says where it hangs. Ranges nest or lie apart; one that
//! would cut across another is refused. Storage is the caller's: a [`BootSlice`] in a
//! kernel, a vector on the host.
//!
//! Costs: O(n) to insert, O(log n) to find where a range goes; 72 bytes a range. Linux: kernel/resource.c
//! (`insert_resource`, `r_show`), `e820__reserve_resources`, `request_standard_resources` (arm64).

#![forbid(unsafe_code)]

use crate::addr::{PhysAddr, PhysRange};
use crate::machine::{MachineMemory, MemoryKind, Owner};
use crate::memblock::{BootSlice, Regions};
use core::cmp::Reverse;
use core::fmt;
use core::ops::DerefMut;

/// What a range is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResourceKind {
    /// RAM that the kernel manages.
    Ram,
    /// What the firmware keeps, or says is no RAM.
    Firmware,
    /// A part of the kernel itself.
    Kernel,
    /// RAM that somebody holds.
    Reserved,
    /// A device's registers or windows.
    Device,
}

/// A range with a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resource {
    range: PhysRange,
    name: Owner,
    kind: ResourceKind,
    depth: u8,
}

impl Resource {
    /// The range.
    #[must_use]
    pub const fn range(&self) -> PhysRange {
        self.range
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> Owner {
        self.name
    }

    /// What it is.
    #[must_use]
    pub const fn kind(&self) -> ResourceKind {
        self.kind
    }

    /// How many other ranges it lies in.
    #[must_use]
    pub const fn depth(&self) -> usize {
        self.depth as usize
    }

    /// What fills storage before the tree uses it.
    #[must_use]
    pub fn unused() -> Self {
        Self { range: PhysRange::EMPTY, name: Owner::default(), kind: ResourceKind::Reserved, depth: 0 }
    }

    fn key(&self) -> (PhysAddr, Reverse<PhysAddr>) {
        (self.range.start(), Reverse(self.range.end()))
    }
}

/// Why a range was not inserted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResourceError {
    /// It cuts across this one: neither contains the other.
    Overlaps(PhysRange),
    /// It has no byte.
    Empty,
    /// The storage is full.
    Full,
    /// It would lie in more than 255 others, or push one that deep.
    TooDeep,
}

impl fmt::Display for ResourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overlaps(range) => write!(f, "it cuts across {range}"),
            Self::Empty => f.write_str("an empty range"),
            Self::Full => f.write_str("no room for another range"),
            Self::TooDeep => f.write_str("ranges are nested too deeply"),
        }
    }
}

impl core::error::Error for ResourceError {}

/// Ranges inside ranges, in storage `S`.
#[derive(Debug)]
pub struct ResourceTree<S> {
    storage: S,
    used: usize,
}

/// A tree in boot memory.
pub type Resources<A> = ResourceTree<BootSlice<A, Resource>>;

impl<S: DerefMut<Target = [Resource]>> ResourceTree<S> {
    /// An empty tree that holds at most as many ranges as `storage`, whatever is in there now.
    pub fn new(storage: S) -> Self {
        Self { storage, used: 0 }
    }

    /// The ranges, depth-first: each before what lies in it, by address.
    #[must_use]
    pub fn resources(&self) -> &[Resource] {
        self.storage.get(..self.used).unwrap_or_default()
    }

    /// The ranges that contain `address`, from the outermost in.
    pub fn find(&self, address: PhysAddr) -> impl Iterator<Item = &Resource> {
        let starting_below = self.resources().partition_point(|resource| resource.range.start() <= address);
        self.resources().iter().take(starting_below).filter(move |resource| resource.range.contains(address))
    }

    /// Inserts a range: into those that contain it, around those that it contains. Of two equal ones the first is the
    /// outer one.
    ///
    /// # Errors
    /// [`ResourceError`]; the tree is then as it was.
    pub fn insert(&mut self, range: PhysRange, name: Owner, kind: ResourceKind) -> Result<(), ResourceError> {
        if range.is_empty() {
            return Err(ResourceError::Empty);
        }
        let mut new = Resource { range, name, kind, depth: 0 };
        let at = self.resources().partition_point(|resource| resource.key() <= new.key());
        let (before, after) = self.resources().split_at_checked(at).ok_or(ResourceError::Full)?;
        for outer in before.iter().filter(|outer| outer.range.overlaps(range)) {
            if !outer.range.contains_range(range) {
                return Err(ResourceError::Overlaps(outer.range));
            }
            new.depth = new.depth.checked_add(1).ok_or(ResourceError::TooDeep)?;
        }
        let inside = after.iter().take_while(|inner| inner.range.start() < range.end());
        for inner in inside.clone() {
            if !range.contains_range(inner.range) {
                return Err(ResourceError::Overlaps(inner.range));
            }
            inner.depth.checked_add(1).ok_or(ResourceError::TooDeep)?;
        }
        let inside = inside.count();
        let used = self.used;
        let room = self.storage.get_mut(..=used).ok_or(ResourceError::Full)?;
        room.copy_within(at..used, at + 1);
        self.used += 1;
        let placed = room.get_mut(at..=at + inside).unwrap_or_default();
        if let Some((slot, inner)) = placed.split_first_mut() {
            *slot = new;
            inner.iter_mut().for_each(|inner| inner.depth += 1);
        }
        Ok(())
    }

    /// Inserts the parts of a range that lie in one of the outermost ranges, each into its own. What lies outside all
    /// of them is left out.
    ///
    /// # Errors
    /// [`ResourceError`]; parts at lower addresses may be in the tree then.
    pub fn insert_within(&mut self, range: PhysRange, name: Owner, kind: ResourceKind) -> Result<(), ResourceError> {
        let mut cursor = range.start();
        while cursor < range.end() {
            let outermost = self.resources().iter().filter(|resource| resource.depth == 0);
            let mut above = outermost.filter(|resource| resource.range.end() > cursor);
            let Some(outer) = above.next().filter(|outer| outer.range.start() < range.end()) else { break };
            let part = outer.range.intersection(range);
            cursor = part.end();
            self.insert(part, name, kind)?;
        }
        Ok(())
    }

    /// Inserts the parts of a range that lie in no other one, as outermost ranges.
    ///
    /// # Errors
    /// [`ResourceError`]; parts at lower addresses may be in the tree then.
    pub fn insert_uncovered(&mut self, range: PhysRange, name: Owner, kind: ResourceKind) -> Result<(), ResourceError> {
        let mut cursor = range.start();
        while cursor < range.end() {
            let outermost = self.resources().iter().filter(|resource| resource.depth == 0);
            let next = outermost.map(|resource| resource.range).find(|next| next.end() > cursor);
            let gap = PhysRange::new(cursor, next.map_or(range.end(), |next| next.start().min(range.end())));
            cursor = next.map_or(range.end(), |next| next.end());
            if !gap.is_empty() {
                self.insert(gap, name, kind)?;
            }
        }
        Ok(())
    }

    /// Inserts what the firmware says of address space, the stricter statement where two meet, and inside it what is
    /// reserved.
    ///
    /// # Errors
    /// [`ResourceError`]: storage for every bank, twice where banks overlap, and for every reservation is enough.
    pub fn describe(&mut self, machine: &MachineMemory<'_>, reserved: Regions<'_>) -> Result<(), ResourceError> {
        for usable in [false, true] {
            for bank in machine.banks.iter().filter(|bank| (bank.kind == MemoryKind::Usable) == usable) {
                let kind = if usable { ResourceKind::Ram } else { ResourceKind::Firmware };
                self.insert_uncovered(bank.range, Owner::new(bank_name(bank.kind)), kind)?;
            }
        }
        reserved
            .iter()
            .try_for_each(|region| self.insert_within(region.range(), region.owner(), ResourceKind::Reserved))
    }
}

/// Linux's words for kinds of memory in /proc/iomem.
const fn bank_name(kind: MemoryKind) -> &'static str {
    match kind {
        MemoryKind::Usable => "System RAM",
        MemoryKind::Reserved => "Reserved",
        MemoryKind::AcpiData => "ACPI Tables",
        MemoryKind::AcpiNvs => "ACPI Non-volatile Storage",
        MemoryKind::Unusable => "Unusable memory",
        MemoryKind::Persistent => "Persistent Memory",
        MemoryKind::LegacyPersistent => "Persistent Memory (legacy)",
        MemoryKind::SoftReserved => "Soft Reserved",
        MemoryKind::Other(_) => "Unknown E820 type",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;
    use std::string::String;
    use std::vec;
    use std::vec::Vec;

    fn range(start: u64, end: u64) -> PhysRange {
        PhysRange::new(PhysAddr::new(start), PhysAddr::new(end))
    }

    fn tree(size: usize) -> ResourceTree<Vec<Resource>> {
        ResourceTree::new(vec![Resource::unused(); size])
    }

    fn insert(tree: &mut ResourceTree<Vec<Resource>>, start: u64, end: u64, name: &str) -> Result<(), ResourceError> {
        tree.insert(range(start, end), Owner::new(name), ResourceKind::Ram)
    }

    fn shown(tree: &ResourceTree<Vec<Resource>>) -> Vec<String> {
        tree.resources().iter().map(|r| format!("{}{}", "  ".repeat(r.depth()), r.name())).collect()
    }

    #[test]
    fn ranges_hang_in_what_contains_them_in_any_order_of_insertion() {
        let parts = [(0, 100, "a"), (10, 50, "b"), (10, 20, "c"), (50, 60, "d"), (100, 110, "e"), (12, 13, "f")];
        let expected = ["a", "  b", "    c", "      f", "  d", "e"];
        // All 720 orders; one in 60 where each is slow.
        for mut order in (0..720_usize).step_by(if cfg!(miri) { 60 } else { 1 }) {
            let mut left = parts.to_vec();
            let mut tree = tree(6);
            while !left.is_empty() {
                let (start, end, name) = left.remove(order % left.len());
                order /= left.len() + 1;
                insert(&mut tree, start, end, name).unwrap();
            }
            assert_eq!(shown(&tree), expected);
        }
    }

    #[test]
    fn what_cannot_nest_is_refused_and_changes_nothing() {
        let mut tree = tree(3);
        insert(&mut tree, 10, 20, "a").unwrap();
        insert(&mut tree, 30, 40, "b").unwrap();
        assert_eq!(insert(&mut tree, 15, 25, "x"), Err(ResourceError::Overlaps(range(10, 20))));
        assert_eq!(insert(&mut tree, 5, 15, "x"), Err(ResourceError::Overlaps(range(10, 20))));
        assert_eq!(insert(&mut tree, 0, 35, "x"), Err(ResourceError::Overlaps(range(30, 40))));
        assert_eq!(insert(&mut tree, 5, 5, "x"), Err(ResourceError::Empty));
        insert(&mut tree, 10, 20, "inner").unwrap();
        assert_eq!(insert(&mut tree, 50, 60, "x"), Err(ResourceError::Full));
        assert_eq!(shown(&tree), ["a", "  inner", "b"]);
        let path: Vec<_> = tree.find(PhysAddr::new(15)).map(|r| r.name()).collect();
        assert_eq!(path, [Owner::new("a"), Owner::new("inner")]);
        assert_eq!(tree.find(PhysAddr::new(20)).count(), 0);
    }

    #[test]
    fn a_reservation_across_two_banks_is_cut_at_their_ends() {
        let mut tree = tree(8);
        insert(&mut tree, 10, 20, "low").unwrap();
        insert(&mut tree, 30, 40, "high").unwrap();
        tree.insert_within(range(0, 35), Owner::new("held"), ResourceKind::Reserved).unwrap();
        assert_eq!(shown(&tree), ["low", "  held", "high", "  held"]);
        tree.insert_uncovered(range(0, 50), Owner::new("gap"), ResourceKind::Firmware).unwrap();
        assert_eq!(shown(&tree), ["gap", "low", "  held", "gap", "high", "  held", "gap"]);
    }
}
