use super::*;
use mm::addr::PhysRange;

fn named(compatible: &[&'static str]) -> Option<&'static str> {
    by_compatible(compatible.iter().copied()).map(|board| board.name)
}

#[test]
fn a_tree_names_its_board_by_any_of_its_strings() {
    // As Debian's trees of the boards have them.
    assert_eq!(named(&["raspberrypi,3-model-b", "brcm,bcm2837"]), Some("raspi3b"));
    assert_eq!(named(&["raspberrypi,model-zero-2-w", "brcm,bcm2837"]), Some("raspi3b"));
    assert_eq!(named(&["xlnx,zynqmp-zcu102-rev1.0", "xlnx,zynqmp-zcu102", "xlnx,zynqmp"]), Some("xlnx-zcu102"));
    assert_eq!(named(&["linux,sbsa-ref"]), Some("sbsa-ref"));
    assert_eq!(named(&["xlnx-versal-virt"]), Some("xlnx-versal-virt"));
    assert_eq!(named(&["raspberrypi,5-model-b", "brcm,bcm2712"]), None);
    assert_eq!(named(&["", "virt"]), None);
}

#[test]
fn no_two_boards_are_known_by_the_same() {
    let strings: Vec<_> = BOARDS.iter().flat_map(|board| board.compatible).collect();
    let bridges: Vec<_> = BOARDS.iter().filter_map(|board| board.host_bridge).collect();
    assert!(strings.iter().enumerate().all(|(at, string)| !strings[..at].contains(string)));
    assert!(bridges.iter().enumerate().all(|(at, bridge)| !bridges[..at].contains(bridge)));
    let names: Vec<_> = BOARDS.iter().map(|board| board.name).collect();
    assert!(names.iter().enumerate().all(|(at, name)| !names[..at].contains(name)));
}

// That each ends is proved by booting it: xtask holds the matrix to that.
#[test]
fn every_board_can_speak() {
    for board in BOARDS {
        assert!(!board.serial.is_empty(), "{}", board.name);
    }
}

#[test]
fn only_sbsa_ref_has_a_controller_that_no_table_names() {
    for board in BOARDS {
        assert_eq!(board.irq_controller().is_some(), board.name == "sbsa-ref", "{}", board.name);
    }
    let Some(IrqController::Gic3 { distributor, redistributors }) = SBSA_REF.irq_controller() else { panic!("a GIC") };
    let range = |start, size| PhysRange::from_size(PhysAddr::new(start), size);
    assert_eq!(Some(distributor), range(0x4006_0000, 0x1_0000));
    assert_eq!(redistributors.ranges.first().copied(), range(0x4008_0000, 0x0400_0000));
    assert_eq!((redistributors.ranges.len(), redistributors.stride), (1, None));
    // One that cannot be is none.
    let odd =
        Interrupts::Gic3 { distributor: PhysAddr::new(0x10), redistributors: PhysAddr::new(0), redistributor_bytes: 1 };
    assert_eq!(Board { interrupts: Some(odd), ..UNKNOWN }.irq_controller(), None);
}

#[test]
fn a_board_that_is_not_known_is_told_by_its_tree() {
    let printed = |board: &Board, compatible: &[&'static str]| {
        let mut text = String::new();
        print(board, compatible.iter().copied(), &mut text).expect("a String takes all");
        text
    };
    assert_eq!(printed(&RASPI3B, &["brcm,bcm2837"]), "Board: raspi3b\n");
    let unknown = "Board: none that is known; the device tree says \"acme,x\\n1\" \"acme\"\n";
    assert_eq!(printed(&UNKNOWN, &["acme,x\n1", "acme"]), unknown);
}
