//! From raw entries in any order to ascending banks that do not overlap.
//!
//! Every entry starts or ends the reign of its type somewhere; between two neighbouring such points nothing changes.
//! One turn of the sweep takes the lowest [`POINTS`] points that are left (first pass over the entries), finds for each
//! gap between them the entry that holds there (second pass), and hands the gaps on. So n entries cost n / 32 turns of
//! two passes, no storage beyond the stack's 1.5 KiB, and one turn for any real machine.

use super::{E820, Entry, SOFT_RESERVED};
use crate::read::PhysRead;
use arrayvec::ArrayVec;
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{Bank, MemoryKind, RegionFlags, Source, Table};

const POINTS: usize = 65;

/// E820's number for persistent memory before there was an official one.
const LEGACY_PERSISTENT: u32 = 12;

/// Shows `each` bank, ascending.
pub(super) fn banks(map: &E820, read: &mut dyn PhysRead, each: &mut dyn FnMut(Bank)) {
    let mut merge = Merge { pending: None, each };
    let mut from = PhysAddr::new(0);
    loop {
        let points = lowest_points(map, read, from);
        let winners = winners(map, read, &points);
        for (ends, winner) in points.windows(2).zip(&winners) {
            if let (&[start, end], Some(winner)) = (ends, winner) {
                merge.add(PhysRange::new(start, end), winner.kind, winner.index);
            }
        }
        match points.last() {
            Some(&last) if points.is_full() && last > from => from = last,
            _ => break,
        }
    }
    merge.flush();
}

/// The lowest points from `from` on at which an entry starts or ends, ascending.
fn lowest_points(map: &E820, read: &mut dyn PhysRead, from: PhysAddr) -> ArrayVec<PhysAddr, POINTS> {
    let mut points = ArrayVec::<PhysAddr, POINTS>::new();
    map.all(read, &mut |entry| {
        for point in [entry.range.start(), entry.range.end()] {
            if point < from {
                continue;
            }
            if let Err(place) = points.binary_search(&point)
                && place < POINTS
            {
                if points.is_full() {
                    points.pop();
                }
                // There is room now, and the place is not past the end.
                let _ = points.try_insert(place, point);
            }
        }
    });
    points
}

#[derive(Clone, Copy)]
struct Winner {
    kind: u32,
    index: u32,
}

/// For each gap between two neighbours of `points`, the entry that holds there: of the greatest type, and the first
/// among equals.
fn winners(map: &E820, read: &mut dyn PhysRead, points: &[PhysAddr]) -> [Option<Winner>; POINTS] {
    let mut winners = [None; POINTS];
    map.all(read, &mut |Entry { index, range, kind }| {
        let first = points.partition_point(|&point| point < range.start());
        let last = points.partition_point(|&point| point < range.end());
        let gaps = winners.get_mut(first..last).unwrap_or_default();
        for winner in gaps {
            if winner.is_none_or(|winner: Winner| winner.kind < kind) {
                *winner = Some(Winner { kind, index });
            }
        }
    });
    winners
}

/// Joins neighbouring gaps of one type.
struct Merge<'e> {
    pending: Option<(PhysRange, u32, u32)>,
    each: &'e mut dyn FnMut(Bank),
}

impl Merge<'_> {
    fn add(&mut self, range: PhysRange, kind: u32, index: u32) {
        // Linux keeps these apart, since a border may mean something: another node, another performance class.
        let keeps_borders = matches!(kind, LEGACY_PERSISTENT | SOFT_RESERVED);
        match &mut self.pending {
            Some((before, of_kind, _)) if before.end() == range.start() && *of_kind == kind && !keeps_borders => {
                *before = PhysRange::new(before.start(), range.end());
            }
            _ => {
                self.flush();
                self.pending = Some((range, kind, index));
            }
        }
    }

    fn flush(&mut self) {
        if let Some((range, kind, index)) = self.pending.take() {
            (self.each)(Bank {
                range,
                kind: name(kind),
                flags: RegionFlags::empty(),
                source: Source::entry(Table::E820, index),
            });
        }
    }
}

fn name(kind: u32) -> MemoryKind {
    match kind {
        1 => MemoryKind::Usable,
        2 => MemoryKind::Reserved,
        3 => MemoryKind::AcpiData,
        4 => MemoryKind::AcpiNvs,
        5 => MemoryKind::Unusable,
        7 => MemoryKind::Persistent,
        LEGACY_PERSISTENT => MemoryKind::LegacyPersistent,
        other => MemoryKind::Other(other),
    }
}
