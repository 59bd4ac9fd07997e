//! Two trees that share tables.
//!
//! The final tables are built while the boot tables are live, and two things must be in both: the fixmap, whose tables
//! do not move ([`PageTables::share`]), and the part of the direct map that is built already, because the next tables
//! are written through it (`graft`, for [`direct`](crate::paging::direct)). Sharing costs one copied entry for each
//! table that becomes common, however much it maps.

use crate::addr::{PhysAddr, VirtAddr};
use crate::arch::{PageFormat, PhysMap};
use crate::layout::VirtRange;
use crate::paging::map::MapError;
use crate::paging::mapping::{Entry, Level, Mapping};
use crate::paging::source::FrameSource;
use crate::paging::tables::{PageTables, Table, translates};

impl<A: PhysMap + PageFormat> PageTables<A> {
    /// Makes the lowest tables that translate `range` in `from` those of this tree too, so that an entry written in
    /// one appears in both. Where `from` has none, nothing happens. `frames` gives the tables above them.
    ///
    /// # Errors
    /// [`MapError::AlreadyMapped`] when this tree has other tables there, [`MapError::OutOfFrames`],
    /// [`MapError::OutsideTables`].
    pub fn share(&mut self, from: &Self, range: VirtRange, frames: &mut impl FrameSource) -> Result<(), MapError> {
        let above = Level::new(1);
        let mut at = range.start().align_down(above.span::<A>());
        while at < range.end() {
            if !translates::<A>(at) {
                return Err(MapError::OutsideTables { at: range.start(), size: range.size() });
            }
            let index = above.index::<A>(at);
            let theirs = from.table_at(above, at).map(|table| (table, table.entry(above, index)));
            if let Some((table, Entry::Table(_))) = theirs {
                let entry = table.get(index);
                let ours = self.make_table_at(above, at, frames)?;
                match ours.get(index) {
                    0 => ours.copy(index, entry),
                    present if present == entry => {}
                    _ => return Err(MapError::AlreadyMapped { at }),
                }
            }
            match at.checked_add(above.span::<A>()) {
                Some(next) => at = next,
                None => break,
            }
        }
        self.access.publish();
        Ok(())
    }

    /// The table at `level` that translates `at`.
    pub(super) fn table_at(&self, level: Level, at: VirtAddr) -> Option<Table<A>> {
        let mut table = self.root_table();
        let mut current = Level::top::<A>();
        while current > level {
            let Entry::Table(next) = table.entry(current, current.index::<A>(at)) else { return None };
            table = table.child(next);
            current = current.below()?;
        }
        Some(table)
    }

    /// The table at `level` that translates `at`, made where there is none.
    fn make_table_at(
        &mut self,
        level: Level,
        at: VirtAddr,
        frames: &mut impl FrameSource,
    ) -> Result<Table<A>, MapError> {
        let mut table = self.root_table();
        let mut current = Level::top::<A>();
        while current > level {
            let index = current.index::<A>(at);
            table = match table.entry(current, index) {
                Entry::Table(next) => table.child(next),
                Entry::Leaf { .. } => return Err(MapError::AlreadyMapped { at }),
                Entry::Absent => {
                    let frame = frames.table_frame(self.root).ok_or(MapError::OutOfFrames { at })?;
                    let next = Table::zeroed(self.access, frame);
                    table.link(index, next);
                    next
                }
            };
            match current.below() {
                Some(below) => current = below,
                None => break,
            }
        }
        Ok(table)
    }

    /// Makes everything that `built` maps in `range` reachable through this tree too, which maps parts of it already,
    /// in its own way. Needs no frame: where this tree has nothing, it takes over the entry, with all below it, also
    /// what will come there; where it has a table and `built` a leaf, the absent entries of the table become parts of
    /// that leaf.
    ///
    /// Both trees map an address of the range to the same memory, or not at all.
    pub(super) fn graft(&mut self, built: &Self, range: VirtRange) {
        if !range.is_empty() {
            self.graft_table(self.root_table(), built.root_table(), Level::top::<A>(), range);
            self.access.publish();
        }
    }

    fn graft_table(&self, live: Table<A>, built: Table<A>, level: Level, range: VirtRange) {
        for (index, part) in parts::<A>(level, range) {
            let entry = built.get(index);
            let (theirs, ours) = (built.entry(level, index), live.entry(level, index));
            match (theirs, ours, level.below()) {
                (Entry::Absent, ..) | (_, Entry::Leaf { .. }, _) => {}
                (_, Entry::Absent, _) => live.copy(index, entry),
                (Entry::Table(built), Entry::Table(live_next), Some(below)) => {
                    if built != live_next {
                        self.graft_table(live.child(live_next), live.child(built), below, part);
                    }
                }
                (Entry::Leaf { address, mapping }, Entry::Table(next), Some(below)) => {
                    if let Some(mapping) = mapping.checked() {
                        let to = address.saturating_add(part.start().as_u64() & (level.span::<A>() - 1));
                        self.spread(live.child(next), below, part, to, mapping);
                    }
                }
                (_, Entry::Table(_), None) => {}
            }
        }
    }

    /// Fills the absent entries of a table for `range`, which a larger leaf maps to the memory from `to`.
    fn spread(&self, live: Table<A>, level: Level, range: VirtRange, to: PhysAddr, mapping: Mapping) {
        for (index, part) in parts::<A>(level, range) {
            let to = to.saturating_add(part.start().as_u64() - range.start().as_u64());
            match (live.entry(level, index), level.below()) {
                (Entry::Absent, _) => {
                    let leaf = to.align_down(level.span::<A>());
                    live.set(index, self.access.leaf(leaf, level, mapping));
                }
                (Entry::Table(next), Some(below)) => self.spread(live.child(next), below, part, to, mapping),
                (Entry::Leaf { .. }, _) | (Entry::Table(_), None) => {}
            }
        }
    }
}

/// The entries of one table at `level` that translate `range`, each with the part of the range that it spans. The range
/// lies in what the table translates.
fn parts<A: PageFormat>(level: Level, range: VirtRange) -> impl Iterator<Item = (usize, VirtRange)> {
    let mut at = range.start();
    core::iter::from_fn(move || {
        if at >= range.end() {
            return None;
        }
        let start = at;
        let next = at.align_down(level.span::<A>()).saturating_add(level.span::<A>());
        at = next.min(range.end());
        Some((level.index::<A>(start), VirtRange::new(start, at)))
    })
}
