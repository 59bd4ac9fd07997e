//! Changing what is mapped: taking it away, or allowing less or more.
//!
//! A change may end inside a large leaf. The leaf is then split first: a new table says in small leaves what the large
//! one said, and takes its place, so that splitting by itself changes nothing that anybody can see. All checks
//! and all splits come before the first change, so a call that fails has changed nothing.
//!
//! Where the CPU may not hold two sizes for one address ([`Resize::BreakBeforeMake`]) a leaf is absent for a moment
//! while it is split. So a kernel decides what will be page by page before it uses it (`map_pages_only`), and never
//! splits the leaf under its own stack, text or tables.
//!
//! Tables that become empty stay where they are: the next mapping at that address uses them again, as in Linux's kernel
//! half.
//!
//! A change hands out what CPUs may still remember as [`Stale`]. Whoever wants the memory back must spend it
//! ([`Stale::flush`]) and gets the proof, [`Flushed`]; so the flush can wait until the tables' lock is open again, or
//! until there is more to flush, and memory that is still reached through an old translation cannot be given away.
//!
//! Linux: `mm/vmalloc.c` (`vunmap_range`), `arch/x86/mm/pat/set_memory.c`, `arch/arm64/mm/pageattr.c`.

use crate::addr::VirtAddr;
use crate::arch::{PageFormat, PhysMap, Resize};
use crate::layout::VirtRange;
use crate::paging::mapping::{Access, Entry, Level, Mapping};
use crate::paging::source::FrameSource;
use crate::paging::tables::{PageTables, Table, translates};
use core::fmt;

/// For more pages than these it is cheaper to forget everything (Linux: `tlb_single_page_flush_ceiling`, 33).
pub const FLUSH_PAGES: u64 = 33;

/// Why a change was not made. Nothing has changed then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChangeError {
    /// The range does not start and end on pages.
    Misaligned(VirtRange),
    /// These tables do not translate all of the range.
    OutsideTables(VirtRange),
    /// Nothing is mapped here, so there is nothing to protect.
    NotMapped {
        /// Where.
        at: VirtAddr,
    },
    /// A leaf had to be split and there was no frame for the table.
    OutOfFrames {
        /// An address in the leaf.
        at: VirtAddr,
    },
    /// A leaf had to be split that is writable and executable, which no new leaf may be.
    WritableExecutable {
        /// An address in the leaf.
        at: VirtAddr,
    },
}

impl fmt::Display for ChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misaligned(range) => write!(f, "{range} does not start and end on pages"),
            Self::OutsideTables(range) => write!(f, "{range} lies outside these page tables"),
            Self::NotMapped { at } => write!(f, "nothing is mapped at {at:#x}"),
            Self::OutOfFrames { at } => write!(f, "no frame for a page table to split the leaf at {at:#x}"),
            Self::WritableExecutable { at } => write!(f, "the leaf at {at:#x} is writable and executable"),
        }
    }
}

impl core::error::Error for ChangeError {}

/// Translations that are no longer what the tables say, and that a CPU may still use: what was there before can be
/// reached through them.
#[derive(PartialEq, Eq, Debug)]
#[must_use = "until it is flushed, CPUs may use the old translations: the memory behind them is not free"]
pub struct Stale(VirtRange);

/// Proof that no CPU uses an older translation of a range than the tables had when they were changed.
#[derive(PartialEq, Eq, Debug)]
pub struct Flushed(VirtRange);

impl Stale {
    /// Nothing is stale.
    pub const NONE: Self = Self(VirtRange::EMPTY);

    /// The addresses.
    #[must_use]
    pub const fn range(&self) -> VirtRange {
        self.0
    }

    /// These and `others`, with all that lies between them.
    pub fn and(self, others: Self) -> Self {
        match (self.0.is_empty(), others.0.is_empty()) {
            (true, _) => others,
            (_, true) => self,
            _ => Self(VirtRange::new(self.0.start().min(others.0.start()), self.0.end().max(others.0.end()))),
        }
    }

    /// Makes every CPU forget them, and waits until it has.
    pub fn flush<A: PageFormat>(self, access: A) -> Flushed {
        if !self.0.is_empty() {
            access.flush(self.0);
        }
        Flushed(self.0)
    }
}

impl Flushed {
    /// The addresses.
    #[must_use]
    pub const fn range(&self) -> VirtRange {
        self.0
    }

    /// Whether `range` was flushed.
    #[must_use]
    pub const fn covers(&self, range: VirtRange) -> bool {
        self.0.contains_range(range)
    }
}

/// What happens to each leaf of a range.
#[derive(Clone, Copy)]
enum Change {
    Remove,
    Allow(Access),
}

