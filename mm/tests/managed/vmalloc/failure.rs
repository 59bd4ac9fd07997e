//! Every allocation that an area needs fails once: nothing may be lost, and nothing may stay mapped.
//!
//! A page comes for the record, for each page of the contents, and for each table on the way. The space begins two
//! pages below the end of a root entry, so an area of five pages needs two tables at each level.

use super::{mapped_in, small};
use crate::up::up;
use mm::addr::{NodeId, Order, PhysAddr, PhysRange};
use mm::page_alloc::Gfp;
use mm::paging::{Level, MemoryType};
use mm::vmalloc::{Vmalloc, VmallocError, VmallocOptions};
use mm_testkit::{Emulated, Machine};

/// What is done when `frames` allocations go well.
fn with_frames<const SHIFT: u32>(
    frames: usize,
    work: impl Fn(&Machine<SHIFT>, &Vmalloc<Emulated<'_, SHIFT>>) -> Result<(), VmallocError>,
) -> Result<(), VmallocError> {
    let size = 12 << 20;
    let machine = Machine::<SHIFT>::builder().ram(0x4000_0000, size, 0).ram(0x8000_0000, size, 1).cpus(2).finish();
    let mm = up(&machine, &[]);
    let root_pages = Level::top::<Emulated<'_, SHIFT>>().span::<Emulated<'_, SHIFT>>() >> SHIFT;
    let vmalloc = small(&mm, root_pages - 2, 2 * root_pages);
    let mut held: Vec<_> = core::iter::from_fn(|| mm.pages.alloc(Order::default(), Gfp::KERNEL).ok()).collect();
    for pfn in held.split_off(held.len() - frames) {
        crate::up::give_back(&mm.pages, pfn, Order::default()).unwrap();
    }
    let before = mm.pages.verify().unwrap();
    let result = work(&machine, &vmalloc);
    let after = mm.pages.verify().unwrap();
    let totals = vmalloc.verify().unwrap();
    if result.is_err() {
        assert_eq!((totals.areas, totals.pages, vmalloc.pages()), (0, 0, 0));
        assert_eq!(mapped_in(&machine, vmalloc.space()), 0, "a stale mapping after {frames} frames");
    }
    assert_eq!(after.vmalloc, totals.pages + totals.record_pages);
    let kept = after.vmalloc + after.tables - before.tables;
    assert_eq!(after.free + after.untouched + kept, before.free + before.untouched);
    // With memory again, it goes.
    for pfn in held {
        crate::up::give_back(&mm.pages, pfn, Order::default()).unwrap();
    }
    if result.is_err() {
        work(&machine, &vmalloc).unwrap();
    }
    vmalloc.verify().unwrap();
    result
}

/// Fails each of the first `needed` allocations; the next one is one too many.
fn each_fails<const SHIFT: u32>(
    needed: usize,
    work: impl Fn(&Machine<SHIFT>, &Vmalloc<Emulated<'_, SHIFT>>) -> Result<(), VmallocError>,
) -> Vec<VmallocError> {
    let failures = (0..needed).map(|frames| with_frames(frames, &work).unwrap_err()).collect();
    assert_eq!(with_frames(needed, &work), Ok(()));
    failures
}

fn kinds(failures: &[VmallocError]) -> String {
    let kind = |failure: &VmallocError| match failure {
        VmallocError::Record(_) => 'r',
        VmallocError::Pages(_) => 'p',
        VmallocError::Map(_) => 'm',
        other => panic!("{other}"),
    };
    failures.iter().map(kind).collect()
}

#[test]
fn each_allocation_of_an_area_fails_once() {
    let alloc = |_: &Machine<12>, vmalloc: &Vmalloc<Emulated<'_, 12>>| {
        vmalloc.alloc(5 << 12, "test", VmallocOptions::RAW).map(|_| ())
    };
    // A record, five pages, tables of three levels before the boundary and behind it.
    assert_eq!(kinds(&each_fails::<12>(12, alloc)), "rpppppmmmmmm");
    if cfg!(miri) {
        return;
    }
    let alloc = |_: &Machine<16>, vmalloc: &Vmalloc<Emulated<'_, 16>>| {
        vmalloc.alloc(5 << 16, "test", VmallocOptions::ZEROED).map(|_| ())
    };
    assert_eq!(kinds(&each_fails::<16>(10, alloc)), "rpppppmmmm");
}

#[test]
#[cfg_attr(miri, ignore = "as above, with other pages")]
fn each_allocation_of_a_stack_or_a_device_fails_once() {
    let stack = |_: &Machine<12>, vmalloc: &Vmalloc<Emulated<'_, 12>>| {
        vmalloc.stack(4 << 12, NodeId::new(1), "stack").map(|_| ())
    };
    assert_eq!(kinds(&each_fails::<12>(11, stack)), "rppppmmmmmm");
    let device = |_: &Machine<12>, vmalloc: &Vmalloc<Emulated<'_, 12>>| {
        let registers = PhysRange::new(PhysAddr::new(0x1000_0000), PhysAddr::new(0x1000_3000));
        vmalloc.ioremap(registers, MemoryType::Device, "device").map(|_| ())
    };
    assert_eq!(kinds(&each_fails::<12>(7, device)), "rmmmmmm");
}

/// Large leaves come before the failure, small ones would have come behind it.
#[test]
#[cfg_attr(miri, ignore = "as above, with other pages")]
fn a_device_in_large_leaves_fails_between_them() {
    let device = |_: &Machine<12>, vmalloc: &Vmalloc<Emulated<'_, 12>>| {
        let registers = PhysRange::new(PhysAddr::new(0x1_0000_0000), PhysAddr::new(0x1_0060_3000));
        vmalloc.ioremap(registers, MemoryType::WriteCombining, "device").map(|_| ())
    };
    // Behind the boundary, since it is aligned: two tables for three leaves of 2 MiB, one for three pages.
    assert_eq!(kinds(&each_fails::<12>(4, device)), "rmmm");
}
