//! Which node each byte of memory and each CPU is on, and how far nodes are from each other.
//!
//! [`Nodes::assign`] takes memblock over and leaves every memory region with a node. What the firmware says is believed
//! as a whole or not at all ([`NumaPolicy`]: the two architectures draw the line differently); without it all
//! memory is node 0. A node with CPUs and no memory is a node like others; a domain with neither is only
//! *possible*: it is numbered, but nothing is set up for it.
//!
//! | file | holds |
//! |---|---|
//! | `domains` | firmware domain → node number |
//! | `x86`, `arm64` | memory → node, each by its rules |
//! | `distance` | distances |
//! | `cpus` | CPU → node |
//!
//! Costs: O(n log n) in affinities and CPUs; 48 bytes a node, 32 a CPU, one byte a pair of nodes if distances are
//! stated. Linux: `numa_init` in arch/x86/mm/numa.c and drivers/base/arch_numa.c, drivers/acpi/numa/srat.c,
//! drivers/of/of_numa.c.

#![forbid(unsafe_code)]

mod arm64;
mod cpus;
mod distance;
mod domains;
mod x86;

pub use cpus::CpuInfo;
pub use distance::{LOCAL, REMOTE};

use crate::addr::{NodeId, PfnRange, PhysAddr, PhysRange};
use crate::arch::{PageFormat, PhysMap};
use crate::machine::{MachineMemory, Owner, Plug, Rules, Table, Warning};
use crate::memblock::{BootSlice, Memblock, MemblockError, NodeWish, OutOfMemory, RegionFlags, Request};
use core::fmt;
use core::ops::Deref;
use distance::Distances;
use domains::Domains;

/// How many nodes to make of memory, whatever the firmware says (`numa=fake=`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fake {
    /// This many in all (`N`).
    Count(u32),
    /// As many as there are with so many bytes of memory each (`NM`, `NG`).
    Size(u64),
    /// This many of each node of the firmware (`NU`).
    PerNode(u32),
}

/// What the command line says of nodes (`numa=`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum NumaOption {
    /// Nodes are as the firmware says.
    #[default]
    Firmware,
    /// All memory is one node.
    Off,
    /// The firmware's nodes are cut into emulated ones.
    Fake(Fake),
}

/// How memory comes to nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NumaPolicy {
    /// Whose rules say when the firmware's description is used: on x86 unless two nodes overlap or more than 1 MiB of
    /// RAM is on none; on arm64 unless any memory region is on none.
    pub rules: Rules,
    /// What the command line says.
    pub option: NumaOption,
}

impl NumaPolicy {
    /// Nodes as the firmware says, by these rules.
    #[must_use]
    pub const fn firmware(rules: Rules) -> Self {
        Self { rules, option: NumaOption::Firmware }
    }
}

/// Why memory could not be put on nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NumaError {
    /// There is no memory.
    NoMemory,
    /// Regions could not be cut at the borders of nodes.
    Regions(MemblockError),
    /// There was no memory for a table of nodes, or for a node's data.
    Table(OutOfMemory),
}

impl fmt::Display for NumaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMemory => f.write_str("there is no memory to put on nodes"),
            Self::Regions(error) => write!(f, "memory cannot be cut at the borders of nodes: {error}"),
            Self::Table(error) => write!(f, "the tables of nodes cannot be placed: {error}"),
        }
    }
}

impl core::error::Error for NumaError {}

impl From<MemblockError> for NumaError {
    fn from(error: MemblockError) -> Self {
        Self::Regions(error)
    }
}

impl From<OutOfMemory> for NumaError {
    fn from(error: OutOfMemory) -> Self {
        Self::Table(error)
    }
}

/// A node that memory or CPUs are on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Node {
    /// Its number.
    pub id: NodeId,
    /// The firmware's number for it.
    pub domain: u32,
    /// From its first to its last page of memory, holes and other nodes' memory inside.
    pub span: PfnRange,
    /// Pages of memory on it.
    pub present: u64,
    /// Where its data lies, once [`Nodes::place_data`] has run.
    pub data: Option<PhysRange>,
    /// Whether it has any memory.
    pub has_memory: bool,
}

