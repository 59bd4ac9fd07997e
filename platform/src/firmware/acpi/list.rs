//! The list of tables that a boot prints: one line for each, with address, length, and who made it.
//!
//! The root pointer comes first, then the list, then its tables in their order; behind the FADT come those that only
//! it points to. A table is told as it says itself, whether or not it can be used. Tables of which only the presence
//! counts here (HMAT, the performance of memory) are seen by these lines. Linux: `acpi_tb_print_table_header` in
//! `drivers/acpi/acpica/tbprint.c`.

use super::root::Root;
use super::table::{HEADER, Table};
use super::{fadt, spcr};
use crate::read::{PhysRead, u32_at};
use arrayvec::ArrayString;
use core::fmt;
use mm::addr::PhysAddr;

/// Prints the line of every table.
pub(super) fn print(root: &Root, read: &mut dyn PhysRead, text: &mut dyn fmt::Write) -> fmt::Result {
    let pointer = root.pointer();
    let mut oem = [0; 6];
    if let Some(at) = pointer.at.checked_add(9)
        && read.read(at, &mut oem).is_ok()
    {
        let (at, length, revision) = (pointer.at.as_u64(), pointer.length, pointer.revision);
        writeln!(text, "ACPI: RSDP {at:#018X} {length:06X} (v{revision:02} {:<6})", Field(&oem))?;
    }
    table(root.list(), read, text)?;
    for index in 0..root.count() {
        let opened = root.entry(read, index).and_then(|at| Table::open(read, at));
        let Ok(found) = opened else { continue };
        table(&found, read, text)?;
        if found.signature() == fadt::SIGNATURE
            && let Ok(pointers) = fadt::pointers(&found, read)
        {
            if let Some(dsdt) = pointers.dsdt.and_then(|at| Table::open(read, at).ok()) {
                table(&dsdt, read, text)?;
            }
            for at in pointers.facs.into_iter().flatten() {
                facs(at, read, text)?;
            }
        }
    }
    let found = root.find(read, spcr::SIGNATURE);
    match found.and_then(|found| spcr::console(&found, read).ok().flatten()) {
        Some(console) => spcr::print(&console, text),
        None => Ok(()),
    }
}

fn table(table: &Table, read: &mut dyn PhysRead, text: &mut dyn fmt::Write) -> fmt::Result {
    let mut header = [0; HEADER as usize];
    if table.bytes(read, 0, &mut header).is_err() {
        return Ok(());
    }
    let field = |from: usize, to: usize| Field(header.get(from..to).unwrap_or_default());
    writeln!(
        text,
        "ACPI: {:<4} {:#018X} {:06X} (v{:02} {:<6} {:<8} {:08X} {:<4} {:08X})",
        field(0, 4),
        table.range().start().as_u64(),
        table.length(),
        table.revision(),
        field(10, 16),
        field(16, 24),
        u32_at(&header, 24),
        field(28, 32),
        u32_at(&header, 32),
    )
}

/// The FACS has no header, but its name and length stand where others have them.
fn facs(at: PhysAddr, read: &mut dyn PhysRead, text: &mut dyn fmt::Write) -> fmt::Result {
    let mut header = [0; 8];
    match read.read(at, &mut header) {
        Ok(()) if header.starts_with(b"FACS") => {
            writeln!(text, "ACPI: FACS {:#018X} {:06X}", at.as_u64(), u32_at(&header, 4))
        }
        _ => Ok(()),
    }
}

/// A field of characters, up to a zero; what cannot be printed is a question mark.
struct Field<'f>(&'f [u8]);

impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = ArrayString::<8>::new();
        for &byte in self.0.iter().take_while(|&&byte| byte != 0).take(8) {
            // Eight characters of a byte each fit.
            let _ = text.try_push(if matches!(byte, b' '..=b'~') { char::from(byte) } else { '?' });
        }
        f.pad(&text)
    }
}
