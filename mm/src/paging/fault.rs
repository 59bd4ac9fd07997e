//! An access to memory that did not go: what a trap reports, and what a careful access returns.
//!
//! The arch decodes its own syndrome into this; [`walk`](super::walk) shows what the tables say of the address.

use crate::addr::VirtAddr;
use core::fmt;

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
    /// A table entry on the way has a bit that must be zero.
    ReservedBit,
    /// It is no address: the bits above those that are translated differ.
    NonCanonical,
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

/// `write to 0xffff888000000000: nothing is mapped there`
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access = match self.access {
            FaultAccess::Read => "read of",
            FaultAccess::Write => "write to",
            FaultAccess::Execute => "jump to",
        };
        let kind = match self.kind {
            FaultKind::NotMapped => "nothing is mapped there",
            FaultKind::NotPermitted => "the mapping does not allow it",
            FaultKind::ReservedBit => "a table entry on the way has a reserved bit set",
            FaultKind::NonCanonical => "it is no address",
            FaultKind::Bus => "a bus error was the answer",
            FaultKind::Misaligned => "the address is misaligned",
            FaultKind::Other => "it did not go",
        };
        write!(f, "{access} {:#018x}: {kind}", self.address)
    }
}

impl core::error::Error for Fault {}
