//! From what the firmware said to zones: the stages that need no hardware.
//!
//! `kernel` calls them on the machine that it runs on, `cargo xtask simulate` on machines that are not there; nothing
//! here knows which. The order is that of the functions below: [`memory`], [`nodes`], [`node_data`], [`reserve()`],
//! [`zones`], [`percpu`], [`zonelists`], [`huge_pages`]. After [`reserve()`] the kernel builds its page tables. Linux:
//! `setup_arch`, `arm64_memblock_init`, `bootmem_init`, `free_area_init`, `setup_per_cpu_areas`, `build_all_zonelists`.

use crate::plan::{Listener, Plan};
use crate::reserve::{self, Pools, Reserved};
use core::fmt;
use mm::addr::{PfnRange, PhysAddr, PhysRange};
use mm::arch::{PageFormat, PhysMap};
use mm::machine::{Problem, Rules, Source, Table, Warning};
use mm::memblock::{Memblock, MemblockError, RegionFlags};
use mm::numa::{Nodes, NumaError, NumaPolicy};
use mm::percpu::{FirstChunk, PerCpuError, text as percpu_text};
use mm::view::boot;
use mm::zone::{Amount, ZoneError, ZoneLimits, Zones};

/// Why bring-up cannot go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BringUpError {
    /// Nothing is left of what the firmware names.
    NoMemory,
    /// Regions cannot be kept.
    Regions(MemblockError),
    /// Memory cannot be put on nodes.
    Nodes(NumaError),
    /// Nodes cannot be cut into zones.
    Zones(ZoneError),
    /// CPUs get no memory for their variables.
    PerCpu(PerCpuError),
}

impl fmt::Display for BringUpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMemory => f.write_str("no usable memory: nothing is left of what the firmware names"),
            Self::Regions(error) => write!(f, "memblock: {error}"),
            Self::Nodes(error) => write!(f, "nodes: {error}"),
            Self::Zones(error) => write!(f, "zones: {error}"),
            Self::PerCpu(error) => write!(f, "per-CPU areas: {error}"),
        }
    }
}

impl core::error::Error for BringUpError {}

impl From<MemblockError> for BringUpError {
    fn from(error: MemblockError) -> Self {
        Self::Regions(error)
    }
}

impl From<NumaError> for BringUpError {
    fn from(error: NumaError) -> Self {
        Self::Nodes(error)
    }
}

impl From<PerCpuError> for BringUpError {
    fn from(error: PerCpuError) -> Self {
        Self::PerCpu(error)
    }
}

impl From<ZoneError> for BringUpError {
    fn from(error: ZoneError) -> Self {
        Self::Zones(error)
    }
}

/// Fills `memblock` with the memory that there is and that may be used, and with everything that somebody holds or
/// wants held. Returns the firmware's pools of contiguous memory.
///
/// # Errors
/// There is no memory, or too little of it to keep its own description.
pub fn memory<A: PhysMap + PageFormat>(
    plan: &Plan<'_>,
    memblock: &mut Memblock<A>,
    listener: &mut Listener<'_>,
) -> Result<Pools, BringUpError> {
    memblock.set_movable_node(plan.options.movable.movable_node);
    memblock.populate(plan.machine, listener.warn)?;
    reserve::restrict(plan, memblock, listener)?;
    memblock.limit(plan.reach, plan.machine, listener.warn)?;
    if plan.options.movable.kernelcore != Some(Amount::Mirror) {
        // Unless the kernel is to keep to mirrored memory, it is memory like any other.
        memblock.clear(PhysRange::ALL, RegionFlags::MIRROR)?;
    }
    if memblock.memory_size() == 0 {
        return Err(BringUpError::NoMemory);
    }
    Ok(reserve::grant_wishes(plan, memblock, listener)?)
}

/// Puts all memory on nodes.
///
/// # Errors
/// There is no memory for the tables of nodes.
pub fn nodes<A: PhysMap + PageFormat>(
    plan: &Plan<'_>,
    memblock: Memblock<A>,
    listener: &mut Listener<'_>,
) -> Result<Nodes<A>, BringUpError> {
    let policy = NumaPolicy { rules: plan.rules, option: plan.options.numa };
    let mut nodes = Nodes::assign(memblock, plan.machine, policy, listener.text, listener.warn)?;
    nodes.set_emulated_distances(&plan.options.fake_distances, listener.warn)?;
    Ok(nodes)
}

/// Places `bytes` of data for each node on that node.
///
/// # Errors
/// There is no memory for it.
pub fn node_data<A: PhysMap + PageFormat>(
    nodes: &mut Nodes<A>,
    bytes: u64,
    listener: &mut Listener<'_>,
) -> Result<(), BringUpError> {
    Ok(nodes.place_data(bytes, listener.text)?)
}

