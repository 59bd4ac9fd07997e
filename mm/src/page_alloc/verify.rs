//! Walks everything the page allocator knows, and says what does not fit.
//!
//! Zone by zone, under the zone's lock: the free lists (links, heads, alignment, counts), the records of every
//! described section (blocks aligned, nothing written behind a head, no two free buddies), the untouched granules
//! (their sections are not described), and the sums. Costs O(described frames); it runs on a live machine, but keeps
//! interrupts off for one zone at a time. Linux has no such walk; its nearest kin is `CONFIG_DEBUG_VM`.

#![forbid(unsafe_code)]

use super::PageAllocator;
use super::pool::{Lists, Pool};
use crate::addr::{Order, Pfn, PfnRange};
use crate::arch::Arch;
use crate::model::page::{Head, NO_LINK, Page, PageState, block_head};
use crate::model::{Granule, MemoryModel, SectionState};
use core::fmt;
use core::ops::AddAssign;

/// Where all frames are.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PageCounts {
    /// Memory.
    pub present: u64,
    /// On free lists.
    pub free: u64,
    /// In untouched granules, without the memmap they will need.
    pub untouched: u64,
    /// Memmap that untouched granules will need.
    pub future_memmap: u64,
    /// Memmap.
    pub memmap: u64,
    /// Reserved before the allocator took over.
    pub reserved: u64,
    /// Handed out as pages.
    pub allocated: u64,
    /// In slabs.
    pub slab: u64,
    /// In large `kmalloc` blocks.
    pub large: u64,
    /// In page tables.
    pub tables: u64,
    /// In areas of virtual space, and in their records.
    pub vmalloc: u64,
}

impl PageCounts {
    /// All kinds together.
    #[must_use]
    pub const fn sum(&self) -> u64 {
        self.free
            + self.untouched
            + self.future_memmap
            + self.memmap
            + self.reserved
            + self.allocated
            + self.slab
            + self.large
            + self.tables
            + self.vmalloc
    }

    /// Counts a block; `None` for a state that no block has.
    fn add(&mut self, state: PageState, frames: u64) -> Option<()> {
        let kind = match state {
            PageState::Free => &mut self.free,
            PageState::Allocated => &mut self.allocated,
            PageState::Reserved => &mut self.reserved,
            PageState::Memmap => &mut self.memmap,
            PageState::Slab => &mut self.slab,
            PageState::Large => &mut self.large,
            PageState::Table => &mut self.tables,
            PageState::Vmalloc => &mut self.vmalloc,
            PageState::Undescribed | PageState::Tail | PageState::Corrupt => return None,
        };
        *kind += frames;
        Some(())
    }
}

impl AddAssign for PageCounts {
    fn add_assign(&mut self, other: Self) {
        self.present += other.present;
        self.free += other.free;
        self.untouched += other.untouched;
        self.future_memmap += other.future_memmap;
        self.memmap += other.memmap;
        self.reserved += other.reserved;
        self.allocated += other.allocated;
        self.slab += other.slab;
        self.large += other.large;
        self.tables += other.tables;
        self.vmalloc += other.vmalloc;
    }
}

impl fmt::Display for PageCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} pages = {} free + {} untouched + {} allocated + {} slab + {} large + {} vmalloc + {} tables + {} reserved \
             + {} memmap",
            self.present,
            self.free,
            self.untouched,
            self.allocated,
            self.slab,
            self.large,
            self.vmalloc,
            self.tables,
            self.reserved,
            self.memmap + self.future_memmap
        )
    }
}

/// What does not fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageProblem {
    /// A block on a free list whose head does not say so.
    NotFree(Order),
    /// A block on a free list that does not point back to the one before it.
    BrokenLink(Order),
    /// A free list with another number of blocks than was counted.
    ListCount {
        /// Its order.
        order: Order,
        /// Blocks counted when they came and went.
        counted: u64,
        /// Blocks whose heads say so.
        found: u64,
    },
    /// A block that is not aligned to its size, or leaves its zone.
    Misplaced(Order),
    /// Two free blocks that are each other's buddy.
    Unmerged(Order),
    /// A record behind a head that is not zero.
    Overwritten,
    /// A record with bits that nobody writes.
    Corrupt,
    /// A section of an untouched granule that is described.
    Touched,
    /// The zone's counter of free frames is wrong.
    FreeCount {
        /// What it says.
        counted: u64,
        /// What there is.
        found: u64,
    },
    /// Frames do not add up to what is present.
    Conservation {
        /// What memblock said.
        present: u64,
        /// What there is.
        found: u64,
    },
}

