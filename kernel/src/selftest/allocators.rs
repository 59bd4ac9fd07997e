//! Every allocator allocates, writes what it got, reads it back and frees it; afterwards as many pages are free as
//! before, and every structure verifies.

use super::case::{Failure, Test, fail};
use crate::system::{Pages, System};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use arch::Native;
use core::alloc::Layout;
use mm::addr::{NodeId, Order, Pfn};
use mm::arch::{PageFormat, PhysMap};
use mm::model::{Memmap, MemoryModel};
use mm::page_alloc::{FreeError, Gfp, NodeWish, PageInfo};

pub(super) const TESTS: &[Test] = &[
    Test { name: "pages of every order hold what is written", run: pages_of_every_order },
    Test { name: "zeroed pages are zero", run: zeroed_pages },
    Test { name: "every node gives its own pages", run: pages_of_every_node },
    Test { name: "a record leads back to its frame", run: records_of_blocks },
    Test { name: "an untouched granule is carved and comes back whole", run: carving },
    Test { name: "a double free is refused by name", run: double_free },
    Test { name: "every kmalloc size holds what is written", run: kmalloc_sizes },
    Test { name: "Box, Vec and BTreeMap work", run: collections },
    Test { name: "verify finds nothing", run: verify },
];

/// Words of a page.
const WORDS: usize = Native::PAGE_SIZE as usize / 8;

/// Free pages of all zones.
fn free_pages(system: &System) -> u64 {
    system.mm.pages.free_pages()
}

/// Whatever `test` took, it gave back.
pub(super) fn conserving(system: &System, test: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    // Slabs that are empty count as used until they are given back.
    system.mm.slab.shrink();
    let before = free_pages(system);
    test()?;
    system.mm.slab.shrink();
    let after = free_pages(system);
    if before != after {
        fail!("{before} pages were free before, {after} are after");
    }
    verify(system)
}

/// Fills frames with a pattern of their own number.
fn fill(pfn: Pfn, order: Order) {
    for frame in 0..order.frames() {
        let pfn = pfn.saturating_add(frame);
        let words = Native.phys_ptr(pfn.address(Native::PAGE_SHIFT)).cast::<u64>();
        for word in 0..WORDS {
            // SAFETY: the frame was allocated by the caller, is in the direct map, and a page holds so many words.
            unsafe { words.add(word).write_volatile(pfn.as_u64() ^ word as u64) };
        }
    }
}

fn holds_pattern(pfn: Pfn, order: Order) -> bool {
    (0..order.frames()).all(|frame| {
        let pfn = pfn.saturating_add(frame);
        let words = Native.phys_ptr(pfn.address(Native::PAGE_SHIFT)).cast::<u64>();
        // SAFETY: as in `fill`.
        (0..WORDS).all(|word| unsafe { words.add(word).read_volatile() } == pfn.as_u64() ^ word as u64)
    })
}

/// Gives a block back, or tries to.
fn give_back(pages: &Pages, pfn: Pfn, order: Order) -> Result<(), FreeError> {
    // SAFETY: these tests free what they hold, and look at no block after that.
    unsafe { pages.free(pfn, order) }
}

fn pages_of_every_order(system: &System) -> Result<(), Failure> {
    let pages = &system.mm.pages;
    conserving(system, || {
        let mut held = [None; Order::COUNT];
        for (order, slot) in Order::all().zip(held.iter_mut()) {
            match pages.alloc(order, Gfp::KERNEL) {
                Ok(pfn) => *slot = Some(pfn),
                Err(error) => fail!("order {order}: {error}"),
            }
        }
        let blocks = || Order::all().zip(held).filter_map(|(order, slot)| slot.map(|pfn| (order, pfn)));
        blocks().for_each(|(order, pfn)| fill(pfn, order));
        for (order, pfn) in blocks() {
            if !holds_pattern(pfn, order) {
                fail!("the block of order {order} at frame {} lost its contents", pfn.as_u64());
            }
            if let Err(error) = give_back(pages, pfn, order) {
                fail!("freeing order {order}: {error}");
            }
        }
        Ok(())
    })
}

fn zeroed_pages(system: &System) -> Result<(), Failure> {
    let pages = &system.mm.pages;
    conserving(system, || {
        let order = Order::default();
        let mut filled = None;
        for gfp in [Gfp::KERNEL, Gfp::KERNEL.zeroed()] {
            let pfn = match pages.alloc(order, gfp) {
                Ok(pfn) => pfn,
                Err(error) => fail!("{error}"),
            };
            let words = Native.phys_ptr(pfn.address(Native::PAGE_SHIFT)).cast::<u64>();
            // SAFETY: the frame is ours, in the direct map, and holds so many words.
            let dirty = (0..WORDS).find(|&word| unsafe { words.add(word).read_volatile() } != 0);
            // The first round leaves a pattern behind for the second to clear.
            fill(pfn, order);
            let before = filled.replace(pfn);
            if let Err(error) = give_back(pages, pfn, order) {
                fail!("{error}");
            }
            if gfp != Gfp::KERNEL
                && let Some(word) = dirty
            {
                fail!("word {word} of a zeroed page is not zero");
            }
            if before.is_some_and(|before| before != pfn) {
                fail!("frame {} was not handed out again, so nothing had to be cleared", pfn.as_u64());
            }
        }
        Ok(())
    })
}

