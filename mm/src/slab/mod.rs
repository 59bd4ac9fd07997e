//! The slab allocator: objects smaller than a page, and everything that `kmalloc` serves.
//!
//! The buddy hands out pages; a kernel asks for 40 bytes. A *cache* cuts blocks of pages, its slabs, into objects of
//! one size, keeps the free ones on a list that runs through their own first words, and finds a freed object's slab
//! from its address: address → frame → record → head of the slab → number of the cache. So an object carries no
//! header, and 64 bytes cost 64 bytes.
//!
//! | file | holds |
//! |---|---|
//! | `geometry` | how large a slab is |
//! | `link` | the list of free objects inside a slab |
//! | `cache` | one cache: its slabs, node by node |
//! | `registry` | number → cache |
//! | `kmalloc` | sizes → caches; large blocks; `allocate` and `deallocate` behind `GlobalAlloc` |
//! | `info` | numbers for views, and whose object an address is |
//! | `verify` | walks everything |
//!
//! Descriptors of caches are objects of the cache `kmem_cache`, whose own descriptor is the first object of its first
//! slab; so there is no limit on the number of caches.
//!
//! Locks: one per cache, then the zone's inside the page allocator; no slab is made or given back while a cache's lock
//! is held. Costs: O(1) per call, one lock; no memory beside the objects but 32 bytes a page.
//!
//! Linux: `mm/slub.c`, `mm/slab_common.c`.

mod cache;
mod error;
pub mod geometry;
mod info;
mod kmalloc;
mod link;
mod registry;
mod verify;

pub use error::{KfreeError, SlabError};
pub use info::{CacheInfo, ObjectInfo, ObjectState};
pub use verify::{SlabFault, SlabProblem, SlabTotals};

use crate::addr::{NodeId, Pfn, PhysAddr};
use crate::arch::Arch;
use crate::model::page::{Head, NO_OBJECT, Page, PageState, SlabCounts, block_head};
use crate::model::{MemoryModel, Vmemmap};
use crate::page_alloc::{Gfp, NodeWish, PageAllocator};
use crate::sync::IrqLock;
use crate::zone::ZoneKind;
use arrayvec::ArrayString;
use cache::{AfterFree, Cache, NAME_BYTES, NodeSlabs, State};
use core::fmt;
use core::ptr::NonNull;
use geometry::Geometry;
use link::Objects;
use registry::Registry;

/// In the record of a slab that is being given back: of no cache any more.
const NO_CACHE: u32 = u32::MAX;

/// A cache's number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(transparent)]
pub struct CacheId(u32);

impl CacheId {
    /// The cache of cache descriptors.
    pub const KMEM_CACHE: Self = Self(0);
}

/// All caches.
pub struct Slab<A, M = Vmemmap<A>> {
    pages: PageAllocator<A, M>,
    registry: Registry,
    /// Held while a cache is made.
    creating: IrqLock<()>,
    cpus: u32,
}

// SAFETY: caches are reached through shared references and change behind their locks; the registry is atomics; the
// handle of the page allocator says for itself what it can.
unsafe impl<A: Send + Sync, M: Send + Sync> Send for Slab<A, M> {}
// SAFETY: as above.
unsafe impl<A: Send + Sync, M: Send + Sync> Sync for Slab<A, M> {}

/// A slab, as its pages say.
struct SlabPage<'p> {
    pfn: Pfn,
    page: &'p Page,
    node: NodeId,
}

impl<A: Arch, M: MemoryModel<A>> Slab<A, M> {
    /// The allocator with `kmem_cache` and the caches of `kmalloc`. There is one on the pages of a machine: a slab's
    /// record names its cache by a number, which another would take for a cache of its own.
    ///
    /// # Errors
    /// [`SlabError::Pages`] when there is no memory for the first slab, [`SlabError::Taken`] the second time.
    pub fn new(pages: PageAllocator<A, M>) -> Result<Self, SlabError> {
        if !pages.claim_for_slab() {
            return Err(SlabError::Taken);
        }
        let cpus = pages.nodes().cpus().len().max(1) as u32;
        let slab = Self { pages, registry: Registry::new(), creating: IrqLock::new(()), cpus };
        slab.bootstrap()?;
        slab.create_kmalloc_caches()?;
        Ok(slab)
    }

