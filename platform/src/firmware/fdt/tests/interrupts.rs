//! Interrupt controllers, and the interrupt of the timer.

use super::reader::blob_of;
use super::*;
use crate::firmware::{IrqController, Redistributors};
use mm::machine::{Problem, Source, Table};

const GIC3: &[u8] = include_bytes!("../../../../testdata/virt-gic3.dtb");

fn said(bytes: &[u8]) -> (Option<IrqController>, Vec<Problem>) {
    let mut problems = Vec::new();
    let controller = blob_of(bytes, |blob| {
        blob.irq_controller(&mut |warning| {
            assert_eq!(warning.source, Source::whole(Table::InterruptController));
            problems.push(warning.problem);
        })
    });
    (controller, problems)
}

fn timer(bytes: &[u8]) -> Option<u32> {
    blob_of(bytes, |blob| blob.timer_interrupt())
}

fn at(start: u64, size: u64) -> PhysRange {
    range(start, start + size)
}

fn gic2(distributor: u64, size: u64, cpu_interface: u64, interface_size: u64) -> IrqController {
    IrqController::Gic2 { distributor: at(distributor, size), cpu_interface: at(cpu_interface, interface_size) }
}

fn gic3(distributor: u64, ranges: &[(u64, u64)], stride: Option<u64>) -> IrqController {
    let ranges = ranges.iter().map(|&(start, size)| at(start, size)).collect();
    IrqController::Gic3 { distributor: at(distributor, 0x1_0000), redistributors: Redistributors { ranges, stride } }
}

/// A node that is an interrupt controller with this number, still open.
fn controller(tree: Builder, name: &str, compatible: &str, number: u32, reg: &[u32]) -> Builder {
    let tree = tree.begin(name).text("compatible", compatible).prop("interrupt-controller", &[]);
    tree.prop("reg", &cells(reg)).prop("phandle", &cells(&[number])).prop("#interrupt-cells", &cells(&[3]))
}

/// A root whose `interrupt-parent` is `parent`, still open.
fn root(parent: u32) -> Builder {
    Builder::root(1, 1).prop("interrupt-parent", &cells(&[parent]))
}

/// The `reg` of a small GIC of version 2 at `start`, and what that is understood as.
fn small(start: u32) -> [u32; 4] {
    [start, 0x1000, start + 0x1000, 0x2000]
}

fn understood(start: u64) -> Option<IrqController> {
    Some(gic2(start, 0x1000, start + 0x1000, 0x2000))
}

/// A node with the registers of version 3, still open.
fn three(reg: &[u32]) -> Builder {
    controller(root(1), "gic", "arm,gic-v3", 1, reg)
}

#[test]
fn qemu_says_which_controller_it_has() {
    assert_eq!(said(VIRT), (Some(gic2(0x800_0000, 0x1_0000, 0x801_0000, 0x1_0000)), vec![]));
    assert_eq!(said(GIC3), (Some(gic3(0x800_0000, &[(0x80a_0000, 0xf6_0000)], None)), vec![]));
    assert_eq!((timer(VIRT), timer(GIC3)), (Some(27), Some(27)));
    assert_eq!(said(BARE), (None, vec![]));
    assert_eq!(timer(BARE), None);
}

#[test]
fn every_name_of_a_gic_is_known() {
    for name in [
        "arm,gic-400",
        "arm,cortex-a15-gic",
        "arm,cortex-a9-gic",
        "arm,cortex-a7-gic",
        "arm,pl390",
        "arm,arm11mp-gic",
        "arm,arm1176jzf-devchip-gic",
        "qcom,msm-8660-qgic",
        "qcom,msm-qgic2",
    ] {
        // An older chip's own name stands first.
        let names = format!("vendor,gic\0{name}");
        let tree = controller(root(1), "gic", &names, 1, &small(0x1000_0000)).end().done();
        assert_eq!(said(&tree).0, understood(0x1000_0000), "{name}");
    }
    let tree = controller(root(1), "gic", "vendor,gic\0vendor,irqs", 1, &small(0x1000_0000)).end().done();
    assert_eq!(said(&tree), (None, vec![]));
    // Whoever cannot use it can say what it is.
    let named = |bytes: &[u8]| blob_of(bytes, |blob| blob.irq_controller_compatible().map(str::to_owned));
    assert_eq!(named(&tree).as_deref(), Some("vendor,irqs"));
    assert_eq!((named(BARE), named(&root(7).done())), (None, None));
}

