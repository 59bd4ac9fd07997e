//! The interrupt controller of the CPUs (MADT), and the interrupt of their timers (GTDT).
//!
//! A MADT with a GIC distributor (type 12) is an Arm machine's. The distributor states its version; where it does not,
//! there are redistributors or there are none. These lie in ranges of their own (type 14, GICR), or, where there is no
//! such range, each CPU's GICC (type 11) says where its own is; of version 2 it says where the CPU interface is, which
//! must be the same for all. A MADT without a distributor is a PC's: local APICs, at the address that its header gives
//! or an entry that overrides it (type 5).
//!
//! Entries whose length cannot be are told by [`super::madt::describe`]; here they are passed over. Linux:
//! `acpi_probe_gsi`, `gic_acpi_init` in `drivers/irqchip/irq-gic.c` and `irq-gic-v3.c`, `acpi_parse_madt` in
//! `arch/x86/kernel/acpi/boot.c`, `acpi_gtdt_init` in `drivers/acpi/arm64/gtdt.c`.

use super::madt::{ENABLED, ENTRIES, GICC, GICC_BYTES};
use super::table::{Entry, Table};
use crate::firmware::interrupts::{IrqController, Redistributors, Registers};
use crate::read::{PhysRead, u32_at, u64_at};
use mm::addr::PhysRange;
use mm::machine::{Count, Problem, Source, Warning};

pub(super) const TIMERS: [u8; 4] = *b"GTDT";

const LOCAL_APIC_ADDRESS: u8 = 5;
const DISTRIBUTOR: u8 = 12;
const REDISTRIBUTORS: u8 = 14;

/// Where the virtual timer's interrupt stands in a GTDT.
const VIRTUAL_TIMER: u32 = 64;
/// The numbers of the interrupts that each CPU has its own of, and that are not sent by software.
const PRIVATE: core::ops::Range<u32> = 16..32;

/// The controller that `madt` describes. What of it cannot be used goes to `warn`; what is wrong with the table as a
/// whole, [`super::madt::describe`] says.
pub(super) fn controller(
    madt: &Table,
    read: &mut dyn PhysRead,
    warn: &mut dyn FnMut(Warning),
) -> Option<IrqController> {
    if madt.length() < ENTRIES || madt.verify(read).is_err() {
        return None;
    }
    described(madt, read, warn).map_err(warn).ok()
}

fn described(madt: &Table, read: &mut dyn PhysRead, warn: &mut dyn FnMut(Warning)) -> Result<IrqController, Warning> {
    let mut distributor = None;
    each(madt, DISTRIBUTOR, 24, read, &mut |entry| {
        let version = entry.bytes.get(20).copied().unwrap_or_default();
        distributor = distributor.or(Some((u64_at(entry.bytes, 8), version, entry.source)));
    });
    let Some((address, version, source)) = distributor else {
        return local_apic(madt, read).map_err(|problem| Warning { source: madt.source(), problem });
    };
    let wrong = |problem| Warning { source, problem };
    let three = || Registers::DISTRIBUTOR_3.at(address).map_err(wrong);
    let two = || Registers::DISTRIBUTOR_2.at(address).map_err(wrong);
    let none = |what| Err(wrong(Problem::EntryIgnored(what)));
    match version {
        0 | 3 | 4 => match redistributors(madt, version, read, warn) {
            Some(redistributors) => Ok(IrqController::Gic3 { distributor: three()?, redistributors }),
            None if version > 0 => none("it has no redistributors"),
            None => match cpu_interface(madt, read, warn) {
                Some(cpu_interface) => Ok(IrqController::Gic2 { distributor: two()?, cpu_interface }),
                None => none("it has neither redistributors nor a CPU interface"),
            },
        },
        1 | 2 => match cpu_interface(madt, read, warn) {
            Some(cpu_interface) => Ok(IrqController::Gic2 { distributor: two()?, cpu_interface }),
            None => none("it has no CPU interface"),
        },
        other => Err(wrong(Problem::Value { what: "the version of a GIC", value: other.into() })),
    }
}

