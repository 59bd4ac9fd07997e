//! How the first chunk is cut: the size of a unit, how many of them one allocation holds, which CPUs make a group.
//! Arithmetic only.
//!
//! A *unit* is the room of one CPU: the variables that are linked, then what is kept for modules, then what is handed
//! out later, rounded up to pages. CPUs that are near each other make a *group*, and a group is one piece of memory, in
//! multiples of an *atom*: what one leaf of the direct map holds, so that a group lies in large leaves. An atom that is
//! larger than a unit holds several. How many is weighed: the more, the fewer atoms are taken, but a group whose CPUs
//! do not fill its last atom leaves units unused. Linux: `pcpu_build_alloc_info` in mm/percpu.c (6.1).

#![forbid(unsafe_code)]

use crate::addr::NodeId;
use crate::machine::Rules;

/// Bytes of a unit for the variables of modules, as in Linux (`PERCPU_MODULE_RESERVE`).
pub const RESERVED_BYTES: u64 = 8 << 10;
/// Bytes of a unit to hand out later, at least, as in Linux (`PERCPU_DYNAMIC_RESERVE`).
pub const DYNAMIC_BYTES: u64 = 28 << 10;

/// What allocations and units are measured in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grain {
    atom: u64,
    least_unit: u64,
    page: u64,
}

impl Grain {
    /// By the rules of an architecture, with pages of `page` bytes: on x86 allocations come in leaves of 2 MiB and hold
    /// eight units at most, however little is linked (so that CPUs are grouped as by a kernel that links more: Linux has
    /// eight); on arm64 in pages.
    #[must_use]
    pub const fn of(rules: Rules, page: u64) -> Self {
        const LEAF: u64 = 2 << 20;
        match rules {
            Rules::X86 => Self { atom: if page > LEAF { page } else { LEAF }, least_unit: LEAF / 8, page },
            Rules::Arm64 => Self::pages(page),
        }
    }

    /// Allocations in single pages: where there is no room for larger ones.
    #[must_use]
    pub const fn pages(page: u64) -> Self {
        Self { atom: page, least_unit: 32 << 10, page }
    }

    /// What an allocation is a multiple of, and aligned to.
    #[must_use]
    pub const fn atom(self) -> u64 {
        self.atom
    }
}

/// Sizes of everything, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnitLayout {
    /// Linked variables.
    pub static_bytes: u64,
    /// For modules.
    pub reserved_bytes: u64,
    /// To hand out later; with the others it fills whole pages.
    pub dynamic_bytes: u64,
    /// From one unit of a group to the next.
    pub unit_bytes: u64,
    /// What `units_per_allocation` units take, a multiple of `atom_bytes`.
    pub allocation_bytes: u64,
    /// What allocations are a multiple of.
    pub atom_bytes: u64,
    /// A group has a multiple of so many units.
    pub units_per_allocation: u32,
}

impl UnitLayout {
    /// The layout for `static_bytes` of variables and groups of so many CPUs: as many units in an allocation as leave
    /// no more unused than a third of the CPUs, unless fewer of them take no more allocations. `None` when the sizes
    /// leave the address space. O(groups).
    #[must_use]
    pub fn new(static_bytes: u64, grain: Grain, groups: &[u32]) -> Option<Self> {
        let Grain { atom, least_unit, page } = grain;
        let before = static_bytes.checked_add(RESERVED_BYTES)?;
        let used = before.checked_add(DYNAMIC_BYTES)?.checked_next_multiple_of(page)?;
        let least = used.max(least_unit);
        let allocation = least.checked_next_multiple_of(atom)?;
        let cpus: u64 = groups.iter().copied().map(u64::from).sum();
        let (mut best, mut fewest) = (1, u64::MAX);
        let whole_pages = |units: &u64| allocation.is_multiple_of(*units) && (allocation / units).is_multiple_of(page);
        for units in (1..=allocation / least).rev().filter(whole_pages) {
            let allocations: u64 = groups.iter().map(|&count| u64::from(count).div_ceil(units)).sum();
            let unused = allocations.saturating_mul(units).saturating_sub(cpus);
            if unused > cpus / 3 {
                continue;
            }
            if allocations > fewest {
                break;
            }
            (best, fewest) = (units, allocations);
        }
        Some(Self {
            static_bytes,
            reserved_bytes: RESERVED_BYTES,
            dynamic_bytes: used - before,
            unit_bytes: allocation / best,
            allocation_bytes: allocation,
            atom_bytes: atom,
            units_per_allocation: u32::try_from(best).ok()?,
        })
    }

