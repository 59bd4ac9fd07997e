//! What of memory may be used at all: `mem=` and `linux,usable-memory-range` on arm64.
//!
//! The memory that may not be used is no memory from then on, as if the firmware had not named it. What the firmware
//! keeps out of every mapping stays known, so that nobody mistakes it for a device; the kernel itself and the initial RAM
//! disk stay memory, wherever they lie. Reservations stay. On x86 `mem=` changes the firmware's map instead, before it
//! comes here. Linux: `arm64_memblock_init`, `memblock_mem_limit_remove_map` and `memblock_cap_memory_range` in
//! mm/memblock.c, `early_init_dt_check_for_usable_mem_range` in drivers/of/fdt.c.

use crate::bring_up::{Listener, Plan};
use mm::addr::{PhysAddr, PhysRange};
use mm::arch::{PageFormat, PhysMap};
use mm::machine::{MachineMemory, Problem, Purpose, Rules, Source, Table, Warning};
use mm::memblock::{Memblock, MemblockError, RegionFlags};

/// Takes away what may not be used.
///
/// # Errors
/// [`MemblockError::Full`].
pub(crate) fn restrict<A: PhysMap + PageFormat>(
    plan: &Plan<'_>,
    memblock: &mut Memblock<A>,
    listener: &mut Listener<'_>,
) -> Result<(), MemblockError> {
    let machine = plan.machine;
    let mut usable = machine.usable.iter();
    if let Some(first) = usable.next() {
        cap(memblock, machine, first.range)?;
        for other in usable {
            // Whatever the description says of it elsewhere.
            memblock.add(other.range.shrink_to(A::PAGE_SIZE))?;
        }
    }
    match plan.options.memory_limit.filter(|_| plan.rules == Rules::Arm64) {
        None => {}
        Some(Err(error)) => {
            let problem = Problem::Ignored { what: "mem=", why: error.reason() };
            (listener.warn)(Warning { source: Source::whole(Table::CommandLine), problem });
        }
        Some(Ok(limit)) => {
            let limit = limit & !(A::PAGE_SIZE - 1);
            let _ = writeln!(listener.text, "Memory limited to {}MB", limit >> 20);
            if let Some(end) = end_of_lowest(memblock, limit) {
                cap(memblock, machine, PhysRange::new(PhysAddr::new(0), end))?;
            }
        }
    }
    Ok(())
}

/// Where the lowest `bytes` of memory end; `None` where there are no more, or none are asked for.
fn end_of_lowest<A: PhysMap>(memblock: &Memblock<A>, bytes: u64) -> Option<PhysAddr> {
    let mut left = bytes;
    for region in memblock.memory().iter().filter(|_| bytes > 0) {
        let range = region.range();
        if left <= range.size() {
            return range.start().checked_add(left);
        }
        left -= range.size();
    }
    None
}

/// Leaves only the memory inside `range`, and what must stay known besides.
fn cap<A: PhysMap + PageFormat>(
    memblock: &mut Memblock<A>,
    machine: &MachineMemory<'_>,
    range: PhysRange,
) -> Result<(), MemblockError> {
    let below = PhysRange::new(PhysRange::ALL.start(), range.start());
    let above = PhysRange::new(range.end(), PhysRange::ALL.end());
    for outside in [below, above] {
        let mut from = outside.start();
        loop {
            let rest = PhysRange::new(from, outside.end());
            let Some(region) = memblock.memory().overlapping(rest).first() else { break };
            let lost = region.range().intersection(rest);
            if !(region.flags().contains(RegionFlags::NOMAP) && is_firmwares(machine, lost)) {
                memblock.remove(lost)?;
            }
            from = lost.end();
        }
    }
    for held in machine.reservations.iter().filter(|held| stays(held.source.table, held.owner.as_str())) {
        let pages = held.range.expand_to(A::PAGE_SIZE);
        memblock.add(pages)?;
        memblock.clear(pages, RegionFlags::NOMAP)?;
    }
    Ok(())
}

/// Whether the memory that somebody holds is memory wherever it lies.
fn stays(table: Table, owner: &str) -> bool {
    table == Table::Kernel || owner == "initrd"
}

/// Whether it is the firmware's map that keeps `range` out of every mapping, and not a child of /reserved-memory, which
/// only says so of memory that is used.
fn is_firmwares(machine: &MachineMemory<'_>, range: PhysRange) -> bool {
    let mut reservations = machine.reservations.iter();
    !reservations.any(|held| {
        held.purpose == Purpose::NoMap && held.source.table == Table::ReservedMemory && held.range.overlaps(range)
    })
}