#[test]
fn the_roots_interrupt_parent_wins() {
    let two = |parent: Option<u32>| {
        let tree = parent.map_or(Builder::root(1, 1), root);
        let tree = controller(tree, "first", "arm,gic-400", 1, &small(0x1000_0000)).end();
        let tree = controller(tree, "second", "arm,gic-400", 2, &small(0x2000_0000)).end();
        controller(tree, "third", "arm,gic-400", 3, &small(0x3000_0000)).end().done()
    };
    assert_eq!(said(&two(Some(2))).0, understood(0x2000_0000));
    assert_eq!(said(&two(Some(1))).0, understood(0x1000_0000));
    // Nobody has this number, or none is named: the first.
    assert_eq!(said(&two(Some(7))).0, understood(0x1000_0000));
    assert_eq!(said(&two(None)).0, understood(0x1000_0000));
    // Of several with one number the first.
    let same = controller(root(1), "one", "arm,gic-400", 2, &small(0x1000_0000)).end();
    let same = controller(same, "two", "arm,gic-400", 1, &small(0x2000_0000)).end();
    let same = controller(same, "three", "arm,gic-400", 1, &small(0x3000_0000)).end().done();
    assert_eq!(said(&same), (understood(0x2000_0000), vec![]));
    // Interrupts pass through something else first.
    let tree = controller(root(9), "wakeup", "vendor,wakeup", 9, &[0x5000_0000, 0x1000]).end();
    let tree = controller(tree, "gic", "arm,gic-400", 1, &small(0x1000_0000)).end().done();
    assert_eq!(said(&tree).0, understood(0x1000_0000));
    // An older blob has the number under its older name; it may not be one.
    let old = root(2).node("gic", &[("compatible", b"arm,gic-400\0"), ("linux,phandle", &cells(&[2]))]);
    let old = controller(old, "first", "arm,gic-400", 1, &small(0x1000_0000)).end();
    let old = old.begin("second").text("compatible", "arm,gic-400").prop("interrupt-controller", &[]);
    let old = old.prop("linux,phandle", &cells(&[2])).prop("reg", &cells(&small(0x2000_0000))).end().done();
    assert_eq!(said(&old), (understood(0x2000_0000), vec![]), "the first of all is no controller");
}

#[test]
fn a_disabled_controller_is_not_there() {
    let tree = controller(root(1), "gic", "arm,gic-400", 1, &small(0x1000_0000)).text("status", "disabled").end();
    assert_eq!(said(&tree.done()), (None, vec![]));
    let tree = root(1).begin("soc").text("status", "disabled").prop("ranges", &[]);
    let tree = controller(tree, "gic", "arm,gic-400", 1, &small(0x1000_0000)).end().end();
    let tree = controller(tree, "other", "arm,gic-400", 2, &small(0x2000_0000)).text("status", "okay").end();
    assert_eq!(said(&tree.done()).0, understood(0x2000_0000));
}

