//! One line at a time on the firmware's console.

use core::fmt::{self, Write};
use uefi::system;

/// Writes a line. Where there is no console, or no longer, and where it does not take the line, this does nothing.
pub(crate) fn say(line: fmt::Arguments<'_>) {
    // SAFETY: the system table stays for as long as the machine is on, and only the firmware writes to it.
    let open = uefi::table::system_table_raw()
        .is_some_and(|table| unsafe { !table.as_ref().boot_services.is_null() && !table.as_ref().stdout.is_null() });
    if open {
        system::with_stdout(|out| {
            let _ = writeln!(out, "tessera-loader: {line}");
        });
    }
}
