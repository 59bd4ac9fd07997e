//! The interrupt controller of the CPUs, and the interrupt of their timers.
//!
//! The controller is the node that the root's `interrupt-parent` names, where that is one that is known; otherwise
//! (interrupts pass through something else first, or the root names none) the first known one of the tree. The `reg` of
//! a GIC lists the distributor, then the CPU interface of version 2 or the redistributors of version 3, as the CPU sees
//! them through the buses above. A BCM2836 has two controllers, one for what belongs to a CPU and one for devices.
//!
//! The timer's third interrupt, or the one called `virt`, is that of the virtual timer. Only an interrupt that each CPU
//! has its own of has a number that is known here. Linux: `gic_of_init` in `drivers/irqchip/irq-gic.c` and
//! `irq-gic-v3.c`, `irq-bcm2836.c`, `of_irq_init` and `of_irq_parse_one` in `drivers/of/irq.c`, `arch_timer_of_init`.

use super::Blob;
use super::bus;
use super::tree::{Label, Path, cell, has, number, strings, take, value};
use crate::firmware::interrupts::{IrqController, MAX_REDISTRIBUTORS, Redistributors, Registers};
use fdt::node::FdtNode;
use mm::addr::PhysRange;
use mm::machine::{Problem, Source, Table, Warning};

/// Which kind of registers a controller has.
#[derive(Clone, Copy)]
enum Kind {
    /// Those of a GIC of version 1 or 2.
    Gic2,
    /// Of version 3 or 4.
    Gic3,
    /// The local ones of a BCM2836.
    Bcm2836,
}

/// What controllers are known by.
const KNOWN: [(&str, Kind); 11] = [
    ("arm,gic-v3", Kind::Gic3),
    ("arm,gic-400", Kind::Gic2),
    ("arm,cortex-a15-gic", Kind::Gic2),
    ("arm,cortex-a9-gic", Kind::Gic2),
    ("arm,cortex-a7-gic", Kind::Gic2),
    ("arm,pl390", Kind::Gic2),
    ("arm,arm11mp-gic", Kind::Gic2),
    ("arm,arm1176jzf-devchip-gic", Kind::Gic2),
    ("qcom,msm-8660-qgic", Kind::Gic2),
    ("qcom,msm-qgic2", Kind::Gic2),
    ("brcm,bcm2836-l1-intc", Kind::Bcm2836),
];
/// What the controller of a BCM2836's devices is known by.
const BCM2836_DEVICES: &str = "brcm,bcm2836-armctrl-ic";

/// What the timers of CPUs are known by.
const TIMERS: [&str; 2] = ["arm,armv8-timer", "arm,armv7-timer"];
/// The virtual one among a timer's interrupts: its name, its place where they have none, and how many there are.
const VIRTUAL: &str = "virt";
const VIRTUAL_PLACE: usize = 2;
const TIMER_INTERRUPTS: usize = 5;

/// First cell of a private interrupt of a GIC.
const PRIVATE: u128 = 1;
/// Private interrupts of a CPU, and the number that the first of them has among all.
const PRIVATES: u32 = 16;
/// Interrupts of a CPU's timers at a BCM2836, which come first there.
const BCM2836_TIMERS: u32 = 4;

impl<'a> Blob<'a> {
    /// The interrupt controller of the CPUs. What cannot be used goes to `warn`.
    pub fn irq_controller(&self, warn: &mut dyn FnMut(Warning)) -> Option<IrqController> {
        if self.survey.controller_in_doubt {
            // Only such a tree is walked again.
            let mut controllers = Controllers::new(self);
            let _ = self.find_path(&mut |path, label| {
                let source = Source::whole(Table::InterruptController);
                controllers.see(self, path, label, &mut |problem| warn(Warning { source, problem }));
                None::<()>
            });
            return controllers.chosen();
        }
        self.survey.controller.clone()
    }

