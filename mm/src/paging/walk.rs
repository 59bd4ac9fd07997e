//! One address through the tables, level by level.
//!
//! [`PageTables::translate`] answers what an address means; [`PageTables::walk`] shows the way there, and prints as the
//! page-table walk of a fault report. Both only read. They trust the tables: a tree with a broken pointer in it takes
//! them where it points.
//!
//! Linux: `dump_pagetable` in `arch/x86/mm/fault.c`, `show_pte` in `arch/arm64/mm/fault.c`.

use crate::addr::{PhysAddr, VirtAddr};
use crate::arch::{PageFormat, PhysMap};
use crate::paging::mapping::{Entry, Level, RawMapping};
use crate::paging::tables::{PageTables, translates};
use arrayvec::ArrayVec;
use core::fmt;

/// No hardware has more levels.
const MOST_LEVELS: usize = 5;

/// What the tables say of one address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Translation {
    /// The physical address of the byte.
    pub address: PhysAddr,
    /// How it is mapped.
    pub mapping: RawMapping,
    /// Where the leaf stands.
    pub level: Level,
}

/// One entry on the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// The level of the table.
    pub level: Level,
    /// Linux's name of the level.
    pub name: &'static str,
    /// Where the table lies.
    pub table: PhysAddr,
    /// Which of its entries.
    pub index: usize,
    /// The entry's bits.
    pub bits: u64,
    /// What they say.
    pub entry: Entry,
}

/// The way of one address through the tables. Its last step is a leaf or absent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Walk {
    address: VirtAddr,
    root: PhysAddr,
    steps: ArrayVec<Step, MOST_LEVELS>,
}

impl Walk {
    /// The entries from the root down; none when these tables do not translate the address.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }
}

impl<A: PhysMap + PageFormat> PageTables<A> {
    /// The entries that lead to `address`.
    #[must_use]
    pub fn walk(&self, address: VirtAddr) -> Walk {
        let mut steps = ArrayVec::new();
        if translates::<A>(address) {
            let mut table = self.root_table();
            let mut at = Some(Level::top::<A>());
            while let Some(level) = at {
                let index = level.index::<A>(address);
                let bits = table.get(index);
                let entry = self.access.decode(bits, level);
                let step = Step { level, name: level.name::<A>(), table: table.frame(), index, bits, entry };
                if steps.try_push(step).is_err() {
                    break;
                }
                let Entry::Table(next) = entry else { break };
                table = table.child(next);
                at = level.below();
            }
        }
        Walk { address, root: self.root, steps }
    }

    /// What `address` means, or `None` when nothing is mapped there.
    #[must_use]
    pub fn translate(&self, address: VirtAddr) -> Option<Translation> {
        if !translates::<A>(address) {
            return None;
        }
        let mut table = self.root_table();
        let mut level = Level::top::<A>();
        loop {
            match table.entry(level, level.index::<A>(address)) {
                Entry::Absent => return None,
                Entry::Table(next) => {
                    table = table.child(next);
                    level = level.below()?;
                }
                Entry::Leaf { address: start, mapping } => {
                    let offset = address.as_u64() & (level.span::<A>() - 1);
                    return Some(Translation { address: start.saturating_add(offset), mapping, level });
                }
            }
        }
    }
}

/// One line a level, without a newline at the end:
///
/// ```text
/// page-table walk of 0xffff800000100000, root 0x201000
///   pgd[256] 0x0000000000202003 table at 0x202000
///   pud[  0] 0x0000000000203003 table at 0x203000
///   pmd[  0] 0x0000000000000000 absent
/// ```
impl fmt::Display for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "page-table walk of {:#018x}, root {:#x}", self.address, self.root)?;
        if self.steps.is_empty() {
            write!(f, "\n  these tables do not translate it")?;
        }
        for step in &self.steps {
            write!(f, "\n  {}[{:3}] {:#018x} ", step.name, step.index, step.bits)?;
            match step.entry {
                Entry::Absent => write!(f, "absent")?,
                Entry::Table(frame) => write!(f, "table at {frame:#x}")?,
                Entry::Leaf { address, mapping } => write!(f, "maps {address:#x} {mapping}")?,
            }
        }
        Ok(())
    }
}
