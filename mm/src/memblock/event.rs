//! What memblock does, told while it does it: `memblock=debug`.
//!
//! A listener is one function that gets the machine's handle, by which a host that holds many machines tells them
//! apart, and an [`Event`]. The event's text is the line that Linux would print, with the file and line of the caller
//! where Linux names a function. An operation is told before it is done, so the last line before a failure names it.
//! While nobody listens, an operation costs one comparison more. Linux: `memblock_dbg`, `early_memblock`.

#![forbid(unsafe_code)]

use super::{Memblock, NodeWish, RegionFlags, Request, Which};
use crate::addr::{NodeId, PhysAddr, PhysRange};
use crate::arch::PhysMap;
use core::fmt;
use core::panic::Location;

/// How much is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tell {
    /// Only what somebody should know of.
    Warnings,
    /// Every operation (`memblock=debug`).
    Everything,
}

/// Who is told: a function that gets the handle of the machine, and the event.
pub type Listener<A> = fn(A, Event);

/// What lies in memory that was handed out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contents {
    /// Zeroes.
    Zeroed,
    /// Whatever was there.
    Raw,
}

/// One operation, before it is done. Its text is Linux's line, without a newline.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// [`Memblock::add`].
    Add {
        /// What is added.
        range: PhysRange,
        /// By whom.
        caller: &'static Location<'static>,
    },
    /// [`Memblock::add_on`].
    AddNode {
        /// What is added.
        range: PhysRange,
        /// On which node.
        node: Option<NodeId>,
        /// With which flags.
        flags: RegionFlags,
        /// By whom.
        caller: &'static Location<'static>,
    },
    /// [`Memblock::remove`].
    Remove {
        /// What is removed.
        range: PhysRange,
        /// By whom.
        caller: &'static Location<'static>,
    },
    /// [`Memblock::reserve`], also of what was found for an allocation or a larger array.
    Reserve {
        /// What is reserved.
        range: PhysRange,
        /// By whom.
        caller: &'static Location<'static>,
    },
    /// [`Memblock::free`], also of an array that was outgrown.
    Free {
        /// What is free from now on.
        range: PhysRange,
        /// By whom.
        caller: &'static Location<'static>,
    },
    /// [`Memblock::alloc`] and its like.
    Alloc {
        /// What is asked for.
        request: Request,
        /// From which address on, if that can be.
        from: PhysAddr,
        /// Whether the memory is cleared.
        contents: Contents,
        /// By whom.
        caller: &'static Location<'static>,
    },
    /// An array has moved to where it has twice as much room.
    Doubled {
        /// Which one.
        table: Which,
        /// How many it holds now.
        capacity: usize,
        /// Where it lies now.
        range: PhysRange,
    },
    /// An allocation gets memory that is not mirrored, though there is mirrored memory. A warning; told once.
    MirrorExhausted {
        /// Bytes asked for.
        size: u64,
    },
}

impl Event {
    /// Whether this is told to a listener that wants only warnings.
    #[must_use]
    pub const fn is_warning(&self) -> bool {
        matches!(self, Self::MirrorExhausted { .. })
    }
}

/// `[0x0000000000001000-0x0000000000001fff]`, `%pa` twice.
struct Bounds(PhysRange);

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:#018x}-{:#018x}]", self.0.start(), self.0.last())
    }
}

/// A node's number, or -1 for none.
fn number(node: Option<NodeId>) -> i32 {
    node.map_or(-1, |node| i32::from(node.as_u16()))
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Add { range, caller } => write!(f, "memblock_add: {} {caller}", Bounds(range)),
            Self::AddNode { range, node, flags, caller } => {
                let (node, flags) = (number(node), flags.bits());
                write!(f, "memblock_add_node: {} nid={node} flags={flags:x} {caller}", Bounds(range))
            }
            Self::Remove { range, caller } => write!(f, "memblock_remove: {} {caller}", Bounds(range)),
            Self::Reserve { range, caller } => write!(f, "memblock_reserve: {} {caller}", Bounds(range)),
            Self::Free { range, caller } => write!(f, "memblock_phys_free: {} {caller}", Bounds(range)),
            Self::Alloc { request, from, contents, caller } => {
                let (name, node) = match (request.node, contents) {
                    (NodeWish::Only(node), _) => ("memblock_alloc_exact_nid_raw", Some(node)),
                    (NodeWish::Prefer(node), Contents::Zeroed) => ("memblock_alloc_try_nid", Some(node)),
                    (NodeWish::Prefer(node), Contents::Raw) => ("memblock_alloc_try_nid_raw", Some(node)),
                    (NodeWish::Any, Contents::Zeroed) => ("memblock_alloc_try_nid", None),
                    (NodeWish::Any, Contents::Raw) => ("memblock_alloc_try_nid_raw", None),
                };
                let Request { size, align, within, .. } = request;
                let (from, node) = (from.max(within.start()), number(node));
                let end = within.end();
                write!(
                    f,
                    "{name}: {size} bytes align={align:#x} nid={node} from={from:#018x} max_addr={end:#018x} {caller}"
                )
            }
            Self::Doubled { table, capacity, range } => {
                let table = match table {
                    Which::Memory => "memory",
                    Which::Reserved => "reserved",
                    Which::Owners => "owners",
                };
                write!(f, "memblock: {table} is doubled to {capacity} at {}", Bounds(range))
            }
            Self::MirrorExhausted { size } => {
                write!(f, "Could not allocate {size:#018x} bytes of mirrored memory")
            }
        }
    }
}

impl<A: PhysMap> Memblock<A> {
    /// From now on `listener` is told what happens.
    pub fn set_listener(&mut self, listener: Listener<A>, tell: Tell) {
        self.listener = Some((listener, tell));
    }

    /// Tells `event`, unless the `range` that it changes is empty.
    pub(super) fn tell(&self, range: PhysRange, event: Event) {
        if let Some((listener, Tell::Everything)) = self.listener.filter(|_| !range.is_empty()) {
            listener(self.access, event);
        }
    }

    /// Warns, once, that memory is mirrored but not enough of it.
    pub(super) fn tell_mirror_exhausted(&mut self, size: u64) {
        if let Some((listener, _)) = self.listener.filter(|_| !self.mirror_warned) {
            self.mirror_warned = true;
            listener(self.access, Event::MirrorExhausted { size });
        }
    }
}
