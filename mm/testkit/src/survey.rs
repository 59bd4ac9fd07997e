//! Everything that a tree of tables maps, and the tables themselves: what tests hold `mm::paging` against.

use crate::emulated::Emulated;
use crate::format;
use crate::machine::Machine;
use mm::addr::{PhysAddr, VirtAddr};
use mm::paging::{Entry, Level, RawMapping};
use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// One leaf of a tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapped {
    /// Its first address.
    pub address: VirtAddr,
    /// Bytes.
    pub size: u64,
    /// The memory behind the first address.
    pub physical: PhysAddr,
    /// How it is mapped.
    pub mapping: RawMapping,
    /// Where it stands.
    pub level: Level,
}

/// One table of a tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableFrame {
    /// Where it lies.
    pub frame: PhysAddr,
    /// Its level.
    pub level: Level,
    /// The first address that it translates.
    pub address: VirtAddr,
}

/// Leaves outside of the direct map: the memory behind each, its size, its first address.
pub(crate) type Leaves = BTreeMap<PhysAddr, (u64, VirtAddr)>;

impl<const SHIFT: u32> Machine<SHIFT> {
    /// The address outside of the direct map that leads to `physical`; of several one of them. What an earlier call
    /// found is tried first, since a survey of all tables is slow.
    pub(crate) fn virtual_of(&self, physical: PhysAddr) -> Option<VirtAddr> {
        let direct = Emulated::<SHIFT>::LAYOUT.direct;
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        let find = |leaves: &Leaves| {
            let (&start, &(size, address)) = leaves.range(..=physical).next_back()?;
            let offset = physical.checked_sub(start).filter(|&offset| offset < size)?;
            let address = address.saturating_add(offset);
            (self.walked(address) == Some(physical)).then_some(address)
        };
        find(&leaves).or_else(|| {
            let mapped = self.mappings(self.root()?).into_iter().filter(|leaf| direct.offset(leaf.address).is_none());
            *leaves = mapped.map(|leaf| (leaf.physical, (leaf.size, leaf.address))).collect();
            find(&leaves)
        })
    }

    /// All leaves under `root`, by ascending address.
    #[must_use]
    pub fn mappings(&self, root: PhysAddr) -> Vec<Mapped> {
        let mut mapped = Vec::new();
        self.survey(root, format::levels(SHIFT) - 1, 0xffff << 48, &mut mapped, &mut Vec::new());
        mapped
    }

    /// All tables under `root`, itself first.
    #[must_use]
    pub fn tables(&self, root: PhysAddr) -> Vec<TableFrame> {
        let mut tables = Vec::new();
        self.survey(root, format::levels(SHIFT) - 1, 0xffff << 48, &mut Vec::new(), &mut tables);
        tables
    }

    fn survey(&self, frame: PhysAddr, number: u8, first: u64, mapped: &mut Vec<Mapped>, tables: &mut Vec<TableFrame>) {
        let level = Level::new(number);
        tables.push(TableFrame { frame, level, address: VirtAddr::new(first) });
        let size = 1_u64 << format::span_shift(SHIFT, number);
        let top = number + 1 == format::levels(SHIFT);
        let used = if top { (1 << 48) / size } else { 1 << (SHIFT - 3) };
        let entries = self.entries(frame).iter().map(|entry| entry.load(Ordering::Acquire));
        for (index, entry) in (0..used).zip(entries).filter(|(_, entry)| *entry != 0) {
            let address = first + index * size;
            match format::decode(SHIFT, entry, level, self.largest_leaf) {
                Entry::Absent => {}
                Entry::Table(next) => self.survey(next, number - 1, address, mapped, tables),
                Entry::Leaf { address: physical, mapping } => {
                    mapped.push(Mapped { address: VirtAddr::new(address), size, physical, mapping, level });
                }
            }
        }
    }
}
