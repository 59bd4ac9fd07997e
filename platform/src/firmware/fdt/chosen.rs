//! What `/chosen` chooses, and the rest that is not about memory: the board's name and how to power off.
//!
//! The console is the node that `stdout-path` names, by path or alias, with options behind a colon. Its address is
//! translated through the `ranges` of the buses above it, and the kind of device is found by any string of its
//! `compatible` (the first is often the name of a chip). Linux: `early_init_dt_scan_chosen_stdout` in
//! `drivers/of/fdt.c`, `of_setup_earlycon`, `psci_dt_init`.

use super::Blob;
use super::bus::address;
use super::tree::{Path, cell, has, is_compatible, number, strings, text, value};
use crate::console::spec::baud;
use crate::console::{ConsoleSpec, UartKind, Width, Window};
use crate::power::{Conduit, Off, PowerOff};
use fdt::node::FdtNode;
use mm::addr::{PhysAddr, PhysRange};

/// A string of a console's `compatible`, and how its registers lie unless properties say otherwise.
struct Known {
    compatible: &'static str,
    kind: UartKind,
    shift: u8,
    width: Width,
}

const fn known(compatible: &'static str, kind: UartKind, shift: u8, width: Width) -> Known {
    Known { compatible, kind, shift, width }
}

const KNOWN: &[Known] = &[
    known("arm,pl011", UartKind::Pl011, 2, Width::Bits32),
    known("arm,sbsa-uart", UartKind::Pl011, 2, Width::Bits32),
    known("ns16550a", UartKind::Ns16550, 0, Width::Bits8),
    known("ns16550", UartKind::Ns16550, 0, Width::Bits8),
    known("snps,dw-apb-uart", UartKind::Ns16550, 0, Width::Bits8),
    known("brcm,bcm2835-aux-uart", UartKind::Ns16550, 2, Width::Bits32),
];

/// PSCI versions that can switch the machine off.
const PSCI: [&str; 2] = ["arm,psci-1.0", "arm,psci-0.2"];

impl<'a> Blob<'a> {
    /// The command line in `/chosen`, as the bytes that stand there, without the zero at their end.
    #[must_use]
    pub fn bootargs(&self) -> Option<&'a [u8]> {
        value(self.top("chosen")?, "bootargs")?.split(|&byte| byte == 0).next()
    }

    /// The initial RAM disk that `/chosen` names.
    #[must_use]
    pub fn initrd(&self) -> Option<PhysRange> {
        let chosen = self.top("chosen")?;
        let start = PhysAddr::new(number(chosen, "linux,initrd-start")?);
        let end = PhysAddr::new(number(chosen, "linux,initrd-end")?);
        Some(PhysRange::new(start, end)).filter(|range| !range.is_empty())
    }

    /// The console that `/chosen` names, where a driver here knows it.
    #[must_use]
    pub fn stdout(&self) -> Option<ConsoleSpec> {
        let (path, options) = self.stdout_path()?;
        console(&self.resolve(path)?, options)
    }

    /// What the console that `/chosen` names is compatible with, known here or not: the most general string.
    #[must_use]
    pub fn stdout_compatible(&self) -> Option<&'a str> {
        let (path, _) = self.stdout_path()?;
        strings(*self.resolve(path)?.last()?, "compatible").last()
    }

    /// The path of the console, or its alias, and its options.
    fn stdout_path(&self) -> Option<(&'a str, &'a str)> {
        let chosen = self.top("chosen")?;
        let stdout = text(chosen, "stdout-path").or_else(|| text(chosen, "linux,stdout-path"))?;
        Some(stdout.split_once(':').unwrap_or((stdout, "")))
    }

    /// How the machine ends: the firmware's PSCI.
    #[must_use]
    pub fn power_off(&self) -> PowerOff {
        let off = self.psci().map(Off::Psci);
        PowerOff { off, reset: None }
    }

    /// How PSCI 0.2 or later is called.
    #[must_use]
    pub fn psci(&self) -> Option<Conduit> {
        let is_psci = |node: &FdtNode<'_, '_>| strings(*node, "compatible").any(|string| PSCI.contains(&string));
        match text(self.fdt.all_nodes().find(is_psci)?, "method")? {
            "hvc" => Some(Conduit::Hvc),
            "smc" => Some(Conduit::Smc),
            _ => None,
        }
    }

    /// The strings of the root's `compatible`, the most specific first.
    pub fn compatible(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.root().map(|root| strings(root, "compatible")).into_iter().flatten()
    }

    /// Whether it is a stub: a tree that says nothing of the machine, only what a boot loader put into `/chosen`, or
    /// Xen into its own node. Linux: `dt_is_stub` in `arch/arm64/kernel/acpi.c`.
    #[must_use]
    pub fn is_stub(&self) -> bool {
        let says_nothing = |node: FdtNode<'_, '_>| match node.name {
            "chosen" => true,
            "hypervisor" => is_compatible(node, "xen,xen"),
            _ => false,
        };
        self.root().is_none_or(|root| root.children().all(says_nothing))
    }

    /// The root's `model`.
    #[must_use]
    pub fn model(&self) -> Option<&'a str> {
        text(self.root()?, "model")
    }
}

/// The console that is the last of `nodes`.
fn console(nodes: &Path<'_, '_>, options: &str) -> Option<ConsoleSpec> {
    let &node = nodes.last()?;
    let known = strings(node, "compatible")
        .find_map(|string| KNOWN.iter().find(|known| known.compatible == string))
        .filter(|_| !has(node, "big-endian"))?;
    let base = address(nodes)?.checked_add(cell(node, "reg-offset").unwrap_or(0).into())?;
    let shift = cell(node, "reg-shift").map_or(Some(known.shift), |shift| u8::try_from(shift).ok())?;
    let width = match cell(node, "reg-io-width") {
        None => known.width,
        Some(1) => Width::Bits8,
        Some(2) => Width::Bits16,
        Some(4) => Width::Bits32,
        Some(_) => return None,
    };
    let window = match known.kind {
        UartKind::Pl011 => Window::mmio32(base),
        UartKind::Ns16550 if shift <= 3 => Window::Mmio { base, shift, width },
        UartKind::Ns16550 => return None,
    };
    let baud = baud(options).or_else(|| cell(node, "current-speed"));
    Some(ConsoleSpec { kind: known.kind, window, baud, clock: cell(node, "clock-frequency") })
}
