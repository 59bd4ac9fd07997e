//! Devices: where they are mapped, in which leaves, and what does not agree.

use super::{assert_absent, machine, mapped_in};
use crate::up::up;
use mm::addr::{PhysAddr, PhysRange};
use mm::paging::{Mapping, MemoryType};
use mm::vmalloc::VmallocError;
use mm_testkit::{Intent, Machine};

use MemoryType::{Device, Normal, WriteCombining};

fn phys(start: u64, size: u64) -> PhysRange {
    PhysRange::from_size(PhysAddr::new(start), size).unwrap()
}

#[test]
fn a_device_keeps_its_offset_in_the_page() {
    let machine = machine::<12>();
    let mm = up(&machine, &[]);
    for (start, size, pages) in [(0x1000_0000, 1, 1), (0x1000_0ff8, 16, 2), (0x1000_1004, 0x2000, 3), (0, 0x1000, 1)] {
        let at = mm.vmalloc.ioremap(phys(start, size), Device, "device").unwrap();
        assert_eq!(machine.access(at, Intent::Write), Ok(PhysAddr::new(start)));
        let last = at.checked_add(size - 1).unwrap();
        assert_eq!(machine.access(last, Intent::Read), Ok(PhysAddr::new(start + size - 1)));
        let area = mm.vmalloc.find(at).unwrap();
        assert_eq!((area.mapped.size(), area.pages), (pages << 12, 0));
        assert_absent(&machine, area.mapped.end());
        mm.verify().unwrap();
        // SAFETY: nobody uses the device.
        unsafe { mm.vmalloc.iounmap(at) }.unwrap();
        assert_absent(&machine, at);
    }
    assert_eq!(mapped_in(&machine, mm.vmalloc.space()), 0);
}

#[test]
fn two_ways_to_cache_the_same_bytes_are_refused() {
    let machine = machine::<12>();
    let mm = up(&machine, &[]);
    let ioremap = |start, size, memory| mm.vmalloc.ioremap(phys(start, size), memory, "device");
    let frames = ioremap(0x2000_0000, 0x8000, WriteCombining).unwrap();
    let registers = ioremap(0x1000_0800, 0x10, Device).unwrap();
    let refused = |other, held, wanted| Err(VmallocError::CacheType { other, held, wanted });
    // Another byte of the same page.
    assert_eq!(ioremap(0x1000_0000, 1, Normal), refused(phys(0x1000_0000, 0x1000), Device, Normal));
    assert_eq!(
        ioremap(0x2000_7fff, 1, Device).map_err(|error| error.to_string()),
        Err("[mem 0x0000000020000000-0x0000000020007fff] is mapped as write-combining, not as device".into())
    );
    // Neighbours do not meet, and those that agree may.
    let behind = ioremap(0x2000_8000, 0x1000, Device).unwrap();
    let again = ioremap(0x1000_0800, 0x10, Device).unwrap();
    assert_ne!(registers, again);
    // SAFETY: nobody uses these, here and below.
    unsafe { mm.vmalloc.iounmap(registers) }.unwrap();
    assert!(ioremap(0x1000_0000, 1, Normal).is_err());
    // SAFETY: as above.
    unsafe { mm.vmalloc.iounmap(again) }.unwrap();
    let normal = ioremap(0x1000_0000, 1, Normal).unwrap();
    // Until CPUs have forgotten the old one, it counts.
    // SAFETY: as above.
    let unmapped = unsafe { mm.vmalloc.retire(normal) }.unwrap();
    assert!(ioremap(0x1000_0000, 1, Device).is_err());
    unmapped.flush().give_back().unwrap();
    let device = ioremap(0x1000_0000, 1, Device).unwrap();
    for at in [behind, frames, device] {
        // SAFETY: as above.
        unsafe { mm.vmalloc.iounmap(at) }.unwrap();
    }
    assert_eq!(mm.verify().unwrap().vmalloc.areas, 0);
}

