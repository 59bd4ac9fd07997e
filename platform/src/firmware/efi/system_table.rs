//! EFI's system table: whose firmware it is, and the list of further tables, each with a GUID.
//!
//! Only what lies in memory is read, no service is called. After the boot loader has left the firmware the list still
//! holds. Layouts: UEFI specification, `EFI_SYSTEM_TABLE`, `EFI_CONFIGURATION_TABLE`. Linux:
//! `efi_systab_report_header`, `efi_config_parse_tables` in `drivers/firmware/efi/efi.c`.

use crate::read::{PhysRead, u32_at, u64_at};
use core::fmt;
use mm::addr::PhysAddr;

/// An EFI system table in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SystemTable {
    /// The version of the specification that it follows: the major one in the upper 16 bits.
    revision: u32,
    /// Who made the firmware: 16-bit characters.
    vendor: PhysAddr,
    /// Where the list of tables is.
    list: PhysAddr,
    /// How many it has.
    entries: u64,
}

/// A GUID as it stands in memory.
pub type Guid = [u8; 16];

/// The root pointer of ACPI 2.0 or later.
pub const ACPI_2: Guid =
    [0x71, 0xe8, 0x68, 0x88, 0xf1, 0xe4, 0xd3, 0x11, 0xbc, 0x22, 0x00, 0x80, 0xc7, 0x3c, 0x88, 0x81];
/// The root pointer of ACPI 1.0.
pub const ACPI_1: Guid =
    [0x30, 0x2d, 0x9d, 0xeb, 0x88, 0x2d, 0xd3, 0x11, 0x9a, 0x16, 0x00, 0x90, 0x27, 0x3f, 0xc1, 0x4d];

/// What a system table begins with.
const SIGNATURE: u64 = 0x5453_5953_2049_4249;
/// Bytes of a system table.
const SIZE: usize = 120;
/// Bytes of an entry of its list: a GUID and an address.
const ENTRY: u64 = 24;
/// Entries that are looked at: several times as many as any firmware has.
const MAX_ENTRIES: u64 = 256;
/// Characters of the vendor's name that are shown.
const MAX_VENDOR: u64 = 99;

impl SystemTable {
    /// The system table at `at`, when one is there.
    pub fn open(at: PhysAddr, read: &mut dyn PhysRead) -> Option<Self> {
        let mut bytes = [0; SIZE];
        read.read(at, &mut bytes).ok().filter(|()| u64_at(&bytes, 0) == SIGNATURE)?;
        let address = |offset| PhysAddr::new(u64_at(&bytes, offset));
        let (revision, entries) = (u32_at(&bytes, 8), u64_at(&bytes, 104));
        Some(Self { revision, vendor: address(24), list: address(112), entries })
    }

    /// The table called `guid`.
    pub fn find(&self, guid: Guid, read: &mut dyn PhysRead) -> Option<PhysAddr> {
        for index in 0..self.entries.min(MAX_ENTRIES) {
            let mut entry = [0; ENTRY as usize];
            read.read(self.list.checked_add(index * ENTRY)?, &mut entry).ok()?;
            if entry.starts_with(&guid) {
                return Some(PhysAddr::new(u64_at(&entry, 16))).filter(|at| at.as_u64() != 0);
            }
        }
        None
    }

    /// Prints which firmware it is, as Linux does.
    ///
    /// # Errors
    /// When `text` refuses.
    pub fn print(&self, read: &mut dyn PhysRead, text: &mut dyn fmt::Write) -> fmt::Result {
        write!(text, "efi: EFI v{}.{:02} by ", self.revision >> 16, self.revision & 0xffff)?;
        for index in 0..MAX_VENDOR {
            let unit = self.vendor.checked_add(2 * index).and_then(|at| read.read_u16(at).ok());
            let Some(unit) = unit.filter(|&unit| unit != 0) else { break };
            // It goes to a terminal.
            let shown = char::from_u32(unit.into()).filter(|shown| !shown.is_control());
            text.write_char(shown.unwrap_or('?'))?;
        }
        text.write_str("\n")
    }
}
