//! Every machine of `ci/maps/`, brought up and held against what Linux printed there.

use std::collections::BTreeMap;
use std::fs;

use serde::Deserialize;

use super::input::{Kind, config, parse};
use super::summary::{Initmem, Summary};
use super::{bring_up, run, srat};
use crate::workspace;

#[derive(Deserialize)]
struct File {
    kernel: String,
    check: BTreeMap<String, String>,
    expect: Expect,
}

#[derive(Deserialize)]
struct Expect {
    #[serde(default)]
    zones: Vec<(String, u64, u64)>,
    node_ranges: Vec<(u16, u64, u64)>,
    initmem: Vec<(u16, u64, u64)>,
    #[serde(default)]
    memoryless: Vec<u16>,
    #[serde(default)]
    unavailable: Vec<(u16, String, u64)>,
    #[serde(default)]
    zone_pages: Vec<(u16, String, i64, i64, i64, i64)>,
    memory_total_k: Option<u64>,
}

impl File {
    fn is_ok(&self, what: &str) -> bool {
        self.check.get(what).is_some_and(|verdict| verdict == "ok")
    }

    fn is_not_bad(&self, what: &str) -> bool {
        self.check.get(what).is_none_or(|verdict| verdict != "BAD")
    }

    fn version(&self) -> (u32, u32) {
        let mut numbers = self.kernel.split(['.', '-']).map_while(|part| part.parse().ok());
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }
}

/// How often each thing was compared, and what was not equal.
#[derive(Default)]
struct Tally {
    compared: BTreeMap<&'static str, u32>,
    differences: Vec<String>,
}

impl Tally {
    fn compare<T: PartialEq + std::fmt::Debug>(&mut self, name: &str, what: &'static str, ours: T, linux: T) {
        *self.compared.entry(what).or_default() += 1;
        if ours != linux {
            self.differences.push(format!("{name}: {what}\n  ours  {ours:x?}\n  Linux {linux:x?}"));
        }
    }
}

fn hex(text: &str) -> u64 {
    u64::from_str_radix(text.strip_prefix("0x").unwrap(), 16).unwrap()
}

fn compare(name: &str, file: &File, ours: &Summary, tally: &mut Tally) {
    let linux = &file.expect;
    if file.is_not_bad("ram") && file.is_not_bad("nodes") {
        let ranges = ours.node_ranges.iter().map(|(node, first, last)| (*node, hex(first), hex(last)));
        tally.compare(name, "node_ranges", ranges.collect(), linux.node_ranges.clone());
    }
    if file.is_ok("initmem") {
        for (node, first, last) in &linux.initmem {
            // Until 3.17 the span of a node began where its SRAT entry did; until 5.17 a node without memory had one.
            let our = match ours.initmem.get(node) {
                Some(Initmem::Span([_, our])) if file.version() < (3, 17) => (*first, hex(our)),
                Some(Initmem::Span([first, last])) => (hex(first), hex(last)),
                Some(Initmem::Memoryless(_)) => (0, 0),
                None => (1, 0),
            };
            tally.compare(name, "initmem", our, (*first, *last));
        }
        for node in &linux.memoryless {
            let is_memoryless = matches!(ours.initmem.get(node), Some(Initmem::Memoryless(_)));
            tally.compare(name, "memoryless", is_memoryless, true);
        }
    }
    if file.is_ok("phys") {
        tally.compare(name, "memory", Some(ours.memory.physical_k), linux.memory_total_k);
    }
    if file.is_ok("hole") && file.version() >= (5, 14) {
        let our = ours.unavailable.iter().map(|(node, zone, pages)| (*node, (*zone).to_owned(), *pages));
        tally.compare::<Vec<_>>(name, "unavailable", our.collect(), linux.unavailable.clone());
    }
    // A kernel without one of the low zones has the others where the rule has them.
    let by_rule = file.is_ok("rule") || ours.zone_ranges.len() < 3;
    if by_rule && !linux.zones.is_empty() {
        let our = ours.zone_ranges.iter().filter_map(|(zone, range)| {
            let [first, last] = range.as_ref()?;
            Some(((*zone).to_owned(), hex(first), hex(last)))
        });
        tally.compare::<Vec<_>>(name, "zone_ranges", our.collect(), linux.zones.clone());
    }
    if by_rule && file.is_ok("zone") {
        for (node, zone, pages, ..) in linux.zone_pages.iter().filter(|(_, _, pages, ..)| *pages >= 0) {
            let found = ours.zone_present.iter().find(|(our, kind, _)| our == node && kind == zone);
            tally.compare(name, "zone_present", found.map(|(.., pages)| *pages), u64::try_from(*pages).ok());
        }
    }
}

