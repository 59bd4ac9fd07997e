//! The memory map of EFI firmware: descriptors of 40 bytes or more (type, address, pages of 4 KiB, attributes).
//!
//! The two architectures read it differently. On x86 each descriptor is an entry of the PC's map by what its type means
//! there ([`FirmwareMap::Efi`](super::e820::FirmwareMap)), and all that can happen to such a map happens to it; the
//! code and data of boot services are RAM, but stay reserved until the page allocator takes over, because the firmware
//! touches them for longer than it should. On arm64 ([`EfiMap::describe`]) a range is memory when it can be
//! mapped as memory is (write-back, write-through or write-combining); of that, what is neither free after the boot
//! loader nor write-back stays out of every mapping, and boot services are RAM at once.
//!
//! On both, memory that the firmware wants set aside (`SP`) is not for everybody, and what is more reliable (`MR`) is
//! marked as mirrored. A descriptor that cannot be is dropped with a warning.
//!
//! Nothing is stored: one read for each descriptor and each time. Linux: `setup_e820` in
//! `drivers/firmware/efi/libstub/x86-stub.c`, `efi_reserve_boot_services` in `arch/x86/platform/efi/quirks.c`,
//! `reserve_regions` in `drivers/firmware/efi/efi-init.c`, `efi_find_mirror` in `efi.c`.

mod descriptor;
mod system_table;
mod text;

pub use descriptor::{Attributes, Descriptor, DescriptorType};
pub use system_table::{ACPI_1, ACPI_2, Guid, SystemTable};

use super::e820::{Entry, Kind};
use crate::read::PhysRead;
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{
    Bank, MachineSink, MemoryKind, Owner, Problem, Purpose, RegionFlags, Reservation, Source, Table, Warning,
};

/// A memory map of EFI firmware.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EfiMap {
    /// Where it lies.
    pub at: PhysAddr,
    /// Its bytes.
    pub size: u64,
    /// Bytes from one descriptor to the next.
    pub stride: u64,
    /// The version of its descriptors.
    pub version: u32,
}

/// Descriptors that cannot be are named up to this many.
const MAX_DROPPED: u64 = 16;

impl EfiMap {
    /// Bytes that are looked at: thousands of descriptors, and few enough that a damaged size costs no noticeable time.
    pub const MAX_SIZE: u64 = 256 << 10;
    /// The version of descriptors that is known.
    pub const VERSION: u32 = 1;
    const PAGE_SIZE: u64 = 4096;

    /// Shows `each` descriptor, or why it cannot be, with its number; up to where nothing can be read any more.
    fn all(&self, read: &mut dyn PhysRead, each: &mut dyn FnMut(u32, Result<Descriptor, Problem>)) {
        if self.stride < Descriptor::SIZE as u64 {
            return;
        }
        let mut offset = 0;
        for index in 0.. {
            let end = self.stride.checked_add(offset).filter(|&end| end <= self.size.min(Self::MAX_SIZE));
            let (Some(next), Some(at)) = (end, self.at.checked_add(offset)) else { return };
            let mut bytes = [0; Descriptor::SIZE];
            if let Err(error) = read.read(at, &mut bytes) {
                return each(index, Err(Problem::Unreadable(error.at)));
            }
            each(index, Descriptor::read(&bytes));
            offset = next;
        }
    }

    /// Shows `each` descriptor that can be, with its number.
    fn sound(&self, read: &mut dyn PhysRead, each: &mut dyn FnMut(u32, Descriptor)) {
        self.all(read, &mut |index, descriptor| {
            if let Ok(descriptor) = descriptor {
                each(index, descriptor);
            }
        });
    }

    /// Whether any descriptor that can be names memory.
    pub fn names_memory(&self, read: &mut dyn PhysRead) -> bool {
        let mut found = false;
        self.sound(read, &mut |_, descriptor| found |= descriptor.kind == DescriptorType::CONVENTIONAL);
        found
    }

    /// Shows `each` entry that a PC's map has by this one. Types that nobody knows have none.
    pub(super) fn pc_entries(&self, read: &mut dyn PhysRead, each: &mut dyn FnMut(Entry)) {
        self.sound(read, &mut |index, descriptor| {
            if let Some(kind) = pc_kind(&descriptor) {
                each(Entry { index, range: descriptor.range, kind, flags: mirror(&descriptor) });
            }
        });
    }

    /// Hands to `sink` what a PC's map cannot say: warnings, where the map itself lies, and what boot services hold.
    pub(super) fn describe_pc(&self, read: &mut dyn PhysRead, sink: &mut dyn MachineSink) {
        self.tell(read, sink);
        self.reserve_itself(sink);
        self.sound(read, &mut |index, descriptor| {
            if matches!(descriptor.kind, DescriptorType::BOOT_CODE | DescriptorType::BOOT_DATA) {
                // Runtime services go on to use it then.
                let for_good = descriptor.attributes.contains(Attributes::RUNTIME);
                let purpose = if for_good { Purpose::Held } else { Purpose::Temporary };
                hold(sink, index, descriptor.range, "EFI boot services", purpose);
            }
        });
    }

