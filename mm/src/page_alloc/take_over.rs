//! From memblock to pools.
//!
//! What must be described at boot depends on what is reserved, and describing reserves more: the memmap, the tables
//! that map it, the lists of untouched ranges. So the plan is made over and over until it changes nothing any more;
//! since each round only turns untouched memory into described memory, that ends, in practice after two rounds. Then
//! memblock is frozen, and one last sweep fills the pools.
//!
//! Costs: O(regions) per round, O(described frames) to clear their records, a few instructions a section for the rest.
//! Untouched memory is never looked at, so a machine of 256 GiB costs what one of 1 GiB does.
//!
//! Linux: `memblock_free_all`, `memmap_init`, `sparse_init`.

use super::buddy::for_each_block;
use super::counts::PageSet;
use super::pool::Pool;
use super::refuse::Refusals;
use super::sweep::{Piece, Sweep};
use super::{PageAllocator, PoolPointer, Shared};
use crate::addr::{NodeId, PfnRange, PhysAddr, PhysRange};
use crate::arch::Arch;
use crate::layout::Layout;
use crate::machine::Owner;
use crate::memblock::{BootSlice, Memblock, NodeWish, OutOfMemory, Record, RegionFlags, Zeroed};
use crate::model::page::{Head, PageState};
use crate::model::{Granule, MemmapError, MemoryModel, Sections};
use crate::numa::Topology;
use crate::paging::PageTables;
use crate::sync::IrqLock;
use crate::zone::{ZoneIndex, ZoneKind, ZoneSpan, ZoneTable, Zones, watermark};
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use core::sync::atomic::AtomicBool;

/// Why the page allocator could not take over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TakeOverError {
    /// Memblock has no memory for the allocator's own tables.
    OutOfMemory(OutOfMemory),
    /// The memmap could not be made.
    Memmap(MemmapError),
    /// There is no memory.
    NoMemory,
    /// This memory would be handed out, but nobody has said that it is mapped
    /// ([`Memblock::set_mapped`](crate::memblock::Memblock::set_mapped)).
    NotMapped(PhysRange),
}

impl fmt::Display for TakeOverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfMemory(error) => write!(f, "page allocator: {error}"),
            Self::Memmap(error) => write!(f, "page allocator: {error}"),
            Self::NoMemory => f.write_str("page allocator: there is no memory"),
            Self::NotMapped(range) => write!(f, "page allocator: {range} is not mapped"),
        }
    }
}

impl core::error::Error for TakeOverError {}

impl From<OutOfMemory> for TakeOverError {
    fn from(error: OutOfMemory) -> Self {
        Self::OutOfMemory(error)
    }
}

impl From<MemmapError> for TakeOverError {
    fn from(error: MemmapError) -> Self {
        Self::Memmap(error)
    }
}

/// Room for one value in boot memory.
struct Room<T>(MaybeUninit<T>);

// SAFETY: room without a value may hold any bytes, and is never dropped.
unsafe impl<T> Zeroed for Room<T> {}

/// Room for one value on `node`. What is written there stays for good.
fn room<A: Arch, T>(memblock: &mut Memblock<A>, node: NodeId) -> Result<BootSlice<A, Room<T>>, OutOfMemory> {
    memblock.alloc_slice(1, NodeWish::Prefer(node), owner())
}

fn owner() -> Owner {
    Owner::new("page allocator")
}

impl<A: Arch, M: MemoryModel<A>> PageAllocator<A, M> {
    /// Bytes of node data that hold the zones of a node, for [`Nodes::place_data`](crate::numa::Nodes::place_data).
    pub const NODE_DATA_BYTES: u64 = (ZoneKind::COUNT * size_of::<Pool<A, M>>()) as u64;

