//! Hand-over: what the boot loader left behind, and where.
//!
//! [`pvh`] reads the `hvm_start_info` that a PVH loader (QEMU's `-kernel` on x86) passes, [`image`] the device tree
//! that a loader of Linux Images passes. Both make a [`BootInfo`]: the command line, copied; where the firmware's
//! tables are; and what of it must not be overwritten. [`BootInfo::describe`] then hands all facts about memory to a
//! sink, and can do so as often as it is called: it reads the tables anew each time.
//!
//! Linux: `arch/x86/platform/pvh/enlighten.c`, `arch/arm64/kernel/setup.c`.

pub mod image;
pub mod pvh;

use crate::cmdline::Cmdline;
use crate::console::ConsoleSpec;
use crate::firmware::acpi;
use crate::firmware::e820::{E820, FirmwareMap, PcMap};
use crate::firmware::fdt::{Blob, FdtError};
use crate::firmware::interrupts::IrqController;
use crate::firmware::mp_table;
use crate::firmware::mtrr::Mtrr;
use crate::power::{Conduit, PowerOff};
use crate::read::{PhysRead, Unreadable};
use crate::slots::MemorySlots;
use arrayvec::ArrayVec;
use core::fmt;
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{Fact, MachineSink, Owner, Problem, Purpose, Reservation, Source, Table, Warning};

/// Why nothing can be learnt from the loader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HandoverError {
    /// The structure that the loader passed cannot be read.
    Unreadable(Unreadable),
    /// It does not begin as it must.
    Magic {
        /// Where it should be.
        at: PhysAddr,
        /// What stands there.
        value: u32,
    },
    /// The device tree is damaged.
    DeviceTree(FdtError),
}

impl fmt::Display for HandoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "the boot loader's start_info: {error}"),
            Self::Magic { at, value } => {
                write!(
                    f,
                    "no start_info where the boot loader says, at {at:#x}: it begins with {value:#x}, not 0x336ec578"
                )
            }
            Self::DeviceTree(error) => write!(f, "device tree: {error}"),
        }
    }
}

impl core::error::Error for HandoverError {}

impl From<Unreadable> for HandoverError {
    fn from(error: Unreadable) -> Self {
        Self::Unreadable(error)
    }
}

impl From<FdtError> for HandoverError {
    fn from(error: FdtError) -> Self {
        Self::DeviceTree(error)
    }
}

/// Which table says where memory is.
#[derive(Clone, Copy, Debug)]
pub enum MemoryMapSource<'a> {
    /// None does.
    None,
    /// A PC BIOS memory map.
    E820(E820),
    /// A device tree.
    DeviceTree(Blob<'a>),
}

/// Ranges that are kept: the loader's own few, and its modules.
pub const MAX_RESERVED: usize = 16;

/// Warnings that are kept.
pub const MAX_WARNINGS: usize = 8;

/// Passes facts on, and keeps in mind whether a CPU was among them.
struct NotingCpus<'s> {
    sink: &'s mut dyn MachineSink,
    any: bool,
}

impl MachineSink for NotingCpus<'_> {
    fn fact(&mut self, fact: Fact) {
        self.any |= matches!(fact, Fact::Cpu(_));
        self.sink.fact(fact);
    }
}

/// What the boot loader left behind.
#[derive(Clone, Debug)]
pub struct BootInfo<'a> {
    /// The kernel command line.
    pub cmdline: Cmdline,
    /// The table that says where memory is.
    pub map: MemoryMapSource<'a>,
    /// What the CPU's range registers say of memory, on x86.
    pub mtrr: Option<Mtrr>,
    /// ACPI's root pointer.
    pub rsdp: Option<PhysAddr>,
    /// The device tree blob.
    pub dtb: Option<PhysRange>,
    /// The initial RAM disk.
    pub initrd: Option<PhysRange>,
    /// The console that ACPI names, once [`BootInfo::find_console`] has asked.
    pub spcr: Option<ConsoleSpec>,
    /// What the loader put into memory and the kernel may still need, by owner.
    pub reserved: ArrayVec<Reservation, MAX_RESERVED>,
    /// What was dropped on the way here.
    pub warnings: ArrayVec<Warning, MAX_WARNINGS>,
}

