//! The page allocator on emulated machines, against a list of what is held that shares no code with it.

use crate::up::{Kind, Random, give_back, is_ram, pages, pages_as};
use mm::addr::{NodeId, Order, Pfn, PfnRange, PhysRange};
use mm::arch::{Arch, PageFormat};
use mm::model::{MemoryModel, PageState};
use mm::page_alloc::{AllocError, FreeError, Gfp, NodeWish, PageAllocator, PageInfo};
use mm::zone::ZoneKind;
use mm_testkit::{Emulated, Machine, run_on};
use std::collections::BTreeMap;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn order(number: u8) -> Order {
    Order::new(number).unwrap()
}

/// Blocks that are held: first frame → frames.
#[derive(Default)]
struct Held(BTreeMap<u64, u64>);

impl Held {
    fn add(&mut self, pfn: Pfn, order: Order) {
        let (start, count) = (pfn.as_u64(), 1 << order.as_u8());
        assert_eq!(start % count, 0, "frame {start:#x} is not aligned to order {order}");
        if let Some((&before, &frames)) = self.0.range(..start + count).next_back() {
            assert!(before + frames <= start, "frames {start:#x}+{count} overlap {before:#x}+{frames}");
        }
        self.0.insert(start, count);
    }

    fn take(&mut self, random: &mut Random) -> Option<(Pfn, Order)> {
        let at = random.below(self.0.len().max(1) as u64) as usize;
        let (&start, &count) = self.0.iter().nth(at)?;
        self.0.remove(&start);
        Some((Pfn::new(start), order(count.trailing_zeros() as u8)))
    }

    fn frames(&self) -> u64 {
        self.0.values().sum()
    }
}

/// Free blocks of all zones, by order.
fn blocks<A: Arch, M: MemoryModel<A>>(pages: &PageAllocator<A, M>) -> [u64; Order::COUNT] {
    let mut sum = [0; Order::COUNT];
    for (zone, _) in pages.populated() {
        for (sum, blocks) in sum.iter_mut().zip(pages.counts(zone).free_blocks) {
            *sum += blocks;
        }
    }
    sum
}

fn managed<A: Arch, M: MemoryModel<A>>(pages: &PageAllocator<A, M>) -> u64 {
    pages.populated().map(|(zone, _)| pages.counts(zone).managed).sum()
}

/// Everything that must hold at any time, without walking.
fn check<A: Arch, M: MemoryModel<A>>(pages: &PageAllocator<A, M>, held: u64) {
    let free = pages.free_pages();
    assert_eq!(free + held, managed(pages), "pages got lost");
    let by_order: u64 = blocks(pages).iter().enumerate().map(|(order, blocks)| blocks << order).sum();
    assert_eq!(by_order, free);
}

