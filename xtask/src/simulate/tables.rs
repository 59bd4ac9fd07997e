//! Firmware's tables as they would lie in memory, made from what a log shows of them.
//!
//! `platform` reads the result as it reads any other firmware's. What the kernel of that log changed in a PC's map
//! before it took memory from it (a region that MTRRs do not cover, an AGP aperture, memory that the boot loader needs)
//! follows from registers and devices that are not here, so it goes along as edits: facts of that machine. Linux:
//! `e820__range_update`, `e820__range_remove`, `mtrr_trim_uncached_memory`.

use std::fmt;

use anyhow::{Result, anyhow};
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{Bank, Fact, MachineSink, MemoryKind, Rules, Source, Table};
use platform::firmware::e820::{E820, Edit, FirmwareMap, Kind, Op, PcMap};
use platform::firmware::efi::{Descriptor, EfiMap};
use platform::firmware::fdt::{self, Blob};
use platform::{Cmdline, MemoryImage};

use super::subject::{Change, E820Entry, EfiEntry, Map, NodeRange, Span, Subject};

/// Where a map lies: an address that only its reader sees, above all memory.
const MAP_AT: PhysAddr = PhysAddr::new(1 << 56);
/// The page that belongs to the BIOS.
const FIRST_PAGE: PhysRange = PhysRange::new(PhysAddr::new(0), PhysAddr::new(0x1000));
/// Changes that every PC's kernel makes, ours too: the first page, and video memory with the BIOS.
const FIRST_PAGE_UPDATE: (u64, u64) = (0, 0xfff);
const LEGACY_HOLE: (u64, u64) = (0xa_0000, 0xf_ffff);
/// The number of the type of RAM.
const RAM: u32 = 1;

/// What the firmware left, kept for as long as it is read.
#[derive(Debug)]
pub(super) struct Tables<'s> {
    /// The command line.
    pub(super) cmdline: Cmdline,
    pub(super) map: TableMap<'s>,
}

/// The table that says where memory is.
#[derive(Debug)]
pub(super) enum TableMap<'s> {
    /// A PC's, and what is changed in it.
    Pc { bytes: Vec<u8>, firmware: FirmwareMap, edits: Vec<Edit>, first_page: FirstPage },
    /// EFI's on arm64.
    Efi { bytes: Vec<u8>, map: EfiMap },
    /// A device tree that was checked.
    Tree(Box<Blob<'s>>),
    /// No table: a kernel's list of memory.
    NodeRanges(&'s [NodeRange]),
}

/// Whose a PC's first page is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FirstPage {
    /// The BIOS's, as in every kernel but a few.
    Bios,
    /// RAM: Linux 5.11 and what was made of it left it alone for a while.
    Ram,
}

impl<'s> Tables<'s> {
    /// The tables of `subject`; `scratch` is where a device tree is checked.
    ///
    /// # Errors
    /// The device tree is damaged.
    pub(super) fn of(subject: &'s Subject, scratch: &'s mut Vec<u8>) -> Result<Self> {
        let cmdline = Cmdline::new(&subject.cmdline);
        let map = match &subject.map {
            Map::E820 { entries, changes } => TableMap::Pc {
                bytes: e820_bytes(entries),
                firmware: FirmwareMap::E820(E820 {
                    at: MAP_AT,
                    entries: u32::try_from(entries.len()).unwrap_or(u32::MAX),
                }),
                edits: edits(changes),
                first_page: first_page(changes),
            },
            Map::Efi(entries) => {
                let bytes = efi_bytes(entries);
                let map = EfiMap {
                    at: MAP_AT,
                    size: bytes.len() as u64,
                    stride: Descriptor::SIZE as u64,
                    version: EfiMap::VERSION,
                };
                let first_page = FirstPage::Bios;
                match subject.rules {
                    Rules::X86 => {
                        TableMap::Pc { bytes, firmware: FirmwareMap::Efi(map), edits: Vec::new(), first_page }
                    }
                    Rules::Arm64 => TableMap::Efi { bytes, map },
                }
            }
            Map::NodeRanges(ranges) => TableMap::NodeRanges(ranges),
            Map::Tree(bytes) => {
                scratch.clone_from(bytes);
                TableMap::Tree(Box::new(fdt::check(scratch).map_err(|error| anyhow!("device tree: {error}"))?))
            }
        };
        Ok(Self { cmdline, map })
    }

