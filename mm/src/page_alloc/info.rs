//! What a frame is, for `why`, and why a free was refused.
//!
//! Only reads: the section's entry, the record, and where that is zero, the records that could be the head of a block
//! around it, at most one an order. Without a lock, so on a running machine the answer may be old as soon as it is
//! there.

#![forbid(unsafe_code)]

use super::{FreeError, PageAllocator};
use crate::addr::{Order, Pfn, PfnRange};
use crate::arch::Arch;
use crate::model::page::{Head, Page, PageState, block_head};
use crate::model::{Granule, MemoryModel, SectionState};
use crate::zone::ZoneIndex;
use core::fmt;

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageInfo {
    /// In a section without memory.
    NoSection,
    /// In a section with memory, but no memory itself.
    Hole,
    /// Free memory that was never touched.
    Untouched {
        /// The granule in which it will be described.
        granule: PfnRange,
        /// The zone that holds it, if the granule was not carved meanwhile.
        zone: Option<ZoneIndex>,
    },
    /// In a block.
    Block {
        /// The first frame of the block.
        head: Pfn,
        /// The order of the block.
        order: Order,
        /// What the block is.
        state: PageState,
        /// Its zone.
        zone: ZoneIndex,
    },
    /// Its record is damaged.
    Corrupt,
}

impl fmt::Display for PageInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSection => f.write_str("in a section without memory"),
            Self::Hole => f.write_str("a hole in a section with memory"),
            Self::Untouched { granule, .. } => write!(
                f,
                "free and never touched, in the granule of frames {:#x}-{:#x}",
                granule.start().as_u64(),
                granule.end().as_u64().saturating_sub(1)
            ),
            Self::Block { head, order, state, .. } => {
                write!(f, "{state}, in the block of order {order} at frame {:#x}", head.as_u64())
            }
            Self::Corrupt => f.write_str("its record is damaged"),
        }
    }
}

impl<A: Arch, M: MemoryModel<A>> PageAllocator<A, M> {
    /// What `pfn` is.
    #[must_use]
    pub fn page_info(&self, pfn: Pfn) -> PageInfo {
        let Some(page) = self.memmap().page(pfn) else { return self.undescribed(pfn) };
        let head = page.head();
        match head.state() {
            PageState::Corrupt => PageInfo::Corrupt,
            PageState::Undescribed => self.covering(pfn, Order::default()).map_or(PageInfo::Hole, block),
            PageState::Tail => self.covering(pfn, head.order()).map_or(PageInfo::Corrupt, block),
            _ => block((pfn, head)),
        }
    }

    fn undescribed(&self, pfn: Pfn) -> PageInfo {
        let section = self.memmap().section(Granule::<A>::section_of(pfn));
        match section.state {
            SectionState::Hole => return PageInfo::NoSection,
            // Some models have no records for all of a section: only for what is near memory.
            SectionState::Described => return PageInfo::Hole,
            SectionState::Pending | SectionState::Untouched => {}
        }
        let start = Pfn::new(pfn.as_u64() & !(Granule::<A>::FRAMES - 1));
        let granule = PfnRange::new(start, start.saturating_add(Granule::<A>::FRAMES));
        PageInfo::Untouched { granule, zone: self.zones().zone_of(section.node, pfn) }
    }

    /// The head of the block around `pfn`, of at least `order`.
    fn covering(&self, pfn: Pfn, order: Order) -> Option<(Pfn, Head)> {
        Order::all().filter(|&at| at >= order).find_map(|at| {
            let candidate = block_head(pfn, at);
            let head = self.memmap().page(candidate).map(Page::head)?;
            (head.state().is_head() && head.order() >= at).then_some((candidate, head))
        })
    }

    /// Why `pfn` cannot be freed, although it is not in the wrong order.
    pub(super) fn refusal(&self, pfn: Pfn) -> FreeError {
        match self.page_info(pfn) {
            PageInfo::NoSection | PageInfo::Hole => FreeError::Foreign,
            PageInfo::Untouched { .. } => FreeError::NotAllocated { state: PageState::Undescribed },
            PageInfo::Corrupt => FreeError::Corrupt,
            PageInfo::Block { head, state: PageState::Free, .. } => FreeError::DoubleFree { head },
            PageInfo::Block { head, order, state: PageState::Allocated, .. } if head != pfn => {
                FreeError::NotHead { head, order }
            }
            PageInfo::Block { state, .. } => FreeError::NotAllocated { state },
        }
    }
}

fn block((head, word): (Pfn, Head)) -> PageInfo {
    PageInfo::Block { head, order: word.order(), state: word.state(), zone: word.zone() }
}
