//! The log keeps what was said last, however much was said.

use super::case::{Failure, Test, fail};
use crate::log::Ring;
use crate::system::System;

pub(super) const TESTS: &[Test] =
    &[Test { name: "the log's ring holds the newest text, oldest first", run: ring_keeps_the_newest }];

fn ring_keeps_the_newest(_: &System) -> Result<(), Failure> {
    const TEXT: &str = "abcdefghijklmnopqrstuvwxyz";
    // Below, at and above the ring's size, and once more around.
    for length in 0..TEXT.len() {
        let mut ring = Ring::<8>::new();
        let (text, _) = TEXT.split_at(length);
        ring.push(text);
        let (older, newer) = ring.pieces();
        let expected = text.as_bytes().iter().skip(length.saturating_sub(8));
        if !older.iter().chain(newer).eq(expected) {
            fail!("after {length} bytes a ring of 8 has {} and {} bytes", older.len(), newer.len());
        }
    }
    Ok(())
}
