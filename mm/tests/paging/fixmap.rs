//! Fixmap slots and early ioremap windows.

use crate::phys;
use mm::addr::PhysAddr;
use mm::arch::PhysMap;
use mm::layout::Layout;
use mm::paging::early_ioremap::{WINDOW_PAGES, WINDOWS};
use mm::paging::fixmap::Area;
use mm::paging::{Fixmap, FixmapError, Mapping, Slot};
use mm_testkit::{Boot, Emulated, Fault, Intent, Machine};

fn machine<const SHIFT: u32>() -> Machine<SHIFT> {
    Machine::builder().ram(0, 0x300 << SHIFT, 0).finish()
}

fn boot<const SHIFT: u32>(machine: &Machine<SHIFT>) -> (Boot<'_, SHIFT>, Fixmap<Emulated<'_, SHIFT>>) {
    // SAFETY: the test made this machine and uses the image for nothing else.
    let boot = unsafe { machine.boot(phys(0x200 << SHIFT, 0x240 << SHIFT), phys(0x280 << SHIFT, 0x2c0 << SHIFT)) };
    // SAFETY: the boot tables' fixmap is changed by this value only.
    let fixmap = unsafe { Fixmap::new(machine.handle().layout(), &boot.tables) }.unwrap();
    (boot, fixmap)
}

fn slots<const SHIFT: u32>() {
    let machine = machine::<SHIFT>();
    let (_boot, mut fixmap) = boot(&machine);
    let page = 1 << SHIFT;
    assert_eq!(fixmap.slots(), 1536);
    for slot in [Slot::CONSOLE, Slot::new(1), Slot::new(511), Slot::new(512), Slot::new(1535)] {
        let [one, two] = [3 * page, 5 * page].map(PhysAddr::new);
        let at = fixmap.set(slot, one, Mapping::DATA).unwrap();
        assert_eq!(Some(at), fixmap.address(slot));
        assert_eq!(machine.access(at, Intent::Write), Ok(one));
        assert_eq!(machine.handle().virt_ptr(at), machine.handle().phys_ptr(one));
        assert_eq!(fixmap.set(slot, one, Mapping::DATA), Ok(at));
        assert_eq!(fixmap.set(slot, two, Mapping::DATA), Err(FixmapError::InUse(slot)));
        assert_eq!(fixmap.set(slot, one, Mapping::DEVICE), Err(FixmapError::InUse(slot)));
        fixmap.clear(slot).unwrap();
        // The CPU remembered the first translation: without a flush these would fail.
        assert_eq!(machine.access(at, Intent::Read), Err(Fault::Absent(at)));
        fixmap.set(slot, two, Mapping::RODATA).unwrap();
        assert_eq!(machine.access(at, Intent::Read), Ok(two));
        assert!(machine.access(at, Intent::Write).is_err());
        fixmap.clear(slot).unwrap();
        fixmap.clear(slot).unwrap();
        assert_eq!(fixmap.get(slot), None);
    }
    let beyond = Slot::new(1536);
    assert_eq!(fixmap.set(beyond, PhysAddr::new(0), Mapping::DATA), Err(FixmapError::NoSuchSlot(beyond)));
    let odd = PhysAddr::new(page + 8);
    assert_eq!(fixmap.set(Slot::CONSOLE, odd, Mapping::DATA), Err(FixmapError::Misaligned(odd)));
}

#[test]
fn slots_4k() {
    slots::<12>();
}

#[test]
fn slots_16k() {
    slots::<14>();
}

#[test]
fn slots_64k() {
    slots::<16>();
}

#[test]
fn areas_hand_out_neighbouring_slots_until_they_are_full() {
    let machine = machine::<12>();
    let (_boot, mut fixmap) = boot(&machine);
    let uart = fixmap.map(Area::Device, phys(0xfe00_1004, 0xfe00_2004), Mapping::DEVICE).unwrap();
    assert_eq!(Some(uart.as_u64() - 4), fixmap.address(Slot::new(1)).map(mm::addr::VirtAddr::as_u64));
    let next = fixmap.map(Area::Device, phys(0xfe10_0000, 0xfe10_1000), Mapping::DEVICE).unwrap();
    assert_eq!(Some(next), fixmap.address(Slot::new(3)));
    assert_eq!(machine.access(next, Intent::Write), Ok(PhysAddr::new(0xfe10_0000)));
    let many = fixmap.map(Area::Device, phys(0, 125 << 12), Mapping::DEVICE);
    assert_eq!(many, Err(FixmapError::Full { area: Area::Device, slots: 125 }));
    fixmap.map(Area::Device, phys(0, 124 << 12), Mapping::DEVICE).unwrap();
    assert!(fixmap.map(Area::Device, phys(0, 1), Mapping::DEVICE).is_err());

    // A device tree of 2 MiB at an odd place touches 513 pages.
    let tree = phys(0x4800_0008, 0x4820_0008);
    let at = fixmap.map(Area::DeviceTree, tree, Mapping::RODATA).unwrap();
    for offset in [0, 0x1000, 0x1f_ffff] {
        let at = at.checked_add(offset).unwrap();
        assert_eq!(machine.access(at, Intent::Read), Ok(PhysAddr::new(0x4800_0008 + offset)));
    }
    let empty = phys(0x1000, 0x1000);
    assert_eq!(fixmap.map(Area::Device, empty, Mapping::DEVICE), Err(FixmapError::BadRange(empty)));
}

#[test]
fn windows_open_and_close() {
    let machine = machine::<12>();
    let (_boot, mut fixmap) = boot(&machine);
    let mut open = Vec::new();
    for number in 0..u64::from(WINDOWS) {
        let start = 0x1010 + number * 0x1000;
        let window = fixmap.early_ioremap(phys(start, start + 0x2000), Mapping::RODATA).unwrap();
        assert_eq!(machine.access(window.address(), Intent::Read), Ok(PhysAddr::new(start)));
        let last = window.address().checked_add(0x1fff).unwrap();
        assert_eq!(machine.access(last, Intent::Read), Ok(PhysAddr::new(start + 0x1fff)));
        open.push(window);
    }
    assert_eq!(fixmap.open_windows(), WINDOWS);
    assert!(fixmap.early_ioremap(phys(0, 1), Mapping::RODATA).is_err());
    let third = open.remove(2);
    let at = third.address();
    fixmap.early_iounmap(third);
    assert_eq!(fixmap.open_windows(), WINDOWS - 1);
    assert_eq!(machine.access(at, Intent::Read), Err(Fault::Absent(at)));
    let whole = u64::from(WINDOW_PAGES) << 12;
    assert!(fixmap.early_ioremap(phys(1, whole + 1), Mapping::RODATA).is_err());
    let window = fixmap.early_ioremap(phys(0, whole), Mapping::RODATA).unwrap();
    assert_eq!(window.range(), phys(0, whole));
    assert_eq!(window.address().as_u64(), at.as_u64() & !0xfff);
    // No window reaches into its neighbours.
    for other in &open {
        assert_eq!(machine.access(other.address(), Intent::Read), Ok(other.range().start()));
    }
}

#[test]
fn a_fixmap_without_tables_is_refused() {
    let machine = machine::<12>();
    let (boot, _) = boot(&machine);
    let layout = Emulated::<12>::LAYOUT;
    let elsewhere = Layout { fixmap: layout.percpu, ..layout };
    // SAFETY: no fixmap comes of it.
    let missing = unsafe { Fixmap::new(&elsewhere, &boot.tables) };
    assert!(matches!(missing, Err(FixmapError::NoTable(_))));
}
