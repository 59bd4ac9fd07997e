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

use crate::addr::{PhysAddr, PhysRange};
use arrayvec::ArrayString;
use core::fmt;

/// A table of the firmware, or whoever else states facts about memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Table {
    /// The PC BIOS memory map.
    E820,
    /// The boot loader's `hvm_start_info` and the modules it lists.
    StartInfo,
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
    /// Any other ACPI table.
    Acpi,
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
            Self::StartInfo => "start_info",
            Self::DeviceTree => "device tree",
            Self::MemoryNode => "device tree memory",
            Self::ReserveMap => "device tree reserve map",
            Self::ReservedMemory => "device tree reserved-memory",
            Self::CpuNode => "device tree cpus",
            Self::DistanceMap => "device tree distance-map",
            Self::Rsdp => "RSDP",
            Self::Rsdt => "RSDT",
            Self::Xsdt => "XSDT",
            Self::Madt => "MADT",
            Self::Srat => "SRAT",
            Self::Slit => "SLIT",
            Self::Fadt => "FADT",
            Self::Acpi => "ACPI table",
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

/// Whether the kernel may map a reserved range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapPolicy {
    /// It is in the direct map like all RAM.
    Map,
    /// It must stay out of every mapping (`no-map`).
    NoMap,
}

/// A range that must not be handed out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reservation {
    /// Its bytes.
    pub range: PhysRange,
    /// Who holds it.
    pub owner: Owner,
    /// Whether it may be mapped.
    pub map: MapPolicy,
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

/// A range of address space that belongs to a proximity domain. It may hold RAM, holes, or nothing yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Affinity {
    /// Its bytes.
    pub range: PhysRange,
    /// The firmware's number: a proximity domain of ACPI, a `numa-node-id` of a device tree.
    pub domain: u32,
    /// Whether it can go.
    pub plug: Plug,
    /// Who says so.
    pub source: Source,
}

/// A CPU as the firmware lists it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuEntry {
    /// The number by which the hardware knows it: APIC id, MPIDR affinity.
    pub hardware_id: u64,
    /// The firmware's domain number, where the table that lists the CPU gives one.
    pub domain: Option<u32>,
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

/// Why a fact was dropped or changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Problem {
    /// The range runs past the end of the address space.
    Wraps {
        /// Its start.
        start: u64,
        /// Its length.
        size: u64,
    },
    /// The range overlaps one that was stated before; the stricter statement holds where they meet.
    Overlaps(PhysRange),
    /// The same was stated before.
    Duplicate(PhysRange),
    /// The entry stands before one with a lower address.
    Unsorted(PhysRange),
    /// There is nothing in it.
    Empty {
        /// Its start.
        start: u64,
    },
    /// The bytes of the table do not add up to zero.
    Checksum,
    /// The table or entry is not as long as its kind must be, or runs past what holds it.
    Length {
        /// The length that it states.
        stated: u64,
    },
    /// The table does not begin as its kind must.
    Signature,
    /// The table lies where nothing can be read.
    Unreadable(PhysAddr),
    /// A structural fault at this byte of the table.
    Malformed {
        /// Offset of the fault in bytes.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// A property or field has a value that its kind cannot have.
    Value {
        /// Which one.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// A range does not lie in RAM.
    NotRam(PhysRange),
    /// There are more of these than can be held.
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are held.
        limit: u64,
    },
    /// The whole table is not used, for this reason.
    TableIgnored(&'static str),
}

/// A fact that was dropped or changed, and why. Its text is one line without a newline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Warning {
    /// Who stated it.
    pub source: Source,
    /// What is wrong with it.
    pub problem: Problem,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = self.source;
        match self.problem {
            Problem::Wraps { start, size } => {
                write!(
                    f,
                    "{source}: {size:#x} bytes at {start:#x} run past the end of the address space; entry dropped"
                )
            }
            Problem::Overlaps(range) => write!(f, "{source}: {range} overlaps an earlier entry"),
            Problem::Duplicate(range) => write!(f, "{source}: {range} was stated before; entry dropped"),
            Problem::Unsorted(range) => write!(f, "{source}: {range} is out of order"),
            Problem::Empty { start } => write!(f, "{source}: nothing at {start:#x}; entry dropped"),
            Problem::Checksum => write!(f, "{source}: wrong checksum; table ignored"),
            Problem::Length { stated } => write!(f, "{source}: a length of {stated} bytes cannot be; dropped"),
            Problem::Signature => write!(f, "{source}: wrong signature; ignored"),
            Problem::Unreadable(address) => write!(f, "{source}: cannot be read at {address:#x}; ignored"),
            Problem::Malformed { offset, what } => write!(f, "{source}: {what} at offset {offset:#x}"),
            Problem::Value { what, value } => write!(f, "{source}: {what} cannot be {value:#x}; dropped"),
            Problem::NotRam(range) => write!(f, "{source}: {range} does not lie in RAM"),
            Problem::TooMany { what, limit } => write!(f, "{source}: more than {limit} {what}; the rest is dropped"),
            Problem::TableIgnored(why) => write!(f, "{source}: {why}; table ignored"),
        }
    }
}

