//! What the firmware says of memory, in memory of its own, before there is an allocator.
//!
//! The front ends run over the same tables several times: to count, to find the lowest range that nobody holds (the
//! *early window*), and to fill storage carved from it. Besides the description, the window backs what is allocated
//! before the final tables stand, so it is larger than the description by what that makes of it
//! ([`Count::working_bytes`]) and by [`SLACK`]. The kernel's own image is one more reservation. Linux: `setup_arch`.

use crate::log::warning;
use crate::report::stop;
use crate::system::{Mm, Model, Resources};
use arch::paging::EarlyMap;
use arch::{LAYOUT, Native, discover, entry, paging};
use log::info;
use mm::addr::{PfnRange, PhysAddr, PhysRange};
use mm::arch::PageFormat;
use mm::machine::{
    Count, CpuEntry, Fact, Fill, MachineMemory, MachineSink, Owner, Purpose, Reservation, Source, StartMethod, Table,
};
use mm::machine::{carve, find_window};
use mm::memblock::{NodeWish, OutOfMemory};
use mm::model::MemoryModel;
use mm::paging::{Access, Mapping, MemoryType};
use mm::resource::{Resource, ResourceTree};
use mm::zone::Zones;
use platform::handover::BootInfo;
use platform::reserve::Reserved;
use platform::slots::MemorySlots;

/// Bytes of the early window beside what grows with the description: the first page tables, and tables of a fixed size.
const SLACK: u64 = 1 << 20;
/// The window is a multiple of this, so that few page tables map it.
const WINDOW_ALIGN: u64 = 64 << 10;

/// Room in the tree behind `iomem` for ranges that are found later, such as devices.
const RESERVE: usize = 64;

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
    let size = (storage_size + count.working_bytes() + SLACK).next_multiple_of(WINDOW_ALIGN);
    let Some(window) = find_window(size, WINDOW_ALIGN, reach(), |sink| describe(boot, early, sink)) else {
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
    // First, so that it has a place whatever the tables say this time.
    fill.reservation(kernel_reservation(storage, "machine description"));
    describe(boot, early, &mut fill);
    let boot_cpu = arch::cpu::boot_hardware_id();
    machine.cpus.bring_first(|cpu| cpu.hardware_id == boot_cpu);
    Description { machine, window }
}

/// What this kernel can address: where the direct map has room, and the CPU address bits.
pub(crate) fn reach() -> PhysRange {
    let addressed = PhysRange::new(PhysAddr::new(0), PhysAddr::new(1 << paging::physical_bits()));
    LAYOUT.direct_limit().intersection(addressed)
}

/// One run of everything that states facts about memory. The kernel's own come first: should the tables say more in the
/// last run than they did when they were counted, theirs are dropped.
fn describe(boot: &BootInfo<'_>, early: &mut EarlyMap, sink: &mut dyn MachineSink) {
    for section in entry::image() {
        sink.reservation(kernel_reservation(section.phys, section.owner()));
    }
    let mut noting = NotingBootCpu { sink, boot_cpu: arch::cpu::boot_hardware_id(), listed: false };
    discover::machine(boot, early, &mut noting);
    // It runs this, whatever the tables say.
    if !noting.listed {
        let source = Source::whole(Table::Kernel);
        let hardware_id = noting.boot_cpu;
        sink.cpu(CpuEntry { hardware_id, domain: None, start: StartMethod::Unstated, source });
    }
}

/// Passes facts on, and keeps in mind whether the boot CPU was among them.
struct NotingBootCpu<'s> {
    sink: &'s mut dyn MachineSink,
    boot_cpu: u64,
    listed: bool,
}

impl MachineSink for NotingBootCpu<'_> {
    fn fact(&mut self, fact: Fact) {
        self.listed |= matches!(fact, Fact::Cpu(cpu) if cpu.hardware_id == self.boot_cpu);
        self.sink.fact(fact);
    }
}

fn kernel_reservation(range: PhysRange, owner: &str) -> Reservation {
    Reservation { range, owner: Owner::new(owner), purpose: Purpose::Held, source: Source::whole(Table::Kernel) }
}

/// Maps the window at its place in the direct map, in the tables that the entry code made. Some of it may be there
/// already.
fn map(window: PhysRange) {
    let mapping = Mapping { access: Access::ReadWrite, memory: MemoryType::Normal };
    let mut tables = paging::live_tables();
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

/// The tree behind `iomem`: what the firmware names, and in it what is reserved.
pub(crate) fn resources(
    machine: &MachineMemory<'_>,
    slots: Option<MemorySlots>,
    zones: &mut Zones<Native>,
) -> Result<Resources, OutOfMemory> {
    // A bank may be cut in two by each other one that it meets, and what is reserved by each bank.
    let count = 2 * machine.banks.len() + machine.reservations.len() + zones.memblock().reserved().len() + RESERVE;
    let count = count + slots.map_or(0, |slots| slots.count as usize);
    let owner = Owner::new("resources");
    let storage = zones.memblock_mut().alloc_filled(count, Resource::unused(), NodeWish::Any, owner)?;
    let mut tree = ResourceTree::new(storage);
    if let Err(error) = tree.describe(machine, zones.memblock().reserved()) {
        log::warn!("iomem: {error}; the rest is left out");
    }
    Ok(tree)
}

/// Linux's lines about what there is and where it went, and which model holds the records.
pub(crate) fn memory_line(mm: &Mm, reserved: &Reserved) {
    let kib = |bytes: u64| bytes >> 10;
    let section = |name: &str| {
        entry::image().iter().filter(|section| section.name == name).map(|section| section.phys.size()).sum::<u64>()
    };
    let (mut present, mut free) = (0, 0);
    for (index, span) in mm.pages.populated() {
        present += span.present << Native::PAGE_SHIFT;
        free += mm.pages.counts(index).free << Native::PAGE_SHIFT;
    }
    // What was plugged in comes after this, as Linux tells it.
    present -= mm.pages.added_frames() << Native::PAGE_SHIFT;
    free = free.saturating_sub(mm.pages.added_free_frames(&mm.record) << Native::PAGE_SHIFT);
    info!(
        "Memory: {}K/{}K available ({}K kernel code, {}K rwdata, {}K rodata, 0K init, {}K bss, {}K reserved, \
         {}K cma-reserved)",
        kib(free),
        kib(present),
        kib(section("text")),
        kib(section("data")),
        kib(section("rodata")),
        kib(section("bss")),
        kib((present - free).saturating_sub(reserved.cma_bytes)),
        kib(reserved.cma_bytes)
    );
    let topology = mm.pages.nodes();
    info!(
        "SLUB: HWalign=64, Order=0-3, MinObjects=0, CPUs={}, Nodes={}",
        topology.cpus().len().max(1),
        topology.node_count()
    );
    info!("Memory model: {}", Model::NAME);
}
