//! Why nothing can be learnt from the boot loader.

use crate::firmware::fdt::FdtError;
use crate::read::Unreadable;
use core::fmt;
use mm::addr::PhysAddr;

/// Why nothing can be learnt from the loader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HandoverError {
    /// The `hvm_start_info` of a PVH loader cannot be read.
    StartInfoUnreadable(Unreadable),
    /// It does not begin as it must.
    StartInfoMagic {
        /// Where it should be.
        at: PhysAddr,
        /// What stands there.
        value: u32,
    },
    /// The device tree is damaged.
    DeviceTree(FdtError),
    /// A loader of the Limine protocol says neither itself nor by a firmware's table where memory is.
    NoMemoryMap,
}

impl fmt::Display for HandoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StartInfoUnreadable(error) => write!(f, "the boot loader's start_info: {error}"),
            Self::StartInfoMagic { at, value } => {
                write!(
                    f,
                    "no start_info where the boot loader says, at {at:#x}: it begins with {value:#x}, not 0x336ec578"
                )
            }
            Self::DeviceTree(error) => write!(f, "device tree: {error}"),
            Self::NoMemoryMap => f.write_str(
                "the boot loader hands over no memory map: neither its own, nor EFI's, nor a device tree with memory",
            ),
        }
    }
}

impl core::error::Error for HandoverError {}

impl From<FdtError> for HandoverError {
    fn from(error: FdtError) -> Self {
        Self::DeviceTree(error)
    }
}
