//! One alarm for each CPU, by the timer of its local APIC.
//!
//! That timer counts down at the speed of the bus, which nobody states, so [`measure`] compares it with the time stamp
//! counter once, on the boot CPU. It has 32 bits: an alarm that is further off than they reach is set again when they
//! have run out, here, and so is one that came early because the two clocks differ by a little. So an alarm is never
//! early by [`uptime`](super::uptime), and late by what the interrupt takes.
//!
//! Costs: measuring 0.1 ms where the clocks can be read at once, up to 2 ms elsewhere; an alarm two or three writes
//! of registers. Linux: `calibrate_APIC_clock`, `lapic_next_event`.

use super::{Moment, PRECISE, ROUGH, counter, frequency, known_to, ticks};
use crate::{Native, irqchip};
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use mm::arch::Cpu as _;

/// Counts of the timer for each tick of the time stamp counter, as a fraction of 2^32; 0 until [`measure`].
static COUNTS_PER_TICK: AtomicU64 = AtomicU64::new(0);

/// No alarm is set.
const NEVER: u64 = u64::MAX;

mm::percpu! {
    /// When this CPU's alarm is due, in ticks since entry.
    static DUE: AtomicU64 = AtomicU64::new(NEVER);
}

/// Finds out how fast the timer counts, which `count` reads and which runs down from its greatest count. `None` when it
/// stands still.
pub(crate) fn measure(mut count: impl FnMut() -> u32) -> Option<()> {
    /// Parts of a second: the shortest and the longest interval.
    const SHORTEST: u64 = 10_000;
    const LONGEST: u64 = 500;
    /// Where the time stamp counter stands there is no interval.
    const LOOKS: u32 = 1_000_000;
    let mut look = || {
        let (before, count, after) = (counter(), count(), counter());
        let uncertainty = after.wrapping_sub(before) / 2;
        Moment { counter: before.wrapping_add(uncertainty), uncertainty, reference: (u32::MAX - count).into() }
    };
    let mut from = look();
    for _ in 0..LOOKS {
        let to = look();
        let elapsed = to.counter.wrapping_sub(from.counter);
        let parts = if elapsed >= frequency() / LONGEST { ROUGH } else { PRECISE };
        if elapsed >= frequency() / SHORTEST && known_to(parts, from, to) {
            let ratio = ratio(from, to)?;
            COUNTS_PER_TICK.store(ratio, Ordering::Relaxed);
            return Some(());
        }
        if from.is_spoilt(to) {
            from = to;
        }
        core::hint::spin_loop();
    }
    None
}

/// Counts for each tick between two moments, as a fraction of 2^32.
fn ratio(from: Moment, to: Moment) -> Option<u64> {
    let counts = to.reference.checked_sub(from.reference)?;
    (counts << 32).checked_div(to.counter.checked_sub(from.counter)?).filter(|&ratio| ratio != 0)
}

/// Counts per second of the timer; 0 until [`measure`].
pub(crate) fn hertz() -> u64 {
    counts(frequency(), COUNTS_PER_TICK.load(Ordering::Relaxed))
}

/// How many counts `ticks` of the time stamp counter are, rounded down.
fn counts(ticks: u64, ratio: u64) -> u64 {
    u64::try_from((u128::from(ticks) * u128::from(ratio)) >> 32).unwrap_or(u64::MAX)
}

/// What to let the timer count to be there in `ticks`, or as far as it reaches.
fn initial_count(ticks: u64, ratio: u64) -> u32 {
    u32::try_from(counts(ticks, ratio).saturating_add(1)).unwrap_or(u32::MAX)
}

/// The first tick at which `at`, a time since entry, has come by [`uptime`](super::uptime).
fn tick_of(at: Duration, hertz: u64) -> u64 {
    // A microsecond has come with its last tick; below 10^6 * 2 * 10^10 nothing overflows.
    let micros = u64::from(at.subsec_nanos().div_ceil(1000));
    at.as_secs().saturating_mul(hertz).saturating_add((micros * hertz).div_ceil(1_000_000))
}

/// Makes this CPU's timer ready. There is no alarm.
pub fn init_cpu() {
    clear_alarm();
}

/// Lets this CPU have an interrupt of its timer at `at`, a time since entry, or at once when that is over, in place of
/// the alarm that was set before. It needs interrupts to be ready on this CPU (`irqchip::init_cpu`).
pub fn set_alarm(at: Duration) {
    let due = tick_of(at, frequency()).min(NEVER - 1);
    let interrupts = Native.irq_save();
    DUE.get(&Native.pin()).store(due, Ordering::Relaxed);
    wind(due);
    Native.irq_restore(interrupts);
}

/// Takes this CPU's alarm back.
pub fn clear_alarm() {
    let interrupts = Native.irq_save();
    DUE.get(&Native.pin()).store(NEVER, Ordering::Relaxed);
    irqchip::set_timer(0);
    Native.irq_restore(interrupts);
}

/// Sets the timer for `due`, or as far ahead as it can.
fn wind(due: u64) {
    let ratio = COUNTS_PER_TICK.load(Ordering::Relaxed);
    irqchip::set_timer(initial_count(due.saturating_sub(ticks()), ratio));
}

/// The timer has interrupted: whether the alarm is due. If it is not yet, it is set again; if it is, it is over.
pub(crate) fn rang() -> bool {
    let pin = Native.pin();
    let alarm = DUE.get(&pin);
    let due = alarm.load(Ordering::Relaxed);
    if due == NEVER {
        return false;
    }
    if ticks() < due {
        wind(due);
        return false;
    }
    alarm.store(NEVER, Ordering::Relaxed);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(counter: u64, reference: u64) -> Moment {
        Moment { counter, uncertainty: 0, reference }
    }

    #[test]
    fn a_bus_of_100_mhz_beside_a_cpu_of_2_ghz() {
        let ratio = ratio(moment(500, 10), moment(2_000_500, 100_010)).unwrap();
        assert_eq!(ratio, (1 << 32) / 20);
        // A microsecond, rounded so that it is not early.
        assert_eq!(initial_count(2000, ratio), 100);
        // Longer than 32 bits reach.
        assert_eq!(initial_count(u64::MAX, ratio), u32::MAX);
        assert_eq!(initial_count(0, ratio), 1);
    }

    #[test]
    fn a_timer_that_stands_still_has_no_speed() {
        assert_eq!(ratio(moment(0, 5), moment(1000, 5)), None);
        assert_eq!(ratio(moment(0, 5), moment(0, 6)), None);
        assert_eq!(measure(|| 77), None);
    }

    #[test]
    fn an_alarm_is_not_early_by_the_clock() {
        let hertz = 2_999_999_999;
        for micros in [0, 1, 7, 999_999, 1_000_000, 86_400_000_001] {
            let tick = tick_of(Duration::from_micros(micros), hertz);
            let clock = |tick: u64| tick / hertz * 1_000_000 + tick % hertz * 1_000_000 / hertz;
            assert!(clock(tick) >= micros, "{micros}");
            assert!(tick == 0 || clock(tick - 1) < micros, "{micros}");
        }
        assert_eq!(tick_of(Duration::from_nanos(1), 1_000_000_000), 1000);
        assert_eq!(tick_of(Duration::MAX, hertz), u64::MAX);
    }
}
