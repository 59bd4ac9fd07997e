use super::*;

const PAGES: u64 = PAGE;
const NEWEST: BaseRevision = BaseRevision::NEWEST;

fn descriptor(kind: u32, start: u64, pages: u64) -> Descriptor {
    Descriptor { kind, start, pages, attributes: 0xf }
}

fn entries(descriptors: &[Descriptor], known: &[Entry], revision: BaseRevision) -> Vec<(u64, u64, Kind)> {
    let mut out = vec![Entry::NOTHING; most_entries(descriptors.len(), known.len())];
    let count = translate(descriptors.iter().copied(), known, revision, &mut out).unwrap();
    out[..count].iter().map(|entry| (entry.start, entry.end, entry.kind)).collect()
}

#[test]
fn each_type_has_its_kind() {
    use Kind::*;
    let kind = |number: u32, revision: u64| {
        let map = [descriptor(number, 0x1000, 1)];
        entries(&map, &[], BaseRevision::for_kernel(revision))[0].2
    };
    // EFI's numbers: reserved, loader, boot services, runtime services, conventional, unusable, ACPI, NVS, MMIO,
    // MMIO ports, PAL, persistent, unaccepted, and one of a vendor.
    for (number, expected) in [
        (0, Reserved),
        (1, LoaderReclaimable),
        (2, LoaderReclaimable),
        (3, LoaderReclaimable),
        (4, LoaderReclaimable),
        (5, ReservedMapped),
        (6, ReservedMapped),
        (7, Usable),
        (8, Bad),
        (9, AcpiReclaimable),
        (10, AcpiNvs),
        (11, Reserved),
        (12, Reserved),
        (13, Reserved),
        (14, Reserved),
        (15, Reserved),
        (0x8000_0000, Reserved),
    ] {
        assert_eq!(kind(number, 6), expected, "type {number}");
    }
    assert_eq!([kind(5, 4), kind(6, 0)], [Reserved, Reserved]);
    let uncached = Descriptor { attributes: 1, ..descriptor(7, 0x1000, 1) };
    assert_eq!(entries(&[uncached], &[], NEWEST), [(0x1000, 0x2000, Reserved)]);
    let numbers = [Usable, Reserved, AcpiReclaimable, AcpiNvs, Bad, LoaderReclaimable, Executable, ReservedMapped];
    assert_eq!(numbers.map(Kind::number), [0, 1, 2, 3, 4, 5, 6, 8]);
}

#[test]
fn entries_are_sorted_and_neighbours_merged() {
    let map = [descriptor(4, 0x8000, 8), descriptor(7, 0, 4), descriptor(3, 0x4000, 4), descriptor(7, 0x20000, 1)];
    let expected =
        [(0, 0x4000, Kind::Usable), (0x4000, 0x10000, Kind::LoaderReclaimable), (0x20000, 0x21000, Kind::Usable)];
    assert_eq!(entries(&map, &[], NEWEST), expected);
    assert_eq!(entries(&[], &[], NEWEST), []);
    assert_eq!(entries(&[descriptor(7, 0x1000, 0)], &[], NEWEST), []);
}

#[test]
fn what_is_known_better_is_cut_out() {
    let map = [descriptor(2, 0x1000, 15)];
    let known = [
        Entry { start: 0x3000, end: 0x5000, kind: Kind::Executable },
        Entry { start: 0x5000, end: 0x6000, kind: Kind::Executable },
        Entry { start: 0x8000, end: 0x8000, kind: Kind::Executable },
    ];
    let expected = [
        (0x1000, 0x3000, Kind::LoaderReclaimable),
        (0x3000, 0x6000, Kind::Executable),
        (0x6000, 0x10000, Kind::LoaderReclaimable),
    ];
    assert_eq!(entries(&map, &known, NEWEST), expected);
}

#[test]
fn of_two_claims_the_one_that_forbids_wins() {
    let map = [descriptor(7, 0x1000, 15), descriptor(0, 0x4000, 2), descriptor(4, 0x5000, 2)];
    let expected = [
        (0x1000, 0x4000, Kind::Usable),
        (0x4000, 0x6000, Kind::Reserved),
        (0x6000, 0x7000, Kind::LoaderReclaimable),
        (0x7000, 0x10000, Kind::Usable),
    ];
    assert_eq!(entries(&map, &[], NEWEST), expected);
    assert_eq!(kind_at(map.iter().copied(), NEWEST, 0x5000), Some(Kind::Reserved));
    assert_eq!(kind_at(map.iter().copied(), NEWEST, 0xfff), None);
}

#[test]
fn what_is_no_whole_page_is_not_usable() {
    let map = [descriptor(7, 0x1800, 2), descriptor(0, 0x8800, 1)];
    assert_eq!(entries(&map, &[], NEWEST), [(0x2000, 0x3000, Kind::Usable), (0x8000, 0xa000, Kind::Reserved)]);
}

#[test]
fn an_end_past_all_addresses_is_cut() {
    let map = [descriptor(7, 0x1000, u64::MAX), descriptor(0, u64::MAX - 4095, 10)];
    assert_eq!(entries(&map, &[], NEWEST), [(0x1000, page_floor(u64::MAX), Kind::Usable)]);
}

#[test]
fn any_map_becomes_sorted_disjoint_and_loses_nothing() {
    let mut state = 0x0dd0_5eed_u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for _ in 0..2000 {
        let count = random(12) as usize;
        let map: Vec<Descriptor> =
            (0..count).map(|_| descriptor(random(16) as u32, random(64) * PAGES, random(20))).collect();
        let mut known = Vec::new();
        for _ in 0..random(3) {
            let start = random(64) * PAGES;
            known.push(Entry { start, end: start + random(4) * PAGES, kind: Kind::Executable });
        }
        let result = entries(&map, &known, NEWEST);
        for pair in result.windows(2) {
            assert!(pair[0].1 <= pair[1].0, "{result:?}");
            assert!(pair[0].1 < pair[1].0 || pair[0].2 != pair[1].2, "not merged: {result:?}");
        }
        // Page by page, from the definition.
        for page in (0..100).map(|page| page * PAGES) {
            let of_map = map
                .iter()
                .filter(|d| (d.start..d.start + d.pages * PAGES).contains(&page))
                .map(|d| entries(&[descriptor(d.kind, 0, 1)], &[], NEWEST)[0].2);
            let of_known = known.iter().filter(|e| (e.start..e.end).contains(&page)).map(|e| e.kind);
            let expected = of_map.chain(of_known).max();
            let found = result.iter().find(|e| (e.0..e.1).contains(&page)).map(|e| e.2);
            assert_eq!(found, expected, "page {page:#x} of {map:?}");
        }
    }
}

#[test]
fn a_map_that_does_not_fit_is_an_error_and_no_shorter_map() {
    let map = [descriptor(7, 0, 1), descriptor(3, PAGES, 1), descriptor(4, 2 * PAGES, 1), descriptor(7, 4 * PAGES, 1)];
    let room = |entries: usize| {
        let mut out = vec![Entry::NOTHING; entries];
        translate(map.iter().copied(), &[], NEWEST, &mut out)
    };
    assert_eq!([0, 1, 2, 3, 4].map(room), [Err(Full), Err(Full), Err(Full), Ok(3), Ok(3)]);
    assert_eq!(translate([].into_iter(), &[], NEWEST, &mut []), Ok(0));
}
