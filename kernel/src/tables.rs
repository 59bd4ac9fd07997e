//! The final page tables: RAM in the direct map, the image with W^X, the fixmap.
//!
//! They are built beside the boot tables and switched to in one step, so a half-built map is never live. The image
//! keeps the entry code's tables, in which each section has had its own rights from the first instruction on and a
//! guard page lies below each stack. Linux: `init_mem_mapping`, `paging_init`, `mark_rodata_ro`.

use crate::report::stop;
use arch::{LAYOUT, Native, entry, paging};
use mm::addr::PhysRange;
use mm::memblock::Memblock;
use mm::paging::direct::map_direct;
use mm::paging::{Access, DirectError, MappedRam, PageTables, extend_direct};

/// Builds them and switches to them; stops with a sentence when that cannot be.
pub(crate) fn build(memblock: &mut Memblock<Native>) -> PageTables<Native> {
    // What the image may not have written through its own addresses, it may not have written through the direct map.
    let read_only = entry::image().map(|section| match section.access {
        Access::ReadWrite => (PhysRange::EMPTY, Access::ReadWrite),
        Access::ReadOnly | Access::ReadExecute => (section.phys, Access::ReadOnly),
    });
    let mut live = paging::live_tables();
    let mut frames = paging::early_frames();
    // SAFETY: the live tables map the image, the early window and nothing else in the direct map, each at its place.
    // memblock holds the firmware's RAM less everything that somebody holds, and gets no more of it.
    let built = unsafe { map_direct(&mut live, memblock, &LAYOUT, &read_only, &mut frames) };
    let mut tables = match built {
        Ok(tables) => tables,
        Err(error) => stop(format_args!("{error}")),
    };
    for area in [LAYOUT.image, LAYOUT.fixmap] {
        if let Err(error) = tables.share(&live, area, &mut frames) {
            stop(format_args!("sharing the tables of {:#x}: {error}", area.start()));
        }
    }
    // SAFETY: image, stacks and fixmap have the same tables as before; everything else that is in use lies in RAM,
    // which is in the direct map. All tables are reserved in memblock or part of the image.
    unsafe { paging::activate(tables.root()) };
    tables
}

/// Maps RAM that was plugged in.
///
/// # Safety
/// `tables` are those that [`build`] switched to. `range` is RAM that no table of the firmware names and nobody uses.
///
/// # Errors
/// [`DirectError`]: there is no room in the direct map, or no memory for tables.
pub(crate) unsafe fn extend(
    tables: &mut PageTables<Native>,
    memblock: &mut Memblock<Native>,
    range: PhysRange,
) -> Result<MappedRam, DirectError> {
    // SAFETY: the active tables hold the direct map; the rest the caller says.
    unsafe { extend_direct(tables, memblock, &LAYOUT, range) }
}