    fn access(&self) -> A {
        self.pages.access()
    }

    /// The page allocator below.
    #[must_use]
    pub fn page_allocator(&self) -> PageAllocator<A, M> {
        self.pages
    }

    /// Nodes that a cache keeps lists for.
    fn node_count(&self) -> usize {
        self.pages.nodes().id_limit().max(1)
    }

    /// Bytes of a descriptor with its lists.
    fn descriptor_bytes(&self) -> usize {
        size_of::<Cache>() + self.node_count() * size_of::<NodeSlabs>()
    }

    /// Makes `kmem_cache` out of its own first slab.
    fn bootstrap(&self) -> Result<(), SlabError> {
        let size = self.descriptor_bytes() as u64;
        let geometry = self.geometry(size, align_of::<Cache>().max(64) as u64)?;
        let slab = self.new_slab(&geometry, CacheId::KMEM_CACHE.0, Gfp::KERNEL)?;
        // SAFETY: the slab was just made with this geometry, and nobody else knows it.
        let objects = unsafe { Objects::new(self.access(), slab.pfn, &geometry) };
        let memory = self.access().phys_ptr(objects.address(0));
        let next = objects.next(0);
        slab.page.set_first_object(match next {
            link::Link::To(next) => next,
            link::Link::Broken => NO_OBJECT,
        });
        slab.page.set_slab_counts(SlabCounts { in_use: 1, objects: geometry.objects });
        // SAFETY: the first object was taken off the list right above, is as large as a descriptor and aligned for it.
        let cache = unsafe { self.write_descriptor(memory, "kmem_cache", size as u32, geometry) };
        // SAFETY: the descriptor lies in an object that is never freed; nobody else creates a cache yet.
        let added = unsafe { self.registry.add(cache) };
        let cache = self.registry.get(CacheId::KMEM_CACHE.0).filter(|_| added).ok_or(SlabError::NoCache)?;
        let mut state = cache.state.lock(self.access());
        state.in_use = 1;
        if let Some(list) = state.node_mut(slab.node) {
            list.slabs = 1;
        }
        if slab.page.first_object() != NO_OBJECT {
            state.link(self.pages.memmap(), slab.node, slab.pfn);
        }
        Ok(())
    }

    fn geometry(&self, size: u64, align: u64) -> Result<Geometry, SlabError> {
        Geometry::of(size, align, self.cpus, A::PAGE_SHIFT).ok_or(SlabError::TooLarge { size, align })
    }

    /// Writes the descriptor of the next cache, and its lists behind it.
    ///
    /// # Safety
    /// `memory` leads to [`Slab::descriptor_bytes`] bytes, aligned to 64, of nobody else.
    unsafe fn write_descriptor(
        &self,
        memory: *mut u8,
        name: &str,
        object_size: u32,
        geometry: Geometry,
    ) -> NonNull<Cache> {
        let mut short = ArrayString::<NAME_BYTES>::new();
        // A longer name is cut.
        name.chars().take_while(|&letter| short.try_push(letter).is_ok()).for_each(drop);
        let count = self.node_count();
        let cache = memory.cast::<Cache>();
        // SAFETY: the lists follow the descriptor inside the memory, whose size the caller promises; a descriptor is at
        // least as aligned as a list, so its size is a multiple of a list's alignment.
        unsafe {
            let nodes = cache.add(1).cast::<NodeSlabs>();
            (0..count).for_each(|node| nodes.add(node).write(NodeSlabs::NONE));
            let state = State::new(NonNull::new_unchecked(nodes), count);
            let number = self.registry.count();
            cache.write(Cache { name: short, number, object_size, geometry, state: IrqLock::new(state) });
            NonNull::new_unchecked(cache)
        }
    }

