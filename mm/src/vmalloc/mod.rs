//! Ranges of kernel virtual space: memory that is contiguous only here, stacks with guard pages, devices.
//!
//! The direct map reaches all RAM, but what is contiguous there is contiguous in physical memory, and nothing in it can
//! be made to fault. So a large buffer, a stack whose overflow must be noticed, and the registers of a device lie in
//! the layout's `vmalloc` space: an *area* there takes a range of addresses, of which it maps all but the last page.
//!
//! | file | holds |
//! |---|---|
//! | `tree` | which addresses are taken, and the lowest gap that is large enough |
//! | `record` | where the records of areas lie |
//! | `area` | what is known of an area |
//! | `tables` | mapping, unmapping, and what the direct map says |
//! | `device` | `ioremap`: cache types that must agree |
//! | `retire` | the way back: unmapped, flushed, given back |
//! | `info` | whose an address is; numbers for views |
//! | `verify` | walks everything |
//!
//! **The way back has an order that the types force.** An area is unmapped in the tables ([`Unmapped`]), every CPU
//! forgets it ([`Unmapped::flush`]), and only what that returns can give its frames and its addresses to others
//! ([`Forgotten::give_back`]). Neither lock is held while CPUs are waited for.
//!
//! Invariants, which [`Vmalloc::verify`] checks: areas do not overlap; between what two areas map lies at least one page
//! that nothing maps; a live area maps as many pages as it has counted, each the frame that its list names; nothing
//! is mapped in the space that no area has.
//!
//! Locks: the areas', then that of the page tables or of a zone; each page comes by the zone's lock. Costs: O(log n)
//! with `n` areas, and a table entry and a page for each page; 136 bytes an area, none for its pages. Table pages stay
//! once they are made, as in Linux's kernel half; so do the pages that hold records.
//!
//! There is one root of tables for all CPUs, so a new entry at its top needs no copy to others. Unmapping flushes at
//! once: gathering areas to flush them together (Linux: `purge_vmap_area_lazy`) belongs to the per-CPU allocators.
//!
//! Linux: `mm/vmalloc.c`, `mm/ioremap.c`, `arch/x86/mm/ioremap.c`.

mod area;
mod device;
mod error;
mod info;
mod record;
mod retire;
mod tables;
mod tree;
mod verify;

pub use area::{AreaInfo, AreaKind, AreaPart, AreaState};
pub use error::{VfreeError, VmallocError};
pub use retire::{Forgotten, Unmapped};
pub use tree::TreeProblem;
pub use verify::{VmallocFault, VmallocProblem, VmallocTotals};

use crate::addr::{NodeId, Order, Pfn};
use crate::arch::Arch;
use crate::layout::{Layout, VirtRange};
use crate::model::page::NO_LINK;
use crate::model::{MemoryModel, PageState, Vmemmap};
use crate::page_alloc::{AllocError, Contents, FreeError, Gfp, NodeWish, PageAllocator};
use crate::paging::{MapError, Stale};
use crate::sync::IrqLock;
use area::Area;
use core::fmt;
use record::{Records, Ref};
use tree::Tree;

/// What an area of pages is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VmallocOptions {
    /// Where its pages come from. `Any` is the current CPU's node first, then the others by distance.
    pub node: NodeWish,
    /// What they hold.
    pub contents: Contents,
    /// What its first address is a multiple of: a power of two. Less than a page is a page.
    pub align_bytes: u64,
}

impl VmallocOptions {
    /// Pages with whatever they held before (`vmalloc`).
    pub const RAW: Self = Self { node: NodeWish::Any, contents: Contents::Any, align_bytes: 1 };
    /// Cleared pages (`vzalloc`).
    pub const ZEROED: Self = Self { contents: Contents::Zeroed, ..Self::RAW };

    /// The same, with this wish for a node.
    #[must_use]
    pub const fn on(self, node: NodeWish) -> Self {
        Self { node, ..self }
    }

    /// The same, at a multiple of `bytes`.
    #[must_use]
    pub const fn aligned(self, bytes: u64) -> Self {
        Self { align_bytes: bytes, ..self }
    }
}

/// What the lock guards.
struct State<A, M> {
    tree: Tree<Ref>,
    records: Records<A, M>,
    /// The devices, in no order.
    devices: Option<Ref>,
    /// Pages that areas have.
    pages: u64,
}

/// The areas of the layout's `vmalloc` space.
pub struct Vmalloc<A, M = Vmemmap<A>> {
    pages: PageAllocator<A, M>,
    layout: Layout,
    state: IrqLock<State<A, M>>,
}

