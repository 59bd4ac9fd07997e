//! The first character, before anything is parsed: it says that the kernel was reached and the MMU is on, whatever
//! fails after it.
//!
//! No address may be tried on chance: a read of a device whose clock is off, or of a place that no device answers for,
//! can hold a bus for ever, and there is no abort to survive then. So only a board of the table is spoken on, and only
//! where its device tree gives its name, which one look at the tree's first tokens tells. There the board's console is
//! read, and written to if it says of itself what it is, in registers that are there for it. Nothing is said on other
//! boards, and nothing where a loader of the Limine protocol came first: that one speaks itself, and may have described
//! the machine by ACPI only. Cost: about 7000 instructions for the look at the tree.
//! Linux: `earlycon`, which must be told the address.

use crate::discover::stated_consoles;
use crate::paging::{EarlyMap, fixmap};
use crate::registers::DeviceRegisters;
use crate::{Native, entry};
use mm::addr::PhysAddr;
use mm::paging::Mapping;
use mm::paging::fixmap::Slot;
use platform::board::{self, Board};
use platform::console::{ConsoleSpec, Uart, Window};
use platform::firmware::fdt;

/// Writes a `T` to the first console that says that it is one, of the board that the tree at `x0` names.
pub(crate) fn say(x0: u64) {
    if let Some(board) = named(x0) {
        let _ = stated_consoles(board).any(|spec| say_to(&spec).is_some());
    }
}

/// The board that the tree at `x0` names.
fn named(x0: u64) -> Option<&'static Board> {
    if !entry::is_image() {
        return None;
    }
    let compatible = fdt::root_compatible(PhysAddr::new(x0), &mut EarlyMap::new())?;
    board::by_compatible(compatible.strings())
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
