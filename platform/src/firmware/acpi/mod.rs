//! ACPI

use crate::power::PowerOff;
use crate::read::PhysRead;
use mm::addr::PhysAddr;
use mm::machine::MachineSink;

/// Hands to `sink` what the tables under the root pointer at `rsdp` say of memory, CPUs and domains.
pub fn describe(rsdp: PhysAddr, read: &mut dyn PhysRead, sink: &mut dyn MachineSink) {
    let _ = (rsdp, read, sink);
}

/// How the machine ends, according to the tables under the root pointer at `rsdp`.
pub fn power_off(rsdp: PhysAddr, read: &mut dyn PhysRead) -> PowerOff {
    let _ = (rsdp, read);
    PowerOff::UNKNOWN
}
