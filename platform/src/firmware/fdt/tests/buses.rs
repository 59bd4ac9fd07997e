//! Addresses through buses, and what devices reach.

use super::reader::blob_of;
use super::*;
use crate::console::Window;
use mm::machine::{DmaLimit, Source, Table};

#[test]
fn a_bus_without_ranges_hides_its_console() {
    let tree = |ranges: Option<&[u8]>| {
        let mut tree = Builder::root(1, 1).begin("chosen").text("stdout-path", "/bus/uart").end().begin("bus");
        tree = tree.prop("#address-cells", &cells(&[1])).prop("#size-cells", &cells(&[1]));
        if let Some(ranges) = ranges {
            tree = tree.prop("ranges", ranges);
        }
        let reg = cells(&[0x3f8, 8]);
        tree.node("uart@3f8", &[("compatible", b"ns16550a\0"), ("reg", &reg)]).end().done()
    };
    let base = |bytes: &[u8]| {
        blob_of(bytes, |blob| match blob.stdout()?.window {
            Window::Mmio { base, .. } => Some(base.as_u64()),
            Window::Io { .. } => None,
        })
    };
    assert_eq!(base(&tree(None)), None);
    assert_eq!(base(&tree(Some(&[]))), Some(0x3f8));
    assert_eq!(base(&tree(Some(&cells(&[0, 0x1000_0000, 0x400])))), Some(0x1000_03f8));
    assert_eq!(base(&tree(Some(&cells(&[0, 0x1000_0000, 0x3f8])))), None, "just outside");
    assert_eq!(base(&tree(Some(&cells(&[0, 0x1000_0000])))), None, "half an entry");
    assert_eq!(base(&tree(Some(&cells(&[0, u32::MAX, 0x400])))), Some(0x1_0000_03f7));
}

/// A bus, still open.
fn bus(tree: Builder, name: &str, address: u32, size: u32, properties: &[(&str, &[u8])]) -> Builder {
    let tree = tree.begin(name).prop("#address-cells", &cells(&[address])).prop("#size-cells", &cells(&[size]));
    properties.iter().fold(tree, |tree, (name, value)| tree.prop(name, value))
}

/// Where the CPU sees the first register of the device at `path`.
fn address_of(bytes: &[u8], path: &str) -> Option<u64> {
    blob_of(bytes, |blob| blob.resolve(path).and_then(|nodes| bus::address(&nodes)).map(PhysAddr::as_u64))
}

/// Where ZONE_DMA would end, by each `dma-ranges` together.
fn limit_of(bytes: Vec<u8>) -> Option<u64> {
    let recorder = described(bytes);
    assert!(recorder.warnings.is_empty());
    let limit = recorder.dma_limits.first().copied();
    assert_eq!(recorder.dma_limits.len(), usize::from(limit.is_some()));
    limit.map(|DmaLimit { end, source }| {
        assert_eq!(source, Source::whole(Table::DmaRanges));
        end.as_u64()
    })
}

/// The buses of a Raspberry Pi 3.
#[test]
fn a_raspberry_pi_3_is_translated_and_limited() {
    let ranges = cells(&[0x7e00_0000, 0x3f00_0000, 0x100_0000, 0x4000_0000, 0x4000_0000, 0x1000]);
    let dma = cells(&[0xc000_0000, 0, 0x3f00_0000, 0x7e00_0000, 0x3f00_0000, 0x100_0000]);
    let soc = bus(Builder::root(1, 1), "soc", 1, 1, &[("ranges", &ranges), ("dma-ranges", &dma)]);
    let tree = soc
        .node("serial@7e201000", &[("reg", &cells(&[0x7e20_1000, 0x200]))])
        .node("local@40000000", &[("reg", &cells(&[0x4000_0000, 0x100]))])
        .node("lost@50000000", &[("reg", &cells(&[0x5000_0000, 0x100]))])
        .end()
        .done();
    assert_eq!(address_of(&tree, "/soc/serial@7e201000"), Some(0x3f20_1000));
    assert_eq!(address_of(&tree, "/soc/local"), Some(0x4000_0000));
    assert_eq!(address_of(&tree, "/soc/lost"), None);
    assert_eq!(limit_of(tree), Some(0x4000_0000));
}

/// The third cell of a PCI address is the kind of space; both sides have it, so it falls out.
#[test]
fn a_bus_of_three_cells_is_translated() {
    let ranges = cells(&[0x0200_0000, 0, 0x8000_0000, 1, 0x8000_0000, 0, 0x1000_0000]);
    let pci = bus(Builder::root(2, 2), "pcie", 3, 2, &[("ranges", &ranges)]);
    let uart = |space: u32, low: u32| cells(&[space, 0, low, 0, 0x1000]);
    let tree = pci
        .node("uart@0", &[("reg", &uart(0x0200_0000, 0x8000_4000))])
        .node("other@1", &[("reg", &uart(0x0100_0000, 0x8000_4000))])
        .end()
        .done();
    assert_eq!(address_of(&tree, "/pcie/uart"), Some(0x1_8000_4000));
    assert_eq!(address_of(&tree, "/pcie/other"), None);
}

#[test]
fn cells_that_a_bus_does_not_state_are_those_above() {
    let tree = Builder::root(2, 1).begin("bus").prop("ranges", &[]);
    let tree = tree.node("uart", &[("reg", &cells(&[1, 0x1000, 0x100]))]).end().done();
    assert_eq!(address_of(&tree, "/bus/uart"), Some(0x1_0000_1000));
}

