//! QEMU's `sbsa-ref`. The device tree is made for its firmware, which knows the machine: memory and CPUs are all that
//! it says. So what a kernel needs that is booted without that firmware stands here. Nobody starts the other CPUs then,
//! and the machine ends by its watchdog.

use super::{Board, Interrupts, UNKNOWN};
use crate::console::ConsoleSpec;
use crate::power::{PowerOff, Reset};
use mm::addr::PhysAddr;

/// The board.
pub const SBSA_REF: Board = Board {
    name: "sbsa-ref",
    compatible: &["linux,sbsa-ref"],
    serial: &[ConsoleSpec::pl011(PhysAddr::new(0x6000_0000))],
    power: PowerOff { off: None, reset: Some(Reset::sbsa_watchdog(PhysAddr::new(0x5001_1000))) },
    interrupts: Some(Interrupts::Gic3 {
        distributor: PhysAddr::new(0x4006_0000),
        redistributors: PhysAddr::new(0x4008_0000),
        redistributor_bytes: 0x0400_0000,
    }),
    ..UNKNOWN
};
