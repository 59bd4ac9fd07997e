//! Ranges of virtual space on machines whose CPUs remember every translation that they have used: a use of one that
//! should have been flushed is a failed test.

mod device;
mod failure;
mod free;
mod linux;
mod model;
mod view;

use crate::up::up;
use mm::Mm;
use mm::addr::{CpuId, NodeId, PhysRange, VirtAddr};
use mm::arch::PhysMap;
use mm::layout::{Layout, VirtRange};
use mm::page_alloc::{AllocError, NodeWish};
use mm::vmalloc::{AreaKind, AreaPart, AreaState, Vmalloc, VmallocError, VmallocOptions};
use mm_testkit::{Emulated, Fault, Intent, Machine, run_on};

/// Two nodes with a hole between them, four CPUs.
pub(crate) fn machine<const SHIFT: u32>() -> Machine<SHIFT> {
    let size = 48 << 20;
    Machine::builder().ram(0x4000_0000, size, 0).ram(0x8000_0000, size, 1).cpus(4).finish()
}

/// Every word of `range` that a test looks at: the first and the last of each page.
fn words<const SHIFT: u32>(range: VirtRange) -> impl Iterator<Item = (u64, VirtAddr)> {
    let page = 1_u64 << SHIFT;
    let pages = 0..range.size() / page;
    pages.flat_map(move |number| [number * page, (number + 1) * page - 8]).map(move |offset| {
        let mixed = (offset + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed, range.at(offset).unwrap())
    })
}

/// Writes what [`check`] expects.
pub(crate) fn fill<const SHIFT: u32>(machine: &Machine<SHIFT>, range: VirtRange, seed: u64) {
    for (mixed, at) in words::<SHIFT>(range) {
        // SAFETY: the test holds the area that maps this word, which lies in one page.
        unsafe { machine.handle().virt_ptr(at).cast::<u64>().write(mixed ^ seed) };
    }
}

/// Whether everything is as [`fill`] wrote it.
pub(crate) fn check<const SHIFT: u32>(machine: &Machine<SHIFT>, range: VirtRange, seed: u64) {
    for (mixed, at) in words::<SHIFT>(range) {
        // SAFETY: as in `fill`.
        let found = unsafe { machine.handle().virt_ptr(at).cast::<u64>().read() };
        assert_eq!(found, mixed ^ seed, "at {at:?}");
    }
}

/// On every CPU.
pub(crate) fn on_each_cpu(work: impl Fn()) {
    (0..4).map(CpuId::new).for_each(|cpu| run_on(cpu, &work));
}

/// Every CPU faults at `at`.
pub(crate) fn assert_absent<const SHIFT: u32>(machine: &Machine<SHIFT>, at: VirtAddr) {
    on_each_cpu(|| assert_eq!(machine.access(at, Intent::Read), Err(Fault::Absent(at))));
}

/// What the tables map in `space`, page by page as the machine's own walker sees it.
pub(crate) fn mapped_in<const SHIFT: u32>(machine: &Machine<SHIFT>, space: VirtRange) -> u64 {
    let leaves = machine.mappings(machine.root().unwrap()).into_iter();
    leaves.filter(|leaf| space.contains(leaf.address)).map(|leaf| leaf.size).sum()
}

/// A second allocator on the same pages, for a space of its own.
pub(crate) fn small<'m, const SHIFT: u32>(
    mm: &Mm<Emulated<'m, SHIFT>>,
    first_page: u64,
    pages: u64,
) -> Vmalloc<Emulated<'m, SHIFT>> {
    let layout = Emulated::<SHIFT>::LAYOUT;
    let start = layout.vmalloc.at(first_page << SHIFT).unwrap();
    let vmalloc = VirtRange::from_size(start, pages << SHIFT).unwrap();
    Vmalloc::new(mm.pages, &Layout { vmalloc, ..layout })
}

