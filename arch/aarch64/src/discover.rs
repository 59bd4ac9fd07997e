//! From x0 to a description of the machine: the device tree, and the way to speak and to end that it names.
//!
//! The loader gives one address. [`boot_info`] maps the tree there, lets `platform` check and read it, and from then on
//! [`exit`](crate::exit) knows how this machine ends. Everything else is asked of the result. Without a tree nothing
//! is known of the machine: then the kernel says so on whatever console answers at a usual place, and stops. Linux:
//! `setup_machine_fdt` in `arch/arm64/kernel/setup.c`, `early_init_dt_scan`.

use crate::exit::{self, TestDevice};
use crate::paging::{self, EarlyMap, TreeError};
use crate::traps::probe;
use core::fmt;
use mm::addr::{PhysAddr, PhysRange, VirtAddr};
use mm::machine::MachineSink;
use mm::numa::AffinityRules;
use platform::board::{self, Board};
use platform::console::registers::{Width, Window};
use platform::console::spec::{self, Candidates, SpecError};
use platform::console::{ConsoleSpec, Registers, Uart, UartKind};
use platform::handover::{BootInfo, HandoverError, MemoryMapSource, image};
use platform::read::PhysRead;

/// How memory and CPUs come to nodes on this architecture.
pub const AFFINITY_RULES: AffinityRules = AffinityRules::Arm64;

/// Why nothing is known of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiscoverError {
    /// There is no device tree where x0 points.
    NoTree {
        /// What the loader left in x0.
        handover: u64,
        /// What is wrong there.
        error: TreeError,
    },
    /// There is one, and it cannot be used.
    BadTree(HandoverError),
}

impl fmt::Display for DiscoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTree { handover, error } => {
                write!(f, "no device tree where the boot loader's x0 points, {handover:#x}: {error}")
            }
            Self::BadTree(error) => write!(f, "{error}"),
        }
    }
}

impl core::error::Error for DiscoverError {}

/// What the boot loader left behind. Also tells [`exit`](crate::exit) how this machine ends. Works once: the tree is
/// handed out for good.
///
/// # Errors
/// There is no device tree, or none that can be used.
pub fn boot_info(handover: u64, early: &mut EarlyMap) -> Result<BootInfo<'static>, DiscoverError> {
    let at = PhysAddr::new(handover);
    let blob = paging::map_dtb(at).map_err(|error| DiscoverError::NoTree { handover, error })?;
    let boot = image::read(at, blob).map_err(DiscoverError::BadTree)?;
    let test = match boot.cmdline.get("exit") {
        Some("semihosting") => TestDevice::Semihosting,
        _ => TestDevice::None,
    };
    exit::set_ways(test, boot.power_off(early).or(board(&boot).power));
    Ok(boot)
}

/// Hands every fact about memory to `sink`.
pub fn machine(boot: &BootInfo<'_>, read: &mut dyn PhysRead, sink: &mut dyn MachineSink) {
    boot.describe(read, sink);
}

/// What is assumed of this board.
fn board(boot: &BootInfo<'_>) -> &'static Board {
    let known = match &boot.map {
        MemoryMapSource::DeviceTree(blob) => board::by_compatible(blob.compatible()),
        _ => None,
    };
    known.unwrap_or(&board::UNKNOWN)
}

/// The consoles worth trying, best first. What cannot be understood on the command line goes to `reject`.
pub fn consoles(boot: &BootInfo<'_>, reject: &mut dyn FnMut(&str, SpecError)) -> Candidates {
    spec::choose(&boot.cmdline, boot.stdout(), board(boot), reject)
}

/// The consoles worth trying when nothing is known: each is used only if it says what it is.
pub fn default_consoles() -> impl Iterator<Item = ConsoleSpec> {
    board::BOARDS.iter().flat_map(|board| board.serial).copied().filter(|spec| spec.kind == UartKind::Pl011)
}

/// A serial device behind memory-mapped registers.
pub type KernelUart = Uart<MappedRegisters>;

/// The device of `spec`, ready for use, if it answers there and is what the spec says.
#[must_use]
pub fn open_uart(spec: &ConsoleSpec) -> Option<KernelUart> {
    let mut uart = Uart::new(spec, MappedRegisters::map(spec)?);
    if !uart.probe() {
        return None;
    }
    uart.init();
    Some(uart)
}

/// The registers of a device, in the fixmap.
#[derive(Clone, Copy, Debug)]
pub struct MappedRegisters {
    base: VirtAddr,
    window: Window,
}

impl MappedRegisters {
    /// Maps the registers of `spec`, if something answers at the last of them.
    fn map(spec: &ConsoleSpec) -> Option<Self> {
        let window = spec.window;
        let Window::Mmio { base, shift: 0..=3, .. } = window else { return None };
        // The identification registers, which are read in any case: to read them has no effect on the device.
        let (size, harmless) = match spec.kind {
            UartKind::Pl011 => (0x1000, 0xffc / 4),
            UartKind::Ns16550 => (window.offset(8), 7),
        };
        let registers = Self { base: paging::map_device(base, size)?, window };
        probe::load(registers.at(harmless), registers.width()).ok()?;
        Some(registers)
    }

    fn at(&self, register: u32) -> VirtAddr {
        self.base.saturating_add(self.window.offset(register))
    }

    fn width(&self) -> Width {
        match self.window {
            Window::Mmio { width, .. } => width,
            Window::Io { .. } => Width::Bits8,
        }
    }
}

impl Registers for MappedRegisters {
    fn read(&mut self, register: u32) -> u32 {
        // A device that no longer answers reads as zero; the drivers' waits are bounded.
        probe::load(self.at(register), self.width()).unwrap_or(0)
    }

    fn write(&mut self, register: u32, value: u32) {
        // SAFETY: `map` found a device at this address, whose driver says what it takes; it is no memory.
        let _ = unsafe { probe::store(self.at(register), self.width(), value) };
    }
}

/// Where zones end. `ram` reaches from the first to the last byte of memory; `dma_limit` is the highest address that
/// every device reaches, where the device tree says that some do not reach all.
#[must_use]
#[cfg(any())]
pub fn zone_limits(ram: PhysRange) -> mm::zone::ZoneLimits {
    mm::zone::ZoneLimits::arm64(ram, None)
}