    /// Takes all memory over; `layout` says where a vmemmap lies. Memblock's regions stay as a record.
    ///
    /// # Safety
    /// `tables` are the active ones, and stay active; nobody else maps anything in the layout's vmemmap. The memblock
    /// in `zones` is the one that placed the data of the nodes there.
    ///
    /// # Errors
    /// [`TakeOverError`]: not even the allocator's own tables fit, or memory is not mapped yet.
    pub unsafe fn take_over(
        mut zones: Zones<A>,
        mut tables: PageTables<A>,
        layout: &Layout,
    ) -> Result<(Self, Record<A>), TakeOverError> {
        zones.memblock_mut().release_temporary();
        if zones.memblock().memory().is_empty() {
            return Err(TakeOverError::NoMemory);
        }
        if let Some(range) = unmapped(&zones) {
            return Err(TakeOverError::NotMapped(range));
        }
        let access = zones.memblock().access();
        let mut map = M::make(zones.memblock_mut(), &tables, layout)?;
        let mut pools = place_pools(&mut zones)?;
        let cpu_nodes = cpu_nodes(&mut zones)?;
        let mut room = room::<A, Shared<A, M>>(zones.memblock_mut(), cpu_nodes.first().copied().unwrap_or_default())?;
        loop {
            let before = zones.memblock().reserved_size();
            plan(&zones, &map, &mut pools);
            make_lists(&mut zones, &mut pools)?;
            map.describe_pending(zones.memblock_mut(), &mut tables)?;
            prepare_tables(&map, &mut zones, &mut pools, &mut tables)?;
            if zones.memblock().reserved_size() == before {
                break;
            }
        }
        let (memblock, nodes, zones) = zones.into_parts();
        let record = memblock.freeze();
        map.settle();
        fill(&zones, &record, &map, &mut pools);
        set_watermarks(&nodes, &mut pools);
        let Some(Room(room)) = room.first_mut() else { return Err(TakeOverError::NoMemory) };
        let tables = IrqLock::new(tables);
        let shared = Shared {
            access,
            map,
            nodes,
            zones,
            pools,
            cpu_nodes,
            tables,
            has_slab: AtomicBool::new(false),
            refusals: Refusals::default(),
        };
        Ok((Self { shared: NonNull::from(room.write(shared)) }, record))
    }
}

/// The first memory that would be handed out although neither `set_mapped` nor who added it has promised it.
fn unmapped<A: Arch>(zones: &Zones<A>) -> Option<PhysRange> {
    let withheld = RegionFlags::NOMAP | RegionFlags::DRIVER_MANAGED;
    let regions = zones.memblock().memory().iter().filter(|region| !region.flags().intersects(withheld));
    let mapped = zones.memblock().mapped();
    let is_mapped = |range: PhysRange| {
        let below = PhysRange::new(range.start(), range.end().min(mapped.start()));
        let above = PhysRange::new(range.start().max(mapped.end()), range.end());
        [below, above].iter().all(|&outside| zones.was_added(PfnRange::inside(outside, A::PAGE_SHIFT)))
    };
    let mut ranges = regions.map(|region| region.range());
    ranges.find(|&range| !is_mapped(range))
}

/// An empty pool for each zone, in its node's data where [`Nodes::place_data`](crate::numa::Nodes::place_data) took
/// room for it, else in memory of its own on the node.
fn place_pools<A: Arch, M: MemoryModel<A>>(
    zones: &mut Zones<A>,
) -> Result<BootSlice<A, PoolPointer<A, M>>, OutOfMemory> {
    let access = zones.memblock().access();
    let count = zones.spans().len();
    let mut pools = zones.memblock_mut().alloc_slice::<PoolPointer<A, M>>(count, NodeWish::Any, owner())?;
    for (number, slot) in (0..).zip(pools.iter_mut()) {
        let index = ZoneIndex::new(number);
        let Some(span) = zones.spans().get(index.index()).copied() else { break };
        let pool = Pool::new(access, index, span);
        slot.0 = match room_in_node_data::<A, M>(zones, span) {
            Some(at) => {
                let pointer = access.phys_ptr(at).cast::<Pool<A, M>>();
                // SAFETY: the room is RAM that memblock gave to the node for good, as the caller of `take_over` says,
                // large enough and aligned as checked, mapped as all memory is, and each kind of zone has a place of
                // its own in it.
                unsafe { pointer.write(pool) };
                NonNull::new(pointer)
            }
            None => {
                let mut room = room::<A, Pool<A, M>>(zones.memblock_mut(), span.node)?;
                room.first_mut().map(|Room(room)| NonNull::from(room.write(pool)))
            }
        };
    }
    Ok(pools)
}

