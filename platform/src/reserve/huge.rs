//! Large pages set aside at boot.
//!
//! Each is as large as one leaf of the page tables above pages, or as a run of leaves that the CPU treats as one, and
//! lies on its size. `hugepages=N` goes round the nodes; where the next node has no room another one serves.
//! `hugepages=NODE:N,NODE:N` takes from those nodes or not at all; where one of them is not there, the whole of it is
//! void. Linux takes 1 GiB pages from memblock and lets the page
//! allocator find the smaller ones later; here all come from memblock, and are not given back. A part of memory is left
//! alone, or there would be a machine of large pages with no kernel to use them: as much as the memory map of
//! everything needs, and a thirty-second of all memory. Linux: `hugetlb_hstate_alloc_pages`, `report_hugepages` in
//! mm/hugetlb.c.

use crate::options::{HugeRequest, Options};
use crate::plan::Listener;
use arrayvec::ArrayVec;
use core::fmt;
use mm::addr::{NodeId, PhysRange};
use mm::arch::{PageFormat, PhysMap};
use mm::machine::{Owner, Problem, Rules, Source, Table, Warning};
use mm::memblock::{Direction, MemblockError, NodeWish, Request};
use mm::paging::Level;
use mm::zone::Zones;

/// Sizes that a machine has at most.
const MOST_SIZES: usize = 4;
/// This part of all memory is never taken …
const LEFT_SHARE: u64 = 32;
/// … and never less than this is left.
const LEAST_LEFT: u64 = 16 << 20;

/// Pages of one size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HugePool {
    /// Bytes of a page.
    pub size: u64,
    /// How many are set aside.
    pub pages: u64,
}

/// Large pages set aside.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct HugePages {
    /// By size, in the order in which Linux knows them.
    pools: ArrayVec<HugePool, MOST_SIZES>,
    default: u64,
}

impl HugePages {
    /// By size.
    #[must_use]
    pub fn pools(&self) -> &[HugePool] {
        &self.pools
    }

    /// The pages of the default size.
    #[must_use]
    pub fn of_default_size(&self) -> HugePool {
        let found = self.pools.iter().find(|pool| pool.size == self.default);
        found.copied().unwrap_or(HugePool { size: self.default, pages: 0 })
    }

    /// Bytes of all of them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.pools.iter().map(|pool| pool.size * pool.pages).sum()
    }

    fn pool(&mut self, size: u64) -> Option<&mut HugePool> {
        self.pools.iter_mut().find(|pool| pool.size == size)
    }
}

/// What large pages are made on.
pub(super) struct Ground<'a, A> {
    pub(super) zones: &'a mut Zones<A>,
    pub(super) options: &'a Options,
    pub(super) rules: Rules,
    /// Bytes that the record of a page takes in the memory map.
    pub(super) struct_page_bytes: u64,
}

