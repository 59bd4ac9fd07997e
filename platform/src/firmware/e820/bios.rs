//! What every PC keeps of its first MiB, whatever its map says.
//!
//! Page 0 is the BIOS's; 640 KiB to 1 MiB is video memory and ROM. Below 640 KiB the BIOS may have an extended data
//! area (EBDA), and says in its data area at 0x400 where that begins and how much is left below; many maps do not
//! mention it. Linux: `trim_bios_range` in `arch/x86/kernel/setup.c`, `reserve_bios_regions` in `ebda.c`.

use super::{Edit, Kind, Op};
use crate::read::PhysRead;
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{MachineSink, Owner, Purpose, Reservation, Source, Table};

const fn range(start: u64, end: u64) -> PhysRange {
    PhysRange::new(PhysAddr::new(start), PhysAddr::new(end))
}

const ARCHITECTURE: Source = Source::whole(Table::Architecture);

/// What becomes of RAM in the first MiB.
pub(super) const RULES: [Edit; 2] = [
    Edit { op: Op::Update { from: Kind::RAM, to: Kind::RESERVED }, range: range(0, 0x1000), source: ARCHITECTURE },
    Edit { op: Op::Remove(Some(Kind::RAM)), range: range(0xa_0000, 0x10_0000), source: ARCHITECTURE },
];

/// Where the BIOS says how many KiB are below what it keeps.
const KIB_BELOW: PhysAddr = PhysAddr::new(0x413);
/// Where the BIOS keeps the segment of its extended data area.
const EBDA_SEGMENT: PhysAddr = PhysAddr::new(0x40e);
/// A BIOS that keeps more than this says something else in those words.
const LOWEST: u64 = 0x2_0000;
/// Kept in any case, since some BIOSes write here without a word.
const HIGHEST: u64 = 0x9_f000;

/// Reserves what the BIOS keeps, up to 1 MiB.
pub(super) fn reserve(read: &mut dyn PhysRead, sink: &mut dyn MachineSink) {
    // A machine without such words has no BIOS either.
    let below = read.read_u16(KIB_BELOW).map_or(0, |kib| u64::from(kib) << 10);
    let ebda = read.read_u16(EBDA_SEGMENT).map_or(0, |segment| u64::from(segment) << 4);
    let start = if (LOWEST..=HIGHEST).contains(&below) { below } else { HIGHEST };
    let start = if (LOWEST..start).contains(&ebda) { ebda } else { start };
    sink.reservation(Reservation {
        range: range(start, 0x10_0000),
        owner: Owner::new("BIOS"),
        purpose: Purpose::Held,
        source: ARCHITECTURE,
    });
}
