//! Everything that can be wrong, as the one line that the user sees.

use super::files::{COMMAND_LINE, FileError, KERNEL};
use super::memory::OutOfMemory;
use crate::arch::CpuError;
use core::fmt;
use loader::cmdline::CommandLineError;
use loader::elf::ElfError;
use loader::handover::HandoverError;
use loader::memory_map;
use loader::requests::RequestError;
use uefi::Status;

/// Why the kernel is not started.
pub(crate) enum Error {
    Cpu(CpuError),
    /// The program was not started from a file system.
    Volume(Status),
    File(&'static str, FileError),
    Elf(ElfError),
    CommandLine(CommandLineError),
    Handover(HandoverError),
    Memory(OutOfMemory),
    /// The firmware does not say which memory there is.
    MemoryMap(Status),
    /// It says more than was expected.
    MemoryMapFull(memory_map::Full),
    /// The firmware describes the machine in no way that a kernel could read.
    NoTables,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu(error) => error.fmt(f),
            Self::Volume(status) => write!(f, "not started from a file system ({status:?})"),
            Self::File(path, error) => write!(f, "{path}: {error}"),
            Self::Elf(error) => write!(f, "{KERNEL}: {error}"),
            Self::CommandLine(error) => write!(f, "{COMMAND_LINE}: {error}"),
            Self::Handover(error) => write!(f, "{KERNEL}: {error}"),
            Self::Memory(error) => write!(f, "{KERNEL}: {error}"),
            Self::MemoryMap(status) => write!(f, "the firmware has no memory map ({status:?})"),
            Self::MemoryMapFull(error) => error.fmt(f),
            Self::NoTables => f.write_str("the firmware has neither ACPI tables nor a device tree"),
        }
    }
}

impl From<CpuError> for Error {
    fn from(error: CpuError) -> Self {
        Self::Cpu(error)
    }
}

impl From<ElfError> for Error {
    fn from(error: ElfError) -> Self {
        Self::Elf(error)
    }
}

impl From<CommandLineError> for Error {
    fn from(error: CommandLineError) -> Self {
        Self::CommandLine(error)
    }
}

impl From<RequestError> for Error {
    fn from(error: RequestError) -> Self {
        Self::Handover(error.into())
    }
}

impl From<HandoverError> for Error {
    fn from(error: HandoverError) -> Self {
        Self::Handover(error)
    }
}

impl From<OutOfMemory> for Error {
    fn from(error: OutOfMemory) -> Self {
        Self::Memory(error)
    }
}

impl From<memory_map::Full> for Error {
    fn from(error: memory_map::Full) -> Self {
        Self::MemoryMapFull(error)
    }
}
