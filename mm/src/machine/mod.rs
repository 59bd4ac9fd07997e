//! The one description of a machine's memory, which every firmware front end fills.
//!
//! A front end (`platform::firmware`) reads its tables and hands each fact, with its [`Source`], to a [`MachineSink`].
//! It runs twice over the same tables: once into a [`Count`], then, in storage of that size, into a [`Fill`]. So the
//! number of entries has no cap and nothing is allocated here: the kernel carves the storage from the first usable
//! range that fits, the host hands vectors. What cannot be believed is dropped with a [`Warning`] that names table and
//! entry; the front end goes on with what is left.
//!
//! Invariant: facts stand in the order in which the firmware gave them, unsorted and unmerged; what overlaps is for
//! [`crate::memblock`] to resolve. Linux: `e820_table`, `numa_meminfo`, `of_fdt_limit_memory`.

mod carve;
mod flags;
mod sink;
mod warning;
mod window;

pub use carve::carve;
pub use flags::RegionFlags;
pub use sink::{Count, Fact, Fill, List, MachineMemory, MachineSink};
pub use warning::{Problem, Warning};
pub use window::find_window;

use crate::addr::{PhysAddr, PhysRange};
use arrayvec::ArrayString;
use core::fmt;

/// Whose rules apply where Linux's architectures make different things of the same facts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rules {
    /// An E820 map, SRAT merged over holes, zones at 16 MiB and 4 GiB.
    X86,
    /// A device tree or an EFI map, nodes as they stand, zones by what devices reach.
    Arm64,
}

/// A table of the firmware, or whoever else states facts about memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Table {
    /// The PC BIOS memory map.
    E820,
    /// The memory map of EFI firmware.
    EfiMap,
    /// EFI's system table.
    EfiSystemTable,
    /// The boot loader's list of `setup_data`.
    SetupData,
    /// The memory types that the CPU's range registers give (x86).
    Mtrr,
    /// The boot loader's `hvm_start_info` and the modules it lists.
    StartInfo,
    /// What a loader of the Limine protocol makes of a firmware's memory map.
    LimineMap,
    /// The modules that it loaded.
    LimineModules,
    /// The flattened device tree as a whole, its header or its structure.
    DeviceTree,
    /// A `memory` node of the device tree.
    MemoryNode,
    /// The device tree header's memory reservation block.
    ReserveMap,
    /// A child of `/reserved-memory`.
    ReservedMemory,
    /// The device tree's `/cpus`.
    CpuNode,
    /// The device tree's distance map.
    DistanceMap,
    /// What `/chosen` of the device tree says of memory.
    Chosen,
    /// A `dma-ranges` of the device tree.
    DmaRanges,
    /// The device tree's interrupt controller.
    InterruptController,
    /// The MP table of a PC without ACPI.
    MpTable,
    /// ACPI's root pointer.
    Rsdp,
    /// ACPI's list of tables with 32-bit addresses.
    Rsdt,
    /// ACPI's list of tables with 64-bit addresses.
    Xsdt,
    /// ACPI's interrupt controllers, and so the CPUs.
    Madt,
    /// ACPI's affinity of memory and CPUs to domains.
    Srat,
    /// ACPI's distances between domains.
    Slit,
    /// ACPI's fixed hardware description.
    Fadt,
    /// ACPI's serial console.
    Spcr,
    /// ACPI's timers of Arm CPUs.
    Gtdt,
    /// ACPI's description of what lies between Arm devices and memory.
    Iort,
    /// Any other ACPI table.
    Acpi,
    /// The registers of a slot for memory; the entry is the slot.
    MemorySlot,
    /// The kernel command line.
    CommandLine,
    /// A fact of the architecture, such as the legacy video hole of a PC.
    Architecture,
    /// The kernel itself.
    Kernel,
}

