//! The first usable range that nothing else holds, before there is a memblock to ask.
//!
//! The storage of [`MachineMemory`](super::MachineMemory) must lie in memory that the tables call usable, and the
//! tables can only be read as a stream. So a candidate is put to the whole stream: every reservation and every bank of
//! another kind that it meets pushes it up behind itself, and the stream is run again until nothing does. Each run
//! passes at least one obstacle, so the runs are bounded by the entries.

#![forbid(unsafe_code)]

use super::{Fact, MachineSink, MemoryKind};
use crate::addr::{PhysAddr, PhysRange};

/// The lowest range of `size` bytes, aligned to `align` (a power of two), that lies in one usable bank inside `within`
/// and meets no reservation. `describe` runs the front ends over the sink that it is given, the same each time.
pub fn find_window(
    size: u64,
    align: u64,
    within: PhysRange,
    mut describe: impl FnMut(&mut dyn MachineSink),
) -> Option<PhysRange> {
    let mut start = within.start().checked_align_up(align)?;
    loop {
        let candidate = PhysRange::from_size(start, size)?;
        // A candidate that ends at 2^64 is clipped, and so too small.
        if candidate.size() < size || !within.contains_range(candidate) {
            return None;
        }
        let mut probe = Probe { candidate, align, inside: Inside::NoBank, next_bank: None, obstacle_end: None };
        describe(&mut probe);
        let next = match (probe.obstacle_end, probe.inside) {
            (Some(end), _) => end,
            (None, Inside::UsableBank) => return Some(candidate),
            (None, Inside::NoBank) => probe.next_bank?,
        };
        // A candidate only ever moves up, so this ends.
        start = next.max(start.checked_add(1)?).checked_align_up(align)?;
    }
}

/// Whether a usable bank holds the whole candidate.
enum Inside {
    NoBank,
    UsableBank,
}

struct Probe {
    candidate: PhysRange,
    align: u64,
    inside: Inside,
    /// The lowest start of a usable bank above the candidate's start that could hold one as large.
    next_bank: Option<PhysAddr>,
    /// The highest end of what the candidate meets.
    obstacle_end: Option<PhysAddr>,
}

impl Probe {
    fn fits(&self, bank: PhysRange) -> bool {
        let start = bank.start().checked_align_up(self.align);
        let place = start.and_then(|start| PhysRange::from_size(start, self.candidate.size()));
        place.is_some_and(|place| bank.contains_range(place))
    }

    fn meet(&mut self, range: PhysRange) {
        if range.overlaps(self.candidate) {
            self.obstacle_end = Some(self.obstacle_end.map_or(range.end(), |end| end.max(range.end())));
        }
    }
}

impl MachineSink for Probe {
    fn fact(&mut self, fact: Fact) {
        let bank = match fact {
            Fact::Bank(bank) => bank,
            Fact::Reservation(reservation) => return self.meet(reservation.range),
            _ => return,
        };
        if bank.kind != MemoryKind::Usable {
            return self.meet(bank.range);
        }
        if bank.range.contains_range(self.candidate) {
            self.inside = Inside::UsableBank;
        }
        if bank.range.start() > self.candidate.start() && self.fits(bank.range) {
            let start = bank.range.start();
            self.next_bank = Some(self.next_bank.map_or(start, |next| next.min(start)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Bank, Owner, Purpose, RegionFlags, Reservation, Source, Table};
    use super::*;

    fn range(start: u64, end: u64) -> PhysRange {
        PhysRange::new(PhysAddr::new(start), PhysAddr::new(end))
    }

    fn describe<'a>(
        banks: &'a [(u64, u64, MemoryKind)],
        held: &'a [(u64, u64)],
    ) -> impl FnMut(&mut dyn MachineSink) + 'a {
        move |sink| {
            for &(start, end, kind) in banks {
                sink.bank(Bank {
                    range: range(start, end),
                    kind,
                    flags: RegionFlags::empty(),
                    source: Source::whole(Table::E820),
                });
            }
            for &(start, end) in held {
                sink.reservation(Reservation {
                    range: range(start, end),
                    owner: Owner::new("test"),
                    purpose: Purpose::Held,
                    source: Source::whole(Table::Kernel),
                });
            }
        }
    }

    #[test]
    fn steps_over_reservations_in_any_order_and_over_reserved_banks() {
        let banks = [
            (0x10_0000, 0x80_0000, MemoryKind::Usable),
            (0x0, 0x9_0000, MemoryKind::Usable),
            (0x10_0000, 0x11_0000, MemoryKind::Reserved),
        ];
        let held = [(0x30_0000, 0x40_0000), (0x11_0000, 0x12_0000), (0x12_0000, 0x20_0000)];
        let found = find_window(0x10_0000, 0x1000, PhysRange::ALL, describe(&banks, &held));
        assert_eq!(found, Some(range(0x20_0000, 0x30_0000)));
        let found = find_window(0x10_1000, 0x1000, PhysRange::ALL, describe(&banks, &held));
        assert_eq!(found, Some(range(0x40_0000, 0x50_1000)));
        let found = find_window(0x9_0000, 0x1000, PhysRange::ALL, describe(&banks, &held));
        assert_eq!(found, Some(range(0, 0x9_0000)));
    }

    #[test]
    fn nothing_fits_is_an_answer() {
        let banks = [(0, 0x8000, MemoryKind::Usable), (0x8000, 0x1_0000, MemoryKind::Usable)];
        assert_eq!(find_window(0x9000, 0x1000, PhysRange::ALL, describe(&banks, &[])), None);
        assert_eq!(find_window(0x9000, 0x1000, PhysRange::ALL, describe(&[], &[])), None);
        let top = [(u64::MAX - 0x1fff, u64::MAX, MemoryKind::Usable)];
        assert_eq!(find_window(0x2000, 0x1000, PhysRange::ALL, describe(&top, &[])), None);
    }

    /// Every run reads all tables anew.
    #[test]
    fn banks_that_are_too_small_cost_no_run() {
        let mut banks: Vec<_> = (0..1000).map(|n| (n << 20, (n << 20) + 0x8000, MemoryKind::Usable)).collect();
        banks.push((2000 << 20, 2001 << 20, MemoryKind::Usable));
        let mut runs = 0;
        let mut describe = describe(&banks, &[]);
        let found = find_window(0x1_0000, 0x1000, PhysRange::ALL, |sink| {
            runs += 1;
            describe(sink);
        });
        assert_eq!(found.map(PhysRange::start), Some(PhysAddr::new(2000 << 20)));
        assert_eq!(runs, 2);
    }

    #[test]
    fn ram_at_32_gib() {
        let banks = [(32 << 30, 33 << 30, MemoryKind::Usable)];
        let held = [(32 << 30, (32 << 30) + 0x2345)];
        let found = find_window(0x1000, 0x1000, PhysRange::ALL, describe(&banks, &held));
        assert_eq!(found.map(PhysRange::start), Some(PhysAddr::new((32 << 30) + 0x3000)));
    }
}
