//! Which node each byte of memory and each CPU is on, and how far nodes are from each other.
//!
//! [`Nodes::assign`] takes memblock over and leaves every memory region with a node. What the firmware says is believed
//! as a whole or not at all ([`NumaPolicy`]: the two architectures draw the line differently); without it all
//! memory is node 0. A node with CPUs or initiators and no memory is a node like others; a domain with none is only
//! *possible*: it is numbered, but nothing is set up for it.
//!
//! | file | holds |
//! |---|---|
//! | `domains` | firmware domain → node number |
//! | `x86`, `arm64` | memory → node, each by its rules; on x86 emulated nodes too |
//! | `distance` | distances |
//! | `cpus` | CPU → node |
//! | `topology` | what stays: nodes with their states, distances, CPUs |
//! | `set` | sets of nodes |
//! | `text` | the lines that Linux prints meanwhile |
//!
//! Costs: O(n log n) in affinities and CPUs; 48 bytes a node, 32 a CPU, one byte a pair of nodes if distances are
//! stated. Linux: `numa_init` in arch/x86/mm/numa.c and drivers/base/arch_numa.c, drivers/acpi/numa/srat.c,
//! drivers/of/of_numa.c.

#![forbid(unsafe_code)]

mod arm64;
mod cpus;
mod distance;
mod domains;
mod grow;
mod set;
mod text;
mod topology;
mod x86;

pub use cpus::CpuInfo;
pub use distance::{LOCAL, REMOTE};
pub use set::NodeSet;
pub use topology::{Node, Topology};

use crate::addr::{NodeId, PfnRange, PhysRange};
use crate::arch::{PageFormat, PhysMap};
use crate::machine::{MachineMemory, Owner, Problem, Rules, Source, Table, Warning};
use crate::memblock::{Memblock, MemblockError, NodeWish, OutOfMemory, RegionFlags, Request};
use core::fmt;
use core::ops::Deref;
use distance::Distances;
use domains::Domains;
use topology::{Entry, State};
use x86::{Emulated, Placed};

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

/// Who says which nodes there are.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum NodeSource {
    /// The firmware.
    #[default]
    Firmware,
    /// Nobody, as if the firmware had nothing to say: all memory is one node (`noacpi`; x86).
    Nobody,
    /// The command line: all memory is one node (`off`).
    Off,
}

/// What the command line says of nodes (`numa=`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct NumaOption {
    /// Where nodes come from.
    pub source: NodeSource,
    /// Into what they are cut afterwards.
    pub fake: Option<Fake>,
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
        Self { rules, option: NumaOption { source: NodeSource::Firmware, fake: None } }
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

/// What the firmware says of nodes, when it is believed.
struct Description<A> {
    domains: Domains<A>,
    distances: Distances<A>,
    emulated: Option<Emulated<A>>,
}

