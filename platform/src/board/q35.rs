//! QEMU's `q35`: ICH9. Its ACPI tables say all that is needed; this is for when there are none.

use super::{Board, CHIPSET_RESET, COM_PORTS, UNKNOWN, pm1};
use crate::power::PowerOff;

/// The board.
pub const Q35: Board = Board {
    name: "q35",
    host_bridge: Some((0x8086, 0x29c0)),
    serial: COM_PORTS,
    power: PowerOff { off: pm1(0x604), reset: CHIPSET_RESET },
    ..UNKNOWN
};
