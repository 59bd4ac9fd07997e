//! GICv2 (and v1): a distributor that all CPUs share, and a CPU interface that each has its own of at one address.
//!
//! Two interrupts are used, and both are banked, so that each CPU sees its own: the signal (SGI 0) and the timer (a
//! PPI). Those of devices (SPIs) are turned off. Groups: where the GIC has the security extensions, this kernel is on
//! the non-secure side, cannot see group 0, and finds what it may use in group 1; where it has none, all are in group
//! 0. The control bits for "the group that I use" are the same on both sides, and group registers that are cleared mean
//! the one or are ignored. At most eight CPUs, each known by its bit, which it learns from its own copy of
//! `GICD_ITARGETSR0`. Linux: `drivers/irqchip/irq-gic.c`; Arm IHI 0048.

use super::block::Block;
use super::error::IrqError;
use super::{ALL, LOCAL_PRIORITIES, LOCAL_WORDS, SIGNAL};

/// The distributor's registers.
pub(super) mod gicd {
    pub(crate) const CTLR: u64 = 0x000;
    pub(crate) const TYPER: u64 = 0x004;
    pub(crate) const IGROUPR: u64 = 0x080;
    pub(crate) const ISENABLER: u64 = 0x100;
    pub(crate) const ICENABLER: u64 = 0x180;
    pub(crate) const ICACTIVER: u64 = 0x380;
    pub(crate) const IPRIORITYR: u64 = 0x400;
    pub(crate) const ITARGETSR: u64 = 0x800;
    /// Of the interrupts 16 to 31: two bits each.
    pub(crate) const ICFGR1: u64 = 0xc04;
    pub(crate) const SGIR: u64 = 0xf00;
}

/// The CPU interface's registers.
pub(super) mod gicc {
    pub(crate) const CTLR: u64 = 0x00;
    pub(crate) const PMR: u64 = 0x04;
    pub(crate) const BPR: u64 = 0x08;
    pub(crate) const IAR: u64 = 0x0c;
    pub(crate) const EOIR: u64 = 0x10;
    pub(crate) const APR: u64 = 0xd0;
}

const ENABLE: u32 = 1;
/// What bypasses the interface while it is off: as the firmware left it.
const BYPASS: u32 = 0x1e0;
/// Lets every priority through that can be told apart.
const LOWEST_PRIORITY: u32 = 0xf0;
/// The number in what `GICC_IAR` gives; above it the CPU that sent a signal.
const NUMBER: u32 = 0x3ff;

/// A GICv2.
#[derive(Debug)]
pub(super) struct Gic2<B> {
    pub(super) distributor: B,
    pub(super) cpu_interface: B,
}

impl<B: Block> Gic2<B> {
    /// Turns the distributor on, and every interrupt of a device off. Once, on one CPU.
    pub(super) fn init(&self) -> Result<(), IrqError> {
        let kind = self.distributor.probe(gicd::TYPER).filter(|&kind| kind != ALL).ok_or(IrqError::NoAnswer)?;
        self.cpu_interface.probe(gicc::PMR).ok_or(IrqError::NoAnswer)?;
        self.distributor.write(gicd::CTLR, 0);
        let words = u64::from(kind & 0x1f) + 1;
        for word in 1..words {
            self.distributor.write(gicd::IGROUPR + 4 * word, 0);
            self.distributor.write(gicd::ICENABLER + 4 * word, ALL);
            self.distributor.write(gicd::ICACTIVER + 4 * word, ALL);
        }
        self.distributor.write(gicd::CTLR, ENABLE);
        Ok(())
    }

    /// Lets the signal and the interrupt `timer` through to this CPU. Returns what to write to be heard by it
    /// ([`Gic2::send`]).
    pub(super) fn init_cpu(&self, timer: u32) -> u32 {
        let own = self.own_bit();
        self.distributor.write(gicd::IGROUPR, 0);
        self.distributor.write(gicd::ICENABLER, ALL);
        self.distributor.write(gicd::ICACTIVER, ALL);
        for word in 0..LOCAL_WORDS {
            self.distributor.write(gicd::IPRIORITYR + 4 * word, LOCAL_PRIORITIES);
        }
        // The timer's line stays up until the timer is silent.
        let edges = self.distributor.read(gicd::ICFGR1);
        self.distributor.write(gicd::ICFGR1, edges & !(0b11 << (2 * (timer & 0xf))));
        self.distributor.write(gicd::ISENABLER, 1 << SIGNAL | 1 << timer);

        self.cpu_interface.write(gicc::PMR, LOWEST_PRIORITY);
        self.cpu_interface.write(gicc::BPR, 0);
        // Whatever the firmware left active would hold back all of the same priority.
        for word in 0..4 {
            self.cpu_interface.write(gicc::APR + 4 * word, 0);
        }
        let bypass = self.cpu_interface.read(gicc::CTLR) & BYPASS;
        self.cpu_interface.write(gicc::CTLR, bypass | ENABLE);
        own << 16 | SIGNAL
    }

    /// The bit by which the distributor knows this CPU: what its own interrupts' targets read as, a byte for each. A
    /// GIC for one CPU has no targets.
    fn own_bit(&self) -> u32 {
        let targets = (0..LOCAL_WORDS).map(|word| self.distributor.read(gicd::ITARGETSR + 4 * word));
        let bytes = targets.fold(0, |all, word| all | word).to_le_bytes();
        let own = bytes.iter().fold(0, |all, byte| all | byte);
        if own == 0 { 1 } else { own.into() }
    }

    /// Signals the CPU that `target` belongs to.
    pub(super) fn send(&self, target: u32) {
        self.distributor.write(gicd::SGIR, target);
    }

    /// Takes the interrupt that waits: what [`Gic2::end`] wants, and its number. 1020 and above mean none.
    pub(super) fn acknowledge(&self) -> (u32, u32) {
        let taken = self.cpu_interface.read(gicc::IAR);
        (taken, taken & NUMBER)
    }

    /// The interrupt has been dealt with.
    pub(super) fn end(&self, taken: u32) {
        self.cpu_interface.write(gicc::EOIR, taken);
    }

    /// Turns an interrupt off.
    pub(super) fn mask(&self, number: u32) {
        self.distributor.write(gicd::ICENABLER + 4 * u64::from(number / 32), 1 << (number % 32));
    }
}
