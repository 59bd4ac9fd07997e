//! Memory in slots, which no map names: found last, and in use from the first allocation on.
//!
//! Linux finds it when drivers start, long after it has told its zones; so this comes after all lines about zones, and
//! what was told stays true of what was there at boot. Linux: `acpi_memory_device_add`.

use crate::log::warning;
use crate::system::Resources;
use crate::tables;
use arch::{Native, discover};
use core::fmt::{self, Display};
use log::{info, warn};
use mm::addr::{PfnRange, PhysRange};
use mm::arch::PageFormat;
use mm::machine::Owner;
use mm::paging::{DirectError, PageTables};
use mm::resource::ResourceKind;
use mm::zone::{GrowError, Placement, Zones};
use platform::plan::Plan;
use platform::plug::{Admission, Intake};
use platform::slots::{MemoryDevice, MemorySlots};

/// Whoever wants memory: zones, the tables that map it, and the tree behind `iomem`.
pub(crate) struct Takers<'t> {
    pub(crate) zones: &'t mut Zones<Native>,
    pub(crate) tables: &'t mut PageTables<Native>,
    pub(crate) resources: &'t mut Resources,
}

/// Adds what lies in the slots and may join.
///
/// # Safety
/// The tables of `takers` are the active ones, as [`tables::build`] made them.
pub(crate) unsafe fn memory(slots: &MemorySlots, plan: &Plan<'_>, takers: &mut Takers<'_>) {
    let Some(mut ports) = discover::open_slots(slots) else { return };
    let intake = Intake::new(plan, takers.zones);
    for slot in 0..slots.count {
        match slots.device(slot, &mut ports) {
            Ok(None) => {}
            Ok(Some(device)) => match intake.admit(takers.zones, &device) {
                // SAFETY: as the caller says.
                Ok(admission) => unsafe { add(&device, admission, takers) },
                Err(refused) => warning(refused),
            },
            Err(refused) => warning(refused),
        }
    }
}

/// Why memory in a slot is not used.
enum Refused {
    Unmapped(DirectError),
    NoZone(GrowError),
}

impl Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unmapped(error) => error.fmt(f),
            Self::NoZone(error) => error.fmt(f),
        }
    }
}

/// # Safety
/// As [`memory`]; the device was admitted.
unsafe fn add(device: &MemoryDevice, admission: Admission, takers: &mut Takers<'_>) {
    let MemoryDevice { slot, range, .. } = *device;
    let node = admission.node;
    match admission.placement {
        None => info!("Memory slot {slot}: {range} is on node {node}, offline"),
        Some(placement) => {
            // SAFETY: as the caller says.
            if let Err(refused) = unsafe { online(range, admission, placement, takers) } {
                warn!("memory slot entry {slot}: {range} is not used: {refused}");
                return;
            }
            let pages = PfnRange::inside(range, Native::PAGE_SHIFT);
            let parts = takers.zones.added().iter().filter(|added| !added.frames.intersection(pages).is_empty());
            for added in parts {
                let range = added.frames.bytes(Native::PAGE_SHIFT);
                info!("Memory slot {slot}: {range} is on node {node}, in zone {}", added.kind);
            }
        }
    }
    if let Err(error) = takers.resources.insert(range, Owner::new("System RAM"), ResourceKind::Ram) {
        warn!("iomem: {range}: {error}; left out");
    }
}

/// # Safety
/// As [`add`]; `range` is that of the device.
unsafe fn online(
    range: PhysRange,
    admission: Admission,
    placement: Placement,
    takers: &mut Takers<'_>,
) -> Result<(), Refused> {
    let Takers { zones, tables, .. } = takers;
    // SAFETY: the caller says the first. The machine says of the range that it is RAM in a slot; no table of the
    // firmware names any of it, memblock has no memory there and nothing that is reserved, as `admit` has found, so
    // nobody can have come to use it.
    let ram = unsafe { tables::extend(tables, zones.memblock_mut(), range) }.map_err(Refused::Unmapped)?;
    zones.add_memory(ram, admission.node, placement, admission.block_bytes).map_err(Refused::NoZone)
}
