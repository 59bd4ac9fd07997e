//! Contiguous memory for devices (CMA).
//!
//! One area serves every device without one of its own: as large as `cma=` says, else as Linux's configurations have
//! it, unless the firmware's description has named a default pool. It lies below what all devices reach, as high as it
//! goes; where that is above 4 GiB and memory goes on behind it, at 4 GiB or above, as low as it goes, so that it
//! leaves the low zones alone. Sizes and places are multiples of a page block. `cma_pernuma=` adds an area on each node
//! (arm64).
//!
//! The page allocator does not lend these areas out yet: they stay reserved. Linux: `cma_declare_contiguous_nid` in
//! mm/cma.c, `dma_contiguous_reserve` and `dma_pernuma_cma_reserve` in kernel/dma/contiguous.c.

use crate::options::{CmaArea, CmaOption, CmaPlace};
use core::fmt::{self, Write};
use mm::addr::{NodeId, PhysAddr, PhysRange};
use mm::arch::{PageFormat, PhysMap};
use mm::machine::{Owner, Rules};
use mm::memblock::{Direction, Memblock, MemblockError, NodeWish, Request};

const MIB: u64 = 1 << 20;
const FOUR_GIB: PhysAddr = PhysAddr::new(1 << 32);

/// The areas of a machine.
pub(super) struct Areas<'a, A> {
    pub(super) memblock: &'a mut Memblock<A>,
    pub(super) text: &'a mut dyn fmt::Write,
}

/// An area that is asked for.
struct Wanted<'n> {
    name: fmt::Arguments<'n>,
    size: u64,
    place: CmaPlace,
    /// It ends at or below this.
    limit: PhysAddr,
    node: Option<NodeId>,
}

/// Bytes that an area and its start are multiples of: a block of pages that are all movable or all not, as large as one
/// large leaf, or as a block of the highest order where that is smaller.
pub(super) const fn granularity<A: PageFormat>() -> u64 {
    // With 16 KiB pages Linux's highest order is 11, with 64 KiB pages 13; large leaves are of these orders too.
    1 << (2 * A::PAGE_SHIFT - 3)
}

/// Linux's default configurations: 64 MiB on arm64, nothing on x86.
const fn default_size(rules: Rules) -> u64 {
    match rules {
        Rules::X86 => 0,
        Rules::Arm64 => 64 * MIB,
    }
}

impl<A: PhysMap + PageFormat> Areas<'_, A> {
    /// Reserves the area for all devices below `limit`. Returns its bytes.
    ///
    /// # Errors
    /// [`MemblockError::Full`].
    pub(super) fn for_all(&mut self, option: &CmaOption, rules: Rules, limit: PhysAddr) -> Result<u64, MemblockError> {
        let default = CmaArea { size: default_size(rules), place: CmaPlace::Anywhere };
        let CmaArea { size, place } = option.area.unwrap_or(default);
        if size == 0 {
            return Ok(0);
        }
        self.reserve(&Wanted { name: format_args!("reserved"), size, place, limit, node: None })
    }

    /// Reserves the area of `node`. Returns its bytes.
    ///
    /// # Errors
    /// [`MemblockError::Full`].
    pub(super) fn of_node(&mut self, option: &CmaOption, node: NodeId) -> Result<u64, MemblockError> {
        let (size, limit) = (option.per_node, PhysAddr::new(u64::MAX));
        if size == 0 {
            return Ok(0);
        }
        let name = format_args!("pernuma{node}");
        self.reserve(&Wanted { name, size, place: CmaPlace::Anywhere, limit, node: Some(node) })
    }

    /// Reserves an area, says so or why not, and returns its bytes.
    fn reserve(&mut self, request: &Wanted<'_>) -> Result<u64, MemblockError> {
        let size = request.size.checked_next_multiple_of(granularity::<A>());
        let found = match size {
            Some(size) => self.place(request, size)?,
            None => None,
        };
        let mib = size.unwrap_or(request.size) / MIB;
        let _ = match found {
            Some(range) => writeln!(self.text, "cma: Reserved {mib} MiB at {:#018x}", range.start()),
            None => writeln!(self.text, "cma: Failed to reserve {mib} MiB"),
        };
        Ok(found.map_or(0, PhysRange::size))
    }

    fn place(&mut self, request: &Wanted<'_>, size: u64) -> Result<Option<PhysRange>, MemblockError> {
        let align = granularity::<A>();
        let memory_end = self.memblock.memory().span().end();
        let (base, limit) = match request.place {
            CmaPlace::Anywhere => (PhysAddr::new(0), request.limit),
            CmaPlace::At(start) => (start, request.limit),
            CmaPlace::Within(range) => (range.start(), range.end().min(request.limit)),
        };
        let limit = limit.align_down(align).min(memory_end);
        let exact = matches!(request.place, CmaPlace::At(_));
        if exact && !base.is_aligned(align) {
            let _ = writeln!(self.text, "cma: Region at {base:#018x} must be aligned to {align:#018x} bytes");
            return Ok(None);
        }
        let Some(base) = base.checked_align_up(align) else { return Ok(None) };
        if base.checked_add(size).is_none_or(|end| end > limit) {
            let _ =
                writeln!(self.text, "cma: Size ({size:#018x}) of region at {base:#018x} exceeds limit ({limit:#018x})");
            return Ok(None);
        }
        let mut owner = arrayvec::ArrayString::<32>::new();
        let _ = write!(owner, "CMA {}", request.name);
        let owner = Owner::new(&owner);
        let node = request.node.map_or(NodeWish::Any, NodeWish::Only);
        let window = self.memblock.mapped();
        let mut take =
            |within: PhysRange, from| self.memblock.keep(Request { size, align, within, node, owner }, from, window);
        if exact {
            let place = PhysRange::new(base, base.saturating_add(size));
            return take(place, Direction::TopDown);
        }
        if FOUR_GIB.checked_add(size).is_some_and(|end| memory_end >= end) && limit > FOUR_GIB {
            let above = PhysRange::new(FOUR_GIB, limit);
            if let Some(range) = take(above, Direction::BottomUp)? {
                return Ok(Some(range));
            }
        }
        take(PhysRange::new(base, limit), Direction::TopDown)
    }
}
