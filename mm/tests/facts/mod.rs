//! Machines on which Linux 6.1 was booted: what their firmware said, and what Linux printed.
//!
//! A file of `linux_facts/` is read line by line. Before the first `= section`: `arch`, `bank START LAST KIND [mirror]
//! [hotplug]`, `reserve START LAST OWNER`, `srat DOMAIN START LAST [hotplug]`, `node NUMBER START LAST [hotplug]` (a
//! memory node of a device tree), `cpu ID [NODE]`, `cpudomain ID DOMAIN`, `initiator DOMAIN`, `distance FROM TO VALUE`,
//! and what the command line said: `numa off`, `fake count|size|each NUMBER`, `kernelcore AMOUNT`, `movablecore AMOUNT`
//! (bytes, `N%` or `mirror`), `movable_node`. A section is what Linux printed, with the blanks at the ends of lines
//! cut.

mod all;

use crate::ram::{Access, Ram};
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{
    Affinity, Bank, CpuAffinity, CpuEntry, Distance, Initiator, List, MachineMemory, MemoryKind, Owner, Persistence,
    Plug, Purpose, RegionFlags, Reservation, Rules, Source, StartMethod, Table, Warning,
};
use mm::memblock::Memblock;
use mm::numa::{Fake, NodeSource, Nodes, NumaOption, NumaPolicy};
use mm::zone::{Amount, MovableNode, MovableRequest};

/// What firmware says.
#[derive(Default)]
pub(crate) struct Machine {
    pub(crate) arm64: bool,
    pub(crate) banks: Vec<Option<Bank>>,
    pub(crate) reservations: Vec<Option<Reservation>>,
    pub(crate) affinities: Vec<Option<Affinity>>,
    pub(crate) cpus: Vec<Option<CpuEntry>>,
    pub(crate) cpu_affinities: Vec<Option<CpuAffinity>>,
    pub(crate) initiators: Vec<Option<Initiator>>,
    pub(crate) distances: Vec<Option<Distance>>,
    pub(crate) numa: NumaOption,
    pub(crate) movable: MovableRequest,
}

/// A machine and what Linux made of it.
pub(crate) struct Facts {
    pub(crate) machine: Machine,
    sections: Vec<(String, Vec<String>)>,
}

pub(crate) fn number(text: &str) -> u64 {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).unwrap(),
        None => text.parse().unwrap(),
    }
}

/// From a first to a last byte.
pub(crate) fn span(start: u64, last: u64) -> PhysRange {
    PhysRange::new(PhysAddr::new(start), PhysAddr::new(last + 1))
}

fn amount(text: &str) -> Amount {
    match text.strip_suffix('%') {
        Some(percent) => Amount::Percent(percent.parse().unwrap()),
        None if text == "mirror" => Amount::Mirror,
        None => Amount::Bytes(number(text)),
    }
}

fn plug(words: &[&str]) -> Plug {
    if words.contains(&"hotplug") { Plug::HotPluggable } else { Plug::Fixed }
}

fn persistence(words: &[&str]) -> Persistence {
    if words.contains(&"non-volatile") { Persistence::NonVolatile } else { Persistence::Volatile }
}

impl Facts {
    pub(crate) fn parse(text: &str) -> Self {
        let mut machine = Machine::default();
        let mut sections: Vec<(String, Vec<String>)> = Vec::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("= ") {
                sections.push((name.to_owned(), Vec::new()));
            } else if let Some((_, lines)) = sections.last_mut() {
                lines.push(line.to_owned());
            } else {
                machine.read(line);
            }
        }
        Self { machine, sections }
    }

    /// The lines of a section, if the file has it.
    pub(crate) fn section(&self, name: &str) -> Option<&[String]> {
        self.sections.iter().find(|(known, _)| known == name).map(|(_, lines)| &lines[..])
    }
}

