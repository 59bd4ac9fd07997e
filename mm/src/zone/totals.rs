//! Sums of pages that boot lines show, as arithmetic on counts.
//!
//! *Total pages* are the pages of a zone less what its memory map will take, and on x86 less what is reserved where
//! devices with 24 address bits reach. *Set up at once* is what Linux describes before other CPUs run: all zones of a
//! node but the last, and of that one enough to go on; 'Memory: … available' counts these pages less what is reserved
//! of them. This kernel describes memory when it is first used, so only the first sum is its own; the second says what
//! to expect of Linux. Linux: `calc_memmap_size`, `free_area_init_core`, `defer_init` in mm/page_alloc.c (6.1).

#![forbid(unsafe_code)]

use super::{ZoneSpan, Zones};
use crate::addr::{Pfn, PfnRange};
use crate::arch::{PageFormat, PhysMap};

/// Pages of the memory map of a zone with `spanned` frames and `present` pages, `page_struct_bytes` each. A zone that
/// is mostly holes has a memory map only where there is memory.
#[must_use]
pub const fn memmap_pages(spanned: u64, present: u64, page_struct_bytes: u64, page_shift: u32) -> u64 {
    let described = if spanned > present.saturating_add(present / 16) { present } else { spanned };
    described.saturating_mul(page_struct_bytes).div_ceil(1 << page_shift)
}

/// Pages of a zone that are there for use: `present` less its memory map, unless that is larger than the zone, and less
/// what is reserved of it, unless that is all.
#[must_use]
pub const fn usable_pages(present: u64, memmap: u64, reserved: u64) -> u64 {
    let left = if memmap <= present { present - memmap } else { present };
    if left > reserved { left - reserved } else { left }
}

/// The first frame of a node's last zone that Linux does not set up at once: the first section to start when more pages
/// than a section has are set up. `memory` is the zone's, ascending; `None`: all of it is set up.
#[must_use]
pub fn first_deferred(memory: impl IntoIterator<Item = PfnRange>, section_pages: u64) -> Option<Pfn> {
    let mut done = 0;
    for frames in memory {
        // The page that is looked at counts as set up already.
        let enough = frames.start().as_u64().saturating_add(section_pages.saturating_sub(done));
        let border = enough.checked_next_multiple_of(section_pages).map(Pfn::new);
        if let Some(border) = border.filter(|border| frames.contains(*border)) {
            return Some(border);
        }
        done = (done + frames.count()).min(section_pages);
    }
    None
}

impl<A: PhysMap + PageFormat> Zones<A> {
    /// The memory that Linux sets up at once, piece by piece. O(zones × regions).
    pub fn set_up_at_once(&self) -> impl Iterator<Item = PfnRange> {
        self.spans().iter().flat_map(move |zone| {
            let node_end = self.nodes().node(zone.node).map_or(Pfn::new(0), |node| node.span.end());
            let section = 1 << (A::SECTION_SHIFT - A::PAGE_SHIFT);
            let is_last = zone.range.end() >= node_end;
            let border = is_last.then(|| first_deferred(self.memory_of(zone), section)).flatten();
            let at_once = PfnRange::new(Pfn::new(0), border.unwrap_or(zone.range.end()));
            self.memory_of(zone).map(move |frames| frames.intersection(at_once)).filter(|frames| !frames.is_empty())
        })
    }

    /// A zone's memory, ascending.
    fn memory_of(&self, zone: &ZoneSpan) -> impl Iterator<Item = PfnRange> {
        let regions = self.memblock().memory().into_iter().filter(move |region| region.node() == Some(zone.node));
        let parts =
            regions.map(move |region| zone.part_of(PfnRange::inside(region.range(), A::PAGE_SHIFT), region.flags()));
        parts.filter(|frames| !frames.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_up_at_once_is_counted_over_all_pieces() {
        let deferred = |pieces: &[(u64, u64)]| {
            let pieces = pieces.iter().map(|&(start, end)| PfnRange::new(Pfn::new(start), Pfn::new(end)));
            first_deferred(pieces, 128).map(Pfn::as_u64)
        };
        assert_eq!(deferred(&[]), None);
        assert_eq!(deferred(&[(0, 128)]), None);
        assert_eq!(deferred(&[(0, 129)]), Some(128));
        assert_eq!(deferred(&[(1, 300)]), Some(256));
        // 100 pages of the first piece leave 28 of the second, so the section after them is the first to wait.
        assert_eq!(deferred(&[(0, 100), (130, 1000)]), Some(256));
        // All of a section's pages are there already: the next section that starts in memory waits.
        assert_eq!(deferred(&[(0, 100), (128, 200), (384, 1000)]), Some(384));
        assert_eq!(deferred(&[(0, 100), (140, 250), (400, 500)]), None);
    }
}
