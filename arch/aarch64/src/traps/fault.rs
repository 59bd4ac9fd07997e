//! What went wrong with an access to memory.

use core::fmt;
use mm::addr::VirtAddr;

/// What was tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultAccess {
    /// To read.
    Read,
    /// To write.
    Write,
    /// To execute.
    Execute,
}

/// Why it did not go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultReason {
    /// Nothing is mapped there.
    NotMapped,
    /// What is mapped there does not allow it.
    Protection,
    /// It is mapped, but what answers there reported an error, or nothing answers.
    Bus,
    /// The address is not aligned as the access needs.
    Misaligned,
    /// Something else.
    Other,
}

/// An access that did not go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Where to.
    pub address: VirtAddr,
    /// What was tried.
    pub access: FaultAccess,
    /// Why it did not go.
    pub reason: FaultReason,
}

/// `write to 0xffff000000000000: nothing is mapped there`
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access = match self.access {
            FaultAccess::Read => "read from",
            FaultAccess::Write => "write to",
            FaultAccess::Execute => "execution at",
        };
        let reason = match self.reason {
            FaultReason::NotMapped => "nothing is mapped there",
            FaultReason::Protection => "what is mapped there does not allow it",
            FaultReason::Bus => "a bus error was the answer",
            FaultReason::Misaligned => "the address is misaligned",
            FaultReason::Other => "it did not go",
        };
        write!(f, "{access} {:#018x}: {reason}", self.address)
    }
}

impl core::error::Error for Fault {}
