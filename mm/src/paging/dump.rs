//! All mappings of a tree, as runs: what ptdump prints, and the check that nothing is writable and executable.
//!
//! A run is as long as neighbouring leaves have one size and mapping and their memory goes on without a gap, so the
//! direct map of a machine is a handful of runs. The walk reads every entry of every table once: O(tables).
//!
//! Linux: `mm/ptdump.c`, `ptdump_check_wx`, `note_page` in the arches' `dump_pagetables.c` and `ptdump.c`.

use crate::addr::{PhysAddr, VirtAddr};
use crate::arch::{PageFormat, PhysMap};
use crate::layout::{Size, VirtRange};
use crate::paging::mapping::{Entry, Level, RawMapping};
use crate::paging::tables::{PageTables, Table, root_address};
use core::fmt;

/// Neighbouring leaves of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// The addresses.
    pub virt: VirtRange,
    /// The memory behind the first of them.
    pub phys: PhysAddr,
    /// The level of the leaves.
    pub level: Level,
    /// Bytes of each leaf.
    pub leaf_bytes: u64,
    /// How they are mapped.
    pub mapping: RawMapping,
}

impl Run {
    /// How many leaves.
    #[must_use]
    pub const fn leaves(&self) -> u64 {
        self.virt.size().div_ceil(self.leaf_bytes)
    }

    /// Adds the run that follows, if it is more of the same.
    fn join(&mut self, next: &Self) -> bool {
        let joins = self.virt.end() == next.virt.start()
            && self.phys.checked_add(self.virt.size()) == Some(next.phys)
            && self.level == next.level
            && self.mapping == next.mapping;
        if joins {
            self.virt = VirtRange::new(self.virt.start(), next.virt.end());
        }
        joins
    }
}

/// `0xffff800000000000-0xffff800040000000     1 GiB in   2 MiB rw- normal -> 0x0`
impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { virt, phys, leaf_bytes, mapping, .. } = self;
        write!(f, "{virt} {} in {} {mapping} -> {phys:#x}", Size(virt.size()), Size(*leaf_bytes))
    }
}

/// Runs on their way to a visitor.
struct Runs<'v> {
    open: Option<Run>,
    visit: &'v mut dyn FnMut(Run),
}

impl Runs<'_> {
    fn leaf(&mut self, leaf: Run) {
        if self.open.as_mut().is_some_and(|open| open.join(&leaf)) {
            return;
        }
        if let Some(done) = self.open.replace(leaf) {
            (self.visit)(done);
        }
    }
}

impl<A: PhysMap + PageFormat> PageTables<A> {
    /// Shows every run of the tree, by ascending address.
    pub fn leaves(&self, visit: &mut dyn FnMut(Run)) {
        let mut runs = Runs { open: None, visit };
        let top = Level::top::<A>();
        for index in 0..top.entries::<A>() {
            Self::show(self.root_table(), top, index, root_address::<A>(index), &mut runs);
        }
        if let Some(last) = runs.open.take() {
            (runs.visit)(last);
        }
    }

    /// The first run that is writable and executable. `None` is what a kernel wants.
    #[must_use]
    pub fn find_writable_executable(&self) -> Option<Run> {
        let mut found = None;
        self.leaves(&mut |run| {
            if run.mapping.writable && run.mapping.executable && found.is_none() {
                found = Some(run);
            }
        });
        found
    }

    fn show(table: Table<A>, level: Level, index: usize, at: VirtAddr, runs: &mut Runs<'_>) {
        match (table.entry(level, index), level.below()) {
            (Entry::Absent, _) | (Entry::Table(_), None) => {}
            (Entry::Table(next), Some(below)) => {
                let next = table.child(next);
                for index in 0..below.entries::<A>() {
                    let at = at.saturating_add((index as u64) << below.shift::<A>());
                    Self::show(next, below, index, at, runs);
                }
            }
            (Entry::Leaf { address, mapping }, _) => {
                let leaf_bytes = level.span::<A>();
                let virt = VirtRange::new(at, at.saturating_add(leaf_bytes));
                runs.leaf(Run { virt, phys: address, level, leaf_bytes, mapping });
            }
        }
    }
}
