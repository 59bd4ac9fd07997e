//! Random mapping, unmapping and protecting, held against a map of pages after each step.

use crate::{empty_tree, virt};
use mm::addr::{PhysAddr, PhysRange, VirtAddr};
use mm::paging::{Access, ChangeError, Level, MapError, Mapping, MemoryType, NoFrames, PageTables, RawMapping};
use mm_testkit::{Emulated, Fault, Intent, Machine, RangeFrames};
use std::collections::BTreeMap;

/// A small generator of numbers (xorshift64*), so that a seed names a test.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 16) % bound
    }
}

/// What each page of virtual space should map: page number → physical address and access.
type Model = BTreeMap<u64, (u64, RawMapping)>;

struct Test<'m, const SHIFT: u32> {
    machine: &'m Machine<SHIFT>,
    tables: PageTables<Emulated<'m, SHIFT>>,
    frames: RangeFrames,
    model: Model,
    random: Random,
    /// Pages of a leaf of level 1, and of the virtual space that is used: four of them.
    large: u64,
}

/// So that the addresses lie about a boundary of level 2.
const fn base(shift: u32) -> u64 {
    let upper = 1 << (shift + 2 * (shift - 3));
    0xffff_8000_0000_0000 + upper - 2 * (1 << (shift + (shift - 3)))
}

impl<const SHIFT: u32> Test<'_, SHIFT> {
    /// Pages from the area, often a whole number of large leaves.
    fn pages(&mut self) -> (u64, u64) {
        let area = 4 * self.large;
        if cfg!(miri) {
            // Few pages, about the boundary in the middle; or the large leaf above it.
            if self.random.below(3) == 0 {
                return (2 * self.large, self.large);
            }
            return (2 * self.large - 8 + self.random.below(12), 1 + self.random.below(12));
        }
        if self.random.below(3) == 0 {
            let first = self.random.below(4);
            return (first * self.large, (1 + self.random.below(4 - first)) * self.large);
        }
        let first = self.random.below(area);
        let most = if self.random.below(2) == 0 { 40 } else { area };
        (first, 1 + self.random.below(most.min(area - first)))
    }

    fn access(&mut self) -> Access {
        [Access::ReadOnly, Access::ReadWrite, Access::ReadExecute][self.random.below(3) as usize]
    }

    fn at(page: u64) -> VirtAddr {
        VirtAddr::new(base(SHIFT) + (page << SHIFT))
    }

    fn map(&mut self) {
        let (first, count) = self.pages();
        // Now and then memory that is not aligned as the addresses are.
        let skew = if self.random.below(4) == 0 { self.random.below(5) } else { 0 };
        let physical = (first + skew) << SHIFT;
        let mapping = Mapping { access: self.access(), memory: MemoryType::Normal };
        let memory = PhysRange::from_size(PhysAddr::new(physical), count << SHIFT).unwrap();
        let result = if self.random.below(8) == 0 {
            self.tables.map(Self::at(first), memory, mapping, &mut NoFrames)
        } else {
            self.tables.map(Self::at(first), memory, mapping, &mut self.frames)
        };
        let wanted = |page: u64| ((page + skew) << SHIFT, mapping.raw());
        let conflict = (first..first + count).find(|page| self.model.get(page).is_some_and(|is| *is != wanted(*page)));
        let mapped = match result {
            Ok(()) => {
                assert_eq!(conflict, None);
                count
            }
            Err(MapError::AlreadyMapped { at }) => {
                assert_eq!(conflict.map(Self::at), Some(at));
                conflict.unwrap() - first
            }
            Err(MapError::OutOfFrames { at }) => (at.as_u64() - Self::at(first).as_u64()) >> SHIFT,
            Err(error) => panic!("{error}"),
        };
        for page in first..first + mapped {
            self.model.insert(page, wanted(page));
        }
    }

    fn unmap(&mut self) {
        let (first, count) = self.pages();
        let range = virt(Self::at(first).as_u64(), count << SHIFT);
        // SAFETY: nothing uses this memory; most of it does not even exist.
        match unsafe { self.tables.unmap(range, &mut self.frames) } {
            Ok(stale) => {
                stale.flush(self.machine.handle());
                self.model.retain(|page, _| !(first..first + count).contains(page));
            }
            Err(error) => assert!(matches!(error, ChangeError::OutOfFrames { .. }), "{error}"),
        }
    }

    fn protect(&mut self) {
        let (first, count) = self.pages();
        let range = virt(Self::at(first).as_u64(), count << SHIFT);
        let access = self.access();
        let absent = (first..first + count).find(|page| !self.model.contains_key(page));
        // SAFETY: as in `unmap`.
        match unsafe { self.tables.protect(range, access, &mut self.frames) } {
            Ok(stale) => {
                stale.flush(self.machine.handle());
                assert_eq!(absent, None);
                for (_, (_, mapping)) in self.model.range_mut(first..first + count) {
                    *mapping = Mapping { access, memory: MemoryType::Normal }.raw();
                }
            }
            Err(ChangeError::NotMapped { at }) => assert_eq!(absent.map(Self::at), Some(at)),
            Err(error) => assert!(matches!(error, ChangeError::OutOfFrames { .. }), "{error}"),
        }
    }

    /// The tables say what the model says, of each page and of none else; a few pages are used, so that the TLB
    /// remembers them until the next step.
    fn check(&mut self) {
        let mut found = Model::new();
        for leaf in self.machine.mappings(self.tables.root()) {
            for page in 0..leaf.size >> SHIFT {
                let number = ((leaf.address.as_u64() - base(SHIFT)) >> SHIFT) + page;
                found.insert(number, (leaf.physical.as_u64() + (page << SHIFT), leaf.mapping));
            }
        }
        assert!(found == self.model, "the tables differ from the model");
        for _ in 0..8 {
            let page = self.random.below(4 * self.large);
            let at = Self::at(page);
            let expected = self.model.get(&page).map(|(physical, _)| PhysAddr::new(*physical));
            assert_eq!(self.machine.access(at, Intent::Read), expected.ok_or(Fault::Absent(at)));
            assert_eq!(self.tables.translate(at).map(|found| found.address), expected);
        }
        // Runs cover the same, and neighbours differ.
        let mut last: Option<mm::paging::Run> = None;
        let mut bytes = 0;
        self.tables.leaves(&mut |run| {
            bytes += run.virt.size();
            for offset in [0, run.virt.size() - 1] {
                let page = (run.virt.start().as_u64() + offset - base(SHIFT)) >> SHIFT;
                assert_eq!(self.model.get(&page), Some(&((run.phys.as_u64() + offset) >> SHIFT << SHIFT, run.mapping)));
            }
            if let Some(last) = last {
                assert!(last.virt.end() <= run.virt.start());
                let goes_on =
                    last.virt.end() == run.virt.start() && last.phys.as_u64() + last.virt.size() == run.phys.as_u64();
                assert!(!goes_on || last.level != run.level || last.mapping != run.mapping);
            }
            last = Some(run);
        });
        assert_eq!(bytes, (self.model.len() as u64) << SHIFT);
    }
}

