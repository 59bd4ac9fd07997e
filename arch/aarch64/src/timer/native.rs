//! The counter and the alarm of the CPU that asks.

use super::ticks::{ticks_at, unwrapped};
use crate::cpu::{Remedies, needs};
use aarch64_cpu::asm::barrier;
use aarch64_cpu::registers::{CNTFRQ_EL0, CNTV_CTL_EL0, CNTV_CVAL_EL0, CNTVCT_EL0, Readable, Writeable};
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

/// The counter when the kernel was entered.
static START: AtomicU64 = AtomicU64::new(0);
/// Ticks per second; 0 until [`init`].
static FREQUENCY: AtomicU64 = AtomicU64::new(0);

/// What frequency to believe where the firmware left CNTFRQ_EL0 empty: boards of that kind mostly have this one. Time
/// stamps are then wrong by a factor, and nothing else.
const DEFAULT_HERTZ: u64 = 24_000_000;

/// The number of the virtual timer's interrupt where the firmware does not say: what Arm recommends.
pub(crate) const USUAL_INTERRUPT: u32 = 27;

/// The clock is zero at the counter's value `entry`.
pub(crate) fn begin(entry: u64) {
    START.store(entry, Ordering::Relaxed);
}

/// Learns the counter's frequency, from when on there is a time.
pub fn init() {
    let hertz = CNTFRQ_EL0.get() & 0xffff_ffff;
    FREQUENCY.store(if hertz == 0 { DEFAULT_HERTZ } else { hertz }, Ordering::Relaxed);
}

/// Time since the kernel was entered; zero before [`init`].
#[must_use]
pub fn uptime() -> Duration {
    let hertz = frequency();
    if hertz == 0 {
        return Duration::ZERO;
    }
    let ticks = ticks();
    // The remainder is less than 2^32, so that its nanoseconds fit.
    Duration::from_secs(ticks / hertz).saturating_add(Duration::from_nanos(ticks % hertz * 1_000_000_000 / hertz))
}

/// Ticks of the counter since the kernel was entered.
#[must_use]
pub fn ticks() -> u64 {
    counter().wrapping_sub(START.load(Ordering::Relaxed))
}

/// Ticks per second; zero before [`init`].
#[must_use]
pub fn frequency() -> u64 {
    FREQUENCY.load(Ordering::Relaxed)
}

fn counter() -> u64 {
    // Without it the counter may be read ahead of what it shall time.
    barrier::isb(barrier::SY);
    let count = CNTVCT_EL0.get();
    if needs(Remedies::READ_COUNTER_TWICE) { unwrapped(count, CNTVCT_EL0.get()) } else { count }
}

/// Makes this CPU's timer interrupt once, as soon as [`uptime`] has reached `at`; at once when it has already. Takes
/// the place of the alarm that was set before.
pub fn set_alarm(at: Duration) {
    CNTV_CVAL_EL0.set(START.load(Ordering::Relaxed).wrapping_add(ticks_at(at, frequency())));
    CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::SET);
    barrier::isb(barrier::SY);
}

/// Takes this CPU's alarm back.
pub fn clear_alarm() {
    CNTV_CTL_EL0.set(0);
    barrier::isb(barrier::SY);
}

/// Silences this CPU's timer, which may have been left in any state. Every CPU, on itself.
pub fn init_cpu() {
    clear_alarm();
}
