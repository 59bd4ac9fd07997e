//! Unmapping, protecting, splitting, sharing.

use crate::{empty_tree, phys, virt};
use mm::addr::{CpuId, PhysAddr, VirtAddr};
use mm::layout::VirtRange;
use mm::paging::{Access, ChangeError, Level, MapError, Mapping, NoFrames, PageTables};
use mm_testkit::{Emulated, Fault, Intent, Machine, run_on};

const BASE: u64 = 0xffff_8000_0000_0000;

#[test]
fn protecting_one_page_splits_each_leaf_above_it_once() {
    let machine = Machine::<12>::builder().ram(0, 0x10000, 0).largest_leaf(Level::new(2)).finish();
    let (mut tables, mut frames) = empty_tree(&machine, 15);
    tables.map(VirtAddr::new(BASE), phys(0x4000_0000, 0x8000_0000), Mapping::DATA, &mut frames).unwrap();
    let left = frames.left();
    let page = virt(BASE + 0x20_3000, 0x1000);
    for offset in [0, 0x20_3000, 0x20_4000, 0x3fff_f000] {
        // Every CPU-side translation that the change must flush is in the TLB.
        machine.access(VirtAddr::new(BASE + offset), Intent::Write).unwrap();
    }
    // SAFETY: nothing uses this memory.
    unsafe { tables.protect(page, Access::ReadOnly, &mut frames) }.unwrap().flush(machine.handle());
    assert_eq!(left - frames.left(), 2);
    assert_eq!(machine.access(page.start(), Intent::Write), Err(Fault::Refused(page.start(), Intent::Write)));
    for offset in [0, 0x20_2000, 0x20_3000, 0x20_4000, 0x3fff_ffff] {
        let at = VirtAddr::new(BASE + offset);
        assert_eq!(machine.access(at, Intent::Read), Ok(PhysAddr::new(0x4000_0000 + offset)));
    }
    // 511 leaves of 2 MiB and 512 pages, one of which is read-only.
    let mapped = machine.mappings(tables.root());
    assert_eq!(mapped.len(), 1023);
    let refused: Vec<_> = mapped.iter().filter(|leaf| !leaf.mapping.writable).collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].address, page.start());
    // And back: nothing is split twice.
    // SAFETY: as above.
    unsafe { tables.protect(page, Access::ReadWrite, &mut NoFrames) }.unwrap().flush(machine.handle());
    assert_eq!(machine.access(page.start(), Intent::Write), Ok(PhysAddr::new(0x4020_3000)));
}

#[test]
fn a_change_that_fails_changes_nothing() {
    let machine = Machine::<12>::builder().ram(0, 0x10000, 0).largest_leaf(Level::new(2)).finish();
    let (mut tables, mut frames) = empty_tree(&machine, 15);
    tables.map(VirtAddr::new(BASE), phys(0x4000_0000, 0x8000_0000), Mapping::DATA, &mut frames).unwrap();
    let translations = |tables: &PageTables<Emulated<'_, 12>>| {
        let mut runs = Vec::new();
        tables.leaves(&mut |run| runs.push((run.virt, run.phys, run.mapping)));
        runs
    };
    let before = translations(&tables);
    let half = VirtRange::new(VirtAddr::new(BASE + 0x3fff_f000), VirtAddr::new(BASE + 0x4000_1000));
    // SAFETY: nothing uses this memory, here and below.
    let absent = unsafe { tables.protect(half, Access::ReadOnly, &mut frames) };
    assert_eq!(absent, Err(ChangeError::NotMapped { at: VirtAddr::new(BASE + 0x4000_0000) }));
    let page = virt(BASE + 0x1000, 0x1000);
    // SAFETY: as above.
    let no_frame = unsafe { tables.unmap(page, &mut NoFrames) };
    assert_eq!(no_frame, Err(ChangeError::OutOfFrames { at: page.start() }));
    let odd = virt(BASE + 0x1000, 0x800);
    // SAFETY: as above.
    assert_eq!(unsafe { tables.unmap(odd, &mut frames) }, Err(ChangeError::Misaligned(odd)));
    let low = virt(0x1000, 0x1000);
    // SAFETY: as above.
    assert_eq!(unsafe { tables.unmap(low, &mut frames) }, Err(ChangeError::OutsideTables(low)));
    assert_eq!(translations(&tables), before);
    assert_eq!(machine.mappings(tables.root()).len(), 1);
}

#[test]
fn whole_leaves_go_without_frames_and_holes_do_not_matter() {
    let machine = Machine::<12>::builder().ram(0, 0x10000, 0).finish();
    let (mut tables, mut frames) = empty_tree(&machine, 15);
    let offsets = [0_u64, 0x60_0000, 0x4000_0000];
    for offset in offsets {
        let at = VirtAddr::new(BASE + offset);
        tables.map(at, phys(0x20_0000, 0x40_0000), Mapping::DATA, &mut frames).unwrap();
        machine.access(at, Intent::Read).unwrap();
    }
    // SAFETY: nothing uses this memory.
    unsafe { tables.unmap(virt(BASE, 0x8000_0000), &mut NoFrames) }.unwrap().flush(machine.handle());
    assert!(machine.mappings(tables.root()).is_empty());
    for offset in offsets {
        let at = VirtAddr::new(BASE + offset);
        assert_eq!(machine.access(at, Intent::Read), Err(Fault::Absent(at)));
    }
    assert_eq!((machine.full_flushes(), machine.page_flushes()), (1, 0));
}