fn an_area_is_memory<const SHIFT: u32>() {
    let machine = machine::<SHIFT>();
    let mm = up(&machine, &[]);
    let page = 1_u64 << SHIFT;
    let before = mm.verify().unwrap();
    let area = mm.vmalloc.alloc(5 * page + 1, "test", VmallocOptions::RAW).unwrap();
    assert_eq!((area.start(), area.size()), (mm.vmalloc.space().start(), 6 * page));
    fill(&machine, area, 7);
    on_each_cpu(|| check(&machine, area, 7));
    assert_absent(&machine, area.end());
    let info = mm.vmalloc.find(area.end()).unwrap();
    assert_eq!((info.mapped, info.pages, info.owner), (area, 6, "test"));
    assert_eq!((info.kind, info.state), (AreaKind::Pages, AreaState::Live));
    assert_eq!(info.part(area.end()), AreaPart::GuardAbove);
    assert_eq!(info.part(area.at(page + 3).unwrap()), AreaPart::Mapped(page + 3));
    let during = mm.verify().unwrap();
    assert_eq!((during.vmalloc.areas, during.vmalloc.pages), (1, 6));

    // SAFETY: the area is this test's.
    unsafe { mm.vmalloc.free(area.start()) }.unwrap();
    words::<SHIFT>(area).for_each(|(_, at)| assert_absent(&machine, at));
    assert_eq!(mm.vmalloc.find(area.start()), None);
    let after = mm.verify().unwrap();
    assert_eq!((after.vmalloc.areas, after.vmalloc.pages, mm.vmalloc.pages()), (0, 0, 0));
    // Tables and the page with the records stay, and all else is free again.
    let stays = after.pages.tables - before.pages.tables + after.vmalloc.record_pages;
    assert_eq!(after.pages.free + after.pages.untouched + stays, before.pages.free + before.pages.untouched);
    assert_eq!(after.vmalloc.record_pages, 1);
}

#[test]
fn an_area_is_memory_with_each_page_size() {
    an_area_is_memory::<12>();
    an_area_is_memory::<14>();
    an_area_is_memory::<16>();
}

#[test]
fn areas_never_touch() {
    let machine = machine::<12>();
    let mm = up(&machine, &[]);
    let areas: Vec<_> = (1..6).map(|pages| mm.vmalloc.alloc(pages << 12, "a", VmallocOptions::RAW).unwrap()).collect();
    for pair in areas.windows(2) {
        assert_eq!(pair[0].end().checked_add(0x1000), Some(pair[1].start()));
        assert_absent(&machine, pair[0].end());
    }
    let stack = mm.vmalloc.stack(0x4000, NodeId::new(0), "stack").unwrap();
    let last = areas.last().unwrap();
    // The guard page of the area before it, and its own.
    assert_eq!(last.end().checked_add(0x2000), Some(stack.start()));
    assert_absent(&machine, VirtAddr::new(stack.start().as_u64() - 8));
    assert_absent(&machine, stack.end());
}

#[test]
fn an_overflowing_stack_is_told_from_its_neighbours() {
    let machine = machine::<12>();
    let mm = up(&machine, &[]);
    let stacks: Vec<_> = (0..2).map(|_| mm.vmalloc.stack(0x3fff, NodeId::new(1), "stack").unwrap()).collect();
    assert_eq!(stacks[0].size(), 0x4000);
    // Nothing is mapped below the first one, though no area lies there.
    assert_eq!(stacks[0].start().as_u64(), mm.vmalloc.space().start().as_u64() + 0x1000);
    for stack in &stacks {
        let below = VirtAddr::new(stack.start().as_u64() - 1);
        assert_absent(&machine, below);
        let info = mm.vmalloc.try_find(below).unwrap();
        assert_eq!((info.mapped, info.kind), (*stack, AreaKind::Stack));
        assert_eq!(info.part(below), AreaPart::GuardBelow);
        assert_eq!(info.part(stack.end()), AreaPart::GuardAbove);
    }
    // Stacks are cleared, and of the node that they were asked for.
    words::<12>(stacks[1]).for_each(|(_, at)| {
        let physical = machine.access(at, Intent::Write).unwrap();
        assert!(physical.as_u64() >= 0x8000_0000, "{physical:?}");
        // SAFETY: the stack is this test's.
        assert_eq!(unsafe { machine.handle().virt_ptr(at).cast::<u64>().read() }, 0);
    });
    mm.verify().unwrap();
}

#[test]
fn contents_and_nodes_are_as_asked() {
    let machine = machine::<12>();
    machine.poison(PhysRange::new(mm::addr::PhysAddr::new(0x8000_0000), mm::addr::PhysAddr::new(0x8300_0000)), 0xa5);
    let mm = up(&machine, &[]);
    let node = VmallocOptions::ZEROED.on(NodeWish::Only(NodeId::new(1)));
    let area = mm.vmalloc.alloc(40 << 12, "test", node).unwrap();
    for (_, at) in words::<12>(area) {
        assert!(machine.access(at, Intent::Write).unwrap().as_u64() >= 0x8000_0000);
        // SAFETY: the area is this test's.
        assert_eq!(unsafe { machine.handle().virt_ptr(at).cast::<u64>().read() }, 0);
    }
    let mut counts = [0; 2];
    mm.vmalloc.count_nodes(area.start(), NodeId::new(0), &mut counts);
    assert_eq!(counts, [0, 40]);
    let nowhere = VmallocOptions::RAW.on(NodeWish::Only(NodeId::new(7)));
    let refused = mm.vmalloc.alloc(1, "test", nowhere);
    assert_eq!(refused, Err(VmallocError::Pages(AllocError::NoNode)));
    assert_eq!(mm.verify().unwrap().vmalloc.areas, 1);
}

