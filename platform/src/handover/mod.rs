//! Hand-over: what the boot loader left behind, and where.
//!
//! [`pvh`] reads the `hvm_start_info` that a PVH loader (QEMU's `-kernel` on x86) passes, [`image`] the device tree
//! that a loader of Linux Images passes, [`limine`] what a loader of the Limine boot protocol answered. Each makes a
//! [`BootInfo`]: the command line, copied; where the firmware's tables are; and what of it must not be overwritten.
//! [`BootInfo::describe`] then hands all facts about memory to a sink, and can do so as often as it is called: it reads
//! the tables anew each time. Of two tables that say the same `facts` knows which is believed.
//!
//! Linux: `arch/x86/platform/pvh/enlighten.c`, `arch/arm64/kernel/setup.c`, `drivers/firmware/efi/libstub/`.

mod error;
mod facts;
pub mod image;
pub mod limine;
mod protocol;
pub mod pvh;
mod text;

pub use error::HandoverError;
pub use protocol::{LimineLoader, LoaderText, Protocol};

use crate::cmdline::Cmdline;
use crate::console::ConsoleSpec;
use crate::firmware::acpi;
use crate::firmware::e820::E820;
use crate::firmware::efi::{EfiMap, SystemTable};
use crate::firmware::fdt::Blob;
use crate::firmware::interrupts::IrqController;
use crate::firmware::limine::LimineMap;
use crate::firmware::mp_table;
use crate::firmware::mtrr::Mtrr;
use crate::power::{Conduit, PowerOff};
use crate::read::PhysRead;
use crate::slots::MemorySlots;
use arrayvec::ArrayVec;
use core::fmt;
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{Owner, Problem, Purpose, Reservation, Rules, Source, Table, Warning};

/// Which table says where memory is.
#[derive(Clone, Copy, Debug)]
pub enum MemoryMapSource {
    /// None does.
    None,
    /// A PC BIOS memory map.
    E820(E820),
    /// The memory map of EFI firmware.
    Efi(EfiMap),
    /// What a loader of the Limine protocol made of a firmware's map.
    Limine(LimineMap),
    /// The memory nodes of the device tree.
    DeviceTree,
}

/// Ranges that are kept: the loader's own few, and its modules.
pub const MAX_RESERVED: usize = 16;

/// Warnings that are kept.
pub const MAX_WARNINGS: usize = 8;

/// What the boot loader left behind.
#[derive(Clone, Debug)]
pub struct BootInfo<'a> {
    /// By which protocol.
    pub protocol: Protocol,
    /// The kernel command line.
    pub cmdline: Cmdline,
    /// The table that says where memory is.
    pub map: MemoryMapSource,
    /// The loader's own map, where another one is that table: it says what the loader keeps until its responses are
    /// read.
    pub loader_map: Option<LimineMap>,
    /// The device tree.
    pub tree: Option<Blob<'a>>,
    /// What the CPU's range registers say of memory, on x86.
    pub mtrr: Option<Mtrr>,
    /// ACPI's root pointer.
    pub rsdp: Option<PhysAddr>,
    /// EFI's system table.
    pub efi: Option<SystemTable>,
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

impl<'a> BootInfo<'a> {
    fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            cmdline: Cmdline::empty(),
            map: MemoryMapSource::None,
            loader_map: None,
            tree: None,
            mtrr: None,
            rsdp: None,
            efi: None,
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

    /// Keeps the device tree `blob`, which lies at `at`, in memory that its own memory nodes may call free.
    fn keep_tree(&mut self, at: PhysAddr, blob: Blob<'a>) {
        let source = Source::whole(Table::DeviceTree);
        let size = blob.total_size();
        self.tree = Some(blob);
        match PhysRange::from_size(at, size) {
            Some(range) => {
                self.dtb = Some(range);
                self.reserve(range, "device tree", source);
            }
            None => self.warn(source, Problem::Wraps { start: at.as_u64(), size }),
        }
    }

    /// How the machine says that it ends.
    pub fn power_off(&self, read: &mut dyn PhysRead) -> PowerOff {
        let by_acpi = self.acpi().map_or(PowerOff::UNKNOWN, |rsdp| acpi::power_off(rsdp, read));
        by_acpi.or(self.tree.as_ref().map_or(PowerOff::UNKNOWN, Blob::power_off))
    }

