//! The first chunk: memory for the per-CPU variables of every CPU, each CPU's on its own node.
//!
//! [`FirstChunk::allocate`] takes one piece of memory for each group of CPUs ([`layout`](super::layout)) on the node of
//! the group's first CPU, or on the nearest that has room where that one has no memory, and gives back what no CPU
//! needs of it: units of no CPU, and of each unit what lies behind the pages that are kept. Only books are kept so far:
//! `cargo xtask simulate` comes to here too. [`FirstChunk::fill`], once all memory is mapped, makes the copies, and
//! says how far each is from the template: the number that goes into the CPU's base register.
//!
//! Where groups find no room in large leaves, single pages serve; where even these are too few for all the CPUs that
//! the firmware names, only the boot CPU has an area, and the others cannot be started. Invariant: units do not overlap;
//! of every piece exactly the kept pages of its CPUs' units stay reserved. Costs: O(CPUs × regions); 4 bytes a unit, 40
//! a CPU, 32 a group; with 4 KiB pages 40 KiB and what is linked, rounded up, for each CPU. Linux:
//! `pcpu_embed_first_chunk`, `pcpu_fc_alloc` in mm/percpu.c, `setup_per_cpu_areas` in arch/x86/kernel/setup_percpu.c and
//! drivers/base/arch_numa.c.

use super::layout::{self, Grain, NO_GROUP, UnitLayout};
use crate::addr::{CpuId, NodeId, PhysAddr, PhysRange};
use crate::arch::{PageFormat, PhysMap};
use crate::machine::{Owner, Rules};
use crate::memblock::{BootSlice, MemblockError, NodeWish, OutOfMemory, Request};
use crate::numa::{LOCAL, Nodes};
use core::fmt;

/// Who holds the areas.
const OWNER: &str = "per-CPU areas";
/// Who holds the tables that say where they are.
const TABLES: &str = "per-CPU tables";
/// On x86 areas lie above what old devices reach, if they can.
const X86_DMA_END: PhysAddr = PhysAddr::new(16 << 20);
/// A unit of no CPU.
const UNUSED: CpuId = CpuId::new(u32::MAX);

/// Why there are no per-CPU areas.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PerCpuError {
    /// Areas for so many bytes of variables, or for so many CPUs, are more than there can be.
    TooLarge {
        /// Bytes that are linked.
        static_bytes: u64,
        /// CPUs.
        cpus: u64,
    },
    /// There was no memory, not even for the boot CPU alone.
    Memory(OutOfMemory),
    /// What is not used could not be given back.
    Regions(MemblockError),
}

impl fmt::Display for PerCpuError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { static_bytes, cpus } => {
                write!(f, "areas of {cpus} CPUs for {static_bytes} bytes each are more than there can be")
            }
            Self::Memory(error) => write!(f, "areas cannot be placed: {error}"),
            Self::Regions(error) => write!(f, "what is unused of the areas cannot be given back: {error}"),
        }
    }
}

impl core::error::Error for PerCpuError {}

impl From<OutOfMemory> for PerCpuError {
    fn from(error: OutOfMemory) -> Self {
        Self::Memory(error)
    }
}

impl From<MemblockError> for PerCpuError {
    fn from(error: MemblockError) -> Self {
        Self::Regions(error)
    }
}

/// CPUs that are near each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Group {
    /// The node of its first CPU, where its memory should lie.
    pub node: NodeId,
    /// Its memory, as it was taken; what its CPUs do not need of it was given back.
    pub range: PhysRange,
    /// The number of its first unit …
    pub first_unit: u32,
    /// … and how many it has, unused ones too.
    pub units: u32,
}

/// The memory of one CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Area {
    /// The number of its unit.
    pub unit: u32,
    /// The number of its group.
    pub group: u16,
    /// What is kept for it.
    pub range: PhysRange,
}

/// Where the per-CPU variables of each CPU are.
pub struct FirstChunk<A> {
    pub(super) layout: UnitLayout,
    groups: BootSlice<A, Group>,
    /// Whose each unit is.
    units: BootSlice<A, CpuId>,
    areas: BootSlice<A, Area>,
    /// Empty until they are filled.
    offsets: BootSlice<A, usize>,
    filled: Filled,
}