/// Takes single pages, urgently, until there are none.
fn exhaust<A: Arch, M: MemoryModel<A>>(pages: &PageAllocator<A, M>, size: Order, gfp: Gfp, held: &mut Held) {
    loop {
        match pages.alloc(size, gfp) {
            Ok(pfn) => held.add(pfn, size),
            Err(AllocError::NoMemory { .. }) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

fn free_all<A: Arch, M: MemoryModel<A>>(pages: &PageAllocator<A, M>, held: Held) {
    for (start, count) in held.0 {
        give_back(pages, Pfn::new(start), order(count.trailing_zeros() as u8)).unwrap();
    }
}

/// Random allocations and frees of all orders, then everything back.
fn storm<K: Kind, const SHIFT: u32>(
    machine: &Machine<SHIFT>,
    reserved: crate::up::Reserved<'_>,
    steps: u32,
    seed: u64,
) {
    let (pages, record) = pages_as::<K, SHIFT>(machine, reserved).unwrap();
    pages.verify().unwrap();
    let before = blocks(&pages);
    let reserved: Vec<PhysRange> = record.reserved().iter().map(|region| region.range()).collect();
    let mut random = Random::new(seed);
    let mut held = Held::default();
    for step in 0..steps {
        // Long phases of growing and of shrinking.
        let grow = (step / 500) % 2 == 0;
        if random.below(10) < if grow { 7 } else { 3 } {
            let size = order(random.below(11).min(random.below(11)) as u8);
            let gfp = [Gfp::KERNEL, Gfp::ATOMIC, Gfp::DMA32, Gfp::MOVABLE][random.below(4) as usize];
            match pages.alloc(size, gfp) {
                Ok(pfn) => {
                    held.add(pfn, size);
                    assert!(is_ram(machine, pfn, size.frames()), "frame {:#x} is no RAM", pfn.as_u64());
                    let block = PfnRange::new(pfn, pfn.saturating_add(size.frames())).bytes(SHIFT);
                    assert!(!reserved.iter().any(|range| range.overlaps(block)), "{block} is reserved");
                    if gfp == Gfp::DMA32 {
                        assert!(block.last().as_u64() < 4 * GIB);
                    }
                }
                Err(AllocError::NoMemory { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        } else if let Some((pfn, size)) = held.take(&mut random) {
            give_back(&pages, pfn, size).unwrap();
        }
        check(&pages, held.frames());
        if step % 1000 == 999 {
            let counts = pages.verify().unwrap();
            assert_eq!(counts.allocated, held.frames());
        }
    }
    free_all(&pages, held);
    let counts = pages.verify().unwrap();
    assert_eq!(counts.allocated, 0);
    assert_eq!(counts.sum(), machine.ram_size() >> SHIFT);
    assert_eq!(blocks(&pages), before, "blocks did not merge back");
}

const STEPS: u32 = if cfg!(miri) { 12 } else { 4000 };

pub(crate) fn storm_on_a_small_machine_with_holes_and_odd_ends<K: Kind>() {
    let high = if cfg!(miri) { 3 * MIB } else { 11 * MIB };
    let machine = Machine::<12>::builder()
        .ram(0, 0x9f000, 0)
        .ram(0x10_0000, MIB + 0x3000, 0)
        .ram(3 * MIB + 0x1000, high, 0)
        .finish();
    storm::<K, _>(&machine, &[(0x12_0000, 0x1234), (7 * MIB / 2, 64 << 10)], STEPS, 1);
}

pub(crate) fn storm_over_untouched_granules<K: Kind>() {
    let machine = Machine::<12>::builder().ram(0, GIB + 5 * MIB, 0).finish();
    storm::<K, _>(&machine, &[(MIB, 2 * MIB)], STEPS, 2);
}

pub(crate) fn storm_on_two_interleaved_nodes<K: Kind>() {
    let machine = Machine::<12>::builder()
        .ram(0, 300 * MIB, 0)
        .ram(300 * MIB, 90 * MIB + 0x5000, 1)
        .ram(400 * MIB, 100 * MIB, 0)
        .ram(5 * GIB, 600 * MIB, 1)
        .cpus(2)
        .finish();
    storm::<K, _>(&machine, &[], STEPS, 3);
}

pub(crate) fn storm_with_16_kib_pages<K: Kind>() {
    let machine = Machine::<14>::builder().ram(0, 400 * MIB, 0).finish();
    storm::<K, _>(&machine, &[(0, 0x4000)], STEPS, 4);
}

pub(crate) fn storm_with_64_kib_pages_at_32_gib<K: Kind>() {
    let machine = Machine::<16>::builder().ram(32 * GIB, 1700 * MIB, 0).finish();
    storm::<K, _>(&machine, &[], STEPS, 5);
}

#[test]
#[cfg_attr(miri, ignore = "too slow")]
fn frame_zero_is_handed_out_and_taken_back() {
    let machine = Machine::<12>::builder().ram(0, 16 * MIB, 0).finish();
    let pages = pages(&machine, &[]);
    let mut held = Held::default();
    exhaust(&pages, order(0), Gfp::ATOMIC.on(NodeWish::Any), &mut held);
    // The watermark keeps some; the order in which blocks are taken is not promised, so ask for the rest by state.
    let free = pages.page_info(Pfn::new(0));
    match free {
        PageInfo::Block { state: PageState::Allocated, .. } => assert!(held.0.contains_key(&0)),
        PageInfo::Block { state: PageState::Free, head, .. } => assert_eq!(head, Pfn::new(0)),
        other => panic!("frame 0 is {other}"),
    }
    free_all(&pages, held);
    pages.verify().unwrap();
    assert_eq!(give_back(&pages, Pfn::new(0), order(0)), Err(FreeError::DoubleFree { head: Pfn::new(0) }));
}

pub(crate) fn frees_that_cannot_be_right_are_refused_by_name<K: Kind>() {
    let machine = Machine::<12>::builder().ram(0x10_0000, 2 * MIB, 0).finish();
    let (pages, _) = pages_as::<K, _>(&machine, &[(0x18_0000, 0x2000)]).unwrap();
    let block = pages.alloc(order(3), Gfp::KERNEL).unwrap();
    let inside = block.saturating_add(5);
    let before = pages.verify().unwrap();
    let refused = [
        (block, 2, FreeError::WrongOrder { allocated: order(3) }),
        (block, 4, FreeError::WrongOrder { allocated: order(3) }),
        (inside, 0, FreeError::NotHead { head: block, order: order(3) }),
        (Pfn::new(0x180), 0, FreeError::NotAllocated { state: PageState::Reserved }),
        (Pfn::new(0x181), 0, FreeError::NotAllocated { state: PageState::Reserved }),
        // Holes in a section with memory, near it and not; a section without; far away.
        (Pfn::new(0xff), 0, FreeError::Foreign),
        (Pfn::new(0x5000), 0, FreeError::Foreign),
        (Pfn::new(0x9000), 0, FreeError::Foreign),
        (Pfn::new(u64::MAX), 0, FreeError::Foreign),
        (Pfn::new(1 << 40), 10, FreeError::Foreign),
    ];
    for (pfn, size, error) in refused {
        assert_eq!(give_back(&pages, pfn, order(size)), Err(error), "frame {:#x}", pfn.as_u64());
    }
    assert_eq!(pages.verify(), Ok(before));
    give_back(&pages, block, order(3)).unwrap();
    for pfn in [block, inside] {
        assert!(matches!(give_back(&pages, pfn, order(3)), Err(FreeError::DoubleFree { .. })));
    }
    pages.verify().unwrap();
}

#[test]
#[cfg_attr(miri, ignore = "too much memory")]
fn untouched_memory_is_known_but_not_freeable() {
    let machine = Machine::<12>::builder().ram(0, GIB, 0).finish();
    let pages = pages(&machine, &[]);
    let untouched = Pfn::new((300 * MIB) >> 12);
    assert!(matches!(pages.page_info(untouched), PageInfo::Untouched { .. }));
    assert_eq!(give_back(&pages, untouched, order(0)), Err(FreeError::NotAllocated { state: PageState::Undescribed }));
    assert!(pages.untouched_pages() > 0);
}

/// Takes all memory in blocks of the highest order: every granule must be carved before anything fails.
fn every_granule_is_carved<K: Kind, const SHIFT: u32>(machine: &Machine<SHIFT>) {
    let (pages, _) = pages_as::<K, SHIFT>(machine, &[]).unwrap();
    let (all, free, before) = (managed(&pages), pages.free_pages(), blocks(&pages));
    assert!(pages.untouched_pages() > 0, "nothing is untouched");
    assert_eq!(free, all);
    let counts = pages.verify().unwrap();
    assert_eq!(counts.untouched, pages.untouched_pages());
    let mut held = Held::default();
    exhaust(&pages, Order::MAX, Gfp::ATOMIC, &mut held);
    exhaust(&pages, order(0), Gfp::ATOMIC, &mut held);
    assert_eq!(pages.untouched_pages(), 0, "a granule was left");
    for &start in held.0.keys() {
        assert!(is_ram(machine, Pfn::new(start), held.0[&start]));
    }
    let marks: u64 = pages.populated().map(|(zone, _)| pages.counts(zone).watermarks.min).sum();
    let reserve: u64 = pages.populated().map(|(zone, _)| pages.counts(zone).protection[2]).sum();
    assert!(pages.free_pages() <= marks + reserve, "{} pages are kept back", pages.free_pages());
    let after = pages.verify().unwrap();
    assert_eq!(after.allocated, held.frames());
    // Carving turned future memmap into memmap, and changed no other count.
    assert_eq!(after.memmap, counts.memmap + counts.future_memmap);
    assert_eq!(managed(&pages), all);
    free_all(&pages, held);
    assert_eq!(pages.free_pages(), free);
    assert_eq!(blocks(&pages), before, "counting by arithmetic was wrong");
    pages.verify().unwrap();
}

pub(crate) fn every_granule_of_4_kib_pages_is_carved_before_anything_fails<K: Kind>() {
    every_granule_is_carved::<K, _>(&Machine::<12>::builder().ram(0, GIB, 0).ram(4 * GIB, 700 * MIB, 0).finish());
}

pub(crate) fn every_granule_of_16_kib_pages_is_carved_before_anything_fails<K: Kind>() {
    every_granule_is_carved::<K, _>(&Machine::<14>::builder().ram(32 * GIB, GIB, 0).finish());
}

pub(crate) fn every_granule_of_64_kib_pages_is_carved_before_anything_fails<K: Kind>() {
    every_granule_is_carved::<K, _>(&Machine::<16>::builder().ram(0, 3 * GIB, 0).finish());
}

pub(crate) fn granules_are_carved_where_the_cpu_has_no_large_leaves<K: Kind>() {
    use mm::paging::Level;
    every_granule_is_carved::<K, _>(&Machine::<12>::builder().ram(0, GIB, 0).largest_leaf(Level::PAGE).finish());
}

#[test]
#[cfg_attr(miri, ignore = "too much memory")]
fn touched_memory_is_used_before_untouched() {
    let machine = Machine::<12>::builder().ram(4 * GIB, GIB, 0).finish();
    let pages = pages(&machine, &[]);
    let untouched = pages.untouched_pages();
    let touched = pages.free_pages() - untouched;
    let mut held = Held::default();
    for _ in 0..touched {
        held.add(pages.alloc(order(0), Gfp::KERNEL).unwrap(), order(0));
    }
    assert_eq!(pages.untouched_pages(), untouched, "a granule was carved although pages were left");
    held.add(pages.alloc(order(0), Gfp::KERNEL).unwrap(), order(0));
    assert_eq!(pages.untouched_pages(), untouched - (65536 - 512));
    free_all(&pages, held);
    pages.verify().unwrap();
}

pub(crate) fn a_carved_granule_holds_what_is_written<K: Kind>() {
    let machine = Machine::<12>::builder().ram(4 * GIB, 768 * MIB, 0).finish();
    // What was there before must not show in the records.
    machine.poison(PhysRange::from_size(mm::addr::PhysAddr::new(4 * GIB), 768 * MIB).unwrap(), 0xa5);
    let (pages, _) = pages_as::<K, _>(&machine, &[]).unwrap();
    let mut held = Held::default();
    exhaust(&pages, Order::MAX, Gfp::ATOMIC.zeroed(), &mut held);
    assert_eq!(pages.untouched_pages(), 0);
    for &start in held.0.keys() {
        use mm::arch::PhysMap;
        let block = machine.handle().phys_ptr(Pfn::new(start).address(12));
        // SAFETY: the block is held by this test, and a block of the highest order is 4 MiB.
        let bytes = unsafe { std::slice::from_raw_parts_mut(block, 4 << 20) };
        assert!(bytes.iter().all(|&byte| byte == 0), "a zeroed block is not zero");
        bytes.fill(0xff);
    }
    pages.verify().unwrap();
    free_all(&pages, held);
    pages.verify().unwrap();
}

#[test]
#[cfg_attr(miri, ignore = "too much memory")]
fn a_node_is_exhausted_before_its_neighbours_are_asked() {
    let machine = Machine::<12>::builder()
        .ram(4 * GIB, 512 * MIB, 0)
        .ram(5 * GIB, 512 * MIB, 1)
        .ram(6 * GIB, 512 * MIB, 2)
        .cpus(3)
        .finish();
    let pages = pages(&machine, &[]);
    let node_of = |pfn: Pfn| NodeId::new((pfn.address(12).as_u64() / GIB - 4) as u16);
    let size = order(9);
    for cpu in 0..3u16 {
        run_on(mm::addr::CpuId::new(cpu.into()), || {
            let expected: Vec<NodeId> = pages.zones().fallback_order(NodeId::new(cpu)).to_vec();
            assert_eq!(expected[0], NodeId::new(cpu));
            let mut held = Held::default();
            let mut seen: Vec<NodeId> = vec![];
            // Down to the low watermark of all nodes; the second round, to the min watermark, starts at home again.
            while let Ok(pfn) = pages.alloc(size, Gfp::KERNEL) {
                held.add(pfn, size);
                if seen.last() != Some(&node_of(pfn)) {
                    seen.push(node_of(pfn));
                }
            }
            assert_eq!(seen[..3], expected[..3], "CPU {cpu}");
            free_all(&pages, held);
        });
    }
    let only = Gfp::ATOMIC.on(NodeWish::Only(NodeId::new(1)));
    let mut held = Held::default();
    exhaust(&pages, size, only, &mut held);
    assert!(held.0.keys().all(|&start| node_of(Pfn::new(start)) == NodeId::new(1)));
    let next = pages.alloc(size, Gfp::KERNEL.on(NodeWish::Prefer(NodeId::new(1)))).unwrap();
    assert_ne!(node_of(next), NodeId::new(1));
    held.add(next, size);
    assert_eq!(pages.alloc(size, Gfp::KERNEL.on(NodeWish::Only(NodeId::new(7)))), Err(AllocError::NoNode));
    free_all(&pages, held);
    pages.verify().unwrap();
}

#[test]
#[cfg_attr(miri, ignore = "too slow")]
fn low_zones_are_kept_for_those_who_need_them() {
    let machine = Machine::<12>::builder().ram(0, 64 * MIB, 0).finish();
    let pages = pages(&machine, &[]);
    let (dma, _) = pages.populated().find(|(_, span)| span.kind == ZoneKind::Dma).unwrap();
    let mut held = Held::default();
    exhaust(&pages, order(0), Gfp::KERNEL, &mut held);
    let counts = pages.counts(dma);
    assert!(counts.protection[ZoneKind::Normal.index()] > 0);
    assert!(counts.free >= counts.watermarks.min + counts.protection[ZoneKind::Normal.index()]);
    // Who can only use the DMA zone still gets some, and who is in a hurry more.
    let normal = pages.counts(dma).free;
    exhaust(&pages, order(0), Gfp::DMA, &mut held);
    let kernel = pages.counts(dma).free;
    exhaust(&pages, order(0), Gfp { zone: ZoneKind::Dma, ..Gfp::ATOMIC }, &mut held);
    let atomic = pages.counts(dma).free;
    assert!(normal > kernel && kernel > atomic && atomic > 0, "{normal} > {kernel} > {atomic}");
    assert_eq!(kernel, counts.watermarks.min);
    assert_eq!(atomic, counts.watermarks.min - counts.watermarks.min / 2);
    free_all(&pages, held);
    pages.verify().unwrap();
}

#[test]
fn managed_leaves_reserved_and_memmap_out() {
    let size = if cfg!(miri) { 3 * MIB } else { 32 * MIB };
    let machine = Machine::<12>::builder().ram(0, size, 0).finish();
    let pages = pages(&machine, &[(0x10_0000, 0x10_0000)]);
    let counts = pages.verify().unwrap();
    assert_eq!(counts.present, size >> 12);
    assert!(counts.reserved >= 0x100);
    // One section is described as a whole: 32 bytes for each of its frames.
    assert_eq!(counts.memmap, (32u64 << 15).div_ceil(4096));
    assert_eq!(managed(&pages), counts.present - counts.reserved - counts.memmap);
    assert_eq!(counts.untouched + counts.future_memmap + counts.allocated, 0);
}

#[test]
#[cfg_attr(miri, ignore = "too much memory")]
fn the_cost_of_boot_does_not_follow_memory() {
    let described = |size| {
        let machine = Machine::<12>::builder().ram(0, 3 * GIB, 0).ram(4 * GIB, size, 0).finish();
        let pages = pages(&machine, &[(0x10_0000, 0x40_0000)]);
        let counts = pages.verify().unwrap();
        assert_eq!(counts.sum(), machine.ram_size() >> 12);
        counts.memmap + counts.reserved
    };
    let (small, large) = (described(GIB), described(13 * GIB));
    assert!(large <= small + 64, "{small} pages of 4 GiB and {large} of 16 GiB are taken at boot");
}

pub(crate) fn memory_in_two_domains_of_one_section_is_told_apart<K: Kind>() {
    let border = 10 * MIB + 0x3000;
    let machine = Machine::<12>::builder().ram(0, border, 0).ram(border, border + MIB, 1).cpus(2).finish();
    let (pages, _) = pages_as::<K, _>(&machine, &[]).unwrap();
    let before = pages.verify().unwrap();
    for node in [0, 1] {
        let mut held = Held::default();
        exhaust(&pages, order(0), Gfp::ATOMIC.on(NodeWish::Only(NodeId::new(node))), &mut held);
        assert!(held.0.keys().all(|&start| (start < border >> 12) == (node == 0)));
        pages.verify().unwrap();
        free_all(&pages, held);
        assert_eq!(pages.verify(), Ok(before));
    }
}

#[test]
fn two_machines_do_not_meet() {
    let (one, other) =
        (Machine::<12>::builder().ram(0, 3 * MIB, 0).finish(), Machine::<16>::builder().ram(0, 16 * MIB, 0).finish());
    let (first, second) = (pages(&one, &[]), pages(&other, &[]));
    let free = second.free_pages();
    let block = first.alloc(order(2), Gfp::KERNEL).unwrap();
    assert_eq!(second.free_pages(), free);
    give_back(&first, block, order(2)).unwrap();
    assert_eq!(Emulated::<'_, 16>::PAGE_SHIFT, 16);
}

#[test]
#[cfg_attr(miri, ignore = "too slow")]
fn cpus_allocate_and_free_side_by_side() {
    let machine = Machine::<12>::builder().ram(0, 600 * MIB, 0).ram(4 * GIB, 600 * MIB, 1).cpus(4).finish();
    let pages = pages(&machine, &[]);
    let before = (blocks(&pages), pages.free_pages());
    std::thread::scope(|scope| {
        for cpu in 0..4 {
            scope.spawn(move || {
                run_on(mm::addr::CpuId::new(cpu), || {
                    let mut random = Random::new(77 + u64::from(cpu));
                    let mut held = vec![];
                    for _ in 0..3000 {
                        if random.below(2) == 0 {
                            let size = order(random.below(7) as u8);
                            held.extend(pages.alloc(size, Gfp::KERNEL).map(|pfn| (pfn, size)));
                        } else if !held.is_empty() {
                            let (pfn, size) = held.swap_remove(random.below(held.len() as u64) as usize);
                            give_back(&pages, pfn, size).unwrap();
                        }
                    }
                    held.into_iter().for_each(|(pfn, size)| give_back(&pages, pfn, size).unwrap());
                });
            });
        }
    });
    assert_eq!((blocks(&pages), pages.free_pages()), before);
    pages.verify().unwrap();
}
