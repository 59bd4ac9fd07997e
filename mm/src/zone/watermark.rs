//! How much of a zone is kept back, and for whom: arithmetic on counts of pages.
//!
//! *Watermarks*: below `low` the zone should be reclaimed until it is at `high` again; below `min` only those get
//! memory who help to free some. *Lowmem reserve*: what a low zone keeps back from those who could have used a higher
//! one. *Per-CPU sets*: how many pages a CPU keeps at hand, and how many move at once.
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

/// The hundredths of a node that may be file pages nobody maps before the node is reclaimed (`min_unmapped_ratio`).
pub const MIN_UNMAPPED_RATIO: u64 = 1;
/// The hundredths of a node that may be slabs to be given back before it is reclaimed (`min_slab_ratio`).
pub const MIN_SLAB_RATIO: u64 = 5;

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
pub fn min_free_kib(pages: u64, page_shift: u32) -> u64 {
    let kib = u128::from(pages) << page_shift >> 10;
    (kib * 16).isqrt().clamp(128, 262_144) as u64
}

/// What a kernel that hands out huge pages keeps free, in KiB, so that blocks of them stay whole: per zone two blocks,
/// and one for each pair of the three common migrate types; at most a twentieth of memory.
///
/// `zones` are those with pages, Movable apart, `pages` as for [`min_free_kib`], `block` the pages of a huge page. It
/// replaces [`min_free_kib`] where it is more.
#[must_use]
pub fn min_free_kib_for_huge_pages(zones: u64, pages: u64, block: u64, page_shift: u32) -> u64 {
    let wished = block.saturating_mul(zones).saturating_mul(2 + 3 * 3);
    (u128::from(wished.min(pages / 20)) << page_shift >> 10) as u64
}

/// `percent` hundredths of each of a node's zones, together: below so many pages ([`MIN_UNMAPPED_RATIO`],
/// [`MIN_SLAB_RATIO`]) a node is not worth reclaiming. Linux: `setup_min_unmapped_ratio`, `setup_min_slab_ratio`.
#[must_use]
pub fn node_reclaim_floor(managed: [u64; ZoneKind::COUNT], percent: u64) -> u64 {
    managed.into_iter().map(|pages| (u128::from(pages) * u128::from(percent) / 100) as u64).sum()
}

/// The watermarks of a zone with `managed` pages, of `all_managed` in all zones, when `min_free` pages are kept free
/// in all of them. `scale` is in 1/10000 ([`SCALE_FACTOR`]).
#[must_use]
pub fn watermarks(min_free: u64, managed: u64, all_managed: u64, scale: u64) -> Watermarks {
    if all_managed == 0 {
        return Watermarks { min: 0, low: 0, high: 0 };
    }
    // The share is not above `min_free` and the step not above `managed` x `scale`, so both fit.
    let min = (u128::from(min_free) * u128::from(managed) / u128::from(all_managed)) as u64;
    let scaled = (u128::from(managed) * u128::from(scale) / 10_000) as u64;
    let step = scaled.max(min / 4);
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
pub fn pcp_batch(managed: u64, page_shift: u32) -> u64 {
    let mebibyte = 1 << 20_u32.saturating_sub(page_shift);
    let quarter = ((managed / 1024).min(mebibyte) / 4).max(1);
    // One less than a power of two: such sets do not fall in step with the colours of caches.
    let batch = (1 << (quarter + quarter / 2).ilog2()) - 1;
    batch.max(1)
}

/// How many pages a CPU's set holds at most. `pages` is the zone's low watermark (or a fraction of its managed pages,
/// where that is asked for); `cpus` those of the zone's node, or all when it has none.
#[must_use]
pub fn pcp_high(pages: u64, cpus: u64, batch: u64) -> u64 {
    (pages / cpus.max(1)).max(batch * 4)
}

/// How far a CPU's own counters may drift before they are added to the zone's.
#[must_use]
pub fn stat_threshold(managed: u64, cpus: u64, page_shift: u32) -> u64 {
    let chunks = managed >> 27_u32.saturating_sub(page_shift);
    (2 * bits(cpus) * (1 + bits(chunks))).min(125)
}

/// The number of the highest bit set, counted from 1.
const fn bits(value: u64) -> u64 {
    (u64::BITS - value.leading_zeros()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Managed pages of DMA, DMA32 and Normal on a PC with 4 GiB and 4 CPUs, as Linux 6.1 showed them.
    const PC: [u64; 4] = [3840, 754_602, 243_721, 0];

    #[test]
    fn memory_kept_free_follows_the_root_of_memory() {
        let managed: u64 = PC.iter().sum();
        // High watermarks at that moment: 96 + 19068 + 6176.
        assert_eq!(min_free_kib(managed - 25_340, 12), 7906);
        assert_eq!(min_free_kib(0, 12), 128);
        assert_eq!(min_free_kib(1 << 40, 12), 262_144);
        assert_eq!(min_free_kib(u64::MAX, 16), 262_144);
    }

    #[test]
    fn watermarks_are_linux_watermarks() {
        let all: u64 = PC.iter().sum();
        let marks = |min_free_kib: u64, scale| {
            [0, 1, 2].map(|zone: usize| {
                let Watermarks { min, low, high } = watermarks(min_free_kib / 4, PC[zone], all, scale);
                (min, low, high)
            })
        };
        assert_eq!(marks(7906, 10), [(7, 10, 13), (1487, 2241, 2995), (480, 723, 966)]);
        assert_eq!(marks(7906, 200), [(7, 83, 159), (1487, 16_579, 31_671), (480, 5354, 10_228)]);
        assert_eq!(marks(65_536, 10), [(62, 77, 92), (12_336, 15_420, 18_504), (3984, 4980, 5976)]);
        assert_eq!(watermarks(100, 0, 0, 10), Watermarks::default());
        assert_eq!(watermarks(u64::MAX, u64::MAX, u64::MAX, 10_000).high, u64::MAX);
    }

    #[test]
    fn low_zones_keep_back_what_linux_keeps_back() {
        let reserve = lowmem_reserve(PC, LOWMEM_RESERVE_RATIO);
        assert_eq!(reserve[0], [0, 2947, 3899, 3899]);
        assert_eq!(reserve[1], [0, 0, 952, 952]);
        assert_eq!(reserve[2], [0; 4]);
        assert_eq!(lowmem_reserve(PC, [64, 64, 16, 0])[0], [0, 11_790, 15_598, 15_598]);
        assert_eq!(lowmem_reserve([0, 5000, 0, 0], LOWMEM_RESERVE_RATIO)[0], [0; 4], "an empty zone keeps nothing");
    }

    #[test]
    fn per_cpu_sets_are_as_large_as_linux_makes_them() {
        let batches = [3840, 113_264, 243_721, 754_602].map(|managed| pcp_batch(managed, 12));
        assert_eq!(batches, [1, 31, 63, 63]);
        assert_eq!([pcp_high(10, 4, 1), pcp_high(2241, 4, 63), pcp_high(723, 4, 63)], [4, 560, 252]);
        assert_eq!([pcp_high(3840 / 16, 4, 1), pcp_high(754_602 / 16, 4, 63)], [60, 11_790]);
        assert_eq!(pcp_high(822, 0, 31), 822);
        let thresholds = [3840, 754_602, 243_721].map(|managed| stat_threshold(managed, 4, 12));
        assert_eq!(thresholds, [6, 36, 24]);
        assert_eq!(stat_threshold(511_625, 4, 12), 30);
        assert_eq!(stat_threshold(u64::MAX >> 12, 1 << 20, 12), 125);
    }
}