#[test]
fn registers_are_where_the_cpu_sees_them() {
    let tree = root(1).begin("soc").prop("#address-cells", &cells(&[1])).prop("#size-cells", &cells(&[1]));
    let tree = tree.prop("ranges", &cells(&[0, 0xff00_0000, 0x10_0000]));
    let tree = controller(tree, "gic", "arm,gic-400", 1, &[0x1000, 0x1000, 0x2100, 0x100]).end().end();
    assert_eq!(said(&tree.done()), (Some(gic2(0xff00_1000, 0x1000, 0xff00_2100, 0x100)), vec![]));
    // Hidden by its bus.
    let hidden = controller(root(1).begin("soc"), "gic", "arm,gic-400", 1, &small(0x1000_0000)).end().end();
    let lost = Problem::EntryIgnored("its registers are not where the CPU reaches them");
    assert_eq!(said(&hidden.done()), (None, vec![lost]));
}

#[test]
fn redistributors_come_in_regions_and_strides() {
    let reg = [0x800_0000, 0x1_0000, 0x900_0000, 0x10_0000, 0xa00_0000, 0x20_0000];
    let ranges = [(0x900_0000, 0x10_0000), (0xa00_0000, 0x20_0000)];
    let one = |tree: Builder| said(&tree.end().done());
    assert_eq!(one(three(&reg)), (Some(gic3(0x800_0000, &ranges[..1], None)), vec![]), "the rest is something else");
    let regions = |count: u32| three(&reg).prop("#redistributor-regions", &cells(&[count]));
    assert_eq!(one(regions(2)), (Some(gic3(0x800_0000, &ranges, None)), vec![]));
    let lost = Problem::EntryIgnored("its registers are not where the CPU reaches them");
    assert_eq!(one(regions(3)), (Some(gic3(0x800_0000, &ranges, None)), vec![lost]));
    let none = Problem::EntryIgnored("it has no redistributors");
    assert_eq!(one(regions(0)), (None, vec![none]));
    let limit = Problem::TooMany { what: "ranges of redistributors", limit: 64 };
    assert_eq!(one(regions(65)).1.last(), Some(&limit));
    assert_eq!(one(regions(u32::MAX)).1.len(), 63);
    assert_eq!(one(regions(64)).1.len(), 62);
    let stride = |value: &[u32]| one(three(&reg).prop("redistributor-stride", &cells(value)));
    for (value, stride_of) in [(&[0, 0x4_0000][..], Some(0x4_0000)), (&[0x2_0000], Some(0x2_0000)), (&[0, 0], None)] {
        assert_eq!(stride(value), (Some(gic3(0x800_0000, &ranges[..1], stride_of)), vec![]));
    }
    for value in [0x1_0000, 0x2_0001, 0x2_8000] {
        let problem = Problem::Value { what: "redistributor-stride", value };
        let read = stride(&[0, value as u32]);
        assert_eq!(read, (Some(gic3(0x800_0000, &ranges[..1], None)), vec![problem]));
    }
}

#[test]
fn registers_that_cannot_be_are_told() {
    let size = |value| Problem::Value { what: "the size of its registers", value };
    let address = |value| Problem::Value { what: "the address of its registers", value };
    let two = |reg: &[u32]| said(&controller(root(1), "gic", "arm,gic-400", 1, reg).end().done());
    assert_eq!(two(&[0x1000, 0xfff, 0x2000, 0x100]), (None, vec![size(0xfff)]));
    assert_eq!(two(&[0x1000, 0x1000, 0x2000, 0xff]), (None, vec![size(0xff)]));
    assert_eq!(two(&[0x1800, 0x1000, 0x2000, 0x100]), (None, vec![address(0x1800)]));
    assert_eq!(two(&[0, 0x1000, 0x2000, 0x100]), (None, vec![address(0)]));
    assert_eq!(two(&[0x1000, 0x1000, 0x2000]).1.len(), 1);
    assert_eq!(said(&three(&[0x800_0000, 0xffff, 0x900_0000, 0x2_0000]).end().done()), (None, vec![size(0xffff)]));
    let short = three(&[0x800_0000, 0x1_0000, 0x900_0000, 0x1_ffff]).end().done();
    let none = Problem::EntryIgnored("it has no redistributors");
    assert_eq!(said(&short), (None, vec![size(0x1_ffff), none]));
    // The next one serves, and the warning stays.
    let tree = controller(root(1), "bad", "arm,gic-400", 1, &[0x1000, 0x10]).end();
    let tree = controller(tree, "good", "arm,gic-400", 2, &small(0x1000_0000)).end().done();
    assert_eq!(said(&tree), (understood(0x1000_0000), vec![size(0x10)]));
    // Cells that cannot be.
    let lost = Problem::EntryIgnored("its registers are not where the CPU reaches them");
    for (address, size) in [(2, 0), (0, 1), (5, 1), (1, 5)] {
        let tree = controller(Builder::root(address, size), "gic", "arm,gic-400", 1, &small(0x1000_0000)).end();
        assert_eq!(said(&tree.done()), (None, vec![lost]), "{address} and {size}");
    }
    let wide = |high: u32, low: u32| {
        let reg = [high, low, 0, 0x2000, high, low, 0, 0x2000];
        said(&controller(Builder::root(2, 2), "gic", "arm,gic-400", 1, &reg).end().done()).0
    };
    assert_eq!(wide(7, 0x1000), Some(gic2(0x7_0000_1000, 0x2000, 0x7_0000_1000, 0x2000)));
    assert_eq!(wide(u32::MAX, 0xffff_f000), None, "it wraps");
}

