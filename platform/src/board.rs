//! Boards, as data: what to assume of a machine whose firmware does not say.
//!
//! Where the console is before anything is parsed, and how power goes off where neither ACPI nor PSCI says so. Nothing
//! else is assumed: a board has no RAM constants. A board that the device tree or ACPI describes wholly needs no entry.

use crate::console::ConsoleSpec;
use crate::power::{Conduit, Off, PowerOff, Register, Reset};
use mm::addr::PhysAddr;

/// What is assumed of a board.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Board {
    /// Its name; for the machines of QEMU, QEMU's.
    pub name: &'static str,
    /// The string of the device tree root's `compatible` by which it is known, where it has a device tree.
    pub compatible: Option<&'static str>,
    /// Vendor and device of the PCI function 00:00.0, by which it is known, where it has PCI.
    pub host_bridge: Option<(u16, u16)>,
    /// Its serial ports, the console first.
    pub serial: &'static [ConsoleSpec],
    /// How it ends, where no table says so.
    pub power: PowerOff,
}

const COM_PORTS: &[ConsoleSpec] = &[
    ConsoleSpec::ns16550_io(0x3f8),
    ConsoleSpec::ns16550_io(0x2f8),
    ConsoleSpec::ns16550_io(0x3e8),
    ConsoleSpec::ns16550_io(0x2e8),
];

/// The keyboard controller's pulse on the reset line.
const KEYBOARD_RESET: Option<Reset> = Some(Reset { register: Register::Io(0x64), value: 0xfe });
/// The chip set's reset control register.
const CHIPSET_RESET: Option<Reset> = Some(Reset { register: Register::Io(0xcf9), value: 0x06 });

const fn pm1(port: u16) -> Option<Off> {
    Some(Off::Pm1 { a: Register::Io(port), sleep_type_a: 0, b: None, enable: None })
}

/// QEMU's `pc` (i440FX and PIIX3).
pub const PC: Board = Board {
    name: "pc",
    compatible: None,
    host_bridge: Some((0x8086, 0x1237)),
    serial: COM_PORTS,
    power: PowerOff { off: pm1(0x604), reset: CHIPSET_RESET },
};

/// QEMU's `q35` (ICH9).
pub const Q35: Board = Board {
    name: "q35",
    compatible: None,
    host_bridge: Some((0x8086, 0x29c0)),
    serial: COM_PORTS,
    power: PowerOff { off: pm1(0x604), reset: CHIPSET_RESET },
};

/// QEMU's `microvm`, and what to assume of any PC without PCI.
pub const MICROVM: Board = Board {
    name: "microvm",
    compatible: None,
    host_bridge: None,
    serial: COM_PORTS,
    power: PowerOff { off: None, reset: KEYBOARD_RESET },
};

/// QEMU's `virt` for Arm.
pub const VIRT: Board = Board {
    name: "virt",
    compatible: Some("linux,dummy-virt"),
    host_bridge: None,
    serial: &[ConsoleSpec::pl011(PhysAddr::new(0x0900_0000))],
    power: PowerOff { off: Some(Off::Psci(Conduit::Hvc)), reset: None },
};

/// A machine of which nothing is known.
pub const UNKNOWN: Board =
    Board { name: "unknown", compatible: None, host_bridge: None, serial: &[], power: PowerOff::UNKNOWN };

/// Every board.
pub const BOARDS: &[Board] = &[PC, Q35, MICROVM, VIRT];

/// The board that one of the strings of a device tree root's `compatible` names.
#[must_use]
pub fn by_compatible<'s>(mut compatible: impl Iterator<Item = &'s str>) -> Option<&'static Board> {
    compatible.find_map(|string| BOARDS.iter().find(|board| board.compatible == Some(string)))
}

/// The PC whose PCI function 00:00.0 has this vendor and device; [`MICROVM`] where there is no PCI.
#[must_use]
pub fn by_host_bridge(id: Option<(u16, u16)>) -> Option<&'static Board> {
    match id {
        Some(_) => BOARDS.iter().find(|board| board.host_bridge == id),
        None => Some(&MICROVM),
    }
}
