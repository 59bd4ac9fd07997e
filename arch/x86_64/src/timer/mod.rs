//! Time since boot, by the time stamp counter.
//!
//! Its frequency comes from the CPU or the hypervisor where they tell it, else from a short comparison with a clock
//! whose frequency is fixed: the interval timer (PIT), which every PC has but which can be left out of a virtual
//! machine; then the real-time clock's periodic flag. If nothing answers it is taken for 1 GHz, which is right under
//! QEMU's `-icount`, and wrong by a factor elsewhere: then time stamps are wrong, and nothing else.
//!
//! Time begins in the first instruction of the entry code, and is the same on all CPUs as far as their counters are.
//! Each CPU has one alarm ([`set_alarm`]). Costs: [`init`] 0.2 ms where the clocks can be read at
//! once, up to 5 ms where each reading takes microseconds; [`uptime`] two divisions. Linux: `kernel/tsc.c`.

pub(crate) mod alarm;
mod pit;
mod rtc;

pub use alarm::{clear_alarm, init_cpu, set_alarm};

use crate::cpu::cpuid;
use core::arch::x86_64::_rdtsc;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use core::time::Duration;

/// The counter at entry.
static START: AtomicU64 = AtomicU64::new(0);
/// Ticks per second; 0 until [`init`].
static FREQUENCY: AtomicU64 = AtomicU64::new(0);
/// A [`FrequencySource`] as its number.
static SOURCE: AtomicU8 = AtomicU8::new(FrequencySource::Assumed as u8);

/// What is believed where nothing tells the frequency.
const ASSUMED_HERTZ: u64 = 1_000_000_000;
/// Frequencies that a time stamp counter can have. What lies outside is a failed comparison.
const PLAUSIBLE: core::ops::Range<u64> = 100_000_000..20_000_000_000;

/// Who told the frequency.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum FrequencySource {
    /// Nobody.
    Assumed,
    /// CPUID leaf 0x15 or 0x16.
    Cpu,
    /// The hypervisor's leaf 0x4000_0010.
    Hypervisor,
    /// Comparison with the interval timer.
    IntervalTimer,
    /// Comparison with the real-time clock.
    RealTimeClock,
}

/// `interval timer`
impl core::fmt::Display for FrequencySource {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(match self {
            Self::Assumed => "assumed",
            Self::Cpu => "CPUID",
            Self::Hypervisor => "hypervisor",
            Self::IntervalTimer => "interval timer",
            Self::RealTimeClock => "real-time clock",
        })
    }
}

/// The counter at entry, so that time begins there.
#[cfg_attr(test, expect(dead_code, reason = "the entry code calls it"))]
pub(crate) fn begin(entry_time: u64) {
    START.store(entry_time, Ordering::Relaxed);
}

/// Finds out the frequency.
pub fn init() {
    let found = told()
        .or_else(|| Some((pit::compare()?, FrequencySource::IntervalTimer)))
        .or_else(|| Some((rtc::compare()?, FrequencySource::RealTimeClock)));
    let (hertz, source) = found.unwrap_or((ASSUMED_HERTZ, FrequencySource::Assumed));
    SOURCE.store(source as u8, Ordering::Relaxed);
    FREQUENCY.store(hertz, Ordering::Relaxed);
}

/// Time since entry; zero before [`init`].
#[must_use]
pub fn uptime() -> Duration {
    let hertz = frequency();
    if hertz == 0 {
        return Duration::ZERO;
    }
    let ticks = ticks();
    // The remainder is below 2 * 10^10 ([`PLAUSIBLE`]): 10^6 times as much fits, 10^9 times would not.
    Duration::from_secs(ticks / hertz).saturating_add(Duration::from_micros(ticks % hertz * 1_000_000 / hertz))
}

/// Ticks of the counter since entry.
#[must_use]
pub fn ticks() -> u64 {
    counter().wrapping_sub(START.load(Ordering::Relaxed))
}

/// Ticks per second; zero before [`init`].
#[must_use]
pub fn frequency() -> u64 {
    FREQUENCY.load(Ordering::Relaxed)
}

/// Who told the frequency.
#[must_use]
pub fn frequency_source() -> FrequencySource {
    use FrequencySource::{Assumed, Cpu, Hypervisor, IntervalTimer, RealTimeClock};
    let number = SOURCE.load(Ordering::Relaxed);
    [Cpu, Hypervisor, IntervalTimer, RealTimeClock]
        .into_iter()
        .find(|&source| source as u8 == number)
        .unwrap_or(Assumed)
}

fn counter() -> u64 {
    // SAFETY: every 64-bit CPU has the counter, and nobody has closed it to the kernel.
    unsafe { _rdtsc() }
}

