//! What views say of areas.

use super::machine;
use crate::up::up;
use mm::addr::{NodeId, PhysAddr, PhysRange, VirtAddr};
use mm::page_alloc::NodeWish;
use mm::paging::MemoryType;
use mm::view::{SetAside, meminfo, vmallocinfo, why_area};
use mm::vmalloc::VmallocOptions;

#[test]
fn vmallocinfo_has_linux_columns() {
    let machine = machine::<12>();
    let mm = up(&machine, &[]);
    let on = |node| VmallocOptions::RAW.on(NodeWish::Only(NodeId::new(node)));
    let first = mm.vmalloc.alloc(0x1000, "gen_pool_add_owner", on(0)).unwrap();
    mm.vmalloc.alloc(0x400_000, "alloc_large_system_hash", on(1)).unwrap();
    mm.vmalloc.stack(0x4000, NodeId::new(1), "kernel_stack").unwrap();
    let registers = PhysRange::from_size(PhysAddr::new(0x0900_0040), 0x20).unwrap();
    mm.vmalloc.ioremap(registers, MemoryType::Device, "pl011").unwrap();
    let frame = mm.pages.alloc(mm::addr::Order::default(), mm::page_alloc::Gfp::KERNEL).unwrap();
    mm.vmalloc.map_pages(&[frame, frame], "firmware").unwrap();
    let mut text = String::new();
    vmallocinfo(&mut text, &mm.vmalloc).unwrap();
    let expected = "\
0xffff800000000000-0xffff800000002000    8192 gen_pool_add_owner pages=1 vmalloc N0=1
0xffff800000002000-0xffff800000403000 4198400 alloc_large_system_hash pages=1024 vmalloc N1=1024
0xffff800000403000-0xffff800000409000   24576 kernel_stack pages=4 vmalloc N1=4
0xffff800000409000-0xffff80000040b000    8192 pl011 phys=0x0000000009000000 ioremap
0xffff80000040b000-0xffff80000040e000   12288 firmware vmap
";
    assert_eq!(text, expected);
    // SAFETY: nobody uses the area.
    let unmapped = unsafe { mm.vmalloc.retire(first.start()) }.unwrap();
    text.clear();
    vmallocinfo(&mut text, &mm.vmalloc).unwrap();
    assert_eq!(text.lines().next(), Some("0xffff800000000000-0xffff800000002000    8192 unpurged vm_area"));
    unmapped.flush().give_back().unwrap();
    text.clear();
    vmallocinfo(&mut text, &mm.vmalloc).unwrap();
    assert_eq!(text.lines().count(), 4);
}

#[test]
fn an_area_over_several_nodes_counts_each() {
    let machine = mm_testkit::Machine::<12>::builder();
    let banks = (0..20).map(|node| (0x4000_0000 + (u64::from(node) << 27), node));
    let machine = banks.fold(machine, |machine, (start, node)| machine.ram(start, 16 << 20, node)).finish();
    let mm = up(&machine, &[]);
    let frames: Vec<_> = (0..20)
        .map(|node| mm.vmalloc.alloc(0x2000, "a", VmallocOptions::RAW.on(NodeWish::Only(NodeId::new(node)))))
        .collect();
    assert!(frames.iter().all(Result::is_ok));
    let mut text = String::new();
    vmallocinfo(&mut text, &mm.vmalloc).unwrap();
    for (node, line) in text.lines().enumerate() {
        assert!(line.ends_with(&format!(" a pages=2 vmalloc N{node}=2")), "{line}");
    }
    assert_eq!(text.lines().count(), 20);
}

#[test]
fn meminfo_counts_pages_of_areas() {
    let machine = machine::<12>();
    let mm = up(&machine, &[]);
    let row = |name: &str| {
        let mut text = String::new();
        meminfo(&mut text, &mm, machine.handle().layout(), &SetAside::default()).unwrap();
        text.lines().find(|line| line.starts_with(name)).unwrap().to_owned()
    };
    assert_eq!(row("VmallocTotal"), "VmallocTotal:   17179869184 kB");
    assert_eq!(row("VmallocUsed"), "VmallocUsed:           0 kB");
    let area = mm.vmalloc.alloc(0x5000, "test", VmallocOptions::RAW).unwrap();
    mm.vmalloc.stack(0x4000, NodeId::new(0), "stack").unwrap();
    assert_eq!(row("VmallocUsed"), "VmallocUsed:          36 kB");
    // SAFETY: nobody uses the area.
    unsafe { mm.vmalloc.free(area.start()) }.unwrap();
    assert_eq!(row("VmallocUsed"), "VmallocUsed:          16 kB");
}

#[test]
fn why_names_the_area_of_an_address() {
    let machine = machine::<12>();
    let mm = up(&machine, &[]);
    let stack = mm.vmalloc.stack(0x4000, NodeId::new(0), "kernel_stack").unwrap();
    let why = |offset: i64| {
        let mut text = String::new();
        why_area(&mut text, VirtAddr::new(stack.start().as_u64().wrapping_add_signed(offset)), &mm).unwrap();
        text
    };
    let area = "0xffff800000001000-0xffff800000005000, a stack for kernel_stack\n";
    assert_eq!(why(-1), format!("  vmalloc    guard page below {area}"));
    assert_eq!(why(0x18), format!("  vmalloc    byte 0x18 of {area}"));
    assert_eq!(why(0x4000), format!("  vmalloc    guard page behind {area}"));
    assert_eq!(why(0x5000), "  vmalloc    no area has it\n");
    assert_eq!(why(-0x1001), "");
}
