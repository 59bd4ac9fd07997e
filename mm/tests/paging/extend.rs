//! RAM that joins the direct map when its tables are active already.

use crate::phys;
use mm::addr::PhysAddr;
use mm::machine::Owner;
use mm::memblock::Memblock;
use mm::paging::{Access, DirectError, MapError, RawMapping, extend_direct, map_direct};
use mm_testkit::Machine;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

#[test]
fn plugged_ram_is_reached_where_it_belongs_and_its_tables_lie_elsewhere() {
    let machine = Machine::<12>::builder()
        .ram(2 * MIB, 14 * MIB, 0)
        .ram(4 * GIB, 64 * MIB, 0)
        .ram(5 * GIB, 3 * MIB + 0x3000, 1)
        .finish();
    let (image, window) = (phys(2 * MIB, 3 * MIB), phys(4 * MIB, 5 * MIB));
    // SAFETY: the image is reserved in memblock, and the test uses it for nothing else.
    let mut boot = unsafe { machine.boot(image, window) };
    let handle = machine.handle();
    let layout = handle.layout();
    let mut memblock = Memblock::new(handle);
    memblock.add(phys(2 * MIB, 16 * MIB)).unwrap();
    memblock.reserve(image, Owner::new("kernel")).unwrap();
    // SAFETY: the boot tables map the window, which is RAM, and nobody uses what is not reserved of it.
    unsafe { memblock.set_mapped(window) };
    if !cfg!(miri) {
        machine.require_mapped();
    }
    let fixed = [(image, Access::ReadOnly)];
    // SAFETY: the boot tables are active and map what they map at the layout's addresses; free memory is nobody's.
    let built = unsafe { map_direct(&mut boot.tables, &mut memblock, layout, &fixed, &mut boot.frames) };
    let mut tables = built.unwrap();
    machine.set_root(tables.root());
    let before = machine.mappings(tables.root()).len();

    for device in [phys(4 * GIB, 4 * GIB + 64 * MIB), phys(5 * GIB, 5 * GIB + 3 * MIB + 0x3000)] {
        // SAFETY: the tables are active, and nobody uses the device.
        let ram = unsafe { extend_direct(&mut tables, &mut memblock, layout, device) }.unwrap();
        assert_eq!(ram.range(), device);
        for address in [device.start(), device.last()] {
            let at = layout.phys_to_virt(address).unwrap();
            let found = tables.translate(at).unwrap();
            assert_eq!(found.address, address);
        }
        assert!(memblock.memory().overlapping(device).is_empty(), "memblock knows nothing of it");
        assert!(memblock.reserved().overlapping(device).is_empty());
    }
    let leaves = machine.mappings(tables.root());
    let plugged: Vec<_> = leaves.iter().filter(|leaf| leaf.physical >= PhysAddr::new(4 * GIB)).collect();
    // 64 MiB and 2 MiB in large leaves, the rest page by page.
    assert_eq!((plugged.len(), leaves.len() - before), (32 + 1 + 256 + 3, 32 + 1 + 256 + 3));
    let data = RawMapping { writable: true, executable: false, memory: mm::paging::MemoryType::Normal };
    assert!(plugged.iter().all(|leaf| leaf.mapping == data));
    for table in machine.tables(tables.root()) {
        assert!(table.frame < PhysAddr::new(4 * GIB));
    }

    let mut extend = |range| {
        // SAFETY: the tables are active, and nothing is done with what this returns.
        unsafe { extend_direct(&mut tables, &mut memblock, layout, range) }.unwrap_err()
    };
    let far = phys(1 << 60, (1 << 60) + GIB);
    assert_eq!(extend(far), DirectError::OutOfReach(far));
    let odd = phys(6 * GIB, 6 * GIB + 0x800);
    let at = layout.phys_to_virt(odd.start()).unwrap();
    assert_eq!(extend(odd), DirectError::Map(MapError::Misaligned { at, range: odd }));
    let at = layout.phys_to_virt(image.start()).unwrap();
    assert_eq!(extend(image), DirectError::Map(MapError::AlreadyMapped { at }));
}
