//! What the command line and the device tree want kept of memory, on machines on which Linux 6.1 was asked where it put
//! it: the same stages as in the kernel, and Linux's places.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cma;
mod crash;
mod huge;
mod usable;
mod wishes;

use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{Affinity, Bank, MemoryKind, Persistence, Plug, RegionFlags, Rules, Source, Table};
use mm_testkit::Told;
use platform::Cmdline;
use platform::options::Options;
use platform::reserve::Reserved;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// What came of a machine.
struct Outcome {
    lines: Vec<String>,
    warnings: Vec<String>,
    reserved: Reserved,
    /// Bytes of memory and of what nobody holds, region by region.
    memory: Vec<(u64, u64)>,
    free: Vec<(u64, u64)>,
    /// Who holds what.
    owners: Vec<(String, u64, u64)>,
}

impl Outcome {
    /// The lines that contain `word`.
    fn said(&self, word: &str) -> Vec<&str> {
        self.lines.iter().map(String::as_str).filter(|line| line.contains(word)).collect()
    }

    /// Where `owner`'s memory lies.
    fn of(&self, owner: &str) -> Vec<(u64, u64)> {
        let held = self.owners.iter().filter(|(name, ..)| name == owner);
        held.map(|(_, start, size)| (*start, *size)).collect()
    }

    fn is_free(&self, start: u64, size: u64) -> bool {
        self.free.iter().any(|(first, bytes)| *first <= start && start + size <= first + bytes)
    }
}

fn range(start: u64, size: u64) -> PhysRange {
    PhysRange::from_size(PhysAddr::new(start), size).unwrap()
}

/// A machine with these banks of RAM (start, size, node).
fn machine(table: Table, banks: &[(u64, u64, u32)]) -> Told {
    let mut told = Told::default();
    let several = banks.iter().any(|(.., node)| *node > 0);
    for (entry, &(start, size, domain)) in (0..).zip(banks) {
        let (range, source) = (range(start, size), Source::entry(table, entry));
        told.description.banks.push(Bank { range, kind: MemoryKind::Usable, flags: RegionFlags::empty(), source });
        if several {
            told.description.affinities.push(Affinity {
                range,
                domain,
                plug: Plug::Fixed,
                persistence: Persistence::default(),
                source,
            });
        }
    }
    told
}

/// QEMU's q35 with this much RAM above 4 GiB, beside 2 GiB below.
fn q35(high: u64) -> Told {
    machine(Table::E820, &[(0x1000, 0x9_e000, 0), (MIB, 0x7fee_0000, 0), (4 * GIB, high, 0)])
}

/// QEMU's virt with this much RAM.
fn virt(size: u64) -> Told {
    machine(Table::MemoryNode, &[(GIB, size, 0)])
}

fn bring_up(mut told: Told, rules: Rules, line: &str) -> Outcome {
    let mut warnings = Vec::new();
    let options = Options::read(&Cmdline::new(line), &mut |item, why| warnings.push(format!("{item}: {why}")));
    let (memory, free, owners) = told
        .bring_up(rules, &options, |zones| {
            let memblock = zones.memblock();
            let pair = |range: PhysRange| (range.start().as_u64(), range.size());
            let memory = memblock.memory().iter().map(|region| pair(region.range())).collect();
            let free = memblock.free_ranges().map(|free| pair(free.range)).collect();
            let owner = |region: mm::memblock::Region| {
                let (start, size) = pair(region.range());
                (region.owner().to_string(), start, size)
            };
            (memory, free, memblock.reserved().iter().map(owner).collect())
        })
        .unwrap();
    warnings.extend(told.warnings.iter().map(ToString::to_string));
    let lines = told.text.lines().map(str::to_owned).collect();
    Outcome { lines, warnings, reserved: told.reserved, memory, free, owners }
}

fn x86(told: Told, line: &str) -> Outcome {
    bring_up(told, Rules::X86, line)
}

fn arm64(told: Told, line: &str) -> Outcome {
    bring_up(told, Rules::Arm64, line)
}
