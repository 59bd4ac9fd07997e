//! `/proc/zoneinfo`: every zone of every node, those without pages too.
//!
//! Linux: `zoneinfo_show_print` in `mm/vmstat.c`.

#![forbid(unsafe_code)]

use crate::addr::NodeId;
use crate::arch::Arch;
use crate::model::MemoryModel;
use crate::page_alloc::{PageAllocator, PageSet, ZoneCounts};
use crate::slab::Slab;
use crate::zone::{ZoneKind, ZoneSpan};
use core::fmt::{self, Write};

/// Counters of a node that belong to user memory and to files, which this kernel has not, before …
const NODE_ZERO_FIRST: [&str; 5] =
    ["nr_inactive_anon", "nr_active_anon", "nr_inactive_file", "nr_active_file", "nr_unevictable"];
/// … and after its slab counters.
const NODE_ZERO_REST: [&str; 34] = [
    "nr_isolated_anon",
    "nr_isolated_file",
    "workingset_nodes",
    "workingset_refault_anon",
    "workingset_refault_file",
    "workingset_activate_anon",
    "workingset_activate_file",
    "workingset_restore_anon",
    "workingset_restore_file",
    "workingset_nodereclaim",
    "nr_anon_pages",
    "nr_mapped",
    "nr_file_pages",
    "nr_dirty",
    "nr_writeback",
    "nr_writeback_temp",
    "nr_shmem",
    "nr_shmem_hugepages",
    "nr_shmem_pmdmapped",
    "nr_file_hugepages",
    "nr_file_pmdmapped",
    "nr_anon_transparent_hugepages",
    "nr_vmscan_write",
    "nr_vmscan_immediate_reclaim",
    "nr_dirtied",
    "nr_written",
    "nr_throttled_written",
    "nr_kernel_misc_reclaimable",
    "nr_foll_pin_acquired",
    "nr_foll_pin_released",
    "nr_kernel_stack",
    "nr_page_table_pages",
    "nr_sec_page_table_pages",
    "nr_swapcached",
];
/// Counters of a zone that belong to user memory.
const ZONE_ZERO: [&str; 10] = [
    "nr_zone_inactive_anon",
    "nr_zone_active_anon",
    "nr_zone_inactive_file",
    "nr_zone_active_file",
    "nr_zone_unevictable",
    "nr_zone_write_pending",
    "nr_mlock",
    "nr_bounce",
    "nr_zspages",
    "nr_free_cma",
];

/// Writes it.
///
/// # Errors
/// When `out` does.
pub fn zoneinfo<A: Arch, M: MemoryModel<A>>(
    out: &mut dyn Write,
    pages: &PageAllocator<A, M>,
    slab: &Slab<A, M>,
) -> fmt::Result {
    for node in pages.nodes().iter() {
        let mut first = true;
        for kind in ZoneKind::ALL {
            writeln!(out, "Node {}, zone {:>8}", node.id, kind.name())?;
            let populated = pages.populated().find(|(_, span)| span.node == node.id && span.kind == kind);
            let Some((index, span)) = populated else {
                empty_zone(out)?;
                continue;
            };
            if first {
                node_counters(out, node.id, slab)?;
                first = false;
            }
            zone(out, pages, span, &pages.counts(index))?;
        }
    }
    Ok(())
}

fn node_counters<A: Arch, M: MemoryModel<A>>(out: &mut dyn Write, node: NodeId, slab: &Slab<A, M>) -> fmt::Result {
    writeln!(out, "  per-node stats")?;
    let zero = |out: &mut dyn Write, name: &str| writeln!(out, "      {name:<12} 0");
    NODE_ZERO_FIRST.iter().try_for_each(|name| zero(out, name))?;
    zero(out, "nr_slab_reclaimable")?;
    writeln!(out, "      {:<12} {}", "nr_slab_unreclaimable", slab.pages_on(node))?;
    NODE_ZERO_REST.iter().try_for_each(|name| zero(out, name))
}

fn zone<A: Arch, M: MemoryModel<A>>(
    out: &mut dyn Write,
    pages: &PageAllocator<A, M>,
    span: ZoneSpan,
    counts: &ZoneCounts,
) -> fmt::Result {
    head(out, span.range.count(), span.present, counts)?;
    writeln!(out, "      {:<12} {}", "nr_free_pages", counts.free)?;
    ZONE_ZERO.iter().try_for_each(|name| writeln!(out, "      {name:<12} 0"))?;
    for name in ["numa_hit", "numa_miss", "numa_foreign", "numa_interleave", "numa_local", "numa_other"] {
        writeln!(out, "      {name:<12} 0")?;
    }
    writeln!(out, "  pagesets")?;
    let PageSet { high, batch } = counts.page_set;
    for cpu in pages.nodes().cpus() {
        writeln!(out, "    cpu: {}", cpu.id)?;
        writeln!(out, "              count: 0\n              high:  {high}\n              batch: {batch}")?;
        writeln!(out, "  vm stats threshold: {}", counts.stat_threshold)?;
    }
    writeln!(out, "  node_unreclaimable:  0")?;
    writeln!(out, "  start_pfn:           {}", span.range.start().as_u64())
}

fn empty_zone(out: &mut dyn Write) -> fmt::Result {
    head(out, 0, 0, &ZoneCounts::default())
}

fn head(out: &mut dyn Write, spanned: u64, present: u64, counts: &ZoneCounts) -> fmt::Result {
    writeln!(out, "  pages free     {}", counts.free)?;
    writeln!(out, "        boost    0")?;
    writeln!(out, "        min      {}", counts.watermarks.min)?;
    writeln!(out, "        low      {}", counts.watermarks.low)?;
    writeln!(out, "        high     {}", counts.watermarks.high)?;
    writeln!(out, "        spanned  {spanned}")?;
    writeln!(out, "        present  {present}")?;
    writeln!(out, "        managed  {}", counts.managed)?;
    writeln!(out, "        cma      0")?;
    write!(out, "        protection: (")?;
    for (position, pages) in counts.protection.iter().enumerate() {
        write!(out, "{}{pages}", if position == 0 { "" } else { ", " })?;
    }
    writeln!(out, ")")
}
