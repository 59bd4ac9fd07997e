//! The changes of a map, in order, as a stream.

use super::setup_data::Keeper;
use super::sweep::{self, Join};
use super::{Edit, Kind, Op, PcMap, Stage, bios, setup_data, user};
use crate::firmware::mtrr::Mtrr;
use crate::read::PhysRead;
use mm::addr::PhysAddr;
use mm::machine::{Source, Table};

const PAGE_SHIFT: u32 = 12;
/// Frames that four levels of x86 page tables can map directly (Linux: `MAX_ARCH_PFN`).
pub(super) const MAX_ARCH_PFN: u64 = 1 << 34;

/// One step from what the firmware says to the map that is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// A change.
    Edit(Edit),
    /// Of all types that hold a byte only the greatest stays.
    Settle,
}

/// All steps up to a stage.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steps<'m> {
    pub(super) map: &'m PcMap<'m>,
    stage: Stage,
    /// The frame after the last one of RAM, where the MTRRs' turn depends on it.
    end_of_ram: u64,
}

impl<'m> Steps<'m> {
    pub(super) fn until(map: &'m PcMap<'m>, stage: Stage, read: &mut dyn PhysRead) -> Self {
        let mut this = Self { map, stage, end_of_ram: 0 };
        if stage == Stage::Working && map.mtrr.is_some_and(Mtrr::tells) {
            this.end_of_ram = end_of_ram(&Self::until(map, Stage::Pc, read), u64::MAX, read);
        }
        this
    }

    /// Shows `each` step. A step may change nothing.
    pub(super) fn walk(&self, read: &mut dyn PhysRead, each: &mut dyn FnMut(Step)) {
        let map = self.map;
        match self.stage {
            Stage::Firmware => return,
            Stage::Kexec => {
                setup_data::edits(map.setup_data, Keeper::NextKernel, read, &mut |edit| each(Step::Edit(edit)));
                return each(Step::Settle);
            }
            Stage::Extended | Stage::User | Stage::Pc | Stage::Working => {}
        }
        if let Some(cmdline) = map.cmdline {
            user::edits(cmdline, &mut |edit| {
                if let Ok(edit) = edit {
                    each(Step::Edit(edit));
                }
            });
        }
        if map.setup_data.is_some() {
            setup_data::edits(map.setup_data, Keeper::ThisKernel, read, &mut |edit| each(Step::Edit(edit)));
            each(Step::Settle);
        }
        if self.stage == Stage::Extended {
            return;
        }
        each(Step::Settle);
        if self.stage == Stage::User {
            return;
        }
        for edit in map.edits.iter().chain(&bios::RULES) {
            each(Step::Edit(*edit));
        }
        each(Step::Settle);
        if self.stage == Stage::Working {
            self.uncached(&mut |edit| each(Step::Edit(edit)));
            each(Step::Settle);
        }
    }

    /// Shows `each` change that the MTRRs ask for.
    pub(super) fn uncached(&self, each: &mut dyn FnMut(Edit)) {
        let Some(mtrr) = self.map.mtrr else { return };
        mtrr.uncached(self.end_of_ram, &mut |frames| {
            let op = Op::Update { from: Kind::RAM, to: Kind::RESERVED };
            each(Edit { op, range: frames.bytes(PAGE_SHIFT), source: Source::whole(Table::Mtrr) });
        });
    }
}

/// The frame after the last one of RAM below frame `limit`. What the boot loader keeps does not count, as in Linux.
pub(super) fn end_of_ram(steps: &Steps<'_>, limit: u64, read: &mut dyn PhysRead) -> u64 {
    let mut last = 0;
    sweep::spans(steps, read, Join::AnySource, &mut |span| {
        let frame = |address: PhysAddr| address.as_u64() >> PAGE_SHIFT;
        if span.kind == Kind::RAM && frame(span.range.start()) < limit {
            last = last.max(frame(span.range.end())).min(limit);
        }
    });
    last.min(MAX_ARCH_PFN)
}

/// Bytes of RAM, as it is `before` the MTRRs' turn, that they take away with the steps `after`.
pub(super) fn uncached_ram(before: &Steps<'_>, after: &Steps<'_>, read: &mut dyn PhysRead) -> u64 {
    let mut bytes = 0;
    sweep::spans(before, read, Join::AnySource, &mut |span| {
        if span.kind == Kind::RAM {
            after.uncached(&mut |edit| bytes += span.range.intersection(edit.range).size());
        }
    });
    bytes
}