// SAFETY: records are reached through the lock only; the handle of the page allocator says for itself what it can.
unsafe impl<A: Send + Sync, M: Send + Sync> Send for Vmalloc<A, M> {}
// SAFETY: as above.
unsafe impl<A: Send + Sync, M: Send + Sync> Sync for Vmalloc<A, M> {}

/// An area that has its addresses, and nothing yet that it maps.
#[derive(Clone, Copy)]
struct Claim {
    area: Ref,
    kind: AreaKind,
    mapped: VirtRange,
}

/// Frames that lead to each other.
#[derive(Clone, Copy)]
struct Chain {
    first: Option<Pfn>,
    last: Option<Pfn>,
    count: u64,
}

impl Chain {
    const EMPTY: Self = Self { first: None, last: None, count: 0 };
}

impl<A: Arch, M: MemoryModel<A>> Vmalloc<A, M> {
    /// No areas yet; nothing is taken before the first. Nobody else maps anything in `layout.vmalloc`.
    #[must_use]
    pub fn new(pages: PageAllocator<A, M>, layout: &Layout) -> Self {
        let state = State { tree: Tree::new(layout.vmalloc), records: Records::new(pages), devices: None, pages: 0 };
        Self { pages, layout: *layout, state: IrqLock::new(state) }
    }

    fn access(&self) -> A {
        self.pages.access()
    }

    /// Hands out at least `bytes` of memory, in whole pages, each at its own place in physical memory: readable,
    /// writable, for `owner`, which views name.
    ///
    /// # Errors
    /// [`VmallocError`].
    pub fn alloc(&self, bytes: u64, owner: &'static str, options: VmallocOptions) -> Result<VirtRange, VmallocError> {
        self.populated(AreaKind::Pages, bytes, owner, options)
    }

    /// Hands out a cleared stack of at least `bytes`, best with pages of `node`. The page below what is returned and the
    /// one behind it are never mapped.
    ///
    /// # Errors
    /// [`VmallocError`].
    pub fn stack(&self, bytes: u64, node: NodeId, owner: &'static str) -> Result<VirtRange, VmallocError> {
        self.populated(AreaKind::Stack, bytes, owner, VmallocOptions::ZEROED.on(NodeWish::Prefer(node)))
    }

    /// Maps frames of RAM in a row, readable and writable, in their order. They stay the caller's: they may go back to
    /// the page allocator only after [`Vmalloc::unmap_pages`].
    ///
    /// # Errors
    /// [`VmallocError`]; for a frame that the direct map lets nobody write, too.
    pub fn map_pages(&self, frames: &[Pfn], owner: &'static str) -> Result<VirtRange, VmallocError> {
        self.check_frames(frames)?;
        let bytes = (frames.len() as u64).saturating_mul(A::PAGE_SIZE);
        let claim = self.claim(AreaKind::Mapped, bytes, A::PAGE_SIZE, owner)?;
        self.finish(claim, self.map_frames(claim.mapped.start(), frames.iter().copied()))
    }

    /// An area with pages of its own.
    fn populated(
        &self,
        kind: AreaKind,
        bytes: u64,
        owner: &'static str,
        options: VmallocOptions,
    ) -> Result<VirtRange, VmallocError> {
        if !options.align_bytes.is_power_of_two() {
            return Err(VmallocError::Alignment(options.align_bytes));
        }
        let claim = self.claim(kind, bytes, options.align_bytes.max(A::PAGE_SIZE), owner)?;
        let gfp = Gfp { node: options.node, contents: options.contents, ..Gfp::KERNEL };
        let chain = match self.take_pages(claim.mapped.size() >> A::PAGE_SHIFT, gfp) {
            Ok(chain) => chain,
            Err(error) => {
                Unmapped::new(self, claim.area, Stale::NONE).flush().settle();
                return Err(VmallocError::Pages(error));
            }
        };
        self.hold(claim.area, chain);
        let mapped = self.map_frames(claim.mapped.start(), self.frames(chain.first, chain.count));
        self.finish(claim, mapped)
    }

