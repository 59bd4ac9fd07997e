//! Time since boot, by the virtual counter: every ARMv8-A CPU has it, it never stops, and its frequency stands in
//! CNTFRQ_EL0, where the firmware put it. Linux: `drivers/clocksource/arm_arch_timer.c`.

use aarch64_cpu::asm::barrier;
use aarch64_cpu::registers::{CNTFRQ_EL0, CNTVCT_EL0, Readable};
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

/// The counter when the kernel was entered.
static START: AtomicU64 = AtomicU64::new(0);
/// Ticks per second; 0 until [`init`].
static FREQUENCY: AtomicU64 = AtomicU64::new(0);

/// What frequency to believe where the firmware left CNTFRQ_EL0 empty: boards of that kind mostly have this one. Time
/// stamps are then wrong by a factor, and nothing else.
const DEFAULT_HERTZ: u64 = 24_000_000;

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
    CNTVCT_EL0.get()
}
