//! The direct map: all RAM, mapped once, in tables of its own that the kernel then switches to.
//!
//! The difficulty is where the tables go. They must be written through the direct map, of which the boot tables hold
//! only the image and an early window, and they should lie on the node whose memory they map, which is not mapped yet.
//! So the map grows in pieces, by ascending address:
//!
//! 1. The memory that one table of large leaves spans (1 GiB with 4 KiB pages) at the start of each region is mapped
//!    with frames from wherever some are mapped: a handful.
//! 2. What was just mapped is *grafted* into the live tables ([`graft`](super::graft)): a few copied entries, after
//!    which this memory is reached as well.
//! 3. The rest of the region is mapped with frames from this first piece, so on its own node, and grafted.
//!
//! The new tables are a fresh tree and not the live one extended. Boot tables map the image and the window in leaves of
//! their own choice, writable and often executable; correcting that in place would mean to split leaves under the very
//! tables that are being written, which aarch64 forbids. In a fresh tree each leaf is written once and right: RAM is
//! readable and writable, never executable; the aliases of the image's text and read-only data are as the caller says;
//! `NOMAP` ranges and holes are absent. The largest leaves that fit are used everywhere, small ones only at the edges
//! of RAM and of those ranges. Until the switch the live tables keep their own leaves where they had some.
//!
//! Neighbouring memory regions are one run here, whatever their nodes and flags: a node boundary splits no leaf. After
//! the last piece all RAM is reached by the live and by the new tables, and memblock may use all of it
//! ([`Memblock::set_mapped`]).
//!
//! Cost: five instructions for each leaf of a full table, one memblock request for each table: 256 GiB in 2 MiB leaves
//! are 131,072 leaves in some 260 tables, measured at 1.1 million instructions. One page of tables for each
//! `1 << (PAGE_SHIFT - 3)` leaves.
//!
//! Linux: `init_mem_mapping` and `split_mem_range` in `arch/x86/mm/init.c` (pieces from the top down, in steps that
//! grow), `map_mem` in `arch/arm64/mm/mmu.c` (tables anywhere, written through fixmap slots).

use crate::addr::{PhysAddr, PhysRange, VirtAddr};
use crate::arch::{PageFormat, PhysMap};
use crate::layout::Layout;
use crate::memblock::{Memblock, RegionFlags};
use crate::paging::map::MapError;
use crate::paging::mapping::{Access, Level, Mapping, MemoryType};
use crate::paging::source::{BootFrames, Either, FrameSource};
use crate::paging::tables::PageTables;
use core::fmt;

/// Why the direct map could not be built. The live tables still work, and may reach a part of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DirectError {
    /// There is RAM where the layout's direct map has no room. It must leave memblock first.
    OutOfReach(PhysRange),
    /// A range with an access of its own does not start and end on pages.
    Misaligned(PhysRange),
    /// There was no frame for the root.
    NoRoot,
    /// A piece could not be mapped.
    Map(MapError),
}

impl fmt::Display for DirectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfReach(range) => write!(f, "the direct map has no room for the RAM at {range}"),
            Self::Misaligned(range) => write!(f, "direct map: {range} does not start and end on pages"),
            Self::NoRoot => write!(f, "direct map: no frame for the root of the page tables"),
            Self::Map(error) => write!(f, "direct map: {error}"),
        }
    }
}

impl core::error::Error for DirectError {}

impl From<MapError> for DirectError {
    fn from(error: MapError) -> Self {
        Self::Map(error)
    }
}

/// Builds the direct map of all memory that is not `NOMAP`, and returns the tree that holds it and nothing else. Image,
/// vmemmap and the shared fixmap are for the caller to add before the switch.
///
/// `fixed` lists page-aligned ranges of RAM that are mapped with an access of their own, such as the image's text and
/// read-only data; they do not overlap. `early` is a small pool of frames inside the image for the time when memblock's
/// mapped memory has none; a dozen or two are enough to reach the first free piece of RAM. They lie in
/// memory that memblock knows.
///
/// Every memory region is first cut inward to pages. In the end all of memblock's memory is marked as mapped.
///
/// # Safety
/// `live` is the active tree, and in the layout's direct map it maps each address that it maps to the physical address
/// that belongs there, for good. All memory in memblock that is neither reserved nor withheld is RAM that nobody uses,
/// and no memory is added later that these tables do not map.
///
/// # Errors
/// [`DirectError`].
pub unsafe fn map_direct<A: PhysMap + PageFormat>(
    live: &mut PageTables<A>,
    memblock: &mut Memblock<A>,
    layout: &Layout,
    fixed: &[(PhysRange, Access)],
    early: &mut impl FrameSource,
) -> Result<PageTables<A>, DirectError> {
    if let Some((range, _)) =
        fixed.iter().find(|(range, _)| !range.start().is_aligned(A::PAGE_SIZE) || !range.end().is_aligned(A::PAGE_SIZE))
    {
        return Err(DirectError::Misaligned(*range));
    }
    memblock.trim(A::PAGE_SIZE);
    let first = match next_run(memblock, PhysAddr::new(0)) {
        Some(run) => run.start(),
        None => PhysAddr::new(0),
    };
    let near = memblock.mapped().start();
    let root = PageTables::create(live.access, near, &mut Either(BootFrames::new(memblock), &mut *early));
    let tables = root.ok_or(DirectError::NoRoot)?;
    let mut build = Build { live, tables, memblock, layout, fixed, reached: PhysRange::new(first, first) };

    let mut from = first;
    while let Some(run) = next_run(build.memblock, from) {
        if !layout.direct_limit().contains_range(run) {
            return Err(DirectError::OutOfReach(run));
        }
        build.run(run, early)?;
        from = run.end();
    }
    // SAFETY: the caller says that free memory is nobody's and stays what it is; all of it is mapped now, in both
    // trees.
    unsafe { build.memblock.set_mapped(build.reached) };
    Ok(build.tables)
}

