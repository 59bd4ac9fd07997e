//! Memory in slots, which no memory map names: where it is, read from the registers that QEMU documents.
//!
//! A virtual machine may be started with memory devices in slots (`-device pc-dimm`). They are no part of the
//! firmware's map, since they can be pulled: an operating system finds them through ACPI once it runs. ACPI says where
//! the registers are ([`crate::firmware::acpi::memory_slots`]); they answer for the slot whose number was written to
//! the first one. Nothing else is written, so what is pending there stays so. QEMU: `docs/specs/acpi_mem_hotplug.rst`.
//! Linux has the same from the DSDT's methods: `acpi_memory_get_device_resources` in drivers/acpi/acpi_memhotplug.c.
//!
//! What a register says is believed no more than a table's entry: a device that cannot be is dropped with a warning
//! here, one that does not fit the rest of memory where it would be added. O(slots).

use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{Problem, Source, Table, Warning};

/// More slots than this nobody has: it is what QEMU allows.
pub const MAX_SLOTS: u32 = 256;

/// Selects a slot when written.
const SELECTOR: u16 = 0x0;
const START: [u16; 2] = [0x0, 0x4];
const SIZE: [u16; 2] = [0x8, 0xc];
const DOMAIN: u16 = 0x10;
const STATUS: u16 = 0x14;

/// The slot holds a device, and it may be used.
const ENABLED: u32 = 1;

/// I/O ports, which the arch crate supplies where there are any.
pub trait Ports {
    /// Reads four bytes from `port`.
    fn read(&mut self, port: u16) -> u32;

    /// Writes four bytes to `port`.
    fn write(&mut self, port: u16, value: u32);
}

/// Where the registers of all slots are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemorySlots {
    /// The first port of [`MemorySlots::LENGTH`].
    pub base: u16,
    /// How many slots there are.
    pub count: u32,
}

/// Memory in a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryDevice {
    /// The number of the slot.
    pub slot: u32,
    /// Where it is.
    pub range: PhysRange,
    /// The firmware's number of its node.
    pub domain: u32,
}

impl MemoryDevice {
    /// Who says so.
    #[must_use]
    pub const fn source(&self) -> Source {
        Source::entry(Table::MemorySlot, self.slot)
    }
}

impl MemorySlots {
    /// Ports that the registers take.
    pub const LENGTH: u16 = 24;

    /// The memory in slot `slot`, if there is some.
    ///
    /// # Errors
    /// What the registers say cannot be.
    pub fn device(&self, slot: u32, ports: &mut dyn Ports) -> Result<Option<MemoryDevice>, Warning> {
        let port = |offset: u16| self.base.saturating_add(offset);
        let problem = |problem| Warning { source: Source::entry(Table::MemorySlot, slot), problem };
        ports.write(port(SELECTOR), slot);
        let mut pair =
            |[low, high]: [u16; 2]| u64::from(ports.read(port(low))) | u64::from(ports.read(port(high))) << u32::BITS;
        let (start, size) = (pair(START), pair(SIZE));
        let (domain, status) = (ports.read(port(DOMAIN)), ports.read(port(STATUS)));
        if (start, size, domain, status) == (u64::MAX, u64::MAX, u32::MAX, u32::MAX) {
            return Err(problem(Problem::EntryIgnored("nothing answers at the registers")));
        }
        if status & ENABLED == 0 {
            return Ok(None);
        }
        if size == 0 {
            return Err(problem(Problem::Empty { start }));
        }
        // The address after the last one must be a number too.
        match start.checked_add(size) {
            Some(end) => {
                let range = PhysRange::new(PhysAddr::new(start), PhysAddr::new(end));
                Ok(Some(MemoryDevice { slot, range, domain }))
            }
            None => Err(problem(Problem::Wraps { start, size })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The registers as QEMU's documentation has them: `(start, size, domain, status)` of each slot.
    struct Model {
        base: u16,
        slots: Vec<(u64, u64, u32, u8)>,
        selected: usize,
    }

    impl Model {
        fn new(slots: &[(u64, u64, u32, u8)]) -> Self {
            Self { base: 0xa00, slots: slots.to_vec(), selected: 0 }
        }

        fn slots(&self) -> MemorySlots {
            MemorySlots { base: self.base, count: self.slots.len() as u32 }
        }
    }

    impl Ports for Model {
        fn read(&mut self, port: u16) -> u32 {
            let (start, size, domain, status) = self.slots[self.selected];
            match port - self.base {
                0x0 => start as u32,
                0x4 => (start >> 32) as u32,
                0x8 => size as u32,
                0xc => (size >> 32) as u32,
                0x10 => domain,
                0x14 => status.into(),
                other => panic!("{other:#x} is no register"),
            }
        }

        fn write(&mut self, port: u16, value: u32) {
            assert_eq!(port, self.base, "only the selector is written");
            // Beyond the last slot nothing happens.
            if (value as usize) < self.slots.len() {
                self.selected = value as usize;
            }
        }
    }

    /// No device at the ports.
    struct Nothing;

    impl Ports for Nothing {
        fn read(&mut self, _: u16) -> u32 {
            u32::MAX
        }

        fn write(&mut self, _: u16, _: u32) {}
    }

    const GIB: u64 = 1 << 30;

    fn found(slots: &[(u64, u64, u32, u8)], slot: u32) -> Result<Option<(u64, u64, u32)>, Problem> {
        let mut model = Model::new(slots);
        let device = model.slots().device(slot, &mut model).map_err(|warning| {
            assert_eq!(warning.source, Source::entry(Table::MemorySlot, slot));
            warning.problem
        })?;
        Ok(device.map(|device| {
            assert_eq!((device.slot, device.source()), (slot, Source::entry(Table::MemorySlot, slot)));
            (device.range.start().as_u64(), device.range.end().as_u64(), device.domain)
        }))
    }

    #[test]
    fn each_slot_answers_for_itself() {
        // The third has been asked to eject, and a device was just put into the fourth.
        let slots = [(4 * GIB, GIB, 0, 1), (0, 0, 0, 0), (1 << 40, 3 << 32, 7, 5), (9 * GIB, 1, 1, 3)];
        assert_eq!(found(&slots, 0), Ok(Some((4 * GIB, 5 * GIB, 0))));
        assert_eq!(found(&slots, 1), Ok(None));
        assert_eq!(found(&slots, 2), Ok(Some((1 << 40, (1 << 40) + (3 << 32), 7))));
        assert_eq!(found(&slots, 3), Ok(Some((9 * GIB, 9 * GIB + 1, 1))));
    }

    #[test]
    fn what_cannot_be_is_named_and_dropped() {
        assert_eq!(found(&[(GIB, 0, 0, 1)], 0), Err(Problem::Empty { start: GIB }));
        let (start, size) = (u64::MAX - GIB + 1, GIB);
        assert_eq!(found(&[(start, size, 0, 1)], 0), Err(Problem::Wraps { start, size }));
        assert_eq!(found(&[(start, size, 0, 0)], 0), Ok(None), "an empty slot may say anything");
        let slots = MemorySlots { base: 0xfff0, count: 1 };
        let warning = slots.device(0, &mut Nothing).unwrap_err();
        assert_eq!(warning.to_string(), "memory slot entry 0: nothing answers at the registers; entry dropped");
    }
}
