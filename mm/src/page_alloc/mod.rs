//! The page allocator: memory in blocks of `1 << order` frames, from the zones of the nodes.
//!
//! [`PageAllocator::take_over`] turns what memblock knew into pools, one a zone: reserved frames are described, free
//! ones go to the free lists, and whole granules that nobody touched stay ranges until they are needed. From then on
//! [`PageAllocator::alloc`] asks the zones of a zonelist in their order, nearest node first, and takes the block from
//! the first that can spare it; [`PageAllocator::free`] looks at the block's own record to see whether it may.
//!
//! | file | holds |
//! |---|---|
//! | `buddy` | free lists of one zone: split and merge |
//! | `untouched` | ranges of granules that nobody touched |
//! | `pool` | both behind the zone's lock, and the watermark check |
//! | `take_over` | from memblock to pools |
//! | `sweep` | what memblock says, piece by piece |
//! | `gfp` | what a request may have |
//! | `refuse` | refusals on purpose, for tests |
//! | `counts` | numbers for views |
//! | `info` | what a frame is |
//! | `verify` | walks everything |
//!
//! Frames are numbers: neither `alloc` nor `free` makes a pointer or believes what it is told. A free that cannot be
//! right is refused by name and changes nothing, because a block's head is compared under the zone's lock.
//! Pages of slabs, page tables and large `kmalloc` blocks carry states of their own, so nobody frees them by accident.
//!
//! Invariants, which [`PageAllocator::verify`] checks: every present frame is free, handed out, reserved, memmap or
//! untouched, exactly once; a zone's counter is the sum of its lists and granules; `managed` never changes.
//!
//! Costs: O(orders) per call, one lock; 32 bytes a described frame. Linux: `mm/page_alloc.c`.

mod added;
pub(crate) mod buddy;
mod counts;
mod error;
mod gfp;
mod info;
mod pool;
pub mod refuse;
mod sweep;
mod take_over;
mod untouched;
mod verify;

pub use counts::{PageSet, ZoneCounts};
pub use error::{AllocError, FreeError};
pub use gfp::{Contents, Gfp, NodeWish, Urgency};
pub use info::PageInfo;
pub use take_over::TakeOverError;
pub use verify::{PageCounts, PageFault, PageProblem};

use crate::addr::{CpuId, NodeId, Order, Pfn, PfnRange, PhysAddr};
use crate::arch::Arch;
use crate::memblock::BootSlice;
use crate::model::page::PageState;
use crate::model::{Granule, MemoryModel, Vmemmap};
use crate::numa::Topology;
use crate::paging::{FrameSource, PageTables};
use crate::sync::IrqLock;
use crate::zone::{ZoneIndex, ZoneSpan, ZoneTable};
use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use pool::{Floor, Pool};

/// All that the allocator knows; lies in boot memory for good.
pub(crate) struct Shared<A, M> {
    access: A,
    map: M,
    nodes: Topology<A>,
    zones: ZoneTable<A>,
    /// The pool of each zone, by its index.
    pools: BootSlice<A, PoolPointer<A, M>>,
    /// The node of each CPU.
    cpu_nodes: BootSlice<A, NodeId>,
    tables: IrqLock<PageTables<A>>,
    /// Whether a slab allocator lives on these pages: the records of slabs have room for the caches of one.
    has_slab: AtomicBool,
    refusals: refuse::Refusals,
}

/// A pool in memory of its zone's node, or nothing while the allocator is being made.
struct PoolPointer<A, M>(Option<NonNull<Pool<A, M>>>);

// SAFETY: zero is `None`, the pointer's niche, and nothing needs a drop.
unsafe impl<A, M> crate::memblock::Zeroed for PoolPointer<A, M> {}

/// The page allocator: a handle to what lies in boot memory. Copies are the same allocator.
pub struct PageAllocator<A, M = Vmemmap<A>> {
    shared: NonNull<Shared<A, M>>,
}

impl<A, M> Clone for PageAllocator<A, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A, M> Copy for PageAllocator<A, M> {}

