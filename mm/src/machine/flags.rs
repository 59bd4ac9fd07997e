//! What is special about a range of memory, in the firmware's words and in memblock's.

#![forbid(unsafe_code)]

use bitflags::bitflags;

bitflags! {
    /// What is special about a range of memory; the values are Linux's (`enum memblock_flags`).
    #[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
    pub struct RegionFlags: u32 {
        /// It can be taken out of the running machine.
        const HOTPLUG = 0x1;
        /// It is mirrored: the safer place for the kernel's own data.
        const MIRROR = 0x2;
        /// It must not enter the direct map and is never handed out.
        const NOMAP = 0x4;
        /// A driver added it and manages it.
        const DRIVER_MANAGED = 0x8;
    }
}
