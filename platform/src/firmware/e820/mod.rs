//! The PC BIOS memory map, as a PVH loader lays it out: entries of 24 bytes (address, length, type, padding).
//!
//! Entries may come in any order, twice, and overlapping. Where they overlap, the one with the greatest type number
//! holds, and neighbours of one type become one bank, as in Linux; so what goes to the sink ascends and does not
//! overlap, and each bank names the raw entry that won its first byte. Entries that cannot be (no length, past the end
//! of the address space, type 0) are dropped. Each odd entry is named once in a warning. An all-zero last entry is
//! microvm's habit and is passed over silently.
//!
//! Then come a PC's own rules: page 0 is the BIOS's, so usable becomes reserved there; 640 KiB to 1 MiB is video memory
//! and ROM, so nothing there is usable.
//!
//! Nothing is stored: `sweep` and `faults` read the entries in blocks, several times over. Linux:
//! `e820__update_table`, `e820__print_table` and `e820_end_pfn` in `arch/x86/kernel/e820.c`, `trim_bios_range` in
//! `setup.c`.

mod faults;
mod sweep;

use crate::read::{PhysRead, u32_at, u64_at};
use core::fmt;
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{Bank, MachineSink, MemoryKind, Problem, Source, Table, Warning};

/// A PC BIOS memory map in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct E820 {
    /// Where its first entry is.
    pub at: PhysAddr,
    /// How many entries it has.
    pub entries: u32,
}

/// The page that belongs to the BIOS.
const PAGE_0: PhysRange = PhysRange::new(PhysAddr::new(0), PhysAddr::new(0x1000));
/// Video memory, option ROMs and the BIOS.
const LEGACY_HOLE: PhysRange = PhysRange::new(PhysAddr::new(0xa_0000), PhysAddr::new(0x10_0000));
/// Frames that four levels of x86 page tables can map directly (Linux: `MAX_ARCH_PFN`).
const MAX_ARCH_PFN: u64 = 1 << 34;
/// The first frame above 4 GiB.
const PFN_4G: u64 = 1 << 20;
const PAGE_SHIFT: u32 = 12;

/// An entry that can be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Entry {
    index: u32,
    range: PhysRange,
    kind: u32,
}

/// Entries that are read at once.
const BLOCK: usize = 32;

impl E820 {
    /// Size of an entry in bytes.
    pub const ENTRY_SIZE: usize = 24;
    /// Entries that are looked at; more are dropped with a warning. Far more than any firmware gives, and few enough
    /// that a damaged count costs no noticeable time.
    pub const MAX_ENTRIES: u32 = 4096;

    fn count(&self) -> u32 {
        self.entries.min(Self::MAX_ENTRIES)
    }

    /// Shows `each` entry from number `from` on, up to [`BLOCK`] of them, as what it is or why it cannot be; and returns
    /// the number of the first entry not shown.
    fn block(
        &self,
        read: &mut dyn PhysRead,
        from: u32,
        each: &mut dyn FnMut(u32, Result<Entry, Problem>),
    ) -> Result<u32, PhysAddr> {
        let mut bytes = [0; BLOCK * Self::ENTRY_SIZE];
        let until = self.count().min(from.saturating_add(BLOCK as u32));
        let length = until.saturating_sub(from) as usize * Self::ENTRY_SIZE;
        let at = self.at.saturating_add(u64::from(from) * Self::ENTRY_SIZE as u64);
        let bytes = bytes.get_mut(..length).unwrap_or_default();
        read.read(at, bytes).map_err(|error| error.at)?;
        for (index, raw) in (from..until).zip(bytes.chunks_exact(Self::ENTRY_SIZE)) {
            let (start, size, kind) = (u64_at(raw, 0), u64_at(raw, 8), u32_at(raw, 16));
            if (start, size, kind) == (0, 0, 0) && index + 1 == self.entries {
                continue;
            }
            each(index, Self::entry(index, start, size, kind));
        }
        Ok(until)
    }

    fn entry(index: u32, start: u64, size: u64, kind: u32) -> Result<Entry, Problem> {
        if size == 0 {
            return Err(Problem::Empty { start });
        }
        if kind == 0 {
            return Err(Problem::Value { what: "type", value: 0 });
        }
        match PhysRange::from_size(PhysAddr::new(start), size) {
            Some(range) if !range.is_empty() => Ok(Entry { index, range, kind }),
            _ => Err(Problem::Wraps { start, size }),
        }
    }

