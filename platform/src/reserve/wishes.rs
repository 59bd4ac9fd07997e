//! Memory that the firmware wants kept, at a place of our choice (`/reserved-memory` with a size and no address).
//!
//! Wishes of one group are alternatives: the first that fits is granted. A pool that is lent out (`reusable`) must be
//! made of whole page blocks, so it is aligned to them; a static one that is not is no pool, and its memory is free.
//! A group of which no wish fits is one warning. Linux: `__reserved_mem_alloc_size` in drivers/of/of_reserved_mem.c,
//! `rmem_cma_setup` in kernel/dma/contiguous.c.

use super::cma::granularity;
use super::place::{Places, Search};
use crate::bring_up::Listener;
use mm::addr::PhysRange;
use mm::arch::{PageFormat, PhysMap};
use mm::machine::{MachineMemory, Owner, Problem, Purpose, Source, Warning, Wish};
use mm::memblock::{Direction, MemblockError, RegionFlags};

/// Where no alignment is asked for: a cache line.
const LEAST_ALIGN: u64 = 64;

/// The pools of contiguous memory that the firmware's description names.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Pools {
    /// Bytes of all of them.
    pub bytes: u64,
    /// Whether one of them serves every device that has none of its own.
    pub default: DefaultPool,
}

/// Whether there is a pool for every device that has none of its own.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum DefaultPool {
    /// There is none.
    #[default]
    Absent,
    /// There is one.
    Present,
}

/// Grants the wishes, and takes over the pools at fixed places.
///
/// # Errors
/// [`MemblockError`]: a range cannot be booked.
pub(crate) fn grant<A: PhysMap + PageFormat>(
    places: &mut Places<'_, A>,
    machine: &MachineMemory<'_>,
    listener: &mut Listener<'_>,
) -> Result<Pools, MemblockError> {
    let mut pools = Pools::default();
    for held in machine.reservations.iter().filter(|held| held.purpose == Purpose::Contiguous) {
        let align = granularity::<A>();
        if !held.range.start().is_aligned(align) || !held.range.end().is_aligned(align) {
            let problem = Problem::Ignored { what: "pool of contiguous memory", why: "not made of whole page blocks" };
            (listener.warn)(Warning { source: held.source, problem });
            places.memblock.free(held.range)?;
            continue;
        }
        pools.add(held.range, held.owner, held.source, machine, listener);
    }
    let mut granted = None;
    for wish in machine.wishes.iter() {
        let is_settled = granted == Some(wish.group);
        if is_settled {
            continue;
        }
        if let Some(range) = place(places, &wish)? {
            granted = Some(wish.group);
            if wish.purpose == Purpose::Contiguous {
                pools.add(range, wish.owner, wish.source, machine, listener);
            }
        } else if machine.wishes.iter().rfind(|other| other.group == wish.group) == Some(wish) {
            let problem = Problem::Ignored { what: "reserved memory", why: "no free range holds it" };
            (listener.warn)(Warning { source: wish.source, problem });
        }
    }
    Ok(pools)
}

fn place<A: PhysMap + PageFormat>(places: &mut Places<'_, A>, wish: &Wish) -> Result<Option<PhysRange>, MemblockError> {
    let mut align = wish.align.max(LEAST_ALIGN);
    let mut size = wish.size;
    if wish.purpose == Purpose::Contiguous {
        align = align.max(granularity::<A>());
        // A pool of half a block would be no pool.
        let Some(blocks) = size.checked_next_multiple_of(granularity::<A>()) else { return Ok(None) };
        size = blocks;
    }
    let search = Search { size, align, within: wish.within, node: None, from: Direction::TopDown };
    let found = places.take(search, wish.owner)?;
    if let Some(range) = found.filter(|_| wish.purpose == Purpose::NoMap) {
        places.memblock.mark(range.expand_to(A::PAGE_SIZE), RegionFlags::NOMAP)?;
    }
    Ok(found)
}

impl Pools {
    fn add(
        &mut self,
        range: PhysRange,
        owner: Owner,
        source: Source,
        machine: &MachineMemory<'_>,
        listener: &mut Listener<'_>,
    ) {
        self.bytes += range.size();
        let _ = (machine, source);
        self.default = DefaultPool::Present;
        let (start, mib) = (range.start(), range.size() >> 20);
        let _ = writeln!(listener.text, "Reserved memory: created CMA memory pool at {start:#018x}, size {mib} MiB");
        let _ = writeln!(listener.text, "OF: reserved mem: initialized node {owner}, compatible id shared-dma-pool");
    }
}
