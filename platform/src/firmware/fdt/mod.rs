//! The flattened device tree: memory, reservations, nodes, CPUs, the console, and how to power off.
//!
//! [`check`] is the gate: it validates a whole blob and takes out its NOPs, and only it makes a [`Blob`]. Behind it
//! the crate `fdt` walks the structure. That crate panics on damaged blobs and loses nodes after a NOP, so it sees no
//! other; of it only `all_nodes`, `children` and raw properties are used, which cannot panic on what the gate lets
//! through (its reader of the reservation block goes through pointers, and its `reg` panics on short cell counts;
//! `tree` has own ones). Everything that a property's *value* says is checked where it is read.
//!
//! RAM is what a child of the root with `device_type = "memory"` says, whatever its name and in whatever order;
//! children of `/reserved-memory` are often called `memory@…` too. Nodes whose `status` is neither `okay` nor `ok` are
//! not there.
//!
//! Cost: two walks behind [`check`] (the gate's, and the survey's, which keeps what is asked of single nodes), one for
//! [`Blob::describe`] (a second, along the buses, where there is a `dma-ranges`), O(blob) each. [`root_compatible`]
//! looks at a root before all that. Linux: `drivers/of/fdt.c`, `of_reserved_mem.c`, `of_numa.c`,
//! `arch/arm64/kernel/smp.c`.

mod bus;
mod chosen;
mod gate;
mod interrupts;
mod memory;
mod numa;
mod peek;
mod power;
mod reserved;
mod survey;
mod tree;

pub use gate::{Fault, FdtError, MAX_DEPTH, Part, check};
pub use peek::{RootCompatible, root_compatible};

use fdt::Fdt;
use mm::machine::MachineSink;

/// A device tree blob that [`check`] has let through.
#[derive(Clone, Debug)]
pub struct Blob<'a> {
    fdt: Fdt<'a>,
    /// As many bytes as the header states.
    bytes: &'a [u8],
    /// The entries of the reservation block, without the last, empty one.
    reserve_map: &'a [u8],
    survey: survey::Survey<'a>,
}

impl<'a> Blob<'a> {
    /// Size of the blob in bytes, as its header states it.
    #[must_use]
    pub fn total_size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The blob itself, without its NOPs.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Hands to `sink` what the tree says of memory, CPUs and domains: the header's reservations, then the root's
    /// children in their order, at last what `/chosen`, `/reserved-memory` and the buses say.
    pub fn describe(&self, sink: &mut dyn MachineSink) {
        memory::reserve_map(self.reserve_map, sink);
        let Some(root) = self.root() else { return };
        let cells = tree::Cells::of_root(root);
        let (mut entry, mut chosen, mut reserved) = (0, None, None);
        for node in root.children() {
            if tree::text(node, "device_type") == Some("memory") {
                entry = memory::memory_node(node, cells, entry, sink);
            }
            match node.name.split('@').next() {
                Some("cpus") => numa::cpus(node, cells, sink),
                Some("chosen") => chosen = chosen.or(Some(node)),
                Some("reserved-memory") => reserved = reserved.or(Some(node)),
                _ => {}
            }
            if self.survey.has_distances {
                numa::distance_map(node, sink);
            }
        }
        if let Some(chosen) = chosen {
            memory::chosen(chosen, cells, sink);
        }
        if let Some(reserved) = reserved {
            reserved::describe(reserved, cells, sink);
        }
        bus::dma_limit(self, sink);
    }
}

#[cfg(test)]
pub(crate) mod tests;
