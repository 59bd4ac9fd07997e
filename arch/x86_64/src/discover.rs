//! From what the boot loader handed over to the description of the machine.
//!
//! The reading is `platform`'s; this names what only this architecture knows: that the hand-over is Limine's or PVH,
//! which may leave ACPI's root pointer to be looked for, that the CPU's range registers have a word on what is RAM,
//! which consoles and which ways to end a PC has. Linux: `kernel/setup.c`, `platform/pvh/enlighten.c`.

use crate::cpu;
use crate::cpu::StartFacts;
use crate::irqchip::IrqFacts;
use crate::paging::EarlyMap;
use crate::port;
use crate::registers::{DeviceRegisters, SlotPorts};
use crate::{entry, exit};
use core::fmt;
use mm::addr::PhysAddr;
use mm::machine::{MachineSink, Rules, Warning};
use platform::ConsoleSpec;
use platform::board::{self, Board};
use platform::console::Uart;
use platform::console::spec::{self, Candidates, SpecError};
use platform::firmware::acpi;
use platform::handover::{BootInfo, HandoverError, limine, pvh};
use platform::power::PowerOff;
use platform::read::PhysRead;
use platform::slots::MemorySlots;

/// Whose rules apply.
pub const RULES: Rules = Rules::X86;

/// A serial console of this machine.
pub type KernelUart = Uart<DeviceRegisters>;

/// What the boot loader left behind. What `handover` is depends on how the kernel was entered: the address of PVH's
/// `hvm_start_info`, or the offset of the direct map of a loader of Limine's protocol.
///
/// # Errors
/// When what the loader left cannot be read, or is none of that.
pub fn boot_info(handover: u64, read: &mut EarlyMap) -> Result<BootInfo<'static>, HandoverError> {
    let mut boot = match entry::limine::left(handover) {
        Some(left) => limine::read(&left, None, read)?,
        None => by_pvh(PhysAddr::new(handover), read)?,
    };
    boot.mtrr = cpu::range_registers();
    boot.find_console(read);
    exit::prepare(&boot.cmdline, power(&boot, read));
    Ok(boot)
}

/// What a PVH loader left. Only there may ACPI's root pointer have to be looked for: such a loader need not know it, and
/// the firmware is a BIOS where it is not.
fn by_pvh(start_info: PhysAddr, read: &mut EarlyMap) -> Result<BootInfo<'static>, HandoverError> {
    let mut boot = pvh::read(start_info, read)?;
    if boot.rsdp.is_none() {
        boot.rsdp = acpi::search_bios(read);
    }
    Ok(boot)
}

/// Hands everything that the firmware says of memory to `sink`.
pub fn machine(boot: &BootInfo<'_>, read: &mut dyn PhysRead, sink: &mut dyn MachineSink) {
    boot.describe(RULES, read, sink);
}

/// Prints the firmware's memory map, what the rules of a PC change in it, and ACPI's tables.
///
/// # Errors
/// When `text` refuses.
pub fn print_map(boot: &BootInfo<'_>, read: &mut dyn PhysRead, text: &mut dyn fmt::Write) -> fmt::Result {
    if let Some(map) = boot.pc_map() {
        map.print(read, text)?;
        map.print_user(read, text)?;
        boot.print_efi(RULES, read, text)?;
        map.print_legacy(read, text)?;
        writeln!(text, "{}", cpu::page_attributes())?;
        map.print_uncached(read, text)?;
        boot.print_mirrored(read, text)?;
    }
    boot.print_tables(read, text)
}

/// The consoles worth trying, best first. What cannot be understood on the command line goes to `reject`.
pub fn consoles(boot: &BootInfo<'_>, reject: &mut dyn FnMut(&str, SpecError)) -> Candidates {
    spec::choose(&boot.cmdline, boot.stdout(), board(), reject)
}

/// The consoles worth trying when the boot loader left nothing that can be read.
pub fn default_consoles() -> impl Iterator<Item = ConsoleSpec> {
    board().serial.iter().copied()
}

/// The console of `spec`, ready for use, if a device answers there.
#[must_use]
pub fn open_uart(spec: &ConsoleSpec) -> Option<KernelUart> {
    let mut uart = Uart::new(spec, DeviceRegisters::open(spec.window)?);
    uart.probe().then(|| {
        uart.init();
        uart
    })
}

/// The registers of memory slots.
#[must_use]
pub const fn open_slots(slots: &MemorySlots) -> Option<SlotPorts> {
    Some(SlotPorts { base: slots.base })
}

/// What the firmware says of interrupts. What of it cannot be used goes to `warn`.
pub fn irq_facts(boot: &BootInfo<'_>, read: &mut dyn PhysRead, warn: &mut dyn FnMut(Warning)) -> Option<IrqFacts> {
    Some(IrqFacts { controller: boot.irq_controller(RULES, read, warn) })
}

/// What the firmware says of starting CPUs: nothing that is needed here.
pub fn start_facts(_: &BootInfo<'_>, _: &mut dyn PhysRead) -> StartFacts {
    StartFacts
}

/// How this machine says that it ends; where its tables say nothing, how its board does.
fn power(boot: &BootInfo<'_>, read: &mut dyn PhysRead) -> PowerOff {
    boot.power_off(read).or(board().power)
}

/// The board, by the vendor and device of its host bridge; the plainest of PCs when it is none that is known.
fn board() -> &'static Board {
    const HOST_BRIDGE: u32 = 0x8000_0000;
    // SAFETY: the first ports select a word of PCI configuration space, the second read it: here who made the host
    // bridge. Without PCI all bits are ones.
    let id = unsafe {
        port::write_u32(0xcf8, HOST_BRIDGE);
        port::read_u32(0xcfc)
    };
    let id = (id != u32::MAX).then_some((id as u16, (id >> 16) as u16));
    board::by_host_bridge(id).unwrap_or(&board::MICROVM)
}
