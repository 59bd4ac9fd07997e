//! Boards, as data: what to assume of a machine whose firmware does not say. One file a board.
//!
//! Where the console is before anything is parsed, how power goes off where neither ACPI nor PSCI nor the device tree
//! says so, and which interrupt controller there is where no table names one. Nothing else is assumed: a board has no
//! RAM constants, and what the firmware says always comes first. A board that the device tree or ACPI describes wholly
//! needs no entry. How to add one: `docs/porting.md`.

mod microvm;
mod pc;
mod q35;
mod raspi3b;
mod sbsa_ref;
mod virt;
mod xlnx_versal_virt;
mod xlnx_zcu102;

pub use microvm::MICROVM;
pub use pc::PC;
pub use q35::Q35;
pub use raspi3b::RASPI3B;
pub use sbsa_ref::SBSA_REF;
pub use virt::VIRT;
pub use xlnx_versal_virt::XLNX_VERSAL_VIRT;
pub use xlnx_zcu102::XLNX_ZCU102;

use crate::console::ConsoleSpec;
use crate::firmware::interrupts::{IrqController, Redistributors, Registers};
use crate::power::{Off, PowerOff, Register, Reset};
use core::fmt;
use mm::addr::PhysAddr;

/// Every board. Where a device tree's strings fit several, the string that stands first in the tree decides.
pub const BOARDS: &[Board] = &[PC, Q35, MICROVM, VIRT, RASPI3B, SBSA_REF, XLNX_ZCU102, XLNX_VERSAL_VIRT];

/// What is assumed of a board.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Board {
    /// Its name; for the machines of QEMU, QEMU's.
    pub name: &'static str,
    /// Strings of the device tree root's `compatible` by which it is known, where it has a device tree.
    pub compatible: &'static [&'static str],
    /// Vendor and device of the PCI function 00:00.0, by which it is known, where it has PCI.
    pub host_bridge: Option<(u16, u16)>,
    /// Its serial ports, the console first.
    pub serial: &'static [ConsoleSpec],
    /// How it ends, where no table says so.
    pub power: PowerOff,
    /// The interrupt controller of its CPUs, where no table names one.
    pub interrupts: Option<Interrupts>,
}

/// An interrupt controller that no table names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interrupts {
    /// A GIC of version 3 or 4.
    Gic3 {
        /// The registers that all CPUs share.
        distributor: PhysAddr,
        /// Those of each CPU, one after another from here on.
        redistributors: PhysAddr,
        /// How many bytes there are for them.
        redistributor_bytes: u64,
    },
}

/// A machine of which nothing is known.
pub const UNKNOWN: Board = Board {
    name: "unknown",
    compatible: &[],
    host_bridge: None,
    serial: &[],
    power: PowerOff::UNKNOWN,
    interrupts: None,
};

// What PCs have in common.

const COM_PORTS: &[ConsoleSpec] = &[
    ConsoleSpec::ns16550_io(0x3f8),
    ConsoleSpec::ns16550_io(0x2f8),
    ConsoleSpec::ns16550_io(0x3e8),
    ConsoleSpec::ns16550_io(0x2e8),
];

/// The keyboard controller's pulse on the reset line.
const KEYBOARD_RESET: Option<Reset> = Some(Reset::Byte { register: Register::Io(0x64), value: 0xfe });
/// The chip set's reset control register.
const CHIPSET_RESET: Option<Reset> = Some(Reset::Byte { register: Register::Io(0xcf9), value: 0x06 });

const fn pm1(port: u16) -> Option<Off> {
    Some(Off::Pm1 { a: Register::Io(port), sleep_type_a: 0, b: None, enable: None })
}

impl Board {
    /// The interrupt controller that is assumed, where there can be one.
    #[must_use]
    pub fn irq_controller(&self) -> Option<IrqController> {
        match self.interrupts? {
            Interrupts::Gic3 { distributor, redistributors, redistributor_bytes } => {
                let ranges = Registers::REDISTRIBUTOR.of_size(redistributors.as_u64(), redistributor_bytes).ok()?;
                let mut found = Redistributors::default();
                found.push(ranges).ok()?;
                let distributor = Registers::DISTRIBUTOR_3.at(distributor.as_u64()).ok()?;
                Some(IrqController::Gic3 { distributor, redistributors: found })
            }
        }
    }
}

/// The board that one of the strings of a device tree root's `compatible` names.
#[must_use]
pub fn by_compatible<'s>(mut compatible: impl Iterator<Item = &'s str>) -> Option<&'static Board> {
    compatible.find_map(|string| BOARDS.iter().find(|board| board.compatible.contains(&string)))
}

/// Prints which board that is; of one that is not known, by what it could be: what its device tree says.
///
/// # Errors
/// When `text` refuses.
pub fn print<'s>(board: &Board, compatible: impl Iterator<Item = &'s str>, text: &mut dyn fmt::Write) -> fmt::Result {
    if *board != UNKNOWN {
        return writeln!(text, "Board: {}", board.name);
    }
    write!(text, "Board: none that is known; the device tree says")?;
    for string in compatible {
        write!(text, " {string:?}")?;
    }
    writeln!(text)
}

/// The PC whose PCI function 00:00.0 has this vendor and device; [`MICROVM`] where there is no PCI.
#[must_use]
pub fn by_host_bridge(id: Option<(u16, u16)>) -> Option<&'static Board> {
    match id {
        Some(_) => BOARDS.iter().find(|board| board.host_bridge == id),
        None => Some(&MICROVM),
    }
}

#[cfg(test)]
mod tests;
