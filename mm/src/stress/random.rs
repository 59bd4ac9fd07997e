//! Numbers without a pattern, the same in every run with the same seed.
//!
//! A counter that is mixed (SplitMix64): eight instructions a number, no state but one word, and any stream can begin
//! anywhere, so each CPU and each interrupt has one of its own.

#![forbid(unsafe_code)]

/// Spreads every bit of `value` over all bits; a bijection.
pub(super) const fn mix(value: u64) -> u64 {
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

/// A stream of numbers.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// The stream with this number, of this seed.
    pub(super) const fn new(seed: u64, stream: u64) -> Self {
        Self(mix(seed ^ mix(stream.wrapping_add(0x9e37_79b9_7f4a_7c15))))
    }

    /// The next number.
    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// The next number, brought below `bound`; 0 when that is 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// Whether the next number is one of those that come once in `times`.
    pub(super) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of `items`, or `default` where there are none.
    pub(super) fn pick<T: Copy>(&mut self, items: &[T], default: T) -> T {
        let at = self.below(items.len() as u64);
        items.get(at as usize).copied().unwrap_or(default)
    }

    /// A number up to `most`, each half as likely as the one before.
    pub(super) fn halving(&mut self, most: u8) -> u8 {
        (self.next().trailing_zeros() as u8).min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_and_differ() {
        let take = |seed, stream| {
            let mut random = Random::new(seed, stream);
            [random.next(), random.next(), random.next()]
        };
        assert_eq!(take(1, 0), take(1, 0));
        assert_ne!(take(1, 0), take(2, 0));
        assert_ne!(take(1, 0), take(1, 1));
    }

    #[test]
    fn numbers_stay_below_their_bound_and_reach_all_of_it() {
        let mut random = Random::new(7, 7);
        let mut seen = [0u32; 5];
        (0..1000).for_each(|_| seen[random.below(5) as usize] += 1);
        assert!(seen.iter().all(|&times| times > 100), "{seen:?}");
        assert_eq!(random.below(0), 0);
        assert_eq!(random.pick(&[], 3), 3);
        let mut halves = [0u32; 4];
        (0..1000).for_each(|_| halves[usize::from(random.halving(3))] += 1);
        assert!(halves[0] > 400 && halves[1] > 180 && halves[3] > 60, "{halves:?}");
    }
}
