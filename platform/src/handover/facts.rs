//! What of all that the loader left is stated of memory, CPUs and nodes, and which of two tables is believed.
//!
//! - EFI's map, the loader's, and a PC's say where memory is, in this order where there are several; a device tree's
//!   memory nodes do where there is none of these, and else only say which node memory belongs to.
//! - Of CPUs, nodes, interrupts and the console, ACPI speaks or the device tree, never both: ACPI where there is no
//!   tree, or one that says nothing but `/chosen`, or where the command line wants it (`acpi=on`, `acpi=force`). With
//!   `acpi=off` it never does.
//! - What the tree reserves, and what its `/chosen` says of memory, holds in every case.
//!
//! Linux: `acpi_boot_table_init` in `arch/arm64/kernel/acpi.c`, `efi_init` and `reserve_regions` in
//! `drivers/firmware/efi/efi-init.c`, `arm64_numa_init` in `drivers/base/arch_numa.c`.

use super::{BootInfo, MemoryMapSource};
use crate::firmware::e820::{FirmwareMap, PcMap};
use crate::firmware::fdt::Blob;
use crate::firmware::limine::Holding;
use crate::firmware::{acpi, mp_table};
use crate::read::PhysRead;
use mm::addr::PhysAddr;
use mm::machine::{Fact, MachineSink, Problem, Rules, Source, Table, Warning};

/// Bytes of a page, to which what EFI says is widened on arm64.
const PAGE_SIZE: u64 = 4096;

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

/// Passes on what is believed.
struct Believed<'s, B: Fn(&Fact) -> bool> {
    sink: &'s mut dyn MachineSink,
    believe: B,
}

impl<B: Fn(&Fact) -> bool> MachineSink for Believed<'_, B> {
    fn fact(&mut self, fact: Fact) {
        if (self.believe)(&fact) {
            self.sink.fact(fact);
        }
    }
}

impl BootInfo<'_> {
    /// ACPI's root pointer, where ACPI is believed.
    #[must_use]
    pub fn acpi(&self) -> Option<PhysAddr> {
        let believed = match self.cmdline.get("acpi") {
            Some("off") => false,
            Some("on" | "force") => true,
            _ => self.tree.as_ref().is_none_or(Blob::is_stub),
        };
        self.rsdp.filter(|_| believed)
    }

    /// Hands every fact about memory to `sink`: the loader's own ranges, then what the memory map says, by `rules`,
    /// then what the device tree and ACPI say, or where neither lists CPUs, a PC's MP table. Call it twice, with a
    /// [`mm::machine::Count`] and with a [`mm::machine::Fill`].
    pub fn describe(&self, rules: Rules, read: &mut dyn PhysRead, sink: &mut dyn MachineSink) {
        for reservation in &self.reserved {
            sink.reservation(*reservation);
        }
        for warning in &self.warnings {
            sink.warning(*warning);
        }
        if let Some(map) = &self.loader_map {
            let holding = match (&self.map, rules) {
                (MemoryMapSource::Efi(efi), Rules::Arm64) => Holding::NotBootServices(efi),
                _ => Holding::All,
            };
            map.describe(holding, read, sink);
        }
        match (self.pc_map(), &self.map, rules) {
            (Some(map), _, Rules::X86) => map.describe(read, sink),
            (_, MemoryMapSource::Efi(map), Rules::Arm64) => map.describe(PAGE_SIZE, read, sink),
            (Some(map), _, Rules::Arm64) => map.firmware.describe(read, sink),
            (None, MemoryMapSource::DeviceTree, _) => {}
            (None, _, _) => sink.warning(Warning {
                source: Source::whole(Table::StartInfo),
                problem: Problem::TableIgnored("there is no memory map"),
            }),
        }
        let mut noting = NotingCpus { sink, any: false };
        let acpi = self.acpi();
        if let Some(tree) = &self.tree {
            let believe = |fact: &Fact| match fact {
                Fact::Bank(_) => matches!(self.map, MemoryMapSource::DeviceTree),
                Fact::Affinity(_)
                | Fact::Cpu(_)
                | Fact::CpuAffinity(_)
                | Fact::Initiator(_)
                | Fact::Distance(_)
                | Fact::DmaLimit(_) => acpi.is_none(),
                Fact::Reservation(_) | Fact::Wish(_) | Fact::Usable(_) | Fact::DefaultPool(_) | Fact::Warning(_) => {
                    true
                }
            };
            tree.describe(&mut Believed { sink: &mut noting, believe });
        }
        if let Some(rsdp) = acpi {
            acpi::describe(rsdp, read, &mut noting);
        }
        // Where ACPI lists no CPU, an older table of a PC may.
        if !noting.any && rules == Rules::X86 {
            mp_table::describe(read, sink);
        }
    }

    /// The memory map as a PC has it, and what else is known here that shapes it; `None` where only a device tree says
    /// where memory is, or nobody.
    #[must_use]
    pub fn pc_map(&self) -> Option<PcMap<'_>> {
        let firmware = match self.map {
            MemoryMapSource::E820(map) => FirmwareMap::E820(map),
            MemoryMapSource::Efi(map) => FirmwareMap::Efi(map),
            MemoryMapSource::Limine(map) => FirmwareMap::Limine(map),
            MemoryMapSource::DeviceTree | MemoryMapSource::None => return None,
        };
        Some(PcMap { firmware, cmdline: Some(&self.cmdline), setup_data: None, edits: &[], mtrr: self.mtrr.as_ref() })
    }
}
