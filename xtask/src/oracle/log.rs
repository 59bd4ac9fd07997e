//! Reads a kernel's boot log. The formats are Linux 6.1's, and ours to the letter; other lines are passed over.

use super::facts::{Address, Affinity, Facts, Merge, NodeRange, PerCpu, Range, Unavailable, ZoneRange, Zonelist};
use super::tables::Tables;
use crate::serial::without_time;

/// The list that the last heading began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heading {
    None,
    Zones,
    Movable,
    Nodes,
}

/// What a log says: the boot lines, and what was asked for at the end.
pub(super) fn facts(log: &[String]) -> Facts {
    let mut facts = Facts::default();
    let mut tables = Tables::default();
    let mut heading = Heading::None;
    for line in log {
        let line = without_time(line).trim_end();
        heading = match line {
            "Zone ranges:" => Heading::Zones,
            "Movable zone start for each node" => Heading::Movable,
            "Early memory node ranges" => Heading::Nodes,
            _ if line.starts_with(' ') => heading,
            _ => Heading::None,
        };
        let known = match heading {
            Heading::Zones => zone_range(line).map(|zone| facts.zone_ranges.push(zone)),
            Heading::Movable => movable(line).map(|(node, start)| {
                facts.movable.insert(node, start);
            }),
            Heading::Nodes => node_range(line).map(|node| facts.node_ranges.push(node)),
            Heading::None => None,
        };
        if known
            .or_else(|| of_nodes(line, &mut facts))
            .or_else(|| of_zones(line, &mut facts))
            .or_else(|| of_percpu(line, &mut facts.percpu))
            .is_none()
        {
            tables.line(line);
        }
    }
    tables.hand_over(&mut facts);
    facts
}

/// The version in Linux's first line.
pub(super) fn linux_version(log: &[String]) -> Option<&str> {
    log.iter().find_map(|line| without_time(line).strip_prefix("Linux version ")?.split(' ').next())
}

/// Lines that say where nodes are.
fn of_nodes(line: &str, facts: &mut Facts) -> Option<()> {
    if let Some(rest) = line.strip_prefix("ACPI: SRAT: Node ") {
        facts.srat.push(affinity(rest)?);
    } else if let Some(rest) = line.strip_prefix("NUMA: Node ") {
        facts.merges.push(merge(rest)?);
    } else if let Some(rest) = line.strip_prefix("Faking node ") {
        let (node, rest) = rest.split_once(" at ")?;
        facts.faked.insert(node.parse().ok()?, range(rest)?.0);
    } else if let Some(rest) = line.strip_prefix("Initmem setup node ") {
        let (node, rest) = rest.split_once(' ')?;
        let span = if rest == "as memoryless" { None } else { Some(range(rest)?.0) };
        facts.initmem.insert(node.parse().ok()?, span);
    } else if let Some(rest) = line.strip_prefix("Initializing node ") {
        facts.initmem.insert(rest.strip_suffix(" as memoryless")?.parse().ok()?, None);
    } else if let Some(rest) = line.strip_prefix("Fallback order for Node ") {
        let (node, order) = rest.split_once(':')?;
        let order = order.split_whitespace().map(|node| node.parse().ok()).collect::<Option<_>>()?;
        // The first word is of bring-up; memory that is plugged in may change what nodes have.
        facts.fallback.entry(node.parse().ok()?).or_insert(order);
    } else {
        return None;
    }
    Some(())
}

/// Lines that say what is in zones.
fn of_zones(line: &str, facts: &mut Facts) -> Option<()> {
    if let Some(rest) = line.strip_prefix("On node ") {
        let (node, rest) = rest.split_once(", zone ")?;
        let (zone, rest) = rest.split_once(": ")?;
        let pages = rest.strip_suffix(" pages in unavailable ranges")?.parse().ok()?;
        facts.unavailable.push(Unavailable { node: node.parse().ok()?, zone: zone.to_owned(), pages });
    } else if let Some(rest) = line.strip_prefix("mminit::zonelist ") {
        let (head, zones) = rest.split_once(" =")?;
        let (kind, asked) = head.split_once(' ')?;
        let zones = zones.split_whitespace().collect::<Vec<_>>().join(" ");
        facts.zonelists.push(Zonelist { kind: kind.to_owned(), asked: asked.to_owned(), zones });
    } else if let Some(rest) = line.strip_prefix("Built ") {
        let (count, rest) = rest.split_once(" zonelists, ")?;
        // The first of these lines is of bring-up; memory that is plugged in makes Linux say it anew.
        if facts.totals.zonelists == 0 {
            facts.totals.zonelists = count.parse().ok()?;
            facts.totals.total_pages = rest.rsplit_once(' ')?.1.parse().ok()?;
        }
    } else if let Some(zone) = line.strip_prefix("Policy zone: ") {
        if facts.totals.policy_zone.is_empty() {
            zone.clone_into(&mut facts.totals.policy_zone);
        }
    } else if let Some(rest) = line.strip_prefix("Memory: ") {
        let (counts, _) = rest.split_once(" available")?;
        let (available, physical) = counts.split_once('/')?;
        facts.totals.available_kib = available.strip_suffix('K')?.parse().ok()?;
        facts.totals.physical_kib = physical.strip_suffix('K')?.parse().ok()?;
    } else {
        return None;
    }
    Some(())
}

