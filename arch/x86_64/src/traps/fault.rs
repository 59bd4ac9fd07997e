//! What a page fault's error code says.

use mm::addr::VirtAddr;
use mm::paging::fault::{Fault, FaultAccess, FaultKind};

/// Bits of a page fault's error code.
pub(super) const PRESENT: u64 = 1 << 0;
pub(super) const WRITE: u64 = 1 << 1;
pub(super) const RESERVED_BIT: u64 = 1 << 3;
pub(super) const INSTRUCTION: u64 = 1 << 4;

/// What a page fault's error code says of an access to `address`.
pub(super) const fn decode(address: VirtAddr, error: u64) -> Fault {
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
    Fault { address, access, kind }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(error: u64) -> (FaultAccess, FaultKind) {
        let fault = super::decode(VirtAddr::new(0x1000), error);
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
