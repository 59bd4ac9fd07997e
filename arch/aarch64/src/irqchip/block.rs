//! Registers of a GIC in memory: what the drivers read and write them through.
//!
//! On the host a model stands behind [`Block`]. In the kernel it is memory mapped as Device. Whether anything answers
//! at an address that a firmware table names is found out by [`Block::probe`] once; from then on the plain accesses do.

/// Registers of 32 bits, by their offset in bytes.
pub(super) trait Block {
    /// Bytes that belong to it.
    fn size(&self) -> u64;

    /// The register at `offset`, or `None` when nothing answers there.
    fn probe(&self, offset: u64) -> Option<u32>;

    /// The register at `offset`; 0 outside the block.
    fn read(&self, offset: u64) -> u32;

    /// Writes the register at `offset`; nothing outside the block.
    fn write(&self, offset: u64, value: u32);
}

/// Registers that are mapped.
#[cfg(target_os = "none")]
#[derive(Clone, Copy, Debug)]
pub(super) struct Mapped {
    range: mm::layout::VirtRange,
}

#[cfg(target_os = "none")]
mod mapped {
    use super::{Block, Mapped};
    use crate::traps::probe;
    use crate::{Native, registers};
    use mm::addr::VirtAddr;
    use mm::arch::PhysMap;
    use mm::layout::VirtRange;
    use platform::console::Width;

    impl Mapped {
        /// The registers that `range` maps, as Device, for good.
        pub(in crate::irqchip) const fn new(range: VirtRange) -> Self {
            Self { range }
        }

        /// The place of a register, when the block has it.
        fn at(&self, offset: u64) -> Option<VirtAddr> {
            let fits = offset.is_multiple_of(4) && offset.saturating_add(4) <= self.size();
            fits.then(|| self.range.start().saturating_add(offset))
        }
    }

    impl Block for Mapped {
        fn size(&self) -> u64 {
            self.range.size()
        }

        fn probe(&self, offset: u64) -> Option<u32> {
            probe::load(self.at(offset)?, Width::Bits32).ok()
        }

        #[inline]
        fn read(&self, offset: u64) -> u32 {
            let Some(at) = self.at(offset) else { return 0 };
            // SAFETY: the register lies in a block that is mapped for good, at a multiple of 4; it is a device's, no
            // memory of anybody.
            unsafe { registers::load(Native.virt_ptr(at).cast::<u32>()) }
        }

        #[inline]
        fn write(&self, offset: u64, value: u32) {
            let Some(at) = self.at(offset) else { return };
            // SAFETY: as in `read`; the driver knows what the device does with it.
            unsafe { Native.virt_ptr(at).cast::<u32>().write_volatile(value) };
        }
    }
}
