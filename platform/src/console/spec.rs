//! Which console: from the command line, the device tree, the board.
//!
//! The forms are Linux's: `earlycon=uart8250,io,0x3f8,115200n8`, `earlycon=uart8250,mmio32,0xfe215040`,
//! `earlycon=pl011,0x9000000`, bare `earlycon` for the device tree's `stdout-path`; `console=` takes the same, or the
//! name of a device (`ttyS0`, `ttyAMA0`, `ttyPS0`), or `none`. [`choose`] gives the candidates in the order in which they are
//! worth trying; the first that can be opened is the console. Linux: `register_earlycon` in
//! `drivers/tty/serial/earlycon.c`, `uart_parse_earlycon` in `serial_core.c`.

use super::kind::UartKind;
use super::ns16550::Line;
use super::registers::{Width, Window};
use crate::board::Board;
use crate::cmdline::Cmdline;
use arrayvec::ArrayVec;
use core::fmt;
use mm::addr::PhysAddr;

/// A serial console: which device, where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConsoleSpec {
    /// What kind of device it is.
    pub kind: UartKind,
    /// Where its registers are.
    pub window: Window,
    /// Bits per second, where somebody asked for a speed.
    pub baud: Option<u32>,
    /// The clock in hertz that the speed is divided from, where it is known.
    pub clock: Option<u32>,
}

/// The clock of a PC's serial ports in hertz.
const PC_CLOCK: u32 = 1_843_200;

/// Why a console cannot be understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpecError {
    /// There is no driver of this name.
    Driver,
    /// No register layout is called so.
    Layout,
    /// The address is missing or no number.
    Address,
    /// The machine has no such device, as far as is known.
    Device,
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Driver => "no console driver of this name",
            Self::Layout => "the register layout must be io, mmio, mmio16, mmio32 or mmio32be, as the driver allows",
            Self::Address => "the address is missing or no number",
            Self::Device => "this machine has no such serial device",
        })
    }
}

impl core::error::Error for SpecError {}

impl ConsoleSpec {
    /// A PC's serial port.
    #[must_use]
    pub const fn ns16550_io(base: u16) -> Self {
        Self { kind: UartKind::Ns16550, window: Window::Io { base }, baud: None, clock: Some(PC_CLOCK) }
    }

    /// A PL011.
    #[must_use]
    pub const fn pl011(base: PhysAddr) -> Self {
        Self::words(UartKind::Pl011, base)
    }

    /// A device of `kind` at `named`, laid out as usual; `None` where no register can be there.
    #[must_use]
    pub fn usual(kind: UartKind, named: PhysAddr) -> Option<Self> {
        let window = kind.profile().declared.first()?.window(named)?;
        Some(Self { kind, window, baud: None, clock: None })
    }

    /// A device of a kind whose registers are words from the address on that is named.
    #[must_use]
    pub const fn words(kind: UartKind, base: PhysAddr) -> Self {
        Self { kind, window: Window::mmio32(base), baud: None, clock: None }
    }

    /// The address by which an `earlycon=` names it: a port's number, or that of a register.
    #[must_use]
    pub fn named_address(&self) -> u64 {
        let register_0 = self.kind.profile().declared.first().map_or(0, |declared| declared.register_0);
        match self.window {
            Window::Io { base } => base.into(),
            Window::Mmio { base, .. } => base.as_u64().wrapping_sub_signed(register_0),
        }
    }

    /// The speed to set, where it was asked for and can be set.
    #[must_use]
    pub fn line(&self) -> Option<Line> {
        Some(Line { baud: self.baud?, clock: self.clock? })
    }