/// The first fault that was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageFault {
    /// The frame where it was found; of a sum, the first frame of the zone.
    pub pfn: Pfn,
    /// What is wrong.
    pub problem: PageProblem,
}

impl fmt::Display for PageFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "frame {:#x}: ", self.pfn.as_u64())?;
        match self.problem {
            PageProblem::NotFree(order) => write!(f, "on the free list of order {order}, but not free"),
            PageProblem::BrokenLink(order) => write!(f, "a broken link in the free list of order {order}"),
            PageProblem::ListCount { order, counted, found } => {
                write!(f, "{counted} blocks of order {order} were counted, {found} are there")
            }
            PageProblem::Misplaced(order) => write!(f, "a block of order {order} cannot be here"),
            PageProblem::Unmerged(order) => write!(f, "this block of order {order} and its buddy are both free"),
            PageProblem::Overwritten => f.write_str("a record inside a block is not zero"),
            PageProblem::Corrupt => f.write_str("the record is damaged"),
            PageProblem::Touched => f.write_str("an untouched granule with records"),
            PageProblem::FreeCount { counted, found } => {
                write!(f, "{counted} frames of the zone were counted free, {found} are")
            }
            PageProblem::Conservation { present, found } => {
                write!(f, "{present} frames of the zone are present, {found} were found")
            }
        }
    }
}

impl core::error::Error for PageFault {}

const fn fault(pfn: Pfn, problem: PageProblem) -> PageFault {
    PageFault { pfn, problem }
}

impl<A: Arch, M: MemoryModel<A>> PageAllocator<A, M> {
    /// Walks everything.
    ///
    /// # Errors
    /// The first fault.
    pub fn verify(&self) -> Result<PageCounts, PageFault> {
        let mut total = PageCounts::default();
        for pool in self.pools() {
            let lists = pool.lists.lock(self.access());
            total += self.verify_zone(pool, &lists)?;
        }
        Ok(total)
    }

    fn verify_zone(&self, pool: &Pool<A, M>, lists: &Lists<A, M>) -> Result<PageCounts, PageFault> {
        for order in Order::all() {
            self.verify_list(pool, lists, order)?;
        }
        self.verify_untouched(pool, lists)?;
        let mut counts = PageCounts {
            present: pool.span.present,
            untouched: lists.untouched.usable_frames(),
            future_memmap: lists.untouched.memmap_frames(),
            ..PageCounts::default()
        };
        let mut blocks = [0; Order::COUNT];
        self.memmap().try_for_each_section(&mut |section, entry| {
            if entry.state != SectionState::Described {
                return Ok(());
            }
            let frames = Granule::<A>::section_frames(section).intersection(pool.span.range);
            self.verify_section(pool, frames, &mut counts, &mut blocks)
        })?;
        let start = pool.span.range.start();
        for (order, found) in Order::all().zip(blocks) {
            let counted = lists.buddy.blocks(order);
            if counted != found {
                return Err(fault(start, PageProblem::ListCount { order, counted, found }));
            }
        }
        let (counted, found) = (pool.free_frames(), counts.free + counts.untouched);
        if counted != found {
            return Err(fault(start, PageProblem::FreeCount { counted, found }));
        }
        if counts.present != counts.sum() {
            return Err(fault(start, PageProblem::Conservation { present: counts.present, found: counts.sum() }));
        }
        Ok(counts)
    }

    fn verify_list(&self, pool: &Pool<A, M>, lists: &Lists<A, M>, order: Order) -> Result<(), PageFault> {
        let (mut previous, mut at, mut found) = (NO_LINK, lists.buddy.first(order), 0);
        let counted = lists.buddy.blocks(order);
        while let Some(pfn) = at {
            let page = self.memmap().page(pfn).ok_or(fault(pfn, PageProblem::BrokenLink(order)))?;
            if page.previous() != previous || found == counted {
                return Err(fault(pfn, PageProblem::BrokenLink(order)));
            }
            if page.head() != lists.buddy.free_head(order) {
                return Err(fault(pfn, PageProblem::NotFree(order)));
            }
            if !pool.spans(PfnRange::new(pfn, pfn.saturating_add(order.frames()))) || block_head(pfn, order) != pfn {
                return Err(fault(pfn, PageProblem::Misplaced(order)));
            }
            previous = pfn.as_u64();
            found += 1;
            at = (page.next() != NO_LINK).then(|| Pfn::new(page.next()));
        }
        if found == counted {
            Ok(())
        } else {
            Err(fault(pool.span.range.start(), PageProblem::ListCount { order, counted, found }))
        }
    }

