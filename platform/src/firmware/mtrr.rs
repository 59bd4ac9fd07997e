//! The memory types that an x86 CPU's range registers (MTRRs) give: RAM that they leave uncached is not worth having.
//!
//! A BIOS sets them for the RAM that there is. One that forgets some of it leaves a machine that crawls whenever the
//! kernel gets there, so that is taken out of the map. Only when all else is uncached (the default type) and the
//! variable registers speak of nothing but write-back and uncached memory can anything be concluded; virtual machines
//! often leave them blank. Registers that cover something else than RAM are not blank: U-Boot's for QEMU make its own
//! flash write-back and nothing else, and there all RAM is lost, to Linux as to this kernel. AMD CPUs can say "all RAM above 4 GiB is write-back" in another
//! way (`TOM2`).
//!
//! Pure arithmetic over register values, in O(registers²) and without storage. Intel's manual, volume 3, "Memory Type
//! Range Registers"; Linux: `mtrr_trim_uncached_memory` and `x86_get_mtrr_mem_range` in
//! `arch/x86/kernel/cpu/mtrr/cleanup.c`, `generic_get_mtrr` in `generic.c`.

use arrayvec::ArrayVec;
use mm::addr::{Pfn, PfnRange};

const PAGE_SHIFT: u32 = 12;
const PFN_1M: u64 = 1 << 8;
const PFN_4G: u64 = 1 << 20;

const UNCACHED: u8 = 0;
const WRITE_BACK: u8 = 6;
/// In a mask register: the pair is in use.
const IN_USE: u64 = 1 << 11;
/// In the default type register: registers are in use, and so are those for the first MiB.
const FIXED_ENABLED: u64 = 0b11 << 10;

/// The values of the registers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mtrr {
    /// The register with the type of all that no other names (`IA32_MTRR_DEF_TYPE`).
    pub default_type: u64,
    /// Pairs of base and mask registers. There are addresses for no more than forty pairs.
    pub pairs: ArrayVec<(u64, u64), { Self::MAX_PAIRS }>,
    /// Bits of a physical address.
    pub physical_bits: u32,
    /// The end of RAM above 4 GiB that is write-back whatever the pairs say (`TOM2`, AMD); 0: nothing is.
    pub top_of_memory_2: u64,
}

impl Mtrr {
    /// Pairs that there are addresses for.
    pub const MAX_PAIRS: usize = 40;

    /// The type of all that no pair names.
    const fn default(&self) -> u8 {
        self.default_type as u8
    }

    /// The frames and the type of each pair that is in use.
    fn in_use(&self) -> impl Iterator<Item = (PfnRange, u8)> + '_ {
        let pairs = self.pairs.iter().filter(|(_, mask)| mask & IN_USE != 0);
        pairs.map(|&(base, mask)| (frames(base, mask, self.physical_bits), base as u8))
    }

    /// The frames of a pair that take RAM out of the cache. Below 1 MiB the fixed registers have the word.
    fn exception(&self, pair: (PfnRange, u8)) -> PfnRange {
        let (frames, kind) = pair;
        if kind != UNCACHED {
            return PfnRange::EMPTY;
        }
        let has_fixed = self.default_type & FIXED_ENABLED == FIXED_ENABLED;
        if has_fixed { PfnRange::new(frames.start().max(Pfn::new(PFN_1M)), frames.end()) } else { frames }
    }

    /// What TOM2 makes write-back.
    fn above_4g(&self) -> PfnRange {
        PfnRange::new(Pfn::new(PFN_4G), Pfn::new(self.top_of_memory_2 >> PAGE_SHIFT))
    }

    fn cached(&self) -> impl Iterator<Item = PfnRange> + '_ {
        let pairs = self.in_use().filter(|&(_, kind)| kind == WRITE_BACK).map(|(frames, _)| frames);
        pairs.chain([self.above_4g()]).filter(|frames| !frames.is_empty())
    }

    /// Whether the registers are such that something can be concluded from them.
    #[must_use]
    pub fn tells(&self) -> bool {
        let whole = || self.in_use().filter(|(frames, _)| !frames.is_empty());
        self.default() == UNCACHED
            && whole().any(|(_, kind)| kind == WRITE_BACK)
            && whole().all(|(_, kind)| matches!(kind, WRITE_BACK | UNCACHED))
    }

    /// Shows `each` range of frames that is not cached, of a machine whose RAM ends at frame `end_of_ram`. Ascending;
    /// there may be no RAM in it.
    pub fn uncached(&self, end_of_ram: u64, each: &mut dyn FnMut(PfnRange)) {
        if !self.tells() {
            return;
        }
        let (mut at, mut last) = (Pfn::new(0), None);
        // Every turn passes one edge of a range at least.
        while let Some(run) = self.next_cached(at) {
            if run.start() > at {
                each(PfnRange::new(at, run.start()));
            }
            at = run.end();
            last = Some(at);
        }
        let end = Pfn::new(end_of_ram);
        if last.is_some_and(|last| last < end) {
            each(PfnRange::new(at, end));
        }
    }

    /// The first frames from `at` on that are cached: up to the next edge of any range.
    fn next_cached(&self, mut at: Pfn) -> Option<PfnRange> {
        loop {
            let exceptions = || self.in_use().map(|pair| self.exception(pair)).filter(|frames| !frames.is_empty());
            // The next frame that some pair caches …
            let start = self.cached().filter(|run| run.end() > at).map(|run| run.start().max(at)).min()?;
            // … and no other takes out.
            if let Some(end) = exceptions().filter(|run| run.contains(start)).map(|run| run.end()).max() {
                at = end;
                continue;
            }
            let end = self.cached().filter(|run| run.contains(start)).map(|run| run.end()).max()?;
            let later = exceptions().filter(|run| run.end() > start);
            let end = later.map(|run| run.start()).fold(end, Pfn::min);
            return Some(PfnRange::new(start, end));
        }
    }
}

/// The frames that a pair names. A mask's bits below its highest one that are set make the size; some BIOSes leave out
/// bits above, for a CPU with more address bits than they know. A mask without any names all that can be addressed.
fn frames(base: u64, mask: u64, physical_bits: u32) -> PfnRange {
    let addressable = u64::MAX.checked_shl(physical_bits).map_or(u64::MAX, |above| !above) >> PAGE_SHIFT;
    let start = base >> PAGE_SHIFT & addressable;
    let mask = mask >> PAGE_SHIFT & addressable;
    let highest = mask.checked_ilog2().unwrap_or(addressable.count_ones());
    let filled = mask | u64::MAX << highest;
    let size = filled.wrapping_neg();
    PfnRange::new(Pfn::new(start), Pfn::new(start).saturating_add(size))
}

#[cfg(test)]
mod tests;