#[test]
fn pages_that_are_somebodys_are_mapped_in_their_order() {
    let machine = machine::<12>();
    let mm = up(&machine, &[]);
    let page = || mm.pages.alloc(mm::addr::Order::default(), mm::page_alloc::Gfp::KERNEL).unwrap();
    let mut frames: Vec<_> = (0..7).map(|_| page()).collect();
    frames.reverse();
    frames.swap(1, 5);
    // One of them twice.
    frames.push(frames[2]);
    let area = mm.vmalloc.map_pages(&frames, "map").unwrap();
    for (number, frame) in (0..).zip(&frames) {
        let at = area.at(number << 12).unwrap();
        assert_eq!(machine.access(at, Intent::Write), Ok(frame.address(12)));
    }
    assert_eq!((mm.vmalloc.pages(), mm.vmalloc.find(area.start()).unwrap().kind), (0, AreaKind::Mapped));
    mm.verify().unwrap();
    // SAFETY: the area is this test's.
    unsafe { mm.vmalloc.unmap_pages(area.start()) }.unwrap();
    assert_absent(&machine, area.start());
    for &frame in &frames[..7] {
        crate::up::give_back(&mm.pages, frame, mm::addr::Order::default()).unwrap();
    }
    let held = page();
    for nobodys in [0x6000_0000 >> 12, frames[0].as_u64(), u64::MAX].map(mm::addr::Pfn::new) {
        let refused = mm.vmalloc.map_pages(&[held, nobodys], "map");
        assert!(nobodys == held || refused == Err(VmallocError::NotHeld(nobodys)), "{refused:?}");
    }
    assert_eq!(mm.vmalloc.map_pages(&[], "map"), Err(VmallocError::Empty));
    mm.verify().unwrap();
}

#[test]
fn requests_that_cannot_be_served() {
    let machine = machine::<12>();
    let mm = up(&machine, &[]);
    let alloc = |bytes, options| mm.vmalloc.alloc(bytes, "test", options);
    let raw = VmallocOptions::RAW;
    assert_eq!(alloc(0, raw), Err(VmallocError::Empty));
    for align in [0, 3, 0x1800, u64::MAX] {
        assert_eq!(alloc(1, raw.aligned(align)), Err(VmallocError::Alignment(align)));
    }
    let space = mm.vmalloc.space().size();
    for bytes in [space, space + 1, u64::MAX - 0xfff, u64::MAX] {
        assert_eq!(alloc(bytes, raw), Err(VmallocError::NoSpace { bytes, align: 0x1000 }));
    }
    // There is room for it, but not that much memory; nobody else goes without meanwhile.
    let no_memory = AllocError::NoMemory { order: mm::addr::Order::default() };
    assert_eq!(alloc(space - 0x1000, raw), Err(VmallocError::Pages(no_memory)));
    // 16 TiB from 0xffff_8000_0000_0000: its start is aligned to 2^47, and nothing in it to 2^48.
    let area = alloc(1, raw.aligned(1 << 47)).unwrap();
    assert_eq!(area.start(), mm.vmalloc.space().start());
    assert_eq!(alloc(1, raw.aligned(1 << 47)), Err(VmallocError::NoSpace { bytes: 1, align: 1 << 47 }));
    assert_eq!(alloc(1, raw.aligned(1 << 63)), Err(VmallocError::NoSpace { bytes: 1, align: 1 << 63 }));
    assert_eq!(alloc(1, raw.aligned(1 << 43)).unwrap().start().as_u64(), 0xffff_8800_0000_0000);
    mm.verify().unwrap();
}

#[test]
fn a_layout_without_the_space_has_no_areas() {
    let machine = machine::<12>();
    let mm = up(&machine, &[]);
    let none = Vmalloc::new(mm.pages, &Layout { vmalloc: VirtRange::EMPTY, ..Emulated::<12>::LAYOUT });
    assert!(matches!(none.alloc(1, "test", VmallocOptions::RAW), Err(VmallocError::NoSpace { .. })));
    assert_eq!(none.verify().unwrap().areas, 0);
}
