//! GICv3 (and v4): a distributor, a redistributor for each CPU, and a CPU interface in system registers.
//!
//! Two interrupts are used, and both are the redistributor's, so that each CPU has its own: the signal (SGI 0) and the
//! timer (a PPI). Those of devices (SPIs) are turned off. All are in non-secure group 1; `GICD_CTLR` has the bits for
//! it at different places with and without two security states, and what is set here means the same in both. A CPU
//! finds its redistributor by the affinity that it states, in any of the ranges that the firmware names. Linux:
//! `drivers/irqchip/irq-gic-v3.c`; Arm IHI 0069.

use super::block::Block;
use super::error::IrqError;
use super::{ALL, LOCAL_PRIORITIES, LOCAL_WORDS, SIGNAL};
use arrayvec::ArrayVec;
use platform::firmware::interrupts::MAX_REDISTRIBUTORS;

/// The distributor's registers.
pub(super) mod gicd {
    pub(crate) const CTLR: u64 = 0x0000;
    pub(crate) const TYPER: u64 = 0x0004;
    pub(crate) const IGROUPR: u64 = 0x0080;
    pub(crate) const ICENABLER: u64 = 0x0180;
    pub(crate) const ICACTIVER: u64 = 0x0380;
    pub(crate) const PIDR2: u64 = 0xffe8;
}

/// A redistributor's registers. Those of its interrupts are in the second 64 KiB.
pub(super) mod gicr {
    pub(crate) const CTLR: u64 = 0x0000;
    pub(crate) const TYPER: u64 = 0x0008;
    pub(crate) const TYPER_AFFINITY: u64 = 0x000c;
    pub(crate) const WAKER: u64 = 0x0014;
    pub(crate) const PIDR2: u64 = 0xffe8;
    pub(crate) const IGROUPR0: u64 = 0x1_0080;
    pub(crate) const ISENABLER0: u64 = 0x1_0100;
    pub(crate) const ICENABLER0: u64 = 0x1_0180;
    pub(crate) const ICACTIVER0: u64 = 0x1_0380;
    pub(crate) const IPRIORITYR: u64 = 0x1_0400;
    /// Of the interrupts 16 to 31: two bits each.
    pub(crate) const ICFGR1: u64 = 0x1_0c04;
}

/// Group 1, with affinity routing: `EnableGrp1A`, `ARE_NS` and, where there is one security state, `EnableGrp0`, which
/// no interrupt is in; there the bits are called `EnableGrp1` and `ARE`.
const CTLR_GROUP_1: u32 = 1 << 4 | 1 << 1 | 1;
/// A write is under way, in both kinds of `CTLR`.
const GICD_WRITE_PENDING: u32 = 1 << 31;
const GICR_WRITE_PENDING: u32 = 1 << 3;
const TYPER_VIRTUAL: u32 = 1 << 1;
const TYPER_LAST: u32 = 1 << 4;
const WAKER_SLEEP: u32 = 1 << 1;
const WAKER_ASLEEP: u32 = 1 << 2;
/// Bytes of a redistributor, and of one of version 4.
const FRAMES_3: u64 = 0x2_0000;
const FRAMES_4: u64 = 0x4_0000;
/// How often a bit that has to change is read.
const PATIENCE: u32 = 1_000_000;

/// The CPU interface.
pub(super) trait CpuInterface {
    /// Turns it on; `false` when the CPU keeps it from this kernel.
    fn init(&self) -> bool;
}

/// A GICv3.
#[derive(Debug)]
pub(super) struct Gic3<B, C> {
    pub(super) distributor: B,
    pub(super) ranges: ArrayVec<B, MAX_REDISTRIBUTORS>,
    /// Bytes from one redistributor to the next, where the firmware says.
    pub(super) stride: Option<u64>,
    pub(super) interface: C,
}

/// Where a CPU's redistributor is: at an offset in a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Redistributor<'b, B> {
    pub(super) range: &'b B,
    pub(super) offset: u64,
}

/// Whether a walk believes a redistributor that says that it is the last of its range.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Believed,
    /// Two ranges that lie side by side may have come as one.
    Ignored,
}

impl<B: Block, C: CpuInterface> Gic3<B, C> {
    /// Turns the distributor on, and every interrupt of a device off. Once, on one CPU.
    pub(super) fn init(&self) -> Result<(), IrqError> {
        let revision = revision(self.distributor.probe(gicd::PIDR2).ok_or(IrqError::NoAnswer)?);
        if !matches!(revision, 3 | 4) {
            return Err(IrqError::Version { stated: 3, found: revision });
        }
        self.distributor.write(gicd::CTLR, 0);
        self.wait_for_distributor();
        let words = u64::from(self.distributor.read(gicd::TYPER) & 0x1f) + 1;
        for word in 1..words {
            self.distributor.write(gicd::IGROUPR + 4 * word, ALL);
            self.distributor.write(gicd::ICENABLER + 4 * word, ALL);
            self.distributor.write(gicd::ICACTIVER + 4 * word, ALL);
        }
        self.wait_for_distributor();
        self.distributor.write(gicd::CTLR, CTLR_GROUP_1);
        self.wait_for_distributor();
        Ok(())
    }

