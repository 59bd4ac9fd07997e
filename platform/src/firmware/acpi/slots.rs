//! Where the registers of memory slots are, in the words of the machine's own byte code.
//!
//! QEMU describes its interface in the DSDT as `OperationRegion (HPMR, space, base, length)`, and the number of slots
//! as `Name (MDNR, count)`; an SSDT may hold both as well. They are found by their bytes, as in [`super::aml`]. A
//! method that computes where memory is, as other firmware has, is not run: there is no interpreter here. QEMU:
//! `hw/acpi/memory_hotplug.c`. Linux runs that code: `drivers/acpi/acpi_memhotplug.c`.

use super::aml::{self, BEFORE, NAME_OP};
use super::table::Table;
use crate::read::PhysRead;
use crate::slots::{MAX_SLOTS, MemorySlots};
use mm::machine::Problem;

/// The operator of an operation region.
const REGION: [u8; BEFORE] = [0x5b, 0x80];
const REGION_NAME: &[u8] = b"HPMR";
const COUNT_NAME: &[u8] = b"MDNR";
/// The address space of I/O ports.
const SYSTEM_IO: u8 = 1;

/// Where the registers are, and in which space.
struct Region {
    space: u8,
    base: u64,
    length: u64,
}

/// The slots that `table` describes. `None`: it does not.
///
/// # Errors
/// It does, but not in a way that can be used.
pub(super) fn find(table: &Table, read: &mut dyn PhysRead) -> Result<Option<MemorySlots>, Problem> {
    let Some(region) = aml::find(table, read, region_at) else { return Ok(None) };
    table.verify(read)?;
    if region.space != SYSTEM_IO {
        return Err(Problem::TableIgnored("registers of memory slots that are no I/O ports"));
    }
    if region.length < MemorySlots::LENGTH.into() {
        return Err(Problem::Value { what: "the length of the memory slots' registers", value: region.length });
    }
    let base = u16::try_from(region.base).ok().filter(|base| base.checked_add(MemorySlots::LENGTH - 1).is_some());
    let base = base.ok_or(Problem::Value { what: "the port of the memory slots' registers", value: region.base })?;
    let count = aml::find(table, read, count_at).ok_or(Problem::TableIgnored("memory slots without a number"))?;
    let count = u32::try_from(count).ok().filter(|&count| count <= MAX_SLOTS);
    let count = count.ok_or(Problem::TooMany { what: "memory slots", limit: MAX_SLOTS.into() })?;
    Ok(Some(MemorySlots { base, count }))
}

/// The region, when `bytes` are its operator and then its name.
fn region_at(bytes: &[u8]) -> Option<Region> {
    let rest = bytes.strip_prefix(&REGION)?.strip_prefix(REGION_NAME)?;
    let (&space, rest) = rest.split_first()?;
    let (base, rest) = aml::integer(rest)?;
    let (length, _) = aml::integer(rest)?;
    Some(Region { space, base, length })
}

/// The number, when `bytes` are a name operator and then the name.
fn count_at(bytes: &[u8]) -> Option<u64> {
    let (before, rest) = bytes.split_at_checked(BEFORE)?;
    let rest = rest.strip_prefix(COUNT_NAME)?;
    (before.last() == Some(&NAME_OP)).then(|| aml::integer(rest)).flatten().map(|(count, _)| count)
}
