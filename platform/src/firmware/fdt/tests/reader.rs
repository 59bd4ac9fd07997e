use super::*;
use crate::console::{ConsoleSpec, UartKind, Width, Window};
use crate::handover::{MemoryMapSource, image};
use crate::power::{Conduit, Off};
use crate::read::MemoryImage;
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{Plug, Problem, Purpose, Source, Table};

const GIB: u64 = 1 << 30;

fn blob_of<T>(bytes: &[u8], run: impl FnOnce(Blob<'_>) -> T) -> T {
    run(check(&mut bytes.to_vec()).unwrap())
}

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
fn the_odd_board_is_understood() {
    let board = described(BARE.to_vec());
    assert_eq!(
        board.usable(),
        [(0x8_8000_0000, 0x8_c000_0000), (0, 0x3c00_0000), (0x4000_0000, 0x6000_0000)],
        "by device_type, in order, without what is empty, disabled, or only called memory"
    );
    assert_eq!(board.nodes().iter().map(|node| node.2).collect::<Vec<_>>(), [7, 2, 2]);
    assert_eq!(board.affinities[0].plug, Plug::HotPluggable);
    assert_eq!(board.affinities[1].plug, Plug::Fixed);
    assert_eq!(
        board.reserved(),
        [
            ("device tree reserve map", 0, 0x1000),
            ("device tree reserve map", 0x8000_0000, 0x8001_0000),
            ("memory@1000000", 0x100_0000, 0x100_5400),
            ("overlap@1000000", 0x100_0000, 0x180_0000),
            ("overlap@1000000", 0x200_0000, 0x200_1000),
        ]
    );
    assert_eq!(board.reservations[2].purpose, Purpose::NoMap);
    assert_eq!(board.reservations[3].purpose, Purpose::Held);
    let cpus: Vec<_> = board.cpus.iter().map(|cpu| (cpu.hardware_id, cpu.domain)).collect();
    assert_eq!(cpus, [(0, Some(2)), (0x100, Some(7))], "a CPU that waits counts, one that failed does not");
    blob_of(BARE, |blob| {
        assert_eq!(blob.psci(), Some(Conduit::Smc));
        assert_eq!(blob.model(), Some("Gathered oddities"));
        assert_eq!(blob.compatible().collect::<Vec<_>>(), ["tessera,odd", "tessera,board"]);
    });
}

#[test]
fn the_console_is_found_by_alias_and_translated_through_buses() {
    let window = Window::Mmio { base: PhysAddr::new(0x1_0000_1000), shift: 2, width: Width::Bits32 };
    let expected = ConsoleSpec { kind: UartKind::Ns16550, window, baud: Some(57600), clock: Some(24_000_000) };
    blob_of(BARE, |blob| assert_eq!(blob.stdout(), Some(expected)));
    // The other one, by the end of its alias's name.
    let mut other = BARE.to_vec();
    let at = other.windows(8).position(|window| window == b"serial0:").unwrap();
    other[at + 6] = b'1';
    let pl011 = ConsoleSpec { baud: Some(57600), ..ConsoleSpec::pl011(PhysAddr::new(0x3f20_1000)) };
    blob_of(&other, |blob| assert_eq!(blob.stdout(), Some(pl011)));
    // And one that does not resolve.
    other[at + 6] = b'2';
    blob_of(&other, |blob| assert_eq!(blob.stdout(), None));
}

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

#[test]
fn initrd_and_dtb_blob_inside_ram_are_reserved() {
    let mut bytes = BARE.to_vec();
    let info = image::read(PhysAddr::new(0x4800_0000), &mut bytes).unwrap();
    assert_eq!(info.cmdline.get("exec"), Some("meminfo; poweroff"));
    assert_eq!(info.initrd, Some(PhysRange::new(PhysAddr::new(0x4800_0000), PhysAddr::new(0x4812_3456))));
    assert!(matches!(info.map, MemoryMapSource::DeviceTree(_)));
    assert_eq!(info.dtb.map(PhysRange::size), Some(BARE.len() as u64));
    let recorder = Recorder::of(|sink| info.describe(&mut MemoryImage::new(&[]), sink));
    assert_eq!(recorder.reserved()[0], ("device tree", 0x4800_0000, 0x4800_0000 + BARE.len() as u64));
    assert_eq!(recorder.reserved()[1], ("initrd", 0x4800_0000, 0x4812_3456));
    assert_eq!(recorder.usable().len(), 3);
}

#[test]
fn cell_counts_of_1_and_2_are_read_and_others_told() {
    assert_eq!(described(Builder::root(1, 1).memory("m", &[0x1000, 0x2000], &[]).done()).usable(), [(0x1000, 0x3000)]);
    let mixed = Builder::root(1, 2).memory("m", &[0x1000, 1, 0], &[]).done();
    assert_eq!(described(mixed).usable(), [(0x1000, 0x1_0000_1000)]);
    for (address, size, what, value) in
        [(3, 1, "#address-cells", 3), (2, 0, "#size-cells", 0), (0, 1, "#address-cells", 0)]
    {
        let recorder = described(Builder::root(address, size).memory("m", &[0; 6], &[]).done());
        assert_eq!(recorder.problems(), [(Some(0), Problem::Value { what, value })]);
        assert!(recorder.banks.is_empty());
    }
    // Two and one are what the specification assumes.
    assert_eq!(described(Builder::new().begin("").memory("m", &[0, 1, 2], &[]).done()).usable(), [(1, 3)]);
    // A count of the wrong size is as good as none.
    let short = Builder::new().begin("").prop("#address-cells", &[1]).memory("m", &[0, 1, 2], &[]).done();
    assert_eq!(described(short).usable(), [(1, 3)]);
}

#[test]
fn several_ranges_per_node_count_as_entries_of_their_own() {
    let reg = [0x1000, 0x1000, 0x5000, 0, 0x8000_0000, 0x8000_0001, 0x9000, 0x1000, 0x7777];
    let recorder = described(
        Builder::root(1, 1).memory("a", &reg, &[("numa-node-id", &cells(&[3]))]).memory("b", &[1, 1], &[]).done(),
    );
    assert_eq!(recorder.usable(), [(0x1000, 0x2000), (0x8000_0000, 0x1_0000_0001), (0x9000, 0xa000), (1, 2)]);
    let entries: Vec<_> = recorder.banks.iter().map(|bank| bank.source).collect();
    assert_eq!(entries, [0, 2, 3, 5].map(|entry| Source::entry(Table::MemoryNode, entry)));
    assert_eq!(recorder.nodes().len(), 3);
    assert_eq!(recorder.problems(), [(Some(4), Problem::Length { stated: 4 })]);
}

#[test]
fn a_range_past_2_64_is_dropped() {
    let reg = [u32::MAX, u32::MAX, 0, 2, 0, 0x1000, 0, 0x1000];
    let recorder = described(Builder::root(2, 2).memory("m", &reg, &[("numa-node-id", &cells(&[0]))]).done());
    assert_eq!(recorder.problems(), [(Some(0), Problem::Wraps { start: u64::MAX, size: 2 })]);
    assert_eq!(recorder.usable(), [(0x1000, 0x2000)]);
    assert_eq!(recorder.nodes(), [(0x1000, 0x2000, 0)]);
}

#[test]
fn usable_memory_of_a_crash_kernel_stands_before_reg() {
    let usable = cells(&[0x4000, 0x1000]);
    let more: [(&str, &[u8]); 2] = [("linux,usable-memory", &usable), ("numa-node-id", &cells(&[1]))];
    let recorder = described(Builder::root(1, 1).memory("m", &[0, 0x10000], &more).done());
    assert_eq!(recorder.usable(), [(0x4000, 0x5000)]);
    assert_eq!(recorder.nodes(), [(0, 0x10000, 1)]);
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
fn a_reservation_of_the_header_that_cannot_be_is_told() {
    let recorder = described(Builder::root(1, 1).reserve(0x1000, 0x10).reserve(5, 0).reserve(u64::MAX, 9).done());
    assert_eq!(recorder.reserved(), [("device tree reserve map", 0x1000, 0x1010)]);
    assert_eq!(
        recorder.problems(),
        [(Some(1), Problem::Empty { start: 5 }), (Some(2), Problem::Wraps { start: u64::MAX, size: 9 })]
    );
}

#[test]
fn a_dynamic_reservation_is_told_and_nothing_else() {
    let problem = Problem::Value { what: "the size of a range without an address", value: 0x400_0000 };
    assert_eq!(described(BARE.to_vec()).problems(), [(Some(3), problem)]);
}

#[test]
fn reserved_memory_takes_the_roots_cells_where_it_has_none() {
    let reg = cells(&[0, 0x1000, 0x2000]);
    let tree =
        Builder::root(2, 1).begin("reserved-memory").node("a", &[("reg", &reg)]).node("b", &[("reg", &reg[..8])]);
    let recorder = described(tree.node("c", &[]).end().done());
    assert_eq!(recorder.reserved(), [("a", 0x1000, 0x3000)]);
    assert_eq!(
        recorder.problems(),
        [(Some(1), Problem::Length { stated: 8 }), (Some(2), Problem::Length { stated: 0 })]
    );
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
fn cpus_with_ids_of_two_cells_and_with_none() {
    let cpu = |reg: &[u32]| {
        let tree = Builder::root(1, 1).begin("cpus").prop("#address-cells", &cells(&[2]));
        described(tree.node("cpu@0", &[("reg", &cells(reg))]).end().done())
    };
    assert_eq!(cpu(&[1, 2]).cpus[0].hardware_id, 0x1_0000_0002);
    assert_eq!(cpu(&[1]).problems(), [(Some(0), Problem::Length { stated: 4 })]);
    let none = described(
        Builder::root(1, 1).begin("cpus").prop("#address-cells", &cells(&[0])).begin("cpu").end().end().done(),
    );
    assert_eq!(none.problems(), [(Some(0), Problem::Value { what: "#address-cells", value: 0 })]);
}

#[test]
fn chosen_may_say_anything() {
    let chosen = |properties: &[(&str, &[u8])]| Builder::root(1, 1).node("chosen", properties).done();
    let nothing: [&[(&str, &[u8])]; 6] = [
        &[],
        &[("stdout-path", b""), ("linux,initrd-start", &[0; 4])],
        &[("stdout-path", b"\0"), ("linux,initrd-start", &[0; 5]), ("linux,initrd-end", &[1; 4])],
        &[("stdout-path", b"/"), ("linux,initrd-start", &[9; 4]), ("linux,initrd-end", &[1; 4])],
        &[("stdout-path", b"\xff"), ("linux,initrd-start", &[]), ("linux,initrd-end", &[])],
        &[("stdout-path", b"/chosen:115200\0")],
    ];
    for properties in nothing {
        blob_of(&chosen(properties), |blob| assert_eq!((blob.stdout(), blob.initrd()), (None, None)));
    }
    blob_of(&chosen(&[("bootargs", b"no end")]), |blob| assert_eq!(blob.bootargs(), Some(&b"no end"[..])));
    blob_of(&chosen(&[("bootargs", b"")]), |blob| assert_eq!(blob.bootargs(), Some(&b""[..])));
}
