//! The life of one address: a line a stage, each with who said so or the rule that decided.
//!
//! From the firmware's entry over memblock, node and zone to the section and the block or slab object that it is now.
//! Nothing is stored for it: each line asks the structure that decided.

#![forbid(unsafe_code)]

use crate::Mm;
use crate::addr::{Pfn, PhysAddr, VirtAddr};
use crate::arch::{Arch, PageFormat, PhysMap};
use crate::machine::{MachineMemory, MemoryKind};
use crate::memblock::{RegionFlags, Regions};
use crate::model::MemoryModel;
use crate::model::page::PageState;
use crate::numa::{Node, Topology};
use crate::page_alloc::PageInfo;
use crate::vmalloc::AreaPart;
use crate::zone::{ZoneSpan, ZoneTable, Zones};
use core::fmt::{self, Write};

/// Writes the life of `address`.
///
/// # Errors
/// When `out` does.
pub fn why<A: Arch, M: MemoryModel<A>>(
    out: &mut dyn Write,
    address: PhysAddr,
    machine: &MachineMemory<'_>,
    mm: &Mm<A, M>,
) -> fmt::Result {
    let pfn = Pfn::containing(address, A::PAGE_SHIFT);
    writeln!(out, "{address:#x} is in frame {:#x} ({} KiB pages)", pfn.as_u64(), A::PAGE_SIZE >> 10)?;
    firmware(out, address, machine)?;
    memblock(out, address, mm.record.memory(), mm.record.reserved())?;
    let Some(node) = self::node(out, address, mm.record.memory(), mm.pages.nodes(), machine)? else { return Ok(()) };
    let zones = mm.pages.zones();
    let Some(index) = zones.zone_holding(node.id, pfn, flags(mm.record.memory(), address)) else {
        return writeln!(out, "  zone       none holds the frame");
    };
    let Some((_, span)) = mm.pages.populated().find(|(found, _)| *found == index) else {
        return writeln!(out, "  zone       empty");
    };
    zone(out, pfn, &span, zones)?;
    page(out, address, pfn, mm)
}

/// Writes the life of `address` as far as it is decided before there is a page allocator.
///
/// # Errors
/// When `out` does.
pub fn why_zones<A: PhysMap + PageFormat>(
    out: &mut dyn Write,
    address: PhysAddr,
    machine: &MachineMemory<'_>,
    zones: &Zones<A>,
) -> fmt::Result {
    let pfn = Pfn::containing(address, A::PAGE_SHIFT);
    writeln!(out, "{address:#x} is in frame {:#x} ({} KiB pages)", pfn.as_u64(), A::PAGE_SIZE >> 10)?;
    firmware(out, address, machine)?;
    let known = zones.memblock();
    memblock(out, address, known.memory(), known.reserved())?;
    let Some(node) = self::node(out, address, known.memory(), zones.nodes(), machine)? else { return Ok(()) };
    let index = zones.zone_holding(node.id, pfn, flags(known.memory(), address));
    let Some(span) = index.and_then(|index| zones.span(index)) else {
        return writeln!(out, "  zone       none holds the frame");
    };
    zone(out, pfn, span, zones)?;
    let section = pfn.as_u64() >> (A::SECTION_SHIFT - A::PAGE_SHIFT);
    writeln!(out, "  section    {section}")
}

/// Writes whose area of virtual space `address` is in, if it is in any: a line, as the others.
///
/// # Errors
/// When `out` does.
pub fn why_area<A: Arch, M: MemoryModel<A>>(out: &mut dyn Write, address: VirtAddr, mm: &Mm<A, M>) -> fmt::Result {
    if !mm.vmalloc.space().contains(address) {
        return Ok(());
    }
    let Some(area) = mm.vmalloc.find(address) else { return writeln!(out, "  vmalloc    no area has it") };
    match area.part(address) {
        AreaPart::GuardBelow => writeln!(out, "  vmalloc    guard page below {area}"),
        AreaPart::Mapped(offset) => writeln!(out, "  vmalloc    byte {offset:#x} of {area}"),
        AreaPart::GuardAbove => writeln!(out, "  vmalloc    guard page behind {area}"),
    }
}

/// What is special about the memory at `address`.
fn flags(memory: Regions<'_>, address: PhysAddr) -> RegionFlags {
    memory.find(address).map(|region| region.flags()).unwrap_or_default()
}