/// A machine whose timer, in a bus of its own, has these properties; a GIC is number 1, something else number 2.
fn with_timer(properties: &[(&str, &[u8])]) -> Option<u32> {
    let tree = controller(root(1), "gic", "arm,gic-400", 1, &small(0x1000_0000)).end();
    let other: [(&str, &[u8]); 2] = [("phandle", &cells(&[2])), ("#interrupt-cells", &cells(&[1]))];
    let tree = tree.node("other", &other).begin("soc");
    timer(&tree.node("timer", &[&[("compatible", &b"arm,armv8-timer\0"[..])], properties].concat()).end().done())
}

#[test]
fn the_timers_interrupt_is_found_by_place_or_by_name() {
    let four = cells(&[1, 13, 8, 1, 14, 8, 1, 11, 8, 1, 10, 8]);
    let interrupts = ("interrupts", &four[..]);
    assert_eq!(with_timer(&[interrupts]), Some(27));
    let names: &[u8] = b"phys\0virt\0";
    assert_eq!(with_timer(&[interrupts, ("interrupt-names", names)]), Some(30));
    assert_eq!(with_timer(&[interrupts, ("interrupt-names", b"phys\0hyp-phys\0")]), None);
    assert_eq!(with_timer(&[interrupts, ("interrupt-names", b"a\0b\0c\0d\0e\0virt\0")]), None);
    // The timer's own parent comes before that of the root.
    assert_eq!(with_timer(&[interrupts, ("interrupt-parent", &cells(&[2]))]), None, "not a GIC");
    assert_eq!(with_timer(&[interrupts, ("interrupt-parent", &cells(&[3]))]), None, "nothing");
    assert_eq!(with_timer(&[("interrupts", &four[..24])]), None, "two are too few");
    assert_eq!(with_timer(&[]), None);
    let kind = |kind, number| with_timer(&[("interrupts", &cells(&[1, 13, 8, 1, 14, 8, kind, number, 8]))]);
    assert_eq!([kind(1, 0), kind(1, 15), kind(1, 16), kind(0, 11)], [Some(16), Some(31), None, None]);
}

