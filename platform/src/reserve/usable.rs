//! What of memory may be used at all: `mem=` and `linux,usable-memory-range` on arm64.
//!
//! The memory that may not be used is no memory from then on, as if the firmware had not named it; what the firmware's
//! own map keeps out of every mapping stays known. Linux does this before it reads /reserved-memory. Here everything
//! has been poured in already, so reservations are made anew afterwards, and of a `no-map` range only what is left of
//! it is memory. The kernel itself and the initial RAM disk stay memory, wherever they lie. On x86 `mem=` changes the
//! firmware's map instead, before it comes here. Linux: `arm64_memblock_init`,
//! `early_init_dt_check_for_usable_mem_range` in drivers/of/fdt.c.

use crate::plan::{Listener, Plan};
use mm::arch::{PageFormat, PhysMap};
use mm::machine::{MachineMemory, Problem, Purpose, Reservation, Rules, Source, Table, Warning};
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
    let stated = plan.options.memory_limit.filter(|_| plan.rules == Rules::Arm64);
    let limit = match stated.map(|limit| limit.map(|bytes| bytes & !(A::PAGE_SIZE - 1))) {
        Some(Ok(bytes)) if bytes > 0 => Some(bytes),
        None => None,
        Some(unusable) => {
            let why = unusable.map_or_else(|error| error.reason(), |_| "that is no memory");
            let problem = Problem::Ignored { what: "mem=", why };
            (listener.warn)(Warning { source: Source::whole(Table::CommandLine), problem });
            None
        }
    };
    let machine = plan.machine;
    if limit.is_none() && machine.usable.is_empty() {
        return Ok(());
    }
    for held in unmapped(machine) {
        memblock.clear(held.range.expand_to(A::PAGE_SIZE), RegionFlags::NOMAP)?;
    }
    let mut usable = machine.usable.iter();
    if let Some(first) = usable.next() {
        memblock.cap(first.range.shrink_to(A::PAGE_SIZE))?;
        if let Some(second) = usable.next() {
            // Whatever the description says of it elsewhere.
            memblock.add(second.range.shrink_to(A::PAGE_SIZE))?;
        }
        for further in usable {
            let problem = Problem::EntryIgnored("a crash kernel has two ranges at most");
            (listener.warn)(Warning { source: further.source, problem });
        }
    }
    if let Some(bytes) = limit {
        let _ = writeln!(listener.text, "Memory limited to {}MB", bytes >> 20);
        memblock.mem_limit_remove_map(bytes)?;
    }
    // What is kept only until the firmware's tables are read and has gone is no loss.
    for held in machine.reservations.iter().filter(|held| held.purpose != Purpose::Temporary) {
        memblock.reserve(held.range, held.owner)?;
    }
    for held in unmapped(machine) {
        memblock.mark(held.range.expand_to(A::PAGE_SIZE), RegionFlags::NOMAP)?;
    }
    for held in machine.reservations.iter().filter(is_memory_anywhere) {
        let pages = held.range.expand_to(A::PAGE_SIZE);
        memblock.add(pages)?;
        memblock.clear(pages, RegionFlags::NOMAP)?;
    }
    Ok(())
}

/// What /reserved-memory keeps out of every mapping.
fn unmapped<'m>(machine: &'m MachineMemory<'_>) -> impl Iterator<Item = Reservation> + 'm {
    let of_node = |held: &Reservation| held.source.table == Table::ReservedMemory;
    machine.reservations.iter().filter(move |held| of_node(held) && held.purpose == Purpose::NoMap)
}

/// Whether what is held is memory wherever it lies: it is in use.
fn is_memory_anywhere(held: &Reservation) -> bool {
    // A node of /reserved-memory may have any name.
    let of_loader = held.source.table != Table::ReservedMemory;
    held.source.table == Table::Kernel || (of_loader && held.owner.as_str() == "initrd")
}
