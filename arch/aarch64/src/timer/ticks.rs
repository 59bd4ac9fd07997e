//! From a moment to the counter's value, and from what was read of it to the value.

use core::time::Duration;

/// The first tick at which as much time has gone by; a moment beyond all counters is the last one for half of the
/// counter's range, which is beyond every machine's life.
pub(super) fn ticks_at(at: Duration, hertz: u64) -> u64 {
    // Nanoseconds are less than 2^30 and a frequency than 2^32, so that the product fits.
    let part = (u64::from(at.subsec_nanos()) * hertz).div_ceil(1_000_000_000);
    at.as_secs().saturating_mul(hertz).saturating_add(part).min(i64::MAX as u64)
}

/// The counter's value by two reads, one after the other. On some CPUs a read while the lower half wraps may have the
/// upper half of what comes next. Where the upper halves differ the first read is right, else the second. Linux:
/// `arm64_858921_read_cntvct_el0`.
pub(super) const fn unwrapped(first: u64, second: u64) -> u64 {
    if (first ^ second) >> 32 & 1 == 0 { second } else { first }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_is_wrong_while_it_wraps_is_read_right() {
        const BEFORE: u64 = 0x5_ffff_ffff;
        const AFTER: u64 = 0x6_0000_0000;
        // Both sides of the wrap, and reads of one side only.
        assert_eq!(unwrapped(BEFORE, AFTER), BEFORE);
        assert_eq!(unwrapped(BEFORE - 1, BEFORE), BEFORE);
        assert_eq!(unwrapped(AFTER, AFTER + 1), AFTER + 1);
        // The wrong read, whose upper half is too new, comes first, or second.
        assert_eq!(unwrapped(0x6_ffff_ffff, AFTER + 1), AFTER + 1);
        assert_eq!(unwrapped(BEFORE, 0x6_ffff_ffff), BEFORE);
    }

    /// What `uptime` says at this tick.
    fn time_at(ticks: u64, hertz: u64) -> Duration {
        Duration::from_secs(ticks / hertz) + Duration::from_nanos(ticks % hertz * 1_000_000_000 / hertz)
    }

    #[test]
    fn an_alarm_is_not_early_and_at_most_a_tick_late() {
        for hertz in [1, 32_768, 19_200_000, 24_000_000, 62_500_000, 1_000_000_000, u64::from(u32::MAX)] {
            for nanos in [0, 1, 41, 42, 999_999_999, 1_000_000_000, 1_234_567_891, 86_400_000_000_001] {
                let at = Duration::from_nanos(nanos);
                let ticks = ticks_at(at, hertz);
                assert!(time_at(ticks, hertz) >= at, "{nanos} ns at {hertz} Hz");
                assert!(ticks == 0 || time_at(ticks - 1, hertz) < at, "{nanos} ns at {hertz} Hz");
            }
        }
    }

    #[test]
    fn a_moment_beyond_all_time_is_an_alarm_that_never_goes_off() {
        assert_eq!(ticks_at(Duration::MAX, 1_000_000_000), i64::MAX as u64);
        assert_eq!(ticks_at(Duration::ZERO, 0), 0);
    }
}
