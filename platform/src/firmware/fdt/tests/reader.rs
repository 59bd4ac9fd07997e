use super::*;
use crate::console::{ConsoleSpec, UartKind, Width, Window};
use crate::power::Conduit;
use mm::machine::{Plug, Problem, Purpose, Source, Table};

pub(super) fn blob_of<T>(bytes: &[u8], run: impl FnOnce(Blob<'_>) -> T) -> T {
    run(check(&mut bytes.to_vec()).unwrap())
}

#[test]
fn the_odd_board_is_understood() {
    let board = described(BARE.to_vec());
    assert_eq!(
        board.usable(),
        [(0x8_8000_0000, 0x8_c000_0000), (0, 0x3c00_0000), (0x4000_0000, 0x6000_0000)],
        "by device_type, in order, without what is empty, disabled, or only called memory"
    );
    assert_eq!(board.nodes().iter().map(|node| node.2).collect::<Vec<_>>(), [7, 7, 2, 2]);
    assert_eq!(board.affinities[0].plug, Plug::HotPluggable);
    assert_eq!(board.affinities[2].plug, Plug::Fixed);
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
    assert_eq!(
        board.wishes.iter().map(|wish| (wish.size, wish.purpose)).collect::<Vec<_>>(),
        [(64 << 20, Purpose::Contiguous)]
    );
    assert!(board.warnings.is_empty());
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
fn the_first_string_that_is_known_decides_and_properties_say_how_registers_lie() {
    let stdout = |compatible: &[u8], more: &[(&str, &[u8])]| {
        let reg = cells(&[0x1000_0040, 0x40]);
        let properties = [&[("compatible", compatible), ("reg", &reg[..])], more].concat();
        let tree =
            Builder::root(1, 1).begin("chosen").text("stdout-path", "/uart").end().node("uart", &properties).done();
        blob_of(&tree, |blob| {
            assert_eq!(blob.console_at("/uart"), blob.stdout());
            blob.stdout().map(|console| (console.kind, console.window))
        })
    };
    let at = |base, shift, width| Window::Mmio { base: PhysAddr::new(base), shift, width };
    let words = at(0x1000_0040, 2, Width::Bits32);
    assert_eq!(stdout(b"acme,x\0arm,sbsa-uart\0arm,pl011\0", &[]), Some((UartKind::SbsaUart, words)));
    assert_eq!(stdout(b"arm,pl011\0arm,sbsa-uart\0", &[]), Some((UartKind::Pl011, words)));
    assert_eq!(stdout(b"arm,primecell\0", &[]), None);
    let mini = at(0x1000_0000, 2, Width::Bits32);
    assert_eq!(stdout(b"brcm,bcm2835-aux-uart\0", &[]), Some((UartKind::BcmMiniUart, mini)));
    let imx = at(0x1000_0050, 2, Width::Bits32);
    assert_eq!(stdout(b"fsl,imx8qxp-lpuart\0", &[]), Some((UartKind::Lpuart, imx)));
    let (two, four, one) = (cells(&[2]), cells(&[4]), cells(&[1]));
    let spread: [(&str, &[u8]); 2] = [("reg-shift", &two), ("reg-io-width", &four)];
    assert_eq!(stdout(b"ns16550a\0", &spread), Some((UartKind::Ns16550, words)));
    assert_eq!(stdout(b"ti,am654-uart\0", &[]), Some((UartKind::Ns16550, at(0x1000_0040, 2, Width::Bits8))));
    let big: [(&str, &[u8]); 3] = [("reg-shift", &two), ("reg-io-width", &four), ("big-endian", &[])];
    let big_words = at(0x1000_0040, 2, Width::Bits32Big);
    assert_eq!(stdout(b"ns16550a\0", &big), Some((UartKind::Ns16550, big_words)));
    assert_eq!(stdout(b"fsl,imx6q-uart\0", &[("big-endian", &[])]), Some((UartKind::Imx, big_words)));
    let bytes: [(&str, &[u8]); 2] = [("reg-io-width", &one), ("big-endian", &[])];
    assert_eq!(stdout(b"ns16550a\0", &bytes), None, "bytes have no order");
    assert_eq!(stdout(b"ns16550a\0", &[("reg-shift", &four)]), None);
}

/// For whoever asks why a console is not understood.
#[test]
fn a_console_that_no_driver_knows_says_what_it_is() {
    let named = |path: &str, compatible: &[u8]| {
        let tree = Builder::root(1, 1).begin("chosen").text("stdout-path", path).end();
        let tree = tree.node("uart", &[("compatible", compatible), ("reg", &cells(&[0x1000, 0x100]))]).done();
        blob_of(&tree, |blob| (blob.stdout().is_some(), blob.stdout_compatible().map(str::to_owned)))
    };
    let general = |name: &str| Some(name.to_owned());
    assert_eq!(named("/uart:115200", b"acme,uart-2\0acme,uart\0"), (false, general("acme,uart")));
    assert_eq!(named("/uart", b"arm,pl011\0arm,primecell\0"), (true, general("arm,primecell")));
    assert_eq!(named("/other", b"acme,uart\0"), (false, None));
    assert_eq!(blob_of(&Builder::root(1, 1).done(), |blob| blob.stdout_compatible().map(str::to_owned)), None);
}

#[test]
fn cell_counts_of_1_to_4_are_read_and_others_told() {
    assert_eq!(described(Builder::root(1, 1).memory("m", &[0x1000, 0x2000], &[]).done()).usable(), [(0x1000, 0x3000)]);
    let mixed = Builder::root(1, 2).memory("m", &[0x1000, 1, 0], &[]).done();
    assert_eq!(described(mixed).usable(), [(0x1000, 0x1_0000_1000)]);
    let wide = Builder::root(3, 4).memory("m", &[0, 8, 0x1000, 0, 0, 0, 0x2000], &[]).done();
    assert_eq!(described(wide).usable(), [(0x8_0000_1000, 0x8_0000_3000)]);
    for (address, size, what, value) in
        [(5, 1, "#address-cells", 5), (2, 0, "#size-cells", 0), (0, 1, "#address-cells", 0)]
    {
        let recorder = described(Builder::root(address, size).memory("m", &[0; 6], &[]).done());
        assert_eq!(recorder.problems(), [(Some(0), Problem::Value { what, value })]);
        assert!(recorder.banks.is_empty());
    }
    // One and one are what Linux assumes.
    assert_eq!(described(Builder::new().begin("").memory("m", &[1, 2], &[]).done()).usable(), [(1, 3)]);
    // A count of the wrong size is as good as none.
    let short = Builder::new().begin("").prop("#address-cells", &[1]).memory("m", &[1, 2], &[]).done();
    assert_eq!(described(short).usable(), [(1, 3)]);
}

#[test]
fn a_number_of_more_than_64_bits_costs_its_entry() {
    let reg = [7, 0, 0x1000, 0, 0x1000, 0, 0, 0x2000, 0, 0x1000];
    let recorder = described(Builder::root(3, 2).memory("m", &reg, &[]).done());
    let upper = Problem::Value { what: "the upper half of an address", value: 7 };
    assert_eq!((recorder.problems(), recorder.usable()), (vec![(Some(0), upper)], vec![(0x2000, 0x3000)]));
    let recorder = described(Builder::root(1, 3).memory("m", &[0x1000, 9, 0, 0x1000], &[]).done());
    let upper = Problem::Value { what: "the upper half of a size", value: 9 };
    assert_eq!(recorder.problems(), [(Some(0), upper)]);
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
    assert_eq!(recorder.nodes().len(), 4, "one that is empty is no memory, but the domain's");
    assert_eq!(recorder.problems(), [(Some(4), Problem::Length { stated: 4 })]);
}

#[test]
fn a_node_without_ranges_takes_one_number() {
    let tree = Builder::root(1, 1).node("a", &[("device_type", b"memory\0")]).memory("b", &[1, 1], &[]);
    let recorder = described(tree.node("c", &[("device_type", b"memory\0")]).done());
    assert_eq!(recorder.problems(), [0, 2].map(|entry| (Some(entry), Problem::Length { stated: 0 })));
    assert_eq!(recorder.banks[0].source, Source::entry(Table::MemoryNode, 1));
    let tree = Builder::root(0, 1).memory("a", &[1], &[]).memory("b", &[1], &[]).memory("c", &[1], &[]);
    let none = Problem::Value { what: "#address-cells", value: 0 };
    assert_eq!(described(tree.done()).problems(), [0, 1, 2].map(|entry| (Some(entry), none)));
}

/// The binding: where one direction is not stated, it is as the other. Linux takes only the higher domain's for that.
#[test]
fn distances_are_stated_for_one_direction_or_both() {
    let matrix = |triplets: &[[u32; 3]]| {
        let compatible = ("compatible", &b"numa-distance-map-v1\0"[..]);
        let matrix = cells(triplets.as_flattened());
        let recorder = described(Builder::root(1, 1).node("map", &[compatible, ("distance-matrix", &matrix)]).done());
        assert!(recorder.warnings.is_empty());
        recorder.matrix()
    };
    let local = [[0, 0, 10], [1, 1, 10]];
    assert_eq!(matrix(&local), [(0, 0, 10), (1, 1, 10)]);
    assert_eq!(matrix(&[[0, 1, 20]]), [(0, 1, 20), (1, 0, 20)]);
    assert_eq!(matrix(&[[1, 0, 30]]), [(1, 0, 30)]);
    assert_eq!(matrix(&[[0, 1, 20], [1, 0, 30]]), [(0, 1, 20), (1, 0, 30)]);
    if cfg!(miri) {
        // The rest takes too long there.
        return;
    }
    // As many as 64 domains have among each other; what is longer is taken as it is.
    for (count, told) in [(64 * 64, 64 * 64 + 1), (64 * 64 + 1, 64 * 64 + 1)] {
        let mut triplets = vec![[0, 0, 10]; count];
        triplets[7] = [0, 1, 20];
        assert_eq!(matrix(&triplets).len(), told, "{count}");
    }
}

#[test]
fn a_distance_map_without_a_matrix_is_told() {
    let compatible = ("compatible", &b"numa-distance-map-v1\0"[..]);
    for (properties, stated) in [
        (&[compatible][..], 0),
        (&[compatible, ("distance-matrix", &[])], 0),
        (&[compatible, ("distance-matrix", &[0; 16])], 16),
    ] {
        let recorder = described(Builder::root(1, 1).node("map", properties).done());
        assert_eq!(recorder.problems(), [(None, Problem::Length { stated })]);
        assert_eq!(recorder.warnings[0].source, Source::whole(Table::DistanceMap));
    }
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
fn a_reservation_of_the_header_that_cannot_be_is_told() {
    let recorder = described(Builder::root(1, 1).reserve(0x1000, 0x10).reserve(5, 0).reserve(u64::MAX, 9).done());
    assert_eq!(recorder.reserved(), [("device tree reserve map", 0x1000, 0x1010)]);
    assert_eq!(
        recorder.problems(),
        [(Some(1), Problem::Empty { start: 5 }), (Some(2), Problem::Wraps { start: u64::MAX, size: 9 })]
    );
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
