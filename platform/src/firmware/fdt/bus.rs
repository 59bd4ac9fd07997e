//! Addresses on buses: as the CPU sees a device, and as a device sees memory.
//!
//! A bus numbers its addresses as it likes; `ranges` says where they lie on the bus above, entry by entry (from, to,
//! size), and `dma-ranges` says the same of the other direction, for devices that reach memory on their own. Empty,
//! they say that nothing changes. Without `ranges` the CPU does not reach the bus at all; without `dma-ranges` devices
//! see memory as the bus above does.
//!
//! What every device reaches is the least of all `dma-ranges` in the tree, each taken at its highest byte of memory as
//! the CPU numbers it. That decides where ZONE_DMA ends. The search walks the tree only when the word occurs in it at
//! all. Linux: `of_translate_address`, `of_dma_get_max_cpu_address` in drivers/of/address.c.

use super::tree::{Cells, Path, take, value};
use super::{Blob, gate};
use arrayvec::ArrayVec;
use fdt::node::FdtNode;
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{DmaLimit, Fact, MachineSink, Source, Table};

const DMA_RANGES: &str = "dma-ranges";

/// What it means that a bus lacks the property.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// Its addresses mean nothing on the bus above.
    Hidden,
    /// They are the same there.
    Same,
}

/// What each node of a path says of its children's cells.
type CellsOf = ArrayVec<Cells, 16>;

fn cells_of(nodes: &[FdtNode<'_, '_>]) -> CellsOf {
    let mut above = None;
    let mut next = |node: &FdtNode<'_, '_>| {
        let cells = above.map_or_else(|| Cells::of_root(*node), |above: Cells| above.of(*node));
        above = Some(cells);
        cells
    };
    // A path has no more nodes than there is room for.
    nodes.iter().take(16).map(&mut next).collect()
}

/// Where the first address of the last node's `reg` is, as the CPU sees it: translated by the `ranges` of every node
/// between it and the root. `None` where one of them does not say.
pub(super) fn address(nodes: &Path<'_, '_>) -> Option<PhysAddr> {
    let (&node, above) = nodes.split_last()?;
    let cells = cells_of(above);
    let bus = *cells.last()?;
    if bus.address == 0 {
        return None;
    }
    let (address, _) = take(value(node, "reg")?, bus.address)?;
    to_cpu(address, above, &cells, "ranges", Missing::Hidden)
}

/// Range number `index` of the last node's `reg`, as the CPU sees it.
pub(super) fn registers(nodes: &Path<'_, '_>, index: usize) -> Option<PhysRange> {
    let (&node, above) = nodes.split_last()?;
    let cells = cells_of(above);
    let bus = *cells.last()?;
    if bus.address == 0 || bus.size == 0 {
        return None;
    }
    let skipped = usize::try_from(bus.pair_bytes()).ok()?.checked_mul(index)?;
    let (address, rest) = take(value(node, "reg")?.get(skipped..)?, bus.address)?;
    let (size, _) = take(rest, bus.size)?;
    let start = to_cpu(address, above, &cells, "ranges", Missing::Hidden)?;
    PhysRange::from_size(start, u64::try_from(size).ok()?)
}

/// What `address`, on the bus that is the last of `buses`, is on the bus that is the first, the root's.
fn to_cpu(
    address: u128,
    buses: &[FdtNode<'_, '_>],
    cells: &[Cells],
    property: &str,
    missing: Missing,
) -> Option<PhysAddr> {
    let mut address = address;
    for at in (1..buses.len()).rev() {
        let (&bus, &[outer, inner]) = (buses.get(at)?, cells.get(at - 1..=at)?) else { return None };
        address = match value(bus, property) {
            Some(ranges) => translate(ranges, inner, outer.address, address)?,
            None if missing == Missing::Same => address,
            None => return None,
        };
    }
    u64::try_from(address).ok().map(PhysAddr::new)
}

/// One entry of a `ranges`: this many bytes from here, and where they are on the bus above.
struct Entry {
    from: u128,
    to: u128,
    size: u128,
}

/// The entries of a `ranges`; what is left over at its end is none.
fn entries(ranges: &[u8], cells: Cells, outer_address: u32) -> impl Iterator<Item = Entry> {
    let readable = cells.address > 0 && outer_address > 0;
    let mut rest = readable.then_some(ranges);
    core::iter::from_fn(move || {
        let (from, after) = take(rest?, cells.address)?;
        let (to, after) = take(after, outer_address)?;
        let (size, after) = take(after, cells.size)?;
        // Each entry has an address at least, so this comes to the end. Without a size it has no bytes.
        rest = Some(after);
        Some(Entry { from, to, size })
    })
}

/// `address` on a bus with these `ranges`, as the bus above sees it. No entry at all means that nothing changes.
fn translate(ranges: &[u8], cells: Cells, outer_address: u32, address: u128) -> Option<u128> {
    if ranges.is_empty() {
        return Some(address);
    }
    entries(ranges, cells, outer_address).find_map(|entry| {
        let offset = address.checked_sub(entry.from).filter(|&offset| offset < entry.size)?;
        entry.to.checked_add(offset)
    })
}

/// Hands to `sink` what every device reaches, if a `dma-ranges` says.
pub(super) fn dma_limit(blob: &Blob<'_>, sink: &mut dyn MachineSink) {
    if !gate::names_property(blob.bytes(), DMA_RANGES) {
        return;
    }
    let mut least: Option<PhysAddr> = None;
    let _ = blob.find_path(&mut |path, _| {
        if let Some(end) = reach(path) {
            least = Some(least.map_or(end, |least| least.min(end)));
        }
        None::<()>
    });
    if let Some(end) = least {
        sink.fact(Fact::DmaLimit(DmaLimit { end, source: Source::whole(Table::DmaRanges) }));
    }
}

/// The end of what devices reach on the bus that is the last of `path`, if its `dma-ranges` says.
fn reach(path: &Path<'_, '_>) -> Option<PhysAddr> {
    let (&bus, above) = path.split_last()?;
    let ranges = value(bus, DMA_RANGES)?;
    let cells = cells_of(path);
    let (&inner, outer) = cells.split_last()?;
    let end = |entry: Entry| {
        let start = to_cpu(entry.to, above, outer, DMA_RANGES, Missing::Same)?;
        // What ends at 2^64 limits nobody.
        let size = u64::try_from(entry.size).ok().filter(|&size| size > 0)?;
        Some(start.saturating_add(size))
    };
    entries(ranges, inner, outer.last()?.address).filter_map(end).max()
}