    /// The console that the value of an `earlycon=` names.
    ///
    /// # Errors
    /// Which part of it cannot be understood.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        let (driver, rest) = text.split_once(',').ok_or(SpecError::Address)?;
        let (kind, declared) = UartKind::by_earlycon(driver).ok_or(SpecError::Driver)?;
        // The layout may be left out, as Linux allows: what stands there is then the address.
        let (layout, rest) = match rest.split_once(',') {
            Some((layout, rest)) if number(layout).is_none() => (Some(layout), rest),
            _ => (None, rest),
        };
        let (address, options) = rest.split_once(',').unwrap_or((rest, ""));
        let base = number(address).ok_or(SpecError::Address)?;
        let named = PhysAddr::new(base);
        let usual = declared.window(named).ok_or(SpecError::Address)?;
        let mmio = |width, shift| Window::Mmio { base: named, shift, width };
        let window = match layout {
            None => usual,
            // Where there is only one layout, Linux's drivers take it whichever of these is named.
            Some("mmio" | "mmio32") if kind.is_fixed_layout() => usual,
            Some("mmio32be") if kind.is_fixed_layout() => usual.big_endian().ok_or(SpecError::Layout)?,
            Some(_) if kind.is_fixed_layout() => return Err(SpecError::Layout),
            Some("io") => Window::Io { base: u16::try_from(base).map_err(|_| SpecError::Address)? },
            Some("mmio") => mmio(Width::Bits8, declared.shift),
            Some("mmio16") => mmio(Width::Bits16, 1),
            Some("mmio32") => mmio(Width::Bits32, 2),
            Some("mmio32be") => mmio(Width::Bits32Big, 2),
            Some(_) => return Err(SpecError::Layout),
        };
        let clock = matches!(window, Window::Io { .. }).then_some(PC_CLOCK);
        Ok(Self { kind, window, baud: baud(options), clock })
    }
}

/// A number as command lines write it: decimal, or hexadecimal after `0x`.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if !digits.starts_with('+') => u64::from_str_radix(digits, 16).ok(),
        Some(_) => None,
        None if text.starts_with(|first: char| first.is_ascii_digit()) => text.parse().ok(),
        None => None,
    }
}

/// The speed at the front of options such as `115200n8`.
pub(crate) fn baud(options: &str) -> Option<u32> {
    let digits = options.find(|character: char| !character.is_ascii_digit()).unwrap_or(options.len());
    options.get(..digits)?.parse().ok().filter(|&baud| baud > 0)
}

/// The candidates for the console, best first.
pub type Candidates = ArrayVec<ConsoleSpec, 6>;

/// The consoles worth trying, best first: what `earlycon=` names, then what the last `console=` names, then what the
/// machine itself names (`tree`: by its device tree, or by ACPI's SPCR), then the board's. After `console=none` only
/// an `earlycon=` counts. Items that cannot be understood go to `reject`, with the reason, and are passed over.
pub fn choose(
    cmdline: &Cmdline,
    tree: Option<ConsoleSpec>,
    board: &Board,
    reject: &mut dyn FnMut(&str, SpecError),
) -> Candidates {
    let mut candidates = Candidates::new();
    let mut add = |spec: Option<ConsoleSpec>| {
        if let Some(spec) = spec
            && !candidates.contains(&spec)
        {
            // More candidates than there is room for are of no use to anybody.
            let _ = candidates.try_push(spec);
        }
    };
    let mut understood = |text: &str, result: Result<ConsoleSpec, SpecError>| match result {
        Ok(spec) => Some(spec),
        Err(error) => {
            reject(text, error);
            None
        }
    };
    for value in cmdline.all("earlycon") {
        match value {
            Some(text) if !text.is_empty() => add(understood(text, ConsoleSpec::parse(text))),
            _ => add(tree),
        }
    }
    match cmdline.get("console") {
        Some("none" | "null" | "") => return candidates,
        Some(text) => add(understood(text, device(text, tree, board))),
        None => {}
    }
    add(tree);
    add(board.serial.first().copied());
    candidates
}

/// The console that the value of a `console=` names.
fn device(text: &str, tree: Option<ConsoleSpec>, board: &Board) -> Result<ConsoleSpec, SpecError> {
    let (name, options) = text.split_once(',').unwrap_or((text, ""));
    let (tty, index) = name.split_at(name.find(|letter: char| letter.is_ascii_digit()).unwrap_or(name.len()));
    if !name.starts_with("tty") {
        return ConsoleSpec::parse(text);
    }
    let index: usize = index.parse().map_err(|_| SpecError::Device)?;
    let is_called_so = |spec: &ConsoleSpec| spec.kind.profile().tty == tty;
    let mut spec = match tree.filter(is_called_so) {
        Some(spec) if index == 0 => spec,
        _ => board.serial.iter().copied().filter(is_called_so).nth(index).ok_or(SpecError::Device)?,
    };
    spec.baud = baud(options).or(spec.baud);
    Ok(spec)
}