    /// Shows `each` range that boot services do not have.
    pub(super) fn others_than_boot_services(&self, read: &mut dyn PhysRead, each: &mut dyn FnMut(PhysRange)) {
        self.sound(read, &mut |_, descriptor| {
            if !matches!(descriptor.kind, DescriptorType::BOOT_CODE | DescriptorType::BOOT_DATA) {
                each(descriptor.range);
            }
        });
    }

    /// Hands memory to `sink` as arm64 has it, with a warning for each odd descriptor. Every range is widened to pages
    /// of `page_size` bytes, a power of two: a page in which anything is not for use stays out.
    pub fn describe(&self, page_size: u64, read: &mut dyn PhysRead, sink: &mut dyn MachineSink) {
        self.tell(read, sink);
        self.reserve_itself(sink);
        self.sound(read, &mut |index, descriptor| {
            if !descriptor.is_memory() {
                return;
            }
            let range = descriptor.range.expand_to(page_size);
            let source = Source::entry(Table::EfiMap, index);
            sink.bank(Bank { range, kind: MemoryKind::Usable, flags: mirror(&descriptor), source });
            if !descriptor.is_usable() {
                hold(sink, index, range, descriptor.kind.name().unwrap_or("EFI"), Purpose::NoMap);
            } else if descriptor.kind == DescriptorType::ACPI_RECLAIM {
                hold(sink, index, range, "ACPI Reclaim", Purpose::Held);
            }
        });
    }

    fn reserve_itself(&self, sink: &mut dyn MachineSink) {
        let range = PhysRange::from_size(self.at, self.size.min(Self::MAX_SIZE)).unwrap_or_default();
        if !range.is_empty() {
            let source = Source::whole(Table::EfiMap);
            let owner = Owner::new("EFI memory map");
            sink.reservation(Reservation { range, owner, purpose: Purpose::Held, source });
        }
    }

    /// A warning for each thing that is odd.
    fn tell(&self, read: &mut dyn PhysRead, sink: &mut dyn MachineSink) {
        let mut whole = |problem| sink.warning(Warning { source: Source::whole(Table::EfiMap), problem });
        if self.stride < Descriptor::SIZE as u64 {
            return whole(Problem::TableIgnored("its descriptors are too short"));
        }
        if self.version != Self::VERSION {
            whole(Problem::Malformed { offset: 0, what: "descriptors of an unknown version" });
        }
        if self.size > Self::MAX_SIZE {
            whole(Problem::TooMany { what: "bytes of descriptors", limit: Self::MAX_SIZE });
        } else if !self.size.is_multiple_of(self.stride) {
            whole(Problem::Length { stated: self.size });
        }
        let mut dropped = 0;
        self.all(read, &mut |index, descriptor| {
            let problem = match descriptor {
                Err(problem) => problem,
                Ok(descriptor) if !descriptor.range.start().is_aligned(Self::PAGE_SIZE) => {
                    Problem::Unaligned(descriptor.range)
                }
                Ok(_) => return,
            };
            dropped += 1;
            if dropped <= MAX_DROPPED {
                sink.warning(Warning { source: Source::entry(Table::EfiMap, index), problem });
            } else if dropped == MAX_DROPPED + 1 {
                let problem = Problem::TooMany { what: "odd descriptors", limit: MAX_DROPPED };
                sink.warning(Warning { source: Source::whole(Table::EfiMap), problem });
            }
        });
    }
}

fn hold(sink: &mut dyn MachineSink, index: u32, range: PhysRange, owner: &str, purpose: Purpose) {
    let source = Source::entry(Table::EfiMap, index);
    sink.reservation(Reservation { range, owner: Owner::new(owner), purpose, source });
}

fn mirror(descriptor: &Descriptor) -> RegionFlags {
    let mirrored = descriptor.attributes.contains(Attributes::MORE_RELIABLE);
    if mirrored { RegionFlags::MIRROR } else { RegionFlags::empty() }
}

/// The type that a PC's map has for it.
const fn pc_kind(descriptor: &Descriptor) -> Option<Kind> {
    use DescriptorType as Type;
    Some(match descriptor.kind {
        Type::RESERVED | Type::RUNTIME_CODE | Type::RUNTIME_DATA | Type::MMIO | Type::MMIO_PORT | Type::PAL_CODE => {
            Kind::RESERVED
        }
        Type::UNUSABLE => Kind::UNUSABLE,
        Type::ACPI_RECLAIM => Kind::ACPI,
        Type::ACPI_NVS => Kind::NVS,
        Type::PERSISTENT => Kind::PMEM,
        Type::LOADER_CODE | Type::LOADER_DATA | Type::BOOT_CODE | Type::BOOT_DATA | Type::CONVENTIONAL => {
            if descriptor.attributes.contains(Attributes::SPECIAL_PURPOSE) { Kind::SOFT_RESERVED } else { Kind::RAM }
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
