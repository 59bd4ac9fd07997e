//! Walks the areas and what the tables map in their space, and says what does not fit.
//!
//! Holds both locks meanwhile, so it sees each area as it is: one that grows or goes may be mapped or not, a live one is
//! mapped as it says. Costs O(areas + mapped pages + tables).

#![forbid(unsafe_code)]

use super::area::{AreaInfo, AreaKind, AreaState};
use super::tables::first_present;
use super::tree::TreeProblem;
use super::{State, Vmalloc};
use crate::addr::{PhysAddr, VirtAddr};
use crate::arch::Arch;
use crate::layout::VirtRange;
use crate::model::MemoryModel;
use crate::model::page::PageState;
use crate::paging::{Access, Mapping, PageTables};
use core::fmt;

/// What there is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct VmallocTotals {
    /// Areas.
    pub areas: u64,
    /// Pages that they have of their own.
    pub pages: u64,
    /// Pages that hold their records.
    pub record_pages: u64,
}

impl fmt::Display for VmallocTotals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} areas with {} pages", self.areas, self.pages)
    }
}

/// What does not fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VmallocProblem {
    /// Among the records.
    Tree(TreeProblem),
    /// Something is mapped here, and no area has it.
    Stray,
    /// Nothing is mapped here, though an area has it.
    NotMapped,
    /// Other memory is mapped here than the area has, or in another way.
    Other,
    /// An area has counted other pages than it has.
    PageCount {
        /// Counted.
        counted: u64,
        /// In its list, or in all areas.
        found: u64,
    },
}

/// The first fault that was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VmallocFault {
    /// Where.
    pub address: VirtAddr,
    /// What is wrong.
    pub problem: VmallocProblem,
}

impl fmt::Display for VmallocFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vmalloc {:#x}: ", self.address)?;
        match self.problem {
            VmallocProblem::Tree(problem) => fmt::Display::fmt(&problem, f),
            VmallocProblem::Stray => f.write_str("something is mapped where no area is"),
            VmallocProblem::NotMapped => f.write_str("nothing is mapped, though an area has it"),
            VmallocProblem::Other => f.write_str("other memory is mapped than the area has"),
            VmallocProblem::PageCount { counted, found } => {
                write!(f, "{counted} pages were counted, {found} are there")
            }
        }
    }
}

impl core::error::Error for VmallocFault {}

const fn fault(address: VirtAddr, problem: VmallocProblem) -> VmallocFault {
    VmallocFault { address, problem }
}

impl<A: Arch, M: MemoryModel<A>> Vmalloc<A, M> {
    /// Walks everything.
    ///
    /// # Errors
    /// The first fault.
    pub fn verify(&self) -> Result<VmallocTotals, VmallocFault> {
        let state = self.state.lock(self.access());
        let tables = self.pages.tables().lock(self.access());
        let mut totals = VmallocTotals { record_pages: state.records.page_count(), ..VmallocTotals::default() };
        let mut result = Ok(());
        let mut end = self.space().start();
        let walked = state.tree.verify(&state.records, &mut |node| {
            if result.is_ok() {
                let area = state.info(node);
                // Up to what the area maps lie the guard page of the one before, a gap, and perhaps its own guard page.
                result = stray(&tables, VirtRange::new(end, area.mapped.start()));
                result = result.and_then(|()| self.verify_area(&state, &tables, &area));
                end = area.mapped.end();
                totals.areas += 1;
                totals.pages += area.pages;
            }
        });
        walked.map_err(|(address, problem)| fault(address, VmallocProblem::Tree(problem)))?;
        result?;
        stray(&tables, VirtRange::new(end, self.space().end()))?;
        if totals.pages == state.pages {
            return Ok(totals);
        }
        let problem = VmallocProblem::PageCount { counted: state.pages, found: totals.pages };
        Err(fault(self.space().start(), problem))
    }

    fn verify_area(&self, state: &State<A, M>, tables: &PageTables<A>, area: &AreaInfo) -> Result<(), VmallocFault> {
        if area.state != AreaState::Live {
            return Ok(());
        }
        match area.kind {
            AreaKind::Pages | AreaKind::Stack => self.verify_pages(state, tables, area),
            AreaKind::Mapped => {
                let mut at = area.mapped.start();
                while at < area.mapped.end() {
                    leaf(tables, at, None, Mapping::DATA)?;
                    at = at.saturating_add(A::PAGE_SIZE);
                }
                Ok(())
            }
            AreaKind::Device { physical, memory } => {
                let mapping = Mapping { access: Access::ReadWrite, memory };
                let mut at = area.mapped.start();
                while let Some(offset) = area.mapped.offset(at) {
                    at = leaf(tables, at, physical.start().checked_add(offset), mapping)?;
                }
                Ok(())
            }
        }
    }

    /// Each page of the list stands where it should.
    fn verify_pages(&self, state: &State<A, M>, tables: &PageTables<A>, area: &AreaInfo) -> Result<(), VmallocFault> {
        let mut at = area.mapped.start();
        let first = state.tree.find(&state.records, at).and_then(|node| state.records.area(node).first);
        for pfn in self.frames(first, area.pages) {
            let is_ours = self.pages.memmap().page(pfn).is_some_and(|page| page.head().state() == PageState::Vmalloc);
            if !is_ours {
                return Err(fault(at, VmallocProblem::Other));
            }
            at = leaf(tables, at, Some(pfn.address(A::PAGE_SHIFT)), Mapping::DATA)?;
        }
        if at == area.mapped.end() {
            return Ok(());
        }
        let found = at.checked_sub(area.mapped.start()).unwrap_or(0) >> A::PAGE_SHIFT;
        Err(fault(at, VmallocProblem::PageCount { counted: area.mapped.size() >> A::PAGE_SHIFT, found }))
    }
}

/// Nothing of `range` is mapped.
fn stray<A: Arch>(tables: &PageTables<A>, range: VirtRange) -> Result<(), VmallocFault> {
    match first_present(tables, range) {
        Some(found) => Err(fault(found.at, VmallocProblem::Stray)),
        None => Ok(()),
    }
}

/// `at` is mapped as `mapping`, to `physical` if that is known. The first address behind the leaf.
fn leaf<A: Arch>(
    tables: &PageTables<A>,
    at: VirtAddr,
    physical: Option<PhysAddr>,
    mapping: Mapping,
) -> Result<VirtAddr, VmallocFault> {
    let found = tables.translate(at).ok_or(fault(at, VmallocProblem::NotMapped))?;
    if found.mapping != mapping.raw() || physical.is_some_and(|physical| physical != found.address) {
        return Err(fault(at, VmallocProblem::Other));
    }
    let span = found.level.span::<A>();
    Ok(at.align_down(span).saturating_add(span))
}
