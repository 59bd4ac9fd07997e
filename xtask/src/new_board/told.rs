//! What the firmware says of a board, beside what the kernel understands of it.
//!
//! What is understood is asked of `platform`, by the same calls as in the kernel; where it stands is looked up in the
//! tree. A part that is not understood comes with what to do about it.

use std::fmt;

use anyhow::Result;
use mm::machine::{Fact, MachineSink, MemoryKind, Purpose, StartMethod};
use platform::board;
use platform::console::{ConsoleSpec, Window};
use platform::firmware::fdt::Blob;
use platform::firmware::interrupts::IrqController;
use platform::power::{Off, PowerOff};

use super::tree::{Node, nodes};

/// One part of a board.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Part {
    pub(super) name: &'static str,
    /// The node and the property.
    said: String,
    /// What the kernel makes of it; or what to do.
    pub(super) understood: Result<String, Gap>,
}

/// Something that the kernel does not get from the tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Gap {
    pub(super) filled_by: Filler,
    what_to_do: String,
}

/// Who can fill a gap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Filler {
    /// An entry in the table of boards.
    Board,
    /// The boot loader, or nobody: an entry would not help.
    Other,
}

/// What a tree says, and what is understood.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) model: String,
    pub(super) compatible: Vec<String>,
    /// The board of the table that it is.
    pub(super) known: Option<&'static str>,
    /// What a board file would name as its serial ports, the console first.
    pub(super) serial: Vec<ConsoleSpec>,
    /// Bytes of RAM that the tree names.
    pub(super) memory_bytes: u64,
    pub(super) cpus: u32,
    pub(super) power_off: PowerOff,
    pub(super) parts: Vec<Part>,
}

impl Told {
    /// Reads the tree.
    ///
    /// # Errors
    /// When it cannot be walked.
    pub(super) fn of(blob: &Blob<'_>) -> Result<Self> {
        let nodes = nodes(blob)?;
        let mut facts = Facts::default();
        blob.describe(&mut facts);
        let known = board::by_compatible(blob.compatible());
        let serial = serial(blob, &nodes);
        let power_off = blob.power_off().or(known.map_or(PowerOff::UNKNOWN, |board| board.power));
        let parts = vec![
            memory(&nodes, &facts),
            reservations(&nodes, &facts),
            contiguous(&nodes, &facts),
            cpus(&nodes, &facts),
            interrupts(blob, &nodes, known),
            timer(blob, &nodes),
            console(blob, &nodes, &serial, known),
            power(blob, &nodes, power_off),
        ];
        let compatible: Vec<String> = blob.compatible().map(str::to_owned).collect();
        let model = blob.model().map(str::to_owned).or_else(|| compatible.first().cloned());
        Ok(Self {
            model: model.unwrap_or_else(|| "a board without a name".into()),
            compatible,
            known: known.map(|board| board.name),
            serial,
            memory_bytes: facts.bytes,
            cpus: u32::try_from(facts.starts.len()).unwrap_or(u32::MAX),
            power_off,
            parts,
        })
    }

    /// The parts that a board file would say, where the tree does not.
    pub(super) fn gaps(&self) -> impl Iterator<Item = &Part> {
        let is_gap = |part: &&Part| part.understood.as_ref().is_err_and(|gap| gap.filled_by == Filler::Board);
        self.parts.iter().filter(is_gap)
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, compatible with {}", self.model, self.compatible.join(", "))?;
        match self.known {
            Some(name) => writeln!(f, "known here as the board {name}")?,
            None => writeln!(f, "no board of the table is known by any of these")?,
        }
        for part in &self.parts {
            match &part.understood {
                Ok(understood) => writeln!(f, "{:<14}{}\n{:14}{understood}", part.name, part.said, "")?,
                Err(gap) => writeln!(f, "{:<14}{}\n{:14}! {}", part.name, part.said, "", gap.what_to_do)?,
            }
        }
        Ok(())
    }
}

/// What the tree says of memory and CPUs.
#[derive(Default)]
struct Facts {
    banks: Vec<String>,
    bytes: u64,
    held: usize,
    pools: Vec<String>,
    starts: Vec<StartMethod>,
    warnings: Vec<String>,
}

impl MachineSink for Facts {
    fn fact(&mut self, fact: Fact) {
        match fact {
            Fact::Bank(bank) if bank.kind == MemoryKind::Usable && !bank.range.is_empty() => {
                self.bytes = self.bytes.saturating_add(bank.range.size());
                self.banks.push(format!("{}", bank.range));
            }
            Fact::Reservation(held) if held.purpose == Purpose::Contiguous => {
                self.pools.push(format!("{}", held.range));
            }
            Fact::Reservation(_) => self.held += 1,
            Fact::Wish(wish) if wish.purpose == Purpose::Contiguous => {
                let whole = wish.within.start().as_u64() == 0 && wish.within.end().as_u64() == u64::MAX;
                let place = if whole { String::new() } else { format!(" in {}", wish.within) };
                self.pools.push(format!("{} MiB, anywhere{place}", wish.size >> 20));
            }
            Fact::Wish(_) => self.held += 1,
            Fact::Cpu(cpu) => self.starts.push(cpu.start),
            Fact::Warning(warning) => self.warnings.push(warning.to_string()),
            _ => {}
        }
    }
}