/// What is set up for a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Its number stands between those of others.
    Unknown,
    /// The firmware names it, for memory that may come.
    Possible,
    /// It has memory or CPUs, or its firmware's word is enough (arm64).
    Online,
}

#[derive(Clone, Copy)]
struct Entry {
    domain: u32,
    state: State,
    span: PfnRange,
    present: u64,
    data: PhysRange,
}

impl Entry {
    const UNKNOWN: Self =
        Self { domain: 0, state: State::Unknown, span: PfnRange::EMPTY, present: 0, data: PhysRange::EMPTY };
}

/// What the firmware says of nodes, when it is believed.
struct Description<A> {
    domains: Domains<A>,
    distances: Distances<A>,
}

/// Nodes, distances and CPUs: what stays when memblock is gone.
pub struct Topology<A> {
    table: BootSlice<A, Entry>,
    distances: Distances<A>,
    cpus: BootSlice<A, CpuInfo>,
}

/// The machine's nodes, and its memory, every region of which is on one. Reads like a [`Topology`].
pub struct Nodes<A> {
    memblock: Memblock<A>,
    topology: Topology<A>,
}

impl<A: PhysMap + PageFormat> Nodes<A> {
    /// Puts all memory and all CPUs on nodes. `text` gets the lines that Linux prints meanwhile.
    ///
    /// # Errors
    /// [`NumaError`]: no memory, or none for the tables. A description that cannot be used is no error: it is dropped
    /// with a warning.
    pub fn assign(
        memblock: Memblock<A>,
        machine: &MachineMemory<'_>,
        policy: NumaPolicy,
        text: &mut dyn fmt::Write,
        warn: &mut dyn FnMut(Warning),
    ) -> Result<Self, NumaError> {
        let rules = policy.rules;
        if memblock.memory().is_empty() {
            return Err(NumaError::NoMemory);
        }
        let mut memblock = memblock;
        let described = match policy.option {
            NumaOption::Off => None,
            NumaOption::Firmware | NumaOption::Fake(_) => Self::described(&mut memblock, machine, rules, text, warn)?,
        };
        let (domains, distances) = match described {
            Some(description) => (Some(description.domains), description.distances),
            None => {
                memblock.clear_nodes();
                memblock.clear(PhysRange::ALL, RegionFlags::HOTPLUG)?;
                memblock.set_node(PhysRange::ALL, NodeId::new(0))?;
                fake_one_node(&memblock, machine, rules, text);
                (None, Distances::default_for(&memblock))
            }
        };
        let cpus = cpus::list(&mut memblock, machine, domains.as_ref())?;
        let count = domains.as_ref().map_or(1, Domains::limit);
        let table = memblock.alloc_filled(count, Entry::UNKNOWN, NodeWish::Any, Owner::new("node table"))?;
        let mut nodes = Self { memblock, topology: Topology { table, distances, cpus } };
        nodes.describe(domains.as_ref(), machine, rules);
        Ok(nodes)
    }

    /// Puts memory on the nodes that the firmware names, if it can be believed.
    fn described(
        memblock: &mut Memblock<A>,
        machine: &MachineMemory<'_>,
        rules: Rules,
        text: &mut dyn fmt::Write,
        warn: &mut dyn FnMut(Warning),
    ) -> Result<Option<Description<A>>, NumaError> {
        if machine.affinities.is_empty() {
            return Ok(None);
        }
        let Some(domains) = Domains::number(memblock, machine, warn)? else { return Ok(None) };
        print_affinities(machine, rules, &domains, text);
        let distances = Distances::read(memblock, machine, &domains, warn)?;
        if rules == Rules::X86 && distances.is_stated() {
            let _ = writeln!(text, "NUMA: Initialized distance table, cnt={}", domains.limit());
        }
        let usable = match rules {
            Rules::X86 => x86::place_memory(memblock, machine, &domains, text, warn)?,
            Rules::Arm64 => arm64::place_memory(memblock, machine, &domains, text, warn)?,
        };
        Ok(usable.then_some(Description { domains, distances }))
    }