/// Shows `take` each entry of this kind that has so many bytes.
fn each(madt: &Table, kind: u8, bytes: usize, read: &mut dyn PhysRead, take: &mut dyn FnMut(&Entry<'_>)) {
    madt.entries(ENTRIES, read, &mut Count::default(), &mut |entry, _| {
        if entry.kind == kind && entry.bytes.len() >= bytes {
            take(&entry);
        }
    });
}

/// A PC's. An address of zero is none.
fn local_apic(madt: &Table, read: &mut dyn PhysRead) -> Result<IrqController, Problem> {
    let mut header = [0; 4];
    madt.bytes(read, ENTRIES - 8, &mut header)?;
    let mut address = u64::from(u32_at(&header, 0));
    each(madt, LOCAL_APIC_ADDRESS, 12, read, &mut |entry| address = u64_at(entry.bytes, 4));
    if address == 0 {
        return Ok(IrqController::USUAL);
    }
    Ok(IrqController::LocalApic { address: Registers::LOCAL_APIC.at(address)?.start() })
}

/// Where redistributors are; `None` where no entry says.
fn redistributors(
    madt: &Table,
    version: u8,
    read: &mut dyn PhysRead,
    warn: &mut dyn FnMut(Warning),
) -> Option<Redistributors> {
    let mut found = Redistributors::default();
    let mut keep = |range: Result<PhysRange, Problem>, source: Source| {
        if let Err(problem) = range.and_then(|range| found.push(range)) {
            warn(Warning { source, problem });
        }
    };
    let mut stated = false;
    each(madt, REDISTRIBUTORS, 16, read, &mut |entry| {
        stated = true;
        let (address, size) = (u64_at(entry.bytes, 4), u32_at(entry.bytes, 12));
        keep(Registers::REDISTRIBUTOR.of_size(address, size.into()), entry.source);
    });
    if !stated {
        let one = if version == 4 { Registers::REDISTRIBUTOR_4 } else { Registers::REDISTRIBUTOR };
        each(madt, GICC, GICC_BYTES, read, &mut |entry| {
            let address = u64_at(entry.bytes, 60);
            if address != 0 && is_enabled(entry) {
                keep(one.at(address), entry.source);
            }
        });
    }
    Some(found).filter(|found| !found.ranges.is_empty())
}

/// Where each CPU has its interface to a GIC of version 2; `None` where no entry says.
fn cpu_interface(madt: &Table, read: &mut dyn PhysRead, warn: &mut dyn FnMut(Warning)) -> Option<PhysRange> {
    let mut found = None;
    each(madt, GICC, GICC_BYTES, read, &mut |entry| {
        if !is_enabled(entry) {
            return;
        }
        let address = u64_at(entry.bytes, 32);
        let problem = match (Registers::CPU_INTERFACE.at(address), found) {
            (Ok(here), None) => return found = Some(here),
            (Ok(here), Some(first)) if here == first => return,
            (Ok(_), Some(_)) => {
                Problem::Value { what: "a CPU interface that is not where the first one is", value: address }
            }
            (Err(problem), _) => problem,
        };
        warn(Warning { source: entry.source, problem });
    });
    found
}

fn is_enabled(gicc: &Entry<'_>) -> bool {
    u32_at(gicc.bytes, 12) & ENABLED != 0
}

/// Says what is wrong with a GTDT, if anything is.
pub(super) fn describe(gtdt: &Table, read: &mut dyn PhysRead) -> Result<(), Problem> {
    timer(gtdt, read).map(|_| ())
}

/// The number of the virtual timer's interrupt; `None` where it cannot be one.
///
/// # Errors
/// What is wrong with the table.
pub(super) fn timer(gtdt: &Table, read: &mut dyn PhysRead) -> Result<Option<u32>, Problem> {
    gtdt.verify(read)?;
    if gtdt.length() < VIRTUAL_TIMER + 8 {
        return Err(Problem::Length { stated: gtdt.length().into() });
    }
    let mut interrupt = [0; 4];
    gtdt.bytes(read, VIRTUAL_TIMER, &mut interrupt)?;
    Ok(Some(u32_at(&interrupt, 0)).filter(|number| PRIVATE.contains(number)))
}
