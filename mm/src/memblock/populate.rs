//! Pouring the firmware's description into memblock.
//!
//! Usable banks are added, then every bank of another kind is taken away again: where two statements meet, the
//! stricter one holds, whatever their order. What is left is cut inward to pages, reservations are booked and `no-map`
//! ones marked; those that are needed only while tables are read are given back at hand-over. The kernel's own image is
//! RAM whatever the firmware says, and stays mapped: it is in use. What the kernel cannot address goes last. While this
//! goes on, a growing array stays out of what a later statement will withhold, and out of pages that are not whole. Linux:
//! `e820__memblock_setup`, `e820_add_kernel_range`, `early_init_dt_scan_memory`, `early_init_fdt_scan_reserved_mem`,
//! `arm64_memblock_init`.

#![forbid(unsafe_code)]

use super::region::TEMPORARY;
use super::{Conflict, Memblock, MemblockError, RegionFlags};
use crate::addr::PhysRange;
use crate::arch::{PageFormat, PhysMap};
use crate::machine::{MachineMemory, MemoryKind, Problem, Purpose, Reservation, Source, Table, Warning};

impl<A: PhysMap + PageFormat> Memblock<A> {
    /// Takes over what the firmware says.
    ///
    /// # Errors
    /// [`MemblockError::Full`] when there are more regions than the arrays can hold.
    pub fn populate(
        &mut self,
        machine: &MachineMemory<'_>,
        warn: &mut dyn FnMut(Warning),
    ) -> Result<(), MemblockError> {
        let withheld = |place: PhysRange| withheld(machine, place, A::PAGE_SIZE);
        for bank in machine.banks.iter().filter(|bank| bank.kind == MemoryKind::Usable) {
            if let Some(region) = self.memory().overlapping(bank.range).first() {
                let problem = Problem::Overlaps(region.range().intersection(bank.range));
                warn(Warning { source: bank.source, problem });
            }
            self.add_avoiding(bank.range, &withheld)?;
        }
        for bank in machine.banks.iter().filter(|bank| bank.kind != MemoryKind::Usable) {
            // The architecture and the command line take memory away on purpose.
            let on_purpose = matches!(bank.source.table, Table::Architecture | Table::CommandLine);
            if let Some(region) = self.memory().overlapping(bank.range).first().filter(|_| !on_purpose) {
                let problem = Problem::Overlaps(region.range().intersection(bank.range));
                warn(Warning { source: bank.source, problem });
            }
            self.remove_avoiding(bank.range, &withheld)?;
        }
        self.keep_image(machine, &withheld, warn)?;
        for reservation in machine.reservations.iter() {
            if self.is_misplaced(machine, &reservation) {
                warn(Warning { source: reservation.source, problem: Problem::NotRam(reservation.range) });
            }
        }
        self.trim(A::PAGE_SIZE);
        for reservation in machine.reservations.iter() {
            let flags = if reservation.purpose == Purpose::Temporary { TEMPORARY } else { 0 };
            self.reserve_traits(reservation.range, reservation.owner, flags, &withheld)?;
            if reservation.purpose == Purpose::NoMap {
                let pages = reservation.range.expand_to(A::PAGE_SIZE);
                if let Some(image) = kernel_ranges(machine).find(|image| image.overlaps(pages)) {
                    let problem = Problem::ImageMapped(image.intersection(pages));
                    warn(Warning { source: reservation.source, problem });
                }
                // Whole pages are mapped or not, so every page that the range touches stays out.
                self.mark_avoiding(pages, RegionFlags::NOMAP, &withheld)?;
            }
        }
        for bank in machine.banks.iter().filter(|bank| !bank.flags.is_empty()) {
            // Of a page that two banks share nothing special is known.
            self.mark(bank.range.shrink_to(A::PAGE_SIZE), bank.flags)?;
        }
        for image in kernel_ranges(machine) {
            self.clear(image.expand_to(A::PAGE_SIZE), RegionFlags::NOMAP)?;
        }
        Ok(())
    }

    /// Takes away the memory outside of `reach`: what no pointer of this kernel, or no table entry of this CPU, can
    /// lead to, whatever the firmware says is there.
    ///
    /// # Errors
    /// [`MemblockError::Full`] when there are more regions than the arrays can hold.
    pub fn limit(
        &mut self,
        reach: PhysRange,
        machine: &MachineMemory<'_>,
        warn: &mut dyn FnMut(Warning),
    ) -> Result<(), MemblockError> {
        let below = PhysRange::new(PhysRange::ALL.start(), reach.start());
        let above = PhysRange::new(reach.end(), PhysRange::ALL.end());
        for outside in [below, above] {
            for bank in machine.banks.iter().filter(|bank| bank.kind == MemoryKind::Usable) {
                let lost = bank.range.intersection(outside);
                if !self.memory().overlapping(lost).is_empty() {
                    warn(Warning { source: bank.source, problem: Problem::OutOfReach(lost) });
                }
            }
            self.remove(outside)?;
        }
        Ok(())
    }