    /// Fills the table of nodes from memory, CPUs and domains.
    fn describe(&mut self, domains: Option<&Domains<A>>, machine: &MachineMemory<'_>, rules: Rules) {
        let named = match rules {
            Rules::X86 => State::Possible,
            Rules::Arm64 => State::Online,
        };
        if let Some(domains) = domains {
            for node in domains::named(machine).filter_map(|(domain, _)| domains.node(domain)) {
                if let Some(entry) = self.topology.table.get_mut(node.index()) {
                    entry.state = named;
                    entry.domain = domains.domain(node.index());
                }
            }
        }
        for region in self.memblock.memory() {
            let pages = PfnRange::inside(region.range(), A::PAGE_SHIFT);
            let entry = region.node().and_then(|node| self.topology.table.get_mut(node.index()));
            if let Some(entry) = entry.filter(|_| !pages.is_empty()) {
                let start = if entry.present == 0 { pages.start() } else { entry.span.start() };
                entry.span = PfnRange::new(start, pages.end());
                entry.present += pages.count();
                entry.state = State::Online;
            }
        }
        let Topology { table, cpus, .. } = &mut self.topology;
        for cpu in cpus.iter() {
            if let Some(entry) = table.get_mut(cpu.node.index()) {
                entry.state = State::Online;
            }
        }
        let first = self.iter().next().map_or(NodeId::new(0), |node| node.id);
        cpus::place_rest(&mut self.topology.cpus, first);
    }

    /// Takes `bytes` for each node's own data, on the node itself, or on the nearest one with memory left, and says
    /// where.
    ///
    /// # Errors
    /// [`NumaError::Table`] when no node has room.
    pub fn place_data(&mut self, bytes: u64, text: &mut dyn fmt::Write) -> Result<(), NumaError> {
        for index in 0..self.table.len() {
            let Some(node) = self.get(index) else { continue };
            let range = self.alloc_near(node.id, bytes)?;
            let _ = writeln!(text, "NODE_DATA({}) allocated {}", node.id, Hex8(range));
            let home = self.memblock.memory().find(range.start()).and_then(|region| region.node());
            if let Some(home) = home.filter(|home| *home != node.id) {
                let _ = writeln!(text, "    NODE_DATA({}) on node {home}", node.id);
            }
            if let Some(entry) = self.topology.table.get_mut(index) {
                entry.data = range;
            }
        }
        Ok(())
    }

    /// Pages from `node`, or from the nearest node that has room; of nodes equally far, from the lowest.
    fn alloc_near(&mut self, node: NodeId, bytes: u64) -> Result<PhysRange, NumaError> {
        let size = bytes.max(1).checked_next_multiple_of(A::PAGE_SIZE);
        let size = size.ok_or(OutOfMemory::TooLarge { items: 1, each: bytes })?;
        let align = A::PAGE_SIZE;
        let request = |node| Request { size, align, within: PhysRange::ALL, node, owner: Owner::new("node data") };
        let mut tried = None;
        loop {
            let keys = self.iter().filter(|other| other.has_memory);
            let keys = keys.map(|other| (self.distance(node, other.id), other.id));
            let Some(next) = keys.filter(|key| tried.is_none_or(|tried| *key > tried)).min() else {
                return Ok(self.memblock.alloc(request(NodeWish::Any))?);
            };
            tried = Some(next);
            match self.memblock.alloc(request(NodeWish::Only(next.1))) {
                Err(OutOfMemory::NoRange { .. }) => {}
                result => return Ok(result?),
            }
        }
    }
}

impl<A> Nodes<A> {
    /// Memory, every region of which is on a node.
    #[must_use]
    pub fn memblock(&self) -> &Memblock<A> {
        &self.memblock
    }

    /// Memory, to allocate from and to reserve. What is added now is on no node.
    pub fn memblock_mut(&mut self) -> &mut Memblock<A> {
        &mut self.memblock
    }

    /// Memory by itself and the nodes by themselves, for who hands memory on.
    #[must_use]
    pub fn into_parts(self) -> (Memblock<A>, Topology<A>) {
        (self.memblock, self.topology)
    }
}

impl<A> Deref for Nodes<A> {
    type Target = Topology<A>;

    fn deref(&self) -> &Topology<A> {
        &self.topology
    }
}