#[test]
fn ram_is_only_mapped_as_the_direct_map_has_it() {
    let machine = Machine::<12>::builder().ram(0x4000_0000, 64 << 20, 0).cpus(4).finish();
    let mut description = machine.describe();
    let access = machine.handle();
    // The direct map holds all RAM in large leaves.
    let facts = description.lend();
    let mut memblock = mm::memblock::Memblock::new(access);
    memblock.populate(&facts, &mut |_| {}).unwrap();
    // SAFETY: all RAM of the emulated machine is in reach, and nobody else uses it.
    unsafe { memblock.set_mapped(PhysRange::ALL) };
    let near = PhysAddr::new(0x4000_0000);
    let mut frames = mm::paging::BootFrames::new(&mut memblock);
    let mut tables = mm::paging::PageTables::create(access, near, &mut frames).unwrap();
    let ram = phys(0x4000_0000, 64 << 20);
    let direct = access.layout().direct_range(ram).unwrap();
    tables.map(direct.start(), ram, Mapping::DATA, &mut frames).unwrap();
    machine.set_root(tables.root());
    let policy = mm::numa::NumaPolicy::firmware(mm::machine::Rules::Arm64);
    let nodes = mm::numa::Nodes::assign(memblock, &facts, policy, &mut String::new(), &mut |_| {}).unwrap();
    let mut zones = mm::zone::Zones::lay_out(nodes, mm::zone::ZoneLimits::x86(12), Default::default()).unwrap();
    zones.build_zonelists().unwrap();
    // SAFETY: these tables are active.
    let mm: mm::Mm<_> = unsafe { mm::Mm::new(zones, tables, access.layout()) }.unwrap();

    let ioremap = |start, size, memory| mm.vmalloc.ioremap(phys(start, size), memory, "device");
    for (start, size) in
        [(0x4000_0000, 1), (0x43ff_ffff, 1), (0x3fff_ffff, 2), (0x3fff_f000, 1 << 30), (0x4100_0000, 64)]
    {
        for memory in [Device, WriteCombining] {
            let refused = ioremap(start, size, memory);
            let at = PhysAddr::new(start.max(0x4000_0000)).align_down(0x1000);
            let wanted = Mapping { memory, ..Mapping::DATA }.raw();
            assert_eq!(refused, Err(VmallocError::DirectMap { at, held: Mapping::DATA.raw(), wanted }));
        }
    }
    let text = ioremap(0x4000_0000, 1, Device).unwrap_err().to_string();
    assert_eq!(text, "the direct map has 0x40000000 as rw- normal, not as rw- device");
    // What lies around it is nobody's, and RAM may be had as it is.
    ioremap(0x3fff_f000, 0x1000, Device).unwrap();
    ioremap(0x4400_0000, 0x1000, Device).unwrap();
    let table = ioremap(0x4200_0010, 0x30, Normal).unwrap();
    assert_eq!(machine.access(table, Intent::Read), Ok(PhysAddr::new(0x4200_0010)));
    mm.verify().unwrap();
}

#[test]
fn large_devices_get_large_leaves() {
    let machine = machine::<12>();
    let mm = up(&machine, &[]);
    let first = mm.vmalloc.ioremap(phys(0x1000_0000, 0x1000), Device, "small").unwrap();
    let aligned = mm.vmalloc.ioremap(phys(0x1_0000_0000, 6 << 20), WriteCombining, "large").unwrap();
    assert!(aligned.is_aligned(2 << 20) && aligned > first);
    let odd = mm.vmalloc.ioremap(phys(0x2_0000_1000, 4 << 20), WriteCombining, "odd").unwrap();
    let leaves = machine.mappings(machine.root().unwrap());
    let count = |at: mm::addr::VirtAddr, size: u64| {
        leaves.iter().filter(|leaf| leaf.address >= at && leaf.address.as_u64() < at.as_u64() + size).count()
    };
    // The odd one begins a page behind a multiple of 2 MiB, in both spaces.
    assert_eq!((count(aligned, 6 << 20), count(odd, 4 << 20)), (3, 511 + 1 + 1));
    mm.verify().unwrap();
    super::on_each_cpu(|| assert!(machine.access(aligned, Intent::Write).is_ok()));
    // SAFETY: nobody uses it.
    unsafe { mm.vmalloc.iounmap(aligned) }.unwrap();
    assert_absent(&machine, aligned);
    // The same addresses, in pages.
    let pages = mm.vmalloc.alloc(4 << 20, "pages", mm::vmalloc::VmallocOptions::RAW.aligned(2 << 20)).unwrap();
    assert_eq!(pages.start(), aligned);
    super::fill(&machine, pages, 3);
    super::on_each_cpu(|| super::check(&machine, pages, 3));
    mm.verify().unwrap();
}

#[test]
fn addresses_that_no_entry_can_say_are_refused() {
    let machine = machine::<12>();
    let mm = up(&machine, &[]);
    let ends = [(1 << 52) - 0x1000, 1 << 52, 1 << 60, u64::MAX - 0x1000, u64::MAX - 0xfff];
    for start in ends {
        let range = PhysRange::new(PhysAddr::new(start), PhysAddr::new(start.saturating_add(0x1001)));
        let refused = mm.vmalloc.ioremap(range, Device, "device");
        assert_eq!(refused, Err(VmallocError::Unreachable(range)));
    }
    assert_eq!(mm.vmalloc.ioremap(PhysRange::EMPTY, Device, "device"), Err(VmallocError::Empty));
    let last = mm.vmalloc.ioremap(phys((1 << 52) - 0x1000, 0x1000), Device, "device").unwrap();
    assert_eq!(machine.access(last, Intent::Read), Ok(PhysAddr::new((1 << 52) - 0x1000)));
    // Larger than the space.
    let huge = PhysRange::new(PhysAddr::new(1 << 47), PhysAddr::new(1 << 51));
    assert!(matches!(mm.vmalloc.ioremap(huge, Device, "device"), Err(VmallocError::NoSpace { .. })));
    mm.verify().unwrap();
}