fn random_changes<const SHIFT: u32>(seed: u64, largest: Level, steps: u32) {
    let machine = Machine::<SHIFT>::builder().ram(0x10_0000, 32 << SHIFT, 0).largest_leaf(largest).finish();
    let (tables, frames) = empty_tree(&machine, 31);
    let random = Random(seed * 2 + 1);
    let large = 1 << (SHIFT - 3);
    let mut test = Test { machine: &machine, tables, frames, model: Model::new(), random, large };
    for _ in 0..steps {
        match test.random.below(5) {
            0 | 1 => test.map(),
            2 | 3 => test.protect(),
            _ => test.unmap(),
        }
        test.check();
    }
}

#[test]
fn random_changes_4k() {
    let (seeds, levels, steps) = if cfg!(miri) { (1, 1..=1, 6) } else { (8, 0..=2, 60) };
    for seed in 1..=seeds {
        for largest in levels.clone() {
            random_changes::<12>(seed * 3 + u64::from(largest), Level::new(largest), steps);
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "the 4 KiB variant covers the code; these only have more pages")]
fn random_changes_16k_and_64k() {
    for seed in 1..=2 {
        for largest in 0..=1 {
            random_changes::<14>(seed * 5 + u64::from(largest), Level::new(largest), 40);
            random_changes::<16>(seed * 7 + u64::from(largest), Level::new(largest), 15);
        }
    }
}
