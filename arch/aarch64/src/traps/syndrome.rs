//! ESR_EL1 in words: the class of an exception, and what the class says further. Linux: `asm/esr.h`,
//! `arch/arm64/kernel/traps.c` (`esr_class_str`), `mm/fault.c` (`fault_info`).

use core::fmt;
use mm::paging::fault::{FaultAccess, FaultKind};

/// The value of ESR_EL1 of a synchronous exception or an SError.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Syndrome(pub(crate) u64);

/// The classes that are told apart here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Undefined,
    FloatingPoint,
    IllegalState,
    Call,
    SystemRegister,
    InstructionAbort,
    PcAlignment,
    DataAbort,
    SpAlignment,
    SystemError,
    Breakpoint,
    Other,
}

impl Syndrome {
    pub(crate) fn class(self) -> Class {
        match self.0 >> 26 & 0x3f {
            0x00 => Class::Undefined,
            0x07 | 0x19 | 0x2c => Class::FloatingPoint,
            0x0e => Class::IllegalState,
            0x15..=0x17 => Class::Call,
            0x18 => Class::SystemRegister,
            0x20 | 0x21 => Class::InstructionAbort,
            0x22 => Class::PcAlignment,
            0x24 | 0x25 => Class::DataAbort,
            0x26 => Class::SpAlignment,
            0x2f => Class::SystemError,
            0x30..=0x35 | 0x3c => Class::Breakpoint,
            _ => Class::Other,
        }
    }

    /// Of an abort: what was tried. Maintenance of a cache line says "write" and is not one.
    pub(crate) fn access(self) -> FaultAccess {
        const CACHE_MAINTENANCE: u64 = 1 << 8;
        const WRITE: u64 = 1 << 6;
        match self.class() {
            Class::InstructionAbort | Class::PcAlignment => FaultAccess::Execute,
            _ if self.0 & (CACHE_MAINTENANCE | WRITE) == WRITE => FaultAccess::Write,
            _ => FaultAccess::Read,
        }
    }

    /// Of an abort: why.
    pub(crate) fn kind(self) -> FaultKind {
        if matches!(self.class(), Class::PcAlignment | Class::SpAlignment) {
            return FaultKind::Misaligned;
        }
        match self.0 & 0x3f {
            0x04..=0x07 => FaultKind::NotMapped,
            0x0c..=0x0f => FaultKind::NotPermitted,
            0x10 | 0x13..=0x18 | 0x1b..=0x1f => FaultKind::Bus,
            0x21 => FaultKind::Misaligned,
            _ => FaultKind::Other,
        }
    }

    /// Of an abort: whether FAR_EL1 holds its address.
    pub(crate) fn has_address(self) -> bool {
        const FAR_NOT_VALID: u64 = 1 << 10;
        match self.class() {
            Class::InstructionAbort | Class::DataAbort => self.0 & FAR_NOT_VALID == 0,
            class => class == Class::PcAlignment,
        }
    }

    /// The class in words.
    pub(crate) fn name(self) -> &'static str {
        match self.class() {
            Class::Undefined => "undefined instruction",
            Class::FloatingPoint => "floating-point instruction",
            Class::IllegalState => "illegal execution state",
            Class::Call => "call to a higher level",
            Class::SystemRegister => "access to a system register",
            Class::InstructionAbort => "instruction abort",
            Class::PcAlignment => "misaligned program counter",
            Class::DataAbort => "data abort",
            Class::SpAlignment => "misaligned stack pointer",
            Class::SystemError => "system error (SError)",
            Class::Breakpoint => "breakpoint",
            Class::Other => "exception of an unknown class",
        }
    }

    /// The fault status of an abort in words, without its level.
    fn status(self) -> &'static str {
        match self.0 & 0x3f {
            0x00..=0x03 => "address size fault",
            0x04..=0x07 => "translation fault",
            0x08..=0x0b => "access flag fault",
            0x0c..=0x0f => "permission fault",
            0x10 => "external abort",
            0x14..=0x17 => "external abort on a table walk",
            0x18 => "memory error (parity or ECC)",
            0x1c..=0x1f => "memory error (parity or ECC) on a table walk",
            0x21 => "alignment fault",
            0x30 => "TLB conflict",
            0x35 => "unsupported exclusive or atomic access",
            _ => "fault of an unknown status",
        }
    }

    /// The level of the table entry that an abort stopped at, counted down as the Arm manual does: 3 holds pages.
    fn level(self) -> Option<u64> {
        match self.0 & 0x3f {
            status @ (0x00..=0x0f | 0x14..=0x17 | 0x1c..=0x1f) => Some(status & 3),
            _ => None,
        }
    }
}

/// `data abort, translation fault at level 3, write`
impl fmt::Display for Syndrome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self.class() {
            Class::InstructionAbort | Class::DataAbort => {
                write!(f, ", {}", self.status())?;
                if let Some(level) = self.level() {
                    write!(f, " at level {level}")?;
                }
                f.write_str(match self.access() {
                    FaultAccess::Read => ", read",
                    FaultAccess::Write => ", write",
                    FaultAccess::Execute => "",
                })
            }
            Class::Breakpoint | Class::Call => write!(f, ", immediate {:#x}", self.0 & 0xffff),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    // Values that QEMU's CPUs gave, and what was done to get them.
    #[test]
    fn syndromes_of_known_faults() {
        let store_to_nothing = Syndrome(0x9600_0044);
        assert_eq!(store_to_nothing.to_string(), "data abort, translation fault at level 0, write");
        assert_eq!((store_to_nothing.access(), store_to_nothing.kind()), (FaultAccess::Write, FaultKind::NotMapped));
        let store_to_text = Syndrome(0x9600_004f);
        assert_eq!((store_to_text.access(), store_to_text.kind()), (FaultAccess::Write, FaultKind::NotPermitted));
        let load_from_no_device = Syndrome(0x9600_0010);
        assert_eq!(load_from_no_device.to_string(), "data abort, external abort, read");
        assert_eq!(load_from_no_device.kind(), FaultKind::Bus);
        let jump_into_data = Syndrome(0x8600_000f);
        assert_eq!(jump_into_data.to_string(), "instruction abort, permission fault at level 3");
        assert_eq!((jump_into_data.access(), jump_into_data.kind()), (FaultAccess::Execute, FaultKind::NotPermitted));
        assert_eq!(Syndrome(0xf200_0005).to_string(), "breakpoint, immediate 0x5");
        assert_eq!(Syndrome(0x0200_0000).to_string(), "undefined instruction");
        assert_eq!(Syndrome(0x1fe0_0000).to_string(), "floating-point instruction");
    }

    #[test]
    fn cache_maintenance_is_no_write_and_an_invalid_far_is_no_address() {
        assert_eq!(Syndrome(0x9600_0144).access(), FaultAccess::Read);
        assert!(Syndrome(0x9600_0010).has_address());
        assert!(!Syndrome(0x9600_0410).has_address());
        assert!(!Syndrome(0x0200_0000).has_address());
    }
}
