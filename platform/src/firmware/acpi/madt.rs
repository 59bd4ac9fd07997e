//! MADT: the CPUs, as a list of their interrupt controllers.
//!
//! Types 0 (local APIC) and 9 (local x2APIC) give x86 CPUs by APIC id, type 11 (GICC) Arm CPUs by MPIDR. One that is
//! enabled, or that the firmware can bring online, counts; an entry with neither flag is a socket that is empty. Other
//! types say nothing about CPUs. Linux: `acpi_parse_lapic`, `acpi_parse_x2apic`, `acpi_parse_gic_cpu_interface`.

use super::table::{Entry, Table};
use crate::read::{PhysRead, u32_at, u64_at};
use mm::machine::{CpuEntry, MachineSink, Problem, Source};

pub(super) const SIGNATURE: [u8; 4] = *b"APIC";

/// Where entries begin: behind the local APIC's address and flags.
const ENTRIES: u32 = 44;
const LOCAL_APIC: u8 = 0;
const LOCAL_X2APIC: u8 = 9;
const GICC: u8 = 11;

const ENABLED: u32 = 1;
const ONLINE_CAPABLE: u32 = 1 << 1;
const GICC_ONLINE_CAPABLE: u32 = 1 << 3;

/// A CPU interface of an Arm machine.
pub(super) struct Gicc {
    /// ACPI's number for the CPU, by which other tables name it.
    pub(super) uid: u32,
    /// The hardware's.
    pub(super) mpidr: u64,
    source: Source,
    usable: bool,
}

pub(super) fn describe(madt: &Table, read: &mut dyn PhysRead, sink: &mut dyn MachineSink) -> Result<(), Problem> {
    madt.verify(read)?;
    if madt.length() < ENTRIES {
        return Err(Problem::Length { stated: madt.length().into() });
    }
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
            GICC if entry.has(76, sink) => {
                let gicc = gicc(&entry);
                if gicc.usable {
                    sink.cpu(CpuEntry { hardware_id: gicc.mpidr, domain: None, source: gicc.source });
                }
                return;
            }
            _ => return,
        };
        if let Some(id) = id
            && flags & (ENABLED | ONLINE_CAPABLE) != 0
        {
            sink.cpu(CpuEntry { hardware_id: id.into(), domain: None, source: entry.source });
        }
    });
    Ok(())
}

fn gicc(entry: &Entry<'_>) -> Gicc {
    let flags = u32_at(entry.bytes, 12);
    Gicc {
        uid: u32_at(entry.bytes, 8),
        mpidr: u64_at(entry.bytes, 68),
        source: entry.source,
        usable: flags & (ENABLED | GICC_ONLINE_CAPABLE) != 0,
    }
}

/// Shows `each` CPU interface of an Arm machine that is usable. What is wrong with the table, [`describe`] says.
pub(super) fn giccs(madt: &Table, read: &mut dyn PhysRead, each: &mut dyn FnMut(Gicc)) {
    if madt.length() < ENTRIES || madt.verify(read).is_err() {
        return;
    }
    madt.entries(ENTRIES, read, &mut mm::machine::Count::default(), &mut |entry, _| {
        if entry.kind == GICC && entry.bytes.len() >= 76 {
            let gicc = gicc(&entry);
            if gicc.usable {
                each(gicc);
            }
        }
    });
}