impl<A: PhysMap + PageFormat> Ground<'_, A> {
    /// Sets aside what the command line asks for.
    ///
    /// # Errors
    /// [`MemblockError::Full`].
    pub(super) fn set_aside(&mut self, listener: &mut Listener<'_>) -> Result<HugePages, MemblockError> {
        let option = &self.options.huge;
        let ordinary = 1 << (2 * A::PAGE_SHIFT - 3);
        let sizes = self.sizes();
        let mut reject = |what| {
            let problem = Problem::Ignored { what, why: "this machine has no pages of that size" };
            (listener.warn)(Warning { source: Source::whole(Table::CommandLine), problem });
        };
        let default = match option.default_size {
            Some(size) if sizes.contains(&size) => size,
            Some(_) => {
                reject("default_hugepagesz=");
                ordinary
            }
            None => ordinary,
        };
        let mut huge = HugePages { pools: ArrayVec::new(), default };
        if option.is_empty() {
            return Ok(huge);
        }
        let named = option.requests().iter().filter_map(|request| request.size);
        for size in named.chain(sizes.iter().copied()) {
            if sizes.contains(&size) && huge.pool(size).is_none() {
                // There are as many pools as sizes at most.
                let _ = huge.pools.try_push(HugePool { size, pages: 0 });
            }
        }
        for item in option.requests().chunk_by(of_one_item) {
            if !self.has_nodes(item, listener.text) {
                continue;
            }
            for request in item {
                let size = request.size.unwrap_or(default);
                if !sizes.contains(&size) {
                    if request.pages == 0 {
                        reject("hugepagesz=");
                    }
                    continue;
                }
                let got = self.serve(request, size, listener.text)?;
                if let Some(pool) = huge.pool(size) {
                    pool.pages += got;
                }
            }
        }
        for pool in &huge.pools {
            let HugePool { size, pages } = *pool;
            let _ =
                writeln!(listener.text, "HugeTLB: registered {} page size, pre-allocated {pages} pages", Rounded(size));
        }
        Ok(huge)
    }

    /// Sizes of pages above the ordinary one, in the order in which Linux registers them.
    fn sizes(&self) -> ArrayVec<u64, MOST_SIZES> {
        let one_gib = self.zones.memblock().access().leaf_at(Level::new(2));
        let sizes: &[u64] = match (self.rules, A::PAGE_SHIFT) {
            (Rules::X86, _) if one_gib => &[1 << 30, 2 << 20],
            (Rules::X86, _) => &[2 << 20],
            // A run of 16 (64 KiB pages: 32) entries counts as one.
            (Rules::Arm64, 12) => &[1 << 30, 32 << 20, 2 << 20, 64 << 10],
            (Rules::Arm64, 14) => &[1 << 30, 32 << 20, 2 << 20],
            (Rules::Arm64, _) => &[16 << 30, 512 << 20, 2 << 20],
        };
        sizes.iter().copied().collect()
    }

    /// Whether all nodes that an item names are there; says from which on not.
    fn has_nodes(&self, item: &[HugeRequest], text: &mut dyn fmt::Write) -> bool {
        let is_absent =
            |request: &HugeRequest| request.node.is_some_and(|node| self.zones.nodes().node(node).is_none());
        let Some(absent) = item.iter().position(is_absent) else { return true };
        let _ = write!(text, "HugeTLB: Invalid hugepages parameter ");
        for (request, lead) in item.iter().skip(absent).zip(core::iter::once("").chain(core::iter::repeat(","))) {
            let _ = write!(text, "{lead}{}:{}", request.node.unwrap_or_default(), request.pages);
        }
        let _ = writeln!(text);
        false
    }

    /// Serves one request; says so when there was not room for all. Returns how many there are.
    fn serve(&mut self, request: &HugeRequest, size: u64, text: &mut dyn fmt::Write) -> Result<u64, MemblockError> {
        let most = request.pages.min(self.spare_bytes() / size);
        let mut got = 0;
        let mut last = None;
        while got < most {
            let served = match request.node {
                Some(node) => self.take(size, Some(node))?,
                None => {
                    last = self.node_after(last);
                    match self.take(size, last)? {
                        Some(range) => Some(range),
                        None => self.take(size, None)?,
                    }
                }
            };
            if served.is_none() {
                break;
            }
            got += 1;
        }
        if got < request.pages {
            let (pages, size) = (request.pages, Rounded(size));
            let _ = match request.node {
                Some(node) => writeln!(
                    text,
                    "HugeTLB: allocating {pages} of page size {size} failed node{node}.  \
                     Only allocated {got} hugepages."
                ),
                None => writeln!(
                    text,
                    "HugeTLB: allocating {pages} of page size {size} failed.  Only allocated {got} hugepages."
                ),
            };
        }
        Ok(got)
    }

    fn take(&mut self, size: u64, node: Option<NodeId>) -> Result<Option<PhysRange>, MemblockError> {
        let node = node.map_or(NodeWish::Any, NodeWish::Only);
        let request = Request { size, align: size, within: PhysRange::ALL, node, owner: Owner::new("HugeTLB") };
        self.zones.memblock_mut().keep(request, Direction::TopDown, PhysRange::EMPTY)
    }

    /// The next node with memory, round and round.
    fn node_after(&self, last: Option<NodeId>) -> Option<NodeId> {
        let with_memory = || self.zones.nodes().iter().filter(|node| node.has_memory).map(|node| node.id);
        with_memory().find(|node| last.is_none_or(|last| *node > last)).or_else(|| with_memory().next())
    }

    /// Bytes that large pages may take.
    fn spare_bytes(&self) -> u64 {
        let memory = self.zones.memblock().memory_size();
        let free: u64 = self.zones.memblock().free_ranges().map(|free| free.range.size()).sum();
        let map = (memory >> A::PAGE_SHIFT).saturating_mul(self.struct_page_bytes);
        free.saturating_sub(map.saturating_add((memory / LEFT_SHARE).max(LEAST_LEFT)))
    }
}

/// Whether two requests that follow each other stand in one `hugepages=`. Two of those for one size do not follow each
/// other: a size is named between them.
fn of_one_item(one: &HugeRequest, next: &HugeRequest) -> bool {
    one.node.is_some() && next.node.is_some() && one.size == next.size
}

/// Bytes in the largest unit that leaves a whole number, with three digits: `2.00 MiB`, `32.0 MiB`, `512 MiB`. Linux:
/// `string_get_size` in lib/string_helpers.c.
struct Rounded(u64);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        // Sizes of pages are powers of two, so nothing is lost.
        let step = self.0.checked_ilog2().unwrap_or(0) / 10;
        let number = self.0 >> (10 * step);
        let unit = units.get(step as usize).copied().unwrap_or_default();
        match number {
            0..10 if step > 0 => write!(f, "{number}.00 {unit}"),
            10..100 if step > 0 => write!(f, "{number}.0 {unit}"),
            _ => write!(f, "{number} {unit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        for (size, expected) in [
            (64 << 10, "64.0 KiB"),
            (2 << 20, "2.00 MiB"),
            (32 << 20, "32.0 MiB"),
            (512 << 20, "512 MiB"),
            (1 << 30, "1.00 GiB"),
            (16 << 30, "16.0 GiB"),
        ] {
            assert_eq!(Rounded(size).to_string(), expected);
        }
    }
}