    /// Prints what a boot begins with: the firmware's map, and what was changed in it.
    pub(super) fn print(&self, text: &mut dyn fmt::Write) -> fmt::Result {
        if !self.cmdline.as_str().trim().is_empty() {
            writeln!(text, "Command line: {}", self.cmdline.as_str().trim())?;
        }
        match &self.map {
            TableMap::Pc { bytes, firmware, edits, first_page } => {
                let pieces = [(MAP_AT, &**bytes)];
                let read = &mut MemoryImage::new(&pieces);
                if let FirmwareMap::Efi(map) = firmware {
                    map.print(Rules::X86, read, text)?;
                }
                let map = self.pc_map(*firmware, edits);
                map.print(read, text)?;
                map.print_rules(read, text)?;
                match first_page {
                    FirstPage::Bios => Ok(()),
                    FirstPage::Ram => writeln!(text, "{}", back_to_ram()),
                }
            }
            TableMap::Efi { bytes, map } => map.print(Rules::Arm64, &mut MemoryImage::new(&[(MAP_AT, bytes)]), text),
            TableMap::Tree(tree) => match tree.model().or_else(|| tree.compatible().next()) {
                Some(model) => writeln!(text, "Machine model: {model}"),
                None => Ok(()),
            },
            TableMap::NodeRanges(_) => Ok(()),
        }
    }

    /// Hands what the tables say to `sink`. A kernel's list is not a table.
    pub(super) fn describe(&self, page_size: u64, sink: &mut dyn MachineSink) {
        match &self.map {
            TableMap::Pc { bytes, firmware, edits, first_page } => {
                let pieces = [(MAP_AT, &**bytes)];
                let read = &mut MemoryImage::new(&pieces);
                let map = self.pc_map(*firmware, edits);
                match first_page {
                    FirstPage::Bios => map.describe(read, sink),
                    FirstPage::Ram => map.describe(read, &mut KeepFirstPage(sink)),
                }
            }
            TableMap::Efi { bytes, map } => {
                map.describe(page_size, &mut MemoryImage::new(&[(MAP_AT, bytes)]), sink);
            }
            TableMap::Tree(tree) => tree.describe(sink),
            TableMap::NodeRanges(_) => {}
        }
    }

    fn pc_map<'t>(&'t self, firmware: FirmwareMap, edits: &'t [Edit]) -> PcMap<'t> {
        PcMap { cmdline: Some(&self.cmdline), edits, ..firmware.into() }
    }
}

fn e820_bytes(entries: &[E820Entry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.len() * E820::ENTRY_SIZE);
    for entry in entries {
        bytes.extend_from_slice(&entry.span.first().to_le_bytes());
        bytes.extend_from_slice(&size(entry.span).to_le_bytes());
        bytes.extend_from_slice(&entry.kind.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
    }
    bytes
}

fn efi_bytes(entries: &[EfiEntry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.len() * Descriptor::SIZE);
    for entry in entries {
        bytes.extend_from_slice(&entry.kind.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&entry.span.first().to_le_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&size(entry.span).div_ceil(4096).to_le_bytes());
        bytes.extend_from_slice(&entry.attributes.to_le_bytes());
    }
    bytes
}

/// All of the address space has a size that does not fit; its last byte is nobody's.
fn size(span: Span) -> u64 {
    (span.last() - span.first()).saturating_add(1)
}

/// The changes as edits, without those that our kernel makes by itself and those that change nothing of memory.
fn edits(changes: &[Change]) -> Vec<Edit> {
    let edit = |change: &Change| {
        let of_every_pc = [FIRST_PAGE_UPDATE, LEGACY_HOLE].contains(&(change.span.first(), change.span.last()));
        if of_every_pc || (change.to.is_some() && change.from == change.to) {
            return None;
        }
        let op = match (change.from.map(Kind::new), change.to.map(Kind::new)) {
            (Some(Some(from)), Some(Some(to))) => Op::Update { from, to },
            (from, None) => Op::Remove(from.flatten()),
            _ => return None,
        };
        Some(Edit { op, range: change.span.range(), source: Source::whole(Table::Kernel) })
    };
    changes.iter().filter_map(edit).collect()
}

/// Whose the first page is in a kernel that prints `changes`: one that prints what it removes prints what it updates.
fn first_page(changes: &[Change]) -> FirstPage {
    let is = |change: &Change, (first, last): (u64, u64)| (change.span.first(), change.span.last()) == (first, last);
    if !changes.iter().any(|change| is(change, LEGACY_HOLE) && change.to.is_none()) {
        return FirstPage::Bios;
    }
    let of_page = changes.iter().filter(|change| is(change, FIRST_PAGE_UPDATE));
    let kind = of_page.fold(RAM, |kind, change| if change.from == Some(kind) { change.to.unwrap_or(0) } else { kind });
    if kind == RAM { FirstPage::Ram } else { FirstPage::Bios }
}

/// What is printed where the first page is RAM after all.
fn back_to_ram() -> Edit {
    let op = Op::Update { from: Kind::RESERVED, to: Kind::RAM };
    Edit { op, range: FIRST_PAGE, source: Source::whole(Table::Kernel) }
}

/// Gives back the first page, which the rules of a PC take.
struct KeepFirstPage<'s>(&'s mut dyn MachineSink);

