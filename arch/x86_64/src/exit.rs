//! The end: test device, power off, reset.
//!
//! Which ways there are is told once, by [`prepare`], when the command line and the firmware's tables have been read; a
//! kernel that ends before tries what does no harm where it is not there. Each way comes back when it does not work,
//! and the next is tried; at last a triple fault, which no machine survives. Linux: `kernel/reboot.c`,
//! `drivers/acpi/acpica/hwsleep.c`, `hwesleep.c`.

use crate::paging::map_device;
use crate::{Native, cpu, port, timer};
use mm::addr::VirtAddr;
use mm::arch::PhysMap;
use mm::sync::IrqLock;
use platform::Cmdline;
pub use platform::power::ExitStatus;
use platform::power::{AcpiEnable, Off, PowerOff, Register, Reset};

/// Whether somebody takes an exit status.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TestDevice {
    /// Nothing was said about it yet.
    Unknown,
    /// Nobody does.
    None,
    /// QEMU's `isa-debug-exit` at port 0xf4. The process ends with the value written, times two, plus one.
    IsaDebug,
}

/// The ways of this machine, with what they need already mapped.
#[derive(Clone, Copy, Debug)]
struct Ways {
    test: TestDevice,
    power: PowerOff,
    /// Where the power-off's registers in memory are mapped: sleep control, or PM1a and PM1b.
    off_mapped: [Option<VirtAddr>; 2],
    /// Where the reset register in memory is mapped.
    reset_mapped: Option<VirtAddr>,
}

static WAYS: IrqLock<Ways> = IrqLock::new(Ways {
    test: TestDevice::Unknown,
    power: PowerOff::UNKNOWN,
    off_mapped: [None; 2],
    reset_mapped: None,
});

const TEST_DEVICE: u16 = 0xf4;
const TEST_SUCCESS: u32 = 0x10;
const TEST_FAILURE: u32 = 0x11;
/// PM1 control: ACPI mode is on.
const SCI_ENABLED: u16 = 1;
/// PM1 control: the sleep type's bits and the bit that starts.
const SLEEP_BITS: u16 = 0x3c00;
/// How often a port is polled for an answer.
const PATIENCE: u32 = 100_000;
/// The chip set's reset control: a full reset, in two steps.
const RESET_CONTROL: u16 = 0xcf9;
/// The keyboard controller's command port, its status bit "busy", and the command that pulses the reset line.
const KEYBOARD: u16 = 0x64;
const KEYBOARD_BUSY: u8 = 2;
const KEYBOARD_RESET: u8 = 0xfe;

/// Learns from the command line (`exit=isa-debug`) and from the firmware's tables how this machine ends.
pub fn prepare(cmdline: &Cmdline, power: PowerOff) {
    let test = match cmdline.get("exit") {
        Some("isa-debug") => TestDevice::IsaDebug,
        _ => TestDevice::None,
    };
    set_ways(test, power);
}

/// Says which ways there are.
pub fn set_ways(test: TestDevice, power: PowerOff) {
    let map = |register| match register {
        Register::Memory(at) => map_device(at, 4),
        Register::Io(_) => None,
    };
    // PM1 control is 16 bits wide.
    let map_word = |register| map(register).filter(|at| at.is_aligned(2));
    let off_mapped = match power.off {
        Some(Off::Pm1 { a, b, .. }) => [map_word(a), b.and_then(|(b, _)| map_word(b))],
        Some(Off::SleepControl { control, .. }) => [map(control), None],
        Some(Off::Psci(_) | Off::Writes(_)) | None => [None; 2],
    };
    let reset_mapped = match power.reset {
        Some(Reset::Byte { register, .. }) => map(register),
        Some(Reset::Writes(_)) | None => None,
    };
    *WAYS.lock(Native) = Ways { test, power, off_mapped, reset_mapped };
}

/// What is known of the ways; nothing, when whoever was just interrupted changes it.
fn ways() -> Ways {
    match WAYS.try_lock(Native) {
        Some(ways) => *ways,
        None => Ways { test: TestDevice::Unknown, power: PowerOff::UNKNOWN, off_mapped: [None; 2], reset_mapped: None },
    }
}