/// Name and text of every machine.
fn machines() -> impl Iterator<Item = (String, String)> {
    let entries = fs::read_dir(workspace::root().join("ci/maps")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let files = paths.filter(|path| path.extension().is_some_and(|ending| ending == "toml"));
    files.map(|path| (config(&path), fs::read_to_string(&path).unwrap()))
}

/// What comes of a file, and what its boot prints.
fn simulate(name: &str, text: String, kind: Kind) -> (Summary, String) {
    let mut subject = parse(text.into_bytes(), kind).unwrap_or_else(|error| panic!("{name}: {error:#}"));
    srat::believe(&mut subject);
    srat::number_domains(&mut subject);
    let (mut ours, mut log) = (Summary::default(), run::Log::default());
    if let Err(error) = bring_up(&subject, &mut log, &mut ours) {
        panic!("{name}: {error:#}");
    }
    (ours, log.text.text)
}

/// What a simulation prints is a log, and its machine is the same.
#[test]
fn a_boot_that_is_read_back_is_the_same_machine() {
    let mut machines = 0;
    // A log of ours does not tell the page size, nor which of two ways to part memory was taken.
    for (name, text) in self::machines().filter(|(name, _)| name.starts_with("x86")) {
        let (ours, log) = simulate(&name, text, Kind::MachineFile);
        let (again, _) = simulate(&name, log, Kind::Unknown);
        let json = |summary: &Summary| serde_json::to_string(summary).unwrap();
        assert_eq!(json(&again), json(&ours), "{name}");
        machines += 1;
    }
    assert!(machines >= 120, "{machines} machines");
}

/// Logs with lines lost and digits changed: an error or a machine, but an end.
#[test]
fn damaged_logs_and_files_end_in_a_sentence_or_a_machine() {
    let mut seed: u64 = 0x2545_f491_4f6c_dd1d;
    let mut random = |bound: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed >> 8).unwrap_or_default() % bound.max(1)
    };
    let (mut machines, mut errors) = (0, 0);
    for (name, text) in self::machines() {
        let (_, log) = simulate(&name, text.clone(), Kind::MachineFile);
        for (text, kind) in [(log, Kind::Unknown), (text, Kind::MachineFile)] {
            for _ in 0..4 {
                let mut lines: Vec<Vec<u8>> = text.lines().map(|line| line.as_bytes().to_vec()).collect();
                for _ in 0..=random(6) {
                    let at = random(lines.len());
                    match random(4) {
                        0 if lines.len() > 1 => drop(lines.remove(at)),
                        1 => lines.swap(at, 0),
                        _ => {
                            let digits: Vec<_> =
                                (0..lines[at].len()).filter(|i| lines[at][*i].is_ascii_hexdigit()).collect();
                            if let Some(&digit) = digits.get(random(digits.len())) {
                                lines[at][digit] = b"0123456789abcdef"[random(16)];
                            }
                        }
                    }
                }
                let result = parse(lines.join(&b'\n'), kind).and_then(|mut subject| {
                    srat::believe(&mut subject);
                    srat::number_domains(&mut subject);
                    bring_up(&subject, &mut run::Log::default(), &mut Summary::default())
                });
                match result {
                    Ok(()) => machines += 1,
                    Err(error) => {
                        assert!(!error.to_string().contains('\n'), "{name}: {error}");
                        errors += 1;
                    }
                }
            }
        }
    }
    assert!(machines > 500 && errors > 0, "{machines} machines, {errors} errors");
}

#[test]
fn every_machine_comes_up_as_under_linux() {
    let mut tally = Tally::default();
    let mut machines = 0;
    for (name, text) in self::machines() {
        let file: File = toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (ours, _) = simulate(&name, text, Kind::MachineFile);
        compare(&name, &file, &ours, &mut tally);
        machines += 1;
    }
    assert!(tally.differences.is_empty(), "{}", tally.differences.join("\n"));
    // The comparisons that were made: none of them has silently gone.
    let made = |what: &str| tally.compared.get(what).copied().unwrap_or_default();
    assert!(machines >= 149, "{machines} machines");
    for (what, least) in [
        ("node_ranges", 149),
        ("initmem", 149),
        ("memory", 147),
        ("zone_ranges", 143),
        ("unavailable", 82),
        ("zone_present", 48),
    ] {
        assert!(made(what) >= least, "{what}: {} comparisons", made(what));
    }
}
