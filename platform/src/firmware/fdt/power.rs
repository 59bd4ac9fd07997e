//! How the machine ends: by the firmware's PSCI, or by a device that resets it.
//!
//! Two devices are known: the power management of a BCM2835 and its kin, which is also told to switch off where the
//! tree says that this is its business (`system-power-controller`), and the generic watchdog of Arm's base system
//! architecture. Linux: `psci_dt_init`, `drivers/watchdog/bcm2835_wdt.c`, `sbsa_gwdt.c`.

use super::Blob;
use super::bus;
use super::tree::{Label, Path, has, text};
use crate::power::{Conduit, Off, PowerOff, Reset};
use fdt::node::FdtNode;
use mm::addr::PhysRange;

/// PSCI versions that can switch the machine off.
const PSCI: [&str; 2] = ["arm,psci-1.0", "arm,psci-0.2"];

/// What the power management of a BCM2835 is known by: newer trees, older ones.
const BCM2835: [&str; 2] = ["brcm,bcm2835-pm", "brcm,bcm2835-pm-wdt"];
/// Its registers, as far as they matter here.
const BCM2835_BYTES: u64 = 0x28;

const SBSA_WATCHDOG: &str = "arm,sbsa-gwdt";
/// Registers of its control frame.
const SBSA_WATCHDOG_BYTES: u64 = 0x14;

impl Blob<'_> {
    /// How the machine ends: the firmware's own way first, then a device.
    #[must_use]
    pub fn power_off(&self) -> PowerOff {
        let by_psci = PowerOff { off: self.psci().map(Off::Psci), reset: None };
        by_psci.or(self.survey.device_end)
    }

    /// How PSCI 0.2 or later is called.
    #[must_use]
    pub const fn psci(&self) -> Option<Conduit> {
        self.survey.psci
    }
}

/// Whether a node is a PSCI that can switch the machine off.
pub(super) fn is_psci(label: &Label<'_>) -> bool {
    label.compatible().any(|string| PSCI.contains(&string))
}

/// How the PSCI that is `node` is called.
pub(super) fn conduit(node: FdtNode<'_, '_>) -> Option<Conduit> {
    match text(node, "method")? {
        "hvc" => Some(Conduit::Hvc),
        "smc" => Some(Conduit::Smc),
        _ => None,
    }
}

/// The ends that the last node of `path` offers.
pub(super) fn by_device(path: &Path<'_, '_>, label: &Label<'_>) -> Option<PowerOff> {
    let &node = path.last()?;
    let registers = |bytes| registers(path, bytes).map(PhysRange::start);
    let known = |name: &&str| BCM2835.contains(name) || *name == SBSA_WATCHDOG;
    let device = label.compatible().find(known)?;
    if BCM2835.contains(&device) {
        let base = registers(BCM2835_BYTES)?;
        let off = has(node, "system-power-controller").then(|| Off::bcm2835(base));
        return Some(PowerOff { off, reset: Some(Reset::bcm2835(base)) });
    }
    let control = registers(SBSA_WATCHDOG_BYTES)?;
    Some(PowerOff { off: None, reset: Some(Reset::sbsa_watchdog(control)) })
}

/// The first range of the last node's `reg`, if it can hold `bytes` of registers of 32 bits.
fn registers(path: &Path<'_, '_>, bytes: u64) -> Option<PhysRange> {
    bus::registers(path, 0).filter(|range| range.size() >= bytes && range.start().is_aligned(4))
}
