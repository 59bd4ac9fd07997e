//! What `/chosen` chooses, and the board's name.
//!
//! The console is the node that `stdout-path` names, by path or alias, with options behind a colon. Its address is
//! translated through the `ranges` of the buses above it, and the kind of device is found by the first string of its
//! `compatible` that a driver here knows: what stands before is the name of a chip, what stands after says less (an SBSA
//! UART may call itself a PL011 too, and has not all of its registers). Linux: `early_init_dt_scan_chosen_stdout` in
//! `drivers/of/fdt.c`, `of_setup_earlycon`.

use super::Blob;
use super::bus::address;
use super::tree::{Path, cell, has, is_compatible, number, strings, text, value};
use crate::console::kind::Declared;
use crate::console::spec::baud;
use crate::console::{ConsoleSpec, UartKind, Width, Window};
use fdt::node::FdtNode;
use mm::addr::{PhysAddr, PhysRange};

impl<'a> Blob<'a> {
    /// The command line in `/chosen`, as the bytes that stand there, without the zero at their end.
    #[must_use]
    pub const fn bootargs(&self) -> Option<&'a [u8]> {
        self.survey.bootargs
    }

    /// The initial RAM disk that `/chosen` names.
    #[must_use]
    pub const fn initrd(&self) -> Option<PhysRange> {
        self.survey.initrd
    }

    /// The console that `/chosen` names, where a driver here knows it.
    #[must_use]
    pub const fn stdout(&self) -> Option<ConsoleSpec> {
        self.survey.stdout
    }

    /// The console that is the node at `path`, or at the alias of this name, where a driver here knows it.
    #[must_use]
    pub fn console_at(&self, path: &str) -> Option<ConsoleSpec> {
        console(&self.resolve(path)?, "")
    }

    /// What the console that `/chosen` names is compatible with, known here or not: the most general string.
    #[must_use]
    pub fn stdout_compatible(&self) -> Option<&'a str> {
        let (path, _) = stdout_path(self.top("chosen")?)?;
        strings(*self.resolve(path)?.last()?, "compatible").last()
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

/// The command line in `chosen`.
pub(super) fn bootargs<'a>(chosen: FdtNode<'_, 'a>) -> Option<&'a [u8]> {
    value(chosen, "bootargs")?.split(|&byte| byte == 0).next()
}

/// The initial RAM disk that `chosen` names.
pub(super) fn initrd(chosen: FdtNode<'_, '_>) -> Option<PhysRange> {
    let start = PhysAddr::new(number(chosen, "linux,initrd-start")?);
    let end = PhysAddr::new(number(chosen, "linux,initrd-end")?);
    Some(PhysRange::new(start, end)).filter(|range| !range.is_empty())
}

/// The console that `chosen` names.
pub(super) fn stdout(blob: &Blob<'_>, chosen: FdtNode<'_, '_>) -> Option<ConsoleSpec> {
    let (path, options) = stdout_path(chosen)?;
    console(&blob.resolve(path)?, options)
}

/// The path of the console that `chosen` names, or its alias, and its options.
fn stdout_path<'a>(chosen: FdtNode<'_, 'a>) -> Option<(&'a str, &'a str)> {
    let stdout = text(chosen, "stdout-path").or_else(|| text(chosen, "linux,stdout-path"))?;
    Some(stdout.split_once(':').unwrap_or((stdout, "")))
}

/// The console that is the last of `nodes`.
fn console(nodes: &Path<'_, '_>, options: &str) -> Option<ConsoleSpec> {
    let &node = nodes.last()?;
    let (kind, declared) = strings(node, "compatible").find_map(UartKind::by_compatible)?;
    let named = address(nodes)?.checked_add(cell(node, "reg-offset").unwrap_or(0).into())?;
    let window = if kind.is_fixed_layout() { declared.window(named)? } else { stated(node, declared, named)? };
    let window = if has(node, "big-endian") { window.big_endian()? } else { window };
    let baud = baud(options).or_else(|| cell(node, "current-speed"));
    Some(ConsoleSpec { kind, window, baud, clock: cell(node, "clock-frequency") })
}

/// The window of a device whose node says how its registers lie; where it does not, they lie as they are `declared`.
fn stated(node: FdtNode<'_, '_>, declared: &Declared, named: PhysAddr) -> Option<Window> {
    let shift = cell(node, "reg-shift").map_or(Some(declared.shift), |shift| u8::try_from(shift).ok());
    let width = match cell(node, "reg-io-width") {
        None => declared.width,
        Some(1) => Width::Bits8,
        Some(2) => Width::Bits16,
        Some(4) => Width::Bits32,
        Some(_) => return None,
    };
    let shift = shift.filter(|&shift| shift <= 3)?;
    Some(Window::Mmio { base: declared.base(named)?, shift, width })
}
