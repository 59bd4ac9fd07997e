//! QEMU's `xlnx-versal-virt`, with a Versal. Its device tree says all; the console is for trees that somebody cut down.

use super::{Board, UNKNOWN};
use crate::console::ConsoleSpec;
use mm::addr::PhysAddr;

/// The board.
pub const XLNX_VERSAL_VIRT: Board = Board {
    name: "xlnx-versal-virt",
    compatible: &["xlnx-versal-virt"],
    serial: &[ConsoleSpec::pl011(PhysAddr::new(0xff00_0000)), ConsoleSpec::pl011(PhysAddr::new(0xff01_0000))],
    ..UNKNOWN
};
