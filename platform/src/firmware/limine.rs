//! The memory map that a loader of the Limine boot protocol makes: a list of pointers to entries of 24 bytes (start,
//! length, type).
//!
//! The pointers lead into the loader's direct map, of which only the offset is known here. Entries should ascend, and
//! free and reclaimable ones should be whole pages that nothing overlaps; none of that is relied on. Where a PC is
//! concerned each becomes an entry of its map by what its type means there, and what can happen to such a map happens
//! to it; on other architectures the same without a PC's rules ([`FirmwareMap`](super::e820::FirmwareMap)).
//!
//! Reclaimable memory is RAM, but the loader's page tables, the responses and this list lie there: it stays reserved
//! until the page allocator takes over. Under EFI it is boot services' memory too, of which the loader uses nothing;
//! where EFI's map is there and free memory is what it calls free (arm64), that part is free at once, as in Linux
//! ([`Holding`]). The kernel's image and the modules are RAM too, and held by whoever knows how
//! much of it they take. A frame buffer, and any type without a name here, is not RAM.
//!
//! Nothing is stored: a block of pointers and each of its entries are read anew each time.

use super::e820::{Entry, Kind};
use super::efi::EfiMap;
use crate::read::{PhysRead, u64_at};
use arrayvec::ArrayVec;
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{MachineSink, Owner, Problem, Purpose, RegionFlags, Reservation, Source, Table, Warning};

/// A memory map of the Limine boot protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LimineMap {
    /// Where the list of pointers is.
    pub list: PhysAddr,
    /// How many pointers it has.
    pub entries: u64,
    /// Where the loader's direct map begins, into which the pointers lead.
    pub direct_map: u64,
}

/// The type of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct EntryType(u64);

impl EntryType {
    const USABLE: Self = Self(0);
    const ACPI_RECLAIMABLE: Self = Self(2);
    const ACPI_NVS: Self = Self(3);
    const BAD: Self = Self(4);
    const LOADER_RECLAIMABLE: Self = Self(5);
    const EXECUTABLE_AND_MODULES: Self = Self(6);

    /// The type that a PC's map has for it.
    const fn pc_kind(self) -> Kind {
        match self {
            Self::USABLE | Self::LOADER_RECLAIMABLE | Self::EXECUTABLE_AND_MODULES => Kind::RAM,
            Self::ACPI_RECLAIMABLE => Kind::ACPI,
            Self::ACPI_NVS => Kind::NVS,
            Self::BAD => Kind::UNUSABLE,
            _ => Kind::RESERVED,
        }
    }
}

/// How much of its reclaimable memory the loader uses.
#[derive(Clone, Copy, Debug)]
pub enum Holding<'a> {
    /// All of it, as far as anybody knows.
    All,
    /// What boot services do not have by this map.
    NotBootServices(&'a EfiMap),
}

/// Pointers that are read at once.
const BLOCK: usize = 32;
/// Reclaimable entries that are compared with EFI's map at once.
const HELD_BLOCK: usize = 64;
/// Bytes of a pointer.
const POINTER: usize = 8;
/// Entries that cannot be are named up to this many.
const MAX_DROPPED: u64 = 16;

impl LimineMap {
    /// Entries that are looked at; more are dropped with a warning. Far more than any firmware's map has.
    pub const MAX_ENTRIES: u64 = 4096;

    /// Shows `each` entry, or why it cannot be, with its number; up to where the list cannot be read any more.
    fn all(&self, read: &mut dyn PhysRead, each: &mut dyn FnMut(u32, Result<(PhysRange, EntryType), Problem>)) {
        let count = self.entries.min(Self::MAX_ENTRIES) as u32;
        let mut first = 0;
        while first < count {
            let until = count.min(first.saturating_add(BLOCK as u32));
            let mut bytes = [0; BLOCK * POINTER];
            let bytes = bytes.get_mut(..(until - first) as usize * POINTER).unwrap_or_default();
            let at = self.list.checked_add(u64::from(first) * POINTER as u64);
            let listed = at.ok_or(self.list).and_then(|at| read.read(at, bytes).map_err(|error| error.at));
            if let Err(at) = listed {
                return each(first, Err(Problem::Unreadable(at)));
            }
            for (index, pointer) in (first..until).zip(bytes.chunks_exact(POINTER)) {
                each(index, self.entry(u64_at(pointer, 0), read));
            }
            first = until;
        }
    }