// SAFETY: through the handle only shared references are reached: the pools behind their locks, atomics, and tables
// that do not change.
unsafe impl<A: Send + Sync, M: Send + Sync> Send for PageAllocator<A, M> {}
// SAFETY: as above.
unsafe impl<A: Send + Sync, M: Send + Sync> Sync for PageAllocator<A, M> {}

impl<A: Arch, M: MemoryModel<A>> PageAllocator<A, M> {
    pub(crate) fn shared(&self) -> &Shared<A, M> {
        // SAFETY: `take_over` made the value in memory that memblock gave it for good, which stays valid as long as the
        // handle `A` lives, of which this holds a copy there; nobody has a mutable reference any more.
        unsafe { self.shared.as_ref() }
    }

    pub(crate) fn access(&self) -> A {
        self.shared().access
    }

    /// The memmap.
    pub fn memmap(&self) -> &M {
        &self.shared().map
    }

    /// Nodes, their CPUs and distances.
    pub fn nodes(&self) -> &Topology<A> {
        &self.shared().nodes
    }

    /// Zones and zonelists.
    pub fn zones(&self) -> &ZoneTable<A> {
        &self.shared().zones
    }

    /// The kernel's page tables, for whoever maps and unmaps outside of the vmemmap.
    pub fn tables(&self) -> &IrqLock<PageTables<A>> {
        &self.shared().tables
    }

    /// The zones that have memory, with their numbers.
    pub fn populated(&self) -> impl Iterator<Item = (ZoneIndex, ZoneSpan)> {
        (0..).map(ZoneIndex::new).zip(self.zones().spans().iter().copied()).filter(|(_, span)| span.is_populated())
    }

    /// Whether the caller is the first to make a slab allocator on these pages.
    pub(crate) fn claim_for_slab(&self) -> bool {
        !self.shared().has_slab.swap(true, Relaxed)
    }

    fn pool(&self, zone: ZoneIndex) -> Option<&Pool<A, M>> {
        let pointer = self.shared().pools.get(zone.index())?.0?;
        // SAFETY: `take_over` placed a pool there for good and gave up every other reference to it.
        Some(unsafe { pointer.as_ref() })
    }

    fn pools(&self) -> impl Iterator<Item = &Pool<A, M>> {
        // SAFETY: as in `pool`.
        self.shared().pools.iter().filter_map(|pointer| pointer.0.map(|pool| unsafe { pool.as_ref() }))
    }

    /// The node of the CPU that runs the caller.
    pub fn current_node(&self) -> NodeId {
        self.node_of_cpu(self.access().current())
    }

    fn node_of_cpu(&self, cpu: CpuId) -> NodeId {
        self.shared().cpu_nodes.get(cpu.index()).copied().unwrap_or_default()
    }

    /// Hands out a block of `order` and returns its first frame. Its contents are as `gfp` asks.
    ///
    /// # Errors
    /// [`AllocError`]; then nothing has changed, except that a granule may have been carved.
    pub fn alloc(&self, order: Order, gfp: Gfp) -> Result<Pfn, AllocError> {
        self.alloc_as(order, gfp, PageState::Allocated)
    }

    /// As [`PageAllocator::alloc`], for a block that only [`PageAllocator::free_as`] takes back.
    pub(crate) fn alloc_as(&self, order: Order, gfp: Gfp, state: PageState) -> Result<Pfn, AllocError> {
        if self.shared().refusals.strikes(self.access()) {
            return Err(AllocError::NoMemory { order });
        }
        let zones = self.zones();
        let (node, list) = match gfp.node {
            NodeWish::Any => {
                let node = self.current_node();
                (node, zones.zonelist(node, gfp.zone))
            }
            NodeWish::Prefer(node) => (node, zones.zonelist(node, gfp.zone)),
            NodeWish::Only(node) => (node, zones.this_node_zonelist(node, gfp.zone)),
        };
        // First leave every zone its low watermark, so that near zones are not drained while others have plenty.
        let last = match gfp.urgency {
            Urgency::Normal => Floor::Min,
            Urgency::Atomic => Floor::HalfMin,
        };
        let mut damaged = None;
        for floor in [Floor::Low, last] {
            for pool in list.iter().filter_map(|&zone| self.pool(zone)) {
                if !pool.can_spare(order, floor, gfp.zone) {
                    continue;
                }
                match pool.take(self.access(), self.memmap(), order, state) {
                    Ok(Some(pfn)) => {
                        self.prepare(pfn, order, gfp);
                        return Ok(pfn);
                    }
                    Ok(None) => {}
                    // A zone whose memory cannot be described does not keep the others from serving.
                    Err(error) => damaged = Some(error),
                }
            }
        }
        let none = if self.nodes().node(node).is_some() { AllocError::NoMemory { order } } else { AllocError::NoNode };
        Err(damaged.unwrap_or(none))
    }

