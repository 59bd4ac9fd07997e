//! An emulated machine with all its memory under management, for the tests of pages and objects.

use mm::Mm;
use mm::addr::{Order, Pfn, PfnRange, PhysAddr, PhysRange};
use mm::arch::Arch;
use mm::machine::{Owner, Rules};
use mm::memblock::{Memblock, Record};
use mm::model::{Discontig, Flat, MemoryModel, SparseExtreme, SparseStatic, Vmemmap};
use mm::numa::{Nodes, NumaPolicy};
use mm::page_alloc::{FreeError, PageAllocator, TakeOverError};
use mm::paging::{BootFrames, PageTables};
use mm::zone::{MovableRequest, ZoneLimits, Zones};
use mm_testkit::{Description, Emulated, Machine};

/// A memory model, whatever the machine.
pub(crate) trait Kind {
    /// The model on machines with the handle `A`.
    type Model<A: Arch + Send + Sync>: MemoryModel<A> + Send + Sync;
}

/// Pages with the model that `K` is, and what memblock knew.
pub(crate) type Pages<'m, K, const SHIFT: u32> =
    PageAllocator<Emulated<'m, SHIFT>, <K as Kind>::Model<Emulated<'m, SHIFT>>>;

/// All of memory management with the model that `K` is.
pub(crate) type Managed<'m, K, const SHIFT: u32> = Mm<Emulated<'m, SHIFT>, <K as Kind>::Model<Emulated<'m, SHIFT>>>;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident: $model:ty;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub(crate) struct $kind;

            impl Kind for $kind {
                type Model<A: Arch + Send + Sync> = $model;
            }
        )*
    };
}

kinds! {
    /// One array of virtual space.
    OfVmemmap: Vmemmap<A>;
    /// One array of RAM.
    OfFlat: Flat<A>;
    /// An array for each node.
    OfDiscontig: Discontig<A>;
    /// A map for each section, roots where memory is.
    OfSparseExtreme: SparseExtreme<A>;
    /// A map for each section, a fixed table: up to 2 TiB with 4 KiB pages.
    OfSparseStatic: SparseStatic<A, 16384>;
}

/// What is reserved before memory is taken over.
pub(crate) type Reserved<'r> = &'r [(u64, u64)];

/// Nodes and zones of `machine`, with tables that are active, before anything else is allocated.
pub(crate) fn zones<'m, const SHIFT: u32>(
    machine: &'m Machine<SHIFT>,
    reserved: Reserved<'_>,
) -> (Zones<Emulated<'m, SHIFT>>, PageTables<Emulated<'m, SHIFT>>) {
    zones_described(machine, &mut machine.describe(), reserved)
}

/// As [`zones`], with `description` as what the firmware says.
fn zones_described<'m, const SHIFT: u32>(
    machine: &'m Machine<SHIFT>,
    description: &mut Description,
    reserved: Reserved<'_>,
) -> (Zones<Emulated<'m, SHIFT>>, PageTables<Emulated<'m, SHIFT>>) {
    zones_within(machine, description, reserved, PhysRange::ALL)
}

/// As [`zones_described`], when only `mapped` is said to be mapped.
pub(crate) fn zones_within<'m, const SHIFT: u32>(
    machine: &'m Machine<SHIFT>,
    description: &mut Description,
    reserved: Reserved<'_>,
    mapped: PhysRange,
) -> (Zones<Emulated<'m, SHIFT>>, PageTables<Emulated<'m, SHIFT>>) {
    let access = machine.handle();
    let facts = description.lend();
    let mut memblock = Memblock::new(access);
    memblock.populate(&facts, &mut |_| {}).unwrap();
    for &(start, size) in reserved {
        memblock.reserve(PhysRange::from_size(PhysAddr::new(start), size).unwrap(), Owner::new("test")).unwrap();
    }
    // SAFETY: all RAM of the emulated machine is in reach, and nobody else uses it.
    unsafe { memblock.set_mapped(mapped) };
    let near = memblock.memory().first().unwrap().range().start();
    let tables = PageTables::create(access, near, &mut BootFrames::new(&mut memblock)).unwrap();
    machine.set_root(tables.root());
    let mut text = String::new();
    let nodes = Nodes::assign(memblock, &facts, NumaPolicy::firmware(Rules::Arm64), &mut text, &mut |_| {}).unwrap();
    let mut zones = Zones::lay_out(nodes, ZoneLimits::x86(SHIFT), MovableRequest::default()).unwrap();
    zones.build_zonelists().unwrap();
    (zones, tables)
}

