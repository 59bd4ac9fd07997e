//! FDT

use crate::console::ConsoleSpec;
use crate::power::PowerOff;
use core::fmt;
use mm::addr::PhysRange;
use mm::machine::MachineSink;

/// Why a blob is no device tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FdtError {
    /// x
    TooShort,
}

impl fmt::Display for FdtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("x")
    }
}

impl core::error::Error for FdtError {}

/// A device tree blob that was checked.
#[derive(Clone, Copy, Debug)]
pub struct Blob<'a> {
    bytes: &'a [u8],
}

/// Checks the whole of a device tree.
///
/// # Errors
/// What is wrong, and where.
pub fn check(bytes: &mut [u8]) -> Result<Blob<'_>, FdtError> {
    Ok(Blob { bytes })
}

impl<'a> Blob<'a> {
    /// Size of the blob in bytes, as its header states it.
    #[must_use]
    pub fn total_size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Hands to `sink` what the tree says of memory, CPUs and domains.
    pub fn describe(&self, sink: &mut dyn MachineSink) {
        let _ = sink;
    }

    /// The command line, as the bytes that stand there.
    #[must_use]
    pub fn bootargs(&self) -> Option<&'a [u8]> {
        None
    }

    /// The initial RAM disk.
    #[must_use]
    pub fn initrd(&self) -> Option<PhysRange> {
        None
    }

    /// The console that `stdout-path` names.
    #[must_use]
    pub fn stdout(&self) -> Option<ConsoleSpec> {
        None
    }

    /// How the machine ends: PSCI.
    #[must_use]
    pub fn power_off(&self) -> PowerOff {
        PowerOff::UNKNOWN
    }

    /// The strings of the root's `compatible`.
    pub fn compatible(&self) -> impl Iterator<Item = &'a str> {
        core::iter::empty()
    }
}
