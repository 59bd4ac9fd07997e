//! The end: test device, power off, reset.
//!
//! Which ways there are is told once, by [`prepare`], when the command line and the device tree have been read; a
//! kernel that ends before tries what does no harm where it is not there. Each way comes back when it does not work,
//! and the next is tried; at last the CPU waits for ever. Registers are mapped by [`prepare`] and written under fault
//! protection: whoever ends because memory is broken can still end. Linux: `drivers/firmware/psci/psci.c`,
//! `arch/arm64/kernel/process.c`.

use crate::paging::map_device;
use crate::traps::probe;
use crate::{Native, cpu, psci, timer};
use mm::addr::VirtAddr;
use mm::sync::IrqLock;
use platform::Cmdline;
use platform::console::Width;
pub use platform::power::ExitStatus;
use platform::power::{Off, PowerOff, Register, Reset, Writes};

/// Whether somebody takes an exit status.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TestDevice {
    /// Nothing was said about it.
    Unknown,
    /// Nobody does.
    None,
    /// QEMU's `-semihosting`, or a debugger.
    Semihosting,
}

/// The ways of this machine, with the registers that they need already mapped.
#[derive(Clone, Copy, Debug)]
struct Ways {
    test: TestDevice,
    power: PowerOff,
    off: Steps,
    reset: Steps,
}

/// A write to a register that is mapped: its bits in `keep` stay.
#[derive(Clone, Copy, Debug)]
struct Step {
    at: VirtAddr,
    width: Width,
    keep: u32,
    value: u32,
}

/// One after another.
type Steps = [Option<Step>; 3];

const NOTHING: Ways = Ways { test: TestDevice::Unknown, power: PowerOff::UNKNOWN, off: [None; 3], reset: [None; 3] };

static WAYS: IrqLock<Ways> = IrqLock::new(NOTHING);

/// Turns that take long enough for a device to do what it was told, while the clock stands.
const PATIENCE: u32 = 10_000_000;

/// Semihosting: exit, the reason "the application ended", then the status.
const SEMIHOSTING_EXIT: u64 = 0x18;
const APPLICATION_EXIT: u64 = 0x2_0026;

/// Learns from the command line (`exit=semihosting`) and from the firmware's tables how this machine ends.
pub fn prepare(cmdline: &Cmdline, power: PowerOff) {
    let test = match cmdline.get("exit") {
        Some("semihosting") => TestDevice::Semihosting,
        _ => TestDevice::None,
    };
    set_ways(test, power);
}

/// Says which ways there are.
pub fn set_ways(test: TestDevice, power: PowerOff) {
    let off = match power.off {
        Some(Off::Writes(writes)) => mapped(&writes),
        Some(Off::SleepControl { control, sleep_type }) => byte(control, Off::sleep_control_value(sleep_type)),
        Some(Off::Psci(_) | Off::Pm1 { .. }) | None => [None; 3],
    };
    let reset = match power.reset {
        Some(Reset::Writes(writes)) => mapped(&writes),
        Some(Reset::Byte { register, value }) => byte(register, value),
        None => [None; 3],
    };
    *WAYS.lock(Native) = Ways { test, power, off, reset };
}

/// The writes, where all of their registers can be mapped.
fn mapped(writes: &Writes) -> Steps {
    let step = |write: &platform::power::Write| {
        let aligned = Some(write.register).filter(|register| register.is_aligned(4));
        let at = aligned.and_then(|register| map_device(register, 4))?;
        Some(Step { at, width: Width::Bits32, keep: write.keep, value: write.value })
    };
    let steps = writes.each_ref().map(|write| write.as_ref().and_then(step));
    // One that is left out could make something else of the others.
    if steps.iter().zip(writes).all(|(step, write)| step.is_some() == write.is_some()) { steps } else { [None; 3] }
}

/// A byte to a register in memory; this architecture has no I/O ports.
fn byte(register: Register, value: u8) -> Steps {
    let at = match register {
        Register::Memory(at) => map_device(at, 1),
        Register::Io(_) => None,
    };
    [at.map(|at| Step { at, width: Width::Bits8, keep: 0, value: value.into() }), None, None]
}

/// What is known of the ways; nothing, when whoever was just interrupted changes it.
fn ways() -> Ways {
    WAYS.try_lock(Native).map_or(NOTHING, |ways| *ways)
}

/// Ends the run: by the test device, which takes `status`; else power goes off; else the machine resets.
pub fn power_off(status: ExitStatus) -> ! {
    let ways = ways();
    if ways.test != TestDevice::None {
        let code = match status {
            ExitStatus::Success => 0,
            ExitStatus::Failure => 1,
        };
        // SAFETY: this operation reads the two words and does not come back.
        unsafe { probe::semihosting(SEMIHOSTING_EXIT, &[APPLICATION_EXIT, code]) };
    }
    firmware_call(&ways, psci::SYSTEM_OFF);
    carry_out(&ways.off);
    reset()
}

/// Starts the machine over.
pub fn reset() -> ! {
    let ways = ways();
    firmware_call(&ways, psci::SYSTEM_RESET);
    carry_out(&ways.reset);
    cpu::halt()
}

/// Writes what is to be written, and gives the device time to do what it was told: 20 ms.
fn carry_out(steps: &Steps) {
    for step in steps.iter().flatten() {
        let kept = match step.keep {
            0 => 0,
            keep => probe::load(step.at, step.width).unwrap_or(0) & keep,
        };
        // SAFETY: `set_ways` mapped the register as Device, for good; the firmware's tables, or the board's, name it to
        // end the machine by it.
        let _ = unsafe { probe::store(step.at, step.width, kept | step.value) };
    }
    if steps.iter().flatten().next().is_some() {
        let start = timer::ticks();
        let enough = timer::frequency() / 50;
        let _ = (0..PATIENCE).find(|_| enough != 0 && timer::ticks().wrapping_sub(start) > enough);
    }
}

/// Calls a function of PSCI. Where it is known that nobody said anything of PSCI, nobody is called, and where nothing
/// is known yet, only if that surely comes back: a level that the CPU has and nobody serves is the end of it.
fn firmware_call(ways: &Ways, function: u32) {
    let conduit = match (ways.power.off, ways.test) {
        (Some(Off::Psci(conduit)), _) => Some(conduit),
        (None, TestDevice::Unknown) => psci::guess_here(),
        _ => None,
    };
    let Some(conduit) = conduit else { return };
    // SAFETY: PSCI follows the calling convention; neither function that is called here touches memory. A refusal
    // leaves the next way to be tried.
    let _ = unsafe { psci::call(conduit, function, [0; 3]) };
}
