//! What went wrong with an access to memory.

use core::fmt;
use mm::addr::VirtAddr;

/// Bits of a page fault's error code.
pub(super) const PRESENT: u64 = 1 << 0;
pub(super) const WRITE: u64 = 1 << 1;
pub(super) const RESERVED_BIT: u64 = 1 << 3;
pub(super) const INSTRUCTION: u64 = 1 << 4;

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
    /// It is no address: bits 63 to 47 differ.
    NonCanonical,
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

impl Fault {
    /// What a page fault's error code says of an access to `address`.
    pub(super) const fn decode(address: VirtAddr, error: u64) -> Self {
        let access = if error & INSTRUCTION != 0 {
            FaultAccess::Execute
        } else if error & WRITE != 0 {
            FaultAccess::Write
        } else {
            FaultAccess::Read
        };
        let kind = if error & RESERVED_BIT != 0 {
            FaultKind::ReservedBit
        } else if error & PRESENT != 0 {
            FaultKind::NotPermitted
        } else {
            FaultKind::NotMapped
        };
        Self { address, access, kind }
    }
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
        };
        write!(f, "{access} {:#018x}: {kind}", self.address)
    }
}

impl core::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(error: u64) -> (FaultAccess, FaultKind) {
        let fault = Fault::decode(VirtAddr::new(0x1000), error);
        (fault.access, fault.kind)
    }

    #[test]
    fn error_codes_of_the_manual() {
        assert_eq!(decode(0x00), (FaultAccess::Read, FaultKind::NotMapped));
        assert_eq!(decode(0x02), (FaultAccess::Write, FaultKind::NotMapped));
        assert_eq!(decode(0x03), (FaultAccess::Write, FaultKind::NotPermitted));
        assert_eq!(decode(0x11), (FaultAccess::Execute, FaultKind::NotPermitted));
        assert_eq!(decode(0x09), (FaultAccess::Read, FaultKind::ReservedBit));
    }
}
