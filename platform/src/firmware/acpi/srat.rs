//! SRAT: which memory and which CPUs belong to which proximity domain.
//!
//! Types 0 (local APIC) and 2 (x2APIC) place CPUs by APIC id, type 3 (GICC) by ACPI's processor number, which the MADT
//! turns into an MPIDR; type 1 places memory; type 5 says that a device which starts work of its own belongs to a
//! domain, which so is one. Others (4, an interrupt translation service) place neither. Entries that are not enabled
//! are padding and are passed over. Before revision 2 of the table a domain is a single byte. Memory that is
//! hot-pluggable may not be there; whether it is volatile changes nothing for its domain. Linux:
//! `acpi_parse_memory_affinity`, `acpi_parse_gi_affinity` in `drivers/acpi/numa/srat.c`, `arch/x86/mm/srat.c`,
//! `arch/arm64/kernel/acpi_numa.c`.

use super::root::Root;
use super::table::{Entry, Table};
use super::{madt, warn};
use crate::read::{PhysRead, u32_at, u64_at};
use arrayvec::ArrayVec;
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{Affinity, CpuAffinity, Fact, Initiator, MachineSink, Persistence, Plug, Problem, Source};

pub(super) const SIGNATURE: [u8; 4] = *b"SRAT";

/// Where entries begin: behind the header and 12 reserved bytes.
const ENTRIES: u32 = 48;
const LOCAL_APIC: u8 = 0;
const MEMORY: u8 = 1;
const LOCAL_X2APIC: u8 = 2;
const GICC: u8 = 3;
const INITIATOR: u8 = 5;

const ENABLED: u32 = 1;
const HOT_PLUGGABLE: u32 = 1 << 1;
const NON_VOLATILE: u32 = 1 << 2;

/// CPUs of an Arm machine that are looked up in the MADT at once.
const PENDING: usize = 64;

pub(super) fn describe(
    srat: &Table,
    root: &Root,
    read: &mut dyn PhysRead,
    sink: &mut dyn MachineSink,
) -> Result<(), Problem> {
    srat.verify(read)?;
    if srat.length() < ENTRIES {
        return Err(Problem::Length { stated: srat.length().into() });
    }
    let short_domains = srat.revision() < 2;
    let domain = |value: u32| if short_domains { value & 0xff } else { value };
    let mut has_giccs = false;
    srat.entries(ENTRIES, read, sink, &mut |entry, sink| match entry.kind {
        LOCAL_APIC if entry.has(16, sink) && u32_at(entry.bytes, 4) & ENABLED != 0 => {
            // The low byte of the domain and its upper three stand apart.
            let byte = |offset: usize| entry.bytes.get(offset).copied().unwrap_or_default();
            let of_domain = u32::from_le_bytes([byte(2), byte(9), byte(10), byte(11)]);
            cpu(byte(3).into(), domain(of_domain), entry.source, sink);
        }
        LOCAL_X2APIC if entry.has(24, sink) && u32_at(entry.bytes, 12) & ENABLED != 0 => {
            cpu(u32_at(entry.bytes, 8).into(), domain(u32_at(entry.bytes, 4)), entry.source, sink);
        }
        MEMORY if entry.has(40, sink) => memory(&entry, domain(u32_at(entry.bytes, 2)), sink),
        GICC if entry.has(18, sink) => has_giccs = true,
        INITIATOR if entry.has(32, sink) && u32_at(entry.bytes, 24) & ENABLED != 0 => {
            let domain = domain(u32_at(entry.bytes, 4));
            sink.fact(Fact::Initiator(Initiator { domain, source: entry.source }));
        }
        _ => {}
    });
    if has_giccs {
        arm_cpus(srat, root, read, sink);
    }
    Ok(())
}

fn cpu(hardware_id: u64, domain: u32, source: Source, sink: &mut dyn MachineSink) {
    sink.cpu_affinity(CpuAffinity { hardware_id, domain, source });
}

fn memory(entry: &Entry<'_>, domain: u32, sink: &mut dyn MachineSink) {
    let flags = u32_at(entry.bytes, 28);
    if flags & ENABLED == 0 {
        return;
    }
    let (start, size) = (u64_at(entry.bytes, 8), u64_at(entry.bytes, 16));
    match PhysRange::from_size(PhysAddr::new(start), size) {
        None => warn(sink, entry.source, Problem::Wraps { start, size }),
        Some(range) if range.is_empty() => warn(sink, entry.source, Problem::Empty { start }),
        Some(range) => {
            let plug = if flags & HOT_PLUGGABLE != 0 { Plug::HotPluggable } else { Plug::Fixed };
            let keeps = flags & NON_VOLATILE != 0;
            let persistence = if keeps { Persistence::NonVolatile } else { Persistence::Volatile };
            sink.affinity(Affinity { range, domain, plug, persistence, source: entry.source });
        }
    }
}

/// A CPU that is known by ACPI's number so far.
struct Pending {
    uid: u32,
    domain: u32,
    source: Source,
}

/// The entries of type 3. The MADT is walked once for every [`PENDING`] of them.
fn arm_cpus(srat: &Table, root: &Root, read: &mut dyn PhysRead, sink: &mut dyn MachineSink) {
    let Some(madt) = root.find(read, madt::SIGNATURE) else { return };
    let mut done = 0;
    loop {
        let mut pending = ArrayVec::<Pending, PENDING>::new();
        let mut seen = 0;
        // What is wrong with an entry was said on the first walk.
        srat.entries(ENTRIES, read, &mut mm::machine::Count::default(), &mut |entry, _| {
            if entry.kind == GICC && entry.bytes.len() >= 18 {
                seen += 1;
                if seen > done && !pending.is_full() && u32_at(entry.bytes, 10) & ENABLED != 0 {
                    let (domain, uid) = (u32_at(entry.bytes, 2), u32_at(entry.bytes, 6));
                    let _ = pending.try_push(Pending { uid, domain, source: entry.source });
                    done = seen;
                }
            }
        });
        if pending.is_empty() {
            return;
        }
        madt::giccs(&madt, read, &mut |gicc| {
            pending.retain(|cpu_entry| {
                let found = cpu_entry.uid == gicc.uid;
                if found {
                    cpu(gicc.mpidr, cpu_entry.domain, cpu_entry.source, sink);
                }
                !found
            });
        });
        for unknown in pending {
            warn(sink, unknown.source, Problem::Value { what: "the processor", value: unknown.uid.into() });
        }
    }
}
