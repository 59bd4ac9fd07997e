//! Numbers of the caches, and whose object an address is.

use super::link::Objects;
use super::{Cache, CacheId, Slab};
use crate::addr::{NodeId, PhysAddr};
use crate::arch::Arch;
use crate::model::MemoryModel;
use crate::model::page::PageState;
use arrayvec::ArrayString;
use core::fmt;

/// What `/proc/slabinfo` says of a cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CacheInfo<'c> {
    /// Its name.
    pub name: &'c str,
    /// Objects handed out.
    pub active_objects: u64,
    /// Objects of all its slabs.
    pub objects: u64,
    /// Bytes from one object to the next.
    pub object_size: u32,
    /// Objects of one slab.
    pub objects_per_slab: u32,
    /// Pages of one slab.
    pub pages_per_slab: u64,
    /// Slabs.
    pub slabs: u64,
}

/// The object at an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ObjectInfo {
    /// The name of its cache.
    pub cache: ArrayString<32>,
    /// Which object of its slab.
    pub number: u32,
    /// Its first byte.
    pub start: PhysAddr,
    /// Its bytes.
    pub size: u32,
    /// Whether somebody holds it.
    pub state: ObjectState,
}

/// Whether somebody holds an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ObjectState {
    /// It is handed out.
    InUse,
    /// It is on its slab's list of free objects.
    Free,
}

impl fmt::Display for ObjectInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            ObjectState::InUse => "in use",
            ObjectState::Free => "free",
        };
        write!(
            f,
            "object {} of its slab in {}, {} bytes at {:#x}, {state}",
            self.number, self.cache, self.size, self.start
        )
    }
}

impl<A: Arch, M: MemoryModel<A>> Slab<A, M> {
    /// Calls `each` with the numbers of every cache until one fails.
    ///
    /// # Errors
    /// The first of `each`.
    pub fn for_each_cache<E>(&self, each: &mut dyn FnMut(&CacheInfo<'_>) -> Result<(), E>) -> Result<(), E> {
        self.registry.iter().try_for_each(|cache| each(&self.cache_info(cache)))
    }

    /// The first cache with this name.
    #[must_use]
    pub fn find_cache(&self, name: &str) -> Option<CacheId> {
        self.registry.iter().find(|cache| &cache.name == name).map(|cache| CacheId(cache.number))
    }

    fn cache_info<'c>(&self, cache: &'c Cache) -> CacheInfo<'c> {
        let state = cache.state.lock(self.access());
        let slabs = state.slabs();
        CacheInfo {
            name: &cache.name,
            active_objects: state.in_use,
            objects: slabs * u64::from(cache.geometry.objects),
            object_size: cache.geometry.stride,
            objects_per_slab: cache.geometry.objects,
            pages_per_slab: cache.geometry.order.frames(),
            slabs,
        }
    }

    /// Pages of all slabs.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.registry.iter().map(|cache| cache.state.lock(self.access()).slabs() * cache.geometry.order.frames()).sum()
    }

    /// Pages of the slabs on one node.
    #[must_use]
    pub fn pages_on(&self, node: NodeId) -> u64 {
        let slabs = |cache: &Cache| {
            let state = cache.state.lock(self.access());
            state.nodes().get(node.index()).map_or(0, |list| list.slabs) * cache.geometry.order.frames()
        };
        self.registry.iter().map(slabs).sum()
    }

    /// The object that holds `address`; `None` outside of slabs, and behind the last object of one.
    #[must_use]
    pub fn object_at(&self, address: PhysAddr) -> Option<ObjectInfo> {
        let (pfn, page) = self.block_at(address)?;
        if page.head().state() != PageState::Slab {
            return None;
        }
        let number = page.cache();
        let cache = self.registry.get(number)?;
        let state = cache.state.lock(self.access());
        if page.head().state() != PageState::Slab || page.cache() != number {
            return None;
        }
        let start = pfn.address(A::PAGE_SHIFT);
        let size = cache.geometry.stride;
        let object = u32::try_from(address.checked_sub(start)?).ok()? / size;
        // SAFETY: a slab of this cache, whose lock is held.
        let objects = unsafe { Objects::new(self.access(), pfn, &cache.geometry) };
        let begin = start.saturating_add(u64::from(object * size));
        let offset = objects.offset_of(begin)?;
        let free = objects.list_holds(page.first_object(), offset);
        drop(state);
        let state = if free { ObjectState::Free } else { ObjectState::InUse };
        Some(ObjectInfo { cache: cache.name, number: object, start: begin, size, state })
    }
}
