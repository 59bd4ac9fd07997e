//! What a test is, and how it says why it failed.

use crate::system::System;
use arrayvec::ArrayString;
use core::fmt::{self, Write};

/// A test by its name.
pub(super) struct Test {
    pub(super) name: &'static str,
    pub(super) run: fn(&System) -> Result<(), Failure>,
}

/// Why a test failed, in words.
pub(super) struct Failure(pub(super) ArrayString<112>);

impl Failure {
    pub(super) fn new(reason: fmt::Arguments<'_>) -> Self {
        let mut text = ArrayString::new();
        // What does not fit is cut.
        let _ = text.write_fmt(reason);
        Self(text)
    }
}

/// Ends a test with a reason.
macro_rules! fail {
    ($($reason:tt)*) => { return Err($crate::selftest::case::Failure::new(format_args!($($reason)*))) };
}
pub(super) use fail;
