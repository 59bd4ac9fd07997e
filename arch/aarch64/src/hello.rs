//! The first character, before anything is parsed: it says that the kernel was reached and the MMU is on, whatever
//! fails after it.
//!
//! Nothing is known of the machine yet, so this looks where the boards of the table have a console, and writes only to
//! what says of itself what it is, in registers that are there for it. Where nobody answers, or an abort does, nothing
//! happens. On another board the address may belong to RAM or flash; reading that does no harm either. Linux:
//! `earlycon`, which must be told the address.

use crate::Native;
use crate::discover::default_consoles;
use crate::paging::fixmap;
use crate::registers::DeviceRegisters;
use mm::paging::Mapping;
use mm::paging::fixmap::Slot;
use platform::console::{ConsoleSpec, Uart, Window};

/// Writes a `T` to the first console of any board that says that it is one.
pub(crate) fn say() {
    let _ = default_consoles().any(|spec| say_to(&spec).is_some());
}

/// Writes a `T` to `spec`, if the device there says that it is such.
fn say_to(spec: &ConsoleSpec) -> Option<()> {
    let Window::Mmio { base, .. } = spec.window else { return None };
    let mut fixmap = fixmap()?.lock(Native);
    let mapped = fixmap.set(Slot::CONSOLE, base, Mapping::DEVICE).ok()?;
    let mut uart = Uart::new(spec, DeviceRegisters::mapped(mapped, spec.window));
    let found = uart.probe();
    if found {
        uart.put(b'T');
    }
    // The slot exists, as it was just set.
    let _ = fixmap.clear(Slot::CONSOLE);
    found.then_some(())
}
