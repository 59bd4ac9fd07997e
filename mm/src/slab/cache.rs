//! One cache: objects of one size, in slabs, with a list of partly used slabs for each node.
//!
//! A slab with free objects stands on its node's list, a full one on none. Objects are taken from the first slab of
//! the list and given back to the slab they lie in, so slabs fill up before new ones are made. A slab without objects
//! in use goes back to the page allocator once its node's list is long enough. The per-CPU path comes in front of
//! these lists: it takes a slab's whole list of free objects at once and gives full batches back through the same lock.
//!
//! The descriptor lies in an object of the cache `kmem_cache`, its per-node lists right behind it.
//!
//! Linux: `struct kmem_cache`, `struct kmem_cache_node`, `get_partial_node`, `__slab_free` in `mm/slub.c`.

use super::geometry::Geometry;
use super::link::{Link, Objects};
use crate::addr::{NodeId, Pfn};
use crate::arch::Arch;
use crate::model::Memmap;
use crate::model::page::{NO_LINK, NO_OBJECT, Page, SlabCounts};
use crate::sync::IrqLock;
use arrayvec::ArrayString;
use core::ptr::NonNull;
use core::slice;

/// Bytes of a cache's name; longer ones are cut.
pub(super) const NAME_BYTES: usize = 32;

/// A cache.
pub(super) struct Cache {
    pub(super) name: ArrayString<NAME_BYTES>,
    pub(super) number: u32,
    /// Bytes that were asked for.
    pub(super) object_size: u32,
    pub(super) geometry: Geometry,
    pub(super) state: IrqLock<State>,
}

/// The slabs of a cache on one node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(super) struct NodeSlabs {
    /// Frame number of the first slab with free objects, or [`NO_LINK`].
    pub(super) first: u64,
    /// Slabs with free objects.
    pub(super) partial: u64,
    /// All slabs.
    pub(super) slabs: u64,
}

impl NodeSlabs {
    pub(super) const NONE: Self = Self { first: NO_LINK, partial: 0, slabs: 0 };
}

/// What the lock of a cache guards.
pub(super) struct State {
    /// Objects handed out.
    pub(super) in_use: u64,
    /// Slabs of which a link was found broken. What was left of their lists is given up.
    pub(super) broken: u64,
    nodes: NonNull<NodeSlabs>,
    node_count: usize,
}

// SAFETY: the pointer leads to the lists right behind the descriptor, which belong to the state as if they were a
// field.
unsafe impl Send for State {}

impl State {
    /// No slabs.
    ///
    /// # Safety
    /// `nodes` leads to `node_count` initialised items that are the state's alone from now on.
    pub(super) unsafe fn new(nodes: NonNull<NodeSlabs>, node_count: usize) -> Self {
        Self { in_use: 0, broken: 0, nodes, node_count }
    }

    /// The lists of all nodes, by number.
    pub(super) fn nodes(&self) -> &[NodeSlabs] {
        // SAFETY: as `new` says; `&self` keeps writers away.
        unsafe { slice::from_raw_parts(self.nodes.as_ptr(), self.node_count) }
    }

    pub(super) fn node_mut(&mut self, node: NodeId) -> Option<&mut NodeSlabs> {
        // SAFETY: as `new` says; `&mut self` keeps everybody else away.
        unsafe { slice::from_raw_parts_mut(self.nodes.as_ptr(), self.node_count) }.get_mut(node.index())
    }

    /// All slabs.
    pub(super) fn slabs(&self) -> u64 {
        self.nodes().iter().map(|node| node.slabs).sum()
    }

    /// The first slab with free objects on `node`.
    pub(super) fn partial(&self, node: NodeId) -> Option<Pfn> {
        let first = self.nodes().get(node.index())?.first;
        (first != NO_LINK).then(|| Pfn::new(first))
    }