    /// What of a unit is kept: the rest goes back.
    #[must_use]
    pub const fn used_bytes(&self) -> u64 {
        self.static_bytes + self.reserved_bytes + self.dynamic_bytes
    }

    /// Units of a group of so many CPUs; `None` when they are more than can be counted.
    #[must_use]
    pub fn units(&self, cpus: u32) -> Option<u32> {
        cpus.checked_next_multiple_of(self.units_per_allocation)
    }
}

/// On no group.
pub(super) const NO_GROUP: u16 = u16::MAX;

/// Groups CPUs, given by their nodes in the order of their numbers: each CPU joins the first group whose first CPU is
/// `near` to it, or begins a new one. Groups are numbered as they begin. Fills `of_node` (by node, all [`NO_GROUP`] at
/// first) with the groups, `leaders` with the node of each group's first CPU, `counts` with how many CPUs each has,
/// and returns how many groups there are. O(CPUs + nodes × groups).
pub(super) fn group(
    cpus: impl Iterator<Item = NodeId>,
    near: impl Fn(NodeId, NodeId) -> bool,
    of_node: &mut [u16],
    leaders: &mut [NodeId],
    counts: &mut [u32],
) -> usize {
    let mut groups = 0;
    for node in cpus {
        // Every CPU is on a node that the tables have.
        let Some(known) = of_node.get_mut(node.index()) else { continue };
        if *known == NO_GROUP {
            let joined = leaders.iter().take(groups).position(|&leader| near(leader, node) && near(node, leader));
            let group = joined.unwrap_or(groups);
            if group == groups {
                let Some(leader) = leaders.get_mut(group) else { continue };
                *leader = node;
                groups += 1;
            }
            *known = u16::try_from(group).unwrap_or(NO_GROUP);
        }
        if let Some(count) = counts.get_mut(usize::from(*known)) {
            *count += 1;
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u64 = 4096;
    const X86: Grain = Grain::of(Rules::X86, PAGE);
    const ARM64: Grain = Grain::of(Rules::Arm64, PAGE);

    /// Grouped as the words of the rule have it, pair by pair: the first CPU that is left takes all that are near it.
    fn slow_groups(cpus: &[NodeId], near: impl Fn(NodeId, NodeId) -> bool) -> Vec<Vec<usize>> {
        let mut left: Vec<usize> = (0..cpus.len()).collect();
        let mut groups = Vec::new();
        while let Some(&first) = left.first() {
            let close = |cpu: usize| cpu == first || near(cpus[first], cpus[cpu]) && near(cpus[cpu], cpus[first]);
            let (group, others): (Vec<_>, Vec<_>) = left.iter().copied().partition(|&cpu| close(cpu));
            groups.push(group);
            left = others;
        }
        groups
    }

    /// All numbers of units are tried, and every unit is dealt out by itself.
    fn slow_units(static_bytes: u64, grain: Grain, groups: &[u32]) -> u64 {
        let used = (static_bytes + RESERVED_BYTES + DYNAMIC_BYTES).div_ceil(grain.page) * grain.page;
        let mut allocation = grain.atom;
        while allocation < used.max(grain.least_unit) {
            allocation += grain.atom;
        }
        let cpus: u32 = groups.iter().sum();
        let mut chosen: Option<(u64, u64)> = None;
        for units in (1..=64).rev() {
            if !allocation.is_multiple_of(units * grain.page) || allocation / units < used.max(grain.least_unit) {
                continue;
            }
            let (mut allocations, mut unused) = (0, 0);
            for &count in groups {
                let mut left = i64::from(count);
                while left > 0 {
                    left -= units as i64;
                    allocations += 1;
                }
                unused += left.unsigned_abs();
            }
            if unused > u64::from(cpus / 3) {
                continue;
            }
            match chosen {
                Some((_, fewest)) if allocations > fewest => break,
                _ => chosen = Some((units, allocations)),
            }
        }
        chosen.unwrap().0
    }

    fn grouped(cpus: &[NodeId], near: impl Fn(NodeId, NodeId) -> bool) -> (Vec<Vec<usize>>, Vec<u32>) {
        let (mut of_node, mut leaders, mut counts) = ([NO_GROUP; 16], [NodeId::new(0); 16], [0; 16]);
        let groups = group(cpus.iter().copied(), near, &mut of_node, &mut leaders, &mut counts);
        let of = |cpu: &NodeId| usize::from(of_node[cpu.index()]);
        let members = |group| (0..cpus.len()).filter(|&cpu| of(&cpus[cpu]) == group).collect();
        (0..groups).for_each(|group| assert_eq!(of(&leaders[group]), group));
        ((0..groups).map(members).collect(), counts[..groups].to_vec())
    }

    /// A cheap source of numbers, the same on every run.
    fn numbers(seed: u64) -> impl FnMut(u64) -> u64 {
        let mut state = seed;
        move |below| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            (state >> 33) % below
        }
    }

    #[test]
    fn groups_are_those_of_a_slow_model() {
        let mut next = numbers(1);
        for _ in 0..if cfg!(miri) { 20 } else { 2000 } {
            let nodes = 1 + next(16);
            let cpus: Vec<_> = (0..1 + next(24)).map(|_| NodeId::new(next(nodes) as u16)).collect();
            // Near is what the table says, in either direction or in one, and any node is near itself.
            let table: Vec<bool> = (0..256).map(|_| next(4) == 0).collect();
            let near = |a: NodeId, b: NodeId| a == b || table[a.index() * 16 + b.index()];
            let (groups, counts) = grouped(&cpus, near);
            assert_eq!(groups, slow_groups(&cpus, near), "{cpus:?}");
            let lengths: Vec<u32> = groups.iter().map(|group| group.len() as u32).collect();
            assert_eq!(counts, lengths);
        }
    }

    #[test]
    fn units_are_those_of_a_slow_model() {
        let mut next = numbers(2);
        for _ in 0..if cfg!(miri) { 20 } else { 5000 } {
            let groups: Vec<u32> = (0..1 + next(16)).map(|_| 1 + next(17) as u32).collect();
            let static_bytes = [0, 1, 64, 5000, 217_088, 400_000, 3 << 20, 9 << 20][next(8) as usize];
            for grain in [X86, ARM64, Grain::of(Rules::Arm64, 64 << 10)] {
                let layout = UnitLayout::new(static_bytes, grain, &groups).unwrap();
                let expected = slow_units(static_bytes, grain, &groups);
                assert_eq!(u64::from(layout.units_per_allocation), expected, "{static_bytes} {groups:?}");
                assert_eq!(layout.unit_bytes * expected, layout.allocation_bytes);
                assert!(layout.used_bytes() <= layout.unit_bytes);
                assert!(layout.used_bytes().is_multiple_of(grain.page));
                assert_eq!(layout.allocation_bytes % layout.atom_bytes, 0);
            }
        }
    }

    /// What Debian's Linux 6.1 printed, with the bytes that it links.
    #[test]
    fn sizes_are_those_of_linux() {
        let of = |static_bytes, grain, groups: &[u32]| {
            let layout = UnitLayout::new(static_bytes, grain, groups).unwrap();
            (layout.used_bytes() / PAGE, layout.dynamic_bytes, layout.unit_bytes, layout.units_per_allocation)
        };
        assert_eq!(of(217_088, X86, &[2, 2]), (62, 28_672, 1_048_576, 2));
        assert_eq!(of(217_088, X86, &[4]), (62, 28_672, 524_288, 4));
        assert_eq!(of(217_088, X86, &[1; 8]), (62, 28_672, 2_097_152, 1));
        assert_eq!(of(87_272, ARM64, &[4]), (31, 31_512, 126_976, 1));
    }

    /// However little is linked, CPUs are grouped as there.
    #[test]
    fn the_size_of_what_is_linked_changes_no_group() {
        for groups in [&[16][..], &[12, 4], &[13], &[9], &[8, 8], &[5, 3, 1], &[40, 7]] {
            let of = |static_bytes| UnitLayout::new(static_bytes, X86, groups).unwrap().units_per_allocation;
            assert_eq!(of(64), of(217_088), "{groups:?}");
        }
    }

    #[test]
    fn extremes_do_not_wrap() {
        for grain in [X86, ARM64] {
            assert_eq!(UnitLayout::new(u64::MAX, grain, &[1]), None);
            assert_eq!(UnitLayout::new(u64::MAX - RESERVED_BYTES - DYNAMIC_BYTES, grain, &[1]), None);
            let large = UnitLayout::new(1 << 62, grain, &[u32::MAX; 4]).unwrap();
            assert_eq!((large.units_per_allocation, large.units(u32::MAX)), (1, Some(u32::MAX)));
        }
        let full = UnitLayout::new(0, X86, &[u32::MAX; 4]).unwrap();
        assert_eq!((full.units_per_allocation, full.units(u32::MAX), full.units(17)), (8, None, Some(24)));
        assert_eq!(UnitLayout::new(0, X86, &[]).unwrap().units(0), Some(0));
    }
}
