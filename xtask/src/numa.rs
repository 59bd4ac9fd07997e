//! The nodes of a machine, as one word on the command line: `1G:0-1/3G:2-3`, and their distances: `0-1=20/0-2=30`.
//!
//! One part per node, separated by `/`, in node order: the memory, a colon, the CPUs. Either may be left out, so
//! `1G:0/:1/2G` is three nodes: the second has a CPU and no memory, the third memory and no CPU. CPUs are numbers
//! and ranges separated by commas (`0,2-3`).

use std::str::FromStr;

use serde::Deserialize;

use crate::memory::MemorySize;

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) memory: Option<MemorySize>,
    /// First and last CPU of each range.
    pub(crate) cpus: Vec<(u32, u32)>,
}

/// The nodes of a machine, in node order; at least one has memory.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Numa {
    nodes: Vec<Node>,
    memory: MemorySize,
}

impl Numa {
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The memory of all nodes together.
    pub(crate) fn memory(&self) -> MemorySize {
        self.memory
    }

    /// The CPUs that the nodes name need a machine with this many.
    pub(crate) fn cpu_count(&self) -> u32 {
        let last = self.nodes.iter().flat_map(|node| &node.cpus).map(|(_, last)| *last).max();
        last.map_or(1, |last| last + 1)
    }
}

impl FromStr for Numa {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let nodes = text.split('/').map(node).collect::<Result<Vec<_>, _>>()?;
        let memory = MemorySize::sum(nodes.iter().filter_map(|node| node.memory))
            .ok_or_else(|| format!("`{text}`: no node has memory"))?;
        let mut cpus: Vec<(u32, u32)> = nodes.iter().flat_map(|node| node.cpus.iter().copied()).collect();
        cpus.sort_unstable();
        match cpus.windows(2).find(|pair| pair[0].1 >= pair[1].0) {
            Some(pair) => Err(format!("`{text}`: CPU {} is named twice", pair[1].0)),
            None => Ok(Self { nodes, memory }),
        }
    }
}

impl TryFrom<String> for Numa {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

fn node(text: &str) -> Result<Node, String> {
    let (memory, cpus) = text.split_once(':').unwrap_or((text, ""));
    if memory.is_empty() && cpus.is_empty() {
        return Err("a node needs memory, CPUs or both, as in 1G:0-1/3G:2-3".into());
    }
    let memory = if memory.is_empty() { None } else { Some(memory.parse()?) };
    let cpus = cpus.split(',').filter(|range| !range.is_empty()).map(cpu_range).collect::<Result<_, _>>()?;
    Ok(Node { memory, cpus })
}

/// More CPUs than this no QEMU machine has; it keeps the arithmetic on CPU numbers far from its ends.
const LAST_CPU: u32 = 4095;

fn cpu_range(text: &str) -> Result<(u32, u32), String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.parse::<u32>().ok().filter(|cpu| *cpu <= LAST_CPU);
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        _ => Err(format!("`{text}` is no CPU and no range of CPUs: write 2 or 0-3")),
    }
}

/// How far one node is from another: 10 is itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Distance {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) value: u8,
}

/// Distances between nodes; QEMU takes those that are not named from the other direction, or from its own default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Distances(Vec<Distance>);

impl Distances {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Distance> {
        self.0.iter()
    }
}

impl FromStr for Distances {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split('/').map(distance).collect::<Result<_, _>>().map(Self)
    }
}

impl TryFrom<String> for Distances {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

fn distance(text: &str) -> Result<Distance, String> {
    let parsed = || {
        let (nodes, value) = text.split_once('=')?;
        let (from, to) = nodes.split_once('-')?;
        let value = value.parse().ok().filter(|value| *value >= 10)?;
        Some(Distance { from: from.parse().ok()?, to: to.parse().ok()?, value })
    };
    parsed().ok_or_else(|| format!("`{text}` is no distance: write FROM-TO=VALUE with a value of 10 to 255, as 0-1=20"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(text: &str) -> Option<MemorySize> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn memory_and_cpus_of_each_node() {
        let numa: Numa = "1G:0-1/3G:2,4-5".parse().unwrap();
        let expected =
            [Node { memory: size("1G"), cpus: vec![(0, 1)] }, Node { memory: size("3G"), cpus: vec![(2, 2), (4, 5)] }];
        assert_eq!(numa.nodes(), expected);
        assert_eq!(numa.memory(), MemorySize::gib(4));
        assert_eq!(numa.cpu_count(), 6);
    }

    #[test]
    fn a_node_may_lack_memory_or_cpus_but_not_both() {
        let numa: Numa = "1G:0/:1/2G".parse().unwrap();
        assert_eq!(numa.nodes()[1], Node { memory: None, cpus: vec![(1, 1)] });
        assert_eq!(numa.nodes()[2], Node { memory: size("2G"), cpus: vec![] });
        for text in ["", "1G//2G", "1G:0/:", ":0/:1"] {
            assert!(text.parse::<Numa>().is_err(), "{text}");
        }
    }

    #[test]
    fn cpus_are_named_once_and_in_range() {
        for text in ["1G:0-1/1G:1", "1G:0,0", "1G:3-1", "1G:x", "1G:0-4294967295"] {
            assert!(text.parse::<Numa>().is_err(), "{text}");
        }
    }

    #[test]
    fn distances_are_triples() {
        let distances: Distances = "0-1=15/2-0=30".parse().unwrap();
        let expected = [Distance { from: 0, to: 1, value: 15 }, Distance { from: 2, to: 0, value: 30 }];
        assert!(distances.iter().eq(&expected));
        for text in ["", "0-1", "0=20", "0-1=9", "0-1=256", "a-b=20"] {
            assert!(text.parse::<Distances>().is_err(), "{text}");
        }
    }
}
