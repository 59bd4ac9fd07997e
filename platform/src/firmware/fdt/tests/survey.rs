//! What is asked of single nodes: which node answers where several could.

use super::reader::blob_of;
use super::*;
use crate::power::{Conduit, Reset};

const PSCI: (&str, &[u8]) = ("compatible", b"arm,psci-1.0\0arm,psci-0.2\0");
const SMC: (&str, &[u8]) = ("method", b"smc\0");
const HVC: (&str, &[u8]) = ("method", b"hvc\0");
const DISABLED: (&str, &[u8]) = ("status", b"disabled\0");

fn psci(bytes: &[u8]) -> Option<Conduit> {
    blob_of(bytes, |blob| blob.psci())
}

#[test]
fn only_nodes_in_use_answer_and_the_first_of_them() {
    let tree = || Builder::root(1, 1).node("off", &[PSCI, SMC, DISABLED]);
    assert_eq!(psci(&tree().done()), None);
    let below = tree().begin("firmware").node("psci", &[PSCI, HVC]).end().node("psci", &[PSCI, SMC]);
    assert_eq!(psci(&below.done()), Some(Conduit::Hvc));
    let below_disabled = Builder::root(1, 1).begin("firmware").prop("status", b"disabled\0");
    let below_disabled = below_disabled.node("psci", &[PSCI, HVC]).end().node("psci", &[PSCI, SMC]);
    assert_eq!(psci(&below_disabled.done()), Some(Conduit::Smc));
    // The first one speaks for all, also where it says nothing that is understood.
    assert_eq!(psci(&Builder::root(1, 1).node("a", &[PSCI]).node("b", &[PSCI, SMC]).done()), None);
}

/// Of a property that stands there twice the first counts, here as where properties are looked for one by one.
#[test]
fn the_first_property_of_a_name_counts() {
    let node: [(&str, &[u8]); 4] = [PSCI, ("compatible", b"x\0"), ("status", b"okay\0"), DISABLED];
    let tree = Builder::root(1, 1).node("psci", &[&node[..], &[SMC]].concat());
    assert_eq!(psci(&tree.done()), Some(Conduit::Smc));
}

#[test]
fn the_root_and_chosen_are_there_whatever_their_status() {
    let tree = Builder::root(1, 1).prop("status", b"disabled\0");
    let tree =
        tree.node("chosen@0", &[("bootargs", b"first\0"), DISABLED]).node("chosen", &[("bootargs", b"second\0")]);
    let tree = tree.node("psci", &[PSCI, HVC]).done();
    assert_eq!(blob_of(&tree, |blob| blob.bootargs().map(<[u8]>::to_vec)), Some(b"first".to_vec()));
    assert_eq!(psci(&tree), Some(Conduit::Hvc));
    // Only the root's own child is it.
    let deeper = Builder::root(1, 1).begin("soc").node("chosen", &[("bootargs", b"no\0")]).end().done();
    assert_eq!(blob_of(&deeper, |blob| blob.bootargs().map(<[u8]>::to_vec)), None);
}

/// One whose registers cannot be leaves it to the next.
#[test]
fn the_first_device_that_can_ends_the_machine() {
    let watchdog = |reg: &[u32]| [("compatible", b"arm,sbsa-gwdt\0".to_vec()), ("reg", cells(reg))];
    let tree =
        [&[0x1000, 0x10][..], &[0x2000, 0x1000], &[0x3000, 0x1000]].iter().fold(Builder::root(1, 1), |tree, reg| {
            let node = watchdog(reg);
            tree.node("watchdog", &node.each_ref().map(|(name, value)| (*name, &value[..])))
        });
    let reset = blob_of(&tree.done(), |blob| blob.power_off().reset);
    assert_eq!(reset, Some(Reset::sbsa_watchdog(PhysAddr::new(0x2000))));
}

/// A timer that states no interrupt, and one whose own parent stands behind it in the tree.
#[test]
fn a_later_timer_speaks_where_the_first_says_nothing() {
    let timer = |node: &[(&str, &[u8])]| {
        let first = [("compatible", &b"arm,armv8-timer\0"[..])];
        let tree = Builder::root(1, 1).prop("interrupt-parent", &cells(&[1])).node("a", &first);
        let tree = tree.node("b", &[&first[..], node].concat());
        let gic = |tree: Builder, name: &str, number: u32| {
            let cells_of = ("#interrupt-cells", &cells(&[3])[..]);
            tree.node(name, &[("compatible", b"arm,gic-400\0"), ("phandle", &cells(&[number])), cells_of])
        };
        blob_of(&gic(gic(tree, "gic", 1), "other", 2).done(), |blob| blob.timer_interrupt())
    };
    let interrupts = cells(&[1, 13, 8, 1, 14, 8, 1, 11, 8]);
    assert_eq!(timer(&[("interrupts", &interrupts)]), Some(27));
    assert_eq!(timer(&[("interrupts", &interrupts), ("interrupt-parent", &cells(&[2]))]), Some(27));
    assert_eq!(timer(&[("interrupts", &interrupts), ("interrupt-parent", &cells(&[3]))]), None);
    assert_eq!(timer(&[]), None);
}

#[test]
fn the_first_timer_speaks_and_nothing_but_a_timer() {
    let interrupts = |number: u32| cells(&[1, 13, 8, 1, 14, 8, 1, number, 8]);
    let gic: [(&str, &[u8]); 3] =
        [("compatible", b"arm,gic-400\0"), ("phandle", &cells(&[1])), ("#interrupt-cells", &cells(&[3]))];
    let tree = Builder::root(1, 1).prop("interrupt-parent", &cells(&[1])).node("gic", &gic);
    let tree = [("arm,armv8-pmuv3\0", 7), ("arm,armv8-timer\0", 11), ("arm,armv7-timer\0", 12)].iter().fold(
        tree,
        |tree, &(compatible, number)| {
            tree.node("node", &[("compatible", compatible.as_bytes()), ("interrupts", &interrupts(number))])
        },
    );
    assert_eq!(blob_of(&tree.done(), |blob| blob.timer_interrupt()), Some(27));
    // Without a timer, nobody is taken for one.
    let tree = Builder::root(1, 1).prop("interrupt-parent", &cells(&[1])).node("gic", &gic);
    let tree = tree.node("a", &[("compatible", b"arm,armv7-timer\0")]);
    let tree = tree.node("b", &[("compatible", b"arm,armv8-pmuv3\0"), ("interrupts", &interrupts(7))]);
    assert_eq!(blob_of(&tree.done(), |blob| blob.timer_interrupt()), None);
}

/// What is wrong with a controller is said as often as it is asked for.
#[test]
fn a_controller_in_doubt_is_told_each_time() {
    let gic = [("compatible", &b"arm,gic-400\0"[..]), ("interrupt-controller", &[]), ("reg", &[])];
    let warnings = blob_of(&Builder::root(1, 1).node("gic", &gic).done(), |blob| {
        let mut warnings = 0;
        for _ in 0..2 {
            assert_eq!(blob.irq_controller(&mut |_| warnings += 1), None);
        }
        warnings
    });
    assert_eq!(warnings, 2);
}
