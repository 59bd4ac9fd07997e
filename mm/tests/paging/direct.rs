//! The direct map, built with nothing reachable but what entry code leaves, on machines with holes and nodes.

use crate::phys;
use mm::addr::{NodeId, PhysAddr, PhysRange};
use mm::arch::PageFormat;
use mm::machine::Owner;
use mm::memblock::{Direction, Memblock, MemblockError, NodeWish, RegionFlags};
use mm::paging::{
    Access, BootFrames, DirectError, FrameSource, Level, MapError, Mapping, MemoryType, PageTables, RawMapping,
    map_direct,
};
use mm_testkit::{Boot, Emulated, Machine, RangeFrames};
use std::collections::BTreeSet;

const READ_ONLY: RawMapping = RawMapping { writable: false, executable: false, memory: MemoryType::Normal };
const DATA: RawMapping = RawMapping { writable: true, executable: false, memory: MemoryType::Normal };

/// A machine with its image and window, and what must come out.
struct Case<const SHIFT: u32> {
    machine: Machine<SHIFT>,
    image: PhysRange,
    window: PhysRange,
    /// The image's text and read-only data.
    fixed: [(PhysRange, Access); 2],
    no_map: Vec<PhysRange>,
}

impl<const SHIFT: u32> Case<SHIFT> {
    /// Sizes are in pages; the image has 128, text from its second on.
    fn new(machine: Machine<SHIFT>, image: u64, window: (u64, u64)) -> Self {
        let page = |number: u64| number << SHIFT;
        Self {
            machine,
            image: phys(page(image), page(image + 128)),
            window: phys(page(window.0), page(window.1)),
            fixed: [
                (phys(page(image + 1), page(image + 20)), Access::ReadOnly),
                (phys(page(image + 20), page(image + 29)), Access::ReadOnly),
            ],
            no_map: Vec::new(),
        }
    }

    fn memblock<'m>(&self, boot: &Boot<'m, SHIFT>, handle: Emulated<'m, SHIFT>) -> Memblock<Emulated<'m, SHIFT>> {
        let mut memblock = Memblock::new(handle);
        for (range, domain) in handle.machine().ram() {
            memblock.add(range).unwrap();
            memblock.set_node(range, NodeId::new(u16::try_from(domain).unwrap())).unwrap();
        }
        memblock.reserve(self.image, Owner::new("kernel")).unwrap();
        for range in &self.no_map {
            memblock.mark(*range, RegionFlags::NOMAP).unwrap();
        }
        assert!(self.image.contains_range(boot.frames.rest()));
        // SAFETY: the boot tables map the window, which is RAM, and nobody uses what is not reserved of it.
        unsafe { memblock.set_mapped(self.window) };
        memblock
    }

    /// RAM in whole pages that must be mapped, by ascending address, neighbours joined.
    fn expected(&self) -> Vec<PhysRange> {
        let mut runs: Vec<PhysRange> = Vec::new();
        for (range, _) in self.machine.ram() {
            let mut rest = vec![range.shrink_to(1 << SHIFT)];
            for hole in &self.no_map {
                rest = rest
                    .into_iter()
                    .flat_map(|range| {
                        [
                            PhysRange::new(range.start(), range.end().min(hole.start())),
                            PhysRange::new(range.start().max(hole.end()), range.end()),
                        ]
                    })
                    .filter(|range| !range.is_empty())
                    .collect();
            }
            for range in rest {
                match runs.last_mut() {
                    Some(last) if last.end() == range.start() => *last = PhysRange::new(last.start(), range.end()),
                    _ => runs.push(range),
                }
            }
        }
        runs
    }