impl MachineSink for KeepFirstPage<'_> {
    fn fact(&mut self, fact: Fact) {
        self.0.fact(match fact {
            Fact::Bank(bank) if bank.source.table == Table::Architecture && FIRST_PAGE.contains_range(bank.range) => {
                Fact::Bank(Bank { kind: MemoryKind::Usable, ..bank })
            }
            other => other,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(first: u64, last: u64, from: u32, to: Option<u32>) -> Change {
        Change { span: Span::new(first, last).unwrap(), from: Some(from), to }
    }

    #[test]
    fn the_first_page_is_the_bioss_unless_the_kernel_left_it() {
        let (page, hole) = (change(0, 0xfff, 1, Some(2)), change(0xa_0000, 0xf_ffff, 1, None));
        assert_eq!(first_page(&[]), FirstPage::Bios);
        assert_eq!(first_page(&[page, hole]), FirstPage::Bios);
        assert_eq!(first_page(&[hole]), FirstPage::Ram);
        assert_eq!(first_page(&[page, hole, change(0, 0xfff, 2, Some(1))]), FirstPage::Ram);
        assert_eq!(back_to_ram().to_string(), "e820: update [mem 0x00000000-0x00000fff] reserved ==> usable");
    }

    #[test]
    fn changes_of_every_pc_and_marks_are_no_edits() {
        let mtrr = change(0xb000_0000, 0xffff_ffff, 1, Some(2));
        let changes = [
            change(0, 0xfff, 1, Some(2)),
            change(0xa_0000, 0xf_ffff, 1, None),
            change(0x5000, 0x5fff, 1, Some(1)),
            mtrr,
        ];
        let lines: Vec<String> = edits(&changes).iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["e820: update [mem 0xb0000000-0xffffffff] usable ==> reserved"]);
        let all = Change { span: Span::new(0x1000, u64::MAX).unwrap(), from: None, to: None };
        assert_eq!(edits(&[all])[0].op, Op::Remove(None));
    }

    /// Nodes' ranges of a machine file.
    fn ranges(text: &str) -> Vec<(u64, u64)> {
        use crate::simulate::{bring_up, input, run, summary::Summary};
        let subject = input::parse(text.as_bytes().to_vec(), input::Kind::MachineFile).unwrap();
        let mut summary = Summary::default();
        bring_up(&subject, &mut run::Log::default(), &mut summary).unwrap();
        let hex = |text: &str| u64::from_str_radix(&text[2..], 16).unwrap();
        summary.node_ranges.iter().map(|(_, first, last)| (hex(first), hex(last))).collect()
    }

    #[test]
    fn a_kernel_that_left_the_first_page_alone_has_it() {
        let machine = r#"
            arch = "x86_64"
            e820 = [[0x0, 0x9ffff, "usable"], [0x100000, 0x3fffffff, "usable"]]
            e820_changes = [["remove", 0xa0000, 0xfffff, "usable", ""], ["last_pfn", 0x40000, 0x0, "", ""]]
        "#;
        assert_eq!(ranges(machine)[0], (0, 0x9_ffff));
        assert_eq!(ranges(&machine.replace("remove", "last_pfn"))[0], (0x1000, 0x9_ffff));
    }

    #[test]
    fn efi_maps_are_memory_by_type_on_a_pc_and_by_attribute_on_arm() {
        let machine = r#"
            arch = "aarch64"
            efi = [[0x40000000, 0x4fffffff, "Conventional", "UC WC WT WB"],
                   [0x50000000, 0x500fffff, "Runtime Data", "UC WC WT WB RUN"],
                   [0x50100000, 0x501fffff, "Reserved", "UC"],
                   [0x50200000, 0x5fffffff, "Boot Data", "UC WC WT WB"]]
        "#;
        let arm = [(0x4000_0000, 0x4fff_ffff), (0x5000_0000, 0x500f_ffff), (0x5020_0000, 0x5fff_ffff)];
        assert_eq!(ranges(machine), arm);
        let pc = [(0x4000_0000, 0x4fff_ffff), (0x5020_0000, 0x5fff_ffff)];
        assert_eq!(ranges(&machine.replace("aarch64", "x86_64")), pc);
    }

    #[test]
    fn bytes_have_the_firmwares_layout() {
        let span = |first, last| Span::new(first, last).unwrap();
        let all = e820_bytes(&[E820Entry { span: span(0, u64::MAX), kind: 7 }]);
        assert_eq!((all.len(), &all[8..20]), (24, &[[0xff; 8].as_slice(), &[7, 0, 0, 0]].concat()[..]));
        let efi = efi_bytes(&[EfiEntry { span: span(0x4000_0000, 0x4000_1fff), kind: 7, attributes: 0xf }]);
        assert_eq!(
            (efi.len(), efi[0], efi[8..16].to_vec(), efi[24], efi[32]),
            (40, 7, 0x4000_0000_u64.to_le_bytes().to_vec(), 2, 0xf)
        );
    }
}
