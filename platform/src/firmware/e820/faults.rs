//! What is odd about each entry, said once.
//!
//! Every entry is held against all before it, a block against a block, so that a long map costs O(n²) comparisons but
//! only O(n²/32) reads.

use super::Entry;
use super::raw::{BLOCK, E820};
use crate::read::PhysRead;
use arrayvec::ArrayVec;
use mm::addr::PhysAddr;
use mm::machine::{MachineSink, Problem, Source, Table, Warning};

/// Entries that cannot be are named up to this many; a map with more is rubbish from there on.
const MAX_DROPPED: u64 = 16;

/// Hands a warning to `sink` for each entry that is dropped, repeated, overlapping, or out of order.
pub(super) fn tell(map: &E820, read: &mut dyn PhysRead, sink: &mut dyn MachineSink) {
    let mut previous: Option<Entry> = None;
    let mut told = 0;
    for from in map.blocks() {
        let mut block = ArrayVec::<(Entry, Option<Problem>), BLOCK>::new();
        let mut dropped = ArrayVec::<(u32, Problem), BLOCK>::new();
        let shown = map.block(read, from, &mut |index, entry| {
            // A block holds no more than there is room for.
            let _ = match entry {
                Ok(entry) => block.try_push((entry, None)).is_ok(),
                Err(problem) => dropped.try_push((index, problem)).is_ok(),
            };
        });
        if let Err(at) = shown {
            return unreadable(sink, from, at);
        }
        for (index, problem) in dropped {
            told += 1;
            if told <= MAX_DROPPED {
                sink.warning(Warning { source: Source::entry(Table::E820, index), problem });
            } else if told == MAX_DROPPED + 1 {
                let problem = Problem::TooMany { what: "entries that cannot be", limit: MAX_DROPPED };
                sink.warning(Warning { source: Source::whole(Table::E820), problem });
            }
        }
        for earlier in (0..=from).step_by(BLOCK) {
            // It could be read before.
            let _ = map.block(read, earlier, &mut |_, entry| {
                if let Ok(entry) = entry {
                    for (later, problem) in &mut block {
                        conflict(entry, *later, problem);
                    }
                }
            });
        }
        for (entry, problem) in block {
            // An entry that goes has no place that could be wrong.
            let repeated = matches!(problem, Some(Problem::Duplicate(_)));
            if let Some(before) = previous.filter(|before| !repeated && entry.range.start() < before.range.start()) {
                warn(sink, before, Problem::Unsorted(before.range));
            }
            if let Some(problem) = problem {
                warn(sink, entry, problem);
            }
            previous = if repeated { previous } else { Some(entry) };
        }
    }
}

/// Notes in `problem` what stands between `entry` and the `later` one. That it is a repetition says the most.
fn conflict(entry: Entry, later: Entry, problem: &mut Option<Problem>) {
    if entry.index >= later.index || matches!(problem, Some(Problem::Duplicate(_))) {
        return;
    }
    if entry.range == later.range && entry.kind == later.kind {
        *problem = Some(Problem::Duplicate(later.range));
    } else if entry.range.overlaps(later.range) {
        *problem = Some(Problem::Overlaps(later.range));
    }
}

fn warn(sink: &mut dyn MachineSink, entry: Entry, problem: Problem) {
    sink.warning(Warning { source: Source::entry(Table::E820, entry.index), problem });
}

fn unreadable(sink: &mut dyn MachineSink, from: u32, at: PhysAddr) {
    sink.warning(Warning { source: Source::entry(Table::E820, from), problem: Problem::Unreadable(at) });
}
