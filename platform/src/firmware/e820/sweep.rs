//! From raw entries in any order, and changes to them, to ascending spans that do not overlap.
//!
//! Every entry and every change begins or ends its reign somewhere; between two neighbouring such points nothing
//! changes. One turn of the sweep takes the lowest [`POINTS`] points that are left (first pass), finds for each gap
//! between them the entry that holds there and puts the changes to it in order (second pass), and hands the gaps on. So
//! n entries and changes cost n / 32 turns of two passes, no storage beyond 8 KiB of the stack, and one turn for most
//! real machines. Linux: `e820__update_table` in `arch/x86/kernel/e820.c`.

use super::edit::{Layer, Layers};
use super::steps::{Step, Steps};
use super::{Entry, FirmwareMap, Kind, Op};
use crate::read::PhysRead;
use arrayvec::ArrayVec;
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{Bank, RegionFlags, Source, Table};

const POINTS: usize = 65;

/// A range of one type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Span {
    pub(super) range: PhysRange,
    pub(super) kind: Kind,
    pub(super) flags: RegionFlags,
    /// Who made its first byte what it is.
    pub(super) source: Source,
    /// Whether a border that its type may keep is at its start.
    has_border: bool,
}

impl Span {
    /// What it says of memory.
    pub(super) const fn bank(&self) -> Bank {
        Bank { range: self.range, kind: self.kind.memory(), flags: self.flags, source: self.source }
    }
}

/// Which neighbours of one type become one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Join {
    /// All, as the map is printed.
    AnySource,
    /// Those that one table names, with the same flags.
    OneSource,
}

/// Shows `each` span of the map as it is after `steps`, ascending.
pub(super) fn spans(steps: &Steps<'_>, read: &mut dyn PhysRead, join: Join, each: &mut dyn FnMut(Span)) {
    let mut merge = Merge { pending: None, join, each };
    let mut from = PhysAddr::new(0);
    let mut known = 0;
    loop {
        let points = lowest_points(steps, read, from);
        turn(steps, read, &points, known, &mut |span| merge.add(span));
        match points.as_slice() {
            // The last gap is looked at again, for the border behind it.
            [.., last, _] if points.is_full() => from = *last,
            _ => break,
        }
        known = 1;
    }
    merge.flush();
}

impl FirmwareMap {
    fn entries(&self, read: &mut dyn PhysRead, each: &mut dyn FnMut(Entry)) {
        match self {
            Self::E820(map) => map.all(read, each),
            Self::Efi(map) => map.pc_entries(read, each),
            Self::Limine(map) => map.pc_entries(read, each),
        }
    }

    const fn table(&self) -> Table {
        match self {
            Self::E820(_) => Table::E820,
            Self::Efi(_) => Table::EfiMap,
            Self::Limine(_) => Table::LimineMap,
        }
    }
}

