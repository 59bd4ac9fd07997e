//! The end: test device, power off, reset.
//!
//! Which ways there are is told once, by [`prepare`], when the command line and the device tree have been read; a
//! kernel that ends before tries what does no harm where it is not there. Each way comes back when it does not work,
//! and the next is tried; at last the CPU waits for ever. Linux: `drivers/firmware/psci/psci.c`,
//! `arch/arm64/kernel/process.c`.

use crate::traps::probe;
use crate::{Native, cpu, psci};
use mm::sync::IrqLock;
use platform::Cmdline;
pub use platform::power::ExitStatus;
use platform::power::{Off, PowerOff};

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

struct Ways {
    test: TestDevice,
    power: PowerOff,
}

static WAYS: IrqLock<Ways> = IrqLock::new(Ways { test: TestDevice::Unknown, power: PowerOff::UNKNOWN });

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
    *WAYS.lock(Native) = Ways { test, power };
}

/// What is known of the ways; nothing, when whoever was just interrupted changes it.
fn ways() -> Ways {
    match WAYS.try_lock(Native) {
        Some(ways) => Ways { test: ways.test, power: ways.power },
        None => Ways { test: TestDevice::Unknown, power: PowerOff::UNKNOWN },
    }
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
    firmware_call(ways.power.off, psci::SYSTEM_OFF);
    reset()
}

/// Starts the machine over.
pub fn reset() -> ! {
    firmware_call(ways().power.off, psci::SYSTEM_RESET);
    cpu::halt()
}

/// Calls a function of PSCI.
fn firmware_call(off: Option<Off>, function: u32) {
    let conduit = match off {
        Some(Off::Psci(conduit)) => Some(conduit),
        _ => None,
    };
    // SAFETY: PSCI follows the calling convention; neither function that is called here touches memory. A refusal
    // leaves the next way to be tried.
    let _ = unsafe { psci::call(conduit, function, [0; 3]) };
}
