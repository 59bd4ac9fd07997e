//! QEMU's `virt` for Arm. Its device tree, or ACPI, says all; this is for trees that somebody cut down.

use super::{Board, UNKNOWN};
use crate::console::ConsoleSpec;
use crate::power::{Conduit, Off, PowerOff};
use mm::addr::PhysAddr;

/// The board.
pub const VIRT: Board = Board {
    name: "virt",
    compatible: &["linux,dummy-virt"],
    serial: &[ConsoleSpec::pl011(PhysAddr::new(0x0900_0000))],
    power: PowerOff { off: Some(Off::Psci(Conduit::Hvc)), reset: None },
    ..UNKNOWN
};