/// What every table says of the address.
fn firmware(out: &mut dyn Write, address: PhysAddr, machine: &MachineMemory<'_>) -> fmt::Result {
    let mut said = false;
    for bank in machine.banks.iter().filter(|bank| bank.range.contains(address)) {
        writeln!(out, "  firmware   {}: {} {}", bank.source, bank.range, bank.kind)?;
        said = true;
        if bank.kind != MemoryKind::Usable {
            writeln!(out, "             only what is usable, and nothing else as well, becomes memory")?;
        }
    }
    for held in machine.reservations.iter().filter(|held| held.range.contains(address)) {
        writeln!(out, "  reserved   {}: {} for {}", held.source, held.range, held.owner)?;
    }
    if !said {
        writeln!(out, "  firmware   no table names it")?;
    }
    Ok(())
}

/// What memblock knows.
fn memblock(out: &mut dyn Write, address: PhysAddr, memory: Regions<'_>, reserved: Regions<'_>) -> fmt::Result {
    match memory.find(address) {
        Some(region) => write!(out, "  memblock   memory {}", region.range())?,
        None => write!(out, "  memblock   not memory")?,
    }
    match reserved.find(address) {
        Some(region) => writeln!(out, ", reserved {} for {}", region.range(), region.owner()),
        None => writeln!(out, ", not reserved"),
    }
}

/// The node, or `None` once it is said that there is none.
fn node<A>(
    out: &mut dyn Write,
    address: PhysAddr,
    memory: Regions<'_>,
    nodes: &Topology<A>,
    machine: &MachineMemory<'_>,
) -> Result<Option<Node>, fmt::Error> {
    let Some(region) = memory.find(address) else {
        writeln!(out, "  node       none: it is no memory")?;
        return Ok(None);
    };
    let Some(node) = region.node().and_then(|id| nodes.node(id)) else {
        writeln!(out, "  node       none")?;
        return Ok(None);
    };
    match machine.affinities.iter().find(|affinity| affinity.range.contains(address)) {
        Some(affinity) => writeln!(
            out,
            "  node       {}: {} {} is of domain {}",
            node.id, affinity.source, affinity.range, affinity.domain
        )?,
        None => writeln!(out, "  node       {}: no table gives it to another", node.id)?,
    }
    Ok(Some(node))
}

fn zone<A>(out: &mut dyn Write, pfn: Pfn, span: &ZoneSpan, zones: &ZoneTable<A>) -> fmt::Result {
    let last = |pfn: Pfn| pfn.as_u64().saturating_sub(1);
    write!(
        out,
        "  zone       {} of node {}, frames {:#x}-{:#x}: ",
        span.kind.name(),
        span.node,
        span.range.start().as_u64(),
        last(span.range.end())
    )?;
    if let Some(added) = zones.added_at(pfn) {
        let (start, end) = (added.frames.start().as_u64(), last(added.frames.end()));
        return writeln!(out, "{start:#x}-{end:#x} were plugged in and joined it");
    }
    let limits = zones.range(span.kind);
    let (start, end) = (limits.start().as_u64(), last(limits.end()));
    writeln!(out, "where node and the limits {start:#x}-{end:#x} of {} meet", span.kind.name())
}

fn page<A: Arch, M: MemoryModel<A>>(out: &mut dyn Write, address: PhysAddr, pfn: Pfn, mm: &Mm<A, M>) -> fmt::Result {
    let section = pfn.as_u64() >> (A::SECTION_SHIFT - A::PAGE_SHIFT);
    let info = mm.pages.page_info(pfn);
    match info {
        PageInfo::Untouched { .. } => {
            let memmap = match M::GRANULE_MEMMAP {
                Some(_) => "comes out of it",
                None => "is cleared",
            };
            writeln!(out, "  section    {section}: not described; its memmap {memmap} when it is first needed")?;
        }
        PageInfo::NoSection => writeln!(out, "  section    {section}: holds no memory")?,
        _ => writeln!(out, "  section    {section}: described")?,
    }
    writeln!(out, "  page       {info}")?;
    if let PageInfo::Block { state: PageState::Slab, .. } = info
        && let Some(object) = mm.slab.object_at(address)
    {
        writeln!(out, "  object     {object}")?;
    }
    Ok(())
}
