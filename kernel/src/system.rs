//! What the running kernel knows of its machine, for those that ask it: the monitor, the tests, the heap, the reports.

use crate::describe::Resources;
use arch::Native;
use mm::Mm;
use mm::machine::MachineMemory;
use platform::handover::BootInfo;
use platform::reserve::Reserved;

/// The one memory manager, set when bring-up is done; the heap and the reports read it.
pub(crate) static MM: spin::Once<Mm<Native>> = spin::Once::new();

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
    /// The memory manager.
    pub(crate) mm: &'static Mm<Native>,
}
