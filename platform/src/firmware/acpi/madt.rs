//! MADT: the CPUs, as a list of their interrupt controllers.
//!
//! Types 0 (local APIC) and 9 (local x2APIC) give x86 CPUs by APIC id, type 11 (GICC) Arm CPUs by MPIDR. One that is
//! enabled is there. One that is not, but that the firmware can bring online, may be plugged in: from revision 5 of the
//! table on, x86 has a flag for that, which before was reserved. An entry with neither flag is a socket that is empty.
//! Other types say nothing about CPUs; of those that are known only the length is looked at. Linux: `acpi_parse_lapic`,
//! `acpi_parse_x2apic`, `acpi_is_processor_usable`, `acpi_parse_gic_cpu_interface`.

use super::table::{Entry, Table};
use crate::read::{PhysRead, u32_at, u64_at};
use mm::addr::PhysAddr;
use mm::machine::{CpuEntry, MachineSink, Problem, Source, StartMethod};

pub(super) const SIGNATURE: [u8; 4] = *b"APIC";

/// Where entries begin: behind the local APIC's address and flags.
pub(super) const ENTRIES: u32 = 44;
const LOCAL_APIC: u8 = 0;
const LOCAL_X2APIC: u8 = 9;
pub(super) const GICC: u8 = 11;
/// Bytes that one has at least: up to the CPU's number.
pub(super) const GICC_BYTES: usize = 76;

/// The types without a CPU, and the bytes that one has at least: I/O APIC, interrupt override, NMI source, local APIC's
/// NMI, its address, I/O SAPIC, local SAPIC, platform interrupts, x2APIC's NMI; GIC distributor, MSI frame,
/// redistributors, ITS.
const OTHERS: [(u8, usize); 13] = [
    (1, 12),
    (2, 10),
    (3, 8),
    (4, 6),
    (5, 12),
    (6, 16),
    (7, 16),
    (8, 16),
    (10, 12),
    (12, 24),
    (13, 24),
    (14, 16),
    (15, 20),
];

pub(super) const ENABLED: u32 = 1;
const ONLINE_CAPABLE: u32 = 1 << 1;
/// The first revision in which x86 has [`ONLINE_CAPABLE`].
const ONLINE_CAPABLE_REVISION: u8 = 5;
const GICC_ONLINE_CAPABLE: u32 = 1 << 3;

/// A CPU interface of an Arm machine.
pub(super) struct Gicc {
    /// ACPI's number for the CPU, by which other tables name it.
    pub(super) uid: u32,
    /// The hardware's.
    pub(super) mpidr: u64,
    source: Source,
    /// How the CPU is started; `None` where there can be no CPU.
    start: Option<StartMethod>,
}

pub(super) fn describe(madt: &Table, read: &mut dyn PhysRead, sink: &mut dyn MachineSink) -> Result<(), Problem> {
    madt.verify(read)?;
    if madt.length() < ENTRIES {
        return Err(Problem::Length { stated: madt.length().into() });
    }
    let pluggable = if madt.revision() >= ONLINE_CAPABLE_REVISION { ONLINE_CAPABLE } else { 0 };
    madt.entries(ENTRIES, read, sink, &mut |entry, sink| {
        let (id, flags) = match entry.kind {
            LOCAL_APIC if entry.has(8, sink) => {
                let id = entry.bytes.get(3).copied().unwrap_or_default();
                // The broadcast address is nobody's.
                (Some(u32::from(id)).filter(|&id| id != 0xff), u32_at(entry.bytes, 4))
            }
            LOCAL_X2APIC if entry.has(16, sink) => {
                (Some(u32_at(entry.bytes, 4)).filter(|&id| id != u32::MAX), u32_at(entry.bytes, 8))
            }
            GICC if entry.has(GICC_BYTES, sink) => {
                let Gicc { mpidr, source, start, .. } = gicc(&entry);
                if let Some(start) = start {
                    sink.cpu(CpuEntry { hardware_id: mpidr, domain: None, start, source });
                }
                return;
            }
            kind => {
                if let Some(&(_, least)) = OTHERS.iter().find(|(other, _)| *other == kind) {
                    entry.has(least, sink);
                }
                return;
            }
        };
        if let Some((id, start)) = id.zip(start(flags, pluggable, StartMethod::Unstated)) {
            sink.cpu(CpuEntry { hardware_id: id.into(), domain: None, start, source: entry.source });
        }
    });
    Ok(())
}

/// How a CPU with these flags is started, if there is or can be one.
fn start(flags: u32, pluggable: u32, when_there: StartMethod) -> Option<StartMethod> {
    if flags & ENABLED != 0 {
        return Some(when_there);
    }
    (flags & pluggable != 0).then_some(StartMethod::Plugged)
}

fn gicc(entry: &Entry<'_>) -> Gicc {
    let flags = u32_at(entry.bytes, 12);
    let (protocol, mailbox) = (u32_at(entry.bytes, 16), u64_at(entry.bytes, 24));
    let parked = StartMethod::Parked { mailbox: PhysAddr::new(mailbox) };
    let when_there = if protocol != 0 && mailbox != 0 { parked } else { StartMethod::Unstated };
    Gicc {
        uid: u32_at(entry.bytes, 8),
        mpidr: u64_at(entry.bytes, 68),
        source: entry.source,
        start: start(flags, GICC_ONLINE_CAPABLE, when_there),
    }
}

/// Shows `each` CPU interface of an Arm machine that is usable. What is wrong with the table, [`describe`] says.
pub(super) fn giccs(madt: &Table, read: &mut dyn PhysRead, each: &mut dyn FnMut(Gicc)) {
    if madt.verify(read).is_err() {
        return;
    }
    madt.entries(ENTRIES, read, &mut mm::machine::Count::default(), &mut |entry, _| {
        if entry.kind == GICC && entry.bytes.len() >= GICC_BYTES {
            let gicc = gicc(&entry);
            if gicc.start.is_some() {
                each(gicc);
            }
        }
    });
}
