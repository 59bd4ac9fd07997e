//! What is kept of memory before anybody else gets some, because the firmware or the command line wants it.
//!
//! | file | keeps |
//! |---|---|
//! | `usable` | nothing: it says what may be used at all |
//! | `wishes` | what the firmware wants kept at a place of our choice, and its pools of contiguous memory |
//! | `cma` | contiguous memory for devices |
//! | `crash` | memory for a crash kernel |
//! | `huge` | large pages |
//!
//! [`bring_up`](crate::bring_up) calls them in Linux's order: wishes before nodes are known, contiguous memory and the
//! crash kernel once they are, and before any table of this kernel, so that they lie where Linux has them; large pages
//! last. Each says in Linux's words what it has kept. Nothing of it reaches the page allocator.
//!
//! All but large pages, which come once the final tables stand, must stay out of the one window that is mapped before:
//! memblock's own arrays grow there, and the first page tables come from it.

mod cma;
mod crash;
mod huge;
mod usable;
mod wishes;

pub use crash::CrashRanges;
pub use huge::{HugePages, HugePool};
pub use wishes::{DefaultPool, Pools};

pub(crate) use usable::restrict;

use crate::plan::{Listener, Plan};
use cma::Areas;
use crash::Crash;
use huge::Ground;
use mm::addr::{NodeId, PhysAddr};
use mm::arch::{PageFormat, PhysMap};
use mm::machine::Rules;
use mm::memblock::{Memblock, MemblockError};
use mm::numa::Nodes;
use mm::view::SetAside;
use mm::zone::Zones;

/// What was kept.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Reserved {
    /// Bytes of contiguous memory, the firmware's pools among them.
    pub cma_bytes: u64,
    /// For a crash kernel.
    pub crash: CrashRanges,
    /// Large pages.
    pub huge: HugePages,
}

impl Reserved {
    /// What `meminfo` tells of it.
    #[must_use]
    pub fn set_aside(&self) -> SetAside {
        let HugePool { size, pages } = self.huge.of_default_size();
        SetAside { cma_bytes: self.cma_bytes, huge_page_bytes: size, huge_pages: pages, huge_bytes: self.huge.bytes() }
    }
}

/// Grants what the firmware wishes to be kept.
///
/// # Errors
/// [`MemblockError`]: a range cannot be booked.
pub(crate) fn grant_wishes<A: PhysMap + PageFormat>(
    plan: &Plan<'_>,
    memblock: &mut Memblock<A>,
    listener: &mut Listener<'_>,
) -> Result<Pools, MemblockError> {
    wishes::grant(plan, memblock, listener)
}

/// Keeps contiguous memory and memory for a crash kernel; all devices reach below `dma_end`.
///
/// # Errors
/// [`MemblockError`]: a range cannot be booked.
pub(crate) fn early<A: PhysMap + PageFormat>(
    plan: &Plan<'_>,
    pools: Pools,
    nodes: &mut Nodes<A>,
    dma_end: PhysAddr,
    listener: &mut Listener<'_>,
) -> Result<Reserved, MemblockError> {
    let (options, rules) = (plan.options, plan.rules);
    let mut reserved = Reserved { cma_bytes: pools.bytes, ..Reserved::default() };
    for number in (0..nodes.id_limit()).filter_map(|index| u16::try_from(index).ok()) {
        // Only arm64 has areas of nodes.
        let Some(node) = nodes.node(NodeId::new(number)).filter(|_| rules == Rules::Arm64) else { continue };
        let memblock = nodes.memblock_mut();
        reserved.cma_bytes += Areas { memblock, text: listener.text }.of_node(&options.cma, node.id)?;
    }
    let memblock = nodes.memblock_mut();
    if pools.default == DefaultPool::Absent {
        reserved.cma_bytes += Areas { memblock, text: listener.text }.for_all(&options.cma, rules, dma_end)?;
    }
    reserved.crash = Crash { memblock, text: listener.text }.reserve(&options.crash, rules, dma_end)?;
    Ok(reserved)
}

/// Sets large pages aside.
///
/// # Errors
/// [`MemblockError`]: a range cannot be booked.
pub(crate) fn late<A: PhysMap + PageFormat>(
    plan: &Plan<'_>,
    reserved: &mut Reserved,
    zones: &mut Zones<A>,
    struct_page_bytes: u64,
    listener: &mut Listener<'_>,
) -> Result<(), MemblockError> {
    let mut ground = Ground { zones, options: plan.options, rules: plan.rules, struct_page_bytes };
    reserved.huge = ground.set_aside(listener)?;
    Ok(())
}
