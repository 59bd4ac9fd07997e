//! What other kernels got wrong in device trees, each under the name of the mistake.

use super::reader::blob_of;
use super::*;
use crate::console::ConsoleSpec;
use crate::handover::{MemoryMapSource, image};
use crate::power::{Conduit, Off};
use crate::read::MemoryImage;
use mm::machine::{Problem, Purpose};

const GIB: u64 = 1 << 30;

#[test]
fn memory_nodes_in_descending_order() {
    // QEMU's virt puts node 1 before node 0.
    let virt = described(VIRT.to_vec());
    assert_eq!(virt.usable(), [(3 * GIB, 5 * GIB), (GIB, 3 * GIB)]);
    assert_eq!(virt.nodes(), [(3 * GIB, 5 * GIB, 1), (GIB, 3 * GIB, 0)]);
    assert_eq!(virt.matrix(), [(0, 0, 10), (0, 1, 20), (1, 0, 20), (1, 1, 10)]);
    let cpus: Vec<_> = virt.cpus.iter().map(|cpu| (cpu.hardware_id, cpu.domain)).collect();
    assert_eq!(cpus, [(0, Some(0)), (1, Some(0)), (2, Some(1)), (3, Some(1))]);
    assert!(virt.warnings.is_empty());
    blob_of(VIRT, |blob| {
        assert_eq!(blob.stdout(), Some(ConsoleSpec::pl011(PhysAddr::new(0x900_0000))));
        assert_eq!(blob.psci(), Some(Conduit::Hvc));
        assert_eq!(blob.power_off().off, Some(Off::Psci(Conduit::Hvc)));
        assert_eq!(blob.compatible().collect::<Vec<_>>(), ["linux,dummy-virt"]);
        assert_eq!(blob.bootargs(), Some(&b"console=ttyAMA0 exec=\"poweroff\""[..]));
        assert_eq!(blob.initrd(), None);
    });
}

#[test]
fn a_disabled_node_is_not_there() {
    for (status, count) in [("okay", 1), ("ok", 1), ("disabled", 0), ("fail", 0), ("reserved", 0), ("", 0)] {
        let status = [status.as_bytes(), &[0]].concat();
        let tree = Builder::root(1, 1).memory("m", &[0x1000, 0x1000], &[("status", &status)]);
        assert_eq!(described(tree.done()).banks.len(), count);
    }
}

#[test]
fn initrd_and_dtb_blob_inside_ram_are_reserved() {
    let mut bytes = BARE.to_vec();
    let info = image::read(PhysAddr::new(0x4800_0000), &mut bytes).unwrap();
    assert_eq!(info.cmdline.get("exec"), Some("meminfo; poweroff"));
    assert_eq!(info.initrd, Some(PhysRange::new(PhysAddr::new(0x4800_0000), PhysAddr::new(0x4812_3456))));
    assert!(matches!(info.map, MemoryMapSource::DeviceTree));
    assert_eq!(info.dtb.map(PhysRange::size), Some(BARE.len() as u64));
    let recorder = Recorder::of(|sink| info.describe(mm::machine::Rules::Arm64, &mut MemoryImage::new(&[]), sink));
    assert_eq!(recorder.reserved()[0], ("device tree", 0x4800_0000, 0x4800_0000 + BARE.len() as u64));
    assert_eq!(recorder.reserved()[1], ("initrd", 0x4800_0000, 0x4812_3456));
    assert_eq!(recorder.usable().len(), 3);
}

#[test]
fn numa_node_id_without_distance_map() {
    let tree = Builder::root(1, 1).memory("m", &[0, 0x1000], &[("numa-node-id", &cells(&[5]))]);
    let recorder = described(tree.done());
    assert_eq!(recorder.nodes(), [(0, 0x1000, 5)]);
    assert!(recorder.distances.is_empty() && recorder.warnings.is_empty());
    let tree = Builder::root(1, 1).memory("m", &[0, 0x1000], &[("numa-node-id", &[5])]);
    let recorder = described(tree.done());
    assert_eq!((recorder.nodes().len(), recorder.problems()), (0, vec![(Some(0), Problem::Length { stated: 1 })]));
}

#[test]
fn distance_map_with_one_direction_only() {
    assert_eq!(described(BARE.to_vec()).matrix(), [(2, 2, 10), (2, 7, 30), (7, 2, 30), (7, 7, 10)]);
    let map = |matrix: &[u8]| {
        let compatible = &b"numa-distance-map-v1\0"[..];
        described(
            Builder::root(1, 1).node("distance-map", &[("compatible", compatible), ("distance-matrix", matrix)]).done(),
        )
    };
    // Both directions, and they differ: as they are given.
    assert_eq!(map(&cells(&[1, 0, 40, 0, 1, 20])).matrix(), [(1, 0, 40), (0, 1, 20)]);
    for short in [0, 4, 13] {
        assert_eq!(map(&vec![0; short]).problems(), [(None, Problem::Length { stated: short as u64 })]);
    }
}

