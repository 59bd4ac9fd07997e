//! Random requests against a map of what is held: where each area must lie, what is in it, and that nothing else is
//! mapped. Everything is verified after each step.

use super::{check, fill, mapped_in, small};
use crate::up::up;
use mm::addr::{CpuId, NodeId, PhysAddr, PhysRange, VirtAddr};
use mm::layout::VirtRange;
use mm::page_alloc::NodeWish;
use mm::paging::MemoryType;
use mm::vmalloc::{Vmalloc, VmallocError, VmallocOptions};
use mm_testkit::{Emulated, Fault, Intent, Machine, run_on};
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeMap;

/// Pages of the space: small, so that it fills up.
const SPACE_PAGES: u64 = 256;

#[derive(Clone, Debug)]
enum Step {
    Alloc { pages: u64, align: u32, node: u16 },
    Stack { pages: u64, node: u16 },
    Ioremap { page: u64, offset: u64, bytes: u64, memory: MemoryType },
    Free(Index),
    Touch { area: Index, cpu: u32 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let memory = prop_oneof![Just(MemoryType::Device), Just(MemoryType::WriteCombining), Just(MemoryType::Normal)];
    let step = prop_oneof![
        4 => (1..20_u64, prop_oneof![3 => Just(0_u32), 1 => 1..8_u32], 0..2_u16)
            .prop_map(|(pages, align, node)| Step::Alloc { pages, align, node }),
        1 => (20..SPACE_PAGES + 8, 0..2_u16).prop_map(|(pages, node)| Step::Alloc { pages, align: 0, node }),
        2 => (1..6_u64, 0..2_u16).prop_map(|(pages, node)| Step::Stack { pages, node }),
        3 => (0..24_u64, 0..0x1000_u64, 1..0x5000_u64, memory)
            .prop_map(|(page, offset, bytes, memory)| Step::Ioremap { page, offset, bytes, memory }),
        5 => any::<Index>().prop_map(Step::Free),
        3 => (any::<Index>(), 0..4_u32).prop_map(|(area, cpu)| Step::Touch { area, cpu }),
    ];
    prop::collection::vec(step, 1..if cfg!(miri) { 12 } else { 80 })
}

/// An area as a test knows it.
#[derive(Clone, Copy, Debug)]
struct Held {
    mapped: VirtRange,
    /// What `fill` took, or the device.
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Pages(u64),
    Device { physical: PhysRange, memory: MemoryType, at: VirtAddr },
}

/// What is held, by the first address that is taken, with the end.
struct Model<'m, 'v, const SHIFT: u32> {
    machine: &'m Machine<SHIFT>,
    vmalloc: &'v Vmalloc<Emulated<'m, SHIFT>>,
    held: BTreeMap<u64, (u64, Held)>,
    seed: u64,
}

impl<const SHIFT: u32> Model<'_, '_, SHIFT> {
    const PAGE: u64 = 1 << SHIFT;

    /// Where an area goes: into the lowest gap that is long enough wherever it begins, or that fits by luck.
    fn place(&self, size: u64, align: u64) -> Option<u64> {
        let space = self.vmalloc.space();
        let starts = core::iter::once(space.start().as_u64()).chain(self.held.values().map(|(end, _)| *end));
        let ends = self.held.keys().copied().chain([space.end().as_u64()]);
        let gaps: Vec<_> = starts.zip(ends).collect();
        let fits = |&(from, to): &(u64, u64)| {
            let start = from.next_multiple_of(align);
            (start + size <= to).then_some(start)
        };
        let sure = gaps.iter().find(|(from, to)| to - from >= size + align - Self::PAGE).and_then(fits);
        sure.or_else(|| gaps.iter().find_map(fits))
    }

    /// Notes an area of `pages` with `below` guard pages below it, if it stands where it must.
    fn note(&mut self, result: Result<VirtRange, VmallocError>, pages: u64, below: u64, align: u64, what: What) {
        let size = (pages + below + 1) * Self::PAGE;
        let Some(start) = self.place(size, align) else {
            assert!(matches!(result, Err(VmallocError::NoSpace { .. })), "{result:?}");
            return;
        };
        let first = VirtAddr::new(start + below * Self::PAGE);
        let mapped = VirtRange::from_size(first, pages * Self::PAGE).unwrap();
        assert_eq!(result, Ok(mapped));
        self.held.insert(start, (start + size, Held { mapped, what }));
    }

    fn pages(&mut self, result: Result<VirtRange, VmallocError>, pages: u64, below: u64, align: u64) {
        self.seed += 1;
        let seed = self.seed;
        self.note(result, pages, below, align, What::Pages(seed));
        if let Ok(area) = result {
            fill(self.machine, area, seed);
        }
    }

    fn ioremap(&mut self, range: PhysRange, memory: MemoryType) {
        let physical = range.expand_to(Self::PAGE);
        let result = self.vmalloc.ioremap(range, memory, "device");
        let conflict = self.held.values().any(|(_, held)| match held.what {
            What::Device { physical: other, memory: held, .. } => held != memory && other.overlaps(physical),
            What::Pages(_) => false,
        });
        if conflict {
            assert!(matches!(result, Err(VmallocError::CacheType { .. })), "{result:?}");
            return;
        }
        let what = |at| What::Device { physical, memory, at };
        let page = result.map(|at| VirtRange::from_size(at.align_down(Self::PAGE), physical.size()).unwrap());
        let at = result.unwrap_or_default();
        self.note(page, physical.size() / Self::PAGE, 0, Self::PAGE, what(at));
        if let Ok(at) = result {
            assert_eq!(self.machine.access(at, Intent::Write), Ok(range.start()));
        }
    }

