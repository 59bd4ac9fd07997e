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
}

/// The types that hold one byte. Of more than there is room for, the least are forgotten.
#[derive(Clone, Default, Debug)]
pub(super) struct Layers(ArrayVec<Layer, 6>);

/// Whether a change met something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    /// It did.
    Some,
    /// Nothing that it names was there.
    None,
}

impl Layers {
    pub(super) fn of(layer: Option<Layer>) -> Self {
        Self(layer.into_iter().collect())
    }

    /// The greatest type.
    pub(super) fn top(&self) -> Option<Layer> {
        self.0.iter().copied().reduce(|top, layer| if layer.kind > top.kind { layer } else { top })
    }

    /// Only the greatest type stays.
    pub(super) fn settle(&mut self) {
        *self = Self::of(self.top());
    }

    pub(super) fn apply(&mut self, edit: &Edit) -> Effect {
        let before = self.0.len();
        match edit.op {
            Op::Add(kind) => {
                self.add(Layer { kind, source: edit.source });
                return Effect::Some;
            }
            Op::Update { from, to } => {
                if let Some(old) = self.take(from) {
                    // RAM that is only marked stays the firmware's RAM.
                    let source = if from.memory() == to.memory() { old.source } else { edit.source };
                    self.add(Layer { kind: to, source });
                    return Effect::Some;
                }
            }
            Op::Remove(Some(kind)) => self.0.retain(|layer| layer.kind != kind),
            Op::Remove(None) | Op::Clear => self.0.clear(),
        }
        if self.0.len() == before { Effect::None } else { Effect::Some }
    }

    fn take(&mut self, kind: Kind) -> Option<Layer> {
        let at = self.0.iter().position(|layer| layer.kind == kind)?;
        Some(self.0.swap_remove(at))
    }

    /// Twice the same type is as good as once: every later change meets both.
    fn add(&mut self, new: Layer) {
        if self.0.iter().any(|layer| layer.kind == new.kind) {
            return;
        }
        if let Err(full) = self.0.try_push(new) {
            let new = full.element();
            if let Some(least) = self.0.iter_mut().min_by_key(|layer| layer.kind).filter(|least| least.kind < new.kind) {
                *least = new;
            }
        }
    }
}