#[test]
fn fdt_header_reservation() {
    let recorder = described(Builder::root(2, 2).reserve(0, 0x1000).reserve(0x8000_0000, 0x1_0000).done());
    let owner = "device tree reserve map";
    assert_eq!(recorder.reserved(), [(owner, 0, 0x1000), (owner, 0x8000_0000, 0x8001_0000)]);
    assert!(recorder.reservations.iter().all(|held| held.purpose == Purpose::Held));
}

#[test]
fn no_map_node() {
    let reg = cells(&[0x1000, 0x2000]);
    let tree = Builder::root(1, 1).reserved_memory(1, 1).node("memory@1000", &[("reg", &reg), ("no-map", &[])]);
    let recorder = described(tree.end().done());
    assert_eq!(recorder.reserved(), [("memory@1000", 0x1000, 0x3000)]);
    assert_eq!(recorder.reservations[0].purpose, Purpose::NoMap);
    assert!(recorder.banks.is_empty(), "its name makes it no RAM");
}

#[test]
fn dynamic_reservation_size_without_reg() {
    let size = cells(&[0x4000]);
    let tree = Builder::root(1, 1).reserved_memory(1, 1).node("later", &[("size", &size)]).end();
    let recorder = described(tree.done());
    assert_eq!((recorder.wishes.len(), recorder.wishes[0].size), (1, 0x4000));
    assert!(recorder.reservations.is_empty() && recorder.warnings.is_empty());
}

#[test]
fn truncated_dtb() {
    for length in (0..BARE.len()).step_by(if cfg!(miri) { 97 } else { 1 }) {
        assert!(check(&mut BARE[..length].to_vec()).is_err(), "{length}");
    }
}

#[test]
fn several_ranges_per_node() {
    let domain = cells(&[3]);
    let tree = Builder::root(1, 1).memory("m", &[0x1000, 0x1000, 0x4000, 0x2000], &[("numa-node-id", &domain)]);
    let recorder = described(tree.done());
    assert_eq!(recorder.nodes(), [(0x1000, 0x2000, 3), (0x4000, 0x6000, 3)]);
}

#[test]
fn interleaved_nodes() {
    let node = |tree: Builder, start: u32, domain: u32| {
        tree.memory("memory", &[start, 0x1000], &[("numa-node-id", &cells(&[domain]))])
    };
    let tree = (0..4u32).fold(Builder::root(1, 1), |tree, at| node(tree, at << 12, at % 2));
    let domains: Vec<u32> = described(tree.done()).nodes().iter().map(|node| node.2).collect();
    assert_eq!(domains, [0, 1, 0, 1]);
}

#[test]
fn memoryless_node() {
    // A placeholder that nobody filled, and a node that is disabled: no memory, but a domain.
    let tree = Builder::root(1, 1)
        .memory("memory", &[0x1000, 0x1000], &[("numa-node-id", &cells(&[0]))])
        .memory("memory", &[0, 0], &[("numa-node-id", &cells(&[1]))])
        .memory("memory", &[0x9000, 0x1000], &[("numa-node-id", &cells(&[2])), ("status", b"disabled\0")]);
    let recorder = described(tree.done());
    assert_eq!(recorder.usable(), [(0x1000, 0x2000)]);
    assert_eq!(recorder.nodes(), [(0x1000, 0x2000, 0), (0, 0, 1), (0x9000, 0xa000, 2)]);
}

#[test]
fn zero_length_bank() {
    let recorder = described(Builder::root(2, 1).memory("memory@0", &[0, 0, 0], &[]).done());
    assert!(recorder.banks.is_empty() && recorder.warnings.is_empty(), "a boot loader would have filled it");
}

#[test]
fn length_overflow_past_2_64() {
    let recorder = described(Builder::root(2, 2).memory("m", &[u32::MAX, u32::MAX, 0, 2], &[]).done());
    assert_eq!(recorder.problems(), [(Some(0), Problem::Wraps { start: u64::MAX, size: 2 })]);
}

#[test]
fn frame_0_is_memory() {
    assert_eq!(described(Builder::root(1, 1).memory("m", &[0, 0x1000], &[]).done()).usable(), [(0, 0x1000)]);
}

#[test]
fn more_than_1000_regions() {
    let reg: Vec<u32> = (0..1500u32).flat_map(|at| [at << 16, 0x1000]).collect();
    assert_eq!(described(Builder::root(1, 1).memory("m", &reg, &[]).done()).banks.len(), 1500);
}
