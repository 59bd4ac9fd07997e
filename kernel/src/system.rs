//! What the running kernel knows of its machine, for those that ask it: the monitor, the tests, the heap, the reports.

use arch::Native;
use mm::machine::MachineMemory;
use mm::memblock::BootSlice;
use mm::page_alloc::PageAllocator;
use mm::percpu::FirstChunk;
use mm::resource::{Resource, ResourceTree};
use platform::handover::BootInfo;
use platform::reserve::Reserved;

/// Where the records of frames lie: in an array of virtual space.
#[cfg(not(feature = "flat"))]
pub(crate) type Model = mm::model::Vmemmap<Native>;
/// Where the records of frames lie: in one array of RAM.
#[cfg(feature = "flat")]
pub(crate) type Model = mm::model::Flat<Native>;

/// Memory management with this kernel's model.
pub(crate) type Mm = mm::Mm<Native, Model>;
/// Its pages.
pub(crate) type Pages = PageAllocator<Native, Model>;

/// The one memory manager, set when bring-up is done; the heap and the reports read it.
pub(crate) static MM: spin::Once<Mm> = spin::Once::new();

/// Where each CPU's variables are, set before any other CPU runs.
pub(crate) static PERCPU: spin::Once<FirstChunk<Native>> = spin::Once::new();

/// The tree behind `iomem`, in memory that stays.
pub(crate) type Resources = ResourceTree<BootSlice<Native, Resource>>;

/// What the running kernel knows of its machine.
pub(crate) struct System {
    /// What the boot loader handed over.
    pub(crate) boot: BootInfo<'static>,
    /// What the firmware said of memory.
    pub(crate) machine: MachineMemory<'static>,
    /// What was kept of memory before the page allocator took it over.
    pub(crate) reserved: Reserved,
    /// Who lives where in physical address space.
    pub(crate) resources: Resources,
    /// Where each CPU's variables are.
    pub(crate) percpu: &'static FirstChunk<Native>,
    /// The memory manager.
    pub(crate) mm: &'static Mm,
}
