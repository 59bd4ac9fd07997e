//! QEMU's `microvm`, and what to assume of any PC without PCI.

use super::{Board, COM_PORTS, KEYBOARD_RESET, UNKNOWN};
use crate::power::PowerOff;

/// The board.
pub const MICROVM: Board =
    Board { name: "microvm", serial: COM_PORTS, power: PowerOff { off: None, reset: KEYBOARD_RESET }, ..UNKNOWN };