    /// Builds the direct map, switches to it, and checks every byte.
    fn check(&self) {
        // Memory that tables are likely to come from holds anything but zeroes.
        self.machine.poison(self.window, 0xa5);
        for (range, _) in self.machine.ram() {
            let pages = range.shrink_to(1 << SHIFT);
            let tail = pages.start().as_u64().max(pages.end().as_u64().saturating_sub(MIB));
            let tail = PhysRange::new(PhysAddr::new(tail), pages.end());
            if !tail.overlaps(self.image) {
                self.machine.poison(tail, 0xa5);
            }
        }
        // SAFETY: the image is reserved in memblock, and the test uses it for nothing else.
        let mut boot = unsafe { self.machine.boot(self.image, self.window) };
        let handle = self.machine.handle();
        let mut memblock = self.memblock(&boot, handle);
        // Miri is there for the pointers, and slow; what is mapped is the business of the other runs.
        if !cfg!(miri) {
            self.machine.require_mapped();
        }
        // SAFETY: the boot tables are active and map what they map at the layout's addresses; free memory is nobody's.
        let built =
            unsafe { map_direct(&mut boot.tables, &mut memblock, handle.layout(), &self.fixed, &mut boot.frames) };
        let mut tables = built.unwrap();
        self.check_live(&boot.tables);
        self.check_tables(&tables, &memblock);
        self.check_mapped(&tables);
        // Tables are held for good, and memblock may use whatever is mapped.
        for table in self.machine.tables(tables.root()).iter().filter(|table| !self.image.contains(table.frame)) {
            let frame = PhysRange::from_size(table.frame, 1 << SHIFT).unwrap();
            assert_eq!(memblock.free(frame), Err(MemblockError::InUse(frame)));
        }
        assert!(self.expected().iter().all(|run| memblock.mapped().contains_range(*run)));
        // Image and fixmap come into the same tree.
        let mut frames = BootFrames::new(&mut memblock);
        tables.share(&boot.tables, handle.layout().fixmap, &mut frames).unwrap();
        tables.map(handle.layout().image.start(), self.image, Mapping::TEXT, &mut frames).unwrap();
        assert_eq!(tables.find_writable_executable(), None);
        self.machine.set_root(tables.root());
        // Everything is reached now, by memblock too.
        for run in self.expected() {
            for address in [run.start(), run.last()] {
                assert_eq!(handle_phys(handle, address), address);
            }
        }
        let slice = memblock.alloc_slice::<u64>(8, NodeWish::Any, Owner::new("test")).unwrap();
        assert!(slice.iter().all(|word| *word == 0));
    }

    /// Until the switch the live tables reach all of it too.
    fn check_live(&self, live: &PageTables<Emulated<'_, SHIFT>>) {
        let layout = Emulated::<SHIFT>::LAYOUT;
        let mut reached: Vec<PhysRange> = Vec::new();
        for leaf in self.machine.mappings(live.root()).iter().filter(|leaf| layout.direct.contains(leaf.address)) {
            assert_eq!(layout.virt_to_phys(leaf.address), Some(leaf.physical));
            let range = PhysRange::from_size(leaf.physical, leaf.size).unwrap();
            match reached.last_mut() {
                Some(last) if last.end() == range.start() => *last = PhysRange::new(last.start(), range.end()),
                _ => reached.push(range),
            }
        }
        for run in self.expected() {
            assert!(reached.iter().any(|range| range.contains_range(run)), "{run} is not reached");
        }
    }

    /// Exactly the expected bytes are mapped, each with its access, in leaves that are as large as they can be.
    fn check_mapped(&self, tables: &PageTables<Emulated<'_, SHIFT>>) {
        let layout = Emulated::<SHIFT>::LAYOUT;
        let mapped = self.machine.mappings(tables.root());
        // Segments that are mapped alike, as the caller of `map_direct` sees them.
        let mut segments: Vec<(PhysRange, RawMapping)> = Vec::new();
        for run in self.expected() {
            let mut cuts: BTreeSet<u64> = [run.start().as_u64(), run.end().as_u64()].into();
            for (range, _) in &self.fixed {
                let inside = |at: &u64| run.start().as_u64() < *at && *at < run.end().as_u64();
                cuts.extend([range.start().as_u64(), range.end().as_u64()].into_iter().filter(inside));
            }
            let cuts: Vec<u64> = cuts.into_iter().collect();
            for pair in cuts.windows(2) {
                let range = phys(pair[0], pair[1]);
                let fixed = self.fixed.iter().any(|(fixed, _)| fixed.contains_range(range));
                segments.push((range, if fixed { READ_ONLY } else { DATA }));
            }
        }
        let mut leaves = mapped.iter();
        let largest = (0..3).rev().map(Level::new).find(|level| self.machine.handle().leaf_at(*level)).unwrap();
        for (segment, mapping) in segments {
            let mut at = segment.start();
            while at < segment.end() {
                let leaf = leaves.next().unwrap_or_else(|| panic!("{segment} is not mapped from {at:?} on"));
                assert_eq!((leaf.physical, leaf.mapping), (at, mapping), "in {segment}");
                assert_eq!(layout.virt_to_phys(leaf.address), Some(at));
                // The largest aligned leaf that fits into the segment.
                let fits = |level: &Level| {
                    let span = level.span::<Emulated<'_, SHIFT>>();
                    at.is_aligned(span) && segment.end().as_u64() - at.as_u64() >= span
                };
                let best = (0..=largest.as_u8()).rev().map(Level::new).find(fits).unwrap();
                assert_eq!(leaf.level, best, "the leaf at {at:?} in {segment}");
                at = at.checked_add(leaf.size).unwrap();
            }
            assert_eq!(at, segment.end());
        }
        assert_eq!(leaves.next(), None, "something else is mapped");
    }

