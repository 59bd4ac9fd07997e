//! The first character, before anything is parsed: it says that the kernel was reached and the MMU is on, whatever
//! fails after it.
//!
//! Nothing is known of the machine yet, so this looks where the most common development boards have a console and
//! writes only to what identifies itself as a PL011: the eight identification registers that every PrimeCell has. Where
//! nobody answers, or an abort does, nothing happens. On real boards the address may belong to RAM or flash; reading
//! that does no harm either. Linux: `earlycon`, which must be told the address.

use crate::Native;
use crate::paging::fixmap;
use crate::traps::probe;
use mm::addr::{PhysAddr, VirtAddr};
use mm::paging::Mapping;
use mm::paging::fixmap::Slot;
use platform::console::Width;

/// Where a PL011 may be: QEMU's `virt`.
const CANDIDATES: &[PhysAddr] = &[PhysAddr::new(0x0900_0000)];

const DATA: u64 = 0x00;
const FLAGS: u64 = 0x18;
const TRANSMIT_FULL: u32 = 1 << 5;
/// Offset, mask and value of the registers that make a PL011: its part number, Arm as its designer, a PrimeCell.
const IDENTITY: [(u64, u32, u32); 7] = [
    (0xfe0, 0xff, 0x11),
    (0xfe4, 0xff, 0x10),
    (0xfe8, 0x0f, 0x04),
    (0xff0, 0xff, 0x0d),
    (0xff4, 0xff, 0xf0),
    (0xff8, 0xff, 0x05),
    (0xffc, 0xff, 0xb1),
];
/// How often a full transmitter is asked again.
const PATIENCE: u32 = 10_000;

/// Writes a `T` to the first candidate that is a PL011.
pub(crate) fn say() {
    let Some(fixmap) = fixmap() else { return };
    for &candidate in CANDIDATES {
        let mut fixmap = fixmap.lock(Native);
        let window = fixmap.set(Slot::CONSOLE, candidate, Mapping::DEVICE).ok();
        let found = window.filter(|&window| is_pl011(window));
        if let Some(window) = found {
            put(window, b'T');
        }
        // The slot exists, as it was just set.
        let _ = fixmap.clear(Slot::CONSOLE);
        if found.is_some() {
            break;
        }
    }
}

fn register(window: VirtAddr, offset: u64) -> Option<u32> {
    probe::load(window.saturating_add(offset), Width::Bits32).ok()
}

fn is_pl011(window: VirtAddr) -> bool {
    IDENTITY.iter().all(|&(offset, mask, value)| register(window, offset).is_some_and(|read| read & mask == value))
}

fn put(window: VirtAddr, byte: u8) {
    for _ in 0..PATIENCE {
        if register(window, FLAGS).is_some_and(|flags| flags & TRANSMIT_FULL == 0) {
            break;
        }
    }
    // Nothing was parsed yet: if the store faults, the boot goes on without this character.
    // SAFETY: a PL011 said who it is at this address; the register only takes a character.
    let _ = unsafe { probe::store(window.saturating_add(DATA), Width::Bits32, byte.into()) };
}
