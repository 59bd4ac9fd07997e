//! Numbers that follow from counts of pages, CPUs and bytes: Linux's own counts in, Linux's results out.
//!
//! A file of `linux_facts/counts/` is what Linux 6.1 showed on one machine. `cpus N`, `node NODE CPUS`, `root KIB` (the
//! least kept free when no huge pages are), `total PAGES`. A section `= NAME KIB SCALE FRACTION RATIO` has the zones as
//! they were with so much kept free, that `watermark_scale_factor`, `percpu_pagelist_high_fraction` and
//! `lowmem_reserve_ratio` (256: the default; 64: `64 64 16`): node, kind, spanned, present, managed; min, low, high;
//! four protections; high, batch and threshold of a CPU's set. `= slabs` has size, order, objects, `min_partial` and
//! `cpu_partial` of each kind of slab.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail like tests")]

use mm::slab::geometry::{Geometry, cpu_partial};
use mm::zone::watermark::{self, LOWMEM_RESERVE_RATIO, Watermarks};
use mm::zone::{ZoneKind, totals};

const MACHINES: [(&str, &str); 12] = [
    ("a-numa2-4g", include_str!("linux_facts/counts/a-numa2-4g.txt")),
    ("a-virt-4g", include_str!("linux_facts/counts/a-virt-4g.txt")),
    ("a-virt-512m", include_str!("linux_facts/counts/a-virt-512m.txt")),
    ("x-dimm-boot", include_str!("linux_facts/counts/x-dimm-boot.txt")),
    ("x-fake4", include_str!("linux_facts/counts/x-fake4.txt")),
    ("x-kernelcore1g", include_str!("linux_facts/counts/x-kernelcore1g.txt")),
    ("x-numa2-4g", include_str!("linux_facts/counts/x-numa2-4g.txt")),
    ("x-numa4-dist", include_str!("linux_facts/counts/x-numa4-dist.txt")),
    ("x-pc-4g", include_str!("linux_facts/counts/x-pc-4g.txt")),
    ("x-q35-512m", include_str!("linux_facts/counts/x-q35-512m.txt")),
    ("x-q35-64g", include_str!("linux_facts/counts/x-q35-64g.txt")),
    ("x-srat-hotplug", include_str!("linux_facts/counts/x-srat-hotplug.txt")),
];

/// What Linux's pages and `struct page` are.
const PAGE_SHIFT: u32 = 12;
const PAGE_STRUCT: u64 = 64;
/// Pages of the first MiB that a PC keeps.
const FIRST_MIB: u64 = 158;
/// Pages of a huge page.
const HUGE: u64 = 512;

#[derive(Clone)]
struct Zone {
    node: u64,
    kind: ZoneKind,
    spanned: u64,
    present: u64,
    managed: u64,
    marks: Watermarks,
    protection: [u64; 4],
    /// High, batch, threshold.
    set: [u64; 3],
}

struct State {
    name: String,
    min_free_kib: u64,
    scale: u64,
    fraction: u64,
    ratios: [u64; 4],
    zones: Vec<Zone>,
}

impl State {
    fn managed(&self, node: u64) -> [u64; 4] {
        let mut managed = [0; 4];
        for zone in self.zones.iter().filter(|zone| zone.node == node) {
            managed[zone.kind.index()] = zone.managed;
        }
        managed
    }

    /// Managed pages above the high watermarks of what the kernel may use for itself.
    fn above_high(&self) -> u64 {
        let kernel = self.zones.iter().filter(|zone| zone.kind != ZoneKind::Movable);
        kernel.map(|zone| zone.managed - zone.marks.high).sum()
    }
}

#[derive(Default)]
struct Machine {
    cpus: u64,
    nodes: Vec<(u64, u64)>,
    root: u64,
    total: Option<u64>,
    states: Vec<State>,
    slabs: Vec<Vec<u64>>,
}

impl Machine {
    fn parse(text: &str) -> Self {
        let mut machine = Self::default();
        for line in text.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            let number = |at: usize| words[at].parse::<u64>().unwrap();
            match words[0] {
                "cpus" => machine.cpus = number(1),
                "node" => machine.nodes.push((number(1), number(2))),
                "root" => machine.root = number(1),
                "total" => machine.total = Some(number(1)),
                "=" if words[1] == "slabs" => {}
                "=" => machine.states.push(State {
                    name: words[1].to_owned(),
                    min_free_kib: number(2),
                    scale: number(3),
                    fraction: number(4),
                    ratios: if number(5) == 64 { [64, 64, 16, 0] } else { LOWMEM_RESERVE_RATIO },
                    zones: Vec::new(),
                }),
                _ if words.len() == 5 => machine.slabs.push((0..5).map(number).collect()),
                _ => machine.states.last_mut().unwrap().zones.push(Zone {
                    node: number(0),
                    kind: ZoneKind::ALL.into_iter().find(|kind| kind.name() == words[1]).unwrap(),
                    spanned: number(2),
                    present: number(3),
                    managed: number(4),
                    marks: Watermarks { min: number(5), low: number(6), high: number(7) },
                    protection: [8, 9, 10, 11].map(number),
                    set: [12, 13, 14].map(number),
                }),
            }
        }
        machine
    }
}

fn each(check: impl Fn(&str, &Machine)) {
    for (name, text) in MACHINES {
        check(name, &Machine::parse(text));
    }
}

