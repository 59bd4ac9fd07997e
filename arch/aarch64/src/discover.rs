//! From what the boot loader left to a description of the machine, and the way to speak and to end that it names.
//!
//! A loader of Linux Images gives one address, of a device tree. One of the Limine protocol gives its answers, among
//! them where the firmware's tables are: a device tree, ACPI's tables, EFI's memory map, or several of them.
//! [`boot_info`] maps the tree, which is needed for good, and lets `platform` check and read all of it; everything else
//! is asked of the result, which knows which of two tables is believed. Where nothing says what memory there is, the
//! kernel says so on whatever console answers at a usual place, and stops. Linux: `setup_machine_fdt` in
//! `arch/arm64/kernel/setup.c`, `early_init_dt_scan`, `efi_init`, `acpi_boot_table_init`.

use crate::cpu::StartFacts;
use crate::entry;
use crate::exit;
use crate::irqchip::IrqFacts;
use crate::paging::{self, EarlyMap, TreeError};
use crate::registers::DeviceRegisters;
use core::fmt;
use log::warn;
use mm::addr::PhysAddr;
use mm::machine::{MachineSink, Rules, Warning};
use platform::board::{self, Board};
use platform::console::kind::Identity;
use platform::console::spec::{self, Candidates, SpecError};
use platform::console::{ConsoleSpec, Uart};
use platform::handover::limine::Requests;
use platform::handover::{BootInfo, HandoverError, image, limine};
use platform::power::PowerOff;
use platform::read::PhysRead;
use platform::slots::{MemorySlots, Ports};

/// Whose rules apply.
pub const RULES: Rules = Rules::Arm64;

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
    /// A loader of the Limine protocol does not say where its direct map is, into which all that it says points.
    NoDirectMap,
    /// What the boot loader left cannot be used.
    Handover(HandoverError),
}

impl fmt::Display for DiscoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTree { handover, error } => {
                write!(f, "no device tree where the boot loader's x0 points, {handover:#x}: {error}")
            }
            Self::NoDirectMap => f.write_str("the boot loader does not say where its direct map of memory is"),
            Self::Handover(error) => write!(f, "{error}"),
        }
    }
}

impl core::error::Error for DiscoverError {}

/// What the boot loader left behind; `handover` is what it had in x0. From then on [`exit`] knows how this machine ends.
/// Works once: the tree is handed out for good.
///
/// # Errors
/// What there is cannot be used.
pub fn boot_info(handover: u64, read: &mut EarlyMap) -> Result<BootInfo<'static>, DiscoverError> {
    let boot = match entry::limine_answers() {
        None => {
            let at = PhysAddr::new(handover);
            let blob = paging::map_dtb(at).map_err(|error| DiscoverError::NoTree { handover, error })?;
            image::read(at, blob)
        }
        Some(left) => {
            if left.words.get(Requests::HHDM_RESPONSE / size_of::<u64>()) == Some(&0) {
                return Err(DiscoverError::NoDirectMap);
            }
            let tree = left.device_tree(read).and_then(|at| match paging::map_dtb(at) {
                Ok(blob) => Some(blob),
                Err(error) => {
                    warn!("no device tree where the boot loader says, at {at:#x}: {error}");
                    None
                }
            });
            limine::read(&left, tree, read)
        }
    };
    let mut boot = boot.map_err(DiscoverError::Handover)?;
    boot.find_console(read);
    exit::prepare(&boot.cmdline, power(&boot, read));
    Ok(boot)
}

/// Hands every fact about memory to `sink`.
pub fn machine(boot: &BootInfo<'_>, read: &mut dyn PhysRead, sink: &mut dyn MachineSink) {
    boot.describe(RULES, read, sink);
}

/// What the firmware says of starting CPUs.
#[must_use]
pub fn start_facts(boot: &BootInfo<'_>, read: &mut dyn PhysRead) -> StartFacts {
    StartFacts { psci: boot.psci(read) }
}

/// What the firmware says of interrupts, or where it names no controller, what the board has; `None` when neither does.
/// What of it cannot be used goes to `warn`.
pub fn irq_facts(boot: &BootInfo<'_>, read: &mut dyn PhysRead, warn: &mut dyn FnMut(Warning)) -> Option<IrqFacts> {
    let controller = boot.irq_controller(RULES, read, warn).or_else(|| board(boot).irq_controller())?;
    Some(IrqFacts { controller, timer: boot.timer_interrupt(read) })
}

/// Prints what the machine calls itself, EFI's memory map where that is asked for, and the tables of ACPI. Of a device
/// tree Linux shows the memory nodes only as what becomes of them.
///
/// # Errors
/// When `text` refuses.
pub fn print_map(boot: &BootInfo<'_>, read: &mut dyn PhysRead, text: &mut dyn fmt::Write) -> fmt::Result {
    if let Some(tree) = &boot.tree
        && let Some(model) = tree.model().or_else(|| tree.compatible().next())
    {
        writeln!(text, "Machine model: {model}")?;
        board::print(board(boot), tree.compatible(), text)?;
    }
    boot.print_efi(RULES, read, text)?;
    boot.print_mirrored(read, text)?;
    boot.print_tables(read, text)
}

/// The registers of memory slots: `platform` knows them as I/O ports, which this architecture has not.
#[must_use]
pub const fn open_slots(_: &MemorySlots) -> Option<NoPorts> {
    None
}

/// I/O ports of a machine without any.
#[derive(Clone, Copy, Debug)]
pub enum NoPorts {}

impl Ports for NoPorts {
    fn read(&mut self, _: u16) -> u32 {
        match *self {}
    }

    fn write(&mut self, _: u16, _: u32) {
        match *self {}
    }
}

/// How this machine says that it ends; where its tables say nothing, how its board does.
fn power(boot: &BootInfo<'_>, read: &mut dyn PhysRead) -> PowerOff {
    boot.power_off(read).or(board(boot).power)
}

/// What is assumed of this board.
fn board(boot: &BootInfo<'_>) -> &'static Board {
    let known = boot.tree.as_ref().and_then(|tree| board::by_compatible(tree.compatible()));
    known.unwrap_or(&board::UNKNOWN)
}

/// The consoles worth trying, best first. What cannot be understood on the command line goes to `reject`.
pub fn consoles(boot: &BootInfo<'_>, reject: &mut dyn FnMut(&str, SpecError)) -> Candidates {
    spec::choose(&boot.cmdline, boot.stdout(), board(boot), reject)
}

/// The consoles worth trying when nothing is known: each is used only if it says what it is. Only for a kernel that has
/// nothing else left: where such an address stalls the bus, it ends there.
pub fn default_consoles() -> impl Iterator<Item = ConsoleSpec> {
    board::BOARDS.iter().flat_map(stated_consoles)
}

/// The consoles of `board` that say of themselves what they are.
pub(crate) fn stated_consoles(board: &Board) -> impl Iterator<Item = ConsoleSpec> {
    board.serial.iter().copied().filter(|spec| spec.kind.profile().identity == Identity::Stated)
}

/// A serial device behind memory-mapped registers.
pub type KernelUart = Uart<DeviceRegisters>;

/// The device of `spec`, ready for use, if it answers there and is what the spec says.
#[must_use]
pub fn open_uart(spec: &ConsoleSpec) -> Option<KernelUart> {
    let mut uart = Uart::new(spec, DeviceRegisters::open(spec)?);
    if !uart.probe() {
        return None;
    }
    uart.init();
    Some(uart)
}