/// Keeps contiguous memory beside the firmware's `pools`, and memory for a crash kernel. To be called before the final
/// page tables are made, so that these do not lie where Linux has what is kept.
///
/// # Errors
/// A range cannot be booked. That nothing fits is no error: the log says so.
pub fn reserve<A: PhysMap + PageFormat>(
    plan: &Plan<'_>,
    pools: Pools,
    nodes: &mut Nodes<A>,
    listener: &mut Listener<'_>,
) -> Result<Reserved, BringUpError> {
    let memory = nodes.memblock().memory().span();
    let dma_end = match plan.rules {
        // Whatever a driver can want: the old limits are its own affair.
        Rules::X86 => memory.end(),
        Rules::Arm64 => end_of_dma::<A>(zone_limits::<A>(plan, memory), memory),
    };
    Ok(reserve::early(plan, pools, nodes, dma_end, listener)?)
}

/// Where the lowest zone ends: what the most limited devices reach.
fn end_of_dma<A: PageFormat>(limits: ZoneLimits, memory: PhysRange) -> PhysAddr {
    let ranges = limits.resolve(PfnRange::inside(memory, A::PAGE_SHIFT), A::PAGE_SHIFT);
    let lowest = limits.kinds().next().and_then(|kind| ranges.get(kind.index()));
    lowest.copied().unwrap_or_default().end().address(A::PAGE_SHIFT)
}

/// Where kinds of zones end on a machine whose memory spans `memory`.
fn zone_limits<A: PageFormat>(plan: &Plan<'_>, memory: PhysRange) -> ZoneLimits {
    let limits = match plan.rules {
        Rules::X86 => ZoneLimits::x86(A::PAGE_SHIFT),
        Rules::Arm64 => ZoneLimits::arm64(memory, plan.machine.dma_limit.map(|limit| limit.end)),
    };
    limits.with(plan.low_zones)
}

/// Cuts nodes into zones.
///
/// # Errors
/// There is no memory for the tables of zones.
pub fn zones<A: PhysMap + PageFormat>(
    plan: &Plan<'_>,
    nodes: Nodes<A>,
    listener: &mut Listener<'_>,
) -> Result<Zones<A>, BringUpError> {
    let limits = zone_limits::<A>(plan, nodes.memblock().memory().span());
    let zones = Zones::lay_out(nodes, limits, plan.options.movable)?;
    // Text that cannot be written is no reason to stop.
    let _ = boot::zone_layout(&zones, listener.text);
    Ok(zones)
}

/// Places `static_bytes` of per-CPU variables for each CPU on its node. The memory is not touched yet.
///
/// # Errors
/// There is no memory for them, not even for the boot CPU's.
pub fn percpu<A: PhysMap + PageFormat>(
    zones: &mut Zones<A>,
    static_bytes: u64,
    listener: &mut Listener<'_>,
) -> Result<FirstChunk<A>, BringUpError> {
    let chunk = FirstChunk::allocate(zones.nodes_mut(), static_bytes)?;
    if chunk.areas().len() < zones.nodes().cpus().len() {
        let problem =
            Problem::Ignored { what: "every CPU but the first", why: "there is no memory for their variables" };
        (listener.warn)(Warning { source: Source::whole(Table::Kernel), problem });
    }
    let _ = percpu_text::write(&chunk, A::PAGE_SIZE, listener.text);
    Ok(chunk)
}

/// Orders nodes and zones for every node; a memory map will take `struct_page_bytes` a page.
///
/// # Errors
/// There is no memory for the lists.
pub fn zonelists<A: PhysMap + PageFormat>(
    plan: &Plan<'_>,
    zones: &mut Zones<A>,
    struct_page_bytes: u64,
    listener: &mut Listener<'_>,
) -> Result<(), BringUpError> {
    zones.build_zonelists()?;
    let _ = zonelist_text(plan, zones, struct_page_bytes, listener.text);
    Ok(())
}

/// Sets large pages aside, and adds them to what was `reserved`.
///
/// # Errors
/// A range cannot be booked. That there is not room for all is no error: the log says so.
pub fn huge_pages<A: PhysMap + PageFormat>(
    plan: &Plan<'_>,
    reserved: &mut Reserved,
    zones: &mut Zones<A>,
    struct_page_bytes: u64,
    listener: &mut Listener<'_>,
) -> Result<(), BringUpError> {
    Ok(reserve::late(plan, reserved, zones, struct_page_bytes, listener)?)
}

fn zonelist_text<A: PhysMap + PageFormat>(
    plan: &Plan<'_>,
    zones: &Zones<A>,
    struct_page_bytes: u64,
    text: &mut dyn fmt::Write,
) -> fmt::Result {
    boot::fallback_orders(zones, text)?;
    // The lists themselves only on demand, as in Linux.
    if plan.options.mminit_loglevel >= 4 {
        boot::zonelist_entries(zones, text)?;
    }
    // The page allocator has no page blocks yet.
    boot::built(zones, struct_page_bytes, boot::Mobility::Off, text)
}
