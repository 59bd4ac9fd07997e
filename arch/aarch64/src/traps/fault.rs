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
pub enum FaultKind {
    /// Nothing is mapped there.
    NotMapped,
    /// What is mapped there does not allow it.
    NotPermitted,
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
    pub kind: FaultKind,
}

/// `write to 0xffff000000000000: nothing is mapped there`
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access = match self.access {
            FaultAccess::Read => "read of",
            FaultAccess::Write => "write to",
            FaultAccess::Execute => "jump to",
        };
        let kind = match self.kind {
            FaultKind::NotMapped => "nothing is mapped there",
            FaultKind::NotPermitted => "what is mapped there does not allow it",
            FaultKind::Bus => "a bus error was the answer",
            FaultKind::Misaligned => "the address is misaligned",
            FaultKind::Other => "it did not go",
        };
        write!(f, "{access} {:#018x}: {kind}", self.address)
    }
}

impl core::error::Error for Fault {}
