//! Page tables on emulated machines: what `mm::paging` writes is read back by the machine's own walker.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail like tests")]

mod change;
mod direct;
mod extend;
mod fixmap;
mod leaves;
mod model;

use mm::addr::{PhysAddr, PhysRange, VirtAddr};
use mm::layout::VirtRange;
use mm::paging::PageTables;
use mm_testkit::{Emulated, Machine, RangeFrames};

fn phys(start: u64, end: u64) -> PhysRange {
    PhysRange::new(PhysAddr::new(start), PhysAddr::new(end))
}

fn virt(start: u64, size: u64) -> VirtRange {
    VirtRange::from_size(VirtAddr::new(start), size).unwrap()
}

/// An empty active tree, and `frames` frames that hold anything but zeroes.
fn empty_tree<const SHIFT: u32>(
    machine: &Machine<SHIFT>,
    frames: u64,
) -> (PageTables<Emulated<'_, SHIFT>>, RangeFrames) {
    let ram = machine.ram().next().unwrap().0;
    machine.poison(ram, 0xa5);
    let pool = PhysRange::from_size(ram.start(), (frames + 1) << SHIFT).unwrap();
    // SAFETY: the test made this machine and uses its first RAM for nothing else.
    let mut pool = unsafe { RangeFrames::new(pool, SHIFT) };
    let tables = PageTables::create(machine.handle(), PhysAddr::new(0), &mut pool).unwrap();
    machine.set_root(tables.root());
    (tables, pool)
}
