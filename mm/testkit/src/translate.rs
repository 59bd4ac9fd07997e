//! The machine's table walker and the TLBs.
//!
//! A TLB remembers every translation that its CPU has used until it is flushed. Each use is held against a walk of the
//! tables as they are now: where they differ the kernel has changed an entry and not flushed it, and the test fails.

use crate::cpu::{CpuState, current_cpu};
use crate::emulated::Emulated;
use crate::format;
use crate::machine::Machine;
use mm::addr::{CpuId, PhysAddr, PhysRange, VirtAddr};
use mm::layout::VirtRange;
use mm::paging::change::FLUSH_PAGES;
use mm::paging::{Entry, Level, RawMapping};
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{MutexGuard, PoisonError};

/// What a CPU wants to do with memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Intent {
    /// Read it.
    Read,
    /// Write it.
    Write,
    /// Execute it.
    Execute,
}

/// Why an access was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// No tables are active.
    NoRoot,
    /// Nothing is mapped there.
    Absent(VirtAddr),
    /// It is mapped, but not for that.
    Refused(VirtAddr, Intent),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoot => write!(f, "virtual access before any page tables are active"),
            Self::Absent(address) => write!(f, "page fault: nothing is mapped at {address:?}"),
            Self::Refused(address, intent) => write!(f, "page fault: {intent:?} refused at {address:?}"),
        }
    }
}

/// A translation as a walk finds it and a TLB remembers it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cached {
    level: u8,
    /// Where the leaf begins.
    start: u64,
    mapping: RawMapping,
}

/// The translations that one CPU remembers, by level and number of the page.
#[derive(Default, Debug)]
pub(crate) struct Tlb(HashMap<(u8, u64), Cached, BuildHasherDefault<Mix>>);

