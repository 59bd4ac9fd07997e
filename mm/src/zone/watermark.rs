//! How much of a zone is kept back, and for whom: arithmetic on counts of pages.
//!
//! *Watermarks*: below `low` the zone should be reclaimed until it is at `high` again; below `min` only those get memory
//! who help to free some. *Lowmem reserve*: what a low zone keeps back from those who could have used a higher one.
//! *Per-CPU sets*: how many pages a CPU keeps at hand, and how many move at once.
//!
//! Nothing here is stored; the allocator calls it when managed counts change. Linux: `setup_per_zone_wmarks`,
//! `setup_per_zone_lowmem_reserve`, `zone_batchsize`, `zone_highsize` in mm/page_alloc.c,
//! `calculate_normal_threshold` in mm/vmstat.c (6.1).

#![forbid(unsafe_code)]

use super::ZoneKind;

/// The distance between watermarks, in 1/10000 of a zone (`watermark_scale_factor`).
pub const SCALE_FACTOR: u64 = 10;

/// What part of the higher zones a zone of each kind keeps back (`lowmem_reserve_ratio`); 0 is nothing.
pub const LOWMEM_RESERVE_RATIO: [u64; ZoneKind::COUNT] = [256, 256, 32, 0];

/// A zone's watermarks, in pages.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Watermarks {
    /// Below this, memory is only for those who help to free some.
    pub min: u64,
    /// Below this, reclaim starts.
    pub low: u64,
    /// At this, reclaim stops.
    pub high: u64,
}

/// What the machine keeps free, in KiB: four times the square root of its memory in KiB, from 128 KiB to 256 MiB.
///
/// `pages` are the managed pages above each zone's high watermark.
#[must_use]
pub const fn min_free_kib(pages: u64, page_shift: u32) -> u64 {
    let kib = (pages as u128) << page_shift >> 10;
    let root = (kib * 16).isqrt();
    if root < 128 {
        128
    } else if root > 262_144 {
        262_144
    } else {
        root as u64
    }
}

/// The watermarks of a zone with `managed` pages, of `all_managed` in all zones, when `min_free` pages are kept free
/// in all of them. `scale` is in 1/10000 ([`SCALE_FACTOR`]).
#[must_use]
pub const fn watermarks(min_free: u64, managed: u64, all_managed: u64, scale: u64) -> Watermarks {
    if all_managed == 0 {
        return Watermarks { min: 0, low: 0, high: 0 };
    }
    // The share is not above `min_free` and the step not above `managed` x `scale`, so both fit.
    let min = (min_free as u128 * managed as u128 / all_managed as u128) as u64;
    let scaled = (managed as u128 * scale as u128 / 10_000) as u64;
    let step = if min / 4 > scaled { min / 4 } else { scaled };
    Watermarks { min, low: min.saturating_add(step), high: min.saturating_add(step).saturating_add(step) }
}

/// What each zone of a node keeps back from allocations that may go as high as each kind: `reserve[zone][highest]`
/// pages. `managed` are the node's managed pages by kind.
#[must_use]
pub fn lowmem_reserve(
    managed: [u64; ZoneKind::COUNT],
    ratios: [u64; ZoneKind::COUNT],
) -> [[u64; ZoneKind::COUNT]; ZoneKind::COUNT] {
    let mut reserve = [[0; ZoneKind::COUNT]; ZoneKind::COUNT];
    for (zone, ((row, ratio), own)) in reserve.iter_mut().zip(ratios).zip(managed).enumerate() {
        let mut above = 0_u64;
        for (slot, pages) in row.iter_mut().zip(managed).skip(zone + 1) {
            above = above.saturating_add(pages);
            if own > 0 {
                *slot = above.checked_div(ratio).unwrap_or(0);
            }
        }
    }
    reserve
}

/// How many pages move between a zone with `managed` pages and a CPU's set at once.
#[must_use]
pub const fn pcp_batch(managed: u64, page_shift: u32) -> u64 {
    let mebibyte = if page_shift < 20 { 1 << (20 - page_shift) } else { 1 };
    let part = if managed / 1024 < mebibyte { managed / 1024 } else { mebibyte };
    let quarter = if part < 4 { 1 } else { part / 4 };
    // One less than a power of two: such sets do not fall in step with the colours of caches.
    let batch = (1 << (quarter + quarter / 2).ilog2()) - 1;
    if batch < 1 { 1 } else { batch }
}

/// How many pages a CPU's set holds at most. `pages` is the zone's low watermark (or a fraction of its managed pages,
/// where that is asked for); `cpus` those of the zone's node, or all when it has none.
#[must_use]
pub const fn pcp_high(pages: u64, cpus: u64, batch: u64) -> u64 {
    let share = pages / if cpus == 0 { 1 } else { cpus };
    if share > batch * 4 { share } else { batch * 4 }
}

/// How far a CPU's own counters may drift before they are added to the zone's.
#[must_use]
pub const fn stat_threshold(managed: u64, cpus: u64, page_shift: u32) -> u64 {
    let chunks = if page_shift < 27 { managed >> (27 - page_shift) } else { managed };
    let threshold = 2 * bits(cpus) * (1 + bits(chunks));
    if threshold > 125 { 125 } else { threshold }
}

/// The number of the highest bit set, counted from 1.
const fn bits(value: u64) -> u64 {
    (u64::BITS - value.leading_zeros()) as u64
}