    /// What the controller that the root's `interrupt-parent` names is compatible with, known here or not: the most
    /// general string.
    #[must_use]
    pub fn irq_controller_compatible(&self) -> Option<&'a str> {
        let named = cell(self.root()?, "interrupt-parent")?;
        strings(self.by_phandle(named)?, "compatible").last()
    }

    /// The controller that is the last of `path`.
    fn controller(
        &self,
        kind: Kind,
        path: &Path<'_, 'a>,
        warn: &mut dyn FnMut(Problem),
    ) -> Result<IrqController, Problem> {
        Ok(match kind {
            Kind::Gic2 => IrqController::Gic2 {
                distributor: registers(path, 0, &Registers::DISTRIBUTOR_2)?,
                cpu_interface: registers(path, 1, &Registers::CPU_INTERFACE)?,
            },
            Kind::Gic3 => IrqController::Gic3 {
                distributor: registers(path, 0, &Registers::DISTRIBUTOR_3)?,
                redistributors: redistributors(path, warn)?,
            },
            Kind::Bcm2836 => {
                let local = registers(path, 0, &Registers::BCM2836_LOCAL)?;
                let of_devices = |path: &Path<'_, 'a>, label: &Label<'a>| {
                    label.compatible().find(|&name| name == BCM2836_DEVICES)?;
                    Some(registers(path, 0, &Registers::BCM2836_DEVICES))
                };
                let devices = self.find_path(&mut { of_devices }).transpose();
                let devices = devices.unwrap_or_else(|problem| {
                    warn(problem);
                    None
                });
                IrqController::Bcm2836 { local, devices }
            }
        })
    }

    /// The number of the virtual timer's interrupt, as its controller counts them.
    #[must_use]
    pub const fn timer_interrupt(&self) -> Option<u32> {
        self.survey.timer
    }

    fn by_phandle(&self, wanted: u32) -> Option<FdtNode<'_, 'a>> {
        self.find_path(&mut |path, label| path.last().copied().filter(|_| label.phandle() == Some(wanted)))
    }
}

/// Controllers, as a walk comes by them.
pub(super) struct Controllers<'b, 'a> {
    /// What the root's `interrupt-parent` is.
    wanted: Option<u32>,
    /// The node that it names, whatever that is.
    parent: Option<FdtNode<'b, 'a>>,
    /// The controller that it names.
    named: Option<IrqController>,
    /// The first one of the tree.
    first: Option<IrqController>,
}

impl<'b, 'a> Controllers<'b, 'a> {
    pub(super) fn new(blob: &'b Blob<'a>) -> Self {
        let wanted = blob.root().and_then(|root| cell(root, "interrupt-parent"));
        Self { wanted, parent: None, named: None, first: None }
    }

    /// Looks at the last node of `path`, which is in use.
    pub(super) fn see(
        &mut self,
        blob: &'b Blob<'a>,
        path: &Path<'b, 'a>,
        label: &Label<'a>,
        warn: &mut dyn FnMut(Problem),
    ) {
        let Some(&node) = path.last() else { return };
        let is_named = self.wanted.is_some() && label.phandle() == self.wanted;
        if is_named {
            self.parent.get_or_insert(node);
        }
        if self.named.is_some() || (self.first.is_some() && !is_named) {
            return;
        }
        let Some(kind) = kind(label.compatible()).filter(|_| has(node, "interrupt-controller")) else { return };
        match blob.controller(kind, path, warn) {
            Ok(found) if is_named => self.named = Some(found),
            Ok(found) => self.first = Some(found),
            Err(problem) => warn(problem),
        }
    }

    /// The one that is the CPUs'.
    pub(super) fn chosen(self) -> Option<IrqController> {
        self.named.or(self.first)
    }

    /// For after a walk: who takes which interrupts.
    pub(super) fn parents(&self, blob: &'b Blob<'a>) -> Parents<'b, 'a> {
        Parents { blob, usual: self.wanted.zip(self.parent) }
    }
}

/// Who takes which interrupts.
#[derive(Clone, Copy)]
pub(super) struct Parents<'b, 'a> {
    blob: &'b Blob<'a>,
    /// The node that the root's `interrupt-parent` names, and its number: hardly ever another is asked for.
    usual: Option<(u32, FdtNode<'b, 'a>)>,
}

impl<'b, 'a> Parents<'b, 'a> {
    /// The number of the virtual interrupt of the timer that is the last of `path`, as its controller counts them.
    pub(super) fn timer_interrupt(self, path: &Path<'b, 'a>) -> Option<u32> {
        let &timer = path.last()?;
        let place = if has(timer, "interrupt-names") {
            strings(timer, "interrupt-names").take(TIMER_INTERRUPTS).position(|name| name == VIRTUAL)?
        } else {
            VIRTUAL_PLACE
        };
        let (controller, cells) = self.interrupt(path, place)?;
        let (first, rest) = take(cells, 1)?;
        match kind(strings(controller, "compatible"))? {
            Kind::Gic2 | Kind::Gic3 => {
                let (number, _) = take(rest, 1)?;
                let number = u32::try_from(number).ok().filter(|&number| first == PRIVATE && number < PRIVATES)?;
                Some(PRIVATES + number)
            }
            Kind::Bcm2836 => u32::try_from(first).ok().filter(|&number| number < BCM2836_TIMERS),
        }
    }