/// Whether the areas hold something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Filled {
    NotYet,
    Done,
}

/// Which CPUs are together, while the chunk is being laid out.
struct Grouping<A> {
    /// Of each node that has a CPU.
    of_node: BootSlice<A, u16>,
    /// The node of each group's first CPU.
    leaders: BootSlice<A, NodeId>,
    /// CPUs of each group.
    counts: BootSlice<A, u32>,
    groups: usize,
}

impl<A: PhysMap + PageFormat> Grouping<A> {
    fn of(nodes: &mut Nodes<A>, cpus: usize) -> Result<Self, OutOfMemory> {
        let (limit, owner) = (nodes.id_limit(), Owner::new(TABLES));
        let memblock = nodes.memblock_mut();
        let mut of_node = memblock.alloc_filled(limit, NO_GROUP, NodeWish::Any, owner)?;
        let mut leaders = memblock.alloc_filled(limit, NodeId::default(), NodeWish::Any, owner)?;
        let mut counts = memblock.alloc_filled(limit, 0, NodeWish::Any, owner)?;
        let rules = nodes.rules();
        let near = |a: NodeId, b: NodeId| match rules {
            Rules::X86 => a == b,
            Rules::Arm64 => nodes.distance(a, b) == LOCAL,
        };
        let cpus = (0..cpus).map(|cpu| node_of(nodes, cpu));
        let groups = layout::group(cpus, near, &mut of_node, &mut leaders, &mut counts);
        Ok(Self { of_node, leaders, counts, groups })
    }

    fn counts(&self) -> &[u32] {
        self.counts.get(..self.groups).unwrap_or_default()
    }

    fn release(self, nodes: &mut Nodes<A>) {
        let memblock = nodes.memblock_mut();
        memblock.release(self.counts);
        memblock.release(self.leaders);
        memblock.release(self.of_node);
    }
}

/// The node of a CPU. Where the firmware names no CPU there is one, on the first node with memory.
fn node_of<A>(nodes: &Nodes<A>, cpu: usize) -> NodeId {
    let home = || nodes.iter().find(|node| node.has_memory).map_or(NodeId::default(), |node| node.id);
    nodes.cpus().get(cpu).map_or_else(home, |cpu| cpu.node)
}

impl<A: PhysMap + PageFormat> FirstChunk<A> {
    /// Places areas for `static_bytes` of linked variables, for every CPU that there is or may be, or, where there is
    /// no room for so many, for the boot CPU alone.
    ///
    /// # Errors
    /// [`PerCpuError`]: there is no room for that either.
    pub fn allocate(nodes: &mut Nodes<A>, static_bytes: u64) -> Result<Self, PerCpuError> {
        let all = nodes.cpus().len().max(1);
        let (wished, pages) = (Grain::of(nodes.rules(), A::PAGE_SIZE), Grain::pages(A::PAGE_SIZE));
        let mut outcome = Self::place(nodes, all, wished, static_bytes);
        for (cpus, grain) in [(all, pages), (1, pages)] {
            if matches!(outcome, Err(PerCpuError::Memory(OutOfMemory::NoRange { .. }))) {
                outcome = Self::place(nodes, cpus, grain, static_bytes);
            }
        }
        outcome
    }

    fn place(nodes: &mut Nodes<A>, cpus: usize, grain: Grain, static_bytes: u64) -> Result<Self, PerCpuError> {
        let grouping = Grouping::of(nodes, cpus)?;
        let too_large = PerCpuError::TooLarge { static_bytes, cpus: cpus as u64 };
        let chunk = match UnitLayout::new(static_bytes, grain, grouping.counts()) {
            Some(layout) => Self::tables(nodes, cpus, layout, &grouping, too_large),
            None => Err(too_large),
        };
        grouping.release(nodes);
        let mut chunk = chunk?;
        match chunk.take(nodes) {
            Ok(()) => {
                // Not before all groups have theirs: what is given back would be taken by the next.
                chunk.give_back(nodes)?;
                Ok(chunk)
            }
            Err(error) => {
                chunk.undo(nodes)?;
                Err(error)
            }
        }
    }