#[test]
#[should_panic(expected = "stale translation")]
fn what_is_not_flushed_can_still_be_reached() {
    let machine = Machine::<12>::builder().ram(0, 0x10000, 0).cpus(2).finish();
    let (mut tables, mut frames) = empty_tree(&machine, 15);
    let at = VirtAddr::new(BASE);
    tables.map(at, phys(0x20_0000, 0x20_1000), Mapping::DATA, &mut frames).unwrap();
    run_on(CpuId::new(1), || machine.access(at, Intent::Read)).unwrap();
    // SAFETY: nothing uses this memory.
    let stale = unsafe { tables.unmap(virt(BASE, 0x1000), &mut NoFrames) }.unwrap();
    assert_eq!(stale.range(), virt(BASE, 0x1000));
    let _ = run_on(CpuId::new(1), || machine.access(at, Intent::Read));
}

#[test]
fn a_flush_reaches_every_cpu_and_says_what_it_covers() {
    let machine = Machine::<12>::builder().ram(0, 0x10000, 0).cpus(2).finish();
    let (mut tables, mut frames) = empty_tree(&machine, 15);
    let at = VirtAddr::new(BASE);
    tables.map(at, phys(0x20_0000, 0x20_2000), Mapping::DATA, &mut frames).unwrap();
    run_on(CpuId::new(1), || machine.access(at, Intent::Read)).unwrap();
    // SAFETY: nothing uses this memory.
    let flushed = unsafe { tables.unmap(virt(BASE, 0x2000), &mut NoFrames) }.unwrap().flush(machine.handle());
    assert_eq!(run_on(CpuId::new(1), || machine.access(at, Intent::Read)), Err(Fault::Absent(at)));
    assert!(flushed.covers(virt(BASE + 0x1000, 0x1000)) && !flushed.covers(virt(BASE + 0x1000, 0x2000)));
}

#[test]
fn a_leaf_that_is_writable_and_executable_is_not_split() {
    let machine = Machine::<12>::builder().ram(0, 0x80_0000, 0).finish();
    // SAFETY: nobody else uses this machine.
    let mut boot = unsafe { machine.boot(phys(0x20_0000, 0x28_0000), phys(0x40_0000, 0x60_0000)) };
    let window = Emulated::<12>::LAYOUT.phys_to_virt(PhysAddr::new(0x40_0000)).unwrap();
    let page = virt(window.as_u64() + 0x1000, 0x1000);
    // SAFETY: nothing uses this memory, here and below.
    let error = unsafe { boot.tables.protect(page, Access::ReadOnly, &mut boot.frames) };
    assert_eq!(error, Err(ChangeError::WritableExecutable { at: page.start() }));
    let whole = virt(window.as_u64(), 0x20_0000);
    // SAFETY: as above.
    unsafe { boot.tables.protect(whole, Access::ReadWrite, &mut NoFrames) }.unwrap().flush(machine.handle());
    assert!(machine.access(page.start(), Intent::Execute).is_err());
}

#[test]
fn shared_tables_show_each_change_in_both_trees() {
    let machine = Machine::<12>::builder().ram(0, 0x80_0000, 0).finish();
    // SAFETY: nobody else uses this machine.
    let mut boot = unsafe { machine.boot(phys(0x20_0000, 0x28_0000), phys(0x40_0000, 0x60_0000)) };
    let area = Emulated::<12>::LAYOUT.fixmap;
    let mut other = PageTables::create(machine.handle(), PhysAddr::new(0), &mut boot.frames).unwrap();
    other.share(&boot.tables, area, &mut boot.frames).unwrap();
    // To share again is no error.
    other.share(&boot.tables, area, &mut NoFrames).unwrap();
    let at = VirtAddr::new(area.end().as_u64() - 0x1000);
    boot.tables.map(at, phys(0x1000, 0x2000), Mapping::DATA, &mut NoFrames).unwrap();
    assert_eq!(other.translate(at), boot.tables.translate(at));
    assert!(other.translate(at).is_some());
    // A tree that has tables of its own there cannot share.
    let mut third = PageTables::create(machine.handle(), PhysAddr::new(0), &mut boot.frames).unwrap();
    third.map(area.start(), phys(0x1000, 0x2000), Mapping::DATA, &mut boot.frames).unwrap();
    let refused = third.share(&boot.tables, area, &mut boot.frames);
    assert_eq!(refused, Err(MapError::AlreadyMapped { at: area.start() }));
}
