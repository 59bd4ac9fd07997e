//! What is asked of single nodes, gathered in one walk over the tree.
//!
//! A boot asks for few things in the whole of the tree: `/chosen`, the console that it names, PSCI, a device that ends
//! the machine, the interrupt controller and the timer, whether distances are stated. Most may be anywhere, so each
//! would be a walk, and those were the largest part of a small machine's boot. [`check`](super::check) makes the one
//! walk, and the methods of [`Blob`] hand out what it found. The tree is walked again only for a timer whose interrupt
//! parent is not the root's or that says nothing, for the second controller of a BCM2836, and to say why a controller
//! cannot be used. Fields are values, not nodes: a node borrows the blob.
//!
//! Linux unflattens the tree into nodes with pointers instead (`unflatten_device_tree`), which takes memory.

use super::interrupts::{Controllers, is_timer};
use super::numa::DISTANCE_MAP;
use super::tree::{Label, Path};
use super::{Blob, chosen, power};
use crate::console::ConsoleSpec;
use crate::firmware::interrupts::IrqController;
use crate::power::{Conduit, PowerOff};
use fdt::node::FdtNode;
use mm::addr::PhysRange;

/// What single nodes say.
#[derive(Clone, Debug)]
pub(super) struct Survey<'a> {
    /// The command line.
    pub(super) bootargs: Option<&'a [u8]>,
    pub(super) initrd: Option<PhysRange>,
    /// The console that `/chosen` names, where it is known.
    pub(super) stdout: Option<ConsoleSpec>,
    pub(super) psci: Option<Conduit>,
    /// How the first device ends the machine that can.
    pub(super) device_end: PowerOff,
    pub(super) controller: Option<IrqController>,
    /// Whether there is something to say of controllers that cannot be used, in whole or in part.
    pub(super) controller_in_doubt: bool,
    /// The interrupt of the virtual timer.
    pub(super) timer: Option<u32>,
    /// Whether a child of the root states the distances between domains.
    pub(super) has_distances: bool,
}

/// The first of each that the walk came by.
#[derive(Default)]
struct Seen<'b, 'a> {
    chosen: Option<FdtNode<'b, 'a>>,
    psci: Option<FdtNode<'b, 'a>>,
    device_end: Option<PowerOff>,
    timer: Option<Path<'b, 'a>>,
}

impl<'b, 'a> Seen<'b, 'a> {
    /// Looks at the last node of `path`, which is in use.
    fn see(&mut self, path: &Path<'b, 'a>, label: &Label<'a>) {
        if self.psci.is_none() && power::is_psci(label) {
            self.psci = path.last().copied();
        }
        self.device_end = self.device_end.or_else(|| power::by_device(path, label));
        if self.timer.is_none() && is_timer(label) {
            self.timer = Some(path.clone());
        }
    }
}

impl<'a> Survey<'a> {
    /// What a tree says that says nothing.
    pub(super) const NOTHING: Self = Self {
        bootargs: None,
        initrd: None,
        stdout: None,
        psci: None,
        device_end: PowerOff::UNKNOWN,
        controller: None,
        controller_in_doubt: false,
        timer: None,
        has_distances: false,
    };

    /// Walks the tree. Kept out of its caller, so that what it keeps on the way is on the stack no longer than needed.
    #[inline(never)]
    pub(super) fn of(blob: &Blob<'a>) -> Self {
        let (mut seen, mut controllers, mut in_doubt) = (Seen::default(), Controllers::new(blob), false);
        let mut has_distances = false;
        let _ = blob.walk(&mut |path, label| {
            if let [_, node] = path[..] {
                if node.name.split('@').next() == Some("chosen") {
                    seen.chosen.get_or_insert(node);
                }
                has_distances = has_distances || label.compatible().any(|name| name == DISTANCE_MAP);
            }
            if label.is_okay() {
                seen.see(path, label);
                controllers.see(blob, path, label, &mut |_| in_doubt = true);
            }
            None::<()>
        });
        let parents = controllers.parents(blob);
        let timer = seen.timer.and_then(|first| {
            let other =
                |path: &Path<'_, 'a>, label: &Label<'a>| is_timer(label).then(|| parents.timer_interrupt(path))?;
            parents.timer_interrupt(&first).or_else(|| blob.find_path(&mut { other }))
        });
        Self {
            bootargs: seen.chosen.and_then(chosen::bootargs),
            initrd: seen.chosen.and_then(chosen::initrd),
            stdout: seen.chosen.and_then(|chosen| chosen::stdout(blob, chosen)),
            psci: seen.psci.and_then(power::conduit),
            device_end: seen.device_end.unwrap_or(PowerOff::UNKNOWN),
            controller: controllers.chosen(),
            controller_in_doubt: in_doubt,
            timer,
            has_distances,
        }
    }
}
