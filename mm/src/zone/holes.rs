//! Pages that will have a descriptor although there is no memory.
//!
//! The memory map comes in whole sections. Where a section holds some memory, its other pages are described too, as
//! reserved, and counted to a zone so that whoever adds pages up knows of them: a hole goes to the zone of the
//! memory *above* it, what is left of the last section to the last zone. Costs O(regions). Linux:
//! `init_unavailable_range`, `memmap_init` in mm/page_alloc.c (6.1).

#![forbid(unsafe_code)]

use super::{ZoneKind, Zones};
use crate::addr::{NodeId, Pfn, PfnRange};
use crate::arch::{PageFormat, PhysMap};

/// Pages without memory that a zone's memory map describes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unavailable {
    /// The node that they count to.
    pub node: NodeId,
    /// The zone on that node.
    pub kind: ZoneKind,
    /// How many.
    pub pages: u64,
}

impl<A: PhysMap + PageFormat> Zones<A> {
    /// The holes in sections with memory, in ascending order, as the lines 'pages in unavailable ranges' tell them.
    pub fn unavailable(&self) -> impl Iterator<Item = Unavailable> {
        let regions = self.nodes.memblock().memory();
        let pages = |range| PfnRange::inside(range, A::PAGE_SHIFT);
        let memory = regions.iter().map(move |region| (region.node().unwrap_or_default(), pages(region.range())));
        let mut memory = memory.filter(|(_, pages)| !pages.is_empty());
        let ends = core::iter::once(None).chain(memory.clone().map(|(_, pages)| Some(pages.end())));
        let below = memory.clone().zip(ends).filter_map(|((node, pages), hole)| {
            let populated = self.zones_of(node).filter(|(_, zone)| zone.is_populated());
            let kind = populated.map(|(_, zone)| zone).find(|zone| zone.range.contains(pages.start()))?.kind;
            Some(Unavailable { node, kind, pages: in_sections::<A>(hole, pages.start()) })
        });
        let last = memory.next_back().and_then(|(node, pages)| {
            let kind = self.zones_of(node).rfind(|(_, zone)| zone.is_populated())?.1.kind;
            let end = pages.end().as_u64();
            Some(Unavailable { node, kind, pages: end.next_multiple_of(section_pages::<A>()) - end })
        });
        below.chain(last).filter(|unavailable| unavailable.pages > 0)
    }
}

const fn section_pages<A: PageFormat>() -> u64 {
    1 << (A::SECTION_SHIFT - A::PAGE_SHIFT)
}

/// Pages between the memory that ends at `from` (`None`: there is none below) and the memory that starts at `to`
/// which lie in a section with either.
fn in_sections<A: PageFormat>(from: Option<Pfn>, to: Pfn) -> u64 {
    let section = section_pages::<A>();
    let to = to.as_u64();
    let head = to - to % section;
    match from.map(Pfn::as_u64) {
        Some(from) => {
            let tail_end = from.next_multiple_of(section).min(to);
            (tail_end - from) + (to - head.max(tail_end))
        }
        None => to - head,
    }
}
