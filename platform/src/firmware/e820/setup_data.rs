//! What an x86 boot loader leaves for the kernel beside the map: a list, each item with a header of 16 bytes (address
//! of the next, type, length of the data behind it).
//!
//! An item lies in RAM, and may name a second range that it is about (`SETUP_INDIRECT`). Both are marked in the map, so
//! that they stay RAM but are told apart, and reserved. Linux: `e820__reserve_setup_data` in `arch/x86/kernel/e820.c`,
//! `memblock_x86_reserve_range_setup_data` in `setup.c`, `struct setup_data` in `uapi/asm/bootparam.h`.

use super::{Edit, Kind, Op};
use crate::read::{PhysRead, u32_at, u64_at};
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{MachineSink, Owner, Problem, Purpose, Reservation, Source, Table, Warning};

const HEADER: u64 = 16;
/// Items that are followed: a list that is longer runs in a circle.
const MAX_ITEMS: u32 = 256;

/// The item is about a range elsewhere.
const INDIRECT: u32 = 1 << 31;
/// EFI's tables, a measurement log, a random seed: the next kernel is given its own.
const FOR_THIS_KERNEL: [u32; 3] = [4, 8, 9];

/// For whom the list is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Keeper {
    ThisKernel,
    NextKernel,
    /// One after the other, range by range, as Linux does.
    Both,
}

impl Keeper {
    /// How often an item of `kind` changes a table.
    fn times(self, kind: u32) -> u8 {
        let next = u8::from(!FOR_THIS_KERNEL.contains(&kind));
        match self {
            Self::ThisKernel => 1,
            Self::NextKernel => next,
            Self::Both => 1 + next,
        }
    }
}

/// An item of the list.
struct Item {
    index: u32,
    kind: u32,
    /// Header and data.
    range: PhysRange,
    indirect: Option<PhysRange>,
}

/// Shows `each` change that the list asks for.
pub(super) fn edits(first: Option<PhysAddr>, keeper: Keeper, read: &mut dyn PhysRead, each: &mut dyn FnMut(Edit)) {
    walk(first, read, &mut |item| {
        let Ok(Item { index, kind, range, indirect }) = item else { return };
        let source = Source::entry(Table::SetupData, index);
        let op = Op::Update { from: Kind::RAM, to: Kind::RESERVED_KERN };
        for _ in 0..keeper.times(kind) {
            each(Edit { op, range, source });
        }
        for _ in 0..keeper.times(INDIRECT) {
            indirect.into_iter().for_each(|range| each(Edit { op, range, source }));
        }
    });
}

/// Hands the items' ranges to `sink`, and what is wrong with the list.
pub(super) fn reserve(first: Option<PhysAddr>, read: &mut dyn PhysRead, sink: &mut dyn MachineSink) {
    walk(first, read, &mut |item| match item {
        Ok(item) => {
            let source = Source::entry(Table::SetupData, item.index);
            for range in [Some(item.range), item.indirect].into_iter().flatten() {
                let owner = Owner::new("setup data");
                sink.reservation(Reservation { range, owner, purpose: Purpose::Held, source });
            }
        }
        Err(warning) => sink.warning(warning),
    });
}

fn walk(first: Option<PhysAddr>, read: &mut dyn PhysRead, each: &mut dyn FnMut(Result<Item, Warning>)) {
    let mut next = first;
    for index in 0..MAX_ITEMS {
        let Some(at) = next else { return };
        let source = Source::entry(Table::SetupData, index);
        let mut header = [0; HEADER as usize];
        if let Err(error) = read.read(at, &mut header) {
            return each(Err(Warning { source, problem: Problem::Unreadable(error.at) }));
        }
        next = Some(u64_at(&header, 0)).filter(|&next| next != 0).map(PhysAddr::new);
        let (kind, size) = (u32_at(&header, 8), HEADER + u64::from(u32_at(&header, 12)));
        match PhysRange::from_size(at, size) {
            Some(range) => {
                let indirect = if kind == INDIRECT { indirect(at, size, read) } else { None };
                each(Ok(Item { index, kind, range, indirect }));
            }
            None => each(Err(Warning { source, problem: Problem::Wraps { start: at.as_u64(), size } })),
        }
    }
    if next.is_some() {
        let problem = Problem::TooMany { what: "items", limit: MAX_ITEMS.into() };
        each(Err(Warning { source: Source::whole(Table::SetupData), problem }));
    }
}

/// The range that the item at `at` is about: type, padding, length and address stand behind its header.
fn indirect(at: PhysAddr, size: u64, read: &mut dyn PhysRead) -> Option<PhysRange> {
    let mut body = [0; 24];
    if size < HEADER + 24 || read.read(at.checked_add(HEADER)?, &mut body).is_err() || u32_at(&body, 0) == INDIRECT {
        return None;
    }
    PhysRange::from_size(PhysAddr::new(u64_at(&body, 16)), u64_at(&body, 8)).filter(|range| !range.is_empty())
}
