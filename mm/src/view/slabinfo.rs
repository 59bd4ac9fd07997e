//! `/proc/slabinfo`: a line a cache.
//!
//! Linux: `cache_show` in `mm/slab_common.c`.

#![forbid(unsafe_code)]

use crate::arch::Arch;
use crate::model::MemoryModel;
use crate::slab::Slab;
use core::fmt::{self, Write};

/// Writes it.
///
/// # Errors
/// When `out` does.
pub fn slabinfo<A: Arch, M: MemoryModel<A>>(out: &mut dyn Write, slab: &Slab<A, M>) -> fmt::Result {
    writeln!(out, "slabinfo - version: 2.1")?;
    writeln!(
        out,
        "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> \
         : tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>"
    )?;
    slab.for_each_cache(&mut |cache| {
        writeln!(
            out,
            "{:<17} {:>6} {:>6} {:>6} {:>4} {:>4} : tunables {:>4} {:>4} {:>4} : slabdata {:>6} {:>6} {:>6}",
            cache.name,
            cache.active_objects,
            cache.objects,
            cache.object_size,
            cache.objects_per_slab,
            cache.pages_per_slab,
            0,
            0,
            0,
            cache.slabs,
            cache.slabs,
            0
        )
    })
}
