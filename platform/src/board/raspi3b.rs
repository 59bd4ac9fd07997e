//! Raspberry Pi 3, and the boards with its chip, a BCM2837. Its device tree says where all is; which of the two UARTs is
//! wired to the header's pins depends on the firmware's settings, so both are worth trying.
//!
//! Addresses are the CPU's: the chip's manual has the peripherals from 0x7e000000 on.

use super::{Board, UNKNOWN};
use crate::console::ConsoleSpec;
use crate::power::{Off, PowerOff, Reset};
use mm::addr::PhysAddr;

const POWER_MANAGEMENT: PhysAddr = PhysAddr::new(0x3f10_0000);

/// The board.
pub const RASPI3B: Board = Board {
    name: "raspi3b",
    compatible: &["brcm,bcm2837"],
    serial: &[ConsoleSpec::pl011(PhysAddr::new(0x3f20_1000))],
    power: PowerOff { off: Some(Off::bcm2835(POWER_MANAGEMENT)), reset: Some(Reset::bcm2835(POWER_MANAGEMENT)) },
    ..UNKNOWN
};
