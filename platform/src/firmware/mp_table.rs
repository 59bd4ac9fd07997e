//! The MP table: a PC's CPUs, where there is no ACPI to list them.
//!
//! Intel's MultiProcessor Specification 1.4. A floating pointer of 16 bytes stands at a multiple of 16 in the first KiB
//! of the extended BIOS data area, in the last KiB of base memory, or in the BIOS area below 1 MiB, and leads to a
//! table of up to 64 KiB; both have a checksum. The table gives the local APICs' address and a list of entries, of which only
//! processors count here; buses and interrupts are passed over by their size, and an entry of a kind without a known
//! size ends the list. How many entries the header counts is not believed, only the table's length; what follows the
//! table (extended entries) is not looked at. A pointer may name a default configuration instead of a table: two CPUs,
//! numbers 0 and 1.
//!
//! Pointer and table become reservations. Which processor boots is for the kernel to know: it is that processor. QEMU's
//! `microvm` has such a table when it has no ACPI. Linux: `arch/x86/kernel/mpparse.c`.

use super::acpi;
use super::interrupts::{IrqController, Registers};
use crate::read::{PhysRead, u32_at};
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{CpuEntry, MachineSink, Owner, Problem, Purpose, Reservation, Source, StartMethod, Table, Warning};

/// Where the last KiB of base memory is. Who has less of it has a data area there.
const BASE_MEMORY: core::ops::Range<u64> = 0x9_fc00..0xa_0000;
const BIOS: core::ops::Range<u64> = 0xf_0000..0x10_0000;
/// Where the BIOS keeps the segment of its extended data area, and where that can be.
const SEGMENT: PhysAddr = PhysAddr::new(0x40e);
const DATA_AREA: core::ops::Range<u64> = 0x400..0xa_0000;

const POINTER_SIGNATURE: &[u8; 4] = b"_MP_";
const POINTER: u32 = 16;
const TABLE_SIGNATURE: &[u8; 4] = b"PCMP";
const HEADER: u32 = 44;

const PROCESSOR: u8 = 0;
const PROCESSOR_BYTES: u32 = 20;
/// Buses, I/O APICs, interrupts of both kinds of APIC.
const OTHERS: core::ops::RangeInclusive<u8> = 1..=4;
const OTHER_BYTES: u32 = 8;
const ENABLED: u8 = 1;
/// The number that addresses all.
const BROADCAST: u8 = 0xff;

/// A sound floating pointer.
#[derive(Clone, Copy)]
struct Pointer {
    at: PhysAddr,
    leads: Lead,
}

/// Where it leads.
#[derive(Clone, Copy)]
enum Lead {
    /// To the table here.
    Table(PhysAddr),
    /// To one of the configurations that the specification lists.
    Default,
}

/// A table whose header and checksum are right.
struct MpTable {
    at: PhysAddr,
    length: u32,
    local_apic: PhysAddr,
}

/// Hands the processors that the MP table lists to `sink`, and where it lies. Without one, nothing.
pub fn describe(read: &mut dyn PhysRead, sink: &mut dyn MachineSink) {
    let source = Source::whole(Table::MpTable);
    let Some(pointer) = find(read, &mut |problem| sink.warning(Warning { source, problem })) else { return };
    reserve(sink, pointer.at, POINTER);
    match pointer.leads {
        Lead::Default => (0..2).for_each(|number| cpu(number, source, sink)),
        Lead::Table(at) => match MpTable::open(read, at) {
            Ok(table) => {
                reserve(sink, table.at, table.length);
                table.describe(read, sink);
            }
            Err(problem) => sink.warning(Warning { source, problem }),
        },
    }
}

/// The local APICs that the MP table states. What is wrong with it, [`describe`] says.
pub fn irq_controller(read: &mut dyn PhysRead) -> Option<IrqController> {
    match find(read, &mut |_| ())?.leads {
        Lead::Default => Some(IrqController::USUAL),
        Lead::Table(at) => {
            MpTable::open(read, at).ok().map(|table| IrqController::LocalApic { address: table.local_apic })
        }
    }
}

/// The first floating pointer that is sound; what only begins like one goes to `warn`.
fn find(read: &mut dyn PhysRead, warn: &mut dyn FnMut(Problem)) -> Option<Pointer> {
    let data_area = read.read_u16(SEGMENT).map_or(0, |segment| u64::from(segment) << 4);
    let data_area = if DATA_AREA.contains(&data_area) { data_area..data_area + 0x400 } else { 0..0 };
    // The data area often is the last KiB; one that is wrong is told once.
    let base_memory = if data_area == BASE_MEMORY { 0..0 } else { BASE_MEMORY };
    let places = data_area.chain(base_memory).chain(BIOS).step_by(POINTER as usize);
    places.map(PhysAddr::new).find_map(|at| pointer(read, at).map_err(&mut *warn).ok().flatten())
}

