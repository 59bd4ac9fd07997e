//! The kinds of serial devices that are driven here, and by which names the world knows them.
//!
//! A kind is met under four names: what stands in a device tree's `compatible`, the driver in an `earlycon=`, the number
//! of an interface in ACPI's SPCR, and the device of a `console=`. Each driver's file states its own in a [`Profile`];
//! this file finds the kind by any of them. To add one: its file, a line in [`UartKind`], one in `ALL`, one in
//! `profile`, one in [`super::Uart::new`].
//!
//! Linux: `OF_EARLYCON_DECLARE` in each driver, `__earlycon_table`; `acpi_parse_spcr`; the numbers are those of
//! Microsoft's Debug Port Table 2.

use super::registers::{Width, Window};
use super::{armada, bcm_mini, cadence, geni, imx, lpuart, meson, msm_uartdm, ns16550, pl011, sbsa, scif};
use mm::addr::PhysAddr;

/// A kind of serial device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UartKind {
    /// A 16550 or what is compatible with it.
    Ns16550,
    /// Arm's PL011.
    Pl011,
    /// The part of a PL011 that Arm's SBSA asks for: no line or speed to set.
    SbsaUart,
    /// Broadcom's mini UART: a 16550 by its registers, behind a switch of its own.
    BcmMiniUart,
    /// Cadence's UART, in Xilinx's Zynq and ZynqMP.
    Cadence,
    /// Qualcomm's GENI engine with the firmware of a UART.
    Geni,
    /// The UART of i.MX.
    Imx,
    /// The UART of Amlogic's Meson.
    Meson,
    /// Qualcomm's UARTDM, before GENI.
    MsmUartDm,
    /// The UART of Marvell's Armada 3700.
    Armada,
    /// The low-power UART of NXP, with registers of 32 bits.
    Lpuart,
    /// Renesas' serial interface with FIFOs.
    Scif,
}

/// Every kind; where two share a name, the one that it means stands first.
const ALL: [UartKind; 12] = [
    UartKind::Ns16550,
    UartKind::Pl011,
    UartKind::SbsaUart,
    UartKind::BcmMiniUart,
    UartKind::Cadence,
    UartKind::Geni,
    UartKind::Imx,
    UartKind::Meson,
    UartKind::MsmUartDm,
    UartKind::Armada,
    UartKind::Lpuart,
    UartKind::Scif,
];

/// A pair of names, as Linux declares them, and how registers lie there unless somebody says otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Declared {
    /// The driver in an `earlycon=`.
    pub earlycon: &'static str,
    /// The string of a device tree's `compatible`; empty where there is none.
    pub compatible: &'static str,
    /// Binary logarithm of the distance between registers in bytes.
    pub shift: u8,
    /// How wide an access is.
    pub width: Width,
    /// Bytes from the address that is named to register 0 of the driver.
    pub register_0: i64,
}

impl Declared {
    /// Registers of 32 bits, 4 bytes apart, from the address on.
    pub(super) const fn words(earlycon: &'static str, compatible: &'static str) -> Self {
        Self { earlycon, compatible, shift: 2, width: Width::Bits32, register_0: 0 }
    }

    /// Where the driver's registers are when `named` is the address that stands in a table, a tree or a command line.
    #[must_use]
    pub fn base(&self, named: PhysAddr) -> Option<PhysAddr> {
        named.as_u64().checked_add_signed(self.register_0).map(PhysAddr::new)
    }

    /// The window of registers at `named`, laid out as usual.
    #[must_use]
    pub fn window(&self, named: PhysAddr) -> Option<Window> {
        Some(Window::Mmio { base: self.base(named)?, shift: self.shift, width: self.width })
    }
}

/// Whether a probe that succeeds is more than "nothing speaks against it".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Identity {
    /// The device says what it is, in registers that are there for it, and is only read for that.
    Stated,
    /// Somebody must have said that there is such a device.
    Believed,
}

/// What is known of a kind.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// Its names, the usual one first.
    pub declared: &'static [Declared],
    /// The numbers of its interface in SPCR.
    pub interfaces: &'static [u8],
    /// What its devices are called in a `console=`, without their number.
    pub tty: &'static str,
    /// How many registers the driver knows.
    pub registers: u32,
    /// A register that may be read whatever state the device is in, to see whether anybody answers.
    pub harmless: u32,
    /// What its probe is worth.
    pub identity: Identity,
}

impl UartKind {
    /// What is known of it.
    #[must_use]
    pub const fn profile(self) -> &'static Profile {
        match self {
            Self::Ns16550 => &ns16550::PROFILE,
            Self::Pl011 => &pl011::PROFILE,
            Self::SbsaUart => &sbsa::PROFILE,
            Self::BcmMiniUart => &bcm_mini::PROFILE,
            Self::Cadence => &cadence::PROFILE,
            Self::Geni => &geni::PROFILE,
            Self::Imx => &imx::PROFILE,
            Self::Meson => &meson::PROFILE,
            Self::MsmUartDm => &msm_uartdm::PROFILE,
            Self::Armada => &armada::PROFILE,
            Self::Lpuart => &lpuart::PROFILE,
            Self::Scif => &scif::PROFILE,
        }
    }

    /// Whether its registers always lie one way, so that nobody need say how.
    #[must_use]
    pub fn is_fixed_layout(self) -> bool {
        self != Self::Ns16550
    }

    /// The kind that `earlycon=NAME` means.
    #[must_use]
    pub fn by_earlycon(name: &str) -> Option<(Self, &'static Declared)> {
        Self::find(|declared| declared.earlycon == name)
    }

    /// The kind of a device tree's node with this string in its `compatible`.
    #[must_use]
    pub fn by_compatible(string: &str) -> Option<(Self, &'static Declared)> {
        Self::find(|declared| !string.is_empty() && declared.compatible == string)
    }

    /// The kind behind this number of an interface in SPCR.
    #[must_use]
    pub fn by_interface(number: u8) -> Option<Self> {
        ALL.into_iter().find(|kind| kind.profile().interfaces.contains(&number))
    }

    /// Every kind.
    pub fn all() -> impl Iterator<Item = Self> {
        ALL.into_iter()
    }

    fn find(wanted: impl Fn(&Declared) -> bool) -> Option<(Self, &'static Declared)> {
        ALL.into_iter().find_map(|kind| Some((kind, kind.profile().declared.iter().find(|entry| wanted(entry))?)))
    }
}