    /// Numbers units, by group, then by CPU; no unit has memory yet.
    fn tables(
        nodes: &mut Nodes<A>,
        cpus: usize,
        layout: UnitLayout,
        grouping: &Grouping<A>,
        too_large: PerCpuError,
    ) -> Result<Self, PerCpuError> {
        let units = grouping.counts().iter().try_fold(0_u32, |sum, &count| sum.checked_add(layout.units(count)?));
        let units = units.and_then(|units| usize::try_from(units).ok()).ok_or(too_large)?;
        let owner = Owner::new(TABLES);
        let unused = Group { node: NodeId::default(), range: PhysRange::EMPTY, first_unit: 0, units: 0 };
        let nowhere = Area { unit: 0, group: NO_GROUP, range: PhysRange::EMPTY };
        let memblock = nodes.memblock_mut();
        let mut chunk = Self {
            layout,
            groups: memblock.alloc_filled(grouping.groups, unused, NodeWish::Any, owner)?,
            units: memblock.alloc_filled(units, UNUSED, NodeWish::Any, owner)?,
            areas: memblock.alloc_filled(cpus, nowhere, NodeWish::Any, owner)?,
            offsets: memblock.alloc_filled(cpus, 0, NodeWish::Any, owner)?,
            filled: Filled::NotYet,
        };
        let mut first_unit = 0;
        for ((group, &count), &node) in chunk.groups.iter_mut().zip(grouping.counts()).zip(grouping.leaders.iter()) {
            // The numbers of units so far; all of them are counted once each CPU has one.
            *group = Group { node, first_unit, units: 0, ..*group };
            first_unit += layout.units(count).ok_or(too_large)?;
        }
        for (cpu, (area, id)) in chunk.areas.iter_mut().zip((0..).map(CpuId::new)).enumerate() {
            let known = grouping.of_node.get(node_of(nodes, cpu).index()).copied().unwrap_or(NO_GROUP);
            let Some(group) = chunk.groups.get_mut(usize::from(known)) else { continue };
            *area = Area { unit: group.first_unit + group.units, group: known, ..*area };
            group.units += 1;
            if let Some(unit) = chunk.units.get_mut(area.unit as usize) {
                *unit = id;
            }
        }
        for (group, &count) in chunk.groups.iter_mut().zip(grouping.counts()) {
            group.units = layout.units(count).ok_or(too_large)?;
        }
        Ok(chunk)
    }

    /// Takes the memory of every group, and says which of it is whose.
    fn take(&mut self, nodes: &mut Nodes<A>) -> Result<(), PerCpuError> {
        let least = match nodes.rules() {
            Rules::X86 => X86_DMA_END,
            Rules::Arm64 => PhysAddr::new(0),
        };
        let UnitLayout { static_bytes, unit_bytes, atom_bytes, .. } = self.layout;
        let used = self.layout.used_bytes();
        for group in self.groups.iter_mut() {
            let size = unit_bytes.checked_mul(group.units.into());
            let size = size.ok_or(PerCpuError::TooLarge { static_bytes, cpus: self.areas.len() as u64 })?;
            let (within, node, owner) = (PhysRange::new(least, PhysRange::ALL.end()), NodeWish::Any, Owner::new(OWNER));
            let above = Request { size, align: atom_bytes, within, node, owner };
            group.range = match nodes.alloc_near(group.node, above) {
                Err(OutOfMemory::NoRange { .. }) if least > PhysAddr::new(0) => {
                    nodes.alloc_near(group.node, Request { within: PhysRange::ALL, ..above })?
                }
                range => range?,
            };
        }
        for area in self.areas.iter_mut() {
            let Some(group) = self.groups.get(usize::from(area.group)) else { continue };
            let into = unit_bytes * u64::from(area.unit - group.first_unit);
            let start = group.range.start().saturating_add(into);
            area.range = PhysRange::new(start, start.saturating_add(used));
        }
        Ok(())
    }

