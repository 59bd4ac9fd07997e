//! What the kernel's image consists of.
//!
//! The linker script of an arch cuts the image into sections of whole pages, each with its own rights; the entry code
//! maps them so, and the final tables keep it. Linux: `mark_rodata_ro`, the `Kernel code` lines of `/proc/iomem`.

use super::VirtRange;
use crate::addr::PhysRange;
use crate::paging::Access;

/// A part of the kernel's image whose pages have the same rights.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ImageSection {
    /// `text`, `rodata`, `data` or `bss`.
    pub name: &'static str,
    /// Where it is linked, whole pages.
    pub virt: VirtRange,
    /// Where it lies in physical memory.
    pub phys: PhysRange,
    /// What may be done with it.
    pub access: Access,
}

impl ImageSection {
    /// The name under which its memory is reserved, as `/proc/iomem` has it.
    #[must_use]
    pub fn owner(&self) -> &'static str {
        match self.name {
            "text" => "Kernel code",
            "rodata" => "Kernel rodata",
            "data" => "Kernel data",
            _ => "Kernel bss",
        }
    }
}