    fn prepare(&self, pfn: Pfn, order: Order, gfp: Gfp) {
        if gfp.contents == Contents::Zeroed {
            let block = PfnRange::new(pfn, pfn.saturating_add(order.frames()));
            // SAFETY: the block was just taken off the free lists, so it is RAM of one range, mapped by the direct map,
            // that nobody else uses until it is handed out.
            unsafe { self.access().clear(block.bytes(A::PAGE_SHIFT)) };
        }
    }

    /// Takes back the block of `order` at `pfn`.
    ///
    /// # Errors
    /// [`FreeError`] says why that cannot be right; then nothing has changed.
    ///
    /// # Safety
    /// If somebody holds that block, it is the caller, and nobody uses its frames any more: they will be another's.
    pub unsafe fn free(&self, pfn: Pfn, order: Order) -> Result<(), FreeError> {
        self.free_as(pfn, order, PageState::Allocated)
    }

    /// As [`PageAllocator::free`], for a block that was handed out as `state`.
    pub(crate) fn free_as(&self, pfn: Pfn, order: Order, state: PageState) -> Result<(), FreeError> {
        let Some(page) = self.memmap().page(pfn) else { return Err(self.refusal(pfn)) };
        let head = page.head();
        if head.state() != state {
            return Err(self.refusal(pfn));
        }
        if head.order() != order {
            return Err(FreeError::WrongOrder { allocated: head.order() });
        }
        let pool = self.pool(head.zone()).ok_or(FreeError::Corrupt)?;
        if pool.give(self.access(), self.memmap(), pfn, head) { Ok(()) } else { Err(self.refusal(pfn)) }
    }

    /// Free frames of all zones, those of untouched granules too.
    #[must_use]
    pub fn free_pages(&self) -> u64 {
        self.pools().map(Pool::free_frames).sum()
    }

    /// Frames of untouched granules that carving them would give.
    #[must_use]
    pub fn untouched_pages(&self) -> u64 {
        self.pools().map(|pool| pool.lists.lock(self.access()).untouched.usable_frames()).sum()
    }
}

/// Gives page tables their frames once memblock is gone.
///
/// A table's frame is marked as such, so that nobody frees it as pages.
pub struct TableFrames<A, M = Vmemmap<A>>(pub PageAllocator<A, M>);

// SAFETY: the allocator hands a frame out once, and every frame it has is RAM that the direct map maps; in the state
// `Table` nobody else can free it.
unsafe impl<A: Arch, M: MemoryModel<A>> FrameSource for TableFrames<A, M> {
    fn table_frame(&mut self, near: PhysAddr) -> Option<PhysAddr> {
        let section = Granule::<A>::section_of(Pfn::containing(near, A::PAGE_SHIFT));
        let node = self.0.memmap().section(section).node;
        let gfp = Gfp::KERNEL.on(NodeWish::Prefer(node));
        let pfn = self.0.alloc_as(Order::default(), gfp, PageState::Table).ok()?;
        Some(pfn.address(A::PAGE_SHIFT))
    }
}

impl<A: Arch, M: MemoryModel<A>> fmt::Debug for PageAllocator<A, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.zones().spans()).finish()
    }
}

impl<A, M> Clone for TableFrames<A, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A, M> Copy for TableFrames<A, M> {}

impl<A: Arch, M: MemoryModel<A>> fmt::Debug for TableFrames<A, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TableFrames").field(&self.0).finish()
    }
}