/// The place of a zone's pool in its node's data, if there is one with room.
fn room_in_node_data<A: Arch, M: MemoryModel<A>>(zones: &Zones<A>, span: ZoneSpan) -> Option<PhysAddr> {
    let data = zones.nodes().node(span.node)?.data?;
    let offset = (span.kind.index() * size_of::<Pool<A, M>>()) as u64;
    let at = data.start().checked_add(offset)?;
    let place = PhysRange::from_size(at, size_of::<Pool<A, M>>() as u64)?;
    (data.contains_range(place) && at.is_aligned(align_of::<Pool<A, M>>() as u64)).then_some(at)
}

/// The node of each CPU, by the CPU's number.
fn cpu_nodes<A: Arch>(zones: &mut Zones<A>) -> Result<BootSlice<A, NodeId>, OutOfMemory> {
    let count = zones.nodes().cpus().iter().map(|cpu| cpu.id.index() + 1).max().unwrap_or(0);
    let mut nodes = zones.memblock_mut().alloc_slice::<NodeId>(count, NodeWish::Any, owner())?;
    for cpu in zones.nodes().cpus() {
        if let Some(slot) = nodes.get_mut(cpu.id.index()) {
            *slot = cpu.node;
        }
    }
    Ok(nodes)
}

fn pool_mut<A, M>(pools: &mut BootSlice<A, PoolPointer<A, M>>, at: usize) -> Option<&mut Pool<A, M>> {
    let pointer = pools.get_mut(at)?.0.as_mut()?;
    // SAFETY: `place_pools` put a pool there, and as long as the allocator is not made, the slice is the only way to
    // it; it is borrowed mutably.
    Some(unsafe { pointer.as_mut() })
}

/// Decides which granules can stay untouched, and marks the sections of all other memory as pending.
fn plan<A: Arch, M: MemoryModel<A>>(zones: &Zones<A>, map: &M, pools: &mut BootSlice<A, PoolPointer<A, M>>) {
    for at in 0..pools.len() {
        if let Some(pool) = pool_mut(pools, at) {
            pool.lists.get_mut().untouched.reset(None);
        }
    }
    let memblock = zones.memblock();
    let sweep = Sweep { memory: memblock.memory(), reserved: memblock.reserved(), zones };
    sweep.pieces(&mut |piece| {
        let [low, untouched, high] = parts::<A>(piece);
        for frames in [low, high] {
            map.sections().want(frames, piece.node);
        }
        if !untouched.is_empty()
            && let Some(pool) = pool_mut(pools, piece.zone.index())
        {
            pool.lists.get_mut().untouched.push(untouched);
        }
    });
}

/// What of a piece is described, stays untouched, is described.
pub(super) fn parts<A: Arch>(piece: Piece) -> [PfnRange; 3] {
    let granules = Granule::<A>::inside(piece.frames);
    if piece.state != PageState::Free || granules.is_empty() {
        return [piece.frames, PfnRange::EMPTY, PfnRange::EMPTY];
    }
    [PfnRange::new(piece.frames.start(), granules.start()), granules, PfnRange::new(granules.end(), piece.frames.end())]
}

/// Gives every pool a list that holds its untouched ranges.
fn make_lists<A: Arch, M: MemoryModel<A>>(
    zones: &mut Zones<A>,
    pools: &mut BootSlice<A, PoolPointer<A, M>>,
) -> Result<(), OutOfMemory> {
    for at in 0..pools.len() {
        let Some(pool) = pool_mut(pools, at) else { continue };
        let node = pool.span.node;
        let untouched = &mut pool.lists.get_mut().untouched;
        if let Some(missing) = untouched.missing() {
            // The list itself, and what is taken from memblock after it, may cut one of the ranges in two.
            let list = zones.memblock_mut().alloc_slice(missing + 2, NodeWish::Prefer(node), owner())?;
            untouched.reset(Some(list));
        }
    }
    Ok(())
}

