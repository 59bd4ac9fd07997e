//! The tree against a plain map of ranges, and how many nodes it looks at.

use super::{Links, Store, Tree, TreeProblem};
use crate::addr::VirtAddr;
use crate::layout::VirtRange;
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::BTreeMap;

const PAGE: u64 = 0x1000;
const START: u64 = 0xffff_8000_0000_0000;

/// Nodes in a `Vec`, which count how often they are looked at.
#[derive(Default)]
struct Nodes {
    nodes: Vec<Links<usize>>,
    looked_at: Cell<u64>,
}

impl Store<usize> for Nodes {
    fn links(&self, node: usize) -> &Links<usize> {
        self.looked_at.set(self.looked_at.get() + 1);
        &self.nodes[node]
    }

    fn links_mut(&mut self, node: usize) -> &mut Links<usize> {
        self.looked_at.set(self.looked_at.get() + 1);
        &mut self.nodes[node]
    }
}

fn space(pages: u64) -> VirtRange {
    VirtRange::from_size(VirtAddr::new(START), pages * PAGE).unwrap()
}

/// The tree, and the same as a map from the first address to the end.
struct Both {
    tree: Tree<usize>,
    nodes: Nodes,
    plain: BTreeMap<u64, (u64, usize)>,
}

impl Both {
    fn new(pages: u64) -> Self {
        Self { tree: Tree::new(space(pages)), nodes: Nodes::default(), plain: BTreeMap::new() }
    }

    fn gaps(&self) -> Vec<(u64, u64)> {
        let space = self.tree.space;
        let mut from = space.start().as_u64();
        let mut gaps = Vec::new();
        for (&start, &(end, _)) in &self.plain {
            gaps.push((from, start));
            from = end;
        }
        gaps.push((from, space.end().as_u64()));
        gaps
    }

    /// Where `size` bytes should go: the lowest gap in which they fit wherever it begins, or else the lowest in which
    /// they happen to fit.
    fn expected(&self, size: u64, align: u64) -> Option<u64> {
        let place = |&(from, to): &(u64, u64)| {
            let start = from.next_multiple_of(align);
            (start + size <= to).then_some(start)
        };
        let gaps = self.gaps();
        let sure = gaps.iter().find(|(from, to)| to - from >= size + align - PAGE).and_then(place);
        sure.or_else(|| gaps.iter().find_map(place))
    }

    fn insert(&mut self, size: u64, align: u64) -> Option<u64> {
        let at = self.tree.fit(&self.nodes, size, align, PAGE)?;
        self.place(at, size);
        Some(at.as_u64())
    }

    fn place(&mut self, at: VirtAddr, size: u64) {
        self.nodes.nodes.push(Links::new(VirtRange::from_size(at, size).unwrap()));
        let node = self.nodes.nodes.len() - 1;
        self.tree.insert(&mut self.nodes, node);
        self.plain.insert(at.as_u64(), (at.as_u64() + size, node));
    }

    fn remove(&mut self, start: u64) {
        let (_, node) = self.plain.remove(&start).unwrap();
        self.tree.remove(&mut self.nodes, node);
    }

    fn check(&self) {
        let mut ranges = Vec::new();
        let result = self.tree.verify(&self.nodes, &mut |node| {
            let range = self.nodes.nodes[node].range;
            ranges.push((range.start().as_u64(), (range.end().as_u64(), node)));
        });
        assert_eq!(result, Ok(()));
        assert!(ranges.into_iter().eq(self.plain.iter().map(|(&start, &end)| (start, end))));
    }

    /// Nodes that `work` looks at.
    fn looks<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> u64 {
        self.nodes.looked_at.set(0);
        work(self);
        self.nodes.looked_at.get()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert { pages: u64, align: u32 },
    Remove(prop::sample::Index),
    Find(u64),
}

const SPACE_PAGES: u64 = 600;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..12_u64, prop_oneof![3 => Just(0_u32), 1 => 1..6_u32])
            .prop_map(|(pages, align)| Step::Insert { pages, align }),
        1 => (20..200_u64).prop_map(|pages| Step::Insert { pages, align: 0 }),
        4 => any::<prop::sample::Index>().prop_map(Step::Remove),
        1 => (0..SPACE_PAGES * PAGE).prop_map(Step::Find),
    ];
    prop::collection::vec(step, 1..if cfg!(miri) { 40 } else { 300 })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 4 } else { 256 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_tree_is_a_map(steps in steps()) {
        let mut both = Both::new(SPACE_PAGES);
        for step in steps {
            match step {
                Step::Insert { pages, align } => {
                    let expected = both.expected(pages * PAGE, PAGE << align);
                    prop_assert_eq!(both.insert(pages * PAGE, PAGE << align), expected);
                }
                Step::Remove(index) if !both.plain.is_empty() => {
                    let start = *both.plain.keys().nth(index.index(both.plain.len())).unwrap();
                    both.remove(start);
                }
                Step::Remove(_) => {}
                Step::Find(offset) => {
                    let address = START + offset;
                    let next = both.plain.iter().find(|(_, (end, _))| *end > address);
                    let at = VirtAddr::new(address);
                    prop_assert_eq!(both.tree.first_from(&both.nodes, at), next.map(|(_, &(_, node))| node));
                    let inside = next.filter(|(start, _)| **start <= address);
                    prop_assert_eq!(both.tree.find(&both.nodes, at), inside.map(|(_, &(_, node))| node));
                }
            }
            both.check();
        }
        while let Some((&start, _)) = both.plain.iter().next() {
            both.remove(start);
            both.check();
        }
    }
}

