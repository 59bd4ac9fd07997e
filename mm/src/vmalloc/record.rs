//! Where the records of areas lie: pages cut into nodes, with the free ones in a list.
//!
//! The pages are the allocator's own, since a slab would have to be reached from here, and it is a neighbour, not
//! below. They are kept for good, as tables are: so a reference always leads to a node, in use or free, and there are
//! as many as the most areas that there ever were at once needed. 30 areas a page with 4 KiB pages.
//!
//! The pages of an area need no record: each frame's own record has room for its holder, and holds the number of the
//! next frame.

use super::area::Area;
use super::tree::{Links, Store};
use crate::addr::Order;
use crate::arch::Arch;
use crate::layout::VirtRange;
use crate::model::{MemoryModel, PageState};
use crate::page_alloc::{AllocError, Gfp, PageAllocator};
use core::ptr::NonNull;

/// A node. It is only made by [`Records`], and only used with the one that made it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ref(NonNull<Node>);

/// A record: its place in the tree, and the area.
struct Node {
    links: Links<Ref>,
    area: Area,
}

const _: () = assert!(size_of::<Node>() == 136);

/// The nodes of one allocator.
pub(super) struct Records<A, M> {
    pages: PageAllocator<A, M>,
    free: Option<Ref>,
    page_count: u64,
}

impl<A: Arch, M: MemoryModel<A>> Records<A, M> {
    /// None yet.
    pub(super) const fn new(pages: PageAllocator<A, M>) -> Self {
        Self { pages, free: None, page_count: 0 }
    }

    /// Pages that hold nodes.
    pub(super) const fn page_count(&self) -> u64 {
        self.page_count
    }

    /// A node for `area`, which takes `range`.
    pub(super) fn take(&mut self, range: VirtRange, area: Area) -> Result<Ref, AllocError> {
        let node = match self.free {
            Some(node) => node,
            None => self.grow()?,
        };
        self.free = self.area(node).next;
        *self.links_mut(node) = Links::new(range);
        *self.area_mut(node) = area;
        Ok(node)
    }

    /// Takes a node back that nobody uses any more.
    pub(super) fn give(&mut self, node: Ref) {
        *self.area_mut(node) = Area { next: self.free, ..Area::NONE };
        self.free = Some(node);
    }

    /// Cuts one more page into free nodes, and returns the first of them.
    fn grow(&mut self) -> Result<Ref, AllocError> {
        let pfn = self.pages.alloc_as(Order::default(), Gfp::KERNEL, PageState::Vmalloc)?;
        let first = self.pages.access().phys_ptr(pfn.address(A::PAGE_SHIFT)).cast::<Node>();
        let node = |number: usize| {
            // SAFETY: the number is less than the nodes that fit into a page, all of which `first` reaches; no pointer
            // into RAM is null.
            Ref(unsafe { NonNull::new_unchecked(first.add(number)) })
        };
        let count = A::PAGE_SIZE as usize / size_of::<Node>();
        for number in (0..count).rev() {
            let at = node(number);
            let area = Area { next: self.free, ..Area::NONE };
            // SAFETY: the page was just handed out to this allocator for good, is aligned far beyond a node, and the
            // node lies inside it.
            unsafe { at.0.write(Node { links: Links::new(VirtRange::EMPTY), area }) };
            self.free = Some(at);
        }
        self.page_count += 1;
        Ok(node(0))
    }

    /// The area of a node.
    pub(super) fn area(&self, node: Ref) -> &Area {
        &self.node(node).area
    }

    pub(super) fn area_mut(&mut self, node: Ref) -> &mut Area {
        &mut self.node_mut(node).area
    }

    fn node(&self, node: Ref) -> &Node {
        // SAFETY: a `Ref` leads to a node that `grow` wrote, in a page that never goes back, of these records. They
        // are reached through this value only: while it is borrowed, nobody has a mutable reference.
        unsafe { node.0.as_ref() }
    }

    fn node_mut(&mut self, mut node: Ref) -> &mut Node {
        // SAFETY: as above; it is borrowed mutably, so there is no other reference.
        unsafe { node.0.as_mut() }
    }
}

impl<A: Arch, M: MemoryModel<A>> Store<Ref> for Records<A, M> {
    fn links(&self, node: Ref) -> &Links<Ref> {
        &self.node(node).links
    }

    fn links_mut(&mut self, node: Ref) -> &mut Links<Ref> {
        &mut self.node_mut(node).links
    }
}
