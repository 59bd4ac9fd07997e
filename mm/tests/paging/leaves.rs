//! Which leaves `map` chooses, what it refuses, and what walks and dumps show of it.

use crate::{empty_tree, phys, virt};
use mm::addr::{PhysAddr, PhysRange, VirtAddr};
use mm::arch::PageFormat;
use mm::paging::{Access, Level, MapError, Mapping, MemoryType, NoFrames, RawMapping};
use mm_testkit::{Emulated, Intent, Machine};

const BASE: u64 = 0xffff_8000_0000_0000;

fn one_leaf_of_each_size<const SHIFT: u32>() {
    for largest in (0..Emulated::<SHIFT>::LEVELS - 1).map(Level::new) {
        let machine = Machine::<SHIFT>::builder().ram(0, 8 << SHIFT, 0).largest_leaf(largest).finish();
        let (mut tables, mut frames) = empty_tree(&machine, 7);
        let span = largest.span::<Emulated<'_, SHIFT>>();
        let memory = PhysRange::from_size(PhysAddr::new(3 * span), span).unwrap();
        tables.map(VirtAddr::new(BASE + span), memory, Mapping::DATA, &mut frames).unwrap();
        let mapped = machine.mappings(tables.root());
        assert_eq!(mapped.len(), 1);
        assert_eq!((mapped[0].level, mapped[0].size), (largest, span));
        assert_eq!(mapped[0].address, VirtAddr::new(BASE + span));
        assert_eq!(mapped[0].physical, memory.start());
        // Tables from the root down to the leaf's level, and no more.
        assert_eq!(machine.tables(tables.root()).len(), usize::from(Emulated::<SHIFT>::LEVELS - largest.as_u8()));
        let byte = VirtAddr::new(BASE + span + span / 2 + 7);
        let found = tables.translate(byte).unwrap();
        assert_eq!(found.address, PhysAddr::new(3 * span + span / 2 + 7));
        assert_eq!((found.level, found.mapping), (largest, Mapping::DATA.raw()));
        assert_eq!(machine.access(byte, Intent::Write), Ok(found.address));
        assert!(machine.access(byte, Intent::Execute).is_err());
        assert!(machine.publishes() > 0);
    }
}

#[test]
fn one_leaf_of_each_size_4k() {
    one_leaf_of_each_size::<12>();
}

#[test]
fn one_leaf_of_each_size_16k() {
    one_leaf_of_each_size::<14>();
}

#[test]
fn one_leaf_of_each_size_64k() {
    one_leaf_of_each_size::<16>();
}

#[test]
fn pages_at_the_edges_large_leaves_between() {
    let machine = Machine::<12>::builder().ram(0, 0x10000, 0).largest_leaf(Level::new(2)).finish();
    let (mut tables, mut frames) = empty_tree(&machine, 15);
    let memory = phys(0x3fdf_f000, 0x8020_1000);
    tables.map(VirtAddr::new(BASE + 0x3fdf_f000), memory, Mapping::DATA, &mut frames).unwrap();
    let mut runs = Vec::new();
    tables.leaves(&mut |run| runs.push((run.phys.as_u64(), run.leaf_bytes, run.leaves())));
    assert_eq!(
        runs,
        [
            (0x3fdf_f000, 0x1000, 1),
            (0x3fe0_0000, 0x20_0000, 1),
            (0x4000_0000, 0x4000_0000, 1),
            (0x8000_0000, 0x20_0000, 1),
            (0x8020_0000, 0x1000, 1)
        ]
    );
}

#[test]
fn memory_that_is_not_aligned_as_its_address_gets_smaller_leaves() {
    let machine = Machine::<12>::builder().ram(0, 0x10000, 0).finish();
    let (mut tables, mut frames) = empty_tree(&machine, 15);
    tables.map(VirtAddr::new(BASE), phys(0x1000, 0x20_1000), Mapping::DATA, &mut frames).unwrap();
    assert!(machine.mappings(tables.root()).iter().all(|leaf| leaf.level == Level::PAGE));
    tables.map_pages_only(VirtAddr::new(BASE + 0x20_0000), phys(0, 0x20_0000), Mapping::TEXT, &mut frames).unwrap();
    let mapped = machine.mappings(tables.root());
    assert_eq!(mapped.len(), 1024);
    assert!(mapped[512..].iter().all(|leaf| leaf.level == Level::PAGE && leaf.mapping == Mapping::TEXT.raw()));
}