    /// Tables lie in RAM that is reserved for them, each frame once, and on the node of the memory that they map,
    /// but for the few that a region begins with.
    fn check_tables(&self, tables: &PageTables<Emulated<'_, SHIFT>>, memblock: &Memblock<Emulated<'_, SHIFT>>) {
        let layout = Emulated::<SHIFT>::LAYOUT;
        let mut seen = BTreeSet::new();
        let mut away = 0;
        let all = self.machine.tables(tables.root());
        for table in &all {
            assert!(seen.insert(table.frame), "{:?} is used twice", table.frame);
            let owner = memblock.reserved().find(table.frame).map(|region| region.owner());
            let owner = owner.map(|owner| owner.as_str().to_owned());
            assert!(
                self.image.contains(table.frame) || owner.as_deref() == Some(BootFrames::<Emulated<'_, SHIFT>>::OWNER),
                "{table:?} belongs to {owner:?}"
            );
            let node = |address| memblock.memory().find(address).and_then(|region| region.node());
            // The memory behind the middle: tables begin in holes as well.
            let span = table.level.span::<Emulated<'_, SHIFT>>() << (SHIFT - 3);
            let served = layout.virt_to_phys(table.address).map(|start| start.saturating_add(span / 2));
            if let (Some(served), Some(own)) = (served.and_then(node), node(table.frame)) {
                away += usize::from(served != own && table.level < Level::new(2));
            }
        }
        assert!(away <= 4 * memblock.memory().len(), "{away} of {} tables are on another node", all.len());
    }
}

/// The physical address behind a checked physical pointer.
fn handle_phys<const SHIFT: u32>(handle: Emulated<'_, SHIFT>, address: PhysAddr) -> PhysAddr {
    use mm::arch::PhysMap;
    handle.ptr_phys(handle.phys_ptr(address)).unwrap()
}

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

#[test]
#[cfg_attr(miri, ignore = "thousands of entries: too slow there")]
fn a_pc_with_a_hole_below_1_mib() {
    // An odd edge at 0x9fc00, as a PC's BIOS leaves it.
    let machine = Machine::<12>::builder()
        .ram(0x1000, 0x9_ec00, 0)
        .ram(MIB, 2 * GIB - MIB + 0x3_5000, 0)
        .ram(4 * GIB, GIB + 4 * MIB, 0)
        .finish();
    Case::new(machine, 0x200, (0x400, 0x800)).check();
}

#[test]
#[cfg_attr(miri, ignore = "thousands of entries: too slow there")]
fn leaves_of_1_gib_where_the_cpu_has_them() {
    let machine = Machine::<12>::builder()
        .ram(0, 0x9_f000, 0)
        .ram(MIB, 3 * GIB - MIB, 0)
        .ram(4 * GIB, 3 * GIB + 0x1000, 1)
        .largest_leaf(Level::new(2))
        .finish();
    Case::new(machine, 0x200, (0x400, 0x800)).check();
}

#[test]
#[cfg_attr(miri, ignore = "thousands of entries: too slow there")]
fn a_window_inside_a_leaf_of_1_gib() {
    // The live tables have small leaves where the new ones have one large leaf.
    let machine = Machine::<12>::builder().ram(0, 3 * GIB, 0).largest_leaf(Level::new(2)).finish();
    let window = (GIB + 4 * MIB) >> 12;
    Case::new(machine, 0x200, (window, window + 0x234)).check();
}

#[test]
#[cfg_attr(miri, ignore = "thousands of entries: too slow there")]
fn ram_at_32_gib() {
    let machine = Machine::<12>::builder().ram(32 * GIB, GIB, 0).ram(33 * GIB + 0x5000, 300 * MIB, 0).finish();
    let first = (32 * GIB) >> 12;
    Case::new(machine, first + 0x10, (first + 0x400, first + 0x600)).check();
}

#[test]
fn the_window_above_everything_that_comes_first() {
    // The first memory has next to nothing free, and the window is in the last.
    let machine = Machine::<12>::builder().ram(0, 0x3000, 0).ram(0x20_0000, 4 * MIB, 0).ram(GIB, 4 * MIB, 1).finish();
    let window = GIB >> 12;
    Case::new(machine, 0x200, (window, window + 0x200)).check();
}

#[test]
#[cfg_attr(miri, ignore = "thousands of entries: too slow there")]
fn pages_only() {
    let machine =
        Machine::<12>::builder().ram(0x1000, 0x9_e000, 0).ram(MIB, 40 * MIB, 0).largest_leaf(Level::PAGE).finish();
    Case::new(machine, 0x200, (0x300, 0x400)).check();
}

#[test]
#[cfg_attr(miri, ignore = "thousands of entries: too slow there")]
fn pages_of_16_kib() {
    let machine = Machine::<14>::builder().ram(0x4000, 300 * MIB + 0x1000, 0).ram(8 * GIB, 130 * MIB, 1).finish();
    Case::new(machine, 0x10, (0xa0, 0xe0)).check();
}

#[test]
#[cfg_attr(miri, ignore = "thousands of entries: too slow there")]
fn pages_of_64_kib() {
    let machine = Machine::<16>::builder().ram(GIB, 2 * GIB + 0x3_0000, 0).ram(32 * GIB, 600 * MIB, 1).finish();
    Case::new(machine, 0x4100, (0x4200, 0x4300)).check();
}

#[test]
#[cfg_attr(miri, ignore = "thousands of entries: too slow there")]
fn ranges_that_must_not_be_mapped_stay_out() {
    let machine = Machine::<12>::builder().ram(0, 600 * MIB, 0).ram(4 * GIB, 64 * MIB, 0).finish();
    let mut case = Case::new(machine, 0x200, (0x300, 0x400));
    case.no_map = vec![phys(0x8_0000, 0x8_3000), phys(0x28_8000, 0x29_9000), phys(4 * GIB + MIB, 4 * GIB + 2 * MIB)];
    case.check();
}

#[test]
#[cfg_attr(miri, ignore = "thousands of entries: too slow there")]
fn tables_lie_on_the_node_that_they_serve() {
    // Neighbouring nodes that meet inside a large leaf.
    let boundary = 4 * GIB + 0x12_3000;
    let machine = Machine::<12>::builder().ram(0, boundary, 0).ram(boundary, 6 * GIB, 1).finish();
    let case = Case::new(machine, 0x200, (0x400, 0x800));
    case.check();
    // Look closer than `check` does: which of the tables of node 1's large leaves are on node 0?
    for direction in [Direction::TopDown, Direction::BottomUp] {
        case.machine.require_ram_only();
        // SAFETY: as in `check`; what was built before is not used any more.
        let mut boot = unsafe { case.machine.boot(case.image, case.window) };
        let handle = case.machine.handle();
        let mut memblock = case.memblock(&boot, handle);
        memblock.set_direction(direction);
        // SAFETY: as in `check`.
        let built =
            unsafe { map_direct(&mut boot.tables, &mut memblock, handle.layout(), &case.fixed, &mut boot.frames) };
        let (mut local, mut away) = (0, 0);
        for table in case.machine.tables(built.unwrap().root()).iter().filter(|table| table.level == Level::new(1)) {
            if handle.layout().virt_to_phys(table.address).unwrap().as_u64() >= boundary {
                let on_own_node = table.frame.as_u64() >= boundary;
                local += u32::from(on_own_node);
                away += u32::from(!on_own_node);
            }
        }
        // Node 1 begins inside the table for 4..5 GiB, so that its own memory is there for the next.
        assert!(local >= 5 && away <= 1, "{direction:?}: {local} tables on node 1, {away} away");
    }
}

#[test]
fn memory_that_has_no_place_in_the_direct_map_is_named() {
    let machine = Machine::<12>::builder().ram(0x20_0000, 4 * MIB, 0).finish();
    let image = phys(0x20_0000, 0x28_0000);
    let window = phys(0x40_0000, 0x60_0000);
    // SAFETY: nobody else uses this machine.
    let mut boot = unsafe { machine.boot(image, window) };
    let mut memblock = Memblock::new(machine.handle());
    let far = phys(64 << 40, (64 << 40) + 0x1000);
    for range in [machine.ram().next().unwrap().0, far] {
        memblock.add(range).unwrap();
    }
    memblock.reserve(image, Owner::new("kernel")).unwrap();
    memblock.reserve(far, Owner::new("nowhere")).unwrap();
    // SAFETY: as in `Case::memblock`.
    unsafe { memblock.set_mapped(window) };
    let layout = Emulated::<12>::LAYOUT;
    let mut attempt = |memblock: &mut Memblock<_>, fixed: &[(PhysRange, Access)]| {
        // SAFETY: as in `Case::check`; what is not RAM is reserved.
        unsafe { map_direct(&mut boot.tables, memblock, &layout, fixed, &mut boot.frames) }.map(|tables| tables.root())
    };
    assert_eq!(attempt(&mut memblock, &[]), Err(DirectError::OutOfReach(far)));
    let odd = phys(0x20_0800, 0x20_1000);
    assert_eq!(attempt(&mut memblock, &[(odd, Access::ReadOnly)]), Err(DirectError::Misaligned(odd)));
    memblock.remove(far).unwrap();
    assert!(attempt(&mut memblock, &[]).is_ok());
}

/// A pool that gives only so many frames.
struct Limited<'f> {
    frames: &'f mut RangeFrames,
    left: u32,
}