    /// Lets the signal and the interrupt `timer` through to this CPU, of MPIDR affinity `id`. Returns what
    /// `ICC_SGI1R_EL1` takes to signal it ([`target`]).
    pub(super) fn init_cpu(&self, id: u64, timer: u32) -> Result<u64, IrqError> {
        let own = self.find(id).ok_or(IrqError::NoRedistributor(id))?;
        own.wake();
        own.write(gicr::IGROUPR0, ALL);
        own.write(gicr::ICENABLER0, ALL);
        own.write(gicr::ICACTIVER0, ALL);
        for word in 0..LOCAL_WORDS {
            own.write(gicr::IPRIORITYR + 4 * word, LOCAL_PRIORITIES);
        }
        // The timer's line stays up until the timer is silent.
        let edges = own.read(gicr::ICFGR1);
        own.write(gicr::ICFGR1, edges & !(0b11 << (2 * (timer & 0xf))));
        own.wait_for(gicr::CTLR, GICR_WRITE_PENDING);
        own.write(gicr::ISENABLER0, 1 << SIGNAL | 1 << timer);
        if self.interface.init() { Ok(target(id)) } else { Err(IrqError::NoSystemRegisters) }
    }

    /// The redistributor of the CPU with MPIDR affinity `id`.
    pub(super) fn find(&self, id: u64) -> Option<Redistributor<'_, B>> {
        let affinity = packed(id);
        [Last::Believed, Last::Ignored]
            .into_iter()
            .find_map(|last| self.ranges.iter().find_map(|range| search(range, self.stride, affinity, last)))
    }

    /// Turns an interrupt off; one of a CPU's own for the CPU with affinity `id`.
    pub(super) fn mask(&self, number: u32, id: u64) {
        let bit = 1 << (number % 32);
        if number >= 32 {
            self.distributor.write(gicd::ICENABLER + 4 * u64::from(number / 32), bit);
            self.wait_for_distributor();
        } else if let Some(own) = self.find(id) {
            own.write(gicr::ICENABLER0, bit);
            own.wait_for(gicr::CTLR, GICR_WRITE_PENDING);
        }
    }

    fn wait_for_distributor(&self) {
        let _ = (0..PATIENCE).find(|_| self.distributor.read(gicd::CTLR) & GICD_WRITE_PENDING == 0);
    }
}

impl<B: Block> Redistributor<'_, B> {
    pub(super) fn read(&self, register: u64) -> u32 {
        self.range.read(self.offset.saturating_add(register))
    }

    fn write(&self, register: u64, value: u32) {
        self.range.write(self.offset.saturating_add(register), value);
    }

    /// Waits until `bits` are clear.
    fn wait_for(&self, register: u64, bits: u32) {
        let _ = (0..PATIENCE).find(|_| self.read(register) & bits == 0);
    }

    /// Lets it pass interrupts to its CPU. Where the firmware keeps that to itself, it has done so.
    fn wake(&self) {
        let waker = self.read(gicr::WAKER);
        self.write(gicr::WAKER, waker & !WAKER_SLEEP);
        self.wait_for(gicr::WAKER, WAKER_ASLEEP);
    }
}

/// The redistributor in `range` that states `affinity`.
fn search<B: Block>(range: &B, stride: Option<u64>, affinity: u32, last: Last) -> Option<Redistributor<'_, B>> {
    let mut offset = 0u64;
    while offset.checked_add(FRAMES_3)? <= range.size() {
        // Nobody may be at home here.
        if !matches!(revision(range.probe(offset + gicr::PIDR2)?), 3 | 4) {
            return None;
        }
        let here = Redistributor { range, offset };
        let kind = here.read(gicr::TYPER);
        if here.read(gicr::TYPER_AFFINITY) == affinity {
            return Some(here);
        }
        if kind & TYPER_LAST != 0 && last == Last::Believed {
            return None;
        }
        let step = if kind & TYPER_VIRTUAL != 0 { FRAMES_4 } else { FRAMES_3 };
        offset = offset.checked_add(stride.unwrap_or(step).max(FRAMES_3))?;
    }
    None
}

/// The architecture's revision in an identification register.
const fn revision(pidr2: u32) -> u32 {
    pidr2 >> 4 & 0xf
}

/// The affinity levels of MPIDR side by side, as `GICR_TYPER` has them: 3, 2, 1, 0.
const fn packed(id: u64) -> u32 {
    let [level_0, level_1, level_2, _, level_3, ..] = id.to_le_bytes();
    u32::from_le_bytes([level_0, level_1, level_2, level_3])
}

/// The value of `ICC_SGI1R_EL1` that signals the CPU with MPIDR affinity `id`: the upper levels name a cluster, and of
/// level 0 the upper four bits a group of sixteen in it, the lower four one of them.
pub(super) const fn target(id: u64) -> u64 {
    let [level_0, level_1, level_2, _, level_3, ..] = id.to_le_bytes();
    let (group, member) = (level_0 >> 4, level_0 & 0xf);
    // The number between levels 2 and 1 is the signal's.
    let cluster = u64::from_le_bytes([0, 0, level_1, SIGNAL as u8, level_2, group << 4, level_3, 0]);
    cluster | 1 << member
}
