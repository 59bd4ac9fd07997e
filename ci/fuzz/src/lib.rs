//! What every fuzz target does with the facts that it has made a reader state: bring memory up from them, on a machine
//! that has host memory for the early window only, and see that it adds up.

use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{Count, Fact, MachineMemory, MachineSink, Rules, find_window};
use mm::memblock::{Memblock, RegionFlags};
use mm::numa::Nodes;
use mm::zone::Zones;
use mm_testkit::{Description, Emulated, Machine};
use platform::bring_up::{self, Listener, Plan};
use platform::options::Options;

/// Facts that are kept of one input; firmware with more exists, but a fuzzer's time is better spent otherwise.
const MAX_FACTS: usize = 2048;

/// Bytes of data for each node, as much as a kernel might want.
const NODE_DATA: u64 = 0x2000;

/// What a reader said.
#[derive(Default)]
pub struct Facts {
    description: Description,
    count: Count,
    stated: usize,
}

impl MachineSink for Facts {
    fn fact(&mut self, fact: Fact) {
        if let Fact::Warning(warning) = fact {
            assert!(!warning.to_string().contains('\n'));
            return;
        }
        self.stated += 1;
        if self.stated > MAX_FACTS {
            return;
        }
        self.count.fact(fact);
        let to = &mut self.description;
        match fact {
            Fact::Bank(bank) => to.banks.push(bank),
            Fact::Reservation(reservation) => to.reservations.push(reservation),
            Fact::Wish(wish) => to.wishes.push(wish),
            Fact::Affinity(affinity) => to.affinities.push(affinity),
            Fact::Cpu(cpu) => to.cpus.push(cpu),
            Fact::CpuAffinity(affinity) => to.cpu_affinities.push(affinity),
            Fact::Distance(distance) => to.distances.push(distance),
            Fact::Usable(usable) => to.usable.push(usable),
            Fact::DmaLimit(limit) => to.dma_limit = Some(limit),
            Fact::Warning(_) => {}
        }
    }
}

impl Facts {
    /// Brings memory up to zonelists, as far as there is memory, and checks the result.
    pub fn bring_up(mut self, rules: Rules, options: &Options) {
        let size = (self.count.working_bytes() + (2 << 20)).next_multiple_of(1 << 16);
        let reach = PhysRange::new(PhysAddr::new(0), PhysAddr::new(1 << 46));
        let facts = self.description.clone();
        let replay = |sink: &mut dyn MachineSink| {
            facts.banks.iter().for_each(|bank| sink.bank(*bank));
            facts.reservations.iter().for_each(|reservation| sink.reservation(*reservation));
        };
        let Some(window) = find_window(size, 1 << 16, reach, replay) else { return };
        let host = Machine::<12>::builder().ram(window.start().as_u64(), window.size(), 0).finish();
        let machine = self.description.lend();
        let plan = Plan { rules, machine: &machine, options, reach };
        let mut text = String::new();
        let listener = &mut Listener { text: &mut text, warn: &mut |warning| drop(warning.to_string()) };
        let mut memblock = Memblock::new(host.handle());
        // SAFETY: the emulated machine has exactly this RAM, and nobody else uses it.
        unsafe { memblock.set_mapped(window) };
        if bring_up::memory(&plan, &mut memblock, listener).is_err() {
            return;
        }
        check_regions(&memblock, &machine);
        let Ok(mut nodes) = bring_up::nodes(&plan, memblock, listener) else { return };
        check_nodes(&nodes);
        if bring_up::node_data(&mut nodes, NODE_DATA, listener).is_err() {
            return;
        }
        let Ok(zones) = bring_up::zones(&plan, nodes, 64, listener) else { return };
        check_zones(&zones);
    }
}

type Access<'m> = Emulated<'m, 12>;

/// Regions are sorted, apart, and whole pages; nothing that is reserved or unmapped is free.
fn check_regions(memblock: &Memblock<Access<'_>>, machine: &MachineMemory<'_>) {
    let mut end = 0;
    for region in memblock.memory() {
        let range = region.range();
        assert!(range.start().as_u64() >= end && !range.is_empty(), "{range}");
        assert!(range.start().is_aligned(0x1000) && range.end().is_aligned(0x1000), "{range}");
        end = range.end().as_u64();
    }
    let mut end = 0;
    for region in memblock.reserved() {
        assert!(region.range().start().as_u64() >= end && !region.range().is_empty());
        end = region.range().end().as_u64();
    }
    for free in memblock.free_ranges() {
        assert!(memblock.reserved().overlapping(free.range).is_empty(), "{}", free.range);
        let memory = memblock.memory().overlapping(free.range);
        assert!(memory.iter().all(|region| !region.flags().contains(RegionFlags::NOMAP)), "{}", free.range);
        assert!(!machine.reservations.iter().any(|held| held.range.overlaps(free.range)), "{}", free.range);
    }
}

/// All memory is on a node, and each node's pages add up.
fn check_nodes(nodes: &Nodes<Access<'_>>) {
    let pages: u64 = nodes.iter().map(|node| node.present).sum();
    assert_eq!(pages << 12, nodes.memblock().memory_size());
    assert!(nodes.memblock().memory().iter().all(|region| region.node().is_some()));
}

/// Zones hold each page once, and every node finds each of them in its list once.
fn check_zones(zones: &Zones<Access<'_>>) {
    let present: u64 = zones.spans().iter().map(|zone| zone.present).sum();
    assert_eq!(present << 12, zones.memblock().memory_size());
    let populated = zones.spans().iter().filter(|zone| zone.is_populated()).count();
    for node in zones.nodes().iter() {
        let mut list = zones.zonelist(node.id, mm::zone::ZoneKind::Movable).to_vec();
        assert_eq!(list.len(), populated);
        list.sort_unstable();
        list.dedup();
        assert_eq!(list.len(), populated);
    }
}