/// The paths of `nodes`, with the property that counts.
fn list<'n>(nodes: impl Iterator<Item = &'n Node<'n>>, property: &str) -> String {
    let paths: Vec<_> = nodes.map(|node| node.path.as_str()).collect();
    match paths.as_slice() {
        [] => "nothing".into(),
        [first, second, third, _, .., last] => format!("{first}, {second}, {third} … {last}: {property}"),
        paths => format!("{}: {property}", paths.join(", ")),
    }
}

fn gap(filled_by: Filler, what_to_do: impl Into<String>) -> Result<String, Gap> {
    Err(Gap { filled_by, what_to_do: what_to_do.into() })
}

fn memory(nodes: &[Node<'_>], facts: &Facts) -> Part {
    let banks = nodes.iter().filter(|node| node.is_child_of("") && node.text("device_type") == Some("memory"));
    let understood = if facts.banks.is_empty() {
        gap(
            Filler::Other,
            "the boot loader fills it in; no board file says where RAM is. `simulate` needs a tree with it",
        )
    } else {
        Ok(facts.banks.join(", "))
    };
    Part { name: "memory", said: list(banks, "reg"), understood }
}

fn reservations(nodes: &[Node<'_>], facts: &Facts) -> Part {
    let held = nodes.iter().filter(|node| node.is_child_of("/reserved-memory"));
    let warned = facts.warnings.iter().map(|warning| format!("; warning: {warning}")).collect::<String>();
    let said = format!("the header's list; {}", list(held, "reg, size"));
    Part { name: "reservations", said, understood: Ok(format!("kept: {}{warned}", facts.held)) }
}

fn contiguous(nodes: &[Node<'_>], facts: &Facts) -> Part {
    let pools = nodes.iter().filter(|node| {
        node.is_child_of("/reserved-memory")
            && node.strings("compatible").contains(&"shared-dma-pool")
            && node.value("reusable").is_some()
    });
    let understood = match facts.pools.as_slice() {
        [] => "none in the tree: 64 MiB, or what cma= says".into(),
        pools => pools.join(", "),
    };
    Part { name: "CMA", said: list(pools, "linux,cma-default, size, reg"), understood: Ok(understood) }
}

fn cpus(nodes: &[Node<'_>], facts: &Facts) -> Part {
    let cpus = nodes.iter().filter(|node| node.is_child_of("/cpus") && node.text("device_type") == Some("cpu"));
    let unknown = nodes.iter().filter(|node| node.is_child_of("/cpus")).find_map(|node| node.text("enable-method"));
    let count = |wanted: fn(&StartMethod) -> bool| facts.starts.iter().filter(|start| wanted(start)).count();
    let (psci, table) = (
        count(|start| matches!(start, StartMethod::Psci)),
        count(|start| matches!(start, StartMethod::SpinTable { .. })),
    );
    let understood = match facts.starts.len() {
        0 => gap(Filler::Other, "the tree lists no CPU; only the one that boots will run"),
        all if all == psci => Ok(format!("{all}, started by PSCI")),
        all if all == table => Ok(format!("{all}, started by a spin table")),
        1 => Ok("one, the one that boots".into()),
        all if psci + table == 0 && unknown.is_some() => gap(
            Filler::Other,
            format!(
                "{all}, but nobody knows how to start one by {:?}: see arch/aarch64/src/cpu/method.rs",
                unknown.unwrap_or_default()
            ),
        ),
        all => {
            Ok(format!("{all}: {psci} started by PSCI, {table} by a spin table, {} not said how", all - psci - table))
        }
    };
    Part { name: "CPUs", said: list(cpus, "reg, enable-method"), understood }
}

fn interrupts(blob: &Blob<'_>, nodes: &[Node<'_>], known: Option<&board::Board>) -> Part {
    let root = nodes.first();
    let parent = root.and_then(|root| root.cell("interrupt-parent"));
    let named = nodes.iter().filter(|node| node.cell("phandle") == parent && parent.is_some());
    let mut warnings = Vec::new();
    let found = blob.irq_controller(&mut |warning| warnings.push(warning.to_string()));
    let found = found.or_else(|| known?.irq_controller());
    let understood = match found {
        Some(IrqController::Gic2 { distributor, .. }) => Ok(format!("GICv2 at {:#x}", distributor.start().as_u64())),
        Some(IrqController::Gic3 { distributor, .. }) => Ok(format!("GICv3 at {:#x}", distributor.start().as_u64())),
        Some(IrqController::Bcm2836 { local, .. }) => Ok(format!("BCM2836 at {:#x}", local.start().as_u64())),
        Some(IrqController::LocalApic { .. }) => Ok("local APICs".into()),
        None => gap(
            Filler::Board,
            match blob.irq_controller_compatible() {
                Some(other) => {
                    format!("no driver for {other}: see arch/aarch64/src/irqchip/; a board file can name a GIC")
                }
                None => "the tree names none: a board file can (`interrupts`), without it one CPU runs".into(),
            },
        ),
    };
    Part { name: "interrupts", said: list(named, "compatible, reg"), understood }
}

fn timer(blob: &Blob<'_>, nodes: &[Node<'_>]) -> Part {
    let timers = nodes.iter().filter(|node| {
        node.is_okay()
            && node.strings("compatible").iter().any(|name| name.starts_with("arm,armv") && name.ends_with("-timer"))
    });
    let understood = match blob.timer_interrupt() {
        Some(number) => Ok(format!("the CPUs' own timer, interrupt {number}")),
        None => Ok("not said: the CPUs' own timer at its usual interrupt".into()),
    };
    Part { name: "timer", said: list(timers, "interrupts"), understood }
}

/// The serial ports that are driven: the tree's console, else those that its aliases name, else all.
fn serial(blob: &Blob<'_>, nodes: &[Node<'_>]) -> Vec<ConsoleSpec> {
    if let Some(console) = blob.stdout() {
        return vec![console];
    }
    let aliases = nodes.iter().find(|node| node.path == "/aliases");
    let by_alias = (0..8).filter_map(|number| aliases?.text(&format!("serial{number}")));
    let mut found: Vec<_> = by_alias.filter_map(|path| blob.console_at(path)).collect();
    if found.is_empty() {
        let used = nodes.iter().filter(|node| node.is_okay());
        found.extend(used.filter_map(|node| blob.console_at(&node.path)).take(4));
    }
    found
}

fn console(blob: &Blob<'_>, nodes: &[Node<'_>], serial: &[ConsoleSpec], known: Option<&board::Board>) -> Part {
    let chosen = nodes.iter().find(|node| node.path == "/chosen");
    let stdout = chosen.and_then(|chosen| chosen.text("stdout-path").or_else(|| chosen.text("linux,stdout-path")));
    let said = stdout.map_or_else(|| "/chosen: no stdout-path".into(), |path| format!("/chosen: stdout-path {path:?}"));
    let of_board = known.and_then(|board| board.serial.first());
    let understood = match (blob.stdout(), of_board, blob.stdout_compatible()) {
        (Some(console), ..) => Ok(describe(&console)),
        (None, Some(console), _) => Ok(format!("by the board: {}", describe(console))),
        (None, None, Some(other)) => gap(
            Filler::Other,
            format!("no driver for {other}: docs/porting.md says how to write one; the output is lost until then"),
        ),
        (None, None, None) => match serial.first() {
            Some(console) => gap(Filler::Board, format!("a board file can name it; perhaps {}", describe(console))),
            None => gap(Filler::Other, "no serial device of the tree is driven: earlycon=DRIVER,ADDRESS can name one"),
        },
    };
    Part { name: "console", said, understood }
}

