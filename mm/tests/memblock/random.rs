//! Random changes of every kind, on a small arena and on one with so many regions that the arrays grow.
//!
//! A run is made from one number, the seed. When a run fails, changes that are not needed for that are left out for two
//! seconds, and the seed and the changes that are left are printed; `MEMBLOCK_SEED=N` repeats it. `MEMBLOCK_STEPS=N`
//! says how many changes are made.

use crate::oracle::{Ask, OWNERS, Op, Oracle};
use crate::ram::Ram;
use mm::addr::NodeId;
use mm::memblock::{Direction, INLINE_REGIONS, Memblock, NodeWish};
use mm::zone::MovableNode;
use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::time::{Duration, Instant};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn bits(&mut self, end: u32) -> u32 {
        u32::try_from(self.next() % u64::from(end)).unwrap()
    }

    fn node(&mut self) -> u16 {
        u16::try_from(self.bits(3)).unwrap()
    }
}

/// What a run is made on.
#[derive(Clone, Copy)]
struct Arena {
    cells: usize,
    unit: u64,
    /// Changes in a run.
    steps: usize,
    /// The longest range of most changes.
    longest: usize,
}

/// Few cells, so that changes meet.
const SMALL: Arena = Arena { cells: 48, unit: 1, steps: 40, longest: 48 };
/// Short ranges in many cells: the arrays grow, and their memory moves in the same arena.
const LARGE: Arena = Arena { cells: 2048, unit: 64, steps: 1500, longest: 2 };

impl Arena {
    fn span(self, random: &mut Random) -> (usize, usize) {
        let start = random.below(self.cells + 1);
        let longest = if random.below(200) == 0 { self.cells / 8 } else { self.longest };
        (start, (start + random.below(longest + 1)).min(self.cells))
    }

    fn op(self, random: &mut Random) -> Op {
        let (a, b) = self.span(random);
        // What touches the whole arena would keep a large one from filling.
        let kinds = if self.cells == SMALL.cells || random.below(400) == 0 { 40 } else { 26 };
        match random.below(kinds) {
            0..3 => Op::Add(a, b),
            3..7 => {
                let node = random.node();
                Op::AddOn(a, b, (node > 0).then_some(node), random.bits(16))
            }
            7..9 => Op::Remove(a, b),
            9..14 => Op::Reserve(a, b, u8::try_from(random.below(usize::from(OWNERS))).unwrap()),
            14 => Op::Free(a, b),
            15 => Op::FreeAllocated(a, b),
            16..18 => Op::Node(a, b, random.node()),
            18 => Op::Mark(a, b, 1 << random.bits(4)),
            19 => Op::Mark(a, b, random.bits(16)),
            20..22 => Op::Clear(a, b, random.bits(16)),
            22..26 => {
                let within = match random.below(3) {
                    0 => (0, self.cells),
                    _ => (a.min(b), random.below(self.cells - a + 1) + a),
                };
                let node = match random.below(3) {
                    0 => NodeWish::Any,
                    1 => NodeWish::Prefer(NodeId::new(random.node())),
                    _ => NodeWish::Only(NodeId::new(random.node())),
                };
                let from = if random.below(2) == 0 { 0 } else { random.below(self.cells + 1) };
                Op::Alloc(Ask { size: 1 + random.below(6), align: random.bits(4), within, from, node })
            }
            26..28 => Op::ClearNodes,
            28..31 => Op::Trim(random.bits(4)),
            31..33 => Op::Cap(a, random.below(self.cells + 1).max(a)),
            33 => Op::Limit(random.below(self.cells)),
            34 => Op::MapLimit(random.below(self.cells)),
            35 => Op::Direction(Direction::TopDown),
            36 => Op::Direction(Direction::BottomUp),
            37 => Op::Movable(MovableNode::Ignore),
            38 => Op::Movable(MovableNode::Honour),
            _ => Op::Add(0, self.cells),
        }
    }