/// What CPU or hypervisor say.
fn told() -> Option<(u64, FrequencySource)> {
    let ratio = cpuid(0x15);
    let by_cpu = crystal_hertz(ratio.eax, ratio.ebx, ratio.ecx, cpuid(0x16).eax);
    // Bit 31: under a hypervisor.
    let kilohertz = if cpuid(1).ecx >> 31 != 0 { cpuid(0x4000_0010).eax } else { 0 };
    let by_hypervisor = u64::from(kilohertz) * 1000;
    let by_cpu = by_cpu.map(|hertz| (hertz, FrequencySource::Cpu));
    by_cpu.or_else(|| PLAUSIBLE.contains(&by_hypervisor).then_some((by_hypervisor, FrequencySource::Hypervisor)))
}

/// The counter's frequency from CPUID leaf 0x15, the crystal's `hertz` times `numerator / denominator`. A CPU that
/// keeps its crystal's frequency to itself tells its own, in leaf 0x16, and the counter runs at that.
fn crystal_hertz(denominator: u32, numerator: u32, hertz: u32, megahertz: u32) -> Option<u64> {
    let product = u64::from(hertz) * u64::from(numerator);
    let result = match hertz {
        0 if numerator != 0 => u64::from(megahertz & 0xffff) * 1_000_000,
        _ => product.checked_div(denominator.into())?,
    };
    PLAUSIBLE.contains(&result).then_some(result)
}

/// A moment by two clocks.
#[derive(Clone, Copy, Debug)]
struct Moment {
    /// The time stamp counter's count, the middle of what it can have been.
    counter: u64,
    /// How far the middle may be off.
    uncertainty: u64,
    /// Ticks of the other clock.
    reference: u64,
}

/// Ticks of the time stamp counter per second, from two moments of a clock of `reference_hertz`. `None` when the clock
/// has not moved, or the result cannot be.
fn hertz_between(from: Moment, to: Moment, reference_hertz: u64) -> Option<u64> {
    let ticks = u128::from(to.counter.checked_sub(from.counter)?);
    let reference = u128::from(to.reference.checked_sub(from.reference)?);
    let hertz = u64::try_from((ticks * u128::from(reference_hertz)).checked_div(reference)?).ok()?;
    PLAUSIBLE.contains(&hertz).then_some(hertz)
}

/// How exactly an interval must be known, as parts of it.
const PRECISE: u64 = 2000;
/// How exactly it must be known in the end, when it cannot be known as well.
const ROUGH: u64 = 50;

/// Whether the interval is known to one part in `parts`.
fn known_to(parts: u64, from: Moment, to: Moment) -> bool {
    let interval = to.counter.saturating_sub(from.counter);
    (from.uncertainty.saturating_add(to.uncertainty)).saturating_mul(parts) <= interval
}

impl Moment {
    /// Whether `other` is known so much better that an interval had better begin there: somebody else had the CPU while
    /// this one was looked at.
    fn is_spoilt(self, other: Self) -> bool {
        self.uncertainty / 8 > other.uncertainty
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(counter: u64, reference: u64) -> Moment {
        Moment { counter, uncertainty: 10, reference }
    }

    #[test]
    fn a_gigahertz_against_the_interval_timer() {
        // 1,193,182 ticks are one second.
        assert_eq!(hertz_between(moment(5, 0), moment(1_000_000_005, 1_193_182), 1_193_182), Some(1_000_000_000));
    }

    #[test]
    fn crystals_of_the_manual() {
        // A 24 MHz crystal, times 216 / 2.
        assert_eq!(crystal_hertz(2, 216, 24_000_000, 2600), Some(2_592_000_000));
        // The crystal is not told, the base frequency is.
        assert_eq!(crystal_hertz(2, 216, 0, 2600), Some(2_600_000_000));
        // Leaves that the CPU does not have, and ones that cannot be.
        assert_eq!(crystal_hertz(0, 0, 0, 0), None);
        assert_eq!(crystal_hertz(1, u32::MAX, u32::MAX, 0), None);
    }

    #[test]
    fn a_clock_that_stands_or_runs_backwards_tells_nothing() {
        assert_eq!(hertz_between(moment(0, 7), moment(1_000_000, 7), 1_193_182), None);
        assert_eq!(hertz_between(moment(0, 8), moment(1_000_000, 7), 1_193_182), None);
        assert_eq!(hertz_between(moment(0, 0), moment(0, 1000), 1_193_182), None);
    }

    #[test]
    fn precision_is_of_the_interval() {
        assert!(known_to(PRECISE, moment(0, 0), moment(40_000, 1)));
        assert!(!known_to(PRECISE, moment(0, 0), moment(39_999, 1)));
        assert!(known_to(ROUGH, moment(0, 0), moment(1000, 1)));
        assert!(!known_to(ROUGH, moment(0, 0), moment(999, 1)));
    }

    #[test]
    fn a_moment_that_was_interrupted_is_no_beginning() {
        let interrupted = Moment { uncertainty: 1000, ..moment(0, 0) };
        assert!(interrupted.is_spoilt(moment(5000, 1)));
        assert!(!moment(0, 0).is_spoilt(moment(5000, 1)));
    }
}