/// All memory of `machine` under management.
pub(crate) fn up<'m, const SHIFT: u32>(machine: &'m Machine<SHIFT>, reserved: Reserved<'_>) -> Mm<Emulated<'m, SHIFT>> {
    up_as::<OfVmemmap, SHIFT>(machine, reserved)
}

/// As [`up`], with the model that `K` is.
pub(crate) fn up_as<'m, K: Kind, const SHIFT: u32>(
    machine: &'m Machine<SHIFT>,
    reserved: Reserved<'_>,
) -> Managed<'m, K, SHIFT> {
    let (zones, tables) = zones(machine, reserved);
    // SAFETY: `zones` activated the tables.
    unsafe { Mm::new(zones, tables, machine.handle().layout()) }.unwrap()
}

/// Only pages.
pub(crate) fn pages<'m, const SHIFT: u32>(
    machine: &'m Machine<SHIFT>,
    reserved: Reserved<'_>,
) -> PageAllocator<Emulated<'m, SHIFT>> {
    pages_as::<OfVmemmap, SHIFT>(machine, reserved).unwrap().0
}

/// As [`pages`], with the model that `K` is; and what memblock knew. Or why not.
pub(crate) fn pages_as<'m, K: Kind, const SHIFT: u32>(
    machine: &'m Machine<SHIFT>,
    reserved: Reserved<'_>,
) -> Result<(Pages<'m, K, SHIFT>, Record<Emulated<'m, SHIFT>>), TakeOverError> {
    take_over::<K, SHIFT>(machine, &mut machine.describe(), reserved)
}

/// As [`pages_as`], with `description` as what the firmware says.
pub(crate) fn take_over<'m, K: Kind, const SHIFT: u32>(
    machine: &'m Machine<SHIFT>,
    description: &mut Description,
    reserved: Reserved<'_>,
) -> Result<(Pages<'m, K, SHIFT>, Record<Emulated<'m, SHIFT>>), TakeOverError> {
    let (zones, tables) = zones_described(machine, description, reserved);
    // SAFETY: `zones_described` activated the tables.
    unsafe { PageAllocator::take_over(zones, tables, machine.handle().layout()) }
}

/// Gives a block back, or tries to. Blocks of these tests are never used through pointers that outlive them.
pub(crate) fn give_back<A: Arch, M: MemoryModel<A>>(
    pages: &PageAllocator<A, M>,
    pfn: Pfn,
    order: Order,
) -> Result<(), FreeError> {
    // SAFETY: every block that a test holds is its own, and no pointer into it is used after this.
    unsafe { pages.free(pfn, order) }
}

/// Frames of RAM, by the machine's own list.
pub(crate) fn ram_frames<const SHIFT: u32>(machine: &Machine<SHIFT>) -> impl Iterator<Item = PfnRange> + '_ {
    machine.ram().map(|(range, _)| PfnRange::inside(range, SHIFT))
}

/// Whether `count` frames from `pfn` are RAM.
pub(crate) fn is_ram<const SHIFT: u32>(machine: &Machine<SHIFT>, pfn: Pfn, count: u64) -> bool {
    let block = PfnRange::new(pfn, pfn.saturating_add(count));
    ram_frames(machine).any(|frames| frames.intersection(block) == block)
}

/// Numbers without a pattern, the same in every run (xorshift64*).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}
