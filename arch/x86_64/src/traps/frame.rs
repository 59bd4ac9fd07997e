//! What the CPU was doing when it trapped: every register, and what the error code says.

use super::tables::guard_of;
use core::fmt;
use mm::addr::VirtAddr;

/// Exceptions by vector; the other numbers below 32 are reserved.
const NAMES: [&str; 32] = [
    "divide error",
    "debug exception",
    "non-maskable interrupt",
    "breakpoint",
    "overflow",
    "bound range exceeded",
    "invalid opcode",
    "device not available",
    "double fault",
    "coprocessor segment overrun",
    "invalid TSS",
    "segment not present",
    "stack fault",
    "general protection fault",
    "page fault",
    "reserved exception 15",
    "x87 floating-point error",
    "alignment check",
    "machine check",
    "SIMD floating-point error",
    "virtualization exception",
    "control protection exception",
    "reserved exception 22",
    "reserved exception 23",
    "reserved exception 24",
    "reserved exception 25",
    "reserved exception 26",
    "reserved exception 27",
    "hypervisor injection exception",
    "VMM communication exception",
    "security exception",
    "reserved exception 31",
];

pub(super) const DOUBLE_FAULT: u64 = 8;
pub(super) const GENERAL_PROTECTION: u64 = 13;
pub(super) const PAGE_FAULT: u64 = 14;

/// Bits of a page fault's error code.
pub(super) const PRESENT: u64 = 1 << 0;
pub(super) const WRITE: u64 = 1 << 1;
pub(super) const RESERVED_BIT: u64 = 1 << 3;
pub(super) const INSTRUCTION: u64 = 1 << 4;

/// What an access wanted to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultAccess {
    /// Read data.
    Read,
    /// Write data.
    Write,
    /// Fetch an instruction.
    Execute,
}

/// Why an access failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultReason {
    /// Nothing is mapped there.
    NotMapped,
    /// What is mapped there does not allow it.
    Protection,
    /// An entry on the way has a bit that must be zero.
    ReservedBit,
    /// It is no address: bits 63 to 47 differ.
    NonCanonical,
}

/// An access that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The address that was accessed.
    pub address: VirtAddr,
    /// What was to be done.
    pub access: FaultAccess,
    /// Why it was not.
    pub reason: FaultReason,
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
        let reason = if error & RESERVED_BIT != 0 {
            FaultReason::ReservedBit
        } else if error & PRESENT != 0 {
            FaultReason::Protection
        } else {
            FaultReason::NotMapped
        };
        Self { address, access, reason }
    }
}

/// `write to 0xffffffff80204010: not allowed there`, one line without a newline.
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
            FaultReason::ReservedBit => "a table entry on the way has a reserved bit set",
            FaultReason::NonCanonical => "not a canonical address",
        };
        write!(f, "{access} {:#018x}: {reason}", self.address)
    }
}

impl core::error::Error for Fault {}

/// The registers at a trap, as stubs.s and the CPU push them.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct TrapFrame {
    pub(super) cr0: u64,
    pub(super) cr2: u64,
    pub(super) cr3: u64,
    pub(super) cr4: u64,
    pub(super) r15: u64,
    pub(super) r14: u64,
    pub(super) r13: u64,
    pub(super) r12: u64,
    pub(super) r11: u64,
    pub(super) r10: u64,
    pub(super) r9: u64,
    pub(super) r8: u64,
    pub(super) rbp: u64,
    pub(super) rdi: u64,
    pub(super) rsi: u64,
    pub(super) rdx: u64,
    pub(super) rcx: u64,
    pub(super) rbx: u64,
    pub(super) rax: u64,
    pub(super) vector: u64,
    pub(super) error: u64,
    pub(super) rip: u64,
    pub(super) cs: u64,
    pub(super) rflags: u64,
    pub(super) rsp: u64,
    pub(super) ss: u64,
}

impl TrapFrame {
    /// The instruction that trapped.
    #[must_use]
    pub const fn pc(&self) -> VirtAddr {
        VirtAddr::new(self.rip)
    }

    /// RBP, where a backtrace begins.
    #[must_use]
    pub const fn frame_pointer(&self) -> VirtAddr {
        VirtAddr::new(self.rbp)
    }

    /// RSP.
    #[must_use]
    pub const fn stack_pointer(&self) -> VirtAddr {
        VirtAddr::new(self.rsp)
    }

