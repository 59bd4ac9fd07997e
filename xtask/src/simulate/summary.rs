//! What came of a machine, as JSON: nodes, zones, holes, orders.
//!
//! Addresses are strings `0x…`, ranges `[first byte, last byte]`. Keys and forms are those in which Linux's own boots
//! are recorded under `ci/linux/`, so that one program reads both.

use std::collections::BTreeMap;

use mm::addr::{PfnRange, PhysAddr};
use mm::machine::MachineMemory;
use mm::zone::Zones;
use mm_testkit::Emulated;
use serde::Serialize;

use super::run::Visitor;

/// An address.
type Hex = String;
/// First and last byte.
type Range = [Hex; 2];

/// What came of a machine.
#[derive(Serialize, Default, Debug)]
pub(super) struct Summary {
    pub(super) node_ranges: Vec<(u16, Hex, Hex)>,
    pub(super) zone_ranges: BTreeMap<&'static str, Option<Range>>,
    pub(super) movable_start: BTreeMap<u16, Hex>,
    pub(super) initmem: BTreeMap<u16, Initmem>,
    pub(super) unavailable: Vec<(u16, &'static str, u64)>,
    pub(super) zone_present: Vec<(u16, &'static str, u64)>,
    pub(super) fallback: BTreeMap<u16, Vec<u16>>,
    pub(super) zonelists: Vec<(&'static str, u16, &'static str, Vec<String>)>,
    pub(super) memory: Memory,
}

/// A node's span.
#[derive(Serialize, PartialEq, Eq, Debug)]
#[serde(untagged)]
pub(super) enum Initmem {
    Span(Range),
    /// The word `memoryless`.
    Memoryless(&'static str),
}

#[derive(Serialize, Default, Debug)]
pub(super) struct Memory {
    pub(super) physical_k: u64,
}

const MEMORYLESS: Initmem = Initmem::Memoryless("memoryless");

fn hex(address: PhysAddr) -> Hex {
    format!("{:#x}", address.as_u64())
}

fn bytes(pages: PfnRange, page_shift: u32) -> Range {
    let range = pages.bytes(page_shift);
    [hex(range.start()), hex(range.last())]
}

impl Visitor for Summary {
    fn visit<const SHIFT: u32>(&mut self, _machine: &MachineMemory<'_>, zones: &Zones<Emulated<'_, SHIFT>>) {
        for region in zones.memblock().memory() {
            let [first, last] = bytes(PfnRange::inside(region.range(), SHIFT), SHIFT);
            self.node_ranges.push((region.node().unwrap_or_default().as_u16(), first, last));
        }
        for kind in zones.limited_kinds() {
            let range = zones.range(kind);
            self.zone_ranges.insert(kind.name(), (!range.is_empty()).then(|| bytes(range, SHIFT)));
        }
        for node in zones.nodes().possible().iter() {
            self.initmem.insert(node.as_u16(), MEMORYLESS);
        }
        for node in zones.nodes().iter() {
            let number = node.id.as_u16();
            let span = if node.has_memory { Initmem::Span(bytes(node.span, SHIFT)) } else { MEMORYLESS };
            self.initmem.insert(number, span);
            if let Some(start) = zones.movable_start(node.id) {
                self.movable_start.insert(number, hex(start.address(SHIFT)));
            }
            let order = zones.fallback_order(node.id).iter().map(|other| other.as_u16());
            self.fallback.insert(number, order.collect());
            self.lists_of(zones, &node);
        }
        for hole in zones.unavailable() {
            self.unavailable.push((hole.node.as_u16(), hole.kind.name(), hole.pages));
        }
        let mut present = 0;
        for zone in zones.spans().iter().filter(|zone| zone.is_populated()) {
            self.zone_present.push((zone.node.as_u16(), zone.kind.name(), zone.present));
            present += zone.present;
        }
        self.memory.physical_k = present << (SHIFT - 10);
    }
}

impl Summary {
    fn lists_of<const SHIFT: u32>(&mut self, zones: &Zones<Emulated<'_, SHIFT>>, node: &mm::numa::Node) {
        for name in ["general", "thisnode"] {
            for (_, zone) in zones.zones_of(node.id).filter(|(_, zone)| zone.is_populated()) {
                let list = match name {
                    "general" => zones.zonelist(node.id, zone.kind),
                    _ => zones.this_node_zonelist(node.id, zone.kind),
                };
                let entries = list.iter().filter_map(|entry| zones.span(*entry));
                let entries = entries.map(|entry| format!("{}:{}", entry.node, entry.kind)).collect();
                self.zonelists.push((name, node.id.as_u16(), zone.kind.name(), entries));
            }
        }
    }
}