    fn ops(self, seed: u64) -> Vec<Op> {
        let mut random = Random(seed);
        let mut ops = Vec::new();
        if self.cells == LARGE.cells {
            // More regions of each kind than have room at first, and free memory for larger arrays.
            ops.push(Op::Add(0, self.cells / 2));
            for at in (0..4 * (INLINE_REGIONS + 10)).step_by(4) {
                let above = self.cells / 2 + at;
                ops.extend([Op::AddOn(above, above + 1, Some(1), 0), Op::Reserve(at, at + 1, 0)]);
            }
        }
        ops.extend((ops.len()..self.steps).map(|_| self.op(&mut random)));
        ops
    }

    /// Makes the changes. Returns in how many regions arrays of memblock lie in the end.
    fn play(self, ops: &[Op]) -> usize {
        let base = 0x10_0000;
        let ram = Ram::new(base, self.cells as u64 * self.unit);
        let mut memblock = Memblock::new(ram.access());
        if self.cells == LARGE.cells {
            // SAFETY: whatever becomes memory is this RAM, which nobody else uses.
            unsafe { memblock.set_mapped(ram.range()) };
        }
        let mut oracle = Oracle::new(self.cells, base, self.unit);
        for op in ops {
            oracle.step(&mut memblock, *op);
        }
        memblock.reserved().iter().filter(|region| region.owner().as_str() == "memblock regions").count()
    }

    fn try_to_play(self, ops: &[Op]) -> Option<usize> {
        catch_unwind(AssertUnwindSafe(|| self.play(ops))).ok()
    }

    fn run(self, seed: u64) -> usize {
        let mut ops = self.ops(seed);
        if let Some(tables) = self.try_to_play(&ops) {
            return tables;
        }
        let hook = take_hook();
        set_hook(Box::new(|_| {}));
        let begin = Instant::now();
        let mut step = ops.len() / 2;
        while step > 0 {
            let mut at = 0;
            while at < ops.len() && begin.elapsed() < Duration::from_secs(2) {
                let mut fewer = ops.clone();
                fewer.drain(at..(at + step).min(ops.len()));
                if self.try_to_play(&fewer).is_none() { ops = fewer } else { at += step }
            }
            step /= 2;
        }
        set_hook(hook);
        println!("MEMBLOCK_SEED={seed} repeats this: {ops:?}");
        self.play(&ops);
        panic!("seed {seed} failed, and does not when it is repeated");
    }

    /// Many runs; `grows` says whether arrays have grown at the end of each.
    fn storm(self, steps: usize, grows: impl Fn(usize) -> bool) {
        if let Some(seed) = number("MEMBLOCK_SEED") {
            self.run(seed);
            return;
        }
        let seed = RandomState::new().hash_one(steps);
        for run in 0..steps.div_ceil(self.steps) as u64 {
            let tables = self.run(seed.wrapping_add(run));
            assert!(grows(tables), "{tables} arrays at the end of MEMBLOCK_SEED={}", seed.wrapping_add(run));
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is no number")))
}

fn steps(default: usize) -> usize {
    number("MEMBLOCK_STEPS").map_or(default, |steps| usize::try_from(steps).unwrap())
}

#[test]
fn every_change_agrees_with_a_bitmap() {
    // Nothing is mapped, so nothing can grow.
    SMALL.storm(if cfg!(miri) { 200 } else { steps(96_000) }, |tables| tables == 0);
}

#[test]
#[cfg_attr(miri, ignore = "thousands of cells; growth has smaller tests of its own")]
fn every_change_agrees_with_a_bitmap_while_arrays_grow() {
    LARGE.storm(steps(96_000) / 24, |tables| tables > 0);
}

#[test]
#[ignore = "the long run: minutes, in a release build"]
fn ten_million_changes_agree_with_a_bitmap() {
    let steps = steps(10_000_000);
    SMALL.storm(steps, |tables| tables == 0);
    LARGE.storm(steps / 50, |tables| tables > 0);
}