fn pages_of_every_node(system: &System) -> Result<(), Failure> {
    let pages = &system.mm.pages;
    conserving(system, || {
        for node in pages.nodes().iter().filter(|node| node.has_memory) {
            let id: NodeId = node.id;
            // A node may have nothing but memory for what can be moved.
            let pfn = match pages.alloc(Order::default(), Gfp::MOVABLE.on(NodeWish::Only(id))) {
                Ok(pfn) => pfn,
                Err(error) => fail!("node {id}: {error}"),
            };
            // The spans of nodes may overlap: what counts is the zone that the block is of.
            let home = match pages.page_info(pfn) {
                PageInfo::Block { zone, .. } => pages.zones().span(zone).map(|span| span.node),
                _ => None,
            };
            if let Err(error) = give_back(pages, pfn, Order::default()) {
                fail!("node {id}: {error}");
            }
            if home != Some(id) || !node.span.contains(pfn) {
                fail!("node {id} gave frame {} of another node", pfn.as_u64());
            }
        }
        Ok(())
    })
}

/// The records of all frames of a block, from each and back.
fn records_of_blocks(system: &System) -> Result<(), Failure> {
    let pages = &system.mm.pages;
    conserving(system, || {
        let first = match pages.alloc(Order::MAX, Gfp::KERNEL) {
            Ok(first) => first,
            Err(error) => fail!("{error}"),
        };
        let wrong = (0..Order::MAX.frames()).map(|frame| first.saturating_add(frame)).find(|&pfn| {
            let page = pages.memmap().page(pfn);
            page.and_then(|page| pages.memmap().pfn_of(page)) != Some(pfn)
        });
        if let Err(error) = give_back(pages, first, Order::MAX) {
            fail!("{error}");
        }
        match wrong {
            Some(pfn) => fail!("the record of frame {} leads elsewhere", pfn.as_u64()),
            None => Ok(()),
        }
    })
}

/// Takes blocks of the highest order until an untouched granule had to be carved, and gives them back.
fn carving(system: &System) -> Result<(), Failure> {
    let pages = &system.mm.pages;
    let untouched = pages.untouched_pages();
    if untouched == 0 {
        // A small machine is described as a whole at boot.
        return Ok(());
    }
    conserving(system, || {
        let mut held = Vec::new();
        while pages.untouched_pages() == untouched {
            match pages.alloc(Order::MAX, Gfp::KERNEL) {
                Ok(pfn) => held.push(pfn),
                Err(error) => fail!("after {} blocks: {error}", held.len()),
            }
        }
        if let Some(&last) = held.last() {
            fill(last, Order::MAX);
            if !holds_pattern(last, Order::MAX) {
                fail!("a block of the carved granule lost its contents");
            }
        }
        for pfn in held {
            if let Err(error) = give_back(pages, pfn, Order::MAX) {
                fail!("{error}");
            }
        }
        Ok(())
    })
}

fn double_free(system: &System) -> Result<(), Failure> {
    let pages = &system.mm.pages;
    conserving(system, || {
        let order = Order::default();
        let pfn = match pages.alloc(order, Gfp::KERNEL) {
            Ok(pfn) => pfn,
            Err(error) => fail!("{error}"),
        };
        if let Err(error) = give_back(pages, pfn, order) {
            fail!("the first free: {error}");
        }
        match give_back(pages, pfn, order) {
            Err(FreeError::DoubleFree { .. }) => Ok(()),
            Err(error) => fail!("the second free is taken for something else: {error}"),
            Ok(()) => fail!("the second free went through"),
        }
    })
}

fn kmalloc_sizes(system: &System) -> Result<(), Failure> {
    let slab = &system.mm.slab;
    conserving(system, || {
        let sizes = (0..=16u32).flat_map(|shift| [1usize << shift, (1 << shift) + 1, 3 << shift]);
        let mut held: Vec<(*mut u8, Layout, u8)> = Vec::new();
        // Each block is filled with a number of its own, so that two in one place are seen.
        for (size, number) in sizes.zip(1u8..) {
            let Ok(layout) = Layout::from_size_align(size, 8) else { fail!("size {size}") };
            let pointer = slab.allocate(layout);
            if pointer.is_null() {
                fail!("{size} bytes were refused");
            }
            // SAFETY: the block holds `size` bytes and is ours.
            unsafe { pointer.write_bytes(number, size) };
            held.push((pointer, layout, number));
        }
        for (pointer, layout, number) in held {
            // SAFETY: the block holds as many bytes, written above, and is ours.
            let bytes = unsafe { core::slice::from_raw_parts(pointer, layout.size()) };
            if bytes.iter().any(|&byte| byte != number) {
                fail!("a block of {} bytes lost its contents", layout.size());
            }
            // SAFETY: it came from `allocate` with this layout and is not used again.
            if let Err(error) = unsafe { slab.deallocate(pointer, layout) } {
                fail!("freeing {} bytes: {error}", layout.size());
            }
        }
        Ok(())
    })
}

fn collections(system: &System) -> Result<(), Failure> {
    conserving(system, || {
        let mut map = BTreeMap::new();
        let mut list = Vec::new();
        for number in 0..10_000u64 {
            let key = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            map.insert(key, Box::new(number));
            list.push(key);
        }
        for (number, key) in (0u64..).zip(&list) {
            if map.get(key).is_none_or(|found| **found != number) {
                fail!("the map lost entry {number}");
            }
        }
        Ok(())
    })
}

fn verify(system: &System) -> Result<(), Failure> {
    match system.mm.verify() {
        Ok(_) => Ok(()),
        Err(fault) => fail!("{fault}"),
    }
}