/// Ends the run: by the test device, which takes `status`; else power goes off; else the machine resets.
pub fn power_off(status: ExitStatus) -> ! {
    let ways = ways();
    if ways.test != TestDevice::None {
        let value = match status {
            ExitStatus::Success => TEST_SUCCESS,
            ExitStatus::Failure => TEST_FAILURE,
        };
        // SAFETY: the port belongs to the test device, or to nobody; the kernel ends here.
        unsafe { port::write_u32(TEST_DEVICE, value) };
    }
    match ways.power.off {
        Some(Off::Pm1 { a, sleep_type_a, b, enable }) => {
            let [mapped_a, mapped_b] = ways.off_mapped;
            enter_acpi_mode(a, mapped_a, enable);
            // Both registers get the sleep type first, and only then the bit that starts, as ACPI asks for.
            for start in [0, Off::PM1_SLEEP_ENABLE] {
                write_pm1(a, mapped_a, Off::pm1_value(sleep_type_a) | start);
                if let Some((b, sleep_type_b)) = b {
                    write_pm1(b, mapped_b, Off::pm1_value(sleep_type_b) | start);
                }
            }
            wait();
        }
        Some(Off::SleepControl { control, sleep_type }) => {
            let [mapped, _] = ways.off_mapped;
            write_u8(control, mapped, Off::sleep_control_value(sleep_type));
            wait();
        }
        // No PC's.
        Some(Off::Psci(_) | Off::Writes(_)) | None => {}
    }
    reset()
}

/// Starts the machine over.
pub fn reset() -> ! {
    let ways = ways();
    if let Some(Reset::Byte { register, value }) = ways.power.reset {
        write_u8(register, ways.reset_mapped, value);
        wait();
    }
    // SAFETY: the kernel ends here, so it does not matter what these registers do to memory.
    unsafe {
        port::write_u8(RESET_CONTROL, 0x02);
        port::write_u8(RESET_CONTROL, 0x06);
        wait();
        for _ in 0..PATIENCE {
            if port::read_u8(KEYBOARD) & KEYBOARD_BUSY == 0 {
                break;
            }
        }
        port::write_u8(KEYBOARD, KEYBOARD_RESET);
        wait();
    }
    triple_fault()
}

/// An exception that has no gate, nor has the double fault that follows, nor the next.
fn triple_fault() -> ! {
    let nothing = x86_64::structures::DescriptorTablePointer { limit: 0, base: x86_64::VirtAddr::zero() };
    // SAFETY: the kernel ends with the next instruction.
    unsafe {
        x86_64::instructions::tables::lidt(&nothing);
        core::arch::asm!("int3", options(nomem, nostack));
    }
    cpu::halt()
}

/// Turns ACPI mode on, where firmware left it off.
fn enter_acpi_mode(control: Register, mapped: Option<VirtAddr>, enable: Option<AcpiEnable>) {
    let Some(AcpiEnable { port, value }) = enable else { return };
    if read_pm1(control, mapped) & SCI_ENABLED != 0 {
        return;
    }
    // SAFETY: the port asks firmware's system management code, which keeps its own memory.
    unsafe { port::write_u8(port, value) };
    for _ in 0..PATIENCE {
        if read_pm1(control, mapped) & SCI_ENABLED != 0 {
            break;
        }
    }
}

fn read_pm1(register: Register, mapped: Option<VirtAddr>) -> u16 {
    match (register, mapped) {
        // SAFETY: reading PM1 control has no effect.
        (Register::Io(port), _) => unsafe { port::read_u16(port) },
        // SAFETY: `set_ways` mapped the register for good, where it is aligned; reading it has no effect.
        (Register::Memory(_), Some(at)) => unsafe { Native.virt_ptr(at).cast::<u16>().read_volatile() },
        (Register::Memory(_), None) => 0,
    }
}

/// Changes the sleep bits of a PM1 control register.
fn write_pm1(register: Register, mapped: Option<VirtAddr>, value: u16) {
    let value = read_pm1(register, mapped) & !SLEEP_BITS | value;
    match (register, mapped) {
        // SAFETY: the power goes off with it, or nothing happens.
        (Register::Io(port), _) => unsafe { port::write_u16(port, value) },
        // SAFETY: `set_ways` mapped the register for good, where it is aligned; the power goes off with it, or nothing
        // happens.
        (Register::Memory(_), Some(at)) => unsafe { Native.virt_ptr(at).cast::<u16>().write_volatile(value) },
        (Register::Memory(_), None) => {}
    }
}

fn write_u8(register: Register, mapped: Option<VirtAddr>, value: u8) {
    match (register, mapped) {
        // SAFETY: the firmware's tables, or the board's, name this port to end the machine by it.
        (Register::Io(port), _) => unsafe { port::write_u8(port, value) },
        // SAFETY: `set_ways` mapped the register for good; the firmware's tables name it to end the machine by it.
        (Register::Memory(_), Some(at)) => unsafe { Native.virt_ptr(at).write_volatile(value) },
        (Register::Memory(_), None) => {}
    }
}

/// Gives the machine time to do what it was told: 20 ms, or as many turns as take about as long while the clock stands.
fn wait() {
    let patience = timer::frequency() / 50;
    let start = timer::ticks();
    for turn in 0..PATIENCE * 100 {
        if patience != 0 && timer::ticks().wrapping_sub(start) > patience {
            break;
        }
        core::hint::black_box(turn);
    }
}