/// The figures of `docs/vmalloc.md`: `cargo test -p tessera-mm --lib -- --nocapture looked_at`.
#[test]
fn nodes_looked_at_grow_with_the_logarithm() {
    let counts: &[u64] = if cfg!(miri) { &[16, 64] } else { &[16, 256, 4096, 1 << 15] };
    for &count in counts {
        let mut both = Both::new(count * 4 + 64);
        // Every second area goes again, so that there are as many gaps as areas, each one page too short.
        let starts: Vec<_> = (0..count * 2).map(|_| both.insert(2 * PAGE, PAGE).unwrap()).collect();
        starts.iter().skip(1).step_by(2).for_each(|&start| both.remove(start));
        both.check();
        let mut most = [0; 4];
        for number in 0..64 {
            let start = starts[(2 + number * 2 * (count / 64).max(1) % (count * 2 - 2)) as usize];
            let address = VirtAddr::new(start + PAGE);
            let looks = [
                both.looks(|both| both.tree.find(&both.nodes, address)),
                both.looks(|both| both.tree.fit(&both.nodes, 3 * PAGE, PAGE, PAGE)),
                both.looks(|both| both.remove(start)),
                // With the gaps on both sides, there is one gap that is long enough.
                both.looks(|both| assert_eq!(both.insert(5 * PAGE, PAGE), Some(start - 2 * PAGE))),
            ];
            both.remove(start - 2 * PAGE);
            both.place(VirtAddr::new(start), 2 * PAGE);
            most.iter_mut().zip(looks).for_each(|(most, looks)| *most = looks.max(*most));
        }
        let [find, fit, remove, insert] = most;
        println!("{count:>8} areas: find {find}, gap {fit}, remove {remove}, gap and insert {insert}");
        let log = u64::from(count.ilog2()) + 2;
        // 1.44 log2 levels; about a dozen nodes a level where it is balanced again.
        assert!(find <= 2 * log && fit <= 4 * log, "{count} areas: {most:?}");
        assert!(remove <= 18 * log && insert <= 18 * log, "{count} areas: {most:?}");
    }
}

#[test]
fn damage_is_found() {
    let built = || {
        let mut both = Both::new(64);
        let starts: Vec<_> = (0..7).map(|_| both.insert(2 * PAGE, PAGE).unwrap()).collect();
        both.remove(starts[3]);
        both.check();
        both
    };
    let problem = |damage: &dyn Fn(&mut Both)| {
        let mut both = built();
        damage(&mut both);
        both.tree.verify(&both.nodes, &mut |_| {}).map_err(|(_, problem)| problem)
    };
    let range = |pages: u64, count| VirtRange::from_size(VirtAddr::new(START + pages * PAGE), count * PAGE).unwrap();
    assert_eq!(problem(&|both| both.nodes.nodes[0].longest += PAGE), Err(TreeProblem::Subtree));
    assert_eq!(problem(&|both| both.nodes.nodes[0].height += 1), Err(TreeProblem::Subtree));
    assert_eq!(problem(&|both| both.nodes.nodes[4].gap -= PAGE), Err(TreeProblem::Gap));
    assert_eq!(problem(&|both| both.nodes.nodes[1].range = range(1, 2)), Err(TreeProblem::Overlap));
    assert_eq!(problem(&|both| both.nodes.nodes[6].range = range(12, 60)), Err(TreeProblem::Overlap));
    assert_eq!(problem(&|both| both.tree.last_end = VirtAddr::new(START)), Err(TreeProblem::Gap));
    assert_eq!(problem(&|both| both.tree.count += 1), Err(TreeProblem::Count));
    assert_eq!(problem(&|both| both.tree.count -= 1), Err(TreeProblem::Count));
    // A circle.
    assert!(problem(&|both| both.nodes.nodes[6].right = both.tree.root).is_err());
    assert!(problem(&|both| both.nodes.nodes[0].left = both.tree.root).is_err());
}