    /// Gives back what no CPU needs.
    fn give_back(&self, nodes: &mut Nodes<A>) -> Result<(), PerCpuError> {
        for group in self.groups.iter() {
            for unit in 0..group.units {
                let start = group.range.start().saturating_add(self.layout.unit_bytes * u64::from(unit));
                let end = start.saturating_add(self.layout.unit_bytes);
                let cpu = self.units.get((group.first_unit + unit) as usize);
                let kept = if cpu == Some(&UNUSED) { 0 } else { self.layout.used_bytes() };
                let rest = PhysRange::new(start.saturating_add(kept), end);
                if !rest.is_empty() {
                    // SAFETY: this chunk took the memory and has told nobody of this part.
                    unsafe { nodes.memblock_mut().free_allocated(rest)? };
                }
            }
        }
        Ok(())
    }

    /// Gives everything back.
    fn undo(self, nodes: &mut Nodes<A>) -> Result<(), PerCpuError> {
        let memblock = nodes.memblock_mut();
        for range in self.groups.iter().map(|group| group.range).filter(|range| !range.is_empty()) {
            // SAFETY: this chunk took the memory, and ends here.
            unsafe { memblock.free_allocated(range)? };
        }
        memblock.release(self.offsets);
        memblock.release(self.areas);
        memblock.release(self.units);
        memblock.release(self.groups);
        Ok(())
    }

    /// Makes each area a copy of what is linked, with zeroes behind it. What the boot CPU has changed in the template
    /// until now, which so far serves as its own copy, every CPU begins with.
    ///
    /// # Safety
    /// All memory of the areas is mapped ([`PhysMap::phys_ptr`]). `template` leads to as many bytes as
    /// [`FirstChunk::allocate`] was told of, which can be read and which nobody writes meanwhile.
    pub unsafe fn fill(&mut self, template: *const u8) {
        let access = self.offsets.access();
        // A chunk of more than can be addressed was not placed.
        let [linked, used] = [self.layout.static_bytes, self.layout.used_bytes()].map(|bytes| bytes as usize);
        let placed = self.areas.iter().zip(self.offsets.iter_mut()).filter(|(area, _)| !area.range.is_empty());
        for (area, offset) in placed {
            let copy = access.phys_ptr(area.range.start());
            // SAFETY: the area is RAM in one piece, `used` bytes of it, that memblock gave to this chunk alone, and the
            // caller says that it is mapped; so `copy` leads to as many bytes to write. The template is none of them,
            // since it was reserved or no RAM of memblock's, and the caller says that it can be read.
            unsafe {
                copy.copy_from_nonoverlapping(template, linked);
                copy.add(linked).write_bytes(0, used - linked);
            }
            // Exposed: an architecture comes from the template to the copy by adding numbers.
            *offset = copy.expose_provenance().wrapping_sub(template.addr());
        }
        self.filled = Filled::Done;
    }
}

impl<A> FirstChunk<A> {
    /// The sizes of everything.
    #[must_use]
    pub fn layout(&self) -> &UnitLayout {
        &self.layout
    }

    /// The groups, in the order of their first CPUs.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Whose each unit of a group is; `None` of a unit that was given back.
    pub fn cpus_of(&self, group: &Group) -> impl Iterator<Item = Option<CpuId>> {
        let units = self.units.iter().skip(group.first_unit as usize).take(group.units as usize);
        units.map(|&cpu| Some(cpu).filter(|&cpu| cpu != UNUSED))
    }

    /// The area of each CPU. A CPU that this has none for cannot run.
    #[must_use]
    pub fn areas(&self) -> &[Area] {
        &self.areas
    }

    /// How far each CPU's copy is from the template, as pointers, wrapping. Empty before [`FirstChunk::fill`].
    #[must_use]
    pub fn offsets(&self) -> &[usize] {
        match self.filled {
            Filled::NotYet => &[],
            Filled::Done => &self.offsets,
        }
    }
}

impl<A> fmt::Debug for FirstChunk<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { layout, groups, areas, .. } = self;
        f.debug_struct("FirstChunk")
            .field("layout", layout)
            .field("groups", groups)
            .field("areas", areas)
            .finish_non_exhaustive()
    }
}