    /// Takes the addresses of an area that will map `bytes` from a multiple of `align` on.
    fn claim(&self, kind: AreaKind, bytes: u64, align: u64, owner: &'static str) -> Result<Claim, VmallocError> {
        if bytes == 0 {
            return Err(VmallocError::Empty);
        }
        let full = VmallocError::NoSpace { bytes, align };
        let guards = if kind == AreaKind::Stack { 2 * A::PAGE_SIZE } else { A::PAGE_SIZE };
        let whole = bytes.checked_next_multiple_of(A::PAGE_SIZE).and_then(|bytes| bytes.checked_add(guards));
        let size = whole.ok_or(full)?;
        let area = Area::new(kind, owner);
        let mut state = self.state.lock(self.access());
        let State { tree, records, devices, .. } = &mut *state;
        if let AreaKind::Device { physical, memory } = kind {
            device::check(records, *devices, physical, memory)?;
        }
        let start = tree.fit(records, size, align, A::PAGE_SIZE).ok_or(full)?;
        let taken = VirtRange::from_size(start, size).ok_or(full)?;
        let node = records.take(taken, area).map_err(VmallocError::Record)?;
        tree.insert(records, node);
        if matches!(kind, AreaKind::Device { .. }) {
            records.area_mut(node).next = devices.replace(node);
        }
        Ok(Claim { area: node, kind, mapped: area.mapped(taken, A::PAGE_SIZE) })
    }

    /// Makes an area live whose memory is mapped, or undoes all of it.
    fn finish(&self, claim: Claim, mapped: Result<(), MapError>) -> Result<VirtRange, VmallocError> {
        let Err(error) = mapped else {
            self.state.lock(self.access()).records.area_mut(claim.area).state = AreaState::Live;
            return Ok(claim.mapped);
        };
        // What lies before the address of the error is mapped, and nothing else.
        let before = VirtRange::new(claim.mapped.start(), tables::stopped_at(&error));
        if let Ok(stale) = self.unmap_leaves(before, claim.kind) {
            Unmapped::new(self, claim.area, stale).flush().settle();
        }
        Err(VmallocError::Map(error))
    }

    /// Takes `count` pages and makes each lead to the next; or none.
    fn take_pages(&self, count: u64, gfp: Gfp) -> Result<Chain, AllocError> {
        if count > self.pages.free_pages() {
            // Why should everybody else run out first?
            return Err(AllocError::NoMemory { order: Order::default() });
        }
        let mut chain = Chain::EMPTY;
        while chain.count < count {
            match self.pages.alloc_as(Order::default(), gfp, PageState::Vmalloc) {
                Ok(pfn) => self.link(&mut chain, pfn),
                Err(error) => {
                    let freed = self.give_pages(chain.first, chain.count);
                    debug_assert!(freed.is_ok(), "pages that nobody used are not taken back: {freed:?}");
                    return Err(error);
                }
            }
        }
        Ok(chain)
    }

    fn link(&self, chain: &mut Chain, pfn: Pfn) {
        let map = self.pages.memmap();
        if let Some(page) = map.page(pfn) {
            page.set_next(NO_LINK);
        }
        match chain.last.and_then(|last| map.page(last)) {
            Some(last) => last.set_next(pfn.as_u64()),
            None => chain.first = Some(pfn),
        }
        chain.last = Some(pfn);
        chain.count += 1;
    }

    /// The frames of an area, in the order of their addresses.
    fn frames(&self, first: Option<Pfn>, count: u64) -> impl Iterator<Item = Pfn> {
        let map = self.pages.memmap();
        let next = move |&pfn: &Pfn| Some(map.page(pfn)?.next()).filter(|&next| next != NO_LINK).map(Pfn::new);
        core::iter::successors(first, next).take(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// Notes that an area has these pages.
    fn hold(&self, area: Ref, chain: Chain) {
        let mut state = self.state.lock(self.access());
        state.pages += chain.count;
        let area = state.records.area_mut(area);
        (area.first, area.pages) = (chain.first, chain.count);
    }

    /// Gives pages back that no CPU reaches through an area; the first refusal.
    fn give_pages(&self, first: Option<Pfn>, count: u64) -> Result<(), VfreeError> {
        let mut refused = Ok(());
        let mut freed = 0;
        // Each frame's successor is read before the frame is another's.
        let mut frames = self.frames(first, count);
        let mut next = frames.next();
        while let Some(pfn) = next {
            next = frames.next();
            let result = self.pages.free_as(pfn, Order::default(), PageState::Vmalloc);
            refused = refused.and(result.map_err(|error| VfreeError::Page { pfn, error }));
            freed += 1;
        }
        match first {
            // A damaged record has cut the list.
            Some(pfn) if freed < count => refused.and(Err(VfreeError::Page { pfn, error: FreeError::Corrupt })),
            _ => refused,
        }
    }
}

impl<A: Arch, M: MemoryModel<A>> fmt::Debug for Vmalloc<A, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.areas()).finish()
    }
}
