//! The table as a PVH loader lays it out: entries of 24 bytes (address, length, type, padding).
//!
//! Entries may come in any order, twice, and overlapping. Those that cannot be (no length, past the end of the address
//! space, type 0) are dropped. An all-zero last entry is microvm's habit and is passed over silently. They are read in
//! blocks; nothing is stored.

use super::{Entry, Kind, PcMap, faults};
use crate::read::{PhysRead, u32_at, u64_at};
use core::fmt;
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{MachineSink, Problem, RegionFlags, Source, Table, Warning};

/// A PC BIOS memory map in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct E820 {
    /// Where its first entry is.
    pub at: PhysAddr,
    /// How many entries it has.
    pub entries: u32,
}

/// Entries that are read at once.
pub(super) const BLOCK: usize = 32;

impl E820 {
    /// Size of an entry in bytes.
    pub const ENTRY_SIZE: usize = 24;
    /// Entries that are looked at; more are dropped with a warning. Far more than any firmware gives; each turn of the
    /// sweep reads all of them, so a damaged count must not make them millions.
    pub const MAX_ENTRIES: u32 = 4096;

    fn count(&self) -> u32 {
        self.entries.min(Self::MAX_ENTRIES)
    }

    /// The number of each block's first entry.
    pub(super) fn blocks(&self) -> impl Iterator<Item = u32> + use<> {
        (0..self.count()).step_by(BLOCK)
    }

    /// Shows `each` entry from number `from` on, up to [`BLOCK`] of them, as what it is or why it cannot be.
    ///
    /// # Errors
    /// The address that cannot be read; nothing was shown then.
    pub(super) fn block(
        &self,
        read: &mut dyn PhysRead,
        from: u32,
        each: &mut dyn FnMut(u32, Result<Entry, Problem>),
    ) -> Result<(), PhysAddr> {
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
        Ok(())
    }

    fn entry(index: u32, start: u64, size: u64, kind: u32) -> Result<Entry, Problem> {
        if size == 0 {
            return Err(Problem::Empty { start });
        }
        let kind = Kind::new(kind).ok_or(Problem::Value { what: "type", value: 0 })?;
        match PhysRange::from_size(PhysAddr::new(start), size) {
            Some(range) if !range.is_empty() => Ok(Entry { index, range, kind, flags: RegionFlags::empty() }),
            _ => Err(Problem::Wraps { start, size }),
        }
    }

    /// Shows every entry that can be read. What cannot is told by [`faults`].
    pub(super) fn all(&self, read: &mut dyn PhysRead, each: &mut dyn FnMut(Entry)) {
        for from in self.blocks() {
            let shown = self.block(read, from, &mut |_, entry| {
                if let Ok(entry) = entry {
                    each(entry);
                }
            });
            if shown.is_err() {
                return;
            }
        }
    }

    /// A warning for each odd entry.
    pub(super) fn tell(&self, read: &mut dyn PhysRead, sink: &mut dyn MachineSink) {
        if self.entries > Self::MAX_ENTRIES {
            let problem = Problem::TooMany { what: "entries", limit: Self::MAX_ENTRIES.into() };
            sink.warning(Warning { source: Source::whole(Table::E820), problem });
        }
        faults::tell(self, read, sink);
    }

    /// [`PcMap::describe`] of this table, which nothing else shapes.
    pub fn describe(&self, read: &mut dyn PhysRead, sink: &mut dyn MachineSink) {
        PcMap::from(*self).describe(read, sink);
    }

    /// [`PcMap::print`] of this table, which nothing else shapes.
    ///
    /// # Errors
    /// When `text` refuses.
    pub fn print(&self, read: &mut dyn PhysRead, text: &mut dyn fmt::Write) -> fmt::Result {
        PcMap::from(*self).print(read, text)
    }

    /// [`PcMap::print_rules`] of this table, which nothing else shapes.
    ///
    /// # Errors
    /// When `text` refuses.
    pub fn print_rules(&self, read: &mut dyn PhysRead, text: &mut dyn fmt::Write) -> fmt::Result {
        PcMap::from(*self).print_rules(read, text)
    }
}