    /// How the firmware's PSCI is called, where there is one: by ACPI, or else by the device tree.
    pub fn psci(&self, read: &mut dyn PhysRead) -> Option<Conduit> {
        self.acpi().and_then(|rsdp| acpi::psci(rsdp, read)).or_else(|| self.tree.as_ref()?.psci())
    }

    /// The interrupt controller of the CPUs, by ACPI, or else by the device tree; by the `rules` of a PC, which always
    /// has one, at last by its MP table. What of it cannot be used goes to `warn`.
    pub fn irq_controller(
        &self,
        rules: Rules,
        read: &mut dyn PhysRead,
        warn: &mut dyn FnMut(Warning),
    ) -> Option<IrqController> {
        let by_acpi = self.acpi().and_then(|rsdp| acpi::irq_controller(rsdp, read, warn));
        by_acpi.or_else(|| self.tree.as_ref()?.irq_controller(warn)).or_else(|| match rules {
            Rules::X86 => Some(mp_table::irq_controller(read).unwrap_or(IrqController::USUAL)),
            Rules::Arm64 => None,
        })
    }

    /// What the device tree calls the interrupt controller that it names, known here or not.
    #[must_use]
    pub fn irq_controller_name(&self) -> Option<&str> {
        self.tree.as_ref()?.irq_controller_compatible()
    }

    /// The number of the interrupt of Arm CPUs' virtual timer, as their controller counts it (INTID): by ACPI, or else
    /// by the device tree.
    pub fn timer_interrupt(&self, read: &mut dyn PhysRead) -> Option<u32> {
        self.acpi().and_then(|rsdp| acpi::timer_interrupt(rsdp, read)).or_else(|| self.tree.as_ref()?.timer_interrupt())
    }

    /// Where the registers of memory slots are. What cannot be used goes to `warn`.
    pub fn memory_slots(&self, read: &mut dyn PhysRead, warn: &mut dyn FnMut(Warning)) -> Option<MemorySlots> {
        self.acpi().and_then(|rsdp| acpi::memory_slots(rsdp, read, warn))
    }

    /// Asks ACPI which console it names. For when the root pointer is known.
    pub fn find_console(&mut self, read: &mut dyn PhysRead) {
        self.spcr = self.acpi().and_then(|rsdp| acpi::console(rsdp, read));
    }

    /// The console that the machine names: ACPI, where it was asked, or else the device tree by its `stdout-path`.
    #[must_use]
    pub fn stdout(&self) -> Option<ConsoleSpec> {
        self.spcr.or_else(|| self.tree.as_ref()?.stdout())
    }

    /// Prints which EFI firmware it is, and its memory map, as Linux does by the `rules` of its architecture when it is
    /// asked to (`efi=debug`).
    ///
    /// # Errors
    /// When `text` refuses.
    pub fn print_efi(&self, rules: Rules, read: &mut dyn PhysRead, text: &mut dyn fmt::Write) -> fmt::Result {
        if let Some(table) = &self.efi {
            table.print(read, text)?;
        }
        let wanted = self.cmdline.get("efi").is_some_and(|items| items.split(',').any(|item| item == "debug"));
        match self.map {
            MemoryMapSource::Efi(map) if wanted => map.print(rules, read, text),
            _ => Ok(()),
        }
    }

    /// Prints how much memory EFI says is mirrored, where any is.
    ///
    /// # Errors
    /// When `text` refuses.
    pub fn print_mirrored(&self, read: &mut dyn PhysRead, text: &mut dyn fmt::Write) -> fmt::Result {
        match self.map {
            MemoryMapSource::Efi(map) => map.print_mirrored(read, text),
            _ => Ok(()),
        }
    }

    /// Prints a line for each of ACPI's tables.
    ///
    /// # Errors
    /// When `text` refuses.
    pub fn print_tables(&self, read: &mut dyn PhysRead, text: &mut dyn fmt::Write) -> fmt::Result {
        self.acpi().map_or(Ok(()), |rsdp| acpi::print_tables(rsdp, read, text))
    }
}

#[cfg(test)]
mod tests;
