//! ACPI tables: CPUs and their interrupt controller (MADT), domains (SRAT), distances (SLIT), what devices reach
//! (IORT), the console (SPCR), timers (GTDT), and how to power off (FADT).
//!
//! The way in is the root pointer (RSDP), which leads to the XSDT, or to the RSDT where there is no sound XSDT, and
//! these list all tables. A table is used when its header is readable, its length is at least a header's and at most
//! 1 MiB, and its bytes add up to zero; otherwise it is ignored with a warning, and the others are still
//! used. Every table that is found becomes a reservation named after it (`ACPI table SRAT`), used or not: firmware may
//! put them into memory that its map calls usable.
//!
//! Tables are read in small pieces and never need to be contiguous in our address space; nothing is stored. What a
//! table *means* for nodes (coverage, order of domains, distances that cannot be) is for [`mm`] to judge. Linux:
//! `drivers/acpi/tables.c`, `arch/x86/kernel/acpi/boot.c`, `drivers/acpi/numa/srat.c`.

mod aml;
mod fadt;
mod interrupts;
mod iort;
mod list;
mod madt;
mod root;
mod slit;
mod slots;
mod spcr;
mod srat;
mod table;

use crate::console::ConsoleSpec;
use crate::firmware::interrupts::IrqController;
use crate::power::{Conduit, PowerOff};
use crate::read::PhysRead;
use crate::slots::MemorySlots;
use core::fmt;
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{MachineSink, Owner, Problem, Purpose, Reservation, Source, Warning};
use root::Root;
use table::Table;

pub use root::search_bios;
pub(super) use table::verify;

/// Hands to `sink` what the tables under the root pointer at `rsdp` say of memory, CPUs and domains.
pub fn describe(rsdp: PhysAddr, read: &mut dyn PhysRead, sink: &mut dyn MachineSink) {
    let Some(root) = Root::open(rsdp, read, sink) else { return };
    let mut seen = Seen::default();
    for index in 0..root.count() {
        let table = root.entry(read, index).and_then(|at| Table::open(read, at));
        let table = match table {
            Ok(table) => table,
            Err(problem) => {
                // A table of a wrong length may still say which one it is.
                let claim = matches!(problem, Problem::Length { .. }).then(|| root.entry(read, index).ok()).flatten();
                let claim = claim.and_then(|at| Table::claim(read, at));
                warn(sink, claim.unwrap_or(Source::entry(root.kind(), index)), problem);
                continue;
            }
        };
        match seen.meet(&table) {
            Meeting::SameTable => {
                warn(sink, Source::entry(root.kind(), index), Problem::Duplicate(table.range()));
                continue;
            }
            Meeting::SameKind => {
                reserve(sink, &table.name(), table.range(), table.source());
                warn(
                    sink,
                    Source::entry(root.kind(), index),
                    Problem::TableIgnored("an earlier table is of this kind"),
                );
                continue;
            }
            Meeting::First => reserve(sink, &table.name(), table.range(), table.source()),
        }
        let told = match table.signature() {
            madt::SIGNATURE => madt::describe(&table, read, sink),
            srat::SIGNATURE => srat::describe(&table, &root, read, sink),
            slit::SIGNATURE => slit::describe(&table, read, sink),
            fadt::SIGNATURE => fadt::describe(&table, read, sink),
            iort::SIGNATURE => iort::describe(&table, read, sink),
            spcr::SIGNATURE => spcr::describe(&table, read),
            interrupts::TIMERS => interrupts::describe(&table, read),
            _ => Ok(()),
        };
        // What kept a table from being used.
        if let Err(problem) = told {
            warn(sink, table.source(), problem);
        }
    }
}

/// Whether the root pointer at `rsdp` leads to tables, and to the fixed description among them, without which ACPI is
/// nothing. Linux: `acpi_fadt_sanity_check`.
pub fn is_there(rsdp: PhysAddr, read: &mut dyn PhysRead) -> bool {
    let silent = &mut mm::machine::Count::default();
    Root::open(rsdp, read, silent).is_some_and(|root| root.find(read, fadt::SIGNATURE).is_some())
}

/// Prints a line for each table under the root pointer at `rsdp`.
///
/// # Errors
/// When `text` refuses.
pub fn print_tables(rsdp: PhysAddr, read: &mut dyn PhysRead, text: &mut dyn fmt::Write) -> fmt::Result {
    let silent = &mut mm::machine::Count::default();
    Root::open(rsdp, read, silent).map_or(Ok(()), |root| list::print(&root, read, text))
}

/// The serial console that the tables under the root pointer at `rsdp` name, where a driver here knows it.
pub fn console(rsdp: PhysAddr, read: &mut dyn PhysRead) -> Option<ConsoleSpec> {
    let silent = &mut mm::machine::Count::default();
    let spcr = Root::open(rsdp, read, silent)?.find(read, spcr::SIGNATURE)?;
    spcr::console(&spcr, read).ok().flatten()
}

