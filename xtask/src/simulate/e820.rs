//! A PC's memory map as the firmware would lay it out in memory, from its entries as a log has them.
//!
//! `platform` reads the result as it reads any other map. What the kernel of that log changed in its map before it took
//! memory from it (a region that MTRRs do not cover, an AGP aperture, memory that the boot loader needs) follows from
//! registers and devices that are not here, so it is applied to the entries as a fact of the machine. Linux:
//! `e820__range_update`, `e820__range_remove`, `mtrr_trim_uncached_memory`.

use std::fmt;

use mm::addr::PhysAddr;
use platform::firmware::e820::E820;

use super::subject::{Change, E820Entry, Span, e820_word};

/// Where the map lies: an address that only its reader sees.
pub(super) const MAP_AT: PhysAddr = PhysAddr::new(0x1000);

/// A map in the bytes that firmware makes of it.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) bytes: Vec<u8>,
    pub(super) map: E820,
}

/// The bytes of `entries` after `changes`.
pub(super) fn table(entries: &[E820Entry], changes: &[Change]) -> Table {
    let mut entries = entries.to_vec();
    for change in changes {
        entries = entries.iter().flat_map(|entry| changed(*entry, *change)).flatten().collect();
    }
    let mut bytes = Vec::with_capacity(entries.len() * E820::ENTRY_SIZE);
    for entry in &entries {
        // An entry of all of the address space has a size that does not fit; the last byte is nobody's.
        let size = (entry.span.last() - entry.span.first()).saturating_add(1);
        bytes.extend_from_slice(&entry.span.first().to_le_bytes());
        bytes.extend_from_slice(&size.to_le_bytes());
        bytes.extend_from_slice(&entry.kind.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
    }
    let entries = u32::try_from(entries.len()).unwrap_or(u32::MAX);
    Table { bytes, map: E820 { at: MAP_AT, entries } }
}

/// Prints a change as the kernel that made it did; not the two that every PC's kernel makes and prints itself.
pub(super) fn print_change(change: Change, text: &mut dyn fmt::Write) -> fmt::Result {
    if OF_EVERY_PC.contains(&(change.span.first(), change.span.last())) {
        return Ok(());
    }
    let (first, last) = (change.span.first(), change.span.last());
    let verb = if change.to.is_some() { "update" } else { "remove" };
    write!(text, "e820: {verb} [mem {first:#010x}-{last:#010x}]")?;
    match (change.from, change.to) {
        (Some(from), Some(to)) => writeln!(text, " {} ==> {}", e820_word(from), e820_word(to)),
        (Some(from), None) => writeln!(text, " {}", e820_word(from)),
        (None, _) => writeln!(text),
    }
}

/// The first page, and video memory with the BIOS.
const OF_EVERY_PC: [(u64, u64); 2] = [(0, 0xfff), (0xa_0000, 0xf_ffff)];

/// What `change` makes of `entry`.
fn changed(entry: E820Entry, change: Change) -> [Option<E820Entry>; 3] {
    let meets = entry.span.meet(change.span).filter(|_| change.from.is_none_or(|from| from == entry.kind));
    let Some(middle) = meets else { return [Some(entry), None, None] };
    let part = |span: Option<Span>, kind| span.map(|span| E820Entry { span, kind });
    let [below, above] = entry.span.without(change.span);
    let middle = change.to.and_then(|kind| part(Some(middle), kind));
    [part(below, entry.kind), middle, part(above, entry.kind)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(first: u64, last: u64, kind: u32) -> E820Entry {
        E820Entry { span: Span::new(first, last).unwrap(), kind }
    }

    #[test]
    fn a_change_meets_only_its_type_and_cuts_what_it_meets() {
        let entries = [entry(0, 0xffff, 1), entry(0x1_0000, 0x1_ffff, 2), entry(0x2_0000, 0x2_ffff, 1)];
        let span = Span::new(0x8000, 0x2_7fff).unwrap();
        let to_reserved = Change { span, from: Some(1), to: Some(2) };
        let table = table(&entries, &[to_reserved]);
        let raw: Vec<(u64, u64, u32)> = table
            .bytes
            .chunks_exact(24)
            .map(|raw| {
                let word = |at: usize| u64::from_le_bytes(raw[at..at + 8].try_into().unwrap());
                (word(0), word(8), word(16) as u32)
            })
            .collect();
        assert_eq!(
            raw,
            [
                (0, 0x8000, 1),
                (0x8000, 0x8000, 2),
                (0x1_0000, 0x1_0000, 2),
                (0x2_0000, 0x8000, 2),
                (0x2_8000, 0x8000, 1)
            ]
        );
        assert_eq!(table.map.entries, 5);
    }

    #[test]
    fn what_is_removed_is_gone_whatever_it_was() {
        let entries = [entry(0, 0xffff, 1), entry(0x1_0000, u64::MAX, 7)];
        let remove = |from| Change { span: Span::new(0, u64::MAX).unwrap(), from, to: None };
        assert_eq!(table(&entries, &[remove(None)]).map.entries, 0);
        assert_eq!(table(&entries, &[remove(Some(1))]).map.entries, 1);
        let all = table(&[entry(0, u64::MAX, 1)], &[]);
        assert_eq!(all.bytes[8..16], u64::MAX.to_le_bytes());
    }
}