impl<A: PhysMap + PageFormat> PageTables<A> {
    /// Takes away what is mapped in `range`; what is absent stays so. `frames` is asked only when an end of the range
    /// lies inside a large leaf.
    ///
    /// # Safety
    /// Nothing uses the memory at these addresses from now on: no reference into it is left, and neither code that runs
    /// nor a stack nor a table that is still read through them lies there. The same holds, for a moment, for the whole
    /// of a leaf that must be split.
    ///
    /// # Errors
    /// [`ChangeError`]; nothing has changed then.
    pub unsafe fn unmap(&mut self, range: VirtRange, frames: &mut impl FrameSource) -> Result<Stale, ChangeError> {
        self.change(range, Change::Remove, frames)
    }

    /// Allows `access`, and nothing else, on what is mapped in `range`. `frames` is asked only when an end of the range
    /// lies inside a large leaf.
    ///
    /// # Safety
    /// Whatever uses the memory at these addresses from now on does no more than `access` allows. For a moment nothing
    /// uses the memory of a leaf that must be split.
    ///
    /// # Errors
    /// [`ChangeError`]; nothing has changed then.
    pub unsafe fn protect(
        &mut self,
        range: VirtRange,
        access: Access,
        frames: &mut impl FrameSource,
    ) -> Result<Stale, ChangeError> {
        if let Some(at) = self.first_absent(self.checked(range)?) {
            return Err(ChangeError::NotMapped { at });
        }
        self.change(range, Change::Allow(access), frames)
    }

    fn change(
        &mut self,
        range: VirtRange,
        change: Change,
        frames: &mut impl FrameSource,
    ) -> Result<Stale, ChangeError> {
        if self.checked(range)?.is_empty() {
            return Ok(Stale::NONE);
        }
        self.split_at(range.start(), frames)?;
        self.split_at(range.end(), frames)?;
        self.apply(self.root_table(), Level::top::<A>(), range, change);
        Ok(Stale(range))
    }

    fn checked(&self, range: VirtRange) -> Result<VirtRange, ChangeError> {
        if !range.is_aligned(A::PAGE_SIZE) {
            return Err(ChangeError::Misaligned(range));
        }
        let last = VirtAddr::new(range.end().as_u64().saturating_sub(1));
        let inside = translates::<A>(range.start()) && translates::<A>(last);
        if !range.is_empty() && !inside {
            return Err(ChangeError::OutsideTables(range));
        }
        Ok(range)
    }

    /// The first address of the range where nothing is mapped.
    fn first_absent(&self, range: VirtRange) -> Option<VirtAddr> {
        let mut at = range.start();
        while at < range.end() {
            match self.translate(at) {
                Some(found) => at = after(at, found.level.span::<A>())?,
                None => return Some(at),
            }
        }
        None
    }

    /// Splits leaves until none has `at` inside it.
    fn split_at(&mut self, at: VirtAddr, frames: &mut impl FrameSource) -> Result<(), ChangeError> {
        if !translates::<A>(at) {
            // The end of the lower half: no leaf goes on there.
            return Ok(());
        }
        let mut table = self.root_table();
        let mut level = Level::top::<A>();
        while let Some(below) = level.below() {
            if at.is_aligned(level.span::<A>()) {
                break;
            }
            let index = level.index::<A>(at);
            table = match table.entry(level, index) {
                Entry::Absent => break,
                Entry::Table(next) => table.child(next),
                Entry::Leaf { address, mapping } => {
                    let mapping = mapping.checked().ok_or(ChangeError::WritableExecutable { at })?;
                    let frame = frames.table_frame(address).ok_or(ChangeError::OutOfFrames { at })?;
                    let next = Table::filled(self.access, frame, below, address, mapping);
                    let span = level.span::<A>();
                    let start = at.align_down(span);
                    let whole = VirtRange::new(start, start.saturating_add(span));
                    if A::RESIZE == Resize::BreakBeforeMake {
                        table.set(index, 0);
                        self.access.flush(whole);
                    }
                    table.link(index, next);
                    if A::RESIZE == Resize::InPlace {
                        self.access.flush(whole);
                    }
                    self.access.publish();
                    next
                }
            };
            level = below;
        }
        Ok(())
    }

    /// Makes the change to all leaves of the range, whose ends lie between leaves.
    fn apply(&self, table: Table<A>, level: Level, range: VirtRange, change: Change) {
        let mut at = range.start();
        for index in level.index::<A>(at)..level.entries::<A>() {
            if at >= range.end() {
                break;
            }
            match table.entry(level, index) {
                Entry::Absent => {}
                Entry::Table(next) => {
                    if let Some(below) = level.below() {
                        self.apply(table.child(next), below, VirtRange::new(at, range.end()), change);
                    }
                }
                Entry::Leaf { address, mapping } => {
                    let entry = match change {
                        Change::Remove => 0,
                        Change::Allow(access) => {
                            self.access.leaf(address, level, Mapping { access, memory: mapping.memory })
                        }
                    };
                    table.set(index, entry);
                }
            }
            match after(at, level.span::<A>()) {
                Some(next) => at = next,
                None => break,
            }
        }
    }
}

/// The first multiple of `span` above `at`, or `None` at the end of the address space.
fn after(at: VirtAddr, span: u64) -> Option<VirtAddr> {
    at.align_down(span).checked_add(span)
}
