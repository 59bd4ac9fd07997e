//! ACPI tables: CPUs (MADT), domains (SRAT), distances (SLIT), and how to power off (FADT).
//!
//! The way in is the root pointer (RSDP), which leads to the XSDT, or to the RSDT where there is no sound XSDT, and
//! these list all tables. A table is used when its header is readable, its length is at least a header's and at most
//! 1 MiB, and its bytes add up to zero; otherwise it is ignored with a warning, and the others are still
//! used. Every table that is found becomes a reservation named after it (`ACPI table SRAT`), used or not: firmware may
//! put them into memory that its map calls usable.
//!
//! Tables are read in small pieces and never need to be contiguous in our address space; nothing is stored. What a table
//! *means* for nodes (coverage, order of domains, distances that cannot be) is for [`mm`] to judge. Linux:
//! `drivers/acpi/tables.c`, `arch/x86/kernel/acpi/boot.c`, `drivers/acpi/numa/srat.c`.

mod aml;
mod fadt;
mod madt;
mod root;
mod slit;
mod srat;
mod table;

use crate::power::PowerOff;
use crate::read::PhysRead;
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{MachineSink, Owner, Problem, Purpose, Reservation, Source, Warning};
use root::Root;
use table::Table;

pub use root::search_bios;

/// Hands to `sink` what the tables under the root pointer at `rsdp` say of memory, CPUs and domains.
pub fn describe(rsdp: PhysAddr, read: &mut dyn PhysRead, sink: &mut dyn MachineSink) {
    let Some(root) = Root::open(rsdp, read, sink) else { return };
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
        reserve(sink, &table.name(), table.range(), table.source());
        match table.signature() {
            madt::SIGNATURE => used(madt::describe(&table, read, sink), &table, sink),
            srat::SIGNATURE => used(srat::describe(&table, &root, read, sink), &table, sink),
            slit::SIGNATURE => used(slit::describe(&table, read, sink), &table, sink),
            fadt::SIGNATURE => used(fadt::describe(&table, read, sink), &table, sink),
            _ => {}
        }
    }
}

/// How the machine ends, according to the tables under the root pointer at `rsdp`.
pub fn power_off(rsdp: PhysAddr, read: &mut dyn PhysRead) -> PowerOff {
    let silent = &mut mm::machine::Count::default();
    let fadt = Root::open(rsdp, read, silent).and_then(|root| root.find(read, fadt::SIGNATURE));
    fadt.and_then(|fadt| fadt::power_off(&fadt, read).ok()).unwrap_or(PowerOff::UNKNOWN)
}

fn warn(sink: &mut dyn MachineSink, source: Source, problem: Problem) {
    sink.warning(Warning { source, problem });
}

/// Tells what kept a table from being used.
fn used(result: Result<(), Problem>, table: &Table, sink: &mut dyn MachineSink) {
    if let Err(problem) = result {
        warn(sink, table.source(), problem);
    }
}

fn reserve(sink: &mut dyn MachineSink, owner: &str, range: PhysRange, source: Source) {
    sink.reservation(Reservation { range, owner: Owner::new(owner), purpose: Purpose::Held, source });
}

#[cfg(test)]
mod tests;
