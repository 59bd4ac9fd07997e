//! The lines about nodes and zones that Linux prints while memory comes up, to the letter.
//!
//! Ranges have inclusive ends. Each function prints whole lines, in the order in which a boot prints them;
//! [`zone_layout`] and [`zonelists`] call them all. Linux: `free_area_init`, `mminit_verify_zonelist`,
//! `build_all_zonelists`, `memmap_init` (6.1).

#![forbid(unsafe_code)]

use crate::addr::{Pfn, PfnRange, PhysRange};
use crate::arch::{PageFormat, PhysMap};
use crate::zone::{Mirroring, ZoneIndex, ZoneTable, Zones};
use core::fmt::{Result, Write};

/// Everything from 'Zone ranges:' to the unavailable pages.
///
/// # Errors
/// Those of `out`.
pub fn zone_layout<A: PhysMap + PageFormat>(zones: &Zones<A>, out: &mut dyn Write) -> Result {
    mirroring(zones, out)?;
    zone_ranges(zones, out)?;
    movable_starts(zones, out)?;
    early_node_ranges(zones, out)?;
    init_memory(zones, out)?;
    unavailable(zones, out)
}

/// Everything about the order of zones: orders, lists, their number and the policy zone.
///
/// # Errors
/// Those of `out`.
pub fn zonelists<A: PhysMap + PageFormat>(
    zones: &Zones<A>,
    page_struct_bytes: u64,
    mobility: Mobility,
    out: &mut dyn Write,
) -> Result {
    fallback_orders(zones, out)?;
    zonelist_entries(zones, out)?;
    built(zones, page_struct_bytes, mobility, out)
}

/// What there is to say of a kernel that is to keep to mirrored memory.
///
/// # Errors
/// Those of `out`.
pub fn mirroring<A: PhysMap + PageFormat>(zones: &Zones<A>, out: &mut dyn Write) -> Result {
    match zones.mirroring() {
        Mirroring::NotAsked | Mirroring::Whole => Ok(()),
        Mirroring::Impossible => writeln!(out, "The system has no mirror memory, ignore kernelcore=mirror."),
        Mirroring::Partial => writeln!(out, "This configuration results in unmirrored kernel memory."),
    }
}

/// The limits of each kind of zone.
///
/// # Errors
/// Those of `out`.
pub fn zone_ranges<A: PhysMap + PageFormat>(zones: &Zones<A>, out: &mut dyn Write) -> Result {
    writeln!(out, "Zone ranges:")?;
    for kind in zones.limited_kinds() {
        let range = zones.range(kind);
        if range.is_empty() {
            writeln!(out, "  {kind:<8} empty")?;
        } else {
            writeln!(out, "  {kind:<8} {}", bytes::<A>(range))?;
        }
    }
    Ok(())
}

/// Where each node's Movable zone starts; nothing below the heading when there is none.
///
/// # Errors
/// Those of `out`.
pub fn movable_starts<A: PhysMap + PageFormat>(zones: &Zones<A>, out: &mut dyn Write) -> Result {
    writeln!(out, "Movable zone start for each node")?;
    for node in zones.nodes().iter() {
        if let Some(start) = zones.movable_start(node.id) {
            writeln!(out, "  Node {}: {:#018x}", node.id, start.address(A::PAGE_SHIFT))?;
        }
    }
    Ok(())
}

/// Memory, region by region.
///
/// # Errors
/// Those of `out`.
pub fn early_node_ranges<A: PhysMap + PageFormat>(zones: &Zones<A>, out: &mut dyn Write) -> Result {
    writeln!(out, "Early memory node ranges")?;
    for region in zones.memblock().memory() {
        let node = region.node().unwrap_or_default().as_u16();
        let pages = PfnRange::inside(region.range(), A::PAGE_SHIFT);
        writeln!(out, "  node {node:>3}: {}", bytes::<A>(pages))?;
    }
    Ok(())
}