impl<A> Topology<A> {
    /// The nodes that are online, in the order of their numbers.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Node> + Clone {
        (0..self.table.len()).filter_map(|index| self.get(index))
    }

    /// Nodes that are only possible: the firmware names them, but they have neither memory nor CPUs yet.
    pub fn possible(&self) -> impl Iterator<Item = NodeId> {
        let numbered = self.table.iter().zip(0..);
        numbered.filter(|(entry, _)| entry.state == State::Possible).map(|(_, number)| NodeId::new(number))
    }

    fn get(&self, index: usize) -> Option<Node> {
        let entry = self.table.get(index).filter(|entry| entry.state == State::Online)?;
        Some(Node {
            id: NodeId::new(u16::try_from(index).ok()?),
            domain: entry.domain,
            span: entry.span,
            present: entry.present,
            data: Some(entry.data).filter(|data| !data.is_empty()),
            has_memory: entry.present > 0,
        })
    }

    /// The node with this number, if it is online.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<Node> {
        self.get(id.index())
    }

    /// How many nodes are online.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.table.iter().filter(|entry| entry.state == State::Online).count()
    }

    /// One more than the highest node number, for tables that are indexed by it.
    #[must_use]
    pub fn id_limit(&self) -> usize {
        self.table.len()
    }

    /// How far it is from one node to another; 10 is local.
    #[must_use]
    pub fn distance(&self, from: NodeId, to: NodeId) -> u8 {
        self.distances.get(from, to)
    }

    /// The CPUs, the boot CPU first.
    #[must_use]
    pub fn cpus(&self) -> &[CpuInfo] {
        &self.cpus
    }
}

impl<A> fmt::Debug for Topology<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topology").field("cpus", &self.cpus).finish_non_exhaustive()
    }
}

impl<A> fmt::Debug for Nodes<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nodes").field("memblock", &self.memblock).finish_non_exhaustive()
    }
}

/// A node's range with its borders moved down to pages: a page with a border inside is whole on the upper node.
fn whole_pages<A: PageFormat>(range: PhysRange) -> PhysRange {
    PhysRange::new(range.start().align_down(A::PAGE_SIZE), range.end().align_down(A::PAGE_SIZE))
}

/// Says what SRAT says, as Linux does while it reads it: CPUs, then memory.
fn print_affinities<A>(machine: &MachineMemory<'_>, rules: Rules, domains: &Domains<A>, text: &mut dyn fmt::Write) {
    let node = |domain| domains.node(domain).unwrap_or_default();
    if rules == Rules::X86 {
        for cpu in machine.cpu_affinities.iter() {
            let (domain, id) = (cpu.domain, cpu.hardware_id);
            let _ = writeln!(text, "SRAT: PXM {domain} -> APIC {id:#04x} -> Node {}", node(domain));
        }
    }
    for affinity in machine.affinities.iter().filter(|affinity| affinity.source.table == Table::Srat) {
        let (domain, range) = (affinity.domain, Hex8(affinity.range));
        let plug = match affinity.plug {
            Plug::Fixed => "",
            Plug::HotPluggable => " hotplug",
        };
        let _ = writeln!(text, "ACPI: SRAT: Node {} PXM {domain} {range}{plug}", node(domain));
    }
}

/// Says that all memory is node 0.
fn fake_one_node<A: PhysMap>(
    memblock: &Memblock<A>,
    machine: &MachineMemory<'_>,
    rules: Rules,
    text: &mut dyn fmt::Write,
) {
    let memory = memblock.memory().span();
    let _ = match rules {
        Rules::X86 => {
            let range = PhysRange::new(PhysAddr::new(0), memory.end());
            writeln!(text, "No NUMA configuration found\nFaking a node at {range}")
        }
        Rules::Arm64 if machine.affinities.is_empty() => {
            writeln!(text, "NUMA: No NUMA configuration found\nNUMA: Faking a node at {memory}")
        }
        Rules::Arm64 => writeln!(text, "NUMA: Faking a node at {memory}"),
    };
}

/// A range with at least 8 hexadecimal digits, as the lines about nodes print it.
struct Hex8(PhysRange);

impl fmt::Display for Hex8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[mem {:#010x}-{:#010x}]", self.0.start(), self.0.last())
    }
}