/// The lowest points from `from` on at which an entry or a change starts or ends, ascending.
fn lowest_points(steps: &Steps<'_>, read: &mut dyn PhysRead, from: PhysAddr) -> ArrayVec<PhysAddr, POINTS> {
    let mut points = ArrayVec::<PhysAddr, POINTS>::new();
    let mut add = |range: PhysRange| {
        for point in [range.start(), range.end()] {
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
    };
    steps.map.firmware.entries(read, &mut |entry| add(entry.range));
    steps.walk(read, &mut |step| {
        if let Step::Edit(edit) = step
            && edit.op != Op::Clear
            && !edit.range.is_empty()
        {
            add(edit.range);
        }
    });
    points
}

/// The gaps between `points` that lie in `range`.
fn gaps_of(points: &[PhysAddr], range: PhysRange) -> core::ops::Range<usize> {
    let place = |edge| points.partition_point(|&point| point < edge);
    let last = place(range.end()).min(points.len().saturating_sub(1));
    place(range.start()).min(last)..last
}

/// Shows `each` gap between neighbours of `points` but the first `known` ones, where some type holds it.
fn turn(steps: &Steps<'_>, read: &mut dyn PhysRead, points: &[PhysAddr], known: usize, each: &mut dyn FnMut(Span)) {
    let mut firmware = [None::<(Kind, u32)>; POINTS];
    let mut flags = [RegionFlags::empty(); POINTS];
    let mut borders = [false; POINTS];
    let table = steps.map.firmware.table();
    steps.map.firmware.entries(read, &mut |entry| {
        let gaps = gaps_of(points, entry.range);
        for (at, edge) in [(gaps.start, entry.range.start()), (gaps.end, entry.range.end())] {
            if let (Some(border), Some(&here)) = (borders.get_mut(at), points.get(at)) {
                *border |= here == edge;
            }
        }
        // Of equal types the first one holds.
        for (held, flags) in firmware.iter_mut().zip(&mut flags).take(gaps.end).skip(gaps.start) {
            *flags |= entry.flags;
            if held.is_none_or(|(kind, _)| kind < entry.kind) {
                *held = Some((entry.kind, entry.index));
            }
        }
    });
    let mut begin = 0;
    let gaps = firmware.iter().zip(&borders).enumerate().take(points.len().saturating_sub(1));
    let mut layers: ArrayVec<Layers, POINTS> = gaps
        .map(|(gap, (held, &border))| {
            begin = if border { gap } else { begin };
            Layers::of(held.map(|(kind, index)| Layer::settled(kind, Source::entry(table, index), begin)))
        })
        .collect();
    let mut number = 0;
    steps.walk(read, &mut |step| match step {
        Step::Settle => settle(&mut layers),
        Step::Edit(edit) => {
            number += 1;
            let gaps = gaps_of(points, edit.range);
            layers.iter_mut().take(gaps.end).skip(gaps.start).for_each(|layers| layers.apply(&edit, number));
        }
    });
    let mut before = None;
    for (gap, ((ends, layers), &flags)) in points.windows(2).zip(&layers).zip(&flags).enumerate() {
        let top = layers.top();
        if let (&[start, end], Some(Layer { kind, source, lineage })) = (ends, top)
            && gap >= known
        {
            each(Span { range: PhysRange::new(start, end), kind, flags, source, has_border: before != Some(lineage) });
        }
        before = top.map(|top| top.lineage);
    }
}

/// Of all types that hold a gap only the greatest stays. An entry begins wherever one began or ended before.
fn settle(layers: &mut [Layers]) {
    let mut begin = 0;
    let mut before = None;
    for (gap, layers) in layers.iter_mut().enumerate() {
        // Whoever joins without asking for borders need not be compared.
        let asks = layers.top().is_some_and(|top| top.kind.keeps_borders());
        if asks && before.is_none_or(|before: Layers| before.has_border(layers)) {
            begin = gap;
        }
        before = Some(layers.clone()).filter(|_| asks);
        layers.settle(begin);
    }
}

/// Joins neighbouring gaps of one type.
struct Merge<'e> {
    pending: Option<Span>,
    join: Join,
    each: &'e mut dyn FnMut(Span),
}

impl Merge<'_> {
    fn add(&mut self, span: Span) {
        match &mut self.pending {
            Some(before) if self.join.joins(before, &span) => {
                before.range = PhysRange::new(before.range.start(), span.range.end());
            }
            _ => {
                self.flush();
                self.pending = Some(span);
            }
        }
    }

    fn flush(&mut self) {
        if let Some(span) = self.pending.take() {
            (self.each)(span);
        }
    }
}

impl Join {
    fn joins(self, before: &Span, span: &Span) -> bool {
        let alike = before.range.end() == span.range.start() && before.kind == span.kind;
        let apart = span.has_border && span.kind.keeps_borders();
        let same_source = before.source.table == span.source.table && before.flags == span.flags;
        alike && !apart && (self == Self::AnySource || same_source)
    }
}
