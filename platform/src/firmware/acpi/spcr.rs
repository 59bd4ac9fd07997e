//! SPCR: the serial console that the firmware uses.
//!
//! The kind of interface decides the driver; the generic address says where its registers are and how wide. Kinds that
//! no driver here knows, and speeds that have no number, are passed over. Microsoft's Serial Port Console Redirection
//! Table, revision 2 and later. Linux: `acpi_parse_spcr` in `drivers/acpi/spcr.c`.

use super::table::Table;
use crate::console::{ConsoleSpec, UartKind, Width, Window};
use crate::read::{PhysRead, u64_at};
use core::fmt;
use mm::addr::PhysAddr;
use mm::machine::Problem;

pub(super) const SIGNATURE: [u8; 4] = *b"SPCR";

/// Bytes of revision 2.
const LENGTH: usize = 80;
const INTERFACE: usize = 36;
const ADDRESS: usize = 40;
const BAUD: usize = 58;

/// Which console it is; `None` where it is of a kind, or at a speed, that is not known.
///
/// # Errors
/// What is wrong with the table.
pub(super) fn console(spcr: &Table, read: &mut dyn PhysRead) -> Result<Option<ConsoleSpec>, Problem> {
    spcr.verify(read)?;
    if spcr.length() < LENGTH as u32 {
        return Err(Problem::Length { stated: spcr.length().into() });
    }
    let mut bytes = [0; LENGTH];
    spcr.bytes(read, 0, &mut bytes)?;
    Ok(spec(&bytes))
}

/// Says what is wrong with the table, if anything is.
pub(super) fn describe(spcr: &Table, read: &mut dyn PhysRead) -> Result<(), Problem> {
    console(spcr, read).map(|_| ())
}

fn spec(bytes: &[u8; LENGTH]) -> Option<ConsoleSpec> {
    let byte = |at: usize| bytes.get(at).copied().unwrap_or_default();
    let address = u64_at(bytes, ADDRESS + 4);
    let width = match byte(ADDRESS + 3) {
        2 => Width::Bits16,
        3 => Width::Bits32,
        _ => Width::Bits8,
    };
    let kind = UartKind::by_interface(byte(INTERFACE))?;
    let baud = match byte(BAUD) {
        // As the firmware has set it.
        0 => None,
        3 => Some(9_600),
        4 => Some(19_200),
        6 => Some(57_600),
        7 => Some(115_200),
        _ => return None,
    };
    let base = PhysAddr::new(address);
    let spec = match byte(ADDRESS) {
        _ if address == 0 => return None,
        0 if kind.is_fixed_layout() => ConsoleSpec::usual(kind, base)?,
        // Registers stand as far apart as they are wide.
        0 => {
            let shift = u8::try_from(width.bytes().trailing_zeros()).ok()?;
            ConsoleSpec { kind, window: Window::Mmio { base, shift, width }, baud: None, clock: None }
        }
        1 if kind == UartKind::Ns16550 => ConsoleSpec::ns16550_io(u16::try_from(address).ok()?),
        _ => return None,
    };
    Some(ConsoleSpec { baud, ..spec })
}

/// Prints which console it is, in the words of an `earlycon=`.
pub(super) fn print(spec: &ConsoleSpec, text: &mut dyn fmt::Write) -> fmt::Result {
    let driver = spec.kind.profile().declared.first().map_or("", |declared| declared.earlycon);
    let layout = match spec.window {
        Window::Io { .. } => "io",
        Window::Mmio { width: Width::Bits8, .. } => "mmio",
        Window::Mmio { width: Width::Bits16, .. } => "mmio16",
        Window::Mmio { width: Width::Bits32, .. } => "mmio32",
        Window::Mmio { width: Width::Bits32Big, .. } => "mmio32be",
    };
    let address = spec.named_address();
    let baud = spec.baud.unwrap_or(0);
    writeln!(text, "ACPI: SPCR: console: {driver},{layout},{address:#x},{baud}")
}
