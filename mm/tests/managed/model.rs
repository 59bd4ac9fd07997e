//! The memmap: which frames have a record, and where records lie.

use crate::up::{is_ram, pages, zones};
use mm::addr::{Order, Pfn, PfnRange, PhysAddr, PhysRange};
use mm::arch::{Arch, PageFormat};
use mm::layout::{Layout, VirtRange};
use mm::model::{Granule, Memmap, MemoryModel, Page, PageState, SectionState};
use mm::page_alloc::{Gfp, PageAllocator, TakeOverError};
use mm_testkit::{Emulated, Intent, Machine};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

#[test]
fn granules_are_what_the_design_says() {
    fn sizes<A: PageFormat>() -> (u64, u64, u8) {
        let granule = Granule::<A>::FRAMES << A::PAGE_SHIFT;
        let memmap = Granule::<A>::MEMMAP_ORDER;
        (granule / MIB, Granule::<A>::usable_frames(Some(memmap)), memmap.as_u8())
    }
    // 256 MiB for a leaf of 2 MiB; else a section.
    assert_eq!(sizes::<Emulated<'_, 12>>(), (256, 65536 - 512, 9));
    assert_eq!(sizes::<Emulated<'_, 14>>(), (128, 8192 - 16, 4));
    assert_eq!(sizes::<Emulated<'_, 16>>(), (512, 8192 - 4, 2));
}

#[test]
fn blocks_counted_by_arithmetic_fill_the_granule() {
    fn check<A: PageFormat>() {
        for memmap in [Some(Granule::<A>::MEMMAP_ORDER), None] {
            let sum: u64 = Order::all().map(|order| Granule::<A>::free_blocks(memmap, order) << order.as_u8()).sum();
            assert_eq!(sum, Granule::<A>::usable_frames(memmap));
        }
        assert_eq!(Granule::<A>::usable_frames(None), Granule::<A>::FRAMES);
    }
    check::<Emulated<'_, 12>>();
    check::<Emulated<'_, 14>>();
    check::<Emulated<'_, 16>>();
}

#[test]
fn whole_granules_inside_a_range() {
    type G = Granule<Emulated<'static, 12>>;
    let range = |start, end| PfnRange::new(Pfn::new(start), Pfn::new(end));
    assert_eq!(G::inside(range(0, 65536)), range(0, 65536));
    assert!(G::inside(range(1, 65536 + 65535)).is_empty());
    assert_eq!(G::inside(range(1, 3 * 65536 + 7)), range(65536, 3 * 65536));
    assert!(G::inside(range(u64::MAX - 5, u64::MAX)).is_empty());
}

/// Every frame of RAM and around it has a record exactly when its section is described, at its place in the vmemmap.
fn records_are_where_they_should_be<const SHIFT: u32>(machine: &Machine<SHIFT>) {
    type A<'m, const SHIFT: u32> = Emulated<'m, SHIFT>;
    let pages = pages(machine, &[]);
    let layout = machine.handle().layout();
    let section = 1u64 << (A::<SHIFT>::SECTION_SHIFT - SHIFT);
    let last = machine.ram().last().unwrap().0.end().as_u64() >> SHIFT;
    let (mut described, mut holes) = (0, 0);
    let step = if cfg!(miri) { 397 } else { 13 };
    for number in (0..last + 2 * section).step_by(step) {
        let pfn = Pfn::new(number);
        let state = pages.memmap().section(number / section).state;
        let page = pages.memmap().page(pfn);
        assert_eq!(page.is_some(), state == SectionState::Described);
        if let Some(page) = page {
            described += 1;
            let address = layout.pfn_to_page(pfn).unwrap();
            let physical = machine.access(address, Intent::Write).unwrap();
            assert_eq!(std::ptr::from_ref(page).addr(), machine_pointer(machine, physical));
            if !is_ram(machine, pfn, 1) {
                holes += 1;
                assert_eq!(page.head().state(), PageState::Undescribed, "frame {number:#x} is no RAM");
            }
        } else if is_ram(machine, pfn, 1) {
            assert_eq!(state, SectionState::Untouched, "frame {number:#x} is RAM");
        } else {
            assert_ne!(state, SectionState::Pending);
        }
    }
    assert!(described > 0 && holes > 0);
}

fn machine_pointer<const SHIFT: u32>(machine: &Machine<SHIFT>, address: PhysAddr) -> usize {
    use mm::arch::PhysMap;
    machine.handle().phys_ptr(address).addr()
}

#[test]
fn records_of_4_kib_pages() {
    let high = if cfg!(miri) { MIB } else { 700 * MIB };
    let machine = Machine::<12>::builder().ram(0x1000, 0x9e000, 0).ram(MIB, 9 * MIB, 0).ram(32 * GIB, high, 0).finish();
    if cfg!(miri) {
        return records_are_where_they_should_be(&Machine::<12>::builder().ram(0x1000, 9 * MIB, 0).finish());
    }
    records_are_where_they_should_be(&machine);
}

#[test]
#[cfg_attr(miri, ignore = "too slow")]
fn records_of_16_and_64_kib_pages() {
    records_are_where_they_should_be(&Machine::<14>::builder().ram(0x4000, 900 * MIB, 0).finish());
    records_are_where_they_should_be(&Machine::<16>::builder().ram(GIB, 3 * GIB + 0x30000, 0).finish());
}

#[test]
#[cfg_attr(miri, ignore = "too much memory")]
fn records_of_a_carved_granule_are_zero_however_dirty_it_was() {
    let machine = Machine::<12>::builder().ram(0, GIB, 0).finish();
    for (range, _) in machine.ram() {
        machine.poison(range, 0xff);
    }
    let pages = pages(&machine, &[]);
    let untouched = pages.untouched_pages();
    let mut held = vec![];
    while pages.untouched_pages() == untouched {
        held.push(pages.alloc(Order::MAX, Gfp::KERNEL).unwrap());
    }
    // `verify` finds anything but zero behind a head.
    let counts = pages.verify().unwrap();
    assert_eq!(counts.allocated, held.len() as u64 * 1024);
}

#[test]
fn memory_beyond_the_vmemmap_is_refused() {
    let machine = Machine::<12>::builder().ram(4 * GIB, 8 * MIB, 0).finish();
    let (zones, tables) = zones(&machine, &[]);
    let layout = machine.handle().layout();
    let start = layout.vmemmap.start();
    let small = Layout { vmemmap: VirtRange::from_size(start, 16 * MIB).unwrap(), ..*layout };
    // SAFETY: `zones` activated the tables.
    let error = unsafe { <PageAllocator<_>>::take_over(zones, tables, &small) }.unwrap_err();
    assert!(matches!(error, TakeOverError::Memmap(_)), "{error}");
}

/// All that is handed out is written to, so it must be mapped: the early window is not enough.
#[test]
fn memory_that_is_not_mapped_is_refused() {
    let machine = Machine::<12>::builder().ram(0, 512 * MIB, 0).finish();
    let (mut zones, tables) = zones(&machine, &[]);
    let all = zones.memblock().memory().span();
    let window = PhysRange::new(PhysAddr::new(0), PhysAddr::new(64 * MIB));
    // SAFETY: all RAM of the emulated machine is in reach, and nobody else uses it.
    unsafe { zones.memblock_mut().set_mapped(window) };
    // SAFETY: `zones` activated the tables.
    let error = unsafe { <PageAllocator<_>>::take_over(zones, tables, machine.handle().layout()) }.unwrap_err();
    assert_eq!(error, TakeOverError::NotMapped(all));
}

#[test]
fn a_record_is_32_bytes() {
    assert_eq!((size_of::<Page>(), align_of::<Page>()), (32, 32));
    assert_eq!(Emulated::<'_, 12>::LAYOUT.struct_page_bytes, Page::BYTES);
}

/// Memory too small for its own tables is refused, not half taken over.
#[test]
#[cfg_attr(miri, ignore = "too slow")]
fn too_little_memory_is_one_error() {
    fn start<A: Arch>(result: Result<(PageAllocator<A>, mm::memblock::Record<A>), TakeOverError>) -> bool {
        result.is_ok()
    }
    let mut outcomes = vec![];
    for pages in [40, 120, 300, 600] {
        let machine = Machine::<12>::builder().ram(MIB, pages << 12, 0).finish();
        let (zones, tables) = zones(&machine, &[]);
        // SAFETY: `zones` activated the tables.
        outcomes.push(start(unsafe { <PageAllocator<_>>::take_over(zones, tables, machine.handle().layout()) }));
    }
    // A section's memmap is 1 MiB, whatever part of it is memory.
    assert_eq!(outcomes, [false, false, true, true]);
}
