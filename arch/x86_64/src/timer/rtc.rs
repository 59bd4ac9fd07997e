//! The real-time clock (MC146818): its periodic flag comes 8192 times a second, whoever looks.
//!
//! Used where the interval timer is left out. The flag would also raise an interrupt, which stays masked; afterwards
//! the clock is as it was. An emulator may deliver the flag late, so the interval is long: 64 flags, 8 ms.

use super::{Moment, counter, hertz_between};
use crate::port;

const HERTZ: u64 = 8192;
const FLAGS: u64 = 64;
/// Looks without a flag after which the clock is taken for absent.
const STUCK: u32 = 20_000;

const INDEX: u16 = 0x70;
const DATA: u16 = 0x71;
/// Register A: the rate in the low 4 bits; the divider above must be 2 for the clock to run.
const REGISTER_A: u8 = 0x0a;
const RATE_8192: u8 = 0x23;
const REGISTER_B: u8 = 0x0b;
const PERIODIC: u8 = 0x40;
/// Register C: reading it clears the flags.
const REGISTER_C: u8 = 0x0c;

fn read(register: u8) -> u8 {
    // SAFETY: the clock's ports touch no memory. Bit 7 of the index stays clear, which leaves NMI enabled.
    unsafe {
        port::write_u8(INDEX, register);
        port::read_u8(DATA)
    }
}

fn write(register: u8, value: u8) {
    // SAFETY: as in `read`.
    unsafe {
        port::write_u8(INDEX, register);
        port::write_u8(DATA, value);
    }
}

/// Ticks per second of the time stamp counter; `None` when no clock answers.
pub(super) fn compare() -> Option<u64> {
    let (rate, control) = (read(REGISTER_A), read(REGISTER_B));
    if rate == 0xff && control == 0xff {
        return None;
    }
    write(REGISTER_A, RATE_8192);
    write(REGISTER_B, control | PERIODIC);
    let hertz = measure();
    write(REGISTER_B, control);
    write(REGISTER_A, rate & 0x7f);
    let _ = read(REGISTER_C);
    hertz
}

fn measure() -> Option<u64> {
    let _ = read(REGISTER_C);
    let from = next_flag(0)?;
    let mut to = from;
    for reference in 1..=FLAGS {
        to = next_flag(reference)?;
    }
    hertz_between(from, to, HERTZ)
}

fn next_flag(reference: u64) -> Option<Moment> {
    (0..STUCK).find(|_| read(REGISTER_C) & PERIODIC != 0).map(|_| Moment {
        counter: counter(),
        uncertainty: 0,
        reference,
    })
}