/// Lines that say where the variables of each CPU are.
fn of_percpu(line: &str, percpu: &mut PerCpu) -> Option<()> {
    if let Some(rest) = line.strip_prefix("percpu: Embedded ") {
        let (pages, sizes) = rest.split_once(" pages/cpu ")?;
        percpu.pages = pages.parse().ok()?;
        for size in sizes.split_whitespace() {
            let bytes = size.get(1..)?.parse().ok()?;
            match size.get(..1)? {
                "s" => percpu.static_bytes = bytes,
                "r" => percpu.reserved_bytes = bytes,
                "d" => percpu.dynamic_bytes = bytes,
                "u" => percpu.unit_bytes = bytes,
                _ => {}
            }
        }
    } else {
        let rest = line.strip_prefix("pcpu-alloc: ")?;
        if rest.starts_with('[') {
            percpu.groups.push(rest.to_owned());
        } else {
            percpu.atom_bytes = rest.rsplit_once('*')?.1.parse().ok()?;
        }
    }
    Some(())
}

/// `  DMA      [mem 0x…-0x…]`, `  Normal   empty`
fn zone_range(line: &str) -> Option<ZoneRange> {
    let (zone, rest) = line.trim_start().split_once(' ')?;
    let rest = rest.trim_start();
    let range = if rest == "empty" { None } else { Some(range(rest)?.0) };
    Some(ZoneRange { zone: zone.to_owned(), range })
}

/// `  Node 1: 0x…`
fn movable(line: &str) -> Option<(u32, Address)> {
    let (node, start) = line.trim_start().strip_prefix("Node ")?.split_once(": ")?;
    Some((node.parse().ok()?, Address(hexadecimal(start)?)))
}

/// `  node   0: [mem 0x…-0x…]`
fn node_range(line: &str) -> Option<NodeRange> {
    let (node, rest) = line.trim_start().strip_prefix("node ")?.split_once(": ")?;
    Some(NodeRange { node: node.trim_start().parse().ok()?, range: range(rest)?.0 })
}

/// `0 PXM 7 [mem 0x…-0x…] hotplug`
fn affinity(rest: &str) -> Option<Affinity> {
    let (node, rest) = rest.split_once(" PXM ")?;
    let (domain, rest) = rest.split_once(' ')?;
    let (range, flags) = range(rest)?;
    let flags = flags.split_whitespace().map(str::to_owned).collect();
    Some(Affinity { node: node.parse().ok()?, domain: domain.parse().ok()?, range, flags })
}

/// `0 [mem 0x…-0x…] + [mem 0x…-0x…] -> [mem 0x…-0x…]`
fn merge(rest: &str) -> Option<Merge> {
    let (node, rest) = rest.split_once(' ')?;
    let (first, rest) = range(rest)?;
    let (second, rest) = range(rest.strip_prefix(" + ")?)?;
    let (whole, _) = range(rest.strip_prefix(" -> ")?)?;
    Some(Merge { node: node.parse().ok()?, first, second, whole })
}

/// `[mem 0x…-0x…]`, and what stands behind it.
fn range(text: &str) -> Option<(Range, &str)> {
    let (range, rest) = text.strip_prefix("[mem ")?.split_once(']')?;
    let (first, last) = range.split_once('-')?;
    Some((Range { first: hexadecimal(first)?, last: hexadecimal(last)? }, rest))
}