/// The span of each node.
///
/// # Errors
/// Those of `out`.
pub fn init_memory<A: PhysMap + PageFormat>(zones: &Zones<A>, out: &mut dyn Write) -> Result {
    for id in zones.nodes().possible().iter() {
        match zones.nodes().node(id) {
            Some(node) if node.has_memory => writeln!(out, "Initmem setup node {id} {}", bytes::<A>(node.span))?,
            Some(_) => writeln!(out, "Initmem setup node {id} as memoryless")?,
            None => writeln!(out, "Initializing node {id} as memoryless")?,
        }
    }
    Ok(())
}

/// Pages without memory that are described nevertheless.
///
/// # Errors
/// Those of `out`.
pub fn unavailable<A: PhysMap + PageFormat>(zones: &Zones<A>, out: &mut dyn Write) -> Result {
    for hole in zones.unavailable() {
        writeln!(out, "On node {}, zone {}: {} pages in unavailable ranges", hole.node, hole.kind, hole.pages)?;
    }
    Ok(())
}

/// In which order each node asks the others; nodes that are only possible too.
///
/// # Errors
/// Those of `out`.
pub fn fallback_orders<A: PhysMap + PageFormat>(zones: &Zones<A>, out: &mut dyn Write) -> Result {
    for node in zones.nodes().possible().iter() {
        write!(out, "Fallback order for Node {node}: ")?;
        zones.fallback_order(node).iter().try_for_each(|other| write!(out, "{other} "))?;
        writeln!(out)?;
    }
    Ok(())
}

/// The zonelists of each populated zone: with other nodes, and of its own node alone.
///
/// # Errors
/// Those of `out`.
pub fn zonelist_entries<A: PhysMap + PageFormat>(zones: &Zones<A>, out: &mut dyn Write) -> Result {
    for node in zones.nodes().iter() {
        for name in ["general", "thisnode"] {
            for (_, zone) in zones.zones_of(node.id).filter(|(_, zone)| zone.is_populated()) {
                let list = match name {
                    "general" => zones.zonelist(node.id, zone.kind),
                    _ => zones.this_node_zonelist(node.id, zone.kind),
                };
                zonelist(zones, name, *zone, list, out)?;
            }
        }
    }
    Ok(())
}

fn zonelist<A>(
    zones: &ZoneTable<A>,
    name: &str,
    zone: crate::zone::ZoneSpan,
    list: &[ZoneIndex],
    out: &mut dyn Write,
) -> Result {
    write!(out, "mminit::zonelist {name} {}:{} = ", zone.node, zone.kind)?;
    for entry in list.iter().filter_map(|entry| zones.span(*entry)) {
        write!(out, "{}:{} ", entry.node, entry.kind)?;
    }
    writeln!(out)
}

/// Whether the page allocator keeps blocks apart by what they are used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mobility {
    /// It does.
    On,
    /// It does not, for lack of memory or of page blocks.
    Off,
}

/// How many lists there are, and which zone memory policies steer.
///
/// # Errors
/// Those of `out`.
pub fn built<A: PhysMap + PageFormat>(
    zones: &Zones<A>,
    page_struct_bytes: u64,
    mobility: Mobility,
    out: &mut dyn Write,
) -> Result {
    let total = zones.total_pages(page_struct_bytes);
    let mobility = match mobility {
        Mobility::On => "on",
        Mobility::Off => "off",
    };
    let lists = zones.nodes().node_count();
    writeln!(out, "Built {lists} zonelists, mobility grouping {mobility}.  Total pages: {total}")?;
    writeln!(out, "Policy zone: {}", zones.policy_zone())
}

fn bytes<A: PageFormat>(pages: PfnRange) -> PhysRange {
    let address = |pfn: Pfn| pfn.address(A::PAGE_SHIFT);
    PhysRange::new(address(pages.start()), address(pages.end()))
}
