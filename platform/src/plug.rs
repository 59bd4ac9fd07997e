//! Whether memory that no map names may join, where, and in which state.
//!
//! The last stage before the page allocator takes over, once for each device in a slot: [`Intake::admit`] holds it
//! against what the firmware's tables say and against the command line. It joins in memory blocks, or not at all, and
//! it is on the node that its domain names; failing that, on the one whose window in the SRAT it lies in, or on the
//! one with the lowest memory. The caller maps what is admitted and gives it to
//! [`Zones::add_memory`](mm::zone::Zones::add_memory), which looks at memory once more. Linux:
//! `acpi_memory_enable_device`, `add_memory_resource`, `probe_memory_block_size` in arch/x86/mm/init_64.c.

use crate::plan::Plan;
use crate::slots::MemoryDevice;
use mm::addr::{NodeId, PhysAddr};
use mm::arch::{PageFormat, PhysMap};
use mm::machine::{Problem, Rules, Warning};
use mm::zone::{GrowError, Placement, Zones};

/// With this much memory, x86 takes larger blocks …
const LARGE_MEMORY: u64 = 64 << 30;
/// … up to this many bytes.
const LARGEST_BLOCK: u64 = 2 << 30;

/// What is asked of devices.
#[derive(Clone, Copy, Debug)]
pub struct Intake<'a> {
    plan: &'a Plan<'a>,
    block_bytes: u64,
}

/// Where a device's memory goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Admission {
    /// Its node.
    pub node: NodeId,
    /// Which zones take it; `None`: it stays offline.
    pub placement: Option<Placement>,
    /// The blocks in which it comes.
    pub block_bytes: u64,
}

impl<'a> Intake<'a> {
    /// For devices beside the memory in `zones`, to which nothing has been added yet.
    #[must_use]
    pub fn new<A: PhysMap + PageFormat>(plan: &'a Plan<'a>, zones: &Zones<A>) -> Self {
        let end = zones.memblock().memory().span().end();
        Self { plan, block_bytes: block_bytes(plan.rules, end, 1 << A::SECTION_SHIFT) }
    }

    /// Where the device's memory goes.
    ///
    /// # Errors
    /// Why it is not used.
    pub fn admit<A: PhysMap + PageFormat>(
        &self,
        zones: &Zones<A>,
        device: &MemoryDevice,
    ) -> Result<Admission, Warning> {
        let Self { plan, block_bytes } = *self;
        let range = device.range;
        let refused = |problem| Err(Warning { source: device.source(), problem });
        if !plan.reach.contains_range(range) {
            return refused(Problem::OutOfReach(range));
        }
        if plan.machine.banks.iter().any(|bank| bank.range.overlaps(range)) {
            return refused(Problem::EntryIgnored("the memory map names a part of it"));
        }
        if range.shrink_to(block_bytes) != range {
            return refused(Problem::EntryIgnored("it does not start and end on memory blocks"));
        }
        match zones.room_for(range) {
            Err(GrowError::Memory(part) | GrowError::Reserved(part)) => return refused(Problem::Overlaps(part)),
            Err(_) => return refused(Problem::EntryIgnored("it is not whole pages")),
            Ok(()) => {}
        }
        let limit = plan.options.memory_limit.and_then(Result::ok).filter(|_| plan.rules == Rules::X86);
        if limit.is_some_and(|limit| range.end().as_u64() > limit) {
            return refused(Problem::EntryIgnored("mem= ends memory below"));
        }
        let placement = plan.options.plugged_memory.placement(plan.options.movable.movable_node);
        Ok(Admission { node: self.node(zones, device), placement, block_bytes })
    }

    fn node<A: PhysMap>(&self, zones: &Zones<A>, device: &MemoryDevice) -> NodeId {
        let nodes = zones.nodes();
        let start = device.range.start();
        let window = self.plan.machine.affinities.iter().find(|affinity| affinity.range.contains(start));
        let lowest = zones.memblock().memory().first().and_then(|region| region.node());
        let by_window = || window.and_then(|window| nodes.node_of_domain(window.domain));
        nodes.node_of_domain(device.domain).or_else(by_window).or(lowest).unwrap_or_default()
    }
}

/// Bytes of a memory block where memory ends at `end`: a section; on x86 with much memory the largest power of two that
/// divides the end.
fn block_bytes(rules: Rules, end: PhysAddr, section: u64) -> u64 {
    if rules == Rules::Arm64 || end.as_u64() < LARGE_MEMORY {
        return section;
    }
    let divides = 1_u64.checked_shl(end.as_u64().trailing_zeros()).unwrap_or(LARGEST_BLOCK);
    divides.clamp(section.min(LARGEST_BLOCK), LARGEST_BLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_as_large_as_linux_makes_them() {
        const GIB: u64 = 1 << 30;
        let block = |rules, end| block_bytes(rules, PhysAddr::new(end), 128 << 20);
        assert_eq!(block(Rules::X86, 63 * GIB), 128 << 20);
        // 64 GiB on a q35 end at 66 GiB; 256 GiB on a pc at 257 GiB.
        assert_eq!(block(Rules::X86, 66 * GIB), 2 * GIB);
        assert_eq!(block(Rules::X86, 257 * GIB), GIB);
        assert_eq!(block(Rules::X86, 64 * GIB + (64 << 20)), 128 << 20, "never less than a section");
        assert_eq!(block(Rules::Arm64, 256 * GIB), 128 << 20);
    }
}