    fn verify_untouched(&self, pool: &Pool<A, M>, lists: &Lists<A, M>) -> Result<(), PageFault> {
        for &range in lists.untouched.ranges() {
            if !pool.spans(range) || Granule::<A>::inside(range) != range {
                return Err(fault(range.start(), PageProblem::Misplaced(Order::MAX)));
            }
            let sections = Granule::<A>::section_of(range.start())..Granule::<A>::section_of(range.end());
            for section in sections {
                if self.memmap().section(section).state != SectionState::Untouched {
                    let start = Granule::<A>::section_frames(section).start();
                    return Err(fault(start, PageProblem::Touched));
                }
            }
        }
        Ok(())
    }

    /// Walks the zone's frames of one described section.
    fn verify_section(
        &self,
        pool: &Pool<A, M>,
        frames: PfnRange,
        counts: &mut PageCounts,
        blocks: &mut [u64; Order::COUNT],
    ) -> Result<(), PageFault> {
        let mut pfn = frames.start();
        while pfn < frames.end() {
            let head = self.memmap().page(pfn).map_or(Head::ZERO, Page::head);
            if head == Head::ZERO {
                // A hole, or another zone's.
                pfn = pfn.saturating_add(1);
                continue;
            }
            let order = head.order();
            let block = PfnRange::new(pfn, pfn.saturating_add(order.frames()));
            if head.state() == PageState::Corrupt {
                return Err(fault(pfn, PageProblem::Corrupt));
            }
            // Nodes that share a section have their blocks side by side.
            if head.zone() == pool.index {
                if !head.state().is_head() {
                    return Err(fault(pfn, PageProblem::Overwritten));
                }
                if block.intersection(frames) != block || block_head(pfn, order) != pfn {
                    return Err(fault(pfn, PageProblem::Misplaced(order)));
                }
                self.verify_block(pfn, head)?;
                counts.add(head.state(), order.frames()).ok_or(fault(pfn, PageProblem::Corrupt))?;
                if head.state() == PageState::Free
                    && let Some(count) = blocks.get_mut(order.index())
                {
                    *count += 1;
                }
            }
            pfn = block.end();
        }
        Ok(())
    }

    /// Looks behind the head of a block, and at its buddy.
    fn verify_block(&self, pfn: Pfn, head: Head) -> Result<(), PageFault> {
        let order = head.order();
        let behind = if head.state() == PageState::Slab { head.with_state(PageState::Tail) } else { Head::ZERO };
        for inside in (1..order.frames()).map(|offset| pfn.saturating_add(offset)) {
            if self.memmap().page(inside).is_none_or(|page| page.head() != behind) {
                return Err(fault(inside, PageProblem::Overwritten));
            }
        }
        let buddy = Pfn::new(pfn.as_u64() ^ order.frames());
        let unmerged = head.state() == PageState::Free
            && order < Order::MAX
            && self.memmap().page(buddy).is_some_and(|page| page.head() == head);
        if unmerged { Err(fault(pfn, PageProblem::Unmerged(order))) } else { Ok(()) }
    }

    /// Calls `each` with the head of every block, zone by zone, until one fails. Takes no lock.
    pub(crate) fn try_for_each_block<E>(&self, each: &mut dyn FnMut(Pfn, &Page) -> Result<(), E>) -> Result<(), E> {
        self.pools().try_for_each(|pool| self.try_for_each_block_of(pool, each))
    }

    fn try_for_each_block_of<E>(
        &self,
        pool: &Pool<A, M>,
        each: &mut dyn FnMut(Pfn, &Page) -> Result<(), E>,
    ) -> Result<(), E> {
        self.memmap().try_for_each_section(&mut |section, entry| {
            if entry.state != SectionState::Described {
                return Ok(());
            }
            let frames = Granule::<A>::section_frames(section).intersection(pool.span.range);
            let mut pfn = frames.start();
            while let Some(page) = self.memmap().page(pfn).filter(|_| pfn < frames.end()) {
                let head = page.head();
                let mut step = 1;
                if head.state().is_head() {
                    if head.zone() == pool.index {
                        each(pfn, page)?;
                    }
                    step = head.order().frames();
                }
                pfn = pfn.saturating_add(step);
            }
            Ok(())
        })
    }
}