/// A hash that is fast on page numbers.
#[derive(Default)]
pub(crate) struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl<const SHIFT: u32> Machine<SHIFT> {
    const LEVELS: u8 = format::levels(SHIFT);

    pub(crate) fn this_cpu(&self) -> &CpuState {
        let cpu = current_cpu();
        self.cpus.get(cpu.index()).unwrap_or_else(|| panic!("this machine has no CPU {cpu}"))
    }

    fn tlb(cpu: &CpuState) -> MutexGuard<'_, Tlb> {
        cpu.tlb.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes all CPUs forget everything.
    pub(crate) fn forget_all(&self) {
        for cpu in &self.cpus {
            self.forget_all_of(cpu);
        }
    }

    pub(crate) fn forget_all_of(&self, cpu: &CpuState) {
        Self::tlb(cpu).0.clear();
    }

    /// Makes one CPU forget its translations of `range`: page by page where it is small, else all.
    pub(crate) fn forget(&self, cpu: &CpuState, range: VirtRange) {
        if range.size() >> SHIFT > FLUSH_PAGES {
            return self.forget_all_of(cpu);
        }
        let mut tlb = Self::tlb(cpu);
        let mut at = range.start();
        while at < range.end() {
            for level in 0..Self::LEVELS {
                tlb.0.remove(&Self::key(level, at));
            }
            at = at.saturating_add(1 << SHIFT);
        }
    }

    /// Panics when a TLB holds a leaf where the tables now have leaves of another size: that entry was replaced without
    /// being absent, and flushed, in between (`Resize::BreakBeforeMake`).
    pub(crate) fn assert_broken_before_made(&self) {
        let Some(root) = self.root() else { return };
        for cpu in &self.cpus {
            let tlb = Self::tlb(cpu);
            let conflict = tlb.0.iter().find_map(|(&(level, page), held)| {
                let address = VirtAddr::new(page << format::span_shift(SHIFT, level));
                self.walk(root, address).filter(|now| now.level != held.level).map(|now| (address, *held, now))
            });
            drop(tlb);
            if let Some((address, held, now)) = conflict {
                panic!("{address:?} was resized without a break: a TLB holds {held:?}, the tables say {now:?}");
            }
        }
    }

    /// How many translations `cpu` remembers.
    ///
    /// # Panics
    /// When there is no such CPU.
    #[must_use]
    pub fn remembered(&self, cpu: CpuId) -> usize {
        Self::tlb(&self.cpus[cpu.index()]).0.len()
    }

    /// What happens when the current CPU accesses `address`: the physical address, or the fault.
    ///
    /// # Errors
    /// The fault that the CPU would raise.
    ///
    /// # Panics
    /// When the CPU's TLB holds a translation that the tables no longer say.
    pub fn access(&self, address: VirtAddr, intent: Intent) -> Result<PhysAddr, Fault> {
        let cached = self.look_up(address)?;
        let allowed = match intent {
            Intent::Read => true,
            Intent::Write => cached.mapping.writable,
            Intent::Execute => cached.mapping.executable,
        };
        if allowed { Ok(Self::physical(cached, address)) } else { Err(Fault::Refused(address, intent)) }
    }

    pub(crate) fn translate(&self, address: VirtAddr) -> Result<PhysAddr, Fault> {
        Ok(Self::physical(self.look_up(address)?, address))
    }

    /// Panics unless the active tables' direct map leads to `address`.
    pub(crate) fn assert_direct(&self, address: PhysAddr) {
        let root = self.root().unwrap_or_else(|| panic!("{}", Fault::NoRoot));
        let layout = Emulated::<SHIFT>::LAYOUT;
        let found = layout.phys_to_virt(address).and_then(|virt| Some(Self::physical(self.walk(root, virt)?, virt)));
        assert!(found == Some(address), "{address:?} is used before the direct map maps it (finds {found:?})");
    }

    /// Where the active tables lead for `address`, whatever a TLB remembers.
    pub(crate) fn walked(&self, address: VirtAddr) -> Option<PhysAddr> {
        Some(Self::physical(self.walk(self.root()?, address)?, address))
    }

    fn look_up(&self, address: VirtAddr) -> Result<Cached, Fault> {
        self.take_interrupt(self.handle());
        let root = self.root().ok_or(Fault::NoRoot)?;
        let now = self.walk(root, address);
        let mut tlb = Self::tlb(self.this_cpu());
        let remembered = (0..Self::LEVELS).find_map(|level| tlb.0.get(&Self::key(level, address)).copied());
        if let Some(held) = remembered {
            if now != Some(held) {
                drop(tlb);
                panic!(
                    "CPU {} uses a stale translation of {address:?}: its TLB holds {held:?}, the tables say {now:?}",
                    current_cpu()
                );
            }
            return Ok(held);
        }
        let found = now.ok_or(Fault::Absent(address))?;
        tlb.0.insert(Self::key(found.level, address), found);
        Ok(found)
    }

    /// The leaf to which the tables under `root` lead for `address`.
    fn walk(&self, root: PhysAddr, address: VirtAddr) -> Option<Cached> {
        // The kernel's half: the upper 16 bits are ones, the root translates 48.
        if address.as_u64() >> 48 != 0xffff {
            return None;
        }
        let low = address.as_u64() & ((1 << 48) - 1);
        let mut table = root;
        for number in (0..Self::LEVELS).rev() {
            let index = low >> format::span_shift(SHIFT, number);
            let in_table = if number + 1 == Self::LEVELS { index } else { index & ((1 << (SHIFT - 3)) - 1) };
            match format::decode(
                SHIFT,
                self.entries(table)[in_table as usize].load(Ordering::Acquire),
                Level::new(number),
                self.largest_leaf,
            ) {
                Entry::Absent => return None,
                Entry::Table(next) => table = next,
                Entry::Leaf { address, mapping } => {
                    return Some(Cached { level: number, start: address.as_u64(), mapping });
                }
            }
        }
        None
    }

    /// The entries of the table at `frame`, as the hardware reads them.
    pub(crate) fn entries(&self, frame: PhysAddr) -> &[AtomicU64] {
        let pointer = self.ram_ptr(frame).unwrap_or_else(|| panic!("a page table at {frame:?}, where no RAM is"));
        let page = PhysRange::new(frame, frame.saturating_add(1 << SHIFT));
        assert!(self.is_ram(page) && frame.is_aligned(1 << SHIFT), "a page table at {frame:?} is no whole page");
        // SAFETY: the pointer leads to a whole aligned page of RAM, which lives as long as the machine; software and
        // walker access tables by atomics only once they are reachable from a root.
        unsafe { core::slice::from_raw_parts(pointer.cast(), 1 << (SHIFT - 3)) }
    }

    fn key(level: u8, address: VirtAddr) -> (u8, u64) {
        (level, address.as_u64() >> format::span_shift(SHIFT, level))
    }

    fn physical(cached: Cached, address: VirtAddr) -> PhysAddr {
        let span = 1_u64 << format::span_shift(SHIFT, cached.level);
        PhysAddr::new(cached.start + (address.as_u64() & (span - 1)))
    }
}
