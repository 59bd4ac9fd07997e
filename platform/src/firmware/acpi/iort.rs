//! IORT: what lies between the devices of an Arm machine and its memory; here, how many address bits they drive.
//!
//! A named component (type 1) and, from revision 1 of the node on, a PCI root complex (type 2) state the number of
//! bits in which their devices address memory; zero says nothing. The fewest decide where ZONE_DMA ends. Linux:
//! `acpi_iort_dma_get_max_cpu_address` in `drivers/acpi/arm64/iort.c`.

use super::table::Table;
use crate::read::{PhysRead, u32_at};
use mm::addr::PhysAddr;
use mm::machine::{DmaLimit, Fact, MachineSink, Problem, Source};

pub(super) const SIGNATURE: [u8; 4] = *b"IORT";

/// Bytes of the table before its nodes.
const FIXED: u32 = 48;
/// Bytes of a node before what its type adds.
const NODE: u32 = 16;
const NAMED_COMPONENT: u8 = 1;
const ROOT_COMPLEX: u8 = 2;
/// The first revision of a root complex that states a limit.
const LIMIT_REVISION: u8 = 1;

pub(super) fn describe(iort: &Table, read: &mut dyn PhysRead, sink: &mut dyn MachineSink) -> Result<(), Problem> {
    iort.verify(read)?;
    if iort.length() < FIXED {
        return Err(Problem::Length { stated: iort.length().into() });
    }
    let mut counts = [0; 8];
    iort.bytes(read, 36, &mut counts)?;
    let (count, mut offset) = (u32_at(&counts, 0), u32_at(&counts, 4));
    for index in 0..count {
        let source = Source { entry: Some(index), ..iort.source() };
        let Some(next) = node(iort, offset, source, read, sink)? else { break };
        offset = next;
    }
    Ok(())
}

/// One node; where the next one is, or nothing when this one cannot be.
fn node(
    iort: &Table,
    offset: u32,
    source: Source,
    read: &mut dyn PhysRead,
    sink: &mut dyn MachineSink,
) -> Result<Option<u32>, Problem> {
    let mut bytes = [0; 36];
    iort.bytes(read, offset, &mut bytes)?;
    let [kind, low, high, revision, ..] = bytes;
    let length = u32::from(u16::from_le_bytes([low, high]));
    let next = offset.saturating_add(length);
    // Where the bits stand, and how long the node is for it.
    let bits = match kind {
        NAMED_COMPONENT => Some(28),
        ROOT_COMPLEX if revision >= LIMIT_REVISION => Some(32),
        _ => None,
    };
    let least = bits.map_or(NODE, |at| at + 1);
    if offset < FIXED || length < least || next > iort.length() {
        super::warn(sink, source, Problem::Length { stated: length.into() });
        return Ok(None);
    }
    let bits = bits.and_then(|at| bytes.get(usize::try_from(at).ok()?).copied()).unwrap_or(0);
    if let Some(end) = 1u64.checked_shl(bits.into()).filter(|_| bits > 0) {
        sink.fact(Fact::DmaLimit(DmaLimit { end: PhysAddr::new(end), source }));
    }
    Ok(Some(next))
}
