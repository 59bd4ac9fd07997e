use super::*;
use crate::firmware::e820::{FirmwareMap, PcMap, Stage};
use crate::firmware::recorder::{Random, Recorder};
use crate::read::MemoryImage;
use mm::machine::Rules;

const AT: PhysAddr = PhysAddr::new(0x7_0003);
const MIB: u64 = 1 << 20;
const WB: u64 = 8;
const ALL: u64 = 0xf;
const RUNTIME: u64 = 1 << 63;
const MORE_RELIABLE: u64 = 1 << 16;
const SPECIAL: u64 = 1 << 18;

/// Type, start, pages, attributes.
type Raw = (u32, u64, u64, u64);

fn bytes(descriptors: &[Raw], stride: usize) -> Vec<u8> {
    let one = |&(kind, start, pages, attributes): &Raw| {
        let mut one = kind.to_le_bytes().to_vec();
        one.extend([0xee; 4]);
        for word in [start, u64::MAX, pages, attributes] {
            one.extend(word.to_le_bytes());
        }
        one.resize(stride.max(40), 0xdd);
        one
    };
    descriptors.iter().flat_map(one).collect()
}

fn with<T>(descriptors: &[Raw], stride: usize, run: impl FnOnce(EfiMap, &mut MemoryImage<'_>) -> T) -> T {
    let bytes = bytes(descriptors, stride);
    let pieces = [(AT, &bytes[..])];
    let map = EfiMap { at: AT, size: bytes.len() as u64, stride: stride as u64, version: EfiMap::VERSION };
    run(map, &mut MemoryImage::new(&pieces))
}

fn arm64(descriptors: &[Raw], page_size: u64) -> Recorder {
    with(descriptors, 48, |map, image| Recorder::of(|sink| map.describe(page_size, image, sink)))
}

fn pc(descriptors: &[Raw]) -> Recorder {
    with(descriptors, 48, |map, image| Recorder::of(|sink| PcMap::from(FirmwareMap::Efi(map)).describe(image, sink)))
}

#[test]
fn lines_are_linuxs() {
    let map = [
        (7, 0, 0xa0, ALL),
        (4, 0x10_0000, 0x800, ALL),
        (6, 0xbff0_0000, 0x100, ALL | RUNTIME),
        (10, 0xbfe0_0000, 0x100, ALL | 0x10 | 0x4000 | 0x2_0000),
        (7, 1 << 32, 1 << 18, ALL | MORE_RELIABLE | SPECIAL | 0x8_0000 | 0x8000 | 0x2000 | 0x1000),
        (16, 2 << 32, 1, 0x0800_0000_0000_000f),
    ];
    let print = |rules| {
        with(&map, 48, |map, image| {
            let mut text = String::new();
            map.print(rules, image, &mut text).unwrap();
            map.print_mirrored(image, &mut text).unwrap();
            text
        })
    };
    assert_eq!(
        print(Rules::X86),
        "efi: mem00: [Conventional|   |  |  |  |  |  |  |  |  |   |WB|WT|WC|UC] \
         range=[0x0000000000000000-0x000000000009ffff] (0MB)\n\
         efi: mem01: [Boot Data   |   |  |  |  |  |  |  |  |  |   |WB|WT|WC|UC] \
         range=[0x0000000000100000-0x00000000008fffff] (8MB)\n\
         efi: mem02: [Runtime Data|RUN|  |  |  |  |  |  |  |  |   |WB|WT|WC|UC] \
         range=[0x00000000bff00000-0x00000000bfffffff] (1MB)\n\
         efi: mem03: [ACPI Mem NVS|   |  |  |  |  |XP|  |  |RO|UCE|WB|WT|WC|UC] \
         range=[0x00000000bfe00000-0x00000000bfefffff] (1MB)\n\
         efi: mem04: [Conventional|   |MR|CC|SP|NV|  |RP|WP|  |   |WB|WT|WC|UC] \
         range=[0x0000000100000000-0x000000013fffffff] (1024MB)\n\
         efi: mem05: [type=16|attr=0x080000000000000f] range=[0x0000000200000000-0x0000000200000fff] (0MB)\n\
         efi: Memory: 1024M/1034M mirrored memory\n"
    );
    assert!(print(Rules::Arm64).starts_with(
        "efi: Processing EFI memory map:\n\
         efi:   0x000000000000-0x00000009ffff [Conventional|   |  |  |  |  |  |  |  |  |   |WB|WT|WC|UC]\n"
    ));
    let plain = with(&map[..4], 48, |map, image| {
        let mut text = String::new();
        map.print_mirrored(image, &mut text).unwrap();
        text
    });
    assert_eq!(plain, "");
}

#[test]
fn a_pcs_types() {
    let map: Vec<Raw> = (0..17).map(|kind| (kind, u64::from(kind + 1) * MIB, 256, ALL)).collect();
    let recorder = pc(&map);
    let at = |mib: u64| {
        let bank = recorder.banks.iter().find(|bank| bank.range.contains(PhysAddr::new(mib * MIB)));
        bank.map(|bank| (bank.kind, bank.source))
    };
    use MemoryKind::{AcpiData, AcpiNvs, Persistent, Reserved, Unusable, Usable};
    let kinds = [
        Reserved, Usable, Usable, Usable, Usable, Reserved, Reserved, Usable, Unusable, AcpiData, AcpiNvs, Reserved,
        Reserved, Reserved, Persistent,
    ];
    for (mib, kind) in (1..).zip(kinds) {
        assert_eq!(at(mib).map(|(kind, _)| kind), Some(kind), "{mib}");
    }
    assert_eq!((at(16), at(17)), (None, None));
    assert_eq!(at(6).unwrap().1, Source::entry(Table::EfiMap, 5));
    // Neighbours join, and boot services are held for a while.
    assert_eq!(recorder.usable(), [(2 * MIB, 6 * MIB), (8 * MIB, 9 * MIB)]);
    let purposes: Vec<_> =
        recorder.reservations.iter().map(|held| (held.range.start().as_u64(), held.purpose)).collect();
    assert_eq!(
        purposes,
        [
            (AT.as_u64(), Purpose::Held),
            (4 * MIB, Purpose::Temporary),
            (5 * MIB, Purpose::Temporary),
            (0x9_f000, Purpose::Held),
        ]
    );
    assert!(recorder.warnings.is_empty());
}

#[test]
fn a_pcs_special_and_mirrored_memory() {
    let map = [
        (7, MIB, 0x100, ALL | SPECIAL),
        (7, 2 * MIB, 0x100, ALL),
        (7, 3 * MIB, 0x100, ALL | MORE_RELIABLE),
        (4, 4 * MIB, 0x100, ALL | RUNTIME),
    ];
    let recorder = pc(&map);
    let banks: Vec<_> =
        recorder.banks.iter().map(|bank| (bank.range.start().as_u64() / MIB, bank.kind, bank.flags)).collect();
    let (plain, mirror) = (RegionFlags::empty(), RegionFlags::MIRROR);
    assert_eq!(
        banks,
        [
            (1, MemoryKind::SoftReserved, plain),
            (2, MemoryKind::Usable, plain),
            (3, MemoryKind::Usable, mirror),
            (4, MemoryKind::Usable, plain),
        ]
    );
    // Runtime services go on to use it.
    assert_eq!(recorder.reservations[1].purpose, Purpose::Held);
    with(&map, 40, |map, image| {
        let mut text = String::new();
        PcMap::from(FirmwareMap::Efi(map)).print_table(Stage::Firmware, "BIOS-e820", image, &mut text).unwrap();
        assert_eq!(
            text,
            "BIOS-e820: [mem 0x0000000000100000-0x00000000001fffff] soft reserved\n\
             BIOS-e820: [mem 0x0000000000200000-0x00000000004fffff] usable\n"
        );
    });
}

#[test]
fn arm64_takes_for_memory_what_can_be_mapped_as_memory() {
    let map = [
        (11, 0x0400_0000, 0x4000, 1 | RUNTIME),
        (7, 0x4000_0000, 0x100, ALL),
        (7, 0x4010_0000, 0x100, 1),
        (6, 0x4020_0000, 0x100, ALL | RUNTIME),
        (9, 0x4030_0000, 0x100, WB),
        (4, 0x4040_0000, 0x100, WB | MORE_RELIABLE),
        (14, 0x4050_0000, 0x100, WB),
        (7, 0x4060_0000, 0x100, WB | SPECIAL),
        (0, 0x4070_0000, 0x100, 4),
        (7, 0x4080_0000, 0x100, 2),
    ];
    let recorder = arm64(&map, 4096);
    let banks: Vec<_> = recorder.banks.iter().map(|bank| (bank.source.entry.unwrap(), bank.flags)).collect();
    let entries = [1, 3, 4, 5, 6, 7, 8, 9];
    assert_eq!(banks.iter().map(|bank| bank.0).collect::<Vec<_>>(), entries);
    assert_eq!(banks[3].1, RegionFlags::MIRROR);
    let held: Vec<_> = recorder
        .reservations
        .iter()
        .map(|held| (held.source.entry, held.owner.as_str().to_owned(), held.purpose))
        .collect();
    let no_map = |entry, owner: &str| (Some(entry), owner.to_owned(), Purpose::NoMap);
    assert_eq!(
        held,
        [
            (None, "EFI memory map".to_owned(), Purpose::Held),
            no_map(3, "Runtime Data"),
            (Some(4), "ACPI Reclaim".to_owned(), Purpose::Held),
            no_map(7, "Conventional"),
            no_map(8, "Reserved"),
            no_map(9, "Conventional"),
        ]
    );
}

#[test]
fn arm64_widens_to_its_pages() {
    let recorder = arm64(&[(7, 0x4000_1000, 0x10, WB), (6, 0x4002_3000, 1, WB | RUNTIME)], 0x1_0000);
    assert_eq!(recorder.usable(), [(0x4000_0000, 0x4002_0000), (0x4002_0000, 0x4003_0000)]);
    assert_eq!(recorder.reserved()[1], ("Runtime Data", 0x4002_0000, 0x4003_0000));
}

#[test]
fn odd_descriptors_are_named_once() {
    let map = [
        (7, MIB, 0, WB),
        (7, 2 * MIB + 0x800, 1, WB),
        (7, u64::MAX - 0xfff, 2, WB),
        (7, 0, u64::MAX, WB),
        (7, u64::MAX - 0xfff, 1, WB),
        (7, 4 * MIB, 0x100, WB),
    ];
    let start = |start| PhysAddr::new(start);
    let expected = [
        (Some(0), Problem::Empty { start: MIB }),
        (Some(1), Problem::Unaligned(PhysRange::new(start(2 * MIB + 0x800), start(2 * MIB + 0x1800)))),
        (Some(2), Problem::Wraps { start: u64::MAX - 0xfff, size: 0x2000 }),
        (Some(3), Problem::Value { what: "number of pages", value: u64::MAX }),
    ];
    assert_eq!(arm64(&map, 4096).problems(), expected);
    assert_eq!(pc(&map).problems(), expected);
    assert_eq!(pc(&map).usable().last(), Some(&(u64::MAX - 0xfff, u64::MAX)));
    let many = vec![(7, MIB, 0, WB); 50];
    assert_eq!(arm64(&many, 4096).problems().len(), 17);
}

#[test]
fn odd_maps_are_named_once() {
    let map = [(7, MIB, 0x100, WB); 3];
    let problems = |change: &dyn Fn(&mut EfiMap)| {
        with(&map, 48, |mut map, image| {
            change(&mut map);
            let recorder = Recorder::of(|sink| map.describe(4096, image, sink));
            (recorder.banks.len(), recorder.problems())
        })
    };
    let short = Problem::TableIgnored("its descriptors are too short");
    assert_eq!(problems(&|map| map.stride = 39), (0, vec![(None, short)]));
    assert_eq!(problems(&|map| map.stride = 0), (0, vec![(None, short)]));
    let version = Problem::Malformed { offset: 0, what: "descriptors of an unknown version" };
    assert_eq!(problems(&|map| map.version = 2), (3, vec![(None, version)]));
    assert_eq!(problems(&|map| map.size -= 1), (2, vec![(None, Problem::Length { stated: 143 })]));
    assert_eq!(problems(&|map| map.size = 0), (0, vec![]));
    assert_eq!(problems(&|map| map.stride = u64::MAX), (0, vec![(None, Problem::Length { stated: 144 })]));
    let (banks, found) = problems(&|map| map.size = u64::MAX);
    assert_eq!(banks, 3);
    assert_eq!(found[0], (None, Problem::TooMany { what: "bytes of descriptors", limit: EfiMap::MAX_SIZE }));
    assert!(matches!(found[1], (Some(3), Problem::Unreadable(_))) && found.len() == 2);
    assert!(matches!(problems(&|map| map.at = PhysAddr::new(u64::MAX)).1[..], [(Some(0), Problem::Unreadable(_))]));
}

#[test]
fn descriptors_and_maps_are_sound_up_to_their_limits() {
    // A descriptor of version 1 has 40 bytes.
    let shortest = [(7, MIB, 0x100, WB), (7, 2 * MIB, 0x100, WB)];
    let recorder = with(&shortest, 40, |map, image| Recorder::of(|sink| map.describe(4096, image, sink)));
    assert_eq!((recorder.usable().len(), recorder.problems()), (2, vec![]));
    if cfg!(miri) {
        // It takes too long there.
        return;
    }
    let most = EfiMap::MAX_SIZE / 64;
    let too_many = Problem::TooMany { what: "bytes of descriptors", limit: EfiMap::MAX_SIZE };
    for (count, problems) in [(most, vec![]), (most + 1, vec![(None, too_many)])] {
        let map: Vec<Raw> = (0..count).map(|index| (7, index * 8192, 1, WB)).collect();
        let recorder = with(&map, 64, |map, image| Recorder::of(|sink| map.describe(4096, image, sink)));
        assert_eq!((recorder.usable().len() as u64, recorder.problems()), (most, problems));
    }
}

#[test]
fn tables_are_found_wherever_they_stand_in_the_list() {
    let guids: [Guid; 3] = [ACPI_2, ACPI_1, [7; 16]];
    let entry = |(guid, at): (&Guid, u64)| [&guid[..], &at.to_le_bytes()].concat();
    let list: Vec<u8> = guids.iter().zip([0x1000_u64, 0x2000, 0]).flat_map(entry).collect();
    let mut table = 0x5453_5953_2049_4249_u64.to_le_bytes().to_vec();
    table.resize(104, 0);
    table.extend([3_u64, MIB].map(u64::to_le_bytes).concat());
    let pieces = [(AT, &table[..]), (PhysAddr::new(MIB), &list[..])];
    let image = &mut MemoryImage::new(&pieces);
    let system_table = SystemTable::open(AT, image).unwrap();
    let mut find = |guid| system_table.find(guid, image).map(PhysAddr::as_u64);
    assert_eq!([find(ACPI_2), find(ACPI_1)], [Some(0x1000), Some(0x2000)]);
    // One that is nowhere, and one that is not listed.
    assert_eq!([find([7; 16]), find([8; 16])], [None, None]);
}

#[test]
fn random_maps_agree_with_a_page_by_page_model() {
    let mut random = Random::new(40);
    let rank = |(kind, _, _, attributes): &Raw| match kind {
        0 | 5 | 6 | 11..=13 => 2,
        1..=4 | 7 if attributes & SPECIAL != 0 => 0xefff_ffff_u32,
        1..=4 | 7 => 1,
        8 => 5,
        9 => 3,
        10 => 4,
        14 => 7,
        _ => 0,
    };
    for _ in 0..if cfg!(miri) { 3 } else { 1500 } {
        let map: Vec<Raw> = (0..random.below(40))
            .map(|_| {
                let attributes = [ALL, ALL | SPECIAL, ALL | MORE_RELIABLE][random.below(3)];
                (random.below(17) as u32, MIB + random.below(100) as u64 * 4096, 1 + random.below(9) as u64, attributes)
            })
            .collect();
        let recorder = pc(&map);
        for page in 0..120 {
            let address = MIB + page * 4096;
            let covers = |&&(_, start, pages, _): &&Raw| start <= address && address < start + pages * 4096;
            let expected = map.iter().filter(covers).map(rank).max().filter(|&rank| rank > 0);
            let mirrored = map.iter().filter(covers).any(|raw| rank(raw) > 0 && raw.3 & MORE_RELIABLE != 0);
            let bank = recorder.banks.iter().find(|bank| bank.range.contains(PhysAddr::new(address)));
            assert_eq!(bank.map(|bank| bank.kind), expected.and_then(Kind::new).map(Kind::memory), "{map:x?}");
            assert_eq!(bank.is_some_and(|bank| bank.flags == RegionFlags::MIRROR), mirrored, "{map:x?}");
        }
    }
}

#[test]
fn damaged_maps_never_panic() {
    let mut random = Random::new(9);
    let whole =
        bytes(&[(7, 0, 0xa0, ALL), (4, MIB, 0x800, ALL), (6, 2 * MIB, 9, ALL | RUNTIME), (9, 3 * MIB, 1, WB)], 48);
    for _ in 0..if cfg!(miri) { 5 } else { 20_000 } {
        let mut bytes = whole.clone();
        for _ in 0..=random.below(8) {
            random.damage(&mut bytes);
        }
        let pieces = [(AT, &bytes[..])];
        let image = &mut MemoryImage::new(&pieces);
        let stride = if random.below(4) == 0 { random.below(100) as u64 } else { 48 };
        let map = EfiMap { at: AT, size: bytes.len() as u64, stride, version: 1 };
        let recorder = Recorder::of(|sink| PcMap::from(FirmwareMap::Efi(map)).describe(image, sink));
        assert!(recorder.banks.is_sorted_by(|one, next| one.range.end() <= next.range.start()));
        let _ = Recorder::of(|sink| map.describe(0x1_0000, image, sink));
        let mut text = String::new();
        map.print(Rules::X86, image, &mut text).unwrap();
        map.print(Rules::Arm64, image, &mut text).unwrap();
        map.print_mirrored(image, &mut text).unwrap();
    }
}