    /// The entry to which `pointer` leads.
    fn entry(&self, pointer: u64, read: &mut dyn PhysRead) -> Result<(PhysRange, EntryType), Problem> {
        let at = PhysAddr::new(pointer.checked_sub(self.direct_map).unwrap_or(pointer));
        let mut bytes = [0; 24];
        read.read(at, &mut bytes).map_err(|error| Problem::Unreadable(error.at))?;
        let (start, size) = (u64_at(&bytes, 0), u64_at(&bytes, 8));
        if size == 0 {
            return Err(Problem::Empty { start });
        }
        let range = PhysRange::from_size(PhysAddr::new(start), size).filter(|range| !range.is_empty());
        Ok((range.ok_or(Problem::Wraps { start, size })?, EntryType(u64_at(&bytes, 16))))
    }

    /// Shows `each` entry that a PC's map has by this one.
    pub(super) fn pc_entries(&self, read: &mut dyn PhysRead, each: &mut dyn FnMut(Entry)) {
        self.all(read, &mut |index, entry| {
            if let Ok((range, kind)) = entry {
                each(Entry { index, range, kind: kind.pc_kind(), flags: RegionFlags::empty() });
            }
        });
    }

    /// Hands to `sink` what a PC's map cannot say: a warning for each odd entry, and what the loader itself holds.
    pub fn describe(&self, holding: Holding<'_>, read: &mut dyn PhysRead, sink: &mut dyn MachineSink) {
        let whole = Source::whole(Table::LimineMap);
        if self.entries > Self::MAX_ENTRIES {
            let problem = Problem::TooMany { what: "entries", limit: Self::MAX_ENTRIES };
            sink.warning(Warning { source: whole, problem });
        }
        let mut dropped = 0;
        self.all(read, &mut |index, entry| {
            let Err(problem) = entry else { return };
            dropped += 1;
            if dropped <= MAX_DROPPED {
                sink.warning(Warning { source: Source::entry(Table::LimineMap, index), problem });
            } else if dropped == MAX_DROPPED + 1 {
                let problem = Problem::TooMany { what: "odd entries", limit: MAX_DROPPED };
                sink.warning(Warning { source: whole, problem });
            }
        });
        self.hold(holding, read, sink);
    }

    /// Hands to `sink` what the loader holds. O(entries × EFI's descriptors), and one read of each for [`HELD_BLOCK`]
    /// reclaimable entries.
    fn hold(&self, holding: Holding<'_>, read: &mut dyn PhysRead, sink: &mut dyn MachineSink) {
        let mut next = 0;
        loop {
            let block = self.reclaimable(next, read);
            let Some((last, _)) = block.last() else { return };
            next = last.saturating_add(1);
            let mut hold = |within: PhysRange| {
                for &(index, range) in &block {
                    let range = range.intersection(within);
                    if !range.is_empty() {
                        let (owner, source) = (Owner::new("boot loader"), Source::entry(Table::LimineMap, index));
                        sink.reservation(Reservation { range, owner, purpose: Purpose::Temporary, source });
                    }
                }
            };
            match holding {
                Holding::All => hold(PhysRange::ALL),
                Holding::NotBootServices(efi) => efi.others_than_boot_services(read, &mut hold),
            }
        }
    }

    /// The first reclaimable entries from number `next` on, with their numbers.
    fn reclaimable(&self, next: u32, read: &mut dyn PhysRead) -> ArrayVec<(u32, PhysRange), HELD_BLOCK> {
        let mut block = ArrayVec::new();
        self.all(read, &mut |index, entry| {
            if let Ok((range, EntryType::LOADER_RECLAIMABLE)) = entry
                && index >= next
            {
                // When it is full, the rest is for the next block.
                let _ = block.try_push((index, range));
            }
        });
        block
    }
}
