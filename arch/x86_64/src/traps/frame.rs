//! What the CPU was doing when it trapped: every register, and what the error code says.

use super::fault::{self, INSTRUCTION, PRESENT, RESERVED_BIT, WRITE};
use crate::{cpu, entry};
use core::fmt;
use mm::addr::VirtAddr;
use mm::paging::fault::Fault;

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
            PAGE_FAULT => Some(fault::decode(VirtAddr::new(self.cr2), self.error)),
            DOUBLE_FAULT if self.overflows_stack() => Some(fault::decode(VirtAddr::new(self.cr2), WRITE)),
            _ => None,
        }
    }

    /// What kind of trap it is.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        if self.overflows_stack() {
            return "stack overflow";
        }
        usize::try_from(self.vector)
            .ok()
            .and_then(|vector| NAMES.get(vector).copied())
            .unwrap_or("unexpected interrupt")
    }

    /// Whether the access that failed went into the page below a stack.
    fn overflows_stack(&self) -> bool {
        let address = VirtAddr::new(self.cr2);
        matches!(self.vector, PAGE_FAULT | DOUBLE_FAULT)
            && entry::guard_pages().into_iter().chain(cpu::stack_guards()).any(|guard| guard.contains(address))
    }
}

/// All registers, several lines without a newline at the end.
impl fmt::Display for TrapFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vector {} ({}), error code {:#x}", self.vector, self.cause(), self.error)?;
        match (self.vector, self.error) {
            (PAGE_FAULT, _) => {
                let bits =
                    [(PRESENT, " present"), (WRITE, " write"), (1 << 2, " user"), (RESERVED_BIT, " reserved-bit")];
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

    #[test]
    fn the_frame_is_what_the_stubs_push() {
        // 5 words by the CPU, error code and vector, 15 registers, 4 control registers.
        assert_eq!(size_of::<TrapFrame>(), (5 + 2 + 15 + 4) * 8);
        assert_eq!(core::mem::offset_of!(TrapFrame, vector), (4 + 15) * 8);
    }
}
