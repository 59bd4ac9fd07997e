//! Mapping: absent entries become present.
//!
//! A range that is contiguous in physical memory is mapped by a descent from the root. At each table it places leaves
//! as long as both addresses are aligned to what an entry there spans, the CPU has leaves of that size, and enough is
//! left; else it goes one table down, making it if there is none. Entries of one table are written in a row without
//! walking again, and a new table that the range fills is filled without being cleared, so a leaf costs
//! five instructions there and some twenty elsewhere.
//!
//! Nothing that is present is overwritten. To map again what is mapped in the same way is no error, so a
//! call that failed because frames ran out can be repeated: what it had mapped stays, and is right.
//!
//! Linux: `phys_pud_init` and its like in `arch/x86/mm/init_64.c`, `__create_pgd_mapping` in `arch/arm64/mm/mmu.c`.

use crate::addr::{PhysAddr, PhysRange, VirtAddr};
use crate::arch::{PageFormat, PhysMap};
use crate::paging::mapping::{Entry, Level, Mapping};
use crate::paging::source::FrameSource;
use crate::paging::tables::{PageTables, Table, translates};
use core::fmt;

/// Why a range could not be mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapError {
    /// The virtual address, or an end of the physical range, is not on a page.
    Misaligned {
        /// Where it should have been mapped.
        at: VirtAddr,
        /// What should have been mapped there.
        range: PhysRange,
    },
    /// These tables do not translate all these addresses.
    OutsideTables {
        /// The first address.
        at: VirtAddr,
        /// Bytes from there.
        size: u64,
    },
    /// Something else is mapped here, or in another way. What lies before it is mapped now.
    AlreadyMapped {
        /// Where.
        at: VirtAddr,
    },
    /// There was no frame for a table. What lies before it is mapped now; the call can be repeated.
    OutOfFrames {
        /// The first address that is not mapped.
        at: VirtAddr,
    },
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misaligned { at, range } => write!(f, "{range} at {at:#x} does not start and end on pages"),
            Self::OutsideTables { at, size } => write!(f, "{size:#x} bytes at {at:#x} lie outside these page tables"),
            Self::AlreadyMapped { at } => write!(f, "something else is mapped at {at:#x}"),
            Self::OutOfFrames { at } => write!(f, "no frame for a page table that maps {at:#x}"),
        }
    }
}

impl core::error::Error for MapError {}

/// What is still to be mapped.
struct Job<'f, F> {
    at: VirtAddr,
    to: PhysAddr,
    left: u64,
    mapping: Mapping,
    largest: Level,
    frames: &'f mut F,
}

impl<F> Job<'_, F> {
    /// Whether a leaf at `level` may stand for what comes next.
    fn leaf_fits<A: PageFormat>(&self, level: Level) -> bool {
        let span = level.span::<A>();
        level <= self.largest && self.left >= span && (self.at.as_u64() | self.to.as_u64()) & (span - 1) == 0
    }

    /// Whether what comes next fills a whole table at `level` with leaves.
    fn fills_table<A: PageFormat>(&self, level: Level) -> bool {
        let span = level.span::<A>();
        let table = span << (A::PAGE_SHIFT - 3);
        level <= self.largest
            && self.left >= table
            && self.at.as_u64() & (table - 1) == 0
            && self.to.as_u64() & (span - 1) == 0
    }

    /// `bytes` are mapped. Both addresses were checked to reach that far; the end of the address space itself may wrap
    /// to zero when nothing is left.
    fn advance(&mut self, bytes: u64) {
        self.at = VirtAddr::new(self.at.as_u64().wrapping_add(bytes));
        self.to = PhysAddr::new(self.to.as_u64().wrapping_add(bytes));
        self.left -= bytes;
    }
}

impl<A: PhysMap + PageFormat> PageTables<A> {
    /// Maps the memory `range` at `at`, with the largest leaves that fit.
    ///
    /// # Errors
    /// [`MapError`]. What the range's beginning had mapped before the error stays mapped.
    pub fn map(
        &mut self,
        at: VirtAddr,
        range: PhysRange,
        mapping: Mapping,
        frames: &mut impl FrameSource,
    ) -> Result<(), MapError> {
        self.map_up_to(self.largest_leaf(), at, range, mapping, frames)
    }