fn hexadecimal(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::facts::{ASPECTS, Totals};

    /// What Linux 6.1 printed on several machines, and what is none of these lines.
    const LOG: &str = "\
[    0.000000] Linux version 6.1.0-56-amd64 (debian-kernel@lists.debian.org) (gcc-12)
[    0.000000] Command line: console=ttyS0 mminit_loglevel=4
[    0.012345] ACPI: SRAT: Node 0 PXM 7 [mem 0x00000000-0x0009ffff]
[    0.012345] ACPI: SRAT: Node 1 PXM 200 [mem 0x100000000-0x13fffffff] hotplug
[    0.012345] NUMA: Initialized distance table, cnt=2
[    0.012345] NUMA: Node 0 [mem 0x00000000-0x0009ffff] + [mem 0x00100000-0x3fffffff] -> [mem 0x00000000-0x3fffffff]
[    0.012345] NUMA: NODE_DATA [mem 0x3fffd000-0x3fffffff]
[    0.012345] Faking node 0 at [mem 0x0000000000000000-0x000000003fffffff] (1024MB)
[    0.012345] Zone ranges:
[    0.012345]   DMA      [mem 0x0000000000001000-0x0000000000ffffff]
[    0.012345]   Normal   empty
[    0.012345]   Device   empty
[    0.012345] Movable zone start for each node
[    0.012345]   Node 1: 0x0000000100000000
[    0.012345] Early memory node ranges
[    0.012345]   node   0: [mem 0x0000000000001000-0x000000000009efff]
[    0.012345]   node  11: [mem 0x0000000100000000-0x000000013fffffff]
[    0.012345] Initmem setup node 0 [mem 0x0000000000001000-0x000000003fffffff]
[    0.012345] mminit::memmap_init Initialising map node 0 zone 0 pfns 1 -> 4096
[    0.012345] Initmem setup node 1 as memoryless
[    0.012345] Initializing node 2 as memoryless
[    0.012345] On node 0, zone DMA: 1 pages in unavailable ranges
[    0.012345] percpu: Embedded 62 pages/cpu s217088 r8192 d28672 u1048576
[    0.012345] pcpu-alloc: s217088 r8192 d28672 u1048576 alloc=1*2097152
[    0.012345] pcpu-alloc: [0] 0 1 [1] 2 -\x20
[    0.012345] mminit::zonelist general 0:DMA32 = 0:DMA32 0:DMA 1:DMA32\x20
[    0.012345] mminit::zonelist thisnode 1:DMA =\x20
[    0.012345] Fallback order for Node 0: 0 1\x20
[    0.012345] Built 2 zonelists, mobility grouping on.  Total pages: 1031903
[    0.012345] Policy zone: Normal
[    0.012345] Memory: 207548K/2096632K available (14343K kernel code, 2338K rwdata, 0K cma-reserved)
[    0.012345]   DMA      [mem 0x0000000000000000-0x0000000000000fff]";

    fn read(text: &str) -> Facts {
        facts(&text.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn every_line_is_read_once() {
        let facts = read(LOG);
        let lines: Vec<String> = ASPECTS.iter().flat_map(|aspect| (aspect.lines)(&facts)).collect();
        let expected = [
            "node 0 domain 7 0x0-0x9ffff",
            "node 1 domain 200 0x100000000-0x13fffffff hotplug",
            "node 0 0x0-0x9ffff + 0x100000-0x3fffffff -> 0x0-0x3fffffff",
            "emulated node 0 0x0-0x3fffffff",
            "node 0 0x1000-0x9efff",
            "node 11 0x100000000-0x13fffffff",
            "DMA 0x1000-0xffffff",
            "Normal empty",
            "node 1 from 0x100000000",
            "node 0 0x1000-0x3fffffff",
            "node 1 memoryless",
            "node 2 memoryless",
            "node 0 zone DMA: 1 pages",
            "8192 bytes for modules",
            "in multiples of 2097152 bytes",
            "[0] 0 1 [1] 2 -",
            "general 0:DMA32 = 0:DMA32 0:DMA 1:DMA32",
            "thisnode 1:DMA = ",
            "node 0: 0 1",
            "2 zonelists",
            "policy zone Normal",
            "2096632 KiB of memory",
        ];
        assert_eq!(lines, expected);
        let totals = Totals {
            zonelists: 2,
            policy_zone: "Normal".into(),
            total_pages: 1_031_903,
            available_kib: 207_548,
            physical_kib: 2_096_632,
        };
        assert_eq!(facts.totals, totals);
        let percpu = PerCpu {
            pages: 62,
            static_bytes: 217_088,
            reserved_bytes: 8_192,
            dynamic_bytes: 28_672,
            unit_bytes: 1_048_576,
            atom_bytes: 2_097_152,
            groups: vec!["[0] 0 1 [1] 2 -".into()],
        };
        assert_eq!(facts.percpu, percpu);
    }

    #[test]
    fn bring_up_has_the_first_word() {
        let again = "Fallback order for Node 0: 1 0\nBuilt 1 zonelists, mobility grouping on.  Total pages: 500350\nPolicy zone: DMA32";
        assert_eq!(read(&format!("{LOG}\n{again}")), read(LOG));
    }

    #[test]
    fn the_version_is_in_the_first_line() {
        let log: Vec<String> = LOG.lines().map(str::to_owned).collect();
        assert_eq!(linux_version(&log), Some("6.1.0-56-amd64"));
        assert_eq!(linux_version(&log[1..]), None);
    }

    #[test]
    fn lines_that_are_cut_short_are_passed_over() {
        for line in LOG.lines() {
            for length in 0..line.len() {
                let log = format!("Zone ranges:\n{}\nEarly memory node ranges\n{}", &line[..length], &line[..length]);
                read(&log);
            }
        }
        assert_eq!(
            read("Memory: 1K/xK available\nOn node x, zone DMA: 1 pages in unavailable ranges"),
            Facts { totals: Totals { available_kib: 1, ..Totals::default() }, ..Facts::default() }
        );
    }
}
