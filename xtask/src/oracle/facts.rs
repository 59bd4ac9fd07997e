//! What a kernel says of a machine's memory, whichever kernel it is, as it is kept in `ci/linux/`.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// From the first byte to the last; in text `0x1000-0x9efff`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(super) struct Range {
    pub(super) first: u64,
    pub(super) last: u64,
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}-{:#x}", self.first, self.last)
    }
}

impl From<Range> for String {
    fn from(range: Range) -> Self {
        range.to_string()
    }
}

impl TryFrom<String> for Range {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let address = |text: &str| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok();
        let parsed = text.split_once('-').and_then(|(first, last)| Some((address(first)?, address(last)?)));
        parsed.map(|(first, last)| Self { first, last }).ok_or_else(|| format!("`{text}` is no range"))
    }
}

/// An address; in text `0x1000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(super) struct Address(pub(super) u64);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
        digits.map(Self).ok_or_else(|| format!("`{text}` is no address"))
    }
}

/// A memory entry of the SRAT.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Affinity {
    pub(super) node: u32,
    pub(super) domain: u32,
    pub(super) range: Range,
    /// `hotplug`, `non-volatile`.
    pub(super) flags: Vec<String>,
}

/// Two ranges of one node that were made one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Merge {
    pub(super) node: u32,
    pub(super) first: Range,
    pub(super) second: Range,
    pub(super) whole: Range,
}

/// The limits of a kind of zone, where it is not empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ZoneRange {
    pub(super) zone: String,
    pub(super) range: Option<Range>,
}

/// Memory of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NodeRange {
    pub(super) node: u32,
    pub(super) range: Range,
}

/// Pages without memory that have a struct page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unavailable {
    pub(super) node: u32,
    pub(super) zone: String,
    pub(super) pages: u64,
}

/// Where an allocation that asks for a zone looks, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Zonelist {
    /// `general` or `thisnode`.
    pub(super) kind: String,
    /// The zone that is asked for, as `0:DMA32`.
    pub(super) asked: String,
    pub(super) zones: String,
}

/// The sums that are printed last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Totals {
    pub(super) zonelists: u32,
    pub(super) policy_zone: String,
    pub(super) total_pages: u64,
    pub(super) available_kib: u64,
    pub(super) physical_kib: u64,
}

/// The memory of per-CPU variables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PerCpu {
    /// Of each CPU.
    pub(super) pages: u64,
    pub(super) static_bytes: u64,
    pub(super) reserved_bytes: u64,
    pub(super) dynamic_bytes: u64,
    pub(super) unit_bytes: u64,
    /// What an allocation is a multiple of.
    pub(super) atom_bytes: u64,
    /// Line by line: of each allocation its group, then its CPUs.
    pub(super) groups: Vec<String>,
}

/// A zone with pages, as `/proc/zoneinfo` has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Zone {
    pub(super) node: u32,
    pub(super) zone: String,
    pub(super) start_pfn: u64,
    pub(super) spanned: u64,
    pub(super) present: u64,
    pub(super) managed: u64,
    pub(super) cma: u64,
    pub(super) boost: u64,
    pub(super) min: u64,
    pub(super) low: u64,
    pub(super) high: u64,
    pub(super) protection: Vec<u64>,
    /// Of the first CPU's page set.
    pub(super) pcp_high: u64,
    pub(super) pcp_batch: u64,
    pub(super) vm_stats_threshold: u64,
}

/// All of it. Lists are in the order of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts {
    pub(super) srat: Vec<Affinity>,
    pub(super) merges: Vec<Merge>,
    pub(super) faked: BTreeMap<u32, Range>,
    pub(super) zone_ranges: Vec<ZoneRange>,
    pub(super) movable: BTreeMap<u32, Address>,
    pub(super) node_ranges: Vec<NodeRange>,
    /// The span of each node; none of a memory-less one.
    pub(super) initmem: BTreeMap<u32, Option<Range>>,
    pub(super) unavailable: Vec<Unavailable>,
    pub(super) percpu: PerCpu,
    pub(super) zonelists: Vec<Zonelist>,
    pub(super) fallback: BTreeMap<u32, Vec<u32>>,
    pub(super) totals: Totals,
    pub(super) zones: Vec<Zone>,
    pub(super) distances: BTreeMap<u32, Vec<u32>>,
}

/// What is compared: a heading, and the lines that must be the same.
pub(super) struct Aspect {
    pub(super) name: &'static str,
    pub(super) lines: fn(&Facts) -> Vec<String>,
}

/// Everything that is compared, in the order in which memory comes up.
pub(super) const ASPECTS: [Aspect; 12] = [
    Aspect { name: "srat", lines: srat },
    Aspect { name: "nodes", lines: nodes },
    Aspect { name: "zones", lines: zones },
    Aspect { name: "movable", lines: movable },
    Aspect { name: "initmem", lines: initmem },
    Aspect { name: "unavailable", lines: unavailable },
    Aspect { name: "percpu", lines: percpu },
    Aspect { name: "zonelists", lines: zonelists },
    Aspect { name: "fallback", lines: fallback },
    Aspect { name: "totals", lines: totals },
    Aspect { name: "zoneinfo", lines: zoneinfo },
    Aspect { name: "distances", lines: distances },
];

