//! Logs: what a kernel printed while it booted, from `dmesg`, `journalctl -k`, a serial console or a mail.
//!
//! `line` finds messages in lines of any dress, `message` reads them, and here they become one machine. A log may hold
//! several boots, of which the first that names memory is taken, and it may be cut: a memory map that lacks memory
//! which the kernel has is not believed, and the kernel's own list of memory is taken in its place.
//!
//! Which list is the input: on x86 the map after `mem=` and `memmap=` (whose effect is then not applied again), else
//! the firmware's map with the changes that the kernel printed; on arm64 the kernel's list of memory by node, because
//! the firmware's is seldom printed and leaves reserved memory out; else EFI's map.

mod line;
mod message;
#[cfg(test)]
mod tests;

use anyhow::{Result, bail};
use mm::machine::Rules;

use super::subject::{Change, E820Entry, EfiEntry, Held, Map, NodeRange, PageSize, Span, SratCpu, SratMemory, Subject};
use super::{MAP_OPTIONS, NODE_OPTIONS, dma_limit, low_zones, without_items};
use message::{MapName, Message};

/// The kind that memory has in a PC's map.
const USABLE: u32 = 1;

/// One boot of a log.
#[derive(Default)]
struct Boot {
    version: String,
    cmdline: Option<String>,
    firmware: Vec<E820Entry>,
    user: Vec<E820Entry>,
    changes: Vec<Change>,
    /// How many changes were made before the last mark.
    settled: Option<usize>,
    efi: Vec<EfiEntry>,
    srat: Vec<SratMemory>,
    srat_cpus: Vec<SratCpu>,
    node_ranges: Vec<NodeRange>,
    memoryless: Vec<u16>,
    held: Vec<Held>,
    page_size: Option<PageSize>,
    says_arm64: Option<()>,
    foreign: Option<&'static str>,
    zones: Vec<(&'static str, Span)>,
    notes: Vec<String>,
}

/// Reads the log `text`.
///
/// # Errors
/// Nothing in it says where memory is, or its kernel is a 32-bit one.
pub(super) fn read(text: &str) -> Result<Subject> {
    let mut boots = vec![Boot::default()];
    for line in text.lines() {
        let line = line::without_colours(line);
        let Some(message) = message::read(&line) else { continue };
        if matches!(message, Message::Version(_)) && boots.last().is_some_and(|boot| !boot.version.is_empty()) {
            boots.push(Boot::default());
        }
        if let Some(boot) = boots.last_mut() {
            boot.take(message);
        }
    }
    let count = boots.len();
    let Some(boot) = boots.into_iter().find(Boot::names_memory) else {
        bail!(
            "nothing in this log says where memory is: looked for `BIOS-e820: [mem …]`, `user: [mem …]`, \
             `Xen: [mem …]`, `efi: …` and `node N: [mem …]`"
        );
    };
    if let Some(name) = boot.foreign {
        bail!("this is the log of {name}; machines here are x86_64 or aarch64");
    }
    let mut subject = boot.into_subject();
    if count > 1 {
        subject.notes.push(format!("the log holds {count} boots; this is the first that names memory"));
    }
    Ok(subject)
}

impl Boot {
    fn take(&mut self, message: Message<'_>) {
        match message {
            Message::Version(version) => self.version = version.to_owned(),
            // x86 prints it twice, the second time with what the kernel has built in.
            Message::CommandLine(line) => self.cmdline = Some(line.to_owned()),
            Message::MapBegins(MapName::Firmware) => self.firmware.clear(),
            Message::MapBegins(MapName::User) => self.user.clear(),
            Message::Map(name, Ok(entry)) => match name {
                MapName::Firmware => self.firmware.push(entry),
                MapName::User => self.user.push(entry),
            },
            Message::Map(_, Err(word)) => self.notes.push(format!("no type is called `{word}`; entry passed over")),
            Message::Change(change) => self.changes.push(change),
            Message::LastPfn => self.settled = Some(self.changes.len()),
            Message::Efi(entry) => self.efi.push(entry),
            Message::SratMemory(memory) => self.srat.push(memory),
            Message::SratCpu(cpu) => self.srat_cpus.push(cpu),
            Message::NodeRange(range) => self.node_ranges.push(range),
            Message::Memoryless(node) => self.memoryless.push(node),
            Message::Held(held) => self.held.push(held),
            Message::PageSize(bytes) => self.page_size = self.page_size.or(PageSize::of(bytes)),
            Message::Arm64 => self.says_arm64 = Some(()),
            Message::Zone(zone, span) => self.zones.push((zone, span)),
            Message::Foreign(name) => self.foreign = self.foreign.or(Some(name)),
        }
    }

    fn names_memory(&self) -> bool {
        let maps = [&self.firmware, &self.user].into_iter().any(|map| map.iter().any(|entry| entry.kind == USABLE));
        maps || !self.efi.is_empty() || !self.node_ranges.is_empty()
    }

    /// A PC has its map, or a DMA zone that ends at 16 MiB.
    fn rules(&self) -> Rules {
        let is_pc = !self.firmware.is_empty() || !self.user.is_empty() || self.settled.is_some();
        let is_arm = self.says_arm64.is_some() || self.version.contains("aarch64");
        let has_isa_zone = self.zones.iter().any(|(zone, span)| *zone == "DMA" && span.last() == (16 << 20) - 1);
        if is_pc || (!is_arm && has_isa_zone) { Rules::X86 } else { Rules::Arm64 }
    }

    fn into_subject(mut self) -> Subject {
        let rules = self.rules();
        let map = self.map(rules);
        let shown: &[&str] = match map {
            Map::NodeRanges(_) => NODE_OPTIONS,
            _ if !self.user.is_empty() => MAP_OPTIONS,
            _ => &[],
        };
        Subject {
            rules,
            low_zones: low_zones(rules, self.zones.iter().copied()),
            page_size: self.page_size.filter(|_| rules == Rules::Arm64).unwrap_or(PageSize::K4),
            cmdline: without_items(self.cmdline.as_deref().unwrap_or_default(), shown),
            map,
            memoryless: self.memoryless,
            dma_limit: dma_limit(rules, self.zones.into_iter()),
            srat: self.srat,
            srat_cpus: self.srat_cpus,
            held: self.held,
            notes: self.notes,
        }
    }

    fn map(&mut self, rules: Rules) -> Map {
        let user = !self.user.is_empty();
        let entries = if user { &self.user } else { &self.firmware };
        let has_entries = entries.iter().any(|entry| entry.kind == USABLE);
        if rules == Rules::X86 && has_entries {
            let usable = entries.iter().filter(|entry| entry.kind == USABLE).map(|entry| entry.span);
            if self.node_ranges.iter().all(|range| range.span.is_covered(usable.clone())) {
                self.changes.truncate(self.settled.unwrap_or(self.changes.len()));
                return Map::E820 { entries: entries.clone(), changes: std::mem::take(&mut self.changes) };
            }
            let note = "the memory map in this log is cut; the kernel's list of memory is taken in its place";
            self.notes.push(note.to_owned());
        }
        if self.node_ranges.is_empty() {
            return Map::Efi(std::mem::take(&mut self.efi));
        }
        Map::NodeRanges(std::mem::take(&mut self.node_ranges))
    }
}
