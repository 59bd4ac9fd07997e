//! What firmware says, as a reader states it, and memory brought up from it by the same stages as in the kernel.
//!
//! The machine behind it has host memory for the early window only, so it may have terabytes: before the final page
//! tables stand, nothing else is touched. After each stage [`Told::bring_up`] checks that everything adds up.

use crate::{Description, Emulated, Machine};
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{Count, Fact, MachineSink, Purpose, RegionFlags, Rules, Warning, find_window};
use mm::memblock::Memblock;
use mm::numa::Nodes;
use mm::percpu::FirstChunk;
use mm::zone::{LowZones, ZoneKind, Zones};
use platform::bring_up::{self, BringUpError};
use platform::options::Options;
use platform::plan::{Listener, Plan};
use platform::reserve::Reserved;

/// Bytes of data for each node, as much as a kernel might want.
const NODE_DATA: u64 = 0x2000;
/// Bytes of per-CPU variables that a kernel might link.
const PERCPU: u64 = 0x1234;
/// Bytes of the early window beside what grows with the facts.
const SLACK: u64 = 1 << 20;
/// Bytes of the record of a page, as in Linux.
const STRUCT_PAGE: u64 = 64;
/// What a kernel with 48 bits of virtual addresses might reach.
const REACH: PhysRange = PhysRange::new(PhysAddr::new(0), PhysAddr::new(1 << 46));

/// The facts that a reader stated, and its warnings.
#[derive(Clone, Default, Debug)]
pub struct Told {
    /// The facts; change them as a test likes.
    pub description: Description,
    /// What readers and stages warned of.
    pub warnings: Vec<Warning>,
    /// What the stages printed.
    pub text: String,
    /// What they kept of memory beside what the facts name.
    pub reserved: Reserved,
}

/// Why memory was not brought up.
#[derive(Debug)]
pub enum Refused {
    /// No free range holds the early window.
    NoWindow,
    /// A stage said no.
    Stage(BringUpError),
}

impl From<BringUpError> for Refused {
    fn from(error: BringUpError) -> Self {
        Self::Stage(error)
    }
}

impl MachineSink for Told {
    fn fact(&mut self, fact: Fact) {
        let to = &mut self.description;
        match fact {
            Fact::Bank(bank) => to.banks.push(bank),
            Fact::Reservation(reservation) => to.reservations.push(reservation),
            Fact::Wish(wish) => to.wishes.push(wish),
            Fact::Affinity(affinity) => to.affinities.push(affinity),
            Fact::Cpu(cpu) => to.cpus.push(cpu),
            Fact::CpuAffinity(affinity) => to.cpu_affinities.push(affinity),
            Fact::Initiator(initiator) => to.initiators.push(initiator),
            Fact::Distance(distance) => to.distances.push(distance),
            Fact::Usable(usable) => to.usable.push(usable),
            Fact::DmaLimit(limit) => {
                if to.dma_limit.is_none_or(|least| limit.end < least.end) {
                    to.dma_limit = Some(limit);
                }
            }
            Fact::DefaultPool(source) => to.default_pool = Some(source),
            Fact::Warning(warning) => self.warnings.push(warning),
        }
    }
}

impl Told {
    /// What `describe` states.
    #[must_use]
    pub fn by(describe: impl FnOnce(&mut Self)) -> Self {
        let mut told = Self::default();
        describe(&mut told);
        told
    }

