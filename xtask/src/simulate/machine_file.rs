//! Machine files: what a firmware said and what Linux made of it, read off a boot log, as TOML.
//!
//! [`ci/maps/README.md`](../../../ci/maps/README.md) says what each key means. All ranges are `[first byte, last
//! byte]`. Which list is the input: `memory_from` when it says so, else the map after `mem=` and `memmap=` (whose
//! effect is then not applied a second time), else the firmware's.

use anyhow::{Result, anyhow, bail};
use mm::machine::Rules;
use serde::Deserialize;

use super::subject::{
    Change, E820Entry, EfiEntry, Held, HeldMapping, Map, NodeRange, PageSize, Span, SratMemory, Subject, e820_kind,
    efi_attributes, efi_kind,
};
use super::{MAP_OPTIONS, NODE_OPTIONS, dma_limit, low_zones, without_items};

type Typed = (u64, u64, String);

/// The keys that describe the machine. Others are for people.
#[derive(Deserialize)]
struct File {
    arch: String,
    #[serde(default = "four_kib")]
    page_size: u64,
    #[serde(default)]
    cmdline: String,
    memory_from: Option<String>,
    #[serde(default)]
    e820: Vec<Typed>,
    #[serde(default)]
    user_e820: Vec<Typed>,
    #[serde(default)]
    xen_e820: Vec<Typed>,
    #[serde(default)]
    e820_changes: Vec<(String, u64, u64, String, String)>,
    #[serde(default)]
    efi: Vec<(u64, u64, String, String)>,
    #[serde(default)]
    srat: Vec<(u16, u32, u64, u64, String)>,
    #[serde(default)]
    reserved: Vec<(u64, u64, String, String, String)>,
    #[serde(default)]
    ramdisk: Vec<(u64, u64)>,
    #[serde(default)]
    expect: Expect,
}

#[derive(Deserialize, Default)]
struct Expect {
    #[serde(default)]
    node_ranges: Vec<(u16, u64, u64)>,
    #[serde(default)]
    memoryless: Vec<u16>,
    #[serde(default)]
    zones: Vec<(String, u64, u64)>,
}

const fn four_kib() -> u64 {
    4096
}

/// Reads the machine file `text`.
///
/// # Errors
/// It is no TOML, a key has another form than machine files have, or nothing in it says where memory is.
pub(super) fn read(text: &str) -> Result<Subject> {
    let file: File = toml::from_str(text).map_err(|error| {
        let at = error.span().and_then(|span| text.get(..span.start)).map_or(1, |before| before.lines().count().max(1));
        anyhow!("not a machine file: line {at}: {}", error.message().replace('\n', ", "))
    })?;
    let rules = match file.arch.as_str() {
        "x86_64" => Rules::X86,
        "aarch64" => Rules::Arm64,
        other => bail!("arch `{other}`: machines are x86_64 or aarch64"),
    };
    let Some(page_size) = PageSize::of(file.page_size) else {
        bail!("page_size {}: pages have 4096, 16384 or 65536 bytes", file.page_size);
    };
    let mut notes = Vec::new();
    let map = map(&file, &mut notes)?;
    let shown: &[&str] = match &map {
        Map::NodeRanges(_) => NODE_OPTIONS,
        _ if !file.user_e820.is_empty() => MAP_OPTIONS,
        _ => &[],
    };
    let cmdline = without_items(&file.cmdline, shown);
    let srat = file.srat.iter().filter_map(|(node, domain, first, last, flags)| {
        let span = span("srat", *first, *last, &mut notes)?;
        Some(SratMemory::with_words(*node, *domain, span, flags))
    });
    let srat = srat.collect();
    let held = held(&file, &mut notes);
    let memoryless = file.expect.memoryless.clone();
    let zones = file.expect.zones.iter();
    let zones = zones.filter_map(|(zone, first, last)| Some((zone.as_str(), Span::new(*first, *last)?)));
    let (low_zones, dma_limit) = (low_zones(rules, zones.clone()), dma_limit(rules, zones));
    Ok(Subject {
        rules,
        low_zones,
        page_size,
        cmdline,
        map,
        memoryless,
        dma_limit,
        srat,
        srat_cpus: Vec::new(),
        held,
        notes,
    })
}

