//! What the views tell beside the allocators' own counts.

use crate::up::up;
use mm::view::{SetAside, meminfo};
use mm_testkit::Machine;

#[test]
fn what_was_set_aside_has_its_rows() {
    let machine = Machine::<12>::builder().ram(0x4000_0000, 64 << 20, 0).finish();
    let mm = up(&machine, &[]);
    let aside = SetAside { cma_bytes: 64 << 20, huge_page_bytes: 2 << 20, huge_pages: 3, huge_bytes: 1030 << 20 };
    let mut text = String::new();
    meminfo(&mut text, &mm, machine.handle().layout(), &aside).unwrap();
    let last: Vec<&str> = text.lines().rev().take(8).collect();
    let expected = [
        "CmaTotal:          65536 kB",
        "CmaFree:           65536 kB",
        "HugePages_Total:       3",
        "HugePages_Free:        3",
        "HugePages_Rsvd:        0",
        "HugePages_Surp:        0",
        "Hugepagesize:       2048 kB",
        "Hugetlb:         1054720 kB",
    ];
    assert!(last.iter().rev().eq(expected.iter()), "{text}");
}