/// Makes the tables through which untouched granules will be described.
fn prepare_tables<A: Arch, M: MemoryModel<A>>(
    map: &M,
    zones: &mut Zones<A>,
    pools: &mut BootSlice<A, PoolPointer<A, M>>,
    tables: &mut PageTables<A>,
) -> Result<(), MemmapError> {
    for at in 0..pools.len() {
        let Some(pool) = pool_mut(pools, at) else { continue };
        for &frames in pool.lists.get_mut().untouched.ranges() {
            map.prepare(zones.memblock_mut(), tables, frames)?;
        }
    }
    Ok(())
}

/// Describes every block of the described sections, and gives the free ones to their pools.
fn fill<A: Arch, M: MemoryModel<A>>(
    zones: &ZoneTable<A>,
    record: &Record<A>,
    map: &M,
    pools: &mut BootSlice<A, PoolPointer<A, M>>,
) {
    let sweep = Sweep { memory: record.memory(), reserved: record.reserved(), zones };
    sweep.pieces(&mut |piece| {
        if piece.state != PageState::Free {
            for_each_block(piece.frames, &mut |pfn, order| {
                if let Some(page) = map.page(pfn) {
                    page.set_head(Head::new(piece.state, order, piece.zone));
                }
            });
            return;
        }
        let Some(pool) = pool_mut(pools, piece.zone.index()) else { return };
        let lists = pool.lists.get_mut();
        let [low, untouched, high] = parts::<A>(piece);
        lists.buddy.give_range(map, low);
        lists.buddy.give_range(map, high);
        map.sections().leave_untouched(untouched, piece.node);
    });
    for at in 0..pools.len() {
        if let Some(pool) = pool_mut(pools, at) {
            pool.recount();
            pool.managed = pool.free_frames();
        }
    }
}

/// Derives from what each zone was given how far it may be emptied. Linux: `init_per_zone_wmark_min`.
fn set_watermarks<A: Arch, M: MemoryModel<A>>(nodes: &Topology<A>, pools: &mut BootSlice<A, PoolPointer<A, M>>) {
    let (mut all, mut kernel) = (0, 0);
    for at in 0..pools.len() {
        let Some(pool) = pool_mut(pools, at) else { continue };
        all += pool.managed;
        // What can only hold movable pages is no help to the kernel.
        kernel += if pool.span.kind == ZoneKind::Movable { 0 } else { pool.managed };
    }
    let min_free = watermark::min_free_kib(kernel, A::PAGE_SHIFT) << 10 >> A::PAGE_SHIFT;
    for node in nodes.iter() {
        let mut managed = [0; ZoneKind::COUNT];
        for at in 0..pools.len() {
            if let Some(pool) = pool_mut(pools, at).filter(|pool| pool.span.node == node.id)
                && let Some(slot) = managed.get_mut(pool.span.kind.index())
            {
                *slot = pool.managed;
            }
        }
        let reserve = watermark::lowmem_reserve(managed, watermark::LOWMEM_RESERVE_RATIO);
        let cpus = nodes.cpus_of(node.id).count() as u64;
        for at in 0..pools.len() {
            let Some(pool) = pool_mut(pools, at).filter(|pool| pool.span.node == node.id) else { continue };
            let marks = watermark::watermarks(min_free, pool.managed, all, watermark::SCALE_FACTOR);
            let batch = watermark::pcp_batch(pool.managed, A::PAGE_SHIFT);
            pool.protection = reserve.get(pool.span.kind.index()).copied().unwrap_or_default();
            pool.page_set = PageSet { high: watermark::pcp_high(marks.low, cpus, batch), batch };
            pool.stat_threshold = watermark::stat_threshold(pool.managed, nodes.cpus().len() as u64, A::PAGE_SHIFT);
            pool.watermarks = marks;
        }
    }
}