    /// Shows every entry that can be read. What cannot is told by [`faults`].
    fn all(&self, read: &mut dyn PhysRead, each: &mut dyn FnMut(Entry)) {
        let mut from = 0;
        while from < self.count() {
            match self.block(read, from, &mut |_, entry| {
                if let Ok(entry) = entry {
                    each(entry);
                }
            }) {
                Ok(next) if next > from => from = next,
                _ => return,
            }
        }
    }

    /// Hands the banks to `sink`, with the PC's rules applied, and a warning for each odd entry.
    pub fn describe(&self, read: &mut dyn PhysRead, sink: &mut dyn MachineSink) {
        if self.entries > Self::MAX_ENTRIES {
            let problem = Problem::TooMany { what: "entries", limit: Self::MAX_ENTRIES.into() };
            sink.warning(Warning { source: Source::whole(Table::E820), problem });
        }
        faults::tell(self, read, sink);
        sweep::banks(self, read, &mut |bank| pc_rules(bank, &mut |bank| sink.bank(bank)));
    }

    /// Prints the map as the firmware means it: what [`E820::describe`] hands on, before the PC's rules.
    ///
    /// # Errors
    /// When `text` refuses.
    pub fn print(&self, read: &mut dyn PhysRead, text: &mut dyn fmt::Write) -> fmt::Result {
        let mut result = writeln!(text, "BIOS-provided physical RAM map:");
        sweep::banks(self, read, &mut |bank| {
            result = result.and_then(|()| writeln!(text, "BIOS-e820: {} {}", bank.range, Word(bank.kind)));
        });
        result
    }

    /// Prints the PC's rules, and where usable memory then ends.
    ///
    /// # Errors
    /// When `text` refuses.
    pub fn print_rules(&self, read: &mut dyn PhysRead, text: &mut dyn fmt::Write) -> fmt::Result {
        let (mut last, mut last_low) = (0, 0);
        let mut usable = |bank: Bank| {
            if bank.kind == MemoryKind::Usable {
                last = last.max(bank.range.end().as_u64() >> PAGE_SHIFT).min(MAX_ARCH_PFN);
                if bank.range.start().as_u64() >> PAGE_SHIFT < PFN_4G {
                    last_low = last.min(PFN_4G);
                }
            }
        };
        sweep::banks(self, read, &mut |bank| pc_rules(bank, &mut usable));
        let (page, hole) = (PAGE_0, LEGACY_HOLE);
        writeln!(text, "e820: update [mem {:#010x}-{:#010x}] usable ==> reserved", page.start(), page.last())?;
        writeln!(text, "e820: remove [mem {:#010x}-{:#010x}] usable", hole.start(), hole.last())?;
        writeln!(text, "last_pfn = {last:#x} max_arch_pfn = {MAX_ARCH_PFN:#x}")?;
        if last > PFN_4G {
            writeln!(text, "last_pfn = {last_low:#x} max_arch_pfn = {MAX_ARCH_PFN:#x}")?;
        }
        Ok(())
    }
}

/// Shows `each` what the PC's rules leave of `bank`, ascending.
fn pc_rules(bank: Bank, each: &mut dyn FnMut(Bank)) {
    if bank.kind != MemoryKind::Usable {
        return each(bank);
    }
    let architecture = Source::whole(Table::Architecture);
    let low = PhysRange::new(PAGE_0.end(), LEGACY_HOLE.start());
    let high = PhysRange::new(LEGACY_HOLE.end(), PhysRange::ALL.end());
    for (range, kind, source) in [
        (PAGE_0, MemoryKind::Reserved, architecture),
        (low, MemoryKind::Usable, bank.source),
        (high, MemoryKind::Usable, bank.source),
    ] {
        let range = bank.range.intersection(range);
        if !range.is_empty() {
            each(Bank { range, kind, source, ..bank });
        }
    }
}

/// The word for a kind of bank, with the one that Linux prints for memory set aside for a special purpose.
struct Word(MemoryKind);

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            MemoryKind::Other(SOFT_RESERVED) => f.write_str("soft reserved"),
            kind => fmt::Display::fmt(&kind, f),
        }
    }
}

/// The type that Linux's EFI stub gives to special purpose memory.
const SOFT_RESERVED: u32 = 0xefff_ffff;

#[cfg(test)]
mod tests;