/// The floating pointer at `at`, if something begins there that calls itself one.
fn pointer(read: &mut dyn PhysRead, at: PhysAddr) -> Result<Option<Pointer>, Problem> {
    let mut bytes = [0; POINTER as usize];
    if read.read(at, &mut bytes).is_err() || !bytes.starts_with(POINTER_SIGNATURE) {
        return Ok(None);
    }
    let [_, _, _, _, _, _, _, _, paragraphs, version, _, configuration, ..] = bytes;
    if paragraphs != 1 {
        return Err(Problem::Length { stated: u64::from(paragraphs) * 16 });
    }
    acpi::verify(read, at, POINTER)?;
    check_version(version)?;
    let leads = match (configuration, u32_at(&bytes, 4)) {
        (0, 0) => return Err(Problem::Empty { start: 0 }),
        (0, table) => Lead::Table(PhysAddr::new(table.into())),
        _ => Lead::Default,
    };
    Ok(Some(Pointer { at, leads }))
}

/// There are two versions: 1.1 and 1.4.
fn check_version(version: u8) -> Result<(), Problem> {
    match version {
        1 | 4 => Ok(()),
        other => Err(Problem::Value { what: "the version", value: other.into() }),
    }
}

fn reserve(sink: &mut dyn MachineSink, at: PhysAddr, length: u32) {
    let range = PhysRange::new(at, at.saturating_add(length.into()));
    let (owner, source) = (Owner::new("MP table"), Source::whole(Table::MpTable));
    sink.reservation(Reservation { range, owner, purpose: Purpose::Held, source });
}

fn cpu(number: u8, source: Source, sink: &mut dyn MachineSink) {
    let hardware_id = number.into();
    sink.cpu(CpuEntry { hardware_id, domain: None, start: StartMethod::Unstated, source });
}

impl MpTable {
    fn open(read: &mut dyn PhysRead, at: PhysAddr) -> Result<Self, Problem> {
        let mut header = [0; HEADER as usize];
        read.read(at, &mut header).map_err(|error| Problem::Unreadable(error.at))?;
        let [_, _, _, _, low, high, version, ..] = header;
        let length = u32::from(u16::from_le_bytes([low, high]));
        if !header.starts_with(TABLE_SIGNATURE) {
            return Err(Problem::Signature);
        }
        if length < HEADER {
            return Err(Problem::Length { stated: length.into() });
        }
        acpi::verify(read, at, length)?;
        check_version(version)?;
        let local_apic = Registers::LOCAL_APIC.at(u32_at(&header, 36).into())?.start();
        Ok(Self { at, length, local_apic })
    }

    fn describe(&self, read: &mut dyn PhysRead, sink: &mut dyn MachineSink) {
        let (mut offset, mut index) = (HEADER, 0);
        while offset < self.length {
            let source = Source::entry(Table::MpTable, index);
            match self.entry(offset, source, read, sink) {
                Ok(length) => offset += length,
                Err(problem) => return sink.warning(Warning { source, problem }),
            }
            index += 1;
        }
    }

    /// One entry; how long it is.
    fn entry(
        &self,
        offset: u32,
        source: Source,
        read: &mut dyn PhysRead,
        sink: &mut dyn MachineSink,
    ) -> Result<u32, Problem> {
        let at = self.at.saturating_add(offset.into());
        // Kind, number, version, flags: four bytes of the shortest.
        let left = self.length - offset;
        if left < OTHER_BYTES {
            return Err(Problem::Length { stated: left.into() });
        }
        let [kind, number, _, flags] = read.read_u32(at).map_err(|error| Problem::Unreadable(error.at))?.to_le_bytes();
        match kind {
            PROCESSOR if left < PROCESSOR_BYTES => Err(Problem::Length { stated: left.into() }),
            PROCESSOR => {
                match flags & ENABLED {
                    0 => {}
                    _ if number == BROADCAST => {
                        let problem = Problem::Value { what: "the CPU's number", value: number.into() };
                        sink.warning(Warning { source, problem });
                    }
                    _ => cpu(number, source, sink),
                }
                Ok(PROCESSOR_BYTES)
            }
            kind if OTHERS.contains(&kind) => Ok(OTHER_BYTES),
            kind => Err(Problem::Value { what: "the kind of an entry", value: kind.into() }),
        }
    }
}

#[cfg(test)]
mod tests;