#[test]
fn the_last_page_of_the_address_space_can_be_mapped() {
    let machine = Machine::<12>::builder().ram(0, 0x10000, 0).finish();
    let (mut tables, mut frames) = empty_tree(&machine, 15);
    let last = VirtAddr::new(0_u64.wrapping_sub(0x1000));
    tables.map(last, phys(0x5000, 0x6000), Mapping::RODATA, &mut frames).unwrap();
    assert_eq!(tables.translate(VirtAddr::new(u64::MAX)).unwrap().address, PhysAddr::new(0x5fff));
    let error = tables.map(last, phys(0x5000, 0x7000), Mapping::RODATA, &mut frames);
    assert_eq!(error, Err(MapError::OutsideTables { at: last, size: 0x2000 }));
}

#[test]
fn what_is_mapped_stays() {
    let machine = Machine::<12>::builder().ram(0, 0x10000, 0).finish();
    let (mut tables, mut frames) = empty_tree(&machine, 15);
    let at = VirtAddr::new(BASE);
    tables.map(at, phys(0x20_0000, 0x40_0000), Mapping::DATA, &mut frames).unwrap();
    let before = machine.mappings(tables.root());
    // The same again, whole or in part, is no error and needs no frame.
    tables.map(at, phys(0x20_0000, 0x40_0000), Mapping::DATA, &mut NoFrames).unwrap();
    let inside = VirtAddr::new(BASE + 0x3000);
    tables.map(inside, phys(0x20_3000, 0x20_5000), Mapping::DATA, &mut NoFrames).unwrap();
    // Other memory, another access, another memory type are.
    for (memory, mapping) in [
        (phys(0x20_4000, 0x20_6000), Mapping::DATA),
        (phys(0x20_3000, 0x20_5000), Mapping::RODATA),
        (phys(0x20_3000, 0x20_5000), Mapping::DEVICE),
    ] {
        let error = tables.map(inside, memory, mapping, &mut frames);
        assert_eq!(error, Err(MapError::AlreadyMapped { at: inside }));
    }
    assert_eq!(machine.mappings(tables.root()), before);
}

#[test]
fn bad_ranges_are_refused() {
    let machine = Machine::<12>::builder().ram(0, 0x10000, 0).finish();
    let (mut tables, mut frames) = empty_tree(&machine, 15);
    for (at, memory) in [(BASE + 1, phys(0, 0x1000)), (BASE, phys(0x800, 0x1800)), (BASE, phys(0, 0x1800))] {
        let at = VirtAddr::new(at);
        let error = tables.map(at, memory, Mapping::DATA, &mut frames);
        assert_eq!(error, Err(MapError::Misaligned { at, range: memory }));
    }
    for at in [0, 0x40_0000, 0xfffe_ffff_ffff_f000].map(VirtAddr::new) {
        let error = tables.map(at, phys(0, 0x2000), Mapping::DATA, &mut frames);
        assert_eq!(error, Err(MapError::OutsideTables { at, size: 0x2000 }));
        assert_eq!(tables.translate(at), None);
        assert!(tables.walk(at).steps().is_empty());
    }
    tables.map(VirtAddr::new(BASE), phys(0x1000, 0x1000), Mapping::DATA, &mut NoFrames).unwrap();
    assert!(machine.mappings(tables.root()).is_empty());
}