/// Where a front end puts what it reads.
pub trait MachineSink {
    /// A bank of address space.
    fn bank(&mut self, bank: Bank);
    /// A range that must not be handed out.
    fn reservation(&mut self, reservation: Reservation);
    /// A range that belongs to a domain.
    fn affinity(&mut self, affinity: Affinity);
    /// A CPU.
    fn cpu(&mut self, cpu: CpuEntry);
    /// The domain of a CPU.
    fn cpu_affinity(&mut self, affinity: CpuAffinity);
    /// A distance.
    fn distance(&mut self, distance: Distance);
    /// Something that was dropped or changed.
    fn warning(&mut self, warning: Warning);
}

/// The first run: how much of each there is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Count {
    /// Banks.
    pub banks: usize,
    /// Reservations.
    pub reservations: usize,
    /// Affinities.
    pub affinities: usize,
    /// CPUs.
    pub cpus: usize,
    /// CPU affinities.
    pub cpu_affinities: usize,
    /// Distances.
    pub distances: usize,
}

impl MachineSink for Count {
    fn bank(&mut self, _: Bank) {
        self.banks += 1;
    }

    fn reservation(&mut self, _: Reservation) {
        self.reservations += 1;
    }

    fn affinity(&mut self, _: Affinity) {
        self.affinities += 1;
    }

    fn cpu(&mut self, _: CpuEntry) {
        self.cpus += 1;
    }

    fn cpu_affinity(&mut self, _: CpuAffinity) {
        self.cpu_affinities += 1;
    }

    fn distance(&mut self, _: Distance) {
        self.distances += 1;
    }

    fn warning(&mut self, _: Warning) {}
}

/// A list in borrowed storage. What does not fit is counted, not lost silently.
#[derive(Debug)]
pub struct List<'a, T> {
    items: &'a mut [Option<T>],
    length: usize,
}

impl<'a, T: Copy> List<'a, T> {
    /// An empty list that holds at most as many as `storage`.
    pub fn new(storage: &'a mut [Option<T>]) -> Self {
        Self { items: storage, length: 0 }
    }

    /// Appends; `false` when there is no room.
    #[must_use]
    pub fn push(&mut self, item: T) -> bool {
        match self.items.get_mut(self.length) {
            Some(slot) => {
                *slot = Some(item);
                self.length += 1;
                true
            }
            None => false,
        }
    }

    /// The items, in the order in which they came.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = T> + '_ {
        self.items.iter().take(self.length).filter_map(|slot| *slot)
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

/// What the firmware says of the machine's memory, in borrowed storage.
#[derive(Debug)]
pub struct MachineMemory<'a> {
    /// Banks of address space, in the firmware's order.
    pub banks: List<'a, Bank>,
    /// Ranges that must not be handed out.
    pub reservations: List<'a, Reservation>,
    /// Ranges that belong to domains.
    pub affinities: List<'a, Affinity>,
    /// CPUs, in the firmware's order.
    pub cpus: List<'a, CpuEntry>,
    /// Domains of CPUs.
    pub cpu_affinities: List<'a, CpuAffinity>,
    /// Distances between domains.
    pub distances: List<'a, Distance>,
}

/// The second run: every fact goes into `machine`, every warning to `warn`.
pub struct Fill<'m, 'a, W: FnMut(Warning)> {
    /// Where facts go.
    pub machine: &'m mut MachineMemory<'a>,
    /// Where warnings go.
    pub warn: W,
}

impl<W: FnMut(Warning)> Fill<'_, '_, W> {
    fn full(&mut self, source: Source, what: &'static str, limit: usize) {
        (self.warn)(Warning { source, problem: Problem::TooMany { what, limit: limit as u64 } });
    }
}

impl<W: FnMut(Warning)> MachineSink for Fill<'_, '_, W> {
    fn bank(&mut self, bank: Bank) {
        if !self.machine.banks.push(bank) {
            self.full(bank.source, "banks", self.machine.banks.len());
        }
    }

    fn reservation(&mut self, reservation: Reservation) {
        if !self.machine.reservations.push(reservation) {
            self.full(reservation.source, "reservations", self.machine.reservations.len());
        }
    }

    fn affinity(&mut self, affinity: Affinity) {
        if !self.machine.affinities.push(affinity) {
            self.full(affinity.source, "affinities", self.machine.affinities.len());
        }
    }

    fn cpu(&mut self, cpu: CpuEntry) {
        if !self.machine.cpus.push(cpu) {
            self.full(cpu.source, "CPUs", self.machine.cpus.len());
        }
    }

    fn cpu_affinity(&mut self, affinity: CpuAffinity) {
        if !self.machine.cpu_affinities.push(affinity) {
            self.full(affinity.source, "CPU affinities", self.machine.cpu_affinities.len());
        }
    }

    fn distance(&mut self, distance: Distance) {
        if !self.machine.distances.push(distance) {
            self.full(distance.source, "distances", self.machine.distances.len());
        }
    }

    fn warning(&mut self, warning: Warning) {
        (self.warn)(warning);
    }
}

impl<W: FnMut(Warning)> fmt::Debug for Fill<'_, '_, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fill").field("machine", &self.machine).finish_non_exhaustive()
    }
}
