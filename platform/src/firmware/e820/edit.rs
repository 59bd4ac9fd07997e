//! Changes to a memory map, and what they make of one byte.
//!
//! Before the map is settled again several types may hold a byte at once, each on its own: an update or a removal meets
//! only the type that it names. So `memmap=64K$1M` adds a second type beside RAM, and the greater one wins in the end;
//! `mem=` takes the RAM from under a reserved entry and leaves that. Linux: `e820__range_add`, `e820__range_update`,
//! `e820__range_remove` in `arch/x86/kernel/e820.c`.

use super::Kind;
use arrayvec::ArrayVec;
use core::fmt;
use mm::addr::PhysRange;
use mm::machine::Source;

/// What a change does with the types that hold its range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// This type is there too.
    Add(Kind),
    /// This type becomes that one.
    Update {
        /// The type that changes.
        from: Kind,
        /// What it becomes.
        to: Kind,
    },
    /// This type is taken away, or every one.
    Remove(Option<Kind>),
    /// The map begins anew (`memmap=exactmap`). Nothing is printed.
    Clear,
}

/// A change to the memory map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Edit {
    /// What it does.
    pub op: Op,
    /// Where.
    pub range: PhysRange,
    /// Who wants it.
    pub source: Source,
}

impl Edit {
    /// Whether Linux has a line about it.
    pub(super) const fn is_printed(&self) -> bool {
        matches!(self.op, Op::Update { .. } | Op::Remove(_))
    }
}

/// Linux's line about it, without a newline; nothing where Linux has none.
impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An empty range ends before it starts, as in Linux.
        let (start, last) = (self.range.start(), self.range.end().as_u64().wrapping_sub(1));
        match self.op {
            Op::Add(_) | Op::Clear => Ok(()),
            Op::Update { from, to } => write!(f, "e820: update [mem {start:#010x}-{last:#010x}] {from} ==> {to}"),
            Op::Remove(Some(kind)) => write!(f, "e820: remove [mem {start:#010x}-{last:#010x}] {kind}"),
            Op::Remove(None) => write!(f, "e820: remove [mem {start:#010x}-{last:#010x}] "),
        }
    }
}

/// A type that holds some byte, and who says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Layer {
    pub(super) kind: Kind,
    pub(super) source: Source,
    /// The same for bytes that one entry of Linux's table would hold: where that begins, or the changes that it went
    /// through.
    pub(super) lineage: u32,
}

impl Layer {
    /// In a settled map: in the entry that begins with gap `gap`. Only types that keep borders need to know.
    pub(super) fn settled(kind: Kind, source: Source, gap: usize) -> Self {
        const SETTLED: u32 = 1 << 31;
        let lineage = if kind.keeps_borders() { SETTLED | gap as u32 } else { SETTLED };
        Self { kind, source, lineage }
    }
}

/// The types that hold one byte. Of more than there is room for, the greatest stay.
#[derive(Clone, Default, Debug)]
pub(super) struct Layers(ArrayVec<Layer, 6>);

impl Layers {
    pub(super) fn of(layer: Option<Layer>) -> Self {
        Self(layer.into_iter().collect())
    }

    /// The greatest type.
    pub(super) fn top(&self) -> Option<Layer> {
        self.0.iter().copied().reduce(|top, layer| if layer.kind > top.kind { layer } else { top })
    }

    /// Only the greatest type stays, in an entry that begins with gap `gap`.
    pub(super) fn settle(&mut self, gap: usize) {
        if let (Some(top), Some(first)) = (self.top(), self.0.first_mut()) {
            *first = Layer::settled(top.kind, top.source, gap);
            self.0.truncate(1);
        }
    }

    /// Whether an entry of Linux's table ends or begins between this byte and the `next`.
    pub(super) fn has_border(&self, next: &Self) -> bool {
        let within = |some: &Self, others: &Self| {
            some.0.iter().all(|one| others.0.iter().any(|other| (one.kind, one.lineage) == (other.kind, other.lineage)))
        };
        !within(self, next) || !within(next, self)
    }

    /// Puts change number `number` to it.
    pub(super) fn apply(&mut self, edit: &Edit, number: u32) {
        match edit.op {
            Op::Add(kind) => self.add(Layer { kind, source: edit.source, lineage: number }),
            Op::Update { from, to } => {
                for layer in self.0.iter_mut().filter(|layer| layer.kind == from) {
                    // RAM that is only marked stays the firmware's RAM.
                    let source = if from.memory() == to.memory() { layer.source } else { edit.source };
                    let lineage = layer.lineage.wrapping_mul(31).wrapping_add(number);
                    *layer = Layer { kind: to, source, lineage };
                }
            }
            Op::Remove(Some(kind)) => self.0.retain(|layer| layer.kind != kind),
            Op::Remove(None) | Op::Clear => self.0.clear(),
        }
    }

    fn add(&mut self, new: Layer) {
        let Err(full) = self.0.try_push(new) else { return };
        let new = full.element();
        let all = || self.0.iter().chain([&new]).enumerate();
        // The last whose type is there once more is as good as gone. Else the least goes. Either may be the new one.
        let is_repeated = |kind: Kind| all().filter(|(_, layer)| layer.kind == kind).count() > 1;
        let repeated = all().filter(|(_, layer)| is_repeated(layer.kind)).last();
        let goes = repeated.or_else(|| all().min_by_key(|(_, layer)| layer.kind)).map(|(at, _)| at);
        if let Some(layer) = goes.and_then(|at| self.0.get_mut(at)) {
            *layer = new;
        }
    }
}
