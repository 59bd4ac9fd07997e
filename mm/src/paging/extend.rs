//! RAM that joins the direct map after it was built: what was plugged in and no table of the firmware names.
//!
//! Whoever reaches such memory must know that it is mapped, and that it is nobody's; [`MappedRam`] is the proof, made
//! here or by a promise, and taken by [`Zones::add_memory`](crate::zone::Zones::add_memory). Until then memblock knows
//! nothing of it, so nothing is allocated there; the tables that map it come from other memory, since none of the new
//! memory is reached before they stand. Cost: as [`direct`](super::direct). Linux: `arch_add_memory`,
//! `init_memory_mapping`.

use super::direct::DirectError;
use super::mapping::{Access, Mapping, MemoryType};
use super::source::BootFrames;
use super::tables::PageTables;
use crate::addr::PhysRange;
use crate::arch::{PageFormat, PhysMap};
use crate::layout::Layout;
use crate::memblock::Memblock;

/// RAM that `PhysMap::phys_ptr` reaches, for good, and that nobody uses.
#[derive(PartialEq, Eq, Debug)]
pub struct MappedRam {
    range: PhysRange,
}

impl MappedRam {
    /// The proof for `range`.
    ///
    /// # Safety
    /// From now on, and for as long as the handle of the kernel lives, `range` is RAM that its `phys_ptr` reaches, and
    /// nobody uses any of it but whoever has the proof.
    #[must_use]
    pub const unsafe fn new(range: PhysRange) -> Self {
        Self { range }
    }

    /// The RAM.
    #[must_use]
    pub const fn range(&self) -> PhysRange {
        self.range
    }
}

/// Maps `range` in the layout's direct map, with table frames from `memblock`.
///
/// # Safety
/// `tables` are the active ones and hold the direct map of `layout`. `range` is RAM, and nobody uses it now or later
/// but whoever has what this returns.
///
/// # Errors
/// [`DirectError::OutOfReach`]: the direct map has no room there; [`DirectError::Map`]: no frames for tables, not
/// whole pages, or something is mapped there in another way. What was mapped by then stays so, which harms nobody.
pub unsafe fn extend_direct<A: PhysMap + PageFormat>(
    tables: &mut PageTables<A>,
    memblock: &mut Memblock<A>,
    layout: &Layout,
    range: PhysRange,
) -> Result<MappedRam, DirectError> {
    let outside = DirectError::OutOfReach(range);
    if !layout.direct_limit().contains_range(range) {
        return Err(outside);
    }
    let at = layout.phys_to_virt(range.start()).ok_or(outside)?;
    let mapping = Mapping { access: Access::ReadWrite, memory: MemoryType::Normal };
    tables.map(at, range, mapping, &mut BootFrames::new(memblock))?;
    // SAFETY: it is mapped at its place in the active tables, where nothing is ever unmapped; the rest the caller says.
    Ok(unsafe { MappedRam::new(range) })
}