#[test]
fn interrupts_may_each_state_their_controller() {
    let extended = |values: &[u32]| with_timer(&[("interrupts-extended", &cells(values))]);
    assert_eq!(extended(&[2, 7, 1, 1, 14, 8, 1, 1, 12, 8]), Some(28));
    assert_eq!(extended(&[2, 7, 2, 8, 1, 1, 12, 8]), Some(28));
    assert_eq!(extended(&[1, 1, 13, 8, 1, 1, 14, 8, 2, 11]), None, "not a GIC");
    assert_eq!(extended(&[2, 7, 3, 8, 1, 1, 12, 8]), None, "nobody has number 3");
    assert_eq!(extended(&[2, 7, 2, 8, 1, 1, 12]), None, "half an entry");
    assert_eq!(extended(&[2, 7]), None);
    let huge: [(&str, &[u8]); 3] =
        [("phandle", &cells(&[1])), ("#interrupt-cells", &cells(&[u32::MAX])), ("compatible", b"arm,gic-400\0")];
    for interrupts in ["interrupts", "interrupts-extended"] {
        let properties: [(&str, &[u8]); 2] =
            [("compatible", b"arm,armv7-timer\0"), (interrupts, &cells(&[1, 1, 12, 8, 1, 1, 12, 8, 1, 1, 12, 8]))];
        assert_eq!(timer(&root(1).node("gic", &huge).node("timer", &properties).done()), None, "{interrupts}");
    }
}

/// The two controllers of a Raspberry Pi 3, as its tree has them; the second has this `reg`.
fn raspberry_pi(devices: &[u32], timer: &[(&str, &[u8])]) -> Vec<u8> {
    let soc = root(1).begin("soc").prop("#address-cells", &cells(&[1])).prop("#size-cells", &cells(&[1]));
    let ranges = [0x7e00_0000, 0x3f00_0000, 0x100_0000, 0x4000_0000, 0x4000_0000, 0x1000];
    let soc = soc.prop("ranges", &cells(&ranges)).begin("interrupt-controller@7e00b200");
    let soc = soc.text("compatible", "brcm,bcm2836-armctrl-ic").prop("interrupt-controller", &[]);
    let soc =
        soc.prop("reg", &cells(devices)).prop("phandle", &cells(&[1])).prop("#interrupt-cells", &cells(&[2])).end();
    let soc = soc.begin("local_intc@40000000").text("compatible", "brcm,bcm2836-l1-intc");
    let soc = soc.prop("interrupt-controller", &[]).prop("reg", &cells(&[0x4000_0000, 0x100]));
    let soc = soc.prop("phandle", &cells(&[0x18])).prop("#interrupt-cells", &cells(&[2])).end().end();
    let of_timer: [(&str, &[u8]); 2] = [("compatible", b"arm,armv7-timer\0"), ("interrupt-parent", &cells(&[0x18]))];
    soc.node("timer", &[&of_timer[..], timer].concat()).done()
}

/// The root names the controller of devices, which the CPUs' own stands before.
#[test]
fn a_raspberry_pi_has_a_controller_of_each_cpus_own() {
    let expected = |devices| Some(IrqController::Bcm2836 { local: at(0x4000_0000, 0x100), devices });
    let interrupts = cells(&[0, 4, 1, 4, 3, 4, 2, 4]);
    let tree = raspberry_pi(&[0x7e00_b200, 0x200], &[("interrupts", &interrupts)]);
    assert_eq!(said(&tree), (expected(Some(at(0x3f00_b200, 0x200))), vec![]));
    assert_eq!(timer(&tree), Some(3));
    // What is no register of its is none of a CPU's timers.
    for (number, understood) in [(0, Some(0)), (4, None), (8, None), (u32::MAX, None)] {
        let interrupts = cells(&[0, 4, 1, 4, number, 4]);
        assert_eq!(timer(&raspberry_pi(&[], &[("interrupts", &interrupts)])), understood, "{number}");
    }
    // Without the other it works, too.
    let lost = Problem::EntryIgnored("its registers are not where the CPU reaches them");
    assert_eq!(said(&raspberry_pi(&[0x1000, 0x200], &[])), (expected(None), vec![lost]));
    let size = Problem::Value { what: "the size of its registers", value: 0x20 };
    assert_eq!(said(&raspberry_pi(&[0x7e00_b200, 0x20], &[])), (expected(None), vec![size]));
}
