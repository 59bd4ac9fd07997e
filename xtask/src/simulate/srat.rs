//! SRAT as a log shows it: which domain became which node.
//!
//! Domains become nodes in the order in which SRAT names them, CPUs before memory. A log shows the nodes that came of
//! it, often without the CPUs, which few kernels print. So memory is stated in the order of its nodes; and a node that
//! is out of turn without the CPUs gets one: nothing else can have numbered it. Linux: `acpi_map_pxm_to_node`.

use std::collections::BTreeMap;

use super::subject::{Map, NodeRange, SratCpu, Subject};

/// Leaves out an SRAT that a kernel's own list of memory contradicts: a log that is cut shows half of it.
pub(super) fn believe(subject: &mut Subject) {
    let Map::NodeRanges(ranges) = &subject.map else { return };
    let agrees = |range: &NodeRange| {
        let of_node = subject.srat.iter().filter(|memory| memory.node == range.node);
        range.span.is_covered(of_node.map(|memory| memory.span))
    };
    if !subject.srat.is_empty() && !ranges.iter().all(agrees) {
        subject.srat.clear();
        subject.srat_cpus.clear();
        subject.notes.push("SRAT does not name all memory of the kernel's list; the list's nodes are taken".to_owned());
    }
}

/// Orders what SRAT says so that its domains get the numbers that they have in the log.
pub(super) fn number_domains(subject: &mut Subject) {
    subject.srat.sort_by_key(|memory| memory.node);
    let of_memory: BTreeMap<u16, u32> = subject.srat.iter().rev().map(|memory| (memory.node, memory.domain)).collect();
    let of_cpus: BTreeMap<u16, u32> = subject.srat_cpus.iter().map(|cpu| (cpu.node, cpu.domain)).collect();
    let last = |nodes: &BTreeMap<u16, u32>| nodes.last_key_value().map(|(node, _)| *node);
    let Some(count) = last(&of_memory).max(last(&of_cpus)) else { return };
    for node in (0..=count).filter(|node| !of_cpus.contains_key(node)) {
        let domain = of_memory.get(&node);
        if domain.is_some() && last(&of_cpus).is_none_or(|last| last < node) && !has_gap_above(node, count, &of_memory)
        {
            continue;
        }
        // Numbers that no firmware gives: of the highest, Linux thinks as of none.
        let hardware_id = u64::from(u32::MAX - 1 - u32::from(node));
        let domain = domain.copied().unwrap_or(u32::MAX - 1 - u32::from(node));
        subject.srat_cpus.push(SratCpu { node, domain, hardware_id });
        subject
            .notes
            .push(format!("node {node} of SRAT can only have its number from a CPU that the file does not show"));
    }
    subject.srat_cpus.sort_by_key(|cpu| cpu.node);
}

/// Whether a node above `node` has no memory, and so was numbered by a CPU, before any memory.
fn has_gap_above(node: u16, last: u16, of_memory: &BTreeMap<u16, u32>) -> bool {
    (node..=last).any(|above| !of_memory.contains_key(&above))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::subject::{PageSize, Span, SratMemory};
    use mm::machine::Rules;
    use mm::zone::LowZones;

    fn subject(memory: &[(u16, u32)], cpus: &[(u16, u32)]) -> Subject {
        let span = Span::new(0, 0xfff).unwrap();
        let memory = memory.iter().map(|&(node, domain)| SratMemory::with_words(node, domain, span, ""));
        let cpus = (0..).zip(cpus).map(|(hardware_id, &(node, domain))| SratCpu { node, domain, hardware_id });
        Subject {
            rules: Rules::X86,
            low_zones: LowZones::all(),
            page_size: PageSize::K4,
            cmdline: String::new(),
            map: Map::NodeRanges(Vec::new()),
            memoryless: Vec::new(),
            dma_limit: None,
            srat: memory.collect(),
            srat_cpus: cpus.collect(),
            held: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Domains in the order in which the facts name them: the number of each is its place.
    fn numbered(mut subject: Subject) -> Vec<u32> {
        number_domains(&mut subject);
        let cpus = subject.srat_cpus.iter().map(|cpu| cpu.domain);
        let mut domains = Vec::new();
        for domain in cpus.chain(subject.srat.iter().map(|memory| memory.domain)) {
            if !domains.contains(&domain) {
                domains.push(domain);
            }
        }
        domains
    }

    #[test]
    fn every_domain_gets_the_number_of_the_log() {
        assert_eq!(numbered(subject(&[(0, 0), (2, 2), (1, 1), (3, 3)], &[])), [0, 1, 2, 3]);
        assert_eq!(numbered(subject(&[(0, 7), (1, 3)], &[])), [7, 3]);
        assert_eq!(numbered(subject(&[(0, 7), (1, 3)], &[(1, 3)])), [7, 3]);
        assert_eq!(numbered(subject(&[(0, 7), (2, 3)], &[])).iter().position(|domain| *domain == 3), Some(2));
        assert_eq!(numbered(subject(&[(1, 3)], &[(0, 5), (0, 5)])), [5, 3]);
        let plain = subject(&[(0, 0), (1, 1)], &[(0, 0), (1, 1), (0, 0)]);
        assert_eq!(numbered(plain.clone()), [0, 1]);
        assert!(plain.notes.is_empty());
    }
}
