//! The way back: what is refused, and that nothing is reused while a CPU may still reach it.

use super::{assert_absent, check, fill, machine, on_each_cpu, small};
use crate::up::{Random, up};
use mm::addr::{CpuId, NodeId, PhysAddr, PhysRange, VirtAddr};
use mm::layout::VirtRange;
use mm::paging::{Mapping, MemoryType, NoFrames};
use mm::vmalloc::{AreaKind, AreaState, VfreeError, VmallocFault, VmallocOptions, VmallocProblem};
use mm_testkit::{Intent, run_on};

#[test]
fn what_is_freed_is_forgotten_by_every_cpu_before_it_is_reused() {
    let machine = machine::<12>();
    let mm = up(&machine, &[]);
    for pages in [1, 3, 33, 34, 600] {
        let first = mm.vmalloc.alloc(pages << 12, "first", VmallocOptions::RAW).unwrap();
        fill(&machine, first, 1);
        on_each_cpu(|| check(&machine, first, 1));
        // SAFETY: the area is this test's.
        unsafe { mm.vmalloc.free(first.start()) }.unwrap();
        // Frames that lie in another order, at the same addresses.
        let other = mm.vmalloc.alloc(1, "other", VmallocOptions::RAW.aligned(1 << 40)).unwrap();
        let second = mm.vmalloc.alloc(pages << 12, "second", VmallocOptions::RAW).unwrap();
        fill(&machine, second, 2);
        on_each_cpu(|| check(&machine, second, 2));
        for area in [other, second] {
            // SAFETY: as above.
            unsafe { mm.vmalloc.free(area.start()) }.unwrap();
        }
    }
    mm.verify().unwrap();
}

#[test]
fn an_area_on_its_way_back_keeps_its_addresses_and_pages() {
    let machine = machine::<12>();
    let mm = up(&machine, &[]);
    let area = mm.vmalloc.alloc(4 << 12, "test", VmallocOptions::RAW).unwrap();
    fill(&machine, area, 1);
    let frames: Vec<_> =
        (0..4).map(|page| machine.access(area.at(page << 12).unwrap(), Intent::Read).unwrap()).collect();
    // SAFETY: the area is this test's, here and below.
    let unmapped = unsafe { mm.vmalloc.retire(area.start()) }.unwrap();
    let apart = |taken: VirtRange| {
        assert!(!taken.overlaps(area));
        for page in 0..4 {
            let physical = machine.access(taken.at(page << 12).unwrap(), Intent::Write).unwrap();
            assert!(!frames.contains(&physical), "{physical:?} is reused too early");
        }
    };
    let during = mm.vmalloc.alloc(4 << 12, "during", VmallocOptions::RAW).unwrap();
    apart(during);
    let info = mm.vmalloc.find(area.start()).unwrap();
    assert_eq!((info.state, info.pages), (AreaState::Retired, 4));
    // SAFETY: as above.
    let again = unsafe { mm.vmalloc.free(area.start()) };
    assert_eq!(again, Err(VfreeError::State(AreaState::Retired)));
    mm.verify().unwrap();
    let forgotten = unmapped.flush();
    let later = mm.vmalloc.alloc(4 << 12, "later", VmallocOptions::RAW).unwrap();
    apart(later);
    forgotten.give_back().unwrap();
    let reused = mm.vmalloc.alloc(4 << 12, "reused", VmallocOptions::RAW).unwrap();
    assert_eq!(reused, area);
    assert_eq!(mm.verify().unwrap().vmalloc.areas, 3);
}

#[test]
#[should_panic(expected = "CPU 2 uses a stale translation")]
fn a_use_on_another_cpu_after_unmapping_is_noticed() {
    let machine = machine::<12>();
    let mm = up(&machine, &[]);
    let area = mm.vmalloc.alloc(1, "test", VmallocOptions::RAW).unwrap();
    run_on(CpuId::new(2), || fill(&machine, area, 1));
    // SAFETY: not true: this is the mistake.
    let _unmapped = unsafe { mm.vmalloc.retire(area.start()) }.unwrap();
    run_on(CpuId::new(2), || check(&machine, area, 1));
}