    /// Interrupt number `place` of the last node of `path`: who takes it, and the cells in which it is stated.
    fn interrupt(self, path: &Path<'b, 'a>, place: usize) -> Option<(FdtNode<'b, 'a>, &'a [u8])> {
        let &node = path.last()?;
        if let Some(mut rest) = value(node, "interrupts-extended") {
            // Each states its controller, and only that says how long it is.
            for _ in 0..place {
                let (_, cells, after) = self.extended(rest)?;
                rest = after.get(cells..)?;
            }
            let (controller, cells, after) = self.extended(rest)?;
            return Some((controller, after.get(..cells)?));
        }
        let parent = path.iter().rev().find_map(|&node| cell(node, "interrupt-parent"))?;
        let controller = self.node(parent)?;
        let cells = interrupt_bytes(controller)?;
        let start = place.checked_mul(cells)?;
        Some((controller, value(node, "interrupts")?.get(start..start.checked_add(cells)?)?))
    }

    /// The controller that `entry` of an `interrupts-extended` begins with, the bytes of its cells, and what follows.
    fn extended(self, entry: &'a [u8]) -> Option<(FdtNode<'b, 'a>, usize, &'a [u8])> {
        let (parent, after) = take(entry, 1)?;
        let controller = self.node(u32::try_from(parent).ok()?)?;
        Some((controller, interrupt_bytes(controller)?, after))
    }

    /// The node of this number.
    fn node(self, phandle: u32) -> Option<FdtNode<'b, 'a>> {
        match self.usual {
            Some((usual, node)) if usual == phandle => Some(node),
            _ => self.blob.by_phandle(phandle),
        }
    }
}

/// Whether a node is the timer of CPUs.
pub(super) fn is_timer(label: &Label<'_>) -> bool {
    label.compatible().any(|name| TIMERS.contains(&name))
}

/// Bytes of the cells in which a controller states an interrupt.
fn interrupt_bytes(controller: FdtNode<'_, '_>) -> Option<usize> {
    usize::try_from(cell(controller, "#interrupt-cells")?).ok()?.checked_mul(4)
}

/// Which controller a node is, by the first of its names that is known.
fn kind<'a>(mut compatible: impl Iterator<Item = &'a str>) -> Option<Kind> {
    compatible.find_map(|name| KNOWN.iter().find(|(known, _)| *known == name)).map(|&(_, kind)| kind)
}

fn redistributors(path: &Path<'_, '_>, warn: &mut dyn FnMut(Problem)) -> Result<Redistributors, Problem> {
    let node = path.last().copied();
    let stated = node.and_then(|node| cell(node, "#redistributor-regions")).unwrap_or(1);
    let stride = node.and_then(|node| number(node, "redistributor-stride")).filter(|&stride| stride > 0);
    if let Some(value) = stride.filter(|&stride| !Registers::is_stride(stride)) {
        warn(Problem::Value { what: "redistributor-stride", value });
    }
    let stride = stride.filter(|&stride| Registers::is_stride(stride));
    let mut found = Redistributors { stride, ..Redistributors::default() };
    let count = usize::try_from(stated).unwrap_or(usize::MAX);
    for index in 0..count.min(MAX_REDISTRIBUTORS) {
        match registers(path, 1 + index, &Registers::REDISTRIBUTOR) {
            // No more than there is room for.
            Ok(range) => drop(found.ranges.try_push(range)),
            Err(problem) => warn(problem),
        }
    }
    if count > MAX_REDISTRIBUTORS {
        warn(Problem::TooMany { what: "ranges of redistributors", limit: MAX_REDISTRIBUTORS as u64 });
    }
    match found.ranges.is_empty() {
        true => Err(Problem::EntryIgnored("it has no redistributors")),
        false => Ok(found),
    }
}

/// Range number `index` of the last node's `reg`, if it can hold such registers.
fn registers(path: &Path<'_, '_>, index: usize, kind: &Registers) -> Result<PhysRange, Problem> {
    let unreadable = Problem::EntryIgnored("its registers are not where the CPU reaches them");
    let range = bus::registers(path, index).ok_or(unreadable)?;
    kind.of_size(range.start().as_u64(), range.size())
}