impl Machine {
    fn read(&mut self, line: &str) {
        let words: Vec<_> = line.split_whitespace().collect();
        let range = |at: usize| span(number(words[at]), number(words[at + 1]));
        let entry = |count: usize| u32::try_from(count).unwrap();
        match words[0] {
            "arch" => self.arm64 = words[1] == "arm64",
            "bank" => {
                let kind = if words[3] == "usable" { MemoryKind::Usable } else { MemoryKind::Reserved };
                let table = if words[3] == "architecture" { Table::Architecture } else { Table::E820 };
                let source = Source::entry(table, entry(self.banks.len()));
                let mirror = if words.contains(&"mirror") { RegionFlags::MIRROR } else { RegionFlags::empty() };
                let hotplug = if words.contains(&"hotplug") { RegionFlags::HOTPLUG } else { RegionFlags::empty() };
                self.banks.push(Some(Bank { range: range(1), kind, flags: mirror | hotplug, source }));
            }
            "reserve" => {
                let source = Source::whole(if words[3] == "ACPI" { Table::Acpi } else { Table::Architecture });
                let owner = Owner::new(&words[3..].join(" "));
                self.reservations.push(Some(Reservation { range: range(1), owner, purpose: Purpose::Held, source }));
            }
            "srat" | "node" => {
                let table = if words[0] == "srat" { Table::Srat } else { Table::MemoryNode };
                let source = Source::entry(table, entry(self.affinities.len()));
                let domain = words[1].parse().unwrap();
                self.affinities.push(Some(Affinity {
                    range: range(2),
                    domain,
                    plug: plug(&words),
                    persistence: persistence(&words),
                    source,
                }));
            }
            "cpu" => {
                let table = if self.arm64 { Table::CpuNode } else { Table::Madt };
                let source = Source::entry(table, entry(self.cpus.len()));
                let domain = words.get(2).map(|domain| domain.parse().unwrap());
                self.cpus.push(Some(CpuEntry {
                    hardware_id: number(words[1]),
                    domain,
                    start: StartMethod::Unstated,
                    source,
                }));
            }
            "cpudomain" => {
                let source = Source::entry(Table::Srat, entry(self.cpu_affinities.len()));
                let domain = words[2].parse().unwrap();
                self.cpu_affinities.push(Some(CpuAffinity { hardware_id: number(words[1]), domain, source }));
            }
            "initiator" => {
                let source = Source::whole(Table::Srat);
                self.initiators.push(Some(Initiator { domain: words[1].parse().unwrap(), source }));
            }
            "distance" => {
                let table = if self.arm64 { Table::DistanceMap } else { Table::Slit };
                let source = Source::entry(table, entry(self.distances.len()));
                let [from, to, value] = [1, 2, 3].map(|at: usize| words[at].parse().unwrap());
                self.distances.push(Some(Distance { from, to, value, source }));
            }
            "numa" => self.numa.source = NodeSource::Off,
            "noacpi" => self.numa.source = NodeSource::Nobody,
            "fake" => {
                let count = || words[2].parse().unwrap();
                self.numa.fake = Some(match words[1] {
                    "count" => Fake::Count(count()),
                    "each" => Fake::PerNode(count()),
                    _ => Fake::Size(number(words[2])),
                });
            }
            "kernelcore" => self.movable.kernelcore = Some(amount(words[1])),
            "movablecore" => self.movable.movablecore = Some(amount(words[1])),
            "movable_node" => self.movable.movable_node = MovableNode::Honour,
            other => panic!("no such fact: {other}"),
        }
    }

    /// Two MiB of real memory for tables, at 32 MiB above the start of the first bank that is large enough.
    pub(crate) fn window(&self) -> Ram {
        let usable = || self.banks.iter().flatten().filter(|bank| bank.kind == MemoryKind::Usable);
        let large = usable().find(|bank| bank.range.size() > 48 << 20);
        let bank = large.or_else(|| usable().max_by_key(|bank| bank.range.size())).unwrap();
        let above = if large.is_some() { 32 << 20 } else { bank.range.size() / 2 };
        let start = (bank.range.start().as_u64() + above).next_multiple_of(0x1000);
        Ram::new(start, (2 << 20).min(bank.range.end().as_u64() - start))
    }

    /// Brings memory up to nodes. Returns what was printed as well.
    pub(crate) fn assign<'r>(&mut self, ram: &'r Ram, warn: &mut dyn FnMut(Warning)) -> (Nodes<Access<'r>>, String) {
        fn list<T: Copy>(items: &mut [Option<T>]) -> List<'_, T> {
            let values = items.to_vec();
            let mut list = List::new(items);
            values.into_iter().flatten().for_each(|value| assert!(list.try_push(value).is_ok()));
            list
        }
        let machine = MachineMemory {
            banks: list(&mut self.banks),
            reservations: list(&mut self.reservations),
            affinities: list(&mut self.affinities),
            cpus: list(&mut self.cpus),
            cpu_affinities: list(&mut self.cpu_affinities),
            initiators: list(&mut self.initiators),
            distances: list(&mut self.distances),
            ..MachineMemory::default()
        };
        let mut memblock = Memblock::new(ram.access());
        // SAFETY: the window is memory of this test alone.
        unsafe { memblock.set_mapped(ram.range()) };
        memblock.set_movable_node(self.movable.movable_node);
        memblock.populate(&machine, warn).unwrap();
        let mut text = String::new();
        let rules = if self.arm64 { Rules::Arm64 } else { Rules::X86 };
        let policy = NumaPolicy { rules, option: self.numa };
        let nodes = Nodes::assign(memblock, &machine, policy, &mut text, warn).unwrap();
        (nodes, text)
    }
}

/// Name and facts of each machine; of a few, where each takes long.
pub(crate) fn machines() -> impl Iterator<Item = (&'static str, &'static str)> {
    all::MACHINES.iter().copied().step_by(if cfg!(miri) { 7 } else { 1 })
}

/// Lines without the blanks at their ends.
pub(crate) fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim_end).collect()
}