#[test]
fn flushing_waits_for_nobody_with_a_lock_held() {
    let machine = machine::<12>();
    let mm = up(&machine, &[]);
    let area = mm.vmalloc.alloc(3 << 12, "test", VmallocOptions::RAW).unwrap();
    fill(&machine, area, 1);
    // SAFETY: the area is this test's.
    let unmapped = unsafe { mm.vmalloc.retire(area.start()) }.unwrap();
    let flushed = machine.page_flushes();
    {
        // Both can be had while there is something to flush.
        let _tables = mm.pages.tables().try_lock(machine.handle()).unwrap();
        assert!(mm.vmalloc.try_find(area.start()).is_some());
    }
    unmapped.flush().give_back().unwrap();
    assert_eq!(machine.page_flushes() - flushed, 3);
}

#[test]
fn what_cannot_be_freed_is_refused_by_name() {
    let machine = machine::<12>();
    let mm = up(&machine, &[]);
    let pages = mm.vmalloc.alloc(3 << 12, "pages", VmallocOptions::RAW).unwrap();
    let stack = mm.vmalloc.stack(2 << 12, NodeId::new(0), "stack").unwrap();
    let registers = PhysRange::new(PhysAddr::new(0x1000_0040), PhysAddr::new(0x1000_0080));
    let device = mm.vmalloc.ioremap(registers, MemoryType::Device, "device").unwrap();
    let before = mm.verify().unwrap();
    // SAFETY: nothing is freed, or it is this test's; here and below.
    let free = |address| unsafe { mm.vmalloc.free(address) };
    // SAFETY: as above.
    let iounmap = |address| unsafe { mm.vmalloc.iounmap(address) };
    // SAFETY: as above.
    let unmap = |address| unsafe { mm.vmalloc.unmap_pages(address) };
    for address in [0, 1, 0xffff_8000_1000_0000, u64::MAX].map(VirtAddr::new) {
        assert_eq!(free(address), Err(VfreeError::NoArea(address)));
    }
    for inside in [1, 0x1000, 0x3000] {
        let address = VirtAddr::new(pages.start().as_u64() + inside);
        assert_eq!(free(address), Err(VfreeError::NotStart { start: pages.start() }));
    }
    let guard = VirtAddr::new(stack.start().as_u64() - 0x1000);
    assert_eq!(free(guard), Err(VfreeError::NotStart { start: stack.start() }));
    assert_eq!(iounmap(pages.start()), Err(VfreeError::Kind(AreaKind::Pages)));
    assert_eq!(unmap(stack.start()), Err(VfreeError::Kind(AreaKind::Stack)));
    let page = device.align_down(0x1000);
    assert!(matches!(free(page), Err(VfreeError::Kind(AreaKind::Device { .. }))));
    assert_eq!(mm.verify().unwrap(), before);
    free(pages.start()).unwrap();
    assert_eq!(free(pages.start()), Err(VfreeError::NoArea(pages.start())));
    iounmap(device).unwrap();
    assert!(iounmap(device).is_err());
    free(stack.start()).unwrap();
    assert_eq!(mm.verify().unwrap().vmalloc.areas, 0);
}

#[test]
fn pages_of_an_area_cannot_be_freed_as_pages() {
    let machine = machine::<12>();
    let mm = up(&machine, &[]);
    let area = mm.vmalloc.alloc(1, "test", VmallocOptions::RAW).unwrap();
    let physical = machine.access(area.start(), Intent::Read).unwrap();
    let pfn = mm::addr::Pfn::containing(physical, 12);
    let refused = crate::up::give_back(&mm.pages, pfn, mm::addr::Order::default());
    assert_eq!(refused.unwrap_err().to_string(), "it was not handed out: it is vmalloc");
    mm.verify().unwrap();
}

