//! Using less memory than there is: what `mem=` and a kernel that boots after a crash ask for.
//!
//! Three ways to say how much stays: a range ([`Memblock::cap`]), the lowest so many bytes
//! ([`Memblock::enforce_limit`]), or the lowest so many bytes and all that is `NOMAP`
//! ([`Memblock::mem_limit_remove_map`]). Reservations outside of what stays end as well: there is nothing to hold. One
//! thing differs from Linux: what memblock itself has handed out stays, memory and reservation, because somebody uses
//! it (Linux would forget its own grown array). Cost: O(regions) for each region that stays outside of the limit.
//! Linux: `memblock_cap_memory_range`, `memblock_enforce_memory_limit`, `memblock_mem_limit_remove_map`.

#![forbid(unsafe_code)]

use super::region::{Entry, HELD};
use super::{Memblock, MemblockError, RegionFlags, Which};
use crate::addr::{PhysAddr, PhysRange};
use crate::arch::PhysMap;

impl<A: PhysMap> Memblock<A> {
    /// Keeps of memory what lies in `range` and what is `NOMAP`, and of reservations what lies in `range`. Nothing
    /// happens when `range` is empty or when there is no memory yet. Linux: `memblock_cap_memory_range`.
    ///
    /// # Errors
    /// [`MemblockError::Full`] where a region must be cut in two around what memblock handed out.
    pub fn cap(&mut self, range: PhysRange) -> Result<(), MemblockError> {
        if range.is_empty() || self.memory.items().is_empty() {
            return Ok(());
        }
        self.keep_within(range, RegionFlags::NOMAP)
    }

    /// Keeps the lowest `bytes` bytes of memory, and no reservation above them. Nothing happens when there is less
    /// memory, or when `bytes` is 0. Linux: `memblock_enforce_memory_limit`.
    ///
    /// # Errors
    /// As [`Memblock::cap`].
    pub fn enforce_limit(&mut self, bytes: u64) -> Result<(), MemblockError> {
        match self.end_of_lowest(bytes) {
            Some(end) => self.keep_within(PhysRange::new(PhysRange::ALL.start(), end), RegionFlags::empty()),
            None => Ok(()),
        }
    }

    /// As [`Memblock::enforce_limit`], but memory that is `NOMAP` stays, wherever it lies (it counts for the limit
    /// where it lies below): arm64's `mem=`. Linux: `memblock_mem_limit_remove_map`.
    ///
    /// # Errors
    /// As [`Memblock::cap`].
    pub fn mem_limit_remove_map(&mut self, bytes: u64) -> Result<(), MemblockError> {
        match self.end_of_lowest(bytes) {
            Some(end) => self.cap(PhysRange::new(PhysRange::ALL.start(), end)),
            None => Ok(()),
        }
    }

    /// The address after the lowest `bytes` bytes of memory; `None` when there are fewer, or none are asked for.
    fn end_of_lowest(&self, bytes: u64) -> Option<PhysAddr> {
        let mut left = bytes;
        for entry in self.memory.items().iter().filter(|_| bytes != 0) {
            let range = entry.range();
            if left <= range.size() {
                return range.start().checked_add(left);
            }
            left -= range.size();
        }
        None
    }

    /// Ends what lies outside of `range`, except memory with one of the flags `keep` and what was handed out.
    fn keep_within(&mut self, range: PhysRange, keep: RegionFlags) -> Result<(), MemblockError> {
        let outside =
            [PhysRange::new(PhysRange::ALL.start(), range.start()), PhysRange::new(range.end(), PhysRange::ALL.end())];
        // A region of memory is cut once more for each piece of it that is in use; nothing else is cut in two.
        let in_use = |memblock: &Self| {
            let entries = memblock.reserved.items().iter().filter(|entry| is_held(entry));
            entries.filter(|entry| outside.iter().any(|part| part.overlaps(entry.range()))).count()
        };
        let conflict = |place: PhysRange| outside.iter().copied().find(|part| part.overlaps(place));
        self.make_room(Which::Memory, &in_use, &conflict)?;
        for part in outside {
            let mut at = part.start();
            while at < part.end() {
                let rest = PhysRange::new(at, part.end());
                let flagged = first(self.memory.items(), rest, |entry| entry.traits.flags & keep.bits() != 0);
                let held = first(self.reserved.items(), rest, is_held);
                let stays = held.min(flagged);
                self.memory.uncover(PhysRange::new(at, stays.start()));
                at = stays.end();
            }
            let mut at = part.start();
            while at < part.end() {
                let stays = first(self.reserved.items(), PhysRange::new(at, part.end()), is_held);
                self.reserved.uncover(PhysRange::new(at, stays.start()));
                at = stays.end();
            }
        }
        Ok(())
    }
}

fn is_held(entry: &Entry) -> bool {
    entry.traits.flags & HELD != 0
}

/// What the first entry that `is_wanted` covers of `range`; nothing, at the end of `range`, when there is none.
fn first(entries: &[Entry], range: PhysRange, is_wanted: impl Fn(&Entry) -> bool) -> PhysRange {
    let from = entries.partition_point(|entry| entry.end <= range.start());
    let ahead = entries.get(from..).unwrap_or_default();
    let found = ahead.iter().take_while(|entry| entry.range().overlaps(range)).find(|entry| is_wanted(entry));
    found.map_or(PhysRange::new(range.end(), range.end()), |entry| entry.range().intersection(range))
}
