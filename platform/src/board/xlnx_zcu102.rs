//! Xilinx's ZCU102 evaluation kit: a Zynq UltraScale+. Its device tree says all but where the console is: the kernel's
//! own tree has no `stdout-path`.

use super::{Board, UNKNOWN};
use crate::console::{ConsoleSpec, UartKind};
use mm::addr::PhysAddr;

/// The board.
pub const XLNX_ZCU102: Board = Board {
    name: "xlnx-zcu102",
    compatible: &["xlnx,zynqmp-zcu102", "xlnx,zynqmp"],
    serial: &[
        ConsoleSpec::words(UartKind::Cadence, PhysAddr::new(0xff00_0000)),
        ConsoleSpec::words(UartKind::Cadence, PhysAddr::new(0xff01_0000)),
    ],
    ..UNKNOWN
};