    /// The first slab with free objects on any node.
    pub(super) fn any_partial(&self) -> Option<(NodeId, Pfn)> {
        let (number, node) = (0..).zip(self.nodes()).find(|(_, node)| node.first != NO_LINK)?;
        Some((NodeId::new(number), Pfn::new(node.first)))
    }

    /// Puts a slab onto the list of its node.
    pub(super) fn link(&mut self, map: &impl Memmap, node: NodeId, pfn: Pfn) {
        let (Some(list), Some(page)) = (self.node_mut(node), map.page(pfn)) else { return };
        page.set_previous(NO_LINK);
        page.set_next(list.first);
        if list.first != NO_LINK
            && let Some(second) = map.page(Pfn::new(list.first))
        {
            second.set_previous(pfn.as_u64());
        }
        list.first = pfn.as_u64();
        list.partial += 1;
    }

    /// Takes a slab off the list of its node.
    pub(super) fn unlink(&mut self, map: &impl Memmap, node: NodeId, page: &Page) {
        let Some(list) = self.node_mut(node) else { return };
        let (previous, next) = (page.previous(), page.next());
        if previous == NO_LINK {
            list.first = next;
        } else if let Some(previous) = map.page(Pfn::new(previous)) {
            previous.set_next(next);
        }
        if next != NO_LINK
            && let Some(next) = map.page(Pfn::new(next))
        {
            next.set_previous(previous);
        }
        list.partial = list.partial.saturating_sub(1);
    }
}

/// Whether a slab that just got an object back should go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum AfterFree {
    /// It stays.
    Keep,
    /// It is empty and was taken off its list: it belongs to the caller, who gives its pages back.
    Release,
}

impl Cache {
    /// Takes the first free object of the slab at `pfn`, which stands on the list of `node`. Returns its offset.
    pub(super) fn take<A: Arch>(
        &self,
        state: &mut State,
        map: &impl Memmap,
        access: A,
        node: NodeId,
        pfn: Pfn,
    ) -> Option<u32> {
        let page = map.page(pfn)?;
        let offset = page.first_object();
        let SlabCounts { in_use, objects } = page.slab_counts();
        debug_assert!(offset != NO_OBJECT && in_use < objects, "a full slab on a list");
        // SAFETY: a slab on a list of this cache, whose lock is held.
        let slab = unsafe { Objects::new(access, pfn, &self.geometry) };
        let next = match slab.next(offset) {
            Link::To(next) => next,
            Link::Broken => {
                // Whoever wrote into the free object took the rest of the list with it.
                state.broken += 1;
                NO_OBJECT
            }
        };
        page.set_first_object(next);
        page.set_slab_counts(SlabCounts { in_use: in_use + 1, objects });
        state.in_use += 1;
        if next == NO_OBJECT {
            state.unlink(map, node, page);
        }
        Some(offset)
    }

    /// Gives the object at `offset` of the slab at `pfn` back. The caller knows that it is not free.
    pub(super) fn give<A: Arch>(
        &self,
        state: &mut State,
        map: &impl Memmap,
        access: A,
        (node, pfn, page): (NodeId, Pfn, &Page),
        offset: u32,
    ) -> AfterFree {
        let first = page.first_object();
        let SlabCounts { in_use, objects } = page.slab_counts();
        // SAFETY: a slab of this cache, whose lock is held.
        unsafe { Objects::new(access, pfn, &self.geometry) }.set_next(offset, first);
        page.set_first_object(offset);
        page.set_slab_counts(SlabCounts { in_use: in_use - 1, objects });
        state.in_use = state.in_use.saturating_sub(1);
        if first == NO_OBJECT {
            state.link(map, node, pfn);
        }
        let enough =
            state.nodes().get(node.index()).is_some_and(|node| node.partial > u64::from(self.geometry.min_partial));
        if in_use == 1 && enough {
            state.unlink(map, node, page);
            if let Some(list) = state.node_mut(node) {
                list.slabs = list.slabs.saturating_sub(1);
            }
            return AfterFree::Release;
        }
        AfterFree::Keep
    }
}
