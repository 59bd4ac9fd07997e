//! A machine as its firmware states it, in few words.

use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{
    Affinity, CpuAffinity, CpuEntry, Distance, MachineSink, Owner, Persistence, Plug, Purpose, Reservation, Rules,
    Source, StartMethod, Table, Warning,
};
use mm::zone::Zones;
use mm_testkit::{Emulated, Refused, Told};
use platform::firmware::e820::E820;
use platform::options::Options;
use platform::read::MemoryImage;

pub(crate) const KIB: u64 = 1 << 10;
pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const GIB: u64 = 1 << 30;
pub(crate) const TIB: u64 = 1 << 40;

/// The numbers of E820 types.
pub(crate) const USABLE: u32 = 1;
pub(crate) const RESERVED: u32 = 2;

/// Where the map of a test lies.
const MAP: PhysAddr = PhysAddr::new(0x1000);

/// What was made of a machine.
pub(crate) struct Outcome {
    /// First and last byte of each memory region, and its node.
    pub(crate) memory: Vec<(u64, u64, u16)>,
    /// Nodes that are online, with their pages.
    pub(crate) nodes: Vec<(u16, u64)>,
    /// What was printed.
    pub(crate) text: String,
    pub(crate) warnings: Vec<Warning>,
}

pub(crate) fn range(start: u64, size: u64) -> PhysRange {
    PhysRange::from_size(PhysAddr::new(start), size).unwrap()
}

/// The facts of a PC with this map: start, size and type of each entry.
pub(crate) fn pc(entries: &[(u64, u64, u32)]) -> Told {
    let mut bytes = Vec::new();
    for (start, size, kind) in entries {
        bytes.extend(start.to_le_bytes());
        bytes.extend(size.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(0u32.to_le_bytes());
    }
    let map = E820 { at: MAP, entries: entries.len() as u32 };
    Told::by(|sink| map.describe(&mut MemoryImage::new(&[(MAP, &bytes)]), sink))
}

/// The facts of a PC of 4 GiB: a hole below 4 GiB, and the rest above.
pub(crate) fn pc_4g() -> Told {
    pc(&[(0, 640 * KIB, USABLE), (MIB, 3 * GIB - MIB, USABLE), (4 * GIB, GIB, USABLE)])
}

pub(crate) fn reserve(told: &mut Told, range: PhysRange, table: Table) {
    let source = Source::whole(table);
    told.reservation(Reservation { range, owner: Owner::new("somebody"), purpose: Purpose::Held, source });
}

/// Says that `size` bytes from `start` on belong to a domain.
pub(crate) fn affinity(told: &mut Told, domain: u32, start: u64, size: u64, plug: Plug) {
    affinity_by(Table::Srat, told, domain, start, size, plug);
}

/// As [`affinity`], in another table.
pub(crate) fn affinity_by(table: Table, told: &mut Told, domain: u32, start: u64, size: u64, plug: Plug) {
    let entry = told.description.affinities.len() as u32;
    let source = Source::entry(table, entry);
    told.affinity(Affinity { range: range(start, size), domain, plug, persistence: Persistence::default(), source });
}

/// Lists a CPU, and its domain where SRAT gives it.
pub(crate) fn cpu(told: &mut Told, hardware_id: u64, domain: u32) {
    let source = Source::entry(Table::Madt, told.description.cpus.len() as u32);
    told.cpu(CpuEntry { hardware_id, domain: None, start: StartMethod::Unstated, source });
    let source = Source::entry(Table::Srat, told.description.cpu_affinities.len() as u32);
    told.cpu_affinity(CpuAffinity { hardware_id, domain, source });
}

pub(crate) fn distance(told: &mut Told, from: u32, to: u32, value: u32) {
    told.distance(Distance { from, to, value, source: Source::whole(Table::Slit) });
}

pub(crate) fn bring_up(told: Told) -> Outcome {
    bring_up_by(Rules::X86, told)
}

pub(crate) fn bring_up_by(rules: Rules, mut told: Told) -> Outcome {
    let look = |zones: &Zones<Emulated<'_, 12>>| {
        let node = |region: mm::memblock::Region| region.node().unwrap_or_default().as_u16();
        let bounds = |range: PhysRange| (range.start().as_u64(), range.last().as_u64());
        let memory = zones.memblock().memory().iter().map(|region| {
            let (start, last) = bounds(region.range());
            (start, last, node(region))
        });
        let nodes = zones.nodes().iter().map(|node| (node.id.as_u16(), node.present));
        (memory.collect(), nodes.collect())
    };
    let (memory, nodes) = told.bring_up(rules, &Options::default(), look).unwrap();
    Outcome { memory, nodes, text: told.text, warnings: told.warnings }
}

/// That there is not enough memory to speak of, without a panic.
pub(crate) fn refused(mut told: Told) -> Refused {
    told.bring_up(Rules::X86, &Options::default(), |_| ()).unwrap_err()
}

impl Outcome {
    /// First and last byte of each memory region.
    pub(crate) fn ranges(&self) -> Vec<(u64, u64)> {
        self.memory.iter().map(|&(start, last, _)| (start, last)).collect()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.memory.iter().map(|(start, last, _)| last - start + 1).sum()
    }

    /// Whether a warning names `table` and says `words`.
    pub(crate) fn warned(&self, table: Table, words: &str) -> bool {
        self.warnings.iter().any(|warning| warning.source.table == table && warning.to_string().contains(words))
    }
}