/// The machine's nodes, and its memory, every region of which is on one. Reads like a [`Topology`].
pub struct Nodes<A> {
    memblock: Memblock<A>,
    topology: Topology<A>,
    rules: Rules,
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
        let mut fake = wished_emulation(policy, warn);
        let described = match (policy.option.source, rules) {
            (NodeSource::Off, _) | (NodeSource::Nobody, Rules::X86) => None,
            _ => Self::described(&mut memblock, machine, rules, &mut fake, text, warn)?,
        };
        let (domains, distances, emulated) = match described {
            Some(found) => (Some(found.domains), found.distances, found.emulated),
            None => (None, Distances::default_for(&memblock), one_node(&mut memblock, machine, policy, fake, text)?),
        };
        let mut cpus = cpus::list(&mut memblock, machine, domains.as_ref())?;
        if let Some(emulated) = &emulated {
            cpus::emulate(&mut cpus, emulated);
        }
        let count = domains.as_ref().map_or(1, Domains::limit);
        let count = emulated.as_ref().map_or(count, Emulated::limit);
        let table = memblock.alloc_filled(count, Entry::UNKNOWN, NodeWish::Any, Owner::new("node table"))?;
        let topology = Topology { table, distances, wished_distances: None, cpus, emulated };
        let mut nodes = Self { memblock, topology, rules };
        nodes.describe(domains.as_ref(), machine);
        Ok(nodes)
    }

    /// Puts memory on the nodes that the firmware names, if it can be believed.
    fn described(
        memblock: &mut Memblock<A>,
        machine: &MachineMemory<'_>,
        rules: Rules,
        fake: &mut Option<Fake>,
        text: &mut dyn fmt::Write,
        warn: &mut dyn FnMut(Warning),
    ) -> Result<Option<Description<A>>, NumaError> {
        if machine.affinities.is_empty() {
            return Ok(None);
        }
        let Some(domains) = Domains::number(memblock, machine, warn)? else { return Ok(None) };
        text::affinities(machine, rules, &domains, text);
        let distances = Distances::read(memblock, machine, &domains, warn)?;
        if rules == Rules::X86 && distances.is_stated() {
            let _ = writeln!(text, "NUMA: Initialized distance table, cnt={}", domains.limit());
        }
        let placed = match rules {
            Rules::X86 => x86::place_memory(memblock, machine, &domains, fake, text, warn)?,
            Rules::Arm64 => arm64::place_memory(memblock, machine, &domains, text, warn)?,
        };
        Ok(match placed {
            Placed::Firmware => Some(Description { domains, distances, emulated: None }),
            Placed::Emulated(emulated) => Some(Description { domains, distances, emulated: Some(emulated) }),
            Placed::Rejected => None,
        })
    }

    /// Fills the table of nodes from memory, CPUs and domains.
    fn describe(&mut self, domains: Option<&Domains<A>>, machine: &MachineMemory<'_>) {
        let named = match self.rules {
            Rules::X86 => State::Possible,
            Rules::Arm64 => State::Online,
        };
        let Topology { table, emulated, .. } = &mut self.topology;
        if let (Some(domains), None) = (domains, &emulated) {
            for node in domains::named(machine).filter_map(|(domain, _)| domains.node(domain)) {
                if let Some(entry) = table.get_mut(node.index()) {
                    entry.state = named;
                    entry.domain = domains.domain(node.index());
                }
            }
        }
        if let (Some(domains), Some(emulated)) = (domains, &emulated) {
            for (entry, node) in table.iter_mut().zip((0..).map(NodeId::new)) {
                entry.domain = emulated.physical(node).map_or(0, |physical| domains.domain(physical.index()));
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
        let Topology { table, cpus, emulated, .. } = &mut self.topology;
        // Emulated nodes are made of memory alone.
        let domains = domains.filter(|_| emulated.is_none());
        let initiators = machine.initiators.iter().filter_map(|initiator| domains?.node(initiator.domain));
        for node in cpus.iter().map(|cpu| cpu.node).chain(initiators) {
            if let Some(entry) = table.get_mut(node.index()) {
                entry.state = State::Online;
            }
        }
        let homes = match self.rules {
            Rules::X86 => self.topology.with_memory(),
            Rules::Arm64 => self.topology.iter().take(1).map(|node| node.id).collect(),
        };
        cpus::place_rest(&mut self.topology.cpus, homes);
    }

    /// Says how far emulated nodes are from each other, row by row; pairs behind the last of `wished` stay as they are.
    /// Nothing happens where no node is emulated.
    ///
    /// # Errors
    /// [`NumaError::Table`]: no memory for the table.
    pub fn set_emulated_distances(&mut self, wished: &[u8], warn: &mut dyn FnMut(Warning)) -> Result<(), NumaError> {
        let Self { memblock, topology, .. } = self;
        if let (Some(emulated), false) = (&topology.emulated, wished.is_empty()) {
            let cut_from = |from, to| topology.distance(from, to);
            let table = Distances::wished(memblock, emulated.limit(), wished, cut_from, warn)?;
            topology.wished_distances = Some(table);
        }
        Ok(())
    }

    /// Takes `bytes` for each node's own data, on the node itself, or on the nearest one with memory left, and says
    /// where.
    ///
    /// # Errors
    /// [`NumaError::Table`] when no node has room.
    pub fn place_data(&mut self, bytes: u64, text: &mut dyn fmt::Write) -> Result<(), NumaError> {
        let size = bytes.max(1).checked_next_multiple_of(A::PAGE_SIZE);
        let size = size.ok_or(OutOfMemory::TooLarge { items: 1, each: bytes })?;
        let (within, node, owner) = (PhysRange::ALL, NodeWish::Any, Owner::new("node data"));
        let request = Request { size, align: A::PAGE_SIZE, within, node, owner };
        for index in 0..self.table.len() {
            let Some(node) = self.get(index) else { continue };
            let range = self.alloc_near(node.id, request)?;
            let home = self.memblock.memory().find(range.start()).and_then(|region| region.node());
            text::node_data(node, range, home.unwrap_or(node.id), self.rules, text);
            if let Some(entry) = self.topology.table.get_mut(index) {
                entry.data = range;
            }
        }
        Ok(())
    }

    /// Memory for the request from `node`, or from the nearest node that has room; of nodes equally far, from the
    /// lowest. The request's own wish is looked at where no node has any.
    pub(crate) fn alloc_near(&mut self, node: NodeId, request: Request) -> Result<PhysRange, OutOfMemory> {
        let mut tried = None;
        loop {
            let keys = self.iter().filter(|other| other.has_memory);
            let keys = keys.map(|other| (other.id != node, self.distance(node, other.id), other.id));
            let Some(next) = keys.filter(|key| tried.is_none_or(|tried| *key > tried)).min() else {
                return self.memblock.alloc(request);
            };
            tried = Some(next);
            match self.memblock.alloc(Request { node: NodeWish::Only(next.2), ..request }) {
                Err(OutOfMemory::NoRange { .. }) => {}
                result => return result,
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

    /// Whose rules put memory on nodes.
    #[must_use]
    pub fn rules(&self) -> Rules {
        self.rules
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

impl<A> fmt::Debug for Nodes<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nodes").field("memblock", &self.memblock).finish_non_exhaustive()
    }
}

/// The emulation that the command line asks for, where the rules know such a thing. Warns of what they do not know.
fn wished_emulation(policy: NumaPolicy, warn: &mut dyn FnMut(Warning)) -> Option<Fake> {
    if policy.rules == Rules::X86 {
        return policy.option.fake;
    }
    let mut ignore = |what, why| {
        let problem = Problem::Ignored { what, why };
        warn(Warning { source: Source::whole(Table::CommandLine), problem });
    };
    if policy.option.source == NodeSource::Nobody {
        ignore("numa=noacpi", "nodes are not ACPI's alone on arm64");
    }
    if policy.option.fake.is_some() {
        ignore("numa=fake", "there are no emulated nodes on arm64");
    }
    None
}

/// Makes one node of all memory, or emulated ones of that.
fn one_node<A: PhysMap + PageFormat>(
    memblock: &mut Memblock<A>,
    machine: &MachineMemory<'_>,
    policy: NumaPolicy,
    fake: Option<Fake>,
    text: &mut dyn fmt::Write,
) -> Result<Option<Emulated<A>>, NumaError> {
    memblock.clear_nodes();
    if policy.rules == Rules::X86 {
        // What can go is SRAT's word, and that is not believed.
        memblock.clear(PhysRange::ALL, RegionFlags::HOTPLUG)?;
    }
    memblock.set_node(PhysRange::ALL, NodeId::new(0))?;
    text::one_node(memblock.memory().span(), machine, policy, text);
    x86::emulate_one_node(memblock, fake, text)
}

/// A node's range with its borders moved down to pages: a page with a border inside is whole on the upper node.
fn whole_pages<A: PageFormat>(range: PhysRange) -> PhysRange {
    PhysRange::new(range.start().align_down(A::PAGE_SIZE), range.end().align_down(A::PAGE_SIZE))
}
