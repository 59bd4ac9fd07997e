//! What the firmware says of memory, in memory of its own, before there is an allocator.
//!
//! The front ends run over the same tables several times: to count, to find the lowest range that nobody holds (the
//! *early window*), and to fill storage carved from it. Besides the description, the window backs what is allocated
//! before the final tables stand, so it is larger than the description by [`SLACK`]. The kernel's own image is one more
//! reservation. Linux: `setup_arch`.

use crate::report::stop;
use crate::start::warning;
use arch::paging::EarlyMap;
use arch::{LAYOUT, Native, discover, entry, paging};
use mm::addr::{PfnRange, PhysRange};
use mm::arch::PageFormat;
use mm::machine::{Count, Fill, MachineMemory, MachineSink, MapPolicy, Owner, Reservation, Source, Table};
use mm::machine::{carve, find_window};
use mm::paging::{Access, Mapping, MemoryType};
use platform::handover::BootInfo;

/// Bytes of the early window beside the description: region arrays, node tables, the first page tables.
const SLACK: u64 = 1 << 20;
/// The window is a multiple of this, so that few page tables map it.
const WINDOW_ALIGN: u64 = 64 << 10;

/// What the firmware said, and where that is kept.
pub(crate) struct Description {
    /// The facts.
    pub(crate) machine: MachineMemory<'static>,
    /// The mapped range that holds them, and free memory behind them.
    pub(crate) window: PhysRange,
}

/// Reads every table; stops with a sentence when the machine has no memory to keep the result in.
pub(crate) fn read(boot: &BootInfo<'_>, early: &mut EarlyMap) -> Description {
    let mut count = Count::default();
    describe(boot, early, &mut count);
    // One more: the storage itself is a reservation.
    count.reservations += 1;
    let storage_size = count.storage_bytes().next_multiple_of(Native::PAGE_SIZE);
    let size = (storage_size + SLACK).next_multiple_of(WINDOW_ALIGN);
    let within = LAYOUT.direct_limit();
    let Some(window) = find_window(size, WINDOW_ALIGN, within, |sink| describe(boot, early, sink)) else {
        stop(format_args!("no usable memory: the firmware names no free range of {} KiB", size >> 10));
    };
    map(window);
    let storage = PhysRange::new(window.start(), window.start().saturating_add(storage_size));
    // SAFETY: the window is page-aligned usable RAM that meets no reservation, it has just been mapped, and the
    // storage is reserved before anything is handed out, so nobody else ever uses it.
    let Some(mut machine) = (unsafe { carve(Native, storage, count) }) else {
        stop(format_args!("the description does not fit into the {} KiB counted for it", storage_size >> 10));
    };
    let mut fill = Fill { machine: &mut machine, warn: warning };
    describe(boot, early, &mut fill);
    fill.reservation(kernel_reservation(storage, "machine description"));
    Description { machine, window }
}

/// One run of everything that states facts about memory.
fn describe(boot: &BootInfo<'_>, early: &mut EarlyMap, sink: &mut dyn MachineSink) {
    discover::machine(boot, early, sink);
    for section in entry::image() {
        sink.reservation(kernel_reservation(section.phys, section.owner()));
    }
}

fn kernel_reservation(range: PhysRange, owner: &str) -> Reservation {
    Reservation { range, owner: Owner::new(owner), map: MapPolicy::Map, source: Source::whole(Table::Kernel) }
}

/// Maps the window at its place in the direct map, in the tables that the entry code made. Some of it may be there
/// already.
fn map(window: PhysRange) {
    let mapping = Mapping { access: Access::ReadWrite, memory: MemoryType::Normal };
    let mut tables = paging::boot_tables();
    let pages = PfnRange::inside(window, Native::PAGE_SHIFT);
    for frame in 0..pages.count() {
        let pfn = pages.start().saturating_add(frame);
        let page = PfnRange::new(pfn, pfn.saturating_add(1)).bytes(Native::PAGE_SHIFT);
        let Some(virt) = LAYOUT.phys_to_virt(page.start()) else {
            stop(format_args!("the early window {window} lies outside the direct map"));
        };
        if tables.translate(virt).is_some() {
            continue;
        }
        if let Err(error) = tables.map(virt, page, mapping, &mut paging::early_frames()) {
            stop(format_args!("mapping the early window {window}: {error}"));
        }
    }
}
