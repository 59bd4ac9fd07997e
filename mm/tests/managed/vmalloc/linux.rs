//! The cases of Linux's `lib/test_vmalloc.c`, as what they ask for: those for RCU and per-CPU allocations have no
//! counterpart here. Each frees all that it took; at the end nothing is lost.

use super::{check, fill, machine, small};
use crate::up::{Random, up};
use mm::Mm;
use mm::layout::VirtRange;
use mm::page_alloc::Gfp;
use mm::vmalloc::{Vmalloc, VmallocError, VmallocOptions};
use mm_testkit::{Emulated, Machine};

const LOOPS: u64 = if cfg!(miri) { 4 } else { 300 };

/// Runs `case` in a space of `pages`, and holds the machine against what it was before.
fn run(pages: u64, case: impl Fn(&Machine<12>, &Vmalloc<Emulated<'_, 12>>, &mut Random)) {
    let machine = machine::<12>();
    let mm: Mm<_> = up(&machine, &[]);
    let vmalloc = small(&mm, 0, pages);
    let before = mm.pages.verify().unwrap();
    case(&machine, &vmalloc, &mut Random::new(0x7e57));
    let totals = vmalloc.verify().unwrap();
    assert_eq!((totals.areas, totals.pages), (0, 0));
    let after = mm.pages.verify().unwrap();
    let stays = after.tables - before.tables + totals.record_pages;
    assert_eq!(after.free + after.untouched + stays, before.free + before.untouched);
}

fn free(vmalloc: &Vmalloc<Emulated<'_, 12>>, area: VirtRange) {
    // SAFETY: each area of these tests is theirs, and they use it no more.
    unsafe { vmalloc.free(area.start()) }.unwrap();
}

/// Takes, writes the first byte's page, frees, `LOOPS` times.
fn pairs(machine: &Machine<12>, vmalloc: &Vmalloc<Emulated<'_, 12>>, mut request: impl FnMut() -> (u64, u64)) {
    for round in 0..LOOPS {
        let (pages, align) = request();
        let area = vmalloc.alloc(pages << 12, "test", VmallocOptions::RAW.aligned(align)).unwrap();
        assert!(area.start().is_aligned(align) && area.size() == pages << 12);
        let first = VirtRange::from_size(area.start(), 0x1000).unwrap();
        fill(machine, first, round);
        check(machine, first, round);
        free(vmalloc, area);
    }
}

#[test]
fn fix_size_alloc_test() {
    run(1 << 20, |machine, vmalloc, _| pairs(machine, vmalloc, || (3, 1)));
}

#[test]
fn fix_align_alloc_test() {
    run(1 << 20, |machine, vmalloc, _| pairs(machine, vmalloc, || (5, 128 << 12)));
}

#[test]
fn random_size_alloc_test() {
    run(1 << 20, |machine, vmalloc, random| pairs(machine, vmalloc, || (1 + random.below(100), 1)));
}

#[test]
fn random_size_align_alloc_test() {
    run(1 << 20, |machine, vmalloc, random| {
        pairs(machine, vmalloc, || (1 + random.below(10), 1 << random.below(24)));
    });
}

/// Every alignment that a number can say.
#[test]
fn align_shift_alloc_test() {
    run(1 << 20, |_, vmalloc, _| {
        for shift in 0..64 {
            match vmalloc.alloc(0x1000, "test", VmallocOptions::RAW.aligned(1 << shift)) {
                // The space begins at a multiple of 2^47.
                Ok(area) => {
                    assert!(shift <= 47 && area.start().is_aligned(1 << shift));
                    free(vmalloc, area);
                }
                Err(error) => {
                    assert!(shift > 47);
                    assert_eq!(error, VmallocError::NoSpace { bytes: 0x1000, align: 1 << shift });
                }
            }
        }
    });
}

/// Holes of one page between areas; what is taken and freed then fits one of them exactly.
#[test]
fn full_fit_alloc_test() {
    let count = if cfg!(miri) { 8 } else { 1000 };
    run(1 << 20, |machine, vmalloc, _| {
        let take = || vmalloc.alloc(0x1000, "test", VmallocOptions::RAW).unwrap();
        let (mut kept, mut junk) = (Vec::new(), Vec::new());
        for _ in 0..count {
            kept.push(take());
            junk.push(take());
        }
        junk.into_iter().for_each(|area| free(vmalloc, area));
        for round in 0..LOOPS {
            let area = take();
            // The lowest hole.
            assert_eq!(area.start(), kept[0].end().saturating_add(0x1000));
            fill(machine, area, round);
            free(vmalloc, area);
        }
        kept.into_iter().for_each(|area| free(vmalloc, area));
    });
}

/// Taking and freeing among many areas.
#[test]
fn long_busy_list_alloc_test() {
    let count = if cfg!(miri) { 30 } else { 15_000 };
    let machine = machine::<12>();
    let mm = up(&machine, &[]);
    let frame = mm.pages.alloc(mm::addr::Order::default(), Gfp::KERNEL).unwrap();
    // One frame for all of them, so that there may be more areas than there is memory.
    let busy: Vec<_> = (0..count).map(|_| mm.vmalloc.map_pages(&[frame], "busy").unwrap()).collect();
    for _ in 0..LOOPS {
        let areas = [100, 1].map(|pages| mm.vmalloc.alloc(pages << 12, "test", VmallocOptions::RAW).unwrap());
        areas.into_iter().for_each(|area| free(&mm.vmalloc, area));
    }
    assert_eq!(mm.verify().unwrap().vmalloc.areas, count);
    for area in busy {
        // SAFETY: nobody uses the area.
        unsafe { mm.vmalloc.unmap_pages(area.start()) }.unwrap();
    }
    assert_eq!(mm.verify().unwrap().vmalloc.areas, 0);
}

/// `vm_map_ram_test`: pages that are somebody's, mapped and unmapped.
#[test]
fn map_pages_test() {
    let machine = machine::<12>();
    let mm = up(&machine, &[]);
    let order = mm::addr::Order::new(if cfg!(miri) { 2 } else { 6 }).unwrap();
    let block = mm.pages.alloc(order, Gfp::KERNEL).unwrap();
    let frames: Vec<_> = (0..order.frames()).rev().map(|offset| block.saturating_add(offset)).collect();
    for round in 0..LOOPS {
        let area = mm.vmalloc.map_pages(&frames, "test").unwrap();
        if round < 8 {
            fill(&machine, area, round);
            super::on_each_cpu(|| check(&machine, area, round));
        }
        // SAFETY: the area is this test's.
        unsafe { mm.vmalloc.unmap_pages(area.start()) }.unwrap();
    }
    mm.verify().unwrap();
}
