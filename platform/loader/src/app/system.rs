//! What the firmware says of the machine.

use super::console::say;
use super::error::Error;
use loader::date::Date;
use loader::tree;
use uefi::table::cfg::ConfigTableEntry;
use uefi::{Guid, guid, runtime, system};

const DEVICE_TREE: Guid = guid!("b1b621d5-f19c-41a5-830b-d9152c69aae0");

/// Where the firmware's tables are.
pub(crate) struct Tables {
    /// ACPI's root pointer, the newer one if there are two.
    pub(crate) rsdp: Option<u64>,
    /// SMBIOS's entry points, of 32 and of 64 bits.
    pub(crate) smbios: [Option<u64>; 2],
    /// The device tree.
    pub(crate) device_tree: Option<&'static [u8]>,
    /// EFI's own.
    pub(crate) system_table: u64,
}

/// Looks through the firmware's list of tables.
///
/// # Errors
/// When there is neither ACPI nor a device tree.
pub(crate) fn tables() -> Result<Tables, Error> {
    let find = |guid: Guid| {
        system::with_config_table(|tables| tables.iter().find(|table| table.guid == guid).map(|table| table.address))
            .filter(|address| !address.is_null())
    };
    let place = |guid| find(guid).map(|address| address as u64);
    let found = Tables {
        rsdp: place(ConfigTableEntry::ACPI2_GUID).or_else(|| place(ConfigTableEntry::ACPI_GUID)),
        smbios: [place(ConfigTableEntry::SMBIOS_GUID), place(ConfigTableEntry::SMBIOS3_GUID)],
        device_tree: find(DEVICE_TREE).and_then(|address| device_tree(address.cast())),
        system_table: uefi::table::system_table_raw().map_or(0, |table| table.as_ptr() as u64),
    };
    if found.rsdp.is_none() && found.device_tree.is_none() { Err(Error::NoTables) } else { Ok(found) }
}

/// The whole of a device tree that begins at `start`. One that no kernel takes is one line, and as good as not there.
fn device_tree(start: *const u8) -> Option<&'static [u8]> {
    // SAFETY: the firmware says that a device tree is here, which has these bytes at least; and they are not written to.
    let header = unsafe { start.cast::<[u8; tree::HEADER]>().read_unaligned() };
    match tree::size(header) {
        // SAFETY: as above; the size is the one that the tree states.
        Ok(size) => Some(unsafe { core::slice::from_raw_parts(start, size) }),
        Err(error) => {
            say(format_args!("the firmware's device tree at {start:p} is not handed over: {error}"));
            None
        }
    }
}

/// Seconds since 1970, if the firmware has a clock.
pub(crate) fn date() -> Option<i64> {
    let time = runtime::get_time().ok()?;
    Date {
        year: time.year(),
        month: time.month(),
        day: time.day(),
        hour: time.hour(),
        minute: time.minute(),
        second: time.second(),
        zone_minutes: time.time_zone(),
    }
    .unix_seconds()
}