    /// Makes a cache for objects of `size` bytes, aligned to `align`.
    ///
    /// # Errors
    /// [`SlabError`]: too large, no memory for the descriptor, or too many caches.
    pub fn create(&self, name: &str, size: u64, align: u64) -> Result<CacheId, SlabError> {
        let geometry = self.geometry(size, align)?;
        // Memory comes first: no slab is made while the lock is held.
        let memory = self.alloc(CacheId::KMEM_CACHE)?;
        let created = self.register(memory, name, size as u32, geometry);
        if created.is_err() {
            // SAFETY: nobody else knows the object.
            let freed = unsafe { self.free(CacheId::KMEM_CACHE, memory.as_ptr()) };
            debug_assert!(freed.is_ok(), "an unused descriptor is not taken back: {freed:?}");
        }
        created
    }

    /// Makes the object at `memory`, of `kmem_cache` and nobody else's, the descriptor of the next cache.
    fn register(
        &self,
        memory: NonNull<u8>,
        name: &str,
        object_size: u32,
        geometry: Geometry,
    ) -> Result<CacheId, SlabError> {
        loop {
            self.provide_table()?;
            let _creating = self.creating.lock(self.access());
            if self.registry.missing_table().is_some() {
                // Others were faster and filled the table.
                continue;
            }
            // SAFETY: the object is as large and as aligned as `kmem_cache` was made for, and nobody else's.
            let cache = unsafe { self.write_descriptor(memory.as_ptr(), name, object_size, geometry) };
            let number = self.registry.count();
            // SAFETY: the object is not freed once this worked; the lock keeps others away.
            let added = unsafe { self.registry.add(cache) };
            return if added { Ok(CacheId(number)) } else { Err(SlabError::TooManyCaches) };
        }
    }

    /// Makes the table in which the next cache will stand, if it is not there.
    fn provide_table(&self) -> Result<(), SlabError> {
        let Some(bytes) = self.registry.missing_table() else { return Ok(()) };
        let table = self.kmalloc_with(bytes, 8, Gfp::KERNEL.zeroed())?;
        {
            let _creating = self.creating.lock(self.access());
            if self.registry.missing_table() == Some(bytes) {
                // SAFETY: zeroed memory of the asked size that is never freed; the lock keeps others away.
                unsafe { self.registry.set_table(table) };
                return Ok(());
            }
        }
        // SAFETY: others were faster, so nobody knows this one.
        let freed = unsafe { self.kfree(table.as_ptr()) };
        debug_assert!(freed.is_ok(), "an unused table is not taken back: {freed:?}");
        Ok(())
    }

    /// The node of the pages of a block.
    fn node_of(&self, head: Head) -> NodeId {
        self.pages.zones().spans().get(head.zone().index()).map_or(NodeId::default(), |span| span.node)
    }

