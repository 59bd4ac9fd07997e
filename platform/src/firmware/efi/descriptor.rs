//! One descriptor of EFI's memory map. Its layout, types and attributes: UEFI specification, `EFI_MEMORY_DESCRIPTOR`;
//! Linux: `include/linux/efi.h`.

use crate::read::{u32_at, u64_at};
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::Problem;

/// What a descriptor says that its range is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DescriptorType(pub u32);

impl DescriptorType {
    /// The firmware's.
    pub const RESERVED: Self = Self(0);
    /// The boot loader's text.
    pub const LOADER_CODE: Self = Self(1);
    /// The boot loader's data.
    pub const LOADER_DATA: Self = Self(2);
    /// Text of services that end with the boot loader.
    pub const BOOT_CODE: Self = Self(3);
    /// Their data.
    pub const BOOT_DATA: Self = Self(4);
    /// Text of services that stay.
    pub const RUNTIME_CODE: Self = Self(5);
    /// Their data.
    pub const RUNTIME_DATA: Self = Self(6);
    /// Free memory.
    pub const CONVENTIONAL: Self = Self(7);
    /// Memory with errors.
    pub const UNUSABLE: Self = Self(8);
    /// ACPI tables.
    pub const ACPI_RECLAIM: Self = Self(9);
    /// ACPI storage that sleep states need.
    pub const ACPI_NVS: Self = Self(10);
    /// Registers that runtime services use.
    pub const MMIO: Self = Self(11);
    /// A window onto I/O ports.
    pub const MMIO_PORT: Self = Self(12);
    /// Firmware of Itanium CPUs.
    pub const PAL_CODE: Self = Self(13);
    /// Persistent memory.
    pub const PERSISTENT: Self = Self(14);

    /// Linux's name of it.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        const NAMES: [&str; 15] = [
            "Reserved",
            "Loader Code",
            "Loader Data",
            "Boot Code",
            "Boot Data",
            "Runtime Code",
            "Runtime Data",
            "Conventional",
            "Unusable",
            "ACPI Reclaim",
            "ACPI Mem NVS",
            "MMIO",
            "MMIO Port",
            "PAL Code",
            "Persistent",
        ];
        NAMES.get(usize::try_from(self.0).ok()?).copied()
    }
}

/// How a range can be mapped, and what is special about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attributes(pub u64);

impl Attributes {
    /// Uncached.
    pub const UNCACHED: Self = Self(0x1);
    /// Write-combining.
    pub const WRITE_COMBINING: Self = Self(0x2);
    /// Write-through.
    pub const WRITE_THROUGH: Self = Self(0x4);
    /// Write-back.
    pub const WRITE_BACK: Self = Self(0x8);
    /// Uncached, with semaphores.
    pub const UNCACHED_EXPORTED: Self = Self(0x10);
    /// Can be protected from writes.
    pub const WRITE_PROTECT: Self = Self(0x1000);
    /// Can be protected from reads.
    pub const READ_PROTECT: Self = Self(0x2000);
    /// Can be protected from execution.
    pub const EXECUTE_PROTECT: Self = Self(0x4000);
    /// Keeps what it holds without power.
    pub const NON_VOLATILE: Self = Self(0x8000);
    /// Mirrored, or better protected from errors by other means.
    pub const MORE_RELIABLE: Self = Self(0x1_0000);
    /// Read-only.
    pub const READ_ONLY: Self = Self(0x2_0000);
    /// Set aside for a special purpose.
    pub const SPECIAL_PURPOSE: Self = Self(0x4_0000);
    /// Can be encrypted by the CPU.
    pub const CPU_CRYPTO: Self = Self(0x8_0000);
    /// Must be mapped while runtime services are called.
    pub const RUNTIME: Self = Self(1 << 63);

    /// Whether all of `other` is there.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// One descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Descriptor {
    /// What its range is for.
    pub kind: DescriptorType,
    /// Its bytes, at least one page of 4 KiB.
    pub range: PhysRange,
    /// Pages of 4 KiB.
    pub pages: u64,
    /// How it can be mapped.
    pub attributes: Attributes,
}

impl Descriptor {
    /// Bytes that are known. A table may have more between one and the next.
    pub const SIZE: usize = 40;

    /// The descriptor in `bytes`.
    pub(super) fn read(bytes: &[u8; Self::SIZE]) -> Result<Self, Problem> {
        let (start, pages) = (u64_at(bytes, 8), u64_at(bytes, 24));
        if pages == 0 {
            return Err(Problem::Empty { start });
        }
        let size = pages.checked_mul(4096).ok_or(Problem::Value { what: "number of pages", value: pages })?;
        let range = PhysRange::from_size(PhysAddr::new(start), size).ok_or(Problem::Wraps { start, size })?;
        let (kind, attributes) = (DescriptorType(u32_at(bytes, 0)), Attributes(u64_at(bytes, 32)));
        Ok(Self { kind, range, pages, attributes })
    }

    /// Whether it can be mapped as memory is.
    pub(super) fn is_memory(&self) -> bool {
        let ways = [Attributes::WRITE_BACK, Attributes::WRITE_THROUGH, Attributes::WRITE_COMBINING];
        ways.into_iter().any(|way| self.attributes.contains(way))
    }

    /// Whether it is free for everybody once the boot loader has ended (arm64).
    pub(super) const fn is_usable(&self) -> bool {
        use DescriptorType as Type;
        let is_free = matches!(
            self.kind,
            Type::LOADER_CODE
                | Type::LOADER_DATA
                | Type::ACPI_RECLAIM
                | Type::BOOT_CODE
                | Type::BOOT_DATA
                | Type::CONVENTIONAL
                | Type::PERSISTENT
        );
        is_free
            && self.attributes.contains(Attributes::WRITE_BACK)
            && !self.attributes.contains(Attributes::SPECIAL_PURPOSE)
    }
}
