//! The registers of interrupted code, as the vectors save them, and what they tell.

use super::syndrome::{Class, Syndrome};
use crate::cpu;
use aarch64_cpu::registers::{Readable, SP_EL0};
use core::fmt;
use mm::addr::VirtAddr;
use mm::layout::VirtRange;
use mm::paging::fault::Fault;

/// All registers of the interrupted code. The vectors write and read it: the order is theirs.
#[repr(C, align(16))]
pub struct TrapFrame {
    pub(super) x: [u64; 31],
    pub(super) sp: u64,
    pub(super) elr: u64,
    pub(super) spsr: u64,
    pub(super) esr: u64,
    pub(super) far: u64,
    /// Which vector, from 0: four kinds for each of EL1 on SP_EL0, EL1 on SP_EL1, and two for EL0.
    pub(super) vector: u64,
    padding: u64,
}

/// What a vector is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum VectorKind {
    Synchronous,
    Interrupt,
    FastInterrupt,
    SystemError,
}

impl TrapFrame {
    /// Vectors 0 to 3: the interrupted code ran on SP_EL0, which the vectors do not know.
    fn on_sp_el0(&self) -> bool {
        self.vector < 4
    }

    /// Vectors 4 to 7: the interrupted code was the kernel, as it always runs.
    pub(super) fn in_kernel(&self) -> bool {
        (4..8).contains(&self.vector)
    }

    /// Whether the frame lies on the overflow stack, as the interrupted one had no room for it.
    pub(super) fn on_overflow_stack(&self) -> bool {
        let end = (&raw const *self).addr() + size_of::<Self>();
        self.in_kernel() && self.sp != end as u64
    }

    /// Puts the interrupted stack pointer into the frame where the vectors saved another.
    pub(super) fn find_stack_pointer(&mut self) {
        if self.on_sp_el0() {
            self.sp = SP_EL0.get();
        }
    }

    pub(super) fn kind(&self) -> VectorKind {
        match self.vector & 3 {
            0 => VectorKind::Synchronous,
            1 => VectorKind::Interrupt,
            2 => VectorKind::FastInterrupt,
            _ => VectorKind::SystemError,
        }
    }

    /// What ESR_EL1 says, for those exceptions that set it.
    pub(super) fn syndrome(&self) -> Option<Syndrome> {
        matches!(self.kind(), VectorKind::Synchronous | VectorKind::SystemError).then_some(Syndrome(self.esr))
    }

    /// The interrupted instruction.
    #[must_use]
    pub fn pc(&self) -> VirtAddr {
        VirtAddr::new(self.elr)
    }

    /// The interrupted stack pointer.
    #[must_use]
    pub fn stack_pointer(&self) -> VirtAddr {
        VirtAddr::new(self.sp)
    }

    /// Where the interrupted function's frame record lies: the caller's frame pointer and return address.
    #[must_use]
    pub fn frame_pointer(&self) -> VirtAddr {
        let [.., frame_pointer, _] = self.x;
        VirtAddr::new(frame_pointer)
    }

    /// The access that caused it, if one did.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        let syndrome = self.syndrome()?;
        let address = VirtAddr::new(self.far);
        syndrome.has_address().then(|| Fault { address, access: syndrome.access(), kind: syndrome.kind() })
    }

    /// What happened, in a few words.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match (self.kind(), self.syndrome()) {
            _ if self.vector >= 8 => "exception from EL0, where nothing runs",
            (VectorKind::Interrupt, _) if self.on_overflow_stack() => "kernel stack overflow, found by an interrupt",
            (VectorKind::Interrupt, _) => "unexpected interrupt (IRQ)",
            (VectorKind::FastInterrupt, _) => "unexpected interrupt (FIQ)",
            _ if self.overflows_stack() => "kernel stack overflow",
            (_, Some(syndrome)) => syndrome.name(),
            _ => "exception",
        }
    }

    /// Whether the access went into the page below a stack of this CPU.
    fn overflows_stack(&self) -> bool {
        let data_abort = self.syndrome().is_some_and(|syndrome| syndrome.class() == Class::DataAbort);
        let address = VirtAddr::new(self.far);
        data_abort && cpu::stack_guards().iter().any(|guard: &VirtRange| guard.contains(address))
    }
}

/// A full register dump, several lines without a newline at the end.
impl fmt::Display for TrapFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [.., lr] = self.x;
        writeln!(f, "pc  {:016x}  lr  {lr:016x}  sp  {:016x}  pstate {}", self.elr, self.sp, PState(self.spsr))?;
        for (number, value) in self.x.iter().enumerate() {
            let end = match number {
                30 => "",
                _ if number % 4 == 3 => "\n",
                _ => "  ",
            };
            // `x0  ` and `x10 `: the columns stand below each other.
            let gap = if number < 10 { "  " } else { " " };
            write!(f, "x{number}{gap}{value:016x}{end}")?;
        }
        if self.on_sp_el0() {
            f.write_str("  on SP_EL0")?;
        }
        match self.syndrome() {
            Some(syndrome) => {
                write!(f, "\nesr {:#010x}: {syndrome}", self.esr)?;
                // Other exceptions leave the register as it was.
                if syndrome.has_address() { write!(f, "\nfar {:016x}", self.far) } else { Ok(()) }
            }
            None => write!(f, "\n{}", self.cause()),
        }
    }
}

impl fmt::Debug for TrapFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `600003c5 nZCv DAIF EL1h`: capital letters for flags and masks that are set.
struct PState(u64);

impl fmt::Display for PState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = |bits: [(u32, char, char); 4]| {
            bits.map(|(bit, set, clear)| if self.0 >> bit & 1 != 0 { set } else { clear })
        };
        let [n, z, c, v] = flags([(31, 'N', 'n'), (30, 'Z', 'z'), (29, 'C', 'c'), (28, 'V', 'v')]);
        let [d, a, i, m] = flags([(9, 'D', 'd'), (8, 'A', 'a'), (7, 'I', 'i'), (6, 'F', 'f')]);
        let level = self.0 >> 2 & 3;
        let stack = if self.0 & 1 != 0 { 'h' } else { 't' };
        write!(f, "{:08x} {n}{z}{c}{v} {d}{a}{i}{m} EL{level}{stack}", self.0)
    }
}