impl Table {
    /// The name that messages use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::E820 => "E820",
            Self::EfiMap => "EFI map",
            Self::EfiSystemTable => "EFI system table",
            Self::SetupData => "setup_data",
            Self::Mtrr => "MTRR",
            Self::StartInfo => "start_info",
            Self::LimineMap => "Limine map",
            Self::LimineModules => "Limine modules",
            Self::DeviceTree => "device tree",
            Self::MemoryNode => "device tree memory",
            Self::ReserveMap => "device tree reserve map",
            Self::ReservedMemory => "device tree reserved-memory",
            Self::CpuNode => "device tree cpus",
            Self::DistanceMap => "device tree distance-map",
            Self::Chosen => "device tree chosen",
            Self::DmaRanges => "device tree dma-ranges",
            Self::InterruptController => "device tree interrupt-controller",
            Self::MpTable => "MP table",
            Self::Rsdp => "RSDP",
            Self::Rsdt => "RSDT",
            Self::Xsdt => "XSDT",
            Self::Madt => "MADT",
            Self::Srat => "SRAT",
            Self::Slit => "SLIT",
            Self::Fadt => "FADT",
            Self::Spcr => "SPCR",
            Self::Gtdt => "GTDT",
            Self::Iort => "IORT",
            Self::Acpi => "ACPI table",
            Self::MemorySlot => "memory slot",
            Self::CommandLine => "command line",
            Self::Architecture => "architecture",
            Self::Kernel => "kernel",
        }
    }
}

/// Which entry of which table said something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Source {
    /// The table.
    pub table: Table,
    /// The entry, counted from 0 in the table's own order; `None` for the table as a whole.
    pub entry: Option<u32>,
}

impl Source {
    /// Entry `entry` of `table`.
    #[must_use]
    pub const fn entry(table: Table, entry: u32) -> Self {
        Self { table, entry: Some(entry) }
    }

    /// `table` as a whole.
    #[must_use]
    pub const fn whole(table: Table) -> Self {
        Self { table, entry: None }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.entry {
            Some(entry) => write!(f, "{} entry {entry}", self.table.name()),
            None => f.write_str(self.table.name()),
        }
    }
}

/// What the firmware says a bank of address space is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemoryKind {
    /// RAM for everybody.
    Usable,
    /// Not RAM, or RAM that is the firmware's for good.
    Reserved,
    /// ACPI tables, free once they are read.
    AcpiData,
    /// ACPI storage that sleep states need.
    AcpiNvs,
    /// RAM with errors.
    Unusable,
    /// Persistent memory (E820 type 7).
    Persistent,
    /// Persistent memory by the older, unofficial number (E820 type 12).
    LegacyPersistent,
    /// Memory that the firmware set aside for a special purpose; a driver may take it later.
    SoftReserved,
    /// An E820 type without a name here.
    Other(u32),
}

/// Linux's words for E820 types.
impl fmt::Display for MemoryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usable => f.write_str("usable"),
            Self::Reserved => f.write_str("reserved"),
            Self::AcpiData => f.write_str("ACPI data"),
            Self::AcpiNvs => f.write_str("ACPI NVS"),
            Self::Unusable => f.write_str("unusable"),
            Self::Persistent => f.write_str("persistent (type 7)"),
            Self::LegacyPersistent => f.write_str("persistent (type 12)"),
            Self::SoftReserved => f.write_str("soft reserved"),
            Self::Other(kind) => write!(f, "type {kind}"),
        }
    }
}

/// A bank of address space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bank {
    /// Its bytes.
    pub range: PhysRange,
    /// What it is.
    pub kind: MemoryKind,
    /// What is special about it, as far as the table that names the bank says.
    pub flags: RegionFlags,
    /// Who says so.
    pub source: Source,
}

/// The name of whoever holds a reservation, cut to 47 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Owner(ArrayString<47>);

impl Owner {
    /// The owner called `name`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut text = ArrayString::new();
        for character in name.chars() {
            if text.try_push(character).is_err() {
                break;
            }
        }
        Self(text)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// What a reserved range is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Somebody holds it. It is in the direct map like all RAM.
    Held,
    /// It must stay out of every mapping (`no-map`).
    NoMap,
    /// A pool of contiguous memory (CMA): whoever owns it lends it out for what can be moved.
    Contiguous,
    /// It is needed while the firmware's tables are read, and free from the hand-over of memory on.
    Temporary,
}

