//! The protocol's memory map, made of the firmware's.
//!
//! In: EFI's descriptors in any order, overlapping or not, and what the loader knows better (where the image and the
//! modules are). Out: entries sorted by address, disjoint, each of whole pages, neighbours of one kind merged. So what
//! the protocol promises for usable memory and for the loader's holds for all kinds.
//!
//! Where two descriptors claim the same memory, the one that forbids more wins. Usable is only what can be cached by
//! write-back, as Linux has it (`do_add_efi_memmap` in `arch/x86/platform/efi/efi.c`, `is_usable_memory` in
//! `drivers/firmware/efi/efi-init.c`).
//!
//! Cost: entries times descriptors, some thousand steps for a usual map, and no memory.

use crate::requests::BaseRevision;
use crate::{PAGE, page_ceil, page_floor};
use core::fmt;

/// What an entry's memory is. The order says which wins where descriptors overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Free.
    Usable,
    /// The firmware's boot services, this loader and what it made: free once the kernel needs none of it.
    LoaderReclaimable,
    /// ACPI's tables: free once they were read.
    AcpiReclaimable,
    /// ACPI's, for good.
    AcpiNvs,
    /// The firmware's, and mapped like memory: its runtime services.
    ReservedMapped,
    /// Not to be touched.
    Reserved,
    /// Broken.
    Bad,
    /// The kernel's image and its modules.
    Executable,
}

impl Kind {
    /// The protocol's number.
    pub fn number(self) -> u64 {
        match self {
            Self::Usable => 0,
            Self::Reserved => 1,
            Self::AcpiReclaimable => 2,
            Self::AcpiNvs => 3,
            Self::Bad => 4,
            Self::LoaderReclaimable => 5,
            Self::Executable => 6,
            Self::ReservedMapped => 8,
        }
    }
}

/// A range of physical memory, and what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its first address.
    pub start: u64,
    /// The address after its last.
    pub end: u64,
    /// What it is.
    pub kind: Kind,
}

impl Entry {
    /// What a place in an array holds before it is filled.
    pub const NOTHING: Self = Self { start: 0, end: 0, kind: Kind::Reserved };
}

/// One descriptor of EFI's memory map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// EFI's memory type.
    pub kind: u32,
    /// The first physical address.
    pub start: u64,
    /// How many pages of 4 KiB.
    pub pages: u64,
    /// EFI's attributes.
    pub attributes: u64,
}

/// `EFI_MEMORY_WB`.
const WRITE_BACK: u64 = 8;

impl Descriptor {
    fn entry(self, revision: BaseRevision) -> Entry {
        // A start inside a page is against the specification: the page counts for what forbids, not for what allows.
        let end = self.start.saturating_add(self.pages.saturating_mul(PAGE));
        let cached = self.attributes & WRITE_BACK != 0;
        let kind = match self.kind {
            // Code and data of loaders and of boot services.
            1..=4 if cached => Kind::LoaderReclaimable,
            5 | 6 if revision.maps_runtime_services() => Kind::ReservedMapped,
            7 if cached => Kind::Usable,
            8 => Kind::Bad,
            9 => Kind::AcpiReclaimable,
            10 => Kind::AcpiNvs,
            _ => Kind::Reserved,
        };
        match kind {
            Kind::Usable | Kind::LoaderReclaimable => {
                Entry { start: page_ceil(self.start), end: page_floor(end), kind }
            }
            _ => Entry { start: page_floor(self.start), end: page_ceil(end), kind },
        }
    }
}

/// How many entries `descriptors` and `known` can become at most.
pub const fn most_entries(descriptors: usize, known: usize) -> usize {
    // Each start and each end can begin an entry.
    (descriptors + known) * 2
}

/// There are more entries than room for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the firmware's memory map has more entries than there is room for")
    }
}

/// Writes the entries to `out` and says how many there are. `known` wins over what the descriptors say of the same
/// memory.
///
/// # Errors
/// When `out` has no room for all of them; [`most_entries`] are always enough.
pub fn translate(
    descriptors: impl Iterator<Item = Descriptor> + Clone,
    known: &[Entry],
    revision: BaseRevision,
    out: &mut [Entry],
) -> Result<usize, Full> {
    let all = descriptors
        .map(|descriptor| descriptor.entry(revision))
        .chain(known.iter().copied())
        .filter(|entry| entry.start < entry.end);
    let mut count = 0;
    let Some(mut here) = all.clone().map(|entry| entry.start).min() else { return Ok(0) };
    loop {
        let covering = all.clone().filter(|entry| entry.start <= here && here < entry.end);
        let kind = covering.clone().map(|entry| entry.kind).max();
        let next_end = covering.map(|entry| entry.end).min();
        let next_start = all.clone().map(|entry| entry.start).filter(|&start| start > here).min();
        let Some(next) = next_end.into_iter().chain(next_start).min() else { return Ok(count) };
        if let Some(kind) = kind {
            append(out, &mut count, Entry { start: here, end: next, kind })?;
        }
        here = next;
    }
}

fn append(out: &mut [Entry], count: &mut usize, new: Entry) -> Result<(), Full> {
    if let Some(last) = count.checked_sub(1).and_then(|place| out.get_mut(place))
        && last.end == new.start
        && last.kind == new.kind
    {
        last.end = new.end;
    } else {
        *out.get_mut(*count).ok_or(Full)? = new;
        *count += 1;
    }
    Ok(())
}

/// What `descriptors` say of the page at `address`; the one that forbids most where several do.
pub fn kind_at(descriptors: impl Iterator<Item = Descriptor>, revision: BaseRevision, address: u64) -> Option<Kind> {
    descriptors
        .map(|descriptor| descriptor.entry(revision))
        .filter(|entry| (entry.start..entry.end).contains(&address))
        .map(|entry| entry.kind)
        .max()
}

#[cfg(test)]
mod tests;
