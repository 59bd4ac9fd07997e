//! Pouring the firmware's description into memblock.
//!
//! Usable banks are added, then every bank of another kind is taken away again: where two statements meet, the
//! stricter one holds, whatever their order. What is left is cut inward to pages, reservations are booked and `no-map`
//! ones marked. What the kernel cannot address goes last. While this goes on, a growing array stays out of every range that a later statement will withhold.
//! Linux: `e820__memblock_setup`, `early_init_dt_scan_memory`, `early_init_fdt_scan_reserved_mem`,
//! `arm64_memblock_init`.

#![forbid(unsafe_code)]

use super::{Memblock, MemblockError, RegionFlags};
use crate::addr::PhysRange;
use crate::arch::{PageFormat, PhysMap};
use crate::machine::{MachineMemory, MapPolicy, MemoryKind, Problem, Reservation, Table, Warning};

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
        let withheld = |place: PhysRange| withheld(machine, place);
        for bank in machine.banks.iter().filter(|bank| bank.kind == MemoryKind::Usable) {
            let conflict = |place: PhysRange| either(place, bank.range, &withheld);
            self.add_avoiding(bank.range, &conflict)?;
        }
        for bank in machine.banks.iter().filter(|bank| bank.kind != MemoryKind::Usable) {
            // The architecture and the command line take memory away on purpose.
            let on_purpose = matches!(bank.source.table, Table::Architecture | Table::CommandLine);
            if let Some(region) = self.memory().overlapping(bank.range).first().filter(|_| !on_purpose) {
                let problem = Problem::Overlaps(region.range().intersection(bank.range));
                warn(Warning { source: bank.source, problem });
            }
            let conflict = |place: PhysRange| either(place, bank.range, &withheld);
            self.remove_avoiding(bank.range, &conflict)?;
        }
        for reservation in machine.reservations.iter() {
            if self.is_misplaced(machine, &reservation) {
                warn(Warning { source: reservation.source, problem: Problem::NotRam(reservation.range) });
            }
        }
        self.trim(A::PAGE_SIZE);
        for reservation in machine.reservations.iter() {
            let conflict = |place: PhysRange| either(place, reservation.range, &withheld);
            self.reserve_traits(reservation.range, reservation.owner, 0, &conflict)?;
            if reservation.map == MapPolicy::NoMap {
                // Whole pages are mapped or not, so every page that the range touches stays out.
                self.mark(reservation.range.expand_to(A::PAGE_SIZE), RegionFlags::NOMAP)?;
            }
        }
        Ok(())
    }

    /// Takes away the memory outside of `reach`: what no pointer of this kernel, or no table entry of this CPU, can lead
    /// to, whatever the firmware says is there.
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
                if !lost.is_empty() && !self.memory().overlapping(lost).is_empty() {
                    warn(Warning { source: bank.source, problem: Problem::OutOfReach(lost) });
                }
            }
            self.remove(outside)?;
        }
        Ok(())
    }

    /// Whether a reservation does not lie where its kind must. Tables of ACPI and ranges that the architecture keeps
    /// lie outside the usable banks on every healthy machine, `no-map` ranges on many, and a boot loader may leave its
    /// notes in memory that the firmware keeps.
    fn is_misplaced(&self, machine: &MachineMemory<'_>, reservation: &Reservation) -> bool {
        let range = reservation.range;
        let found = self.memory().overlapping(range);
        match reservation.source.table {
            Table::StartInfo | Table::CommandLine => !machine.banks.iter().any(|bank| bank.range.overlaps(range)),
            Table::Kernel | Table::DeviceTree => {
                let inside: u64 = found.iter().map(|region| region.range().intersection(range).size()).sum();
                inside != range.size()
            }
            Table::ReserveMap | Table::ReservedMemory => {
                reservation.map == MapPolicy::Map && found.is_empty() && !range.is_empty()
            }
            _ => false,
        }
    }
}

/// What a later statement withholds of `place`.
fn withheld(machine: &MachineMemory<'_>, place: PhysRange) -> Option<PhysRange> {
    let banks = machine.banks.iter().filter(|bank| bank.kind != MemoryKind::Usable).map(|bank| bank.range);
    let reservations = machine.reservations.iter().map(|reservation| reservation.range);
    banks.chain(reservations).find(|range| range.overlaps(place))
}

fn either(
    place: PhysRange,
    changing: PhysRange,
    withheld: &dyn Fn(PhysRange) -> Option<PhysRange>,
) -> Option<PhysRange> {
    if place.overlaps(changing) { Some(changing) } else { withheld(place) }
}