#[test]
fn without_frames_the_beginning_is_mapped_and_the_call_can_be_repeated() {
    let machine = Machine::<12>::builder().ram(0, 0x10000, 0).finish();
    let (mut tables, mut frames) = empty_tree(&machine, 3);
    let memory = phys(0x1f_e000, 0x20_2000);
    let at = VirtAddr::new(BASE + 0x1f_e000);
    let boundary = VirtAddr::new(BASE + 0x20_0000);
    assert_eq!(
        tables.map_pages_only(at, memory, Mapping::DATA, &mut frames),
        Err(MapError::OutOfFrames { at: boundary })
    );
    assert_eq!(machine.mappings(tables.root()).len(), 2);
    let spare = machine.ram().next().unwrap().0;
    let spare = PhysRange::new(PhysAddr::new(spare.end().as_u64() - 0x1000), spare.end());
    // SAFETY: the end of RAM is not in the pool.
    let mut more = unsafe { mm_testkit::RangeFrames::new(spare, 12) };
    tables.map_pages_only(at, memory, Mapping::DATA, &mut more).unwrap();
    assert_eq!(machine.mappings(tables.root()).len(), 4);
}

#[test]
fn a_walk_prints_level_by_level() {
    let machine = Machine::<12>::builder().ram(0, 0x10000, 0).finish();
    let (mut tables, mut frames) = empty_tree(&machine, 15);
    let device = Mapping { access: Access::ReadOnly, memory: MemoryType::Device };
    tables.map(VirtAddr::new(BASE + 0x1000), phys(0xfee0_0000, 0xfee0_1000), device, &mut frames).unwrap();
    let text = format!("{}", tables.walk(VirtAddr::new(BASE + 0x1234)));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 5, "{text}");
    assert_eq!(lines[0], format!("page-table walk of 0xffff800000001234, root {:#x}", tables.root()));
    for (line, start) in lines[1..].iter().zip(["  pgd[256] 0x", "  pud[  0] 0x", "  pmd[  0] 0x", "  pte[  1] 0x"]) {
        assert!(line.starts_with(start), "{line}");
    }
    assert!(lines[4].ends_with("maps 0xfee00000 r-- device"));
    let absent = format!("{}", tables.walk(VirtAddr::new(BASE + (1 << 30))));
    assert!(absent.ends_with("\n  pud[  1] 0x0000000000000000 absent"), "{absent}");
    assert!(format!("{}", tables.walk(VirtAddr::new(0))).ends_with("these tables do not translate it"));
}

#[test]
fn writable_and_executable_is_found_where_boot_tables_have_it() {
    let machine = Machine::<12>::builder().ram(0, 0x80_0000, 0).finish();
    // SAFETY: nobody else uses this machine.
    let boot = unsafe { machine.boot(phys(0x20_0000, 0x28_0000), phys(0x40_0000, 0x60_0000)) };
    let run = boot.tables.find_writable_executable().unwrap();
    assert_eq!(run.virt.start(), Emulated::<12>::LAYOUT.phys_to_virt(PhysAddr::new(0x20_0000)).unwrap());
    assert_eq!(run.virt.size(), 0x8_0000);
    let mut text = String::new();
    boot.tables.leaves(&mut |run| text += &format!("{run}\n"));
    assert_eq!(
        text,
        "0xffff000000200000-0xffff000000280000   512 KiB in     4 KiB rwx normal -> 0x200000\n\
         0xffff000000400000-0xffff000000600000     2 MiB in     2 MiB rwx normal -> 0x400000\n\
         0xffffffff80000000-0xffffffff80080000   512 KiB in     4 KiB rwx normal -> 0x200000\n"
    );

    let (mut tables, mut frames) = empty_tree(&machine, 15);
    for (index, mapping) in [Mapping::DATA, Mapping::TEXT, Mapping::RODATA, Mapping::DEVICE].into_iter().enumerate() {
        let at = virt(BASE + index as u64 * 0x1000, 0x1000);
        tables.map(at.start(), phys(0x4000, 0x5000), mapping, &mut frames).unwrap();
    }
    assert_eq!(tables.find_writable_executable(), None);
    assert_eq!(RawMapping { writable: true, executable: true, memory: MemoryType::Normal }.checked(), None);
}