    fn pick(&self, index: Index) -> Option<(u64, Held)> {
        let count = self.held.len();
        if count == 0 {
            return None;
        }
        self.held.iter().nth(index.index(count)).map(|(&start, &(_, held))| (start, held))
    }

    fn touch(&self, held: Held) {
        match held.what {
            What::Pages(seed) => check(self.machine, held.mapped, seed),
            What::Device { physical, .. } => {
                let last = VirtAddr::new(held.mapped.end().as_u64() - 1);
                let expected = PhysAddr::new(physical.end().as_u64() - 1);
                assert_eq!(self.machine.access(last, Intent::Read), Ok(expected));
            }
        }
        let guard = held.mapped.end();
        assert_eq!(self.machine.access(guard, Intent::Read), Err(Fault::Absent(guard)));
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Alloc { pages, align, node } => {
                let align = Self::PAGE << align;
                let options = VmallocOptions::RAW.aligned(align).on(NodeWish::Prefer(NodeId::new(node)));
                let result = self.vmalloc.alloc(pages * Self::PAGE, "model", options);
                self.pages(result, pages, 0, align);
            }
            Step::Stack { pages, node } => {
                let result = self.vmalloc.stack(pages * Self::PAGE, NodeId::new(node), "stack");
                self.pages(result, pages, 1, Self::PAGE);
            }
            Step::Ioremap { page, offset, bytes, memory } => {
                let start = PhysAddr::new(0x1000_0000 + page * Self::PAGE + offset);
                self.ioremap(PhysRange::from_size(start, bytes).unwrap(), memory);
            }
            Step::Free(index) => {
                let Some((start, held)) = self.pick(index) else { return };
                self.touch(held);
                match held.what {
                    // SAFETY: what the model holds is its own, and nobody uses it any more.
                    What::Pages(_) => unsafe { self.vmalloc.free(held.mapped.start()) },
                    // SAFETY: as above.
                    What::Device { at, .. } => unsafe { self.vmalloc.iounmap(at) },
                }
                .unwrap();
                self.held.remove(&start);
            }
            Step::Touch { area, cpu } => {
                if let Some((_, held)) = self.pick(area) {
                    run_on(CpuId::new(cpu), || self.touch(held));
                }
            }
        }
    }

    fn verify(&self) {
        let totals = self.vmalloc.verify().unwrap();
        assert_eq!(totals.areas, self.held.len() as u64);
        let pages = |held: &Held| match held.what {
            What::Pages(_) => held.mapped.size() / Self::PAGE,
            What::Device { .. } => 0,
        };
        assert_eq!(totals.pages, self.held.values().map(|(_, held)| pages(held)).sum::<u64>());
        let mapped: u64 = self.held.values().map(|(_, held)| held.mapped.size()).sum();
        assert_eq!(mapped_in(self.machine, self.vmalloc.space()), mapped);
        let areas = self.vmalloc.areas().map(|area| (area.taken.start().as_u64(), area.taken.end().as_u64()));
        assert!(areas.eq(self.held.iter().map(|(&start, &(end, _))| (start, end))));
    }
}

fn replay<const SHIFT: u32>(steps: Vec<Step>) {
    // Two nodes with a hole between them, one of them in two pieces.
    let size = 24 << 20;
    let machine = Machine::<SHIFT>::builder()
        .ram(0x4000_0000, size, 0)
        .ram(0x8000_0000, size, 1)
        .ram(0xa000_0000, size, 0)
        .cpus(4)
        .finish();
    let mm = up(&machine, &[]);
    let vmalloc = small(&mm, 0, SPACE_PAGES);
    let before = mm.pages.verify().unwrap();
    let mut model = Model { machine: &machine, vmalloc: &vmalloc, held: BTreeMap::new(), seed: 0 };
    for step in steps {
        model.step(step);
        model.verify();
    }
    while let Some((_, held)) = model.held.pop_first() {
        model.touch(held.1);
        // SAFETY: as in `step`.
        unsafe { vmalloc.retire(held.1.mapped.start()) }.unwrap().flush().give_back().unwrap();
        model.verify();
    }
    let after = mm.pages.verify().unwrap();
    let stays = after.tables - before.tables + after.vmalloc;
    assert_eq!(after.vmalloc, vmalloc.record_pages());
    assert_eq!(after.free + after.untouched + stays, before.free + before.untouched);
}

fn cases(count: u32) -> ProptestConfig {
    ProptestConfig { cases: if cfg!(miri) { 1 } else { count }, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn areas_are_where_and_what_they_should_be(steps in steps()) {
        replay::<12>(steps);
    }
}

proptest! {
    #![proptest_config(cases(8))]

    #[test]
    #[cfg_attr(miri, ignore = "as above, with other pages")]
    fn areas_of_larger_pages_too(steps in steps()) {
        replay::<14>(steps.clone());
        replay::<16>(steps);
    }
}