    /// Brings memory up to zonelists, checks it, and shows the result.
    ///
    /// # Errors
    /// [`Refused`]: which is right where there is no memory to speak of.
    ///
    /// # Panics
    /// Something does not add up.
    pub fn bring_up<T>(
        &mut self,
        rules: Rules,
        options: &Options,
        look: impl FnOnce(&Zones<Emulated<'_, 12>>) -> T,
    ) -> Result<T, Refused> {
        let size = (self.count().working_bytes() + self.lists() + SLACK).next_multiple_of(1 << 16);
        let window = find_window(size, 1 << 16, REACH, |sink| self.repeat(sink)).ok_or(Refused::NoWindow)?;
        let host = Machine::<12>::builder().ram(window.start().as_u64(), window.size(), 0).finish();
        let machine = self.description.lend();
        let plan = Plan { rules, low_zones: LowZones::all(), machine: &machine, options, reach: REACH };
        let warnings = &mut self.warnings;
        let listener = &mut Listener { text: &mut self.text, warn: &mut |warning| warnings.push(warning) };
        let mut memblock = Memblock::new(host.handle());
        // SAFETY: the emulated machine has exactly this RAM, and nobody else uses it.
        unsafe { memblock.set_mapped(window) };
        let pools = bring_up::memory(&plan, &mut memblock, listener)?;
        check_regions(&memblock);
        // A pool may turn out to be none.
        for held in machine.reservations.iter().filter(|held| held.purpose != Purpose::Contiguous) {
            assert!(memblock.free_ranges_within(held.range).next().is_none(), "{} is free", held.range);
        }
        let mut nodes = bring_up::nodes(&plan, memblock, listener)?;
        check_nodes(&nodes);
        bring_up::node_data(&mut nodes, NODE_DATA, listener)?;
        self.reserved = bring_up::reserve(&plan, pools, &mut nodes, listener)?;
        let mut zones = bring_up::zones(&plan, nodes, listener)?;
        let percpu = bring_up::percpu(&mut zones, PERCPU, listener)?;
        check_areas(&zones, &percpu);
        bring_up::zonelists(&plan, &mut zones, STRUCT_PAGE, listener)?;
        check_zones(&zones);
        bring_up::huge_pages(&plan, &mut self.reserved, &mut zones, STRUCT_PAGE, listener)?;
        check_regions(zones.memblock());
        Ok(look(&zones))
    }

    /// Bytes for zonelists, for which a kernel has all of its memory mapped already: each node names each zone.
    fn lists(&self) -> u64 {
        let facts = &self.description;
        let mut domains: Vec<u32> = facts.affinities.iter().map(|affinity| affinity.domain).collect();
        domains.extend(facts.cpu_affinities.iter().map(|affinity| affinity.domain));
        domains.extend(facts.cpus.iter().filter_map(|cpu| cpu.domain));
        domains.sort_unstable();
        domains.dedup();
        let nodes = domains.len() as u64;
        nodes * nodes * 4 * ZoneKind::COUNT as u64
    }

    fn count(&self) -> Count {
        let mut count = Count::default();
        self.repeat(&mut count);
        count
    }

    /// States again what matters for the place of the early window, and for its size.
    fn repeat(&self, sink: &mut dyn MachineSink) {
        let facts = &self.description;
        facts.banks.iter().for_each(|bank| sink.bank(*bank));
        facts.reservations.iter().for_each(|reservation| sink.reservation(*reservation));
        facts.affinities.iter().for_each(|affinity| sink.affinity(*affinity));
        facts.cpus.iter().for_each(|cpu| sink.cpu(*cpu));
        facts.cpu_affinities.iter().for_each(|affinity| sink.cpu_affinity(*affinity));
        facts.distances.iter().for_each(|distance| sink.distance(*distance));
        facts.wishes.iter().for_each(|wish| sink.fact(Fact::Wish(*wish)));
    }
}

/// Regions are sorted, apart, and whole pages; nothing that is reserved or unmapped is free.
fn check_regions(memblock: &Memblock<Emulated<'_, 12>>) {
    for regions in [memblock.memory(), memblock.reserved()] {
        let mut end = 0;
        for region in regions {
            assert!(region.range().start().as_u64() >= end && !region.range().is_empty(), "{}", region.range());
            end = region.range().end().as_u64();
        }
    }
    for region in memblock.memory() {
        let range = region.range();
        assert!(range.start().is_aligned(0x1000) && range.end().is_aligned(0x1000), "{range}");
    }
    for free in memblock.free_ranges() {
        assert!(memblock.reserved().overlapping(free.range).is_empty(), "{}", free.range);
        let memory = memblock.memory().overlapping(free.range);
        assert!(memory.iter().all(|region| !region.flags().contains(RegionFlags::NOMAP)), "{}", free.range);
    }
}

/// All memory is on a node, and each node's pages add up.
fn check_nodes(nodes: &Nodes<Emulated<'_, 12>>) {
    let pages: u64 = nodes.iter().map(|node| node.present).sum();
    assert_eq!(pages << 12, nodes.memblock().memory_size());
    assert!(nodes.memblock().memory().iter().all(|region| region.node().is_some()));
}

/// Every CPU, or the first alone, has an area of its own, in memory, that nobody else gets.
fn check_areas(zones: &Zones<Emulated<'_, 12>>, percpu: &FirstChunk<Emulated<'_, 12>>) {
    let cpus = zones.nodes().cpus().len().max(1);
    assert!([1, cpus].contains(&percpu.areas().len()));
    let mut ranges: Vec<_> = percpu.areas().iter().map(|area| area.range).collect();
    ranges.sort_unstable_by_key(|range| range.start());
    assert!(ranges.windows(2).all(|pair| pair[0].end() <= pair[1].start()));
    for range in ranges {
        assert!(range.size() >= PERCPU && zones.memblock().memory().find(range.start()).is_some(), "{range}");
        assert!(zones.memblock().free_ranges_within(range).next().is_none(), "{range} is free");
    }
}

/// Zones hold each page once, and every node finds each of them in its list once.
fn check_zones(zones: &Zones<Emulated<'_, 12>>) {
    let present: u64 = zones.spans().iter().map(|zone| zone.present).sum();
    assert_eq!(present << 12, zones.memblock().memory_size());
    let populated = zones.spans().iter().filter(|zone| zone.is_populated()).count();
    for node in zones.nodes().iter() {
        let mut list = zones.zonelist(node.id, ZoneKind::Movable).to_vec();
        assert_eq!(list.len(), populated);
        list.sort_unstable();
        list.dedup();
        assert_eq!(list.len(), populated);
    }
}
