//! Frame → record → frame: one body for every memory model, over machines with holes, with nodes that are interleaved
//! or have no memory, with RAM that begins anywhere and ends anywhere. What must hold is written down in `mm::model`;
//! what is RAM, the machine's own list says.

use crate::up::{Kind, Pages, is_ram, pages_as, ram_frames, take_over};
use mm::addr::{Order, Pfn, PfnRange};
use mm::arch::{PageFormat, PhysMap};
use mm::machine::{CpuEntry, Source, StartMethod, Table};
use mm::model::{Memmap, MemmapError, MemoryModel, Page, PageState, SectionState};
use mm::page_alloc::{Gfp, PageInfo, TakeOverError};
use mm_testkit::{Emulated, Machine};
use proptest::prelude::*;
use std::collections::BTreeSet;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// A bank of RAM: bytes of the gap before it, its bytes, its domain.
type Bank = (u64, u64, u32);

/// Where RAM begins, and its banks.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    start: u64,
    banks: Vec<Bank>,
}

/// Layouts of a few sections of `1 << shift` bytes. The first bank has room for what a machine needs to come up.
pub(crate) fn layouts(shift: u32) -> impl Strategy<Value = Layout> {
    let section = 1_u64 << shift;
    let start = prop_oneof![
        Just(0),
        Just(0x1000),
        Just(3 * section),
        Just(1 << 40),
        (1 << 40..(1_u64 << 40) + 9 * section).prop_map(|start| start & !0xff),
    ];
    let size = prop_oneof![1_u64..1 << 20, 1..section, Just(2 * section), section..5 * section / 2];
    // A page apart at least: banks that touch would be one region of memory in two pieces of host memory.
    let gap = prop_oneof![Just(1_u64 << 16), 1 << 16..section / 4, section..3 * section];
    let bank = (gap, size, 0..4_u32).prop_map(|(gap, size, domain)| (gap & !0xff, (size | 0x100) & !0xff, domain));
    (start, section / 2..section, proptest::collection::vec(bank, 0..6)).prop_map(|(start, first, others)| {
        let banks = core::iter::once((0, first, 0)).chain(others).collect();
        Layout { start, banks }
    })
}

impl Layout {
    fn machine<const SHIFT: u32>(&self) -> Machine<SHIFT> {
        let mut at = self.start;
        let mut builder = Machine::builder();
        for &(gap, size, domain) in &self.banks {
            builder = builder.ram(at + gap, size, domain);
            at += gap + size;
        }
        builder.finish()
    }
}

/// Sections that hold frames of RAM.
fn sections_with_ram<const SHIFT: u32>(machine: &Machine<SHIFT>) -> BTreeSet<u64> {
    let per_section = per_section::<SHIFT>();
    let frames = ram_frames(machine).filter(|frames| !frames.is_empty());
    frames
        .flat_map(|frames| frames.start().as_u64() / per_section..=(frames.end().as_u64() - 1) / per_section)
        .collect()
}