/// A range that must not be handed out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reservation {
    /// Its bytes.
    pub range: PhysRange,
    /// Who holds it.
    pub owner: Owner,
    /// What for.
    pub purpose: Purpose,
    /// Who says so.
    pub source: Source,
}

/// Memory that must be kept, at a place of the kernel's choice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wish {
    /// Bytes.
    pub size: u64,
    /// The start is a multiple of this; 0 or no power of two is not yet excluded.
    pub align: u64,
    /// Where it must lie.
    pub within: PhysRange,
    /// Wishes of one group are alternatives, the most wanted first.
    pub group: u32,
    /// Who will hold it.
    pub owner: Owner,
    /// What for.
    pub purpose: Purpose,
    /// Who says so.
    pub source: Source,
}

/// What may be used of the machine's memory, where not all may. Two add up; more are not looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Usable {
    /// Its bytes.
    pub range: PhysRange,
    /// Who says so.
    pub source: Source,
}

/// The end of what every device reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DmaLimit {
    /// The first byte that some device does not reach.
    pub end: PhysAddr,
    /// Who says so.
    pub source: Source,
}

/// Whether a range of memory can be taken out of the running machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plug {
    /// It is there for good.
    Fixed,
    /// It can go, or come later.
    HotPluggable,
}

/// Whether a range of memory keeps what is in it without power.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Persistence {
    /// It does not.
    #[default]
    Volatile,
    /// It does.
    NonVolatile,
}

/// A range of address space that belongs to a proximity domain. It may hold RAM, holes, or nothing yet; an empty one
/// says that there is such a domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Affinity {
    /// Its bytes.
    pub range: PhysRange,
    /// The firmware's number: a proximity domain of ACPI, a `numa-node-id` of a device tree.
    pub domain: u32,
    /// Whether it can go.
    pub plug: Plug,
    /// Whether it keeps what is in it; nothing else follows from that here.
    pub persistence: Persistence,
    /// Who says so.
    pub source: Source,
}

/// How a CPU that the firmware has not started is started.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum StartMethod {
    /// The firmware does not say: as the architecture has it (INIT and SIPI on x86), or as a machine-wide table says.
    #[default]
    Unstated,
    /// By a call to the firmware's PSCI.
    Psci,
    /// It waits for an address to appear here: the entry point, 64 bits.
    SpinTable {
        /// Where it looks.
        release: PhysAddr,
    },
    /// It waits in ACPI's parking protocol.
    Parked {
        /// Its mailbox, a page.
        mailbox: PhysAddr,
    },
    /// It is not there yet: it can be plugged into the running machine.
    Plugged,
    /// In a way that is not known here.
    Unknown,
}

/// A CPU as the firmware lists it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuEntry {
    /// The number by which the hardware knows it: APIC id, MPIDR affinity.
    pub hardware_id: u64,
    /// The firmware's domain number, where the table that lists the CPU gives one.
    pub domain: Option<u32>,
    /// How it is started.
    pub start: StartMethod,
    /// Who says so.
    pub source: Source,
}

/// The domain of a CPU, where another table than the one that lists the CPUs gives it (SRAT).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuAffinity {
    /// The number by which the hardware knows the CPU.
    pub hardware_id: u64,
    /// The firmware's domain number.
    pub domain: u32,
    /// Who says so.
    pub source: Source,
}

/// A domain that has a device which starts work of its own, such as an accelerator; it is a domain even without memory
/// and CPUs (SRAT's generic initiators).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Initiator {
    /// The firmware's domain number.
    pub domain: u32,
    /// Who says so.
    pub source: Source,
}

/// The distance between two domains, where 10 is local.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Distance {
    /// From this domain …
    pub from: u32,
    /// … to this one.
    pub to: u32,
    /// The distance as the firmware gives it; not yet believed.
    pub value: u32,
    /// Who says so.
    pub source: Source,
}