impl BootInfo<'_> {
    fn new() -> Self {
        Self {
            cmdline: Cmdline::empty(),
            map: MemoryMapSource::None,
            mtrr: None,
            rsdp: None,
            dtb: None,
            initrd: None,
            spcr: None,
            reserved: ArrayVec::new(),
            warnings: ArrayVec::new(),
        }
    }

    fn warn(&mut self, source: Source, problem: Problem) {
        // Past the limit the first ones tell what is wrong with this loader.
        let _ = self.warnings.try_push(Warning { source, problem });
    }

    fn reserve(&mut self, range: PhysRange, owner: &str, source: Source) {
        let reservation = Reservation { range, owner: Owner::new(owner), purpose: Purpose::Held, source };
        if !range.is_empty() && self.reserved.try_push(reservation).is_err() {
            self.warn(source, Problem::TooMany { what: "boot modules", limit: MAX_RESERVED as u64 });
        }
    }

    /// Hands every fact about memory to `sink`: the loader's own ranges, then what the memory map says, then what ACPI
    /// says, or where that lists no CPUs, a PC's MP table. Call it twice, with a [`mm::machine::Count`] and with a
    /// [`mm::machine::Fill`].
    pub fn describe(&self, read: &mut dyn PhysRead, sink: &mut dyn MachineSink) {
        for reservation in &self.reserved {
            sink.reservation(*reservation);
        }
        for warning in &self.warnings {
            sink.warning(*warning);
        }
        match &self.map {
            MemoryMapSource::None => sink.warning(Warning {
                source: Source::whole(Table::StartInfo),
                problem: Problem::TableIgnored("there is no memory map"),
            }),
            MemoryMapSource::E820(map) => self.pc_map(*map).describe(read, sink),
            MemoryMapSource::DeviceTree(blob) => blob.describe(sink),
        }
        let mut noting = NotingCpus { sink, any: false };
        if let Some(rsdp) = self.rsdp {
            acpi::describe(rsdp, read, &mut noting);
        }
        // Where ACPI lists no CPU, an older table of a PC may.
        if !noting.any && !matches!(self.map, MemoryMapSource::DeviceTree(_)) {
            mp_table::describe(read, sink);
        }
    }

    /// The memory map of a PC that begins with `map`, and what else is known here that shapes it.
    #[must_use]
    pub const fn pc_map(&self, map: E820) -> PcMap<'_> {
        PcMap {
            firmware: FirmwareMap::E820(map),
            cmdline: Some(&self.cmdline),
            setup_data: None,
            edits: &[],
            mtrr: self.mtrr.as_ref(),
        }
    }

    /// How the machine says that it ends.
    pub fn power_off(&self, read: &mut dyn PhysRead) -> PowerOff {
        let by_acpi = self.rsdp.map_or(PowerOff::UNKNOWN, |rsdp| acpi::power_off(rsdp, read));
        match &self.map {
            MemoryMapSource::DeviceTree(blob) => by_acpi.or(blob.power_off()),
            _ => by_acpi,
        }
    }

    /// How the firmware's PSCI is called, where there is one: by ACPI, or else by the device tree.
    pub fn psci(&self, read: &mut dyn PhysRead) -> Option<Conduit> {
        self.rsdp.and_then(|rsdp| acpi::psci(rsdp, read)).or_else(|| match &self.map {
            MemoryMapSource::DeviceTree(blob) => blob.psci(),
            _ => None,
        })
    }

    /// The interrupt controller of the CPUs, by ACPI, or else by the device tree or a PC's MP table. A PC always has
    /// one. What of it cannot be used goes to `warn`.
    pub fn irq_controller(&self, read: &mut dyn PhysRead, warn: &mut dyn FnMut(Warning)) -> Option<IrqController> {
        let by_acpi = self.rsdp.and_then(|rsdp| acpi::irq_controller(rsdp, read, warn));
        by_acpi.or_else(|| match &self.map {
            MemoryMapSource::DeviceTree(blob) => blob.irq_controller(warn),
            MemoryMapSource::E820(_) | MemoryMapSource::None => {
                Some(mp_table::irq_controller(read).unwrap_or(IrqController::USUAL))
            }
        })
    }

    /// What the device tree calls the interrupt controller that it names, known here or not.
    #[must_use]
    pub fn irq_controller_name(&self) -> Option<&str> {
        match &self.map {
            MemoryMapSource::DeviceTree(blob) => blob.irq_controller_compatible(),
            MemoryMapSource::E820(_) | MemoryMapSource::None => None,
        }
    }

    /// The number of the interrupt of Arm CPUs' virtual timer, as their controller counts it (INTID): by ACPI, or else
    /// by the device tree.
    pub fn timer_interrupt(&self, read: &mut dyn PhysRead) -> Option<u32> {
        self.rsdp.and_then(|rsdp| acpi::timer_interrupt(rsdp, read)).or_else(|| match &self.map {
            MemoryMapSource::DeviceTree(blob) => blob.timer_interrupt(),
            MemoryMapSource::E820(_) | MemoryMapSource::None => None,
        })
    }

    /// Where the registers of memory slots are. What cannot be used goes to `warn`.
    pub fn memory_slots(&self, read: &mut dyn PhysRead, warn: &mut dyn FnMut(Warning)) -> Option<MemorySlots> {
        self.rsdp.and_then(|rsdp| acpi::memory_slots(rsdp, read, warn))
    }

    /// Asks ACPI which console it names. For when the root pointer is known.
    pub fn find_console(&mut self, read: &mut dyn PhysRead) {
        self.spcr = self.rsdp.and_then(|rsdp| acpi::console(rsdp, read));
    }

    /// The console that the machine names: the device tree by its `stdout-path`, or else ACPI.
    #[must_use]
    pub fn stdout(&self) -> Option<ConsoleSpec> {
        let by_tree = match &self.map {
            MemoryMapSource::DeviceTree(blob) => blob.stdout(),
            _ => None,
        };
        by_tree.or(self.spcr)
    }

    /// Prints a line for each of ACPI's tables.
    ///
    /// # Errors
    /// When `text` refuses.
    pub fn print_tables(&self, read: &mut dyn PhysRead, text: &mut dyn fmt::Write) -> fmt::Result {
        self.rsdp.map_or(Ok(()), |rsdp| acpi::print_tables(rsdp, read, text))
    }
}

#[cfg(test)]
mod tests;