/// A bus whose children have no addresses has no place for them, and a bus above that has none has no place for it.
#[test]
fn a_bus_without_addresses_is_not_translated() {
    let device: [(&str, &[u8]); 1] = [("reg", &cells(&[0x10, 1]))];
    let through = |root: u32, address: u32, size: u32, ranges: &[u32]| {
        let tree = bus(Builder::root(root, 1), "outer", address, size, &[("ranges", &cells(ranges))]);
        let tree = bus(tree, "inner", 1, 1, &[("ranges", &[])]).node("device", &device).end().end();
        address_of(&tree.done(), "/outer/inner/device")
    };
    assert_eq!(through(1, 1, 1, &[0, 0x1000, 0x1000]), Some(0x1010));
    assert_eq!(through(1, 0, 1, &[0x1000, 0x1000]), None, "no address from");
    assert_eq!(through(0, 1, 1, &[0, 0x1000]), None, "no address to");
    assert_eq!(through(1, 1, 0, &[0, 0x1000]), None, "no size");
    assert_eq!(through(0, 0, 0, &[0x1000]), None, "nothing at all");
    let tree = bus(Builder::root(0, 0), "bus", 0, 0, &[("dma-ranges", &[0; 4])]).end();
    assert_eq!(limit_of(tree.done()), None, "and neither is the other direction");
}

#[test]
fn an_address_of_more_than_64_bits_is_none() {
    let tree = Builder::root(3, 1).node("uart", &[("reg", &cells(&[1, 0, 0, 1]))]).done();
    assert_eq!(address_of(&tree, "/uart"), None);
    let to = [u32::MAX; 4];
    let ranges = cells(&[&[0][..], &to, &[0x1000]].concat());
    let wrapping = bus(Builder::root(4, 1), "bus", 1, 1, &[("ranges", &ranges)]);
    let tree = wrapping.node("uart", &[("reg", &cells(&[0x10, 1]))]).end().done();
    assert_eq!(address_of(&tree, "/bus/uart"), None);
}

/// Devices reach the least of what any bus in use says.
#[test]
fn the_least_of_all_dma_ranges_counts() {
    let one = |size: u32| cells(&[0, 0, 0, 0, size, 0]);
    let (four, two, one) = (one(4), one(2), one(1));
    let tree = bus(Builder::root(2, 2), "a", 2, 2, &[("dma-ranges", &four)]).end();
    let tree = bus(tree, "b", 2, 2, &[("ranges", &[])]);
    let tree = bus(tree, "c", 2, 2, &[("dma-ranges", &two)]).end().end();
    let tree = bus(tree, "d", 2, 2, &[("dma-ranges", &one), ("status", b"disabled\0")]).end();
    assert_eq!(limit_of(tree.done()), Some(2 << 32));
}

#[test]
fn the_highest_of_one_dma_ranges_counts() {
    let ranges = cells(&[0, 0x2000_0000, 0x1000_0000, 0x4000_0000, 0, 0x1000_0000]);
    assert_eq!(
        limit_of(bus(Builder::root(1, 1), "a", 1, 1, &[("dma-ranges", &ranges)]).end().done()),
        Some(0x3000_0000)
    );
}

/// What a device reaches is numbered as the CPU numbers it, through the buses above.
#[test]
fn dma_ranges_are_translated_by_those_above() {
    let outer = cells(&[0, 0x8000_0000, 0x4000_0000]);
    let inner = cells(&[0, 0x1000_0000, 0x1000]);
    let hidden = cells(&[0, 0x5000_0000, 0x1000]);
    let tree = bus(Builder::root(1, 1), "outer", 1, 1, &[("dma-ranges", &outer)]);
    let tree = bus(tree, "same", 1, 1, &[]);
    let tree = bus(tree, "inner", 1, 1, &[("dma-ranges", &inner)]).end().end();
    // Not on the bus above: what it reaches cannot be said.
    let tree = bus(tree, "hidden", 1, 1, &[("dma-ranges", &hidden)]).end().end();
    assert_eq!(limit_of(tree.done()), Some(0x9000_1000));
}

#[test]
fn dma_ranges_that_say_nothing_limit_nobody() {
    let half = cells(&[0, 0]);
    for ranges in [&[][..], &half, &cells(&[0, 0, 0])] {
        assert_eq!(limit_of(bus(Builder::root(1, 1), "a", 1, 1, &[("dma-ranges", ranges)]).end().done()), None);
    }
    let all = cells(&[0, 0, 0, 0, u32::MAX, u32::MAX]);
    let tree = bus(Builder::root(2, 2), "a", 2, 2, &[("dma-ranges", &all)]).end();
    assert_eq!(limit_of(tree.done()), Some(u64::MAX));
    assert_eq!(limit_of(VIRT.to_vec()), None);
}

/// As deep as a path goes; what is deeper is not looked at.
#[test]
fn deep_trees_are_walked_as_far_as_a_path_goes() {
    let ranges = cells(&[0, 0, 0x1000]);
    let depth = |levels: usize| {
        let tree = (0..levels).fold(Builder::root(1, 1), |tree, _| tree.begin("bus"));
        let tree = tree.prop("dma-ranges", &ranges);
        limit_of((0..levels).fold(tree, |tree, _| tree.end()).done())
    };
    assert_eq!((depth(1), depth(15), depth(16), depth(60)), (Some(0x1000), Some(0x1000), None, None));
}