fn srat(facts: &Facts) -> Vec<String> {
    let entries = facts.srat.iter().map(|Affinity { node, domain, range, flags }| {
        format!("node {node} domain {domain} {range} {}", flags.join(" ")).trim_end().to_owned()
    });
    let merges = facts.merges.iter();
    let merges =
        merges.map(|Merge { node, first, second, whole }| format!("node {node} {first} + {second} -> {whole}"));
    let faked = facts.faked.iter().map(|(node, range)| format!("emulated node {node} {range}"));
    entries.chain(merges).chain(faked).collect()
}

fn nodes(facts: &Facts) -> Vec<String> {
    facts.node_ranges.iter().map(|NodeRange { node, range }| format!("node {node} {range}")).collect()
}

/// Without the zone for memory of devices, which only some of Linux's kernels have and which is empty at boot.
fn zones(facts: &Facts) -> Vec<String> {
    let zones = facts.zone_ranges.iter().filter(|zone| zone.zone != "Device" || zone.range.is_some());
    let text = |range: Option<Range>| range.map_or_else(|| "empty".to_owned(), |range| range.to_string());
    zones.map(|zone| format!("{} {}", zone.zone, text(zone.range))).collect()
}

fn movable(facts: &Facts) -> Vec<String> {
    facts.movable.iter().map(|(node, start)| format!("node {node} from {start}")).collect()
}

fn initmem(facts: &Facts) -> Vec<String> {
    let text = |range: &Option<Range>| range.map_or_else(|| "memoryless".to_owned(), |range| range.to_string());
    facts.initmem.iter().map(|(node, range)| format!("node {node} {}", text(range))).collect()
}

fn unavailable(facts: &Facts) -> Vec<String> {
    facts
        .unavailable
        .iter()
        .map(|hole| format!("node {} zone {}: {} pages", hole.node, hole.zone, hole.pages))
        .collect()
}

/// What does not depend on how much a kernel links for each CPU.
fn percpu(facts: &Facts) -> Vec<String> {
    let PerCpu { reserved_bytes, atom_bytes, groups, .. } = &facts.percpu;
    if groups.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![format!("{reserved_bytes} bytes for modules"), format!("in multiples of {atom_bytes} bytes")];
    lines.extend(groups.iter().cloned());
    lines
}

fn zonelists(facts: &Facts) -> Vec<String> {
    facts.zonelists.iter().map(|list| format!("{} {} = {}", list.kind, list.asked, list.zones)).collect()
}

fn fallback(facts: &Facts) -> Vec<String> {
    facts.fallback.iter().map(|(node, order)| format!("node {node}: {}", words(order))).collect()
}

/// What of the totals does not depend on the kernel's own size.
fn totals(facts: &Facts) -> Vec<String> {
    let Totals { zonelists, policy_zone, physical_kib, .. } = &facts.totals;
    vec![
        format!("{zonelists} zonelists"),
        format!("policy zone {policy_zone}"),
        format!("{physical_kib} KiB of memory"),
    ]
}

fn zoneinfo(facts: &Facts) -> Vec<String> {
    let zones = facts.zones.iter();
    zones
        .map(|Zone { node, zone, start_pfn, spanned, present, .. }| {
            format!("node {node} zone {zone}: from {start_pfn}, spanned {spanned}, present {present}")
        })
        .collect()
}

fn distances(facts: &Facts) -> Vec<String> {
    facts.distances.iter().map(|(node, distances)| format!("node {node}: {}", words(distances))).collect()
}

fn words(numbers: &[u32]) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_text() {
        let range = Range { first: 0x1000, last: 0x9_efff };
        assert_eq!(String::from(range), "0x1000-0x9efff");
        assert_eq!(Range::try_from("0x1000-0x9efff".to_owned()), Ok(range));
        for text in ["", "0x1000", "1000-2000", "0x1-0xg"] {
            assert!(Range::try_from(text.to_owned()).is_err(), "{text}");
        }
        assert_eq!(Address::try_from("0x40".to_owned()), Ok(Address(64)));
        assert!(Address::try_from("40".to_owned()).is_err());
    }

    #[test]
    fn an_empty_device_zone_is_no_difference() {
        let zone = |zone: &str, range| ZoneRange { zone: zone.to_owned(), range };
        let zone_ranges =
            vec![zone("DMA", Some(Range { first: 0, last: 1 })), zone("Normal", None), zone("Device", None)];
        let facts = Facts { zone_ranges, ..Facts::default() };
        assert_eq!(zones(&facts), ["DMA 0x0-0x1", "Normal empty"]);
    }
}
