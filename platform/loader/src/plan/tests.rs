//! The tables are walked by a reader of their own, and what is mapped is compared with what was meant, range by range.

use super::*;
use crate::elf::tests::{BASE, Builder};
use crate::elf::{Rights, check};
use crate::tables::walk::{Half, Leaf, leaves};

const IMAGE: u64 = 0x3fe0_0000;
const OWN_PAGE: u64 = 0x3f12_3000;
const POOL: u64 = 0x1000_0000;
const FORMATS: [Format; 3] = [Format::X86_64, Format::X86_64Gigabyte, Format::Aarch64];

fn machine(revision: u64) -> Vec<Entry> {
    let runtime = if revision >= 5 { Kind::ReservedMapped } else { Kind::Reserved };
    [
        (0, 0xa_0000, Kind::Usable),
        (0x10_0000, 0x80_0000, Kind::Usable),
        (0x80_0000, 0x80_8000, Kind::AcpiNvs),
        (0x80_8000, 0x3f00_0000, Kind::Usable),
        (0x3f00_0000, IMAGE, Kind::LoaderReclaimable),
        (IMAGE, IMAGE + 0x8000, Kind::Executable),
        (IMAGE + 0x8000, 0x3ff0_0000, Kind::LoaderReclaimable),
        (0x3ff0_0000, 0x3ff1_0000, Kind::AcpiReclaimable),
        (0x3ff1_0000, 0x3ff2_0000, runtime),
        (0x3ff2_0000, 0x4000_0000, Kind::Bad),
        (0xb000_0000, 0xc000_0000, Kind::Reserved),
        (0x1_0000_0000, 0x9_4000_0000, Kind::Usable),
        (0xfd_0000_0000, 0x100_0000_0000, Kind::Reserved),
    ]
    .map(|(start, end, kind)| Entry { start, end, kind })
    .to_vec()
}

