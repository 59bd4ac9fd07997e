//! Why a machine's interrupt controller cannot be used.

use core::fmt;
use mm::addr::PhysRange;

/// Why the interrupt controller cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IrqError {
    /// One is in use already.
    Twice,
    /// What the firmware names is no controller of this architecture.
    NotHere,
    /// Its registers cannot be mapped.
    Unmapped(PhysRange),
    /// Nothing answers where its distributor is said to be.
    NoAnswer,
    /// What answers there says that it is of another version.
    Version {
        /// The version that the firmware names.
        stated: u32,
        /// What the device says.
        found: u32,
    },
    /// It has its CPU interface in system registers, and this CPU has none.
    NoSystemRegisters,
    /// It has no redistributor for the CPU with this MPIDR affinity.
    NoRedistributor(u64),
    /// It has no registers for the CPU with this MPIDR affinity.
    NoLocalRegisters(u64),
    /// The timer's interrupt is none that each CPU has its own of.
    Timer {
        /// Its number.
        number: u32,
        /// The first that could be the timer's.
        first: u32,
        /// The last.
        last: u32,
    },
}

impl fmt::Display for IrqError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Twice => f.write_str("one is in use already"),
            Self::NotHere => f.write_str("the firmware names one of another architecture"),
            Self::Unmapped(range) => write!(f, "the registers at {range} cannot be mapped"),
            Self::NoAnswer => f.write_str("nothing answers where the distributor is said to be"),
            Self::Version { stated, found } => {
                write!(f, "the firmware says GICv{stated}, the device says architecture revision {found}")
            }
            Self::NoSystemRegisters => f.write_str("this CPU has no system registers for a GICv3"),
            Self::NoRedistributor(id) => write!(f, "no redistributor for the CPU with MPIDR affinity {id:#x}"),
            Self::NoLocalRegisters(id) => write!(f, "it has no registers for the CPU with MPIDR affinity {id:#x}"),
            Self::Timer { number, first, last } => {
                write!(f, "the timer's interrupt {number} is none of a CPU's own ({first} to {last})")
            }
        }
    }
}

impl core::error::Error for IrqError {}