    /// As [`PageTables::map`], but with pages only: for what will be changed page by page.
    ///
    /// # Errors
    /// [`MapError`]. What the range's beginning had mapped before the error stays mapped.
    pub fn map_pages_only(
        &mut self,
        at: VirtAddr,
        range: PhysRange,
        mapping: Mapping,
        frames: &mut impl FrameSource,
    ) -> Result<(), MapError> {
        self.map_up_to(Level::PAGE, at, range, mapping, frames)
    }

    fn map_up_to(
        &mut self,
        largest: Level,
        at: VirtAddr,
        range: PhysRange,
        mapping: Mapping,
        frames: &mut impl FrameSource,
    ) -> Result<(), MapError> {
        let size = range.size();
        if (at.as_u64() | range.start().as_u64() | range.end().as_u64()) & (A::PAGE_SIZE - 1) != 0 {
            return Err(MapError::Misaligned { at, range });
        }
        if size == 0 {
            return Ok(());
        }
        match at.checked_add(size - 1) {
            Some(last) if translates::<A>(at) && translates::<A>(last) => {}
            _ => return Err(MapError::OutsideTables { at, size }),
        }
        let mut job = Job { at, to: range.start(), left: size, mapping, largest, frames };
        let result = self.fill(self.root_table(), Level::top::<A>(), &mut job);
        self.access.publish();
        result
    }

    /// Maps the part of the job that `table` spans.
    fn fill<F: FrameSource>(&self, table: Table<A>, level: Level, job: &mut Job<'_, F>) -> Result<(), MapError> {
        for index in level.index::<A>(job.at)..level.entries::<A>() {
            if job.left == 0 {
                break;
            }
            let entry = table.entry(level, index);
            match (entry, level.below()) {
                (Entry::Absent, None) => self.place(table, level, index, job),
                (Entry::Absent, Some(_)) if job.leaf_fits::<A>(level) => self.place(table, level, index, job),
                (Entry::Absent, Some(below)) => self.grow(table, index, below, job)?,
                (Entry::Table(frame), Some(below)) => self.fill(table.child(frame), below, job)?,
                (Entry::Table(_), None) => return Err(MapError::AlreadyMapped { at: job.at }),
                (Entry::Leaf { .. }, _) => self.accept(entry, level, job)?,
            }
        }
        Ok(())
    }

    /// Writes one leaf.
    fn place<F>(&self, table: Table<A>, level: Level, index: usize, job: &mut Job<'_, F>) {
        table.set(index, self.access.leaf(job.to, level, job.mapping));
        job.advance(level.span::<A>());
    }

    /// Makes the table of level `below` under an absent entry, with the part of the job that it spans. It is linked
    /// last; also when frames ran out, since what it holds is right and the frame would be lost otherwise.
    fn grow<F: FrameSource>(
        &self,
        table: Table<A>,
        index: usize,
        below: Level,
        job: &mut Job<'_, F>,
    ) -> Result<(), MapError> {
        let frame = job.frames.table_frame(job.to).ok_or(MapError::OutOfFrames { at: job.at })?;
        let (next, result) = if job.fills_table::<A>(below) {
            let next = Table::filled(self.access, frame, below, job.to, job.mapping);
            job.advance(below.span::<A>() << (A::PAGE_SHIFT - 3));
            (next, Ok(()))
        } else {
            let next = Table::zeroed(self.access, frame);
            (next, self.fill(next, below, job))
        };
        table.link(index, next);
        result
    }

    /// Something is mapped already: as it should be, or it is an error.
    fn accept<F>(&self, found: Entry, level: Level, job: &mut Job<'_, F>) -> Result<(), MapError> {
        let span = level.span::<A>();
        let offset = job.at.as_u64() & (span - 1);
        let wanted = PhysAddr::new(job.to.as_u64().wrapping_sub(offset));
        match found {
            Entry::Leaf { address, mapping } if address == wanted && mapping == job.mapping.raw() => {
                job.advance((span - offset).min(job.left));
                Ok(())
            }
            _ => Err(MapError::AlreadyMapped { at: job.at }),
        }
    }
}
