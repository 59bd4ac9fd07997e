//! What the firmware says of interrupts: which controller the CPUs have, and where its registers are.
//!
//! The readers in [`super::fdt`] and [`super::acpi`] fill this in, [`crate::handover::BootInfo::irq_controller`] asks
//! them, and the arch crate's `irqchip` maps what it says and drives it. Nothing here touches a register.
//!
//! Invariant, on which a driver may rely: each range has at least the bytes that the architecture gives its registers,
//! begins where they can begin, and does not wrap. A device tree states sizes, and what is smaller is dropped; ACPI
//! states none for most, and there they are the architecture's. Linux: `gic_of_init` and `gic_acpi_init` in
//! `drivers/irqchip/irq-gic.c` and `irq-gic-v3.c`, `drivers/irqchip/irq-bcm2836.c`, `register_lapic_address` in
//! `arch/x86/kernel/apic/apic.c`.

use arrayvec::ArrayVec;
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::Problem;

/// Ranges of redistributors that are kept. Real machines state one for each socket or chip.
pub const MAX_REDISTRIBUTORS: usize = 64;

/// The interrupt controller of a machine's CPUs.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one of it, and it is soon taken apart")]
pub enum IrqController {
    /// Local APICs: one in each CPU, all at the same address.
    LocalApic {
        /// Its first register.
        address: PhysAddr,
    },
    /// A GIC of version 1 or 2.
    Gic2 {
        /// The registers that all CPUs share (GICD): 4 KiB or more.
        distributor: PhysRange,
        /// Those that each CPU has its own of, at the same address (GICC): 256 bytes or more.
        cpu_interface: PhysRange,
    },
    /// A GIC of version 3 or 4. Its CPU interface is in system registers.
    Gic3 {
        /// The registers that all CPUs share (GICD): 64 KiB or more.
        distributor: PhysRange,
        /// Those of each CPU.
        redistributors: Redistributors,
    },
    /// The local controller of a BCM2836 or BCM2837, for four CPUs: their timers, and mailboxes between them.
    Bcm2836 {
        /// Its registers: 256 bytes or more.
        local: PhysRange,
        /// Those of the controller behind it, that of devices: 48 bytes or more.
        devices: Option<PhysRange>,
    },
}

/// Where the redistributors of a GIC of version 3 or 4 are (GICR).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Redistributors {
    /// Ranges in which they stand, one after another: 128 KiB or more each. A range may be longer than what stands in
    /// it; the last one says that it is (`GICR_TYPER.Last`).
    pub ranges: ArrayVec<PhysRange, MAX_REDISTRIBUTORS>,
    /// Bytes from one to the next, where the firmware says; otherwise each one says by its version.
    pub stride: Option<u64>,
}

impl IrqController {
    /// What a PC has whose firmware does not say.
    pub const USUAL: Self = Self::LocalApic { address: PhysAddr::new(0xfee0_0000) };
}

impl Redistributors {
    /// Takes one more range, which joins the last one where it begins at its end.
    pub(crate) fn push(&mut self, range: PhysRange) -> Result<(), Problem> {
        match self.ranges.last_mut() {
            Some(last) if last.end() == range.start() => *last = PhysRange::new(last.start(), range.end()),
            _ => self
                .ranges
                .try_push(range)
                .map_err(|_| Problem::TooMany { what: "ranges of redistributors", limit: MAX_REDISTRIBUTORS as u64 })?,
        }
        Ok(())
    }
}

/// A block of registers: how many bytes it has at least, and of what its address is a multiple.
pub(crate) struct Registers {
    bytes: u64,
    align: u64,
}

impl Registers {
    pub(crate) const LOCAL_APIC: Self = Self { bytes: 0x1000, align: 0x1000 };
    pub(crate) const DISTRIBUTOR_2: Self = Self { bytes: 0x1000, align: 0x1000 };
    /// The first CPUs with one have it in the middle of a page.
    pub(crate) const CPU_INTERFACE: Self = Self { bytes: 0x100, align: 0x100 };
    pub(crate) const DISTRIBUTOR_3: Self = Self { bytes: 0x1_0000, align: 0x1_0000 };
    pub(crate) const REDISTRIBUTOR: Self = Self { bytes: 0x2_0000, align: 0x1_0000 };
    /// With the registers of version 4 behind it.
    pub(crate) const REDISTRIBUTOR_4: Self = Self { bytes: 0x4_0000, ..Self::REDISTRIBUTOR };
    pub(crate) const BCM2836_LOCAL: Self = Self { bytes: 0x100, align: 0x100 };
    pub(crate) const BCM2836_DEVICES: Self = Self { bytes: 0x30, align: 4 };

    /// The block at `address`, if there can be one.
    pub(crate) fn at(&self, address: u64) -> Result<PhysRange, Problem> {
        self.of_size(address, self.bytes)
    }

    /// The `size` bytes at `address`, if the block can be there.
    pub(crate) fn of_size(&self, address: u64, size: u64) -> Result<PhysRange, Problem> {
        if address == 0 || !address.is_multiple_of(self.align) {
            return Err(Problem::Value { what: "the address of its registers", value: address });
        }
        if size < self.bytes {
            return Err(Problem::Value { what: "the size of its registers", value: size });
        }
        // One that ends with the last byte of all loses that.
        let range = PhysRange::from_size(PhysAddr::new(address), size).filter(|range| range.size() == size);
        range.ok_or(Problem::Wraps { start: address, size })
    }

    /// Whether redistributors can stand `bytes` apart.
    pub(crate) const fn is_stride(bytes: u64) -> bool {
        bytes >= Self::REDISTRIBUTOR.bytes && bytes.is_multiple_of(Self::REDISTRIBUTOR.align)
    }
}
