//! How machines end: PSCI, and devices that reset them.

use super::reader::blob_of;
use super::*;
use crate::power::{Conduit, Off, PowerOff, Reset};

/// A Raspberry Pi's bus with this device on it.
fn on_the_bus(properties: &[(&str, &[u8])]) -> Vec<u8> {
    let bus = Builder::root(1, 1).begin("soc").prop("#address-cells", &cells(&[1])).prop("#size-cells", &cells(&[1]));
    let bus = bus.prop("ranges", &cells(&[0x7e00_0000, 0x3f00_0000, 0x100_0000]));
    bus.node("watchdog@7e100000", properties).end().done()
}

fn power_off(bytes: &[u8]) -> PowerOff {
    blob_of(bytes, |blob| blob.power_off())
}

const BASE: PhysAddr = PhysAddr::new(0x3f10_0000);

#[test]
fn a_raspberry_pi_ends_by_its_power_management() {
    let reg = cells(&[0x7e10_0000, 0x114, 0x7e00_a000, 0x24]);
    let controller: (&str, &[u8]) = ("system-power-controller", &[]);
    for name in [
        &b"brcm,bcm2835-pm\0brcm,bcm2835-pm-wdt\0"[..],
        b"brcm,bcm2835-pm-wdt\0",
        b"brcm,bcm2711-pm\0brcm,bcm2835-pm\0",
    ] {
        let node = [("compatible", name), ("reg", &reg[..]), controller];
        let both = PowerOff { off: Some(Off::bcm2835(BASE)), reset: Some(Reset::bcm2835(BASE)) };
        assert_eq!(power_off(&on_the_bus(&node)), both);
        // Something else switches this board off.
        assert_eq!(power_off(&on_the_bus(&node[..2])), PowerOff { off: None, ..both });
    }
}

#[test]
fn registers_that_are_no_watchdogs_are_left_alone() {
    for reg in [&[0x7e10_0000, 0x24][..], &[0x7e10_0002, 0x114], &[0x8000_0000, 0x114], &[0x7e10_0000], &[]] {
        let reg = cells(reg);
        let tree = on_the_bus(&[("compatible", b"brcm,bcm2835-pm\0"), ("reg", &reg)]);
        assert_eq!(power_off(&tree), PowerOff::UNKNOWN, "{reg:x?}");
    }
    let off = on_the_bus(&[
        ("compatible", b"brcm,bcm2835-pm\0"),
        ("reg", &cells(&[0x7e10_0000, 0x114])),
        ("status", b"disabled\0"),
    ]);
    assert_eq!(power_off(&off), PowerOff::UNKNOWN);
}

#[test]
fn a_generic_watchdog_is_named_by_its_control_frame_first() {
    let reg = cells(&[0x7e20_0000, 0x1000, 0x7e30_0000, 0x1000]);
    let tree = on_the_bus(&[("compatible", b"arm,sbsa-gwdt\0"), ("reg", &reg)]);
    let reset = Some(Reset::sbsa_watchdog(PhysAddr::new(0x3f20_0000)));
    assert_eq!(power_off(&tree), PowerOff { off: None, reset });
}

/// The firmware's own way comes first; a watchdog is there if it does not work.
#[test]
fn psci_stands_before_a_watchdog() {
    let tree = Builder::root(1, 1).node("psci", &[("compatible", b"arm,psci-0.2\0"), ("method", b"smc\0")]);
    let reg = cells(&[0x2a44_0000, 0x1000]);
    let tree = tree.node("watchdog", &[("compatible", b"arm,sbsa-gwdt\0"), ("reg", &reg)]).done();
    let reset = Some(Reset::sbsa_watchdog(PhysAddr::new(0x2a44_0000)));
    assert_eq!(power_off(&tree), PowerOff { off: Some(Off::Psci(Conduit::Smc)), reset });
}