    /// Makes RAM of what the kernel holds and no bank names, with one warning for ranges that touch.
    fn keep_image(
        &mut self,
        machine: &MachineMemory<'_>,
        conflict: Conflict<'_>,
        warn: &mut dyn FnMut(Warning),
    ) -> Result<(), MemblockError> {
        let mut missing = PhysRange::EMPTY;
        // The empty one at the end lets go of the last.
        for range in kernel_ranges(machine).chain([PhysRange::EMPTY]) {
            let is_missing = self.memory_inside(range) != range.size();
            if is_missing && missing.end() == range.start() {
                missing = PhysRange::new(missing.start(), range.end());
                continue;
            }
            if !missing.is_empty() {
                let problem = Problem::ImageNotRam(missing);
                warn(Warning { source: denier(machine, missing), problem });
                self.add_avoiding(missing, conflict)?;
            }
            missing = if is_missing { range } else { PhysRange::EMPTY };
        }
        Ok(())
    }

    /// Bytes of memory in `range`.
    fn memory_inside(&self, range: PhysRange) -> u64 {
        let found = self.memory().overlapping(range);
        found.iter().map(|region| region.range().intersection(range).size()).sum()
    }

    /// Whether a reservation does not lie where its kind must. Tables of ACPI and ranges that the architecture keeps
    /// lie outside the usable banks on every healthy machine, `no-map` ranges on many, and a boot loader may leave its
    /// notes in memory that the firmware keeps.
    fn is_misplaced(&self, machine: &MachineMemory<'_>, reservation: &Reservation) -> bool {
        let range = reservation.range;
        let found = self.memory().overlapping(range);
        match reservation.source.table {
            Table::StartInfo | Table::CommandLine => !machine.banks.iter().any(|bank| bank.range.overlaps(range)),
            Table::DeviceTree => self.memory_inside(range) != range.size(),
            Table::ReserveMap | Table::ReservedMemory => {
                reservation.purpose != Purpose::NoMap && found.is_empty() && !range.is_empty()
            }
            _ => false,
        }
    }
}

impl<A: PhysMap> Memblock<A> {
    /// Gives back what was reserved only for as long as the firmware's tables are read ([`Purpose::Temporary`]).
    /// Whoever takes memory over calls it first. Linux: `efi_free_boot_services`.
    pub fn release_temporary(&mut self) {
        // A whole entry goes, so no room is needed.
        while let Some(range) = self.temporary(PhysRange::ALL) {
            self.reserved.uncover(range);
        }
    }

    /// Whether something in `range` is reserved only for a while.
    pub(super) fn has_temporary(&self, range: PhysRange) -> bool {
        self.temporary(range).is_some()
    }

    /// The first entry in `range` that is reserved only for a while.
    fn temporary(&self, range: PhysRange) -> Option<PhysRange> {
        self.temporaries(range).next()
    }

    /// The parts of `range` that are reserved only for a while, ascending.
    pub(super) fn temporary_parts(&self, range: PhysRange) -> impl Iterator<Item = PhysRange> {
        self.temporaries(range).map(move |entry| entry.intersection(range))
    }

    /// The entries in `range` that are reserved only for a while, ascending.
    fn temporaries(&self, range: PhysRange) -> impl Iterator<Item = PhysRange> {
        let entries = self.reserved.items().get(self.reserved.position(range.start())..).unwrap_or_default();
        let inside = entries.iter().take_while(move |entry| entry.range().overlaps(range));
        inside.filter(|entry| entry.traits.flags & TEMPORARY != 0).map(|entry| entry.range())
    }
}

/// What the kernel itself holds.
fn kernel_ranges(machine: &MachineMemory<'_>) -> impl Iterator<Item = PhysRange> {
    machine.reservations.iter().filter(|held| held.source.table == Table::Kernel).map(|held| held.range)
}

/// Who says that `range` is no RAM: the bank that says so, or the table that does not mention it.
fn denier(machine: &MachineMemory<'_>, range: PhysRange) -> Source {
    let mut banks = machine.banks.iter();
    let denying = banks.find(|bank| bank.kind != MemoryKind::Usable && bank.range.overlaps(range));
    let usable = || machine.banks.iter().find(|bank| bank.kind == MemoryKind::Usable);
    let table = || usable().map_or(Table::Kernel, |bank| bank.source.table);
    denying.map_or_else(|| Source::whole(table()), |bank| bank.source)
}

/// What `place` may not meet, lest it lies where a later statement says that there is nothing to be had: a range that a
/// bank of another kind takes away, one that is reserved, all pages of one that is not mapped, and the pages at the ends
/// of usable banks that are not whole.
fn withheld(machine: &MachineMemory<'_>, place: PhysRange, page_size: u64) -> Option<PhysRange> {
    let pages = |range: PhysRange| range.expand_to(page_size);
    let banks = machine.banks.iter().flat_map(|bank| match bank.kind {
        MemoryKind::Usable => {
            let (all, whole) = (pages(bank.range), bank.range.shrink_to(page_size));
            [PhysRange::new(all.start(), whole.start()), PhysRange::new(whole.end(), all.end())]
        }
        _ => [pages(bank.range), PhysRange::EMPTY],
    });
    let reservations = machine.reservations.iter().map(|reservation| match reservation.purpose {
        Purpose::NoMap => pages(reservation.range),
        _ => reservation.range,
    });
    banks.chain(reservations).find(|range| range.overlaps(place))
}
