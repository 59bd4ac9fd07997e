//! From what the boot loader handed over to the description of the machine.
//!
//! The reading is `platform`'s; this names what only this architecture knows: that the hand-over is PVH, where a PC's
//! firmware leaves ACPI's root pointer, which consoles and which ways to end a PC has. Linux: `kernel/setup.c`,
//! `platform/pvh/enlighten.c`, `acpi_find_root_pointer`.

use crate::exit;
use crate::paging::EarlyMap;
use crate::registers::DeviceRegisters;
use crate::{Native, port};
use core::fmt;
use mm::addr::{PhysAddr, PhysRange};
use mm::arch::PageFormat;
use mm::machine::MachineSink;
use mm::numa::AffinityRules;
use mm::zone::ZoneLimits;
use platform::ConsoleSpec;
use platform::board::{self, Board};
use platform::console::Uart;
use platform::console::spec::{self, Candidates, SpecError};
use platform::handover::{BootInfo, HandoverError, MemoryMapSource, pvh};
use platform::power::PowerOff;
use platform::read::PhysRead;

/// Where the line is drawn between affinity that is used and affinity that is not.
pub const AFFINITY_RULES: AffinityRules = AffinityRules::X86;

/// A serial console of this machine.
pub type KernelUart = Uart<DeviceRegisters>;

/// What the boot loader left behind: `handover` is the address of its `hvm_start_info`.
///
/// # Errors
/// When that cannot be read, or is none.
pub fn boot_info(handover: u64, read: &mut EarlyMap) -> Result<BootInfo<'static>, HandoverError> {
    let mut boot = pvh::read(PhysAddr::new(handover), read)?;
    if boot.rsdp.is_none() {
        boot.rsdp = find_root_pointer(read);
    }
    exit::prepare(&boot.cmdline, power(&boot, read));
    Ok(boot)
}

/// Hands everything that the firmware says of memory to `sink`.
pub fn machine(boot: &BootInfo<'_>, read: &mut dyn PhysRead, sink: &mut dyn MachineSink) {
    boot.describe(read, sink);
}

/// Prints the firmware's memory map and what the rules of a PC change in it.
///
/// # Errors
/// When `text` refuses.
pub fn print_map(boot: &BootInfo<'_>, read: &mut dyn PhysRead, text: &mut dyn fmt::Write) -> fmt::Result {
    match &boot.map {
        MemoryMapSource::E820(map) => {
            map.print(read, text)?;
            map.print_rules(read, text)
        }
        MemoryMapSource::DeviceTree(_) | MemoryMapSource::None => Ok(()),
    }
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

/// How this machine says that it ends; where its tables say nothing, how its board does.
fn power(boot: &BootInfo<'_>, read: &mut dyn PhysRead) -> PowerOff {
    boot.power_off(read).or(board().power)
}

/// Where zones end on a PC, wherever its memory is.
#[must_use]
pub fn zone_limits(_ram: PhysRange) -> ZoneLimits {
    ZoneLimits::x86(Native::PAGE_SHIFT)
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

/// Where the root pointer must begin: its signature on a multiple of 16.
const SIGNATURE: [u8; 8] = *b"RSD PTR ";
/// Where the BIOS leaves the segment of its extended data area.
const EXTENDED_DATA_SEGMENT: PhysAddr = PhysAddr::new(0x40e);
/// The BIOS's read-only memory.
const BIOS: (u64, u64) = (0xe_0000, 0x10_0000);

/// Looks for ACPI's root pointer where a PC's firmware leaves it: the first KiB of the extended data area, then the
/// BIOS. A signature whose checksum is wrong is passed over.
fn find_root_pointer(read: &mut dyn PhysRead) -> Option<PhysAddr> {
    let extended = u64::from(read.read_u16(EXTENDED_DATA_SEGMENT).ok()?) << 4;
    let areas = [(extended, extended + 1024), BIOS];
    areas
        .into_iter()
        .filter(|&(start, _)| start >= 0x400)
        .find_map(|(start, end)| (start..end).step_by(16).map(PhysAddr::new).find(|&at| is_root_pointer(at, read)))
}

fn is_root_pointer(at: PhysAddr, read: &mut dyn PhysRead) -> bool {
    let mut bytes = [0; 20];
    read.read(at, &mut bytes).is_ok()
        && bytes.starts_with(&SIGNATURE)
        && bytes.iter().fold(0, |sum: u8, &byte| sum.wrapping_add(byte)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use platform::MemoryImage;

    fn with_checksum(mut bytes: [u8; 20]) -> [u8; 20] {
        bytes[8] = bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_sub(byte));
        bytes
    }

    #[test]
    fn the_root_pointer_is_found_behind_one_that_is_damaged() {
        let mut low = [0u8; 0x500];
        low[0x40e..0x410].copy_from_slice(&0x9fc0u16.to_le_bytes());
        let extended = [0u8; 1024];
        let mut bios = vec![0u8; 0x2_0000];
        let mut pointer = [0u8; 20];
        pointer[..8].copy_from_slice(b"RSD PTR ");
        pointer[9] = 1;
        bios[0x100..0x114].copy_from_slice(&pointer);
        bios[0x240..0x254].copy_from_slice(&with_checksum(pointer));
        let pieces = [
            (PhysAddr::new(0), &low[..]),
            (PhysAddr::new(0x9_fc00), &extended[..]),
            (PhysAddr::new(0xe_0000), &bios[..]),
        ];
        assert_eq!(find_root_pointer(&mut MemoryImage::new(&pieces)), Some(PhysAddr::new(0xe_0240)));
    }

    #[test]
    fn a_machine_without_one_has_none() {
        let pieces = [(PhysAddr::new(0), &[0u8; 0x500][..])];
        assert_eq!(find_root_pointer(&mut MemoryImage::new(&pieces)), None);
    }
}