const fn per_section<const SHIFT: u32>() -> u64 {
    1 << (Emulated::<'_, SHIFT>::SECTION_SHIFT - SHIFT)
}

/// Looks at every frame of the sections with RAM and of those around them, and at some of every other section between.
/// Returns how many have a record. Under Miri at fewer.
fn look<K: Kind, const SHIFT: u32>(machine: &Machine<SHIFT>, pages: &Pages<'_, K, SHIFT>) -> u64 {
    let map = pages.memmap();
    let with_ram = sections_with_ram(machine);
    let per_section = per_section::<SHIFT>();
    let (first, last) = (*with_ram.first().unwrap(), *with_ram.last().unwrap());
    let step = if cfg!(miri) { 509 } else { 1 };
    let mut records = 0;
    for section in first.saturating_sub(2)..last + 3 {
        let near = with_ram.range(section.saturating_sub(1)..section + 2).next().is_some();
        let step = if near { step } else { per_section / 8 - 1 };
        let state = map.section(section).state;
        assert_eq!(state == SectionState::Hole, !with_ram.contains(&section), "section {section}");
        let blocks = RamBlocks::of(machine, section);
        for number in (section * per_section..(section + 1) * per_section).step_by(step as usize) {
            let pfn = Pfn::new(number);
            match map.page(pfn) {
                Some(page) => {
                    records += 1;
                    assert_eq!(state, SectionState::Described, "frame {number:#x} has a record");
                    assert_eq!(map.pfn_of(page), Some(pfn), "the way back from frame {number:#x}");
                    if !is_ram(machine, pfn, 1) {
                        assert_eq!(page.head().state(), PageState::Undescribed, "frame {number:#x} is no RAM");
                    }
                    if number % 97 == 0 {
                        lies_in_the_memmap::<K, SHIFT>(machine, pages, page);
                    }
                }
                None => {
                    let described = state == SectionState::Described;
                    assert!(!(described && blocks.touch(pfn)), "frame {number:#x} has no record");
                }
            }
        }
    }
    for number in [0, 1 << 40, (1 << 52) - 1, u64::MAX] {
        if !with_ram.contains(&(number / per_section)) {
            assert!(map.page(Pfn::new(number)).is_none(), "frame {number:#x}");
        }
    }
    assert_eq!(map.pfn_of(&Page::default()), None, "a record of nobody");
    records
}

/// Blocks of the highest order with RAM in them, in one section.
struct RamBlocks(Vec<PfnRange>);

impl RamBlocks {
    fn of<const SHIFT: u32>(machine: &Machine<SHIFT>, section: u64) -> Self {
        let count = per_section::<SHIFT>();
        let all = PfnRange::new(Pfn::new(section * count), Pfn::new((section + 1) * count));
        let block = Order::MAX.frames();
        let around = |frames: PfnRange| {
            let (start, end) = (frames.start().as_u64() / block * block, frames.end().as_u64().next_multiple_of(block));
            PfnRange::new(Pfn::new(start), Pfn::new(end))
        };
        let frames = ram_frames(machine).map(|frames| frames.intersection(all)).filter(|frames| !frames.is_empty());
        Self(frames.map(around).collect())
    }

    fn touch(&self, pfn: Pfn) -> bool {
        self.0.iter().any(|block| block.contains(pfn))
    }
}

/// The page that holds a record belongs to the memmap.
fn lies_in_the_memmap<K: Kind, const SHIFT: u32>(machine: &Machine<SHIFT>, pages: &Pages<'_, K, SHIFT>, page: &Page) {
    let address = machine.handle().ptr_phys(std::ptr::from_ref(page).cast()).unwrap();
    let info = pages.page_info(Pfn::containing(address, SHIFT));
    assert!(matches!(info, PageInfo::Block { state: PageState::Memmap, .. }), "{address:?}: {info}");
}

/// What must hold right after boot, and when every granule was carved.
pub(crate) fn there_and_back<K: Kind, const SHIFT: u32>(layout: &Layout) {
    let machine = layout.machine::<SHIFT>();
    let mut description = machine.describe();
    if !description.affinities.is_empty() {
        // A node that has a CPU and no memory.
        let source = Source::whole(Table::CpuNode);
        description.cpus.push(CpuEntry { hardware_id: 1000, domain: Some(77), start: StartMethod::Unknown, source });
    }
    let (pages, _) = take_over::<K, SHIFT>(&machine, &mut description, &[]).unwrap();
    let before = pages.verify().unwrap();
    assert_eq!(before.sum(), ram_frames(&machine).map(PfnRange::count).sum::<u64>());
    let records = look::<K, SHIFT>(&machine, &pages);
    assert!(records > 0);
    let untouched = pages.untouched_pages();
    while pages.untouched_pages() > 0 && pages.alloc(Order::MAX, Gfp::ATOMIC).is_ok() {}
    let after = pages.verify().unwrap();
    assert_eq!(after.sum(), before.sum());
    assert_eq!(look::<K, SHIFT>(&machine, &pages) > records, pages.untouched_pages() < untouched);
}

/// A small machine at an odd place, for Miri too.
pub(crate) fn a_small_machine<K: Kind>() {
    let machine = Machine::<12>::builder().ram(0x10_0000, 0x900, 1).ram(3 * MIB + 0x1800, 3 * MIB, 0).finish();
    let (pages, _) = pages_as::<K, 12>(&machine, &[]).unwrap();
    pages.verify().unwrap();
    assert!(look::<K, 12>(&machine, &pages) > 0);
}

/// Records come up zero, whatever was in memory before.
pub(crate) fn dirty_memory<K: Kind>() {
    let machine = Machine::<14>::builder().ram(GIB, 150 * MIB, 0).ram(2 * GIB, 300 * MIB, 1).finish();
    for (range, _) in machine.ram() {
        machine.poison(range, 0xff);
    }
    let (pages, _) = pages_as::<K, 14>(&machine, &[]).unwrap();
    // `verify` finds anything but zero behind a head, `look` in holes.
    pages.verify().unwrap();
    look::<K, 14>(&machine, &pages);
    while pages.untouched_pages() > 0 {
        pages.alloc(Order::MAX, Gfp::ATOMIC).unwrap();
    }
    pages.verify().unwrap();
    look::<K, 14>(&machine, &pages);
}

/// Two nodes at both ends of an address space.
fn far_apart() -> Machine<12> {
    Machine::<12>::builder().ram(0, 64 * MIB, 0).ram(1 << 40, 64 * MIB, 1).finish()
}

/// A hole between nodes costs the flat model records for all of it, which are not to be had, and no other.
#[test]
#[cfg_attr(miri, ignore = "too slow")]
fn only_the_flat_model_needs_records_for_the_hole_between_nodes() {
    use crate::up::{OfDiscontig, OfFlat, OfSparseExtreme, OfSparseStatic};
    fn memmap<K: Kind>(machine: &Machine<12>) -> Result<u64, TakeOverError> {
        pages_as::<K, 12>(machine, &[]).map(|(pages, _)| pages.verify().unwrap().memmap)
    }
    let machine = far_apart();
    let error = memmap::<OfFlat>(&machine).unwrap_err();
    assert!(matches!(error, TakeOverError::Memmap(MemmapError::OutOfMemory(_))), "{error}");
    // Records of 64 MiB on each node; those of a section on each.
    assert_eq!(memmap::<OfDiscontig>(&machine), Ok(2 * 128));
    assert_eq!(memmap::<OfSparseExtreme>(&machine), Ok(2 * 256));
    assert_eq!(memmap::<OfSparseStatic>(&machine), Ok(2 * 256));
}

/// A table of fixed length has no room for memory behind its end.
#[test]
fn memory_behind_the_end_of_the_static_table_is_refused() {
    struct Short;
    impl Kind for Short {
        type Model<A: mm::arch::Arch + Send + Sync> = mm::model::SparseStatic<A, 8>;
    }
    let machine = |start| Machine::<12>::builder().ram(start, 8 * MIB, 0).finish();
    assert!(pages_as::<Short, 12>(&machine(GIB - 8 * MIB), &[]).is_ok());
    let error = pages_as::<Short, 12>(&machine(GIB), &[]).unwrap_err();
    assert_eq!(error, TakeOverError::Memmap(MemmapError::Beyond(Pfn::new(GIB >> 12))));
}

/// The flat array begins and ends with whole blocks of the highest order around memory, wherever that begins.
#[test]
#[cfg_attr(miri, ignore = "too slow")]
fn the_flat_array_is_aligned_to_the_highest_order() {
    let machine = Machine::<12>::builder().ram((1 << 40) + 5 * MIB, 90 * MIB, 0).finish();
    let (pages, _) = pages_as::<crate::up::OfFlat, 12>(&machine, &[]).unwrap();
    let first = ((1 << 40) + 4 * MIB) >> 12;
    assert_eq!(pages.memmap().frames(), PfnRange::new(Pfn::new(first), Pfn::new(first + 23 * 1024)));
    let around = [first - 1, first, first + 23 * 1024 - 1, first + 23 * 1024].map(Pfn::new);
    assert_eq!(around.map(|pfn| pages.memmap().page(pfn).is_some()), [false, true, true, false]);
}