#[test]
fn verify_finds_what_does_not_fit() {
    let machine = machine::<12>();
    let mm = up(&machine, &[]);
    let area = mm.vmalloc.alloc(3 << 12, "test", VmallocOptions::RAW).unwrap();
    let device = PhysRange::new(PhysAddr::new(0x1000_0000), PhysAddr::new(0x1000_2000));
    let registers = mm.vmalloc.ioremap(device, MemoryType::Device, "device").unwrap();
    let verified = || mm.verify().map(|_| ()).map_err(|fault| fault.to_string());
    let fault = |address, problem| VmallocFault { address, problem }.to_string();
    let unmap = |at: VirtAddr| {
        let page = VirtRange::from_size(at, 0x1000).unwrap();
        // SAFETY: nobody uses that page.
        let stale = unsafe { mm.pages.tables().lock(machine.handle()).unmap(page, &mut NoFrames) };
        stale.unwrap().flush(machine.handle());
    };
    let map = |at: VirtAddr, to: PhysAddr, mapping| {
        let page = PhysRange::from_size(to, 0x1000).unwrap();
        mm.pages.tables().lock(machine.handle()).map(at, page, mapping, &mut NoFrames).unwrap();
    };
    assert_eq!(verified(), Ok(()));
    let second = area.at(0x1000).unwrap();
    let is = machine.access(second, Intent::Read).unwrap();
    unmap(second);
    assert_eq!(verified(), Err(fault(second, VmallocProblem::NotMapped)));
    map(second, PhysAddr::new(0x4000_0000), Mapping::DATA);
    assert_eq!(verified(), Err(fault(second, VmallocProblem::Other)));
    unmap(second);
    map(second, is, Mapping::RODATA);
    assert_eq!(verified(), Err(fault(second, VmallocProblem::Other)));
    unmap(second);
    map(second, is, Mapping::DATA);
    assert_eq!(verified(), Ok(()));
    // In the guard page, and far behind everything.
    for stray in [area.end(), registers.saturating_add(0x2000), registers.saturating_add(0x9000)] {
        map(stray, PhysAddr::new(0x4000_0000), Mapping::DATA);
        assert_eq!(verified(), Err(fault(stray, VmallocProblem::Stray)));
        unmap(stray);
    }
    unmap(registers);
    map(registers, PhysAddr::new(0x1000_1000), Mapping::DEVICE);
    assert_eq!(verified(), Err(fault(registers, VmallocProblem::Other)));
    unmap(registers);
    map(registers, PhysAddr::new(0x1000_0000), Mapping::DEVICE);
    assert_eq!(verified(), Ok(()));
    // A page that another allocator took.
    let other = small(&mm, 1 << 20, 16);
    let _taken = other.alloc(1, "other", VmallocOptions::RAW).unwrap();
    assert!(verified().is_err());
}

/// Four CPUs at once: each holds areas, writes, frees, and the areas of one are never seen by another.
#[test]
fn four_cpus_at_once() {
    let machine = machine::<12>();
    let mm = up(&machine, &[]);
    let before = mm.verify().unwrap();
    let rounds = if cfg!(miri) { 8 } else { 400 };
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (mm, machine) = (&mm, &machine);
            scope.spawn(move || {
                run_on(CpuId::new(number), || {
                    let mut random = Random::new(0x5eed + u64::from(number));
                    let mut held: Vec<(VirtRange, u64)> = Vec::new();
                    for round in 0..rounds {
                        if held.len() < 6 && random.below(3) > 0 {
                            let bytes = (1 + random.below(40)) << 12;
                            let area = mm.vmalloc.alloc(bytes, "thread", VmallocOptions::RAW).unwrap();
                            let seed = u64::from(number) << 32 | round;
                            fill(machine, area, seed);
                            held.push((area, seed));
                        } else if !held.is_empty() {
                            let at = random.below(held.len() as u64) as usize;
                            let (area, seed) = held.swap_remove(at);
                            check(machine, area, seed);
                            // SAFETY: the area is this thread's.
                            unsafe { mm.vmalloc.free(area.start()) }.unwrap();
                        }
                        held.iter().for_each(|&(area, seed)| check(machine, area, seed));
                    }
                    for (area, seed) in held {
                        check(machine, area, seed);
                        // SAFETY: the area is this thread's.
                        unsafe { mm.vmalloc.free(area.start()) }.unwrap();
                    }
                });
            });
        }
    });
    assert_absent(&machine, mm.vmalloc.space().start());
    let after = mm.verify().unwrap();
    assert_eq!((after.vmalloc.areas, after.vmalloc.pages), (0, 0));
    let stays = after.pages.tables - before.pages.tables + after.vmalloc.record_pages;
    assert_eq!(after.pages.free + after.pages.untouched + stays, before.pages.free + before.pages.untouched);
}
