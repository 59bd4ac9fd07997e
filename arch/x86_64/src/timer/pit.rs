//! The interval timer (8254), channel 2: a 16-bit counter at 1.193182 MHz that runs down without an interrupt.
//!
//! Both clocks are read around the edges of its ticks: under `-icount`, where a reading takes nanoseconds, 0.2 ms are
//! enough to be right to a part in a thousand; where each reading takes microseconds, the interval grows until it is
//! long enough or 5 ms have passed. A reading during which somebody else had the CPU is not used. The loops count their
//! turns, so a timer that is not there costs a bounded time. Linux: `quick_pit_calibrate` in `kernel/tsc.c`.

use super::{Moment, PRECISE, ROUGH, counter, hertz_between, known_to};
use crate::port;

const HERTZ: u64 = 1_193_182;
/// The shortest and the longest interval, in ticks of this timer: 0.2 ms and 5 ms.
const SHORTEST: u64 = 240;
const LONGEST: u64 = 5966;
/// How often the same count may be read before the timer is taken for absent. A tick lasts 0.84 µs, a turn of the loop
/// at least 10 instructions.
const STUCK: u32 = 2000;
/// Turns of an idle loop between two looks at the timer, which may be slow to read.
const IDLE: u32 = 500;
/// Looks after which nothing comes any more.
const LOOKS: u32 = 4096;

const CHANNEL_2: u16 = 0x42;
const COMMAND: u16 = 0x43;
const LATCH_CHANNEL_2: u8 = 0x80;
/// Channel 2, low byte then high byte, mode 0 (count down once), binary.
const COUNT_DOWN: u8 = 0xb0;
/// The port whose bit 0 lets channel 2 count, and whose bit 1 connects it to the loudspeaker.
const GATE: u16 = 0x61;
const START_COUNT: u16 = 0xffff;

/// Ticks per second of the time stamp counter; `None` when no timer answers.
pub(super) fn compare() -> Option<u64> {
    start();
    let mut from = next_edge()?;
    let mut to = from;
    for _ in 0..LOOKS {
        let elapsed = to.reference.checked_sub(from.reference)?;
        let parts = if elapsed >= LONGEST { ROUGH } else { PRECISE };
        if elapsed >= SHORTEST && known_to(parts, from, to) {
            return hertz_between(from, to, HERTZ);
        }
        if from.is_spoilt(to) {
            from = to;
        }
        for turn in 0..IDLE {
            core::hint::black_box(turn);
        }
        to = next_edge()?;
    }
    None
}

/// Lets channel 2 count down from its greatest count, silently.
fn start() {
    let [low, high] = START_COUNT.to_le_bytes();
    // SAFETY: these ports belong to the interval timer and the loudspeaker's gate, which touch no memory; where there
    // is none, nobody answers.
    unsafe {
        port::write_u8(GATE, port::read_u8(GATE) & 0xfc | 1);
        port::write_u8(COMMAND, COUNT_DOWN);
        port::write_u8(CHANNEL_2, low);
        port::write_u8(CHANNEL_2, high);
    }
}

/// Ticks since [`start`], and the time stamp counter before and after it was asked.
fn look() -> (u64, u64, u64) {
    // SAFETY: as in `start`.
    unsafe {
        let before = counter();
        port::write_u8(COMMAND, LATCH_CHANNEL_2);
        let after = counter();
        let count = u16::from_le_bytes([port::read_u8(CHANNEL_2), port::read_u8(CHANNEL_2)]);
        (u64::from(START_COUNT.wrapping_sub(count)), before, after)
    }
}

/// The next change of the count.
fn next_edge() -> Option<Moment> {
    let (first, mut earliest, _) = look();
    for _ in 0..STUCK {
        let (reference, before, after) = look();
        if reference != first {
            let uncertainty = after.checked_sub(earliest)? / 2;
            return Some(Moment { counter: earliest.checked_add(uncertainty)?, uncertainty, reference });
        }
        earliest = before;
    }
    None
}