/// How the machine ends, according to the tables under the root pointer at `rsdp`.
pub fn power_off(rsdp: PhysAddr, read: &mut dyn PhysRead) -> PowerOff {
    let silent = &mut mm::machine::Count::default();
    let fadt = Root::open(rsdp, read, silent).and_then(|root| root.find(read, fadt::SIGNATURE));
    fadt.and_then(|fadt| fadt::power_off(&fadt, read).ok()).unwrap_or(PowerOff::UNKNOWN)
}

/// How the firmware's PSCI is called, according to the tables under the root pointer at `rsdp`.
pub fn psci(rsdp: PhysAddr, read: &mut dyn PhysRead) -> Option<Conduit> {
    let silent = &mut mm::machine::Count::default();
    let fadt = Root::open(rsdp, read, silent)?.find(read, fadt::SIGNATURE)?;
    fadt::psci(&fadt, read).ok().flatten()
}

/// The interrupt controller of the CPUs, according to the tables under the root pointer at `rsdp`. What of it cannot be
/// used goes to `warn`.
pub fn irq_controller(rsdp: PhysAddr, read: &mut dyn PhysRead, warn: &mut dyn FnMut(Warning)) -> Option<IrqController> {
    let silent = &mut mm::machine::Count::default();
    let madt = Root::open(rsdp, read, silent)?.find(read, madt::SIGNATURE)?;
    interrupts::controller(&madt, read, warn)
}

/// The number of the virtual timer's interrupt, according to the tables under the root pointer at `rsdp`.
pub fn timer_interrupt(rsdp: PhysAddr, read: &mut dyn PhysRead) -> Option<u32> {
    let silent = &mut mm::machine::Count::default();
    let gtdt = Root::open(rsdp, read, silent)?.find(read, interrupts::TIMERS)?;
    interrupts::timer(&gtdt, read).ok().flatten()
}

/// Where the registers of memory slots are, according to the DSDT or an SSDT under the root pointer at `rsdp`. What
/// describes them and cannot be used goes to `warn`.
pub fn memory_slots(rsdp: PhysAddr, read: &mut dyn PhysRead, warn: &mut dyn FnMut(Warning)) -> Option<MemorySlots> {
    let silent = &mut mm::machine::Count::default();
    let root = Root::open(rsdp, read, silent)?;
    let fadt = root.find(read, fadt::SIGNATURE);
    let dsdt = fadt.and_then(|fadt| fadt::pointers(&fadt, read).ok()?.dsdt);
    for index in 0..=root.count() {
        // The DSDT comes first; it is not in the list.
        let at = index.checked_sub(1).map_or(dsdt, |index| root.entry(read, index).ok());
        let Some(table) = at.and_then(|at| Table::open(read, at).ok()) else { continue };
        if !matches!(&table.signature(), b"DSDT" | b"SSDT") {
            continue;
        }
        match slots::find(&table, read) {
            Ok(None) => {}
            Ok(found) => return found,
            Err(problem) => warn(Warning { source: table.source(), problem }),
        }
    }
    None
}

fn warn(sink: &mut dyn MachineSink, source: Source, problem: Problem) {
    sink.warning(Warning { source, problem });
}

/// Where the first table of each kind is that is read here: of several, firmware means the first.
#[derive(Default)]
struct Seen([Option<PhysAddr>; KINDS.len()]);

const KINDS: [[u8; 4]; 7] = [
    madt::SIGNATURE,
    srat::SIGNATURE,
    slit::SIGNATURE,
    fadt::SIGNATURE,
    iort::SIGNATURE,
    spcr::SIGNATURE,
    interrupts::TIMERS,
];

/// How a table stands to those before it.
enum Meeting {
    First,
    /// Another one of its kind came before.
    SameKind,
    /// It is listed twice.
    SameTable,
}

impl Seen {
    fn meet(&mut self, table: &Table) -> Meeting {
        let slot = KINDS.iter().zip(&mut self.0).find(|(kind, _)| **kind == table.signature());
        let at = table.range().start();
        match slot {
            Some((_, Some(first))) if *first == at => Meeting::SameTable,
            Some((_, Some(_))) => Meeting::SameKind,
            Some((_, empty)) => {
                *empty = Some(at);
                Meeting::First
            }
            None => Meeting::First,
        }
    }
}

fn reserve(sink: &mut dyn MachineSink, owner: &str, range: PhysRange, source: Source) {
    sink.reservation(Reservation { range, owner: Owner::new(owner), purpose: Purpose::Held, source });
}

#[cfg(test)]
mod tests;