/// Rule 7.
#[test]
fn total_pages() {
    each(|name, machine| {
        let Some(total) = machine.total else { return };
        let usable = machine.states[0].zones.iter().map(|zone| {
            let map = totals::memmap_pages(zone.spanned, zone.present, PAGE_STRUCT, PAGE_SHIFT);
            let low = name.starts_with("x-") && zone.kind == ZoneKind::Dma;
            totals::usable_pages(zone.present, map, if low { FIRST_MIB } else { 0 })
        });
        assert_eq!(usable.sum::<u64>(), total, "{name}");
    });
    // A zone smaller than its map, and one that is all reserved, keep what they have.
    assert_eq!([totals::usable_pages(10, 11, 0), totals::usable_pages(10, 10, 0)], [10, 0]);
    assert_eq!([totals::usable_pages(10, 2, 8), totals::usable_pages(10, 2, 7)], [8, 1]);
    // Holes of up to a sixteenth are described.
    assert_eq!([totals::memmap_pages(1088, 1024, 64, 12), totals::memmap_pages(1089, 1024, 64, 12)], [17, 16]);
}

/// Rule 15.
#[test]
fn watermarks() {
    each(|name, machine| {
        for state in &machine.states {
            let all = state.zones.iter().map(|zone| zone.managed).sum();
            for zone in &state.zones {
                // At boot the memory of init code was not yet back.
                let close = |a: u64, b: u64| if state.name == "boot" { a.abs_diff(b) <= 1 + b / 100 } else { a == b };
                let marks = watermark::watermarks(state.min_free_kib / 4, zone.managed, all, state.scale);
                let pairs = [(marks.min, zone.marks.min), (marks.low, zone.marks.low), (marks.high, zone.marks.high)];
                assert!(pairs.iter().all(|(a, b)| close(*a, *b)), "{name} {} {pairs:?}", state.name);
            }
        }
    });
}

#[test]
fn what_is_kept_free() {
    each(|name, machine| {
        let boot = &machine.states[0];
        let pages = boot.above_high();
        assert_eq!(watermark::min_free_kib(pages, PAGE_SHIFT), machine.root, "{name}");
        let zones = boot.zones.iter().filter(|zone| zone.kind != ZoneKind::Movable).count() as u64;
        let huge = watermark::min_free_kib_for_huge_pages(zones, pages, HUGE, PAGE_SHIFT);
        // With less than 512 MiB Linux makes no huge pages.
        let managed: u64 = boot.zones.iter().map(|zone| zone.managed).sum();
        if managed < 512 << 8 {
            // Said at boot, when the memory of init code was not yet back.
            assert!(machine.root.abs_diff(boot.min_free_kib) < boot.min_free_kib / 100, "{name}");
        } else {
            assert_eq!(machine.root.max(huge), boot.min_free_kib, "{name}");
        }
    });
    assert_eq!(watermark::min_free_kib_for_huge_pages(3, 1 << 30, HUGE, PAGE_SHIFT), 67_584);
    assert_eq!(watermark::min_free_kib_for_huge_pages(2, 2000, HUGE, PAGE_SHIFT), 400);
    assert_eq!(watermark::node_reclaim_floor([3840, 754_602, 243_721, 199], watermark::MIN_UNMAPPED_RATIO), 10_022);
    assert_eq!(watermark::node_reclaim_floor([3840, 754_602, 243_721, 199], watermark::MIN_SLAB_RATIO), 50_117);
}

/// Rule 16. Linux computes protections anew when somebody reads the ratios, as happens after the first state.
#[test]
fn protections() {
    each(|name, machine| {
        for state in &machine.states[1..] {
            for zone in &state.zones {
                let reserve = watermark::lowmem_reserve(state.managed(zone.node), state.ratios);
                assert_eq!(reserve[zone.kind.index()], zone.protection, "{name} {}", state.name);
            }
        }
    });
}

/// Rule 17.
#[test]
fn sets_of_a_cpu() {
    each(|name, machine| {
        for state in &machine.states {
            for zone in &state.zones {
                let cpus = machine.nodes.iter().find(|(node, _)| *node == zone.node).unwrap().1;
                let cpus = if cpus == 0 { machine.cpus } else { cpus };
                let batch = watermark::pcp_batch(zone.managed, PAGE_SHIFT);
                let pages = zone.managed.checked_div(state.fraction).unwrap_or(zone.marks.low);
                let threshold = watermark::stat_threshold(zone.managed, machine.cpus, PAGE_SHIFT);
                let set = [watermark::pcp_high(pages, cpus, batch), batch, threshold];
                assert_eq!(set, zone.set, "{name} {} node {} {}", state.name, zone.node, zone.kind);
            }
        }
    });
}

/// Rule 18.
#[test]
fn slabs() {
    each(|name, machine| {
        for slab in &machine.slabs {
            let geometry = Geometry::of(slab[0], 8, machine.cpus as u32, PAGE_SHIFT).unwrap();
            let Geometry { order, objects, min_partial, .. } = geometry;
            let found = [slab[0], order.as_u8().into(), objects.into(), min_partial.into()];
            assert_eq!(found[..], slab[..4], "{name}");
            assert_eq!(u64::from(cpu_partial(slab[0], PAGE_SHIFT)), slab[4], "{name} {}", slab[0]);
        }
        assert!(machine.slabs.len() > 20, "{name}");
    });
}