    /// The access that failed, where the trap is about one. A stack that ran into its guard page arrives as a double
    /// fault, with the address of the push that failed.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        match self.vector {
            PAGE_FAULT => Some(Fault::decode(VirtAddr::new(self.cr2), self.error)),
            DOUBLE_FAULT if self.overflown_stack().is_some() => Some(Fault::decode(VirtAddr::new(self.cr2), WRITE)),
            _ => None,
        }
    }

    /// What kind of trap it is.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        if self.vector == DOUBLE_FAULT && self.overflown_stack().is_some() {
            return "kernel stack overflow";
        }
        usize::try_from(self.vector).ok().and_then(|vector| NAMES.get(vector).copied()).unwrap_or("unexpected interrupt")
    }

    /// The stack whose guard page the trap hit.
    fn overflown_stack(&self) -> Option<&'static str> {
        guard_of(VirtAddr::new(self.cr2))
    }
}

/// All registers, several lines without a newline at the end.
impl fmt::Display for TrapFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vector {} ({}), error code {:#x}", self.vector, self.cause(), self.error)?;
        match (self.vector, self.error) {
            (PAGE_FAULT, _) => {
                let bits = [(PRESENT, " present"), (WRITE, " write"), (1 << 2, " user"), (RESERVED_BIT, " reserved-bit")];
                let more = [(INSTRUCTION, " instruction"), (1 << 5, " protection-key"), (1 << 6, " shadow-stack")];
                for (_, name) in bits.into_iter().chain(more).filter(|(bit, _)| self.error & bit != 0) {
                    f.write_str(name)?;
                }
            }
            // The others' error codes name a segment selector, zero where none is to blame.
            (_, 0) => {}
            (10..=13, error) => {
                let table = ["GDT", "IDT", "LDT", "IDT"].get((error >> 1 & 3) as usize).unwrap_or(&"");
                write!(f, " ({table} entry {})", error >> 3 & 0x1fff)?;
            }
            _ => {}
        }
        if let Some(stack) = self.overflown_stack() {
            write!(f, "; CR2 lies in the guard page of the {stack} stack")?;
        }
        writeln!(f)?;
        writeln!(f, "rip {:016x}  cs {:04x}  rflags {:08x}", self.rip, self.cs, self.rflags)?;
        writeln!(f, "rsp {:016x}  ss {:04x}", self.rsp, self.ss)?;
        writeln!(f, "rax {:016x} rbx {:016x} rcx {:016x} rdx {:016x}", self.rax, self.rbx, self.rcx, self.rdx)?;
        writeln!(f, "rsi {:016x} rdi {:016x} rbp {:016x} r8  {:016x}", self.rsi, self.rdi, self.rbp, self.r8)?;
        writeln!(f, "r9  {:016x} r10 {:016x} r11 {:016x} r12 {:016x}", self.r9, self.r10, self.r11, self.r12)?;
        writeln!(f, "r13 {:016x} r14 {:016x} r15 {:016x}", self.r13, self.r14, self.r15)?;
        write!(f, "cr0 {:08x} cr2 {:016x} cr3 {:016x} cr4 {:08x}", self.cr0, self.cr2, self.cr3, self.cr4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(error: u64) -> (FaultAccess, FaultReason) {
        let fault = Fault::decode(VirtAddr::new(0x1000), error);
        (fault.access, fault.reason)
    }

    #[test]
    fn error_codes_of_the_manual() {
        assert_eq!(reason(0x00), (FaultAccess::Read, FaultReason::NotMapped));
        assert_eq!(reason(0x02), (FaultAccess::Write, FaultReason::NotMapped));
        assert_eq!(reason(0x03), (FaultAccess::Write, FaultReason::Protection));
        assert_eq!(reason(0x11), (FaultAccess::Execute, FaultReason::Protection));
        assert_eq!(reason(0x09), (FaultAccess::Read, FaultReason::ReservedBit));
    }

    #[test]
    fn the_frame_is_what_the_stubs_push() {
        // 5 words by the CPU, error code and vector, 15 registers, 4 control registers.
        assert_eq!(size_of::<TrapFrame>(), (5 + 2 + 15 + 4) * 8);
        assert_eq!(core::mem::offset_of!(TrapFrame, vector), (4 + 15) * 8);
    }
}
