//! The machine: RAM in ranges, CPUs, the active root.

use crate::cpu::CpuState;
use crate::emulated::Emulated;
use crate::survey::Leaves;
use mm::addr::{CpuId, PhysAddr, PhysRange};
use mm::paging::Level;
use mm::smp::Slot;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// Blocks up to this size are aligned on the host as they are in physical memory, so that a test can see the alignment
/// in the pointer.
const HOST_ALIGN: u64 = if cfg!(miri) { 64 << 10 } else { 4 << 20 };

/// No root is active.
const NO_ROOT: u64 = u64::MAX;

/// A range of RAM and the host memory behind it.
#[derive(Debug)]
pub(crate) struct Ram {
    pub(crate) range: PhysRange,
    pub(crate) domain: u32,
    /// The host's pointer to the first byte.
    pub(crate) first: *mut u8,
    allocation: *mut u8,
    layout: Layout,
}

impl Ram {
    fn new(range: PhysRange, domain: u32) -> Self {
        let size = usize::try_from(range.size() + HOST_ALIGN).unwrap_or(usize::MAX);
        // A small alignment, so that the host gives fresh zeroed pages instead of clearing them.
        let layout = Layout::from_size_align(size, 16).unwrap_or_else(|_| panic!("{range} is too large for the host"));
        // SAFETY: the size is not zero, since `HOST_ALIGN` is in it.
        let allocation = unsafe { alloc_zeroed(layout) };
        if allocation.is_null() {
            handle_alloc_error(layout);
        }
        let skip = (range.start().as_u64().wrapping_sub(allocation.addr() as u64)) & (HOST_ALIGN - 1);
        // SAFETY: `skip` is less than `HOST_ALIGN`, by which the allocation is larger than the range.
        let first = unsafe { allocation.add(skip as usize) };
        Self { range, domain, first, allocation, layout }
    }
}

impl Drop for Ram {
    fn drop(&mut self) {
        // SAFETY: `alloc_zeroed` gave this with this layout, and `drop` runs once.
        unsafe { dealloc(self.allocation, self.layout) };
    }
}

/// An emulated machine with pages of `1 << SHIFT` bytes.
#[derive(Debug)]
pub struct Machine<const SHIFT: u32> {
    pub(crate) ram: Vec<Ram>,
    pub(crate) cpus: Vec<CpuState>,
    /// What the CPUs know of each other.
    pub(crate) slots: Vec<Slot>,
    pub(crate) per_cpu_flush: AtomicBool,
    pub(crate) built: Instant,
    pub(crate) largest_leaf: Level,
    root: AtomicU64,
    require_mapped: AtomicBool,
    /// Leaves outside of the direct map, from an earlier survey.
    pub(crate) leaves: Mutex<Leaves>,
    pub(crate) publishes: AtomicU64,
    pub(crate) page_flushes: AtomicU64,
    pub(crate) full_flushes: AtomicU64,
}

// SAFETY: the pointers lead to memory that the machine owns and that is reached only through raw pointers, whose users
// answer for races; everything else is atomic or behind a mutex.
unsafe impl<const SHIFT: u32> Send for Machine<SHIFT> {}
// SAFETY: as above.
unsafe impl<const SHIFT: u32> Sync for Machine<SHIFT> {}

/// What a machine will have.
#[derive(Clone, Debug)]
pub struct Builder<const SHIFT: u32> {
    ram: Vec<(PhysRange, u32)>,
    cpus: u32,
    largest_leaf: Level,
}

impl<const SHIFT: u32> Builder<SHIFT> {
    /// Adds `size` bytes of RAM from `start` on the firmware's domain `domain`. Ranges may come in any order.
    ///
    /// # Panics
    /// When the range leaves the address space.
    #[must_use]
    pub fn ram(mut self, start: u64, size: u64, domain: u32) -> Self {
        let range = PhysRange::from_size(PhysAddr::new(start), size);
        self.ram.push((range.unwrap_or_else(|| panic!("{size:#x} bytes at {start:#x} wrap")), domain));
        self
    }

    /// Sets the number of CPUs. Without it there is one.
    #[must_use]
    pub fn cpus(mut self, count: u32) -> Self {
        self.cpus = count;
        self
    }

    /// Sets the highest level at which this CPU has leaves. Without it, level 1, as on every real CPU.
    #[must_use]
    pub fn largest_leaf(mut self, level: Level) -> Self {
        self.largest_leaf = level;
        self
    }