/// A console as an `earlycon=` names it.
pub(super) fn describe(console: &ConsoleSpec) -> String {
    let driver = console.kind.profile().declared.first().map_or("", |declared| declared.earlycon);
    match console.window {
        Window::Io { base } => format!("earlycon={driver},io,{base:#x}"),
        Window::Mmio { .. } => format!("earlycon={driver},{:#x}", console.named_address()),
    }
}

fn power(blob: &Blob<'_>, nodes: &[Node<'_>], power: PowerOff) -> Part {
    let psci = nodes.iter().filter(|node| node.strings("compatible").iter().any(|name| name.starts_with("arm,psci")));
    let others = nodes.iter().filter(|node| node.value("system-power-controller").is_some());
    let by_board = if blob.power_off() == power { "" } else { "by the board: " };
    let understood = match (power.off, power.reset) {
        (Some(Off::Psci(conduit)), _) => {
            Ok(format!("{by_board}PSCI, by {conduit:?}").to_lowercase().replace("psci", "PSCI"))
        }
        (Some(_), _) => Ok(format!("{by_board}a device of the board")),
        (None, Some(_)) => Ok(format!("{by_board}a reset, since nothing switches it off")),
        (None, None) => {
            gap(Filler::Board, "nothing that is known switches it off: a board file can say what does (`power`)")
        }
    };
    Part { name: "power-off", said: list(psci.chain(others), "method, system-power-controller"), understood }
}