/// A range that should be mapped: virtual, physical, end, and the letters of its rights.
type Meant = (u64, u64, u64, &'static str);

/// Leaves that continue one another, as one range.
fn ranges(leaves: &[Leaf]) -> Vec<(u64, u64, u64, String)> {
    let mut ranges: Vec<(u64, u64, u64, String)> = Vec::new();
    for leaf in leaves {
        let letter = |set: bool, letter: &str| if set { letter.to_owned() } else { "-".to_owned() };
        let rights = letter(leaf.write, "w") + &letter(leaf.execute, "x") + &letter(leaf.cached, "c");
        match ranges.last_mut() {
            Some((from, physical, size, of_last))
                if *from + *size == leaf.virtual_start
                    && *physical + *size == leaf.physical_start
                    && *of_last == rights =>
            {
                *size += leaf.size;
            }
            _ => ranges.push((leaf.virtual_start, leaf.physical_start, leaf.size, rights)),
        }
    }
    ranges
}

struct Built {
    kernel: Vec<Leaf>,
    lower: Vec<Leaf>,
    transition: Vec<Leaf>,
}

fn build(format: Format, revision: u64, map: &[Entry]) -> Result<Built, MapError> {
    let file = Builder::kernel(format.machine()).file();
    let executable = check(file.bytes(), format.machine()).unwrap();
    let revision = BaseRevision::for_kernel(revision);
    let plan = Plan { format, revision, map, executable: &executable, image: IMAGE, jump: OWN_PAGE };
    let most = plan.most_bytes(0);
    let mut memory = vec![0xff; most as usize];
    let mut pool = Pool::new(&mut memory, POOL);
    let roots = plan.build(&mut pool)?;
    assert!(pool.used() as u64 <= most);
    let whole = |root, half| leaves(&pool, format.machine(), root, half);
    Ok(match format.machine() {
        Machine::X86_64 => {
            assert_eq!(roots.kernel, roots.lower);
            let (lower, kernel) =
                whole(roots.kernel, Half::Upper).into_iter().partition(|leaf| leaf.virtual_start >> 63 == 0);
            let (transition, upper): (Vec<Leaf>, Vec<Leaf>) =
                whole(roots.transition, Half::Upper).into_iter().partition(|leaf| leaf.virtual_start >> 63 == 0);
            assert_eq!(upper, kernel, "the roots share the upper half");
            Built { kernel, lower, transition }
        }
        Machine::Aarch64 => Built {
            kernel: whole(roots.kernel, Half::Upper),
            lower: whole(roots.lower, Half::Lower),
            transition: whole(roots.transition, Half::Lower),
        },
    })
}

fn meant_of_the_hhdm(revision: u64) -> Vec<(u64, u64, &'static str)> {
    let memory = |start, end| (start, end, "w-c");
    let device = |start, end| (start, end, "w--");
    match revision {
        // All of the first 4 GiB: what is no memory as devices.
        0..=2 => {
            let mut all = vec![
                memory(0, 0xa_0000),
                device(0xa_0000, 0x10_0000),
                memory(0x10_0000, 0x3ff1_0000),
                device(0x3ff1_0000, 0x1_0000_0000),
                memory(0x1_0000_0000, 0x9_4000_0000),
            ];
            if revision == 0 {
                all.push(device(0xfd_0000_0000, 0x100_0000_0000));
            }
            all
        }
        3 => vec![
            memory(0, 0xa_0000),
            memory(0x10_0000, 0x80_0000),
            memory(0x80_8000, 0x3ff0_0000),
            memory(0x1_0000_0000, 0x9_4000_0000),
        ],
        _ => vec![
            memory(0, 0xa_0000),
            memory(0x10_0000, if revision >= 5 { 0x3ff2_0000 } else { 0x3ff1_0000 }),
            memory(0x1_0000_0000, 0x9_4000_0000),
        ],
    }
}

#[test]
fn what_is_mapped_is_what_was_meant_and_nothing_else() {
    for format in FORMATS {
        for revision in 0..=6 {
            let built = build(format, revision, &machine(revision)).unwrap();
            let hhdm = hhdm(format.machine());
            let mut meant: Vec<Meant> = meant_of_the_hhdm(revision)
                .into_iter()
                .map(|(start, end, rights)| (hhdm + start, start, end - start, rights))
                .collect();
            meant.push((JUMP, OWN_PAGE, PAGE, "-xc"));
            meant.push((BASE, IMAGE, 0x2000, "-xc"));
            meant.push((BASE + 0x2000, IMAGE + 0x2000, 0x1000, "--c"));
            meant.push((BASE + 0x3000, IMAGE + 0x3000, 0x5000, "w-c"));
            let meant: Vec<_> = meant.into_iter().map(|(a, b, c, d)| (a, b, c, d.to_owned())).collect();
            assert_eq!(ranges(&built.kernel), meant, "{format:?}, revision {revision}");

            assert_eq!(ranges(&built.transition), [(OWN_PAGE, OWN_PAGE, PAGE, "-xc".to_owned())]);
            let mut low = Vec::new();
            if revision == 0 {
                low = vec![
                    (PAGE, PAGE, 0x9_f000, "w-c".to_owned()),
                    (0xa_0000, 0xa_0000, 0x6_0000, "w--".to_owned()),
                    (0x10_0000, 0x10_0000, 0x3fe1_0000, "w-c".to_owned()),
                    (0x3ff1_0000, 0x3ff1_0000, 0xc00f_0000, "w--".to_owned()),
                ];
            }
            assert_eq!(ranges(&built.lower), low);
        }
    }
}

#[test]
fn leaves_are_the_largest_that_the_cpu_has() {
    for (format, largest) in FORMATS.into_iter().zip([1_u64 << 21, 1 << 30, 1 << 30]) {
        let built = build(format, 6, &machine(6)).unwrap();
        let above_4g = built.kernel.iter().filter(|leaf| leaf.physical_start >= 1 << 32);
        assert!(above_4g.clone().count() > 0);
        for leaf in above_4g {
            assert_eq!(leaf.size, largest);
        }
        let small = built.kernel.iter().filter(|leaf| leaf.size == PAGE).count();
        // The edges of what is no multiple of 2 MiB, the image, and the loader's page.
        assert!(small < 1200, "{small} pages");
    }
}

#[test]
fn an_image_at_a_multiple_of_2_mib_has_leaves_of_2_mib() {
    let mut builder = Builder::kernel(Machine::Aarch64);
    builder.segments = vec![
        (BASE, vec![0; 16], 0x40_0000, 5, 0x1000),
        (BASE + 0x40_0800, vec![], 0x800, 4, 8),
        (BASE + 0x40_0000, vec![], 0x800, 4, 8),
    ];
    let file = builder.file();
    let executable = check(file.bytes(), Machine::Aarch64).unwrap();
    assert_eq!(executable.segments()[0].rights, Rights::ReadExecute);
    let revision = BaseRevision::NEWEST;
    let plan =
        Plan { format: Format::Aarch64, revision, map: &[], executable: &executable, image: IMAGE, jump: OWN_PAGE };
    let mut memory = vec![0; plan.most_bytes(0) as usize];
    let mut pool = Pool::new(&mut memory, POOL);
    let roots = plan.build(&mut pool).unwrap();
    let sizes: Vec<u64> =
        leaves(&pool, Machine::Aarch64, roots.kernel, Half::Upper).iter().map(|leaf| leaf.size).collect();
    assert_eq!(sizes, [PAGE, 1 << 21, 1 << 21, PAGE]);
}

#[test]
fn any_map_fits_into_the_room_that_was_foretold() {
    let mut state = 0xfeed_u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for round in 0..300 {
        let mut here = 0;
        let mut map = Vec::new();
        for _ in 0..random(20) {
            here += random(4) * (PAGE << random(20));
            let end = here + (1 + random(600)) * (PAGE << random(12));
            let kind = [Kind::Usable, Kind::LoaderReclaimable, Kind::Reserved, Kind::AcpiNvs][random(4) as usize];
            map.push(Entry { start: here, end, kind });
            here = end;
        }
        build(FORMATS[round % 3], random(7), &map).unwrap();
    }
}

#[test]
fn memory_that_the_hhdm_cannot_reach_is_an_error() {
    for format in FORMATS {
        let reach = 0xffff_ff80_0000_0000 - hhdm(format.machine());
        let start = reach - (1 << 30);
        let map = |kind| [Entry { start, end: reach + PAGE, kind }];
        assert_eq!(build(format, 6, &map(Kind::Usable)).err(), Some(MapError::Range { address: start }));
        assert!(build(format, 6, &map(Kind::Reserved)).is_ok());
        assert!(build(format, 0, &map(Kind::Reserved)).is_ok());
    }
}

#[test]
fn a_pool_that_is_too_small_is_an_error_wherever_it_ends() {
    let file = Builder::kernel(Machine::X86_64).file();
    let executable = check(file.bytes(), Machine::X86_64).unwrap();
    let map = machine(6);
    let revision = BaseRevision::NEWEST;
    let plan =
        Plan { format: Format::X86_64, revision, map: &map, executable: &executable, image: IMAGE, jump: OWN_PAGE };
    let mut memory = vec![0; plan.most_bytes(0) as usize];
    let mut pool = Pool::new(&mut memory, POOL);
    plan.build(&mut pool).unwrap();
    let used = pool.used();
    for bytes in (0..used).step_by(1024) {
        let mut pool = Pool::new(&mut memory[..bytes], POOL);
        assert_eq!(plan.build(&mut pool), Err(MapError::Full));
    }
}