    /// Builds it.
    ///
    /// # Panics
    /// When two ranges overlap, or there is no CPU.
    #[must_use]
    pub fn finish(mut self) -> Machine<SHIFT> {
        assert!(self.cpus > 0, "a machine has a CPU");
        self.ram.retain(|(range, _)| !range.is_empty());
        self.ram.sort_by_key(|(range, _)| range.start());
        for pair in self.ram.windows(2) {
            assert!(!pair[0].0.overlaps(pair[1].0), "RAM {} overlaps {}", pair[0].0, pair[1].0);
        }
        Machine {
            ram: self.ram.into_iter().map(|(range, domain)| Ram::new(range, domain)).collect(),
            cpus: (0..self.cpus).map(|_| CpuState::new()).collect(),
            slots: (0..self.cpus).map(|id| Slot::new(CpuId::new(id))).collect(),
            per_cpu_flush: AtomicBool::new(false),
            built: Instant::now(),
            largest_leaf: self.largest_leaf,
            root: AtomicU64::new(NO_ROOT),
            require_mapped: AtomicBool::new(false),
            leaves: Mutex::default(),
            publishes: AtomicU64::new(0),
            page_flushes: AtomicU64::new(0),
            full_flushes: AtomicU64::new(0),
        }
    }
}

impl<const SHIFT: u32> Machine<SHIFT> {
    /// A machine without RAM, to be given some.
    #[must_use]
    pub fn builder() -> Builder<SHIFT> {
        Builder { ram: Vec::new(), cpus: 1, largest_leaf: Level::new(1) }
    }

    /// The handle that `mm` takes.
    #[must_use]
    pub fn handle(&self) -> Emulated<'_, SHIFT> {
        Emulated { machine: self }
    }

    /// The ranges of RAM, ascending, with their domains.
    pub fn ram(&self) -> impl DoubleEndedIterator<Item = (PhysRange, u32)> + '_ {
        self.ram.iter().map(|ram| (ram.range, ram.domain))
    }

    /// Bytes of RAM.
    #[must_use]
    pub fn ram_size(&self) -> u64 {
        self.ram.iter().map(|ram| ram.range.size()).sum()
    }

    /// Makes `root` the active tables of all CPUs, and forgets all translations, as an arch's `activate` does.
    pub fn set_root(&self, root: PhysAddr) {
        self.root.store(root.as_u64(), Ordering::Release);
        self.forget_all();
    }

    /// The active root.
    #[must_use]
    pub fn root(&self) -> Option<PhysAddr> {
        match self.root.load(Ordering::Acquire) {
            NO_ROOT => None,
            root => Some(PhysAddr::new(root)),
        }
    }

    /// From now on physical accesses work only where the active tables' direct map leads to the very address: what
    /// code must live with that runs before the direct map is whole.
    pub fn require_mapped(&self) {
        self.require_mapped.store(true, Ordering::Release);
    }

    /// Ends what [`Machine::require_mapped`] began.
    pub fn require_ram_only(&self) {
        self.require_mapped.store(false, Ordering::Release);
    }

    pub(crate) fn requires_mapped(&self) -> bool {
        self.require_mapped.load(Ordering::Acquire)
    }

    /// How often new entries were published.
    #[must_use]
    pub fn publishes(&self) -> u64 {
        self.publishes.load(Ordering::Relaxed)
    }

    /// How often one page was flushed.
    #[must_use]
    pub fn page_flushes(&self) -> u64 {
        self.page_flushes.load(Ordering::Relaxed)
    }

    /// How often everything was flushed.
    #[must_use]
    pub fn full_flushes(&self) -> u64 {
        self.full_flushes.load(Ordering::Relaxed)
    }

    /// Fills `range` with `byte`: memory that was used before holds anything but zeroes.
    ///
    /// # Panics
    /// When a part of the range is not RAM.
    pub fn poison(&self, range: PhysRange, byte: u8) {
        let first = self.ram_ptr(range.start()).filter(|_| self.is_ram(range));
        let first = first.unwrap_or_else(|| panic!("{range} is not RAM"));
        // SAFETY: the range lies inside one allocation, which is reached through raw pointers only.
        unsafe { first.write_bytes(byte, range.size() as usize) };
    }

    /// Whether all of `range` lies in one range of RAM.
    pub(crate) fn is_ram(&self, range: PhysRange) -> bool {
        self.ram_at(range.start()).is_some_and(|ram| ram.range.contains_range(range))
    }

    /// The host's pointer to a byte of RAM, whatever is mapped.
    pub(crate) fn ram_ptr(&self, address: PhysAddr) -> Option<*mut u8> {
        let ram = self.ram_at(address)?;
        let offset = address.as_u64() - ram.range.start().as_u64();
        // SAFETY: the range contains the address, so the offset lies inside the allocation.
        Some(unsafe { ram.first.add(offset as usize) })
    }

    /// The physical address behind a host's pointer.
    pub(crate) fn ram_phys(&self, pointer: *const u8) -> Option<PhysAddr> {
        self.ram.iter().find_map(|ram| {
            let offset = (pointer.addr() as u64).checked_sub(ram.first.addr() as u64)?;
            if offset < ram.range.size() { ram.range.start().checked_add(offset) } else { None }
        })
    }

    fn ram_at(&self, address: PhysAddr) -> Option<&Ram> {
        let after = self.ram.partition_point(|ram| ram.range.start() <= address);
        self.ram.get(after.checked_sub(1)?).filter(|ram| ram.range.contains(address))
    }
}
