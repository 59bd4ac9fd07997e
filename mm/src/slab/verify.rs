//! Walks everything the slab allocator knows, and says what does not fit.
//!
//! Cache by cache, under its lock: the lists of partly used slabs (links, counts), and each slab's list of free objects
//! (links inside the slab, no circle, as many as the counts say). Then every slab of the machine, full ones too, by the
//! page allocator's records: each belongs to a cache, and together they are as many, with as many objects in use, as
//! the caches counted. Costs O(described frames + free objects).

use super::cache::{Cache, State};
use super::link::Objects;
use super::{NO_CACHE, Slab};
use crate::addr::{NodeId, Pfn};
use crate::arch::Arch;
use crate::model::MemoryModel;
use crate::model::page::{NO_LINK, Page, PageState};
use arrayvec::ArrayString;
use core::fmt;

/// What there is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SlabTotals {
    /// Caches.
    pub caches: u64,
    /// Slabs.
    pub slabs: u64,
    /// Objects handed out.
    pub objects: u64,
}

impl fmt::Display for SlabTotals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} caches, {} slabs, {} objects in use", self.caches, self.slabs, self.objects)
    }
}

/// What does not fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlabProblem {
    /// A slab on a list that is none of this cache, or a wrong link.
    List,
    /// A list with another number of slabs than was counted.
    ListCount {
        /// Slabs counted when they came and went.
        counted: u64,
        /// Slabs on the list.
        found: u64,
    },
    /// The list of free objects leads out of the slab, runs in a circle, or is not as long as it should be.
    FreeList,
    /// A link was found broken when it was followed.
    Broken,
    /// A slab of no cache.
    NoCache,
    /// The slabs of all caches, or their objects in use, are not as many as was counted.
    Totals {
        /// What the caches counted.
        counted: u64,
        /// What there is.
        found: u64,
    },
}

/// The first fault that was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlabFault {
    /// The cache; empty when it is about none.
    pub cache: ArrayString<32>,
    /// The slab, where it is about one.
    pub slab: Option<Pfn>,
    /// What is wrong.
    pub problem: SlabProblem,
}

impl fmt::Display for SlabFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cache {}", self.cache)?;
        if let Some(slab) = self.slab {
            write!(f, ", slab at frame {:#x}", slab.as_u64())?;
        }
        match self.problem {
            SlabProblem::List => f.write_str(": wrong slab or link on a list"),
            SlabProblem::ListCount { counted, found } => write!(f, ": {counted} slabs were counted, {found} are there"),
            SlabProblem::FreeList => f.write_str(": the list of free objects is damaged"),
            SlabProblem::Broken => f.write_str(": a link was overwritten"),
            SlabProblem::NoCache => f.write_str(": a slab of no cache"),
            SlabProblem::Totals { counted, found } => write!(f, ": {counted} were counted in all, {found} are there"),
        }
    }
}

impl core::error::Error for SlabFault {}

impl<A: Arch, M: MemoryModel<A>> Slab<A, M> {
    /// Walks everything. Nobody else may allocate or free meanwhile, or the totals may not add up.
    ///
    /// # Errors
    /// The first fault.
    pub fn verify(&self) -> Result<SlabTotals, SlabFault> {
        let mut counted = SlabTotals::default();
        for cache in self.registry.iter() {
            let state = cache.state.lock(self.access());
            for number in 0..state.nodes().len() {
                self.verify_list(cache, &state, NodeId::new(number as u16))?;
            }
            if state.broken > 0 {
                return Err(fault(cache, None, SlabProblem::Broken));
            }
            counted.caches += 1;
            counted.slabs += state.slabs();
            counted.objects += state.in_use;
        }
        let mut found = SlabTotals { caches: counted.caches, ..SlabTotals::default() };
        self.pages.try_for_each_block(&mut |pfn, page| {
            // A slab on its way back to the page allocator is of no cache for a moment.
            if page.head().state() == PageState::Slab && page.cache() != NO_CACHE {
                self.verify_slab(pfn, page)?;
                found.slabs += 1;
                found.objects += u64::from(page.slab_counts().in_use);
            }
            Ok(())
        })?;
        for (counted, found) in [(counted.slabs, found.slabs), (counted.objects, found.objects)] {
            if counted != found {
                let problem = SlabProblem::Totals { counted, found };
                return Err(SlabFault { cache: ArrayString::new(), slab: None, problem });
            }
        }
        Ok(found)
    }

    fn verify_list(&self, cache: &Cache, state: &State, node: NodeId) -> Result<(), SlabFault> {
        let Some(list) = state.nodes().get(node.index()) else { return Ok(()) };
        let (mut previous, mut at, mut found) = (NO_LINK, list.first, 0);
        while at != NO_LINK {
            let pfn = Pfn::new(at);
            let wrong = fault(cache, Some(pfn), SlabProblem::List);
            let page = self.pages.memmap().page(pfn).ok_or(wrong)?;
            let counts = page.slab_counts();
            let right = page.head().state() == PageState::Slab
                && page.cache() == cache.number
                && page.previous() == previous
                && self.node_of(page.head()) == node
                && counts.in_use < counts.objects;
            if !right || found == list.partial {
                return Err(wrong);
            }
            (previous, at) = (at, page.next());
            found += 1;
        }
        if found == list.partial {
            Ok(())
        } else {
            Err(fault(cache, None, SlabProblem::ListCount { counted: list.partial, found }))
        }
    }

    fn verify_slab(&self, pfn: Pfn, page: &Page) -> Result<(), SlabFault> {
        let none = SlabFault { cache: ArrayString::new(), slab: Some(pfn), problem: SlabProblem::NoCache };
        let cache = self.registry.get(page.cache()).ok_or(none)?;
        let _state = cache.state.lock(self.access());
        // SAFETY: a slab of this cache, whose lock is held.
        let objects = unsafe { Objects::new(self.access(), pfn, &cache.geometry) };
        let counts = page.slab_counts();
        let free = objects.count(page.first_object());
        if counts.objects == cache.geometry.objects && free == counts.objects.checked_sub(counts.in_use) {
            Ok(())
        } else {
            Err(fault(cache, Some(pfn), SlabProblem::FreeList))
        }
    }
}

fn fault(cache: &Cache, slab: Option<Pfn>, problem: SlabProblem) -> SlabFault {
    SlabFault { cache: cache.name, slab, problem }
}
