//! Whose an address is, and numbers for views.
//!
//! Each answer is as old as the moment at which the lock was held for it: for one area at a time, so that printing a long
//! list keeps nobody waiting.

#![forbid(unsafe_code)]

use super::area::AreaInfo;
use super::record::Ref;
use super::tree::Store;
use super::{State, Vmalloc};
use crate::addr::{NodeId, VirtAddr};
use crate::arch::{Arch, PageFormat};
use crate::layout::VirtRange;
use crate::model::MemoryModel;

impl<A, M> State<A, M>
where
    A: Arch,
    M: MemoryModel<A>,
{
    pub(super) fn info(&self, node: Ref) -> AreaInfo {
        let taken = self.records.links(node).range;
        let area = self.records.area(node);
        let mapped = area.mapped(taken, <A as PageFormat>::PAGE_SIZE);
        AreaInfo { taken, mapped, kind: area.kind, state: area.state, owner: area.owner, pages: area.pages }
    }
}

impl<A: Arch, M: MemoryModel<A>> Vmalloc<A, M> {
    /// The space.
    #[must_use]
    pub const fn space(&self) -> VirtRange {
        self.layout.vmalloc
    }

    /// The area that has `address`, in its guard pages too. O(log n).
    #[must_use]
    pub fn find(&self, address: VirtAddr) -> Option<AreaInfo> {
        let state = self.state.lock(self.access());
        state.tree.find(&state.records, address).map(|node| state.info(node))
    }

    /// As [`Vmalloc::find`], but `None` when somebody holds the lock: for the report of a fault, which may have
    /// interrupted the holder.
    #[must_use]
    pub fn try_find(&self, address: VirtAddr) -> Option<AreaInfo> {
        let state = self.state.try_lock(self.access())?;
        state.tree.find(&state.records, address).map(|node| state.info(node))
    }

    /// The areas, by ascending address. What comes and goes meanwhile may be among them or not.
    pub fn areas(&self) -> impl Iterator<Item = AreaInfo> {
        let mut from = self.space().start();
        core::iter::from_fn(move || {
            let state = self.state.lock(self.access());
            let node = state.tree.first_from(&state.records, from)?;
            let info = state.info(node);
            from = info.taken.end();
            Some(info)
        })
    }

    /// Pages that areas have of their own. Linux: `vmalloc_nr_pages`.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.state.lock(self.access()).pages
    }

    /// Pages that hold the records of areas. They stay.
    #[must_use]
    pub fn record_pages(&self) -> u64 {
        self.state.lock(self.access()).records.page_count()
    }

    /// The number above the highest of a node.
    #[must_use]
    pub fn node_limit(&self) -> u16 {
        u16::try_from(self.pages.nodes().id_limit()).unwrap_or(u16::MAX)
    }

    /// How many pages of its own the area that has `address` holds on each of the nodes from `first` on. O(its pages).
    pub fn count_nodes(&self, address: VirtAddr, first: NodeId, counts: &mut [u64]) {
        counts.fill(0);
        let spans = self.pages.zones().spans();
        let state = self.state.lock(self.access());
        let Some(node) = state.tree.find(&state.records, address) else { return };
        let area = state.records.area(node);
        for pfn in self.frames(area.first, area.pages) {
            let zone = self.pages.memmap().page(pfn).map(|page| page.head().zone());
            let node = zone.and_then(|zone| spans.get(zone.index())).map(|span| span.node.index());
            let slot = node.and_then(|node| node.checked_sub(first.index()));
            if let Some(count) = slot.and_then(|slot| counts.get_mut(slot)) {
                *count += 1;
            }
        }
    }
}
