//! Allocators that lose, overwrite or hand out twice: a run must notice. What is broken is not the allocator but its
//! surroundings: from an interrupt, somebody misbehaves.

use crate::shake::shake_while;
use crate::up::{Managed, OfVmemmap, give_back, ram_frames, up};
use mm::addr::{Order, Pfn};
use mm::arch::PhysMap;
use mm::model::PageState;
use mm::page_alloc::{Gfp, PageInfo};
use mm::stress::{Config, Count, Failure, Place, Problem};
use mm::vmalloc::VmallocOptions;
use mm_testkit::Machine;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

const MIB: u64 = 1 << 20;

/// In which interrupt somebody misbehaves.
const WHEN: u64 = 50;

fn machine() -> Machine<12> {
    Machine::<12>::builder().ram(0, 4 * MIB, 0).cpus(2).finish()
}

/// A run in which `misbehave` is called once, or from then on until it says that it is done.
fn shaken(
    machine: &Machine<12>,
    misbehave: &(dyn Fn(&Managed<'_, OfVmemmap, 12>) -> bool + Sync),
) -> Result<(), Failure> {
    let mm = up(machine, &[]);
    let done = AtomicBool::new(false);
    let config = Config { seed: 21, operations: 20_000, cpus: 1 };
    let shaken = shake_while::<OfVmemmap, 12>(&mm, config, &|number| {
        if number >= WHEN && !done.load(Relaxed) {
            done.store(misbehave(&mm), Relaxed);
        }
    });
    shaken.map(|_| ())
}

fn one_page(mm: &Managed<'_, OfVmemmap, 12>) -> Pfn {
    mm.pages.alloc(Order::default(), Gfp::ATOMIC).unwrap()
}

#[test]
#[cfg_attr(miri, ignore = "too slow")]
fn a_page_that_is_lost() {
    let machine = machine();
    let failure = shaken(&machine, &|mm| {
        one_page(mm);
        true
    });
    let Err(Failure { problem: Problem::Lost { what: Count::FreeOfZone(_), before, after }, place, .. }) = failure
    else {
        panic!("{failure:?}")
    };
    assert_eq!((after + 1, place), (before, Place::End));
}

#[test]
#[cfg_attr(miri, ignore = "too slow")]
fn an_object_that_is_lost() {
    let machine = machine();
    let failure = shaken(&machine, &|mm| {
        mm.slab.kmalloc(64, 8).unwrap();
        true
    });
    assert!(matches!(failure, Err(Failure { problem: Problem::Lost { .. }, place: Place::End, .. })), "{failure:?}");
}

#[test]
#[cfg_attr(miri, ignore = "too slow")]
fn a_range_that_is_lost() {
    let machine = machine();
    let failure = shaken(&machine, &|mm| mm.vmalloc.alloc(4096, "lost", VmallocOptions::RAW).is_ok());
    let lost = Problem::Lost { what: Count::Areas, before: 0, after: 1 };
    assert_eq!(failure, Err(Failure { problem: lost, address: 0, place: Place::End, seed: 21 }));
}

#[test]
#[cfg_attr(miri, ignore = "too slow")]
fn a_page_that_somebody_frees_who_does_not_hold_it() {
    let machine = machine();
    let failure = shaken(&machine, &|mm| {
        let held = ram_frames(&machine).flat_map(|range| range.start().as_u64()..range.end().as_u64()).map(Pfn::new);
        let single = |&pfn: &Pfn| {
            let info = mm.pages.page_info(pfn);
            matches!(info, PageInfo::Block { head, order, state: PageState::Allocated, .. }
                if head == pfn && order == Order::default())
        };
        // The last one in memory: low ones are handed out again at once.
        held.filter(single).last().is_some_and(|pfn| give_back(&mm.pages, pfn, Order::default()).is_ok())
    });
    assert!(failure.is_err());
}

/// Fills a page with one word, whoever has it.
fn scribble(machine: &Machine<12>, pfn: Pfn, word: u64) {
    let words = machine.handle().phys_ptr(pfn.address(12)).cast::<u64>();
    for at in 0..512 {
        // SAFETY: not safe at all, which is the point: the page may be anybody's. It is RAM of a machine that runs on
        // this thread alone, and nobody makes a reference to it.
        unsafe { words.add(at).write(word) };
    }
}

#[test]
#[cfg_attr(miri, ignore = "too slow")]
fn a_page_that_somebody_writes_to_who_has_freed_it() {
    let machine = machine();
    let freed = AtomicU64::new(0);
    let failure = shaken(&machine, &|mm| {
        if freed.load(Relaxed) == 0 {
            let pfn = one_page(mm);
            give_back(&mm.pages, pfn, Order::default()).unwrap();
            freed.store(pfn.as_u64(), Relaxed);
        }
        scribble(&machine, Pfn::new(freed.load(Relaxed)), 0xdead_beef);
        false
    });
    let failure = failure.unwrap_err();
    let text = failure.to_string();
    assert!(matches!(failure.place, Place::Step { .. }), "{text}");
    assert!(text.contains("0x00000000deadbeef") || text.contains("a link was overwritten"), "{text}");
    assert!(text.starts_with("seed 0x15, CPU 0, step "), "{text}");
    assert_eq!(text.lines().count(), 1);
}

#[test]
#[cfg_attr(miri, ignore = "too slow")]
fn an_object_that_somebody_writes_to_who_has_freed_it() {
    let machine = machine();
    let freed = AtomicUsize::new(0);
    let failure = shaken(&machine, &|mm| {
        if freed.load(Relaxed) == 0 {
            let object = mm.slab.kmalloc(64, 8).unwrap();
            freed.store(object.as_ptr().expose_provenance(), Relaxed);
            // SAFETY: not quite: it will be written to later. See `scribble`.
            unsafe { mm.slab.kfree(object.as_ptr()) }.unwrap();
        }
        let object = core::ptr::with_exposed_provenance_mut::<u64>(freed.load(Relaxed));
        // SAFETY: as in `scribble`.
        unsafe { object.write(0xdead_beef) };
        false
    });
    assert!(failure.is_err());
}
