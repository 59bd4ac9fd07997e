//! Xilinx's ZCU102 evaluation kit, and other boards with its chip, a Zynq UltraScale+. Their device trees say all; the
//! console is for trees that somebody cut down.

use super::{Board, UNKNOWN};
use crate::console::{ConsoleSpec, UartKind};
use mm::addr::PhysAddr;

const fn uart(address: u64) -> ConsoleSpec {
    ConsoleSpec::words(UartKind::Cadence, PhysAddr::new(address))
}

/// The board.
pub const XLNX_ZCU102: Board = Board {
    name: "xlnx-zcu102",
    compatible: &["xlnx,zynqmp-zcu102", "xlnx,zynqmp"],
    serial: &[uart(0xff00_0000), uart(0xff01_0000)],
    ..UNKNOWN
};