fn map(file: &File, notes: &mut Vec<String>) -> Result<Map> {
    let ranges = || file.expect.node_ranges.iter();
    let from_ranges = match file.memory_from.as_deref() {
        None => file.e820.is_empty() && file.user_e820.is_empty() && file.xen_e820.is_empty() && file.efi.is_empty(),
        Some("node_ranges") => true,
        Some(other) => bail!("memory_from `{other}`: only node_ranges is known"),
    };
    if from_ranges {
        let ranges = ranges().filter_map(|(node, first, last)| {
            Some(NodeRange { node: *node, span: span("expect.node_ranges", *first, *last, notes)? })
        });
        let ranges: Vec<_> = ranges.collect();
        if ranges.is_empty() {
            bail!("nothing says where memory is: looked for user_e820, xen_e820, e820, efi and expect.node_ranges");
        }
        return Ok(Map::NodeRanges(ranges));
    }
    let lists = [("user_e820", &file.user_e820), ("xen_e820", &file.xen_e820), ("e820", &file.e820)];
    let Some((key, list)) = lists.into_iter().find(|(_, list)| !list.is_empty()) else {
        return Ok(Map::Efi(efi(file, notes)));
    };
    let entries = list.iter().filter_map(|(first, last, word)| {
        let kind = kind(key, word, notes)?;
        Some(E820Entry { span: span(key, *first, *last, notes)?, kind })
    });
    let entries = entries.collect();
    Ok(Map::E820 { entries, changes: changes(file, notes) })
}

/// The changes up to the last mark: what comes later touches no memory.
fn changes(file: &File, notes: &mut Vec<String>) -> Vec<Change> {
    let changes = &file.e820_changes;
    let mark = changes.iter().rposition(|(what, ..)| what == "last_pfn").unwrap_or(changes.len());
    let change = |(what, first, last, from, to): &(String, u64, u64, String, String)| {
        let from = match from.as_str() {
            "" => None,
            word => Some(kind("e820_changes", word, notes)?),
        };
        let to = match (what.as_str(), to.as_str()) {
            ("remove", _) => None,
            ("update", word) => Some(kind("e820_changes", word, notes)?),
            ("last_pfn", _) => return None,
            (other, _) => {
                notes.push(format!("e820_changes: `{other}` is neither update nor remove; passed over"));
                return None;
            }
        };
        Some(Change { span: span("e820_changes", *first, *last, notes)?, from, to })
    };
    changes.iter().take(mark).filter_map(change).collect()
}

fn efi(file: &File, notes: &mut Vec<String>) -> Vec<EfiEntry> {
    let entry = |(first, last, word, attributes): &(u64, u64, String, String)| {
        let Some(kind) = efi_kind(word) else {
            notes.push(format!("efi: no type is called `{word}`; entry passed over"));
            return None;
        };
        let span = span("efi", *first, *last, notes)?;
        Some(EfiEntry { span, kind, attributes: efi_attributes(attributes) })
    };
    file.efi.iter().filter_map(entry).collect()
}

/// What the firmware and the loader hold. What the kernel reserved for itself is not there: ours does it anew.
fn held(file: &File, notes: &mut Vec<String>) -> Vec<Held> {
    let mut held = Vec::new();
    for (first, last) in &file.ramdisk {
        if let Some(span) = span("ramdisk", *first, *last, notes) {
            held.push(Held { span, owner: "initrd".into(), mapping: HeldMapping::Mapped });
        }
    }
    for (first, last, what, _, name) in &file.reserved {
        let Some(span) = span("reserved", *first, *last, notes) else { continue };
        let mapping = if what == "nomap" { HeldMapping::Unmapped } else { HeldMapping::Mapped };
        let owner = if name.is_empty() { what } else { name };
        held.push(Held { span, owner: owner.clone(), mapping });
    }
    held
}

fn kind(key: &str, word: &str, notes: &mut Vec<String>) -> Option<u32> {
    let kind = e820_kind(word);
    if kind.is_none() {
        notes.push(format!("{key}: no type is called `{word}`; entry passed over"));
    }
    kind
}

fn span(key: &str, first: u64, last: u64, notes: &mut Vec<String>) -> Option<Span> {
    let span = Span::new(first, last);
    if span.is_none() {
        notes.push(format!("{key}: {first:#x}-{last:#x} ends before it starts; entry passed over"));
    }
    span
}