/// The next memory at or above `from` that is to be mapped, with all that follows it without a gap.
fn next_run<A: PhysMap>(memblock: &Memblock<A>, from: PhysAddr) -> Option<PhysRange> {
    let ahead = memblock.memory().overlapping(PhysRange::new(from, PhysRange::ALL.end()));
    let mut mapped = ahead.iter().filter(|region| !region.flags().contains(RegionFlags::NOMAP));
    let mut run = mapped.next()?.range();
    for region in mapped {
        if region.range().start() != run.end() {
            break;
        }
        run = PhysRange::new(run.start(), region.range().end());
    }
    Some(run)
}

/// A direct map under construction.
struct Build<'b, A> {
    live: &'b mut PageTables<A>,
    tables: PageTables<A>,
    memblock: &'b mut Memblock<A>,
    layout: &'b Layout,
    fixed: &'b [(PhysRange, Access)],
    /// All RAM in this range is mapped, and reached through the live tables.
    reached: PhysRange,
}

impl<A: PhysMap + PageFormat> Build<'_, A> {
    /// Maps RAM without gaps, region by region: a first piece, then the rest with frames from it.
    fn run(&mut self, run: PhysRange, early: &mut impl FrameSource) -> Result<(), DirectError> {
        let chunk = self.chunk();
        let mut at = run.start();
        while at < run.end() {
            let region = self.memblock.memory().find(at).map_or(run, |region| region.range());
            let first = at.align_down(chunk).saturating_add(chunk).min(run.end());
            self.piece(PhysRange::new(at, first), early)?;
            let rest = PhysRange::new(first, region.end().align_down(chunk));
            self.piece(rest, early)?;
            at = rest.end();
        }
        Ok(())
    }

    /// What one table of large leaves spans: a boundary of it splits no leaf, and a piece that lies in it needs few
    /// tables.
    fn chunk(&self) -> u64 {
        let level = if self.tables.largest_leaf() > Level::PAGE { Level::new(1) } else { Level::PAGE };
        level.span::<A>() << (A::PAGE_SHIFT - 3)
    }

    /// Maps a piece, and makes it reachable.
    fn piece(&mut self, piece: PhysRange, early: &mut impl FrameSource) -> Result<(), DirectError> {
        let mut at = piece.start();
        while at < piece.end() {
            let (end, access) = self.alike(at, piece.end());
            let part = PhysRange::new(at, end);
            let to = self.address(part)?;
            let mapping = Mapping { access, memory: MemoryType::Normal };
            // SAFETY: `reached` is RAM that the direct map maps already; that nobody uses what is free of it the caller
            // of
            // `map_direct` says.
            let frames = unsafe { BootFrames::reaching(self.memblock, self.reached) };
            self.tables.map(to, part, mapping, &mut Either(frames, &mut *early))?;
            at = end;
        }
        if !piece.is_empty() {
            let range = self.layout.direct_range(piece).ok_or(DirectError::OutOfReach(piece))?;
            self.live.graft(&self.tables, range);
            self.reached = PhysRange::new(self.reached.start(), piece.end());
        }
        Ok(())
    }

    /// How far memory from `at` on is mapped alike, at most to `end`, and how.
    fn alike(&self, at: PhysAddr, end: PhysAddr) -> (PhysAddr, Access) {
        let inside = self.fixed.iter().find(|(range, _)| range.contains(at));
        if let Some((range, access)) = inside {
            return (range.end().min(end), *access);
        }
        let starts = self.fixed.iter().filter(|(range, _)| !range.is_empty()).map(|(range, _)| range.start());
        (starts.filter(|start| *start > at).min().map_or(end, |start| start.min(end)), Access::ReadWrite)
    }

    fn address(&self, range: PhysRange) -> Result<VirtAddr, DirectError> {
        self.layout.phys_to_virt(range.start()).ok_or(DirectError::OutOfReach(range))
    }
}