    /// A slab with all objects free, on no list yet.
    fn new_slab(&self, geometry: &Geometry, cache: u32, gfp: Gfp) -> Result<SlabPage<'_>, SlabError> {
        let pfn = self.pages.alloc_as(geometry.order, gfp, PageState::Slab)?;
        let map = self.pages.memmap();
        let page = map.page(pfn).ok_or(SlabError::NoCache)?;
        let tail = page.head().with_state(PageState::Tail);
        let behind = (1..geometry.order.frames()).map(|offset| pfn.saturating_add(offset));
        behind.filter_map(|pfn| map.page(pfn)).for_each(|page| page.set_head(tail));
        // SAFETY: the block was just handed out, is as large as the geometry says, and nobody else's.
        let first = unsafe { Objects::new(self.access(), pfn, geometry) }.fill();
        page.set_cache(cache);
        page.set_first_object(first);
        page.set_slab_counts(SlabCounts { in_use: 0, objects: geometry.objects });
        Ok(SlabPage { pfn, page, node: self.node_of(page.head()) })
    }

    /// Gives the pages of an empty slab back that stands on no list.
    fn release_slab(&self, pfn: Pfn, geometry: &Geometry) {
        let map = self.pages.memmap();
        let behind = (1..geometry.order.frames()).map(|offset| pfn.saturating_add(offset));
        behind.filter_map(|pfn| map.page(pfn)).for_each(|page| page.set_head(Head::ZERO));
        let freed = self.pages.free_as(pfn, geometry.order, PageState::Slab);
        debug_assert!(freed.is_ok(), "an empty slab is not taken back: {freed:?}");
    }

    /// Hands out an object of `cache`.
    ///
    /// # Errors
    /// [`SlabError`].
    pub fn alloc(&self, cache: CacheId) -> Result<NonNull<u8>, SlabError> {
        self.alloc_with(cache, Gfp::KERNEL)
    }

    /// Hands out an object of `cache`, with a new slab as `gfp` asks if one must be made. Its zone is Normal: whoever
    /// needs another has [`Slab::kmalloc_with`] or pages.
    ///
    /// # Errors
    /// [`SlabError`].
    pub fn alloc_with(&self, cache: CacheId, gfp: Gfp) -> Result<NonNull<u8>, SlabError> {
        if gfp.zone != ZoneKind::Normal {
            return Err(SlabError::Zone(gfp.zone));
        }
        let cache = self.registry.get(cache.0).ok_or(SlabError::NoCache)?;
        let node = match gfp.node {
            NodeWish::Any => self.pages.current_node(),
            NodeWish::Prefer(node) | NodeWish::Only(node) => node,
        };
        let address = match self.take_partial(cache, Some(node)) {
            Some(address) => address,
            None => self.take_from_new(cache, node, gfp)?,
        };
        let pointer = self.access().phys_ptr(address);
        if gfp.contents == crate::page_alloc::Contents::Zeroed {
            // SAFETY: the object is nobody else's yet, and as large as its cache says.
            unsafe { pointer.write_bytes(0, cache.object_size as usize) };
        }
        NonNull::new(pointer).ok_or(SlabError::NoCache)
    }

    /// An object of a slab that is there: on `node`, or on any.
    fn take_partial(&self, cache: &Cache, node: Option<NodeId>) -> Option<PhysAddr> {
        let mut state = cache.state.lock(self.access());
        let (node, pfn) = match node {
            Some(node) => (node, state.partial(node)?),
            None => state.any_partial()?,
        };
        let offset = cache.take(&mut state, self.pages.memmap(), self.access(), node, pfn)?;
        Some(pfn.address(A::PAGE_SHIFT).saturating_add(u64::from(offset)))
    }

    /// An object of a new slab; when there are no pages, of any slab that has one.
    fn take_from_new(&self, cache: &Cache, node: NodeId, gfp: Gfp) -> Result<PhysAddr, SlabError> {
        let pages = Gfp { contents: crate::page_alloc::Contents::Any, ..gfp };
        let slab = match self.new_slab(&cache.geometry, cache.number, pages) {
            Ok(slab) => slab,
            Err(error) => {
                let wish = matches!(gfp.node, NodeWish::Only(_)).then_some(node);
                return self.take_partial(cache, wish).ok_or(error);
            }
        };
        let mut state = cache.state.lock(self.access());
        if let Some(list) = state.node_mut(slab.node) {
            list.slabs += 1;
        }
        let map = self.pages.memmap();
        state.link(map, slab.node, slab.pfn);
        let offset = cache.take(&mut state, map, self.access(), slab.node, slab.pfn).ok_or(SlabError::NoCache)?;
        Ok(slab.pfn.address(A::PAGE_SHIFT).saturating_add(u64::from(offset)))
    }

    /// The slab or large block that holds `address`.
    fn block_at(&self, address: PhysAddr) -> Option<(Pfn, &Page)> {
        let map = self.pages.memmap();
        let pfn = Pfn::containing(address, A::PAGE_SHIFT);
        let page = map.page(pfn)?;
        let head = page.head();
        if head.state() != PageState::Tail {
            return Some((pfn, page));
        }
        let pfn = block_head(pfn, head.order());
        Some((pfn, map.page(pfn)?))
    }

    /// Takes back an object of `cache`.
    ///
    /// # Errors
    /// [`KfreeError`] says why that cannot be right; then nothing has changed.
    ///
    /// # Safety
    /// If `object` is an object that is handed out, the caller gives it up: nobody uses its memory any more.
    pub unsafe fn free(&self, cache: CacheId, object: *mut u8) -> Result<(), KfreeError> {
        let address = self.access().ptr_phys(object).ok_or(KfreeError::NotAnObject)?;
        let (pfn, page) = self.block_at(address).ok_or(KfreeError::NotAnObject)?;
        match page.head().state() {
            PageState::Slab if page.cache() == cache.0 => self.free_object(address, pfn, page),
            PageState::Slab | PageState::Large => Err(KfreeError::WrongCache),
            _ => Err(KfreeError::NotAnObject),
        }
    }

    /// Takes back the object at `address` in the slab at `pfn`.
    fn free_object(&self, address: PhysAddr, pfn: Pfn, page: &Page) -> Result<(), KfreeError> {
        let number = page.cache();
        let cache = self.registry.get(number).ok_or(KfreeError::NotAnObject)?;
        let mut state = cache.state.lock(self.access());
        // A slab leaves its cache under the lock: whoever frees twice may come too late.
        let head = page.head();
        if head.state() != PageState::Slab || page.cache() != number {
            return Err(KfreeError::NotAnObject);
        }
        // SAFETY: a slab of this cache, whose lock is held.
        let objects = unsafe { Objects::new(self.access(), pfn, &cache.geometry) };
        let Some(offset) = objects.offset_of(address) else {
            let start = pfn.address(A::PAGE_SHIFT);
            return Err(KfreeError::Misaligned { offset: address.checked_sub(start).unwrap_or(0) });
        };
        let first = page.first_object();
        let free = page.slab_counts().in_use == 0
            || first == offset
            || (objects.looks_free(offset) && objects.list_holds(first, offset));
        if free {
            return Err(KfreeError::DoubleFree);
        }
        let slab = (self.node_of(head), pfn, page);
        let after = cache.give(&mut state, self.pages.memmap(), self.access(), slab, offset);
        if after == AfterFree::Release {
            page.set_cache(NO_CACHE);
            drop(state);
            self.release_slab(pfn, &cache.geometry);
        }
        Ok(())
    }

    /// Gives every slab without objects in use back to the page allocator. Linux: `kmem_cache_shrink`.
    pub fn shrink(&self) {
        for cache in self.registry.iter() {
            for number in 0..self.node_count() {
                let node = NodeId::new(number as u16);
                while let Some(pfn) = self.take_empty(cache, node) {
                    self.release_slab(pfn, &cache.geometry);
                }
            }
        }
    }

    /// Takes a slab without objects in use off its list.
    fn take_empty(&self, cache: &Cache, node: NodeId) -> Option<Pfn> {
        let map = self.pages.memmap();
        let mut state = cache.state.lock(self.access());
        let mut at = state.partial(node);
        while let Some(pfn) = at {
            let page = map.page(pfn)?;
            if page.slab_counts().in_use == 0 {
                state.unlink(map, node, page);
                let list = state.node_mut(node)?;
                list.slabs = list.slabs.saturating_sub(1);
                page.set_cache(NO_CACHE);
                return Some(pfn);
            }
            let next = page.next();
            at = (next != crate::model::page::NO_LINK).then(|| Pfn::new(next));
        }
        None
    }
}

impl<A: Arch, M: MemoryModel<A>> fmt::Debug for Slab<A, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.registry.iter().map(|cache| cache.name)).finish()
    }
}