// SAFETY: gives what the pool behind it gives.
unsafe impl FrameSource for Limited<'_> {
    fn table_frame(&mut self, near: PhysAddr) -> Option<PhysAddr> {
        self.left = self.left.checked_sub(1)?;
        self.frames.table_frame(near)
    }
}

#[test]
#[cfg_attr(miri, ignore = "thousands of entries: too slow there")]
fn running_out_of_frames_is_an_error_and_leaves_nothing_wrong() {
    let mut failed = 0;
    for left in 0.. {
        let machine = Machine::<12>::builder().ram(0, 0x9_f000, 0).ram(0x20_0000, 4 * MIB, 0).finish();
        let case = Case::new(machine, 0x200, (0x300, 0x400));
        // SAFETY: as in `Case::check`.
        let mut boot = unsafe { case.machine.boot(case.image, case.window) };
        let handle = case.machine.handle();
        let mut memblock = case.memblock(&boot, handle);
        // All memory has somebody: only the pool is left.
        memblock.reserve(PhysRange::ALL, Owner::new("everybody")).unwrap();
        case.machine.require_mapped();
        let mut frames = Limited { frames: &mut boot.frames, left };
        // SAFETY: as in `Case::check`.
        let built = unsafe { map_direct(&mut boot.tables, &mut memblock, handle.layout(), &case.fixed, &mut frames) };
        // The live tables go on to map everything at its place, whatever happened.
        let layout = handle.layout();
        for leaf in case.machine.mappings(boot.tables.root()) {
            if layout.direct.contains(leaf.address) {
                assert_eq!(layout.virt_to_phys(leaf.address), Some(leaf.physical));
            }
        }
        assert_eq!(handle_phys(handle, case.image.start()), case.image.start());
        match built {
            Ok(tables) => {
                case.check_mapped(&tables);
                break;
            }
            Err(DirectError::NoRoot) => assert_eq!(left, 0),
            Err(error) => assert!(matches!(error, DirectError::Map(MapError::OutOfFrames { .. })), "{error}"),
        }
        failed += 1;
    }
    // Root, two upper tables, pages for the low memory and for the image's edges.
    assert!((4..24).contains(&failed), "{failed} frames are needed");
}
