//! Memory that the firmware wants kept, at a place of our choice (`/reserved-memory` with a size and no address), and
//! the firmware's pools of contiguous memory.
//!
//! Wishes of one group are alternatives: the first that fits is granted. A group of which no wish fits is one warning.
//! A pool is made of whole page blocks or is none, and the one for all devices makes room for `cma=`: then its memory
//! is nobody's, and free where nobody else holds it too. Linux: `__reserved_mem_alloc_size` and `fdt_init_reserved_mem`
//! in drivers/of/of_reserved_mem.c, `rmem_cma_setup` in kernel/dma/contiguous.c.

use super::cma::granularity;
use crate::plan::{Listener, Plan};
use mm::addr::PhysRange;
use mm::arch::{PageFormat, PhysMap};
use mm::machine::{MachineMemory, Owner, Problem, Purpose, Reservation, Source, Warning, Wish};
use mm::memblock::{Direction, Memblock, MemblockError, NodeWish, RegionFlags, Request};

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
    plan: &Plan<'_>,
    memblock: &mut Memblock<A>,
    listener: &mut Listener<'_>,
) -> Result<Pools, MemblockError> {
    let machine = plan.machine;
    let mut pools = Pools::default();
    let mut settled = None;
    for wish in machine.wishes.iter() {
        if settled == Some(wish.group) {
            continue;
        }
        if wish.purpose == Purpose::Contiguous
            && !may_be_pool::<A>(plan, wish.owner, wish.source, &[wish.size], listener)
        {
            settled = Some(wish.group);
        } else if let Some(range) = place(memblock, &wish)? {
            settled = Some(wish.group);
            if wish.purpose == Purpose::Contiguous {
                pools.add(range, wish.owner, wish.source, machine, listener);
            }
        } else if machine.wishes.iter().rfind(|other| other.group == wish.group) == Some(wish) {
            let problem = Problem::Ignored { what: "reserved memory", why: "no free range holds it" };
            (listener.warn)(Warning { source: wish.source, problem });
        }
    }
    for held in machine.reservations.iter().filter(|held| held.purpose == Purpose::Contiguous) {
        let multiples = [held.range.start().as_u64(), held.range.end().as_u64()];
        if may_be_pool::<A>(plan, held.owner, held.source, &multiples, listener) {
            pools.add(held.range, held.owner, held.source, machine, listener);
        } else {
            release(memblock, machine, &held);
        }
    }
    Ok(pools)
}

/// Whether a pool with these bounds is made of whole page blocks, and no `cma=` stands in for it.
fn may_be_pool<A: PageFormat>(
    plan: &Plan<'_>,
    owner: Owner,
    source: Source,
    bounds: &[u64],
    listener: &mut Listener<'_>,
) -> bool {
    if plan.options.cma.area.is_some() && plan.machine.default_pool == Some(source) {
        let _ = writeln!(listener.text, "Reserved memory: bypass {owner} node, using cmdline CMA params instead");
        return false;
    }
    let is_whole = bounds.iter().all(|bound| bound.is_multiple_of(granularity::<A>()));
    if !is_whole {
        let problem = Problem::Ignored { what: "pool of contiguous memory", why: "not made of whole page blocks" };
        (listener.warn)(Warning { source, problem });
    }
    is_whole
}

fn place<A: PhysMap + PageFormat>(memblock: &mut Memblock<A>, wish: &Wish) -> Result<Option<PhysRange>, MemblockError> {
    let least = if wish.purpose == Purpose::Contiguous { granularity::<A>() } else { LEAST_ALIGN };
    let (size, align) = (wish.size, wish.align.max(least));
    let request = Request { size, align, within: wish.within, node: NodeWish::Any, owner: wish.owner };
    let found = memblock.keep(request, Direction::TopDown, memblock.mapped())?;
    if let Some(range) = found.filter(|_| wish.purpose == Purpose::NoMap) {
        memblock.mark(range.expand_to(A::PAGE_SIZE), RegionFlags::NOMAP)?;
    }
    Ok(found)
}

/// Lets go of memory that is held for nothing, unless somebody else holds a part of it too.
fn release<A: PhysMap>(memblock: &mut Memblock<A>, machine: &MachineMemory<'_>, held: &Reservation) {
    let mut others = machine.reservations.iter().filter(|other| other.source != held.source);
    if !others.any(|other| other.range.overlaps(held.range)) {
        // Where it is in use after all, or cannot be cut out, it just stays.
        let _ = memblock.free(held.range);
    }
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
        if machine.default_pool == Some(source) {
            self.default = DefaultPool::Present;
        }
        let (start, mib) = (range.start(), range.size() >> 20);
        let _ = writeln!(listener.text, "Reserved memory: created CMA memory pool at {start:#018x}, size {mib} MiB");
        let _ = writeln!(listener.text, "OF: reserved mem: initialized node {owner}, compatible id shared-dma-pool");
    }
}
