//! The controllers of a BCM2836 or BCM2837 (Raspberry Pi 2 and 3): a local one for what belongs to a CPU, and behind it
//! one for devices.
//!
//! Two interrupts are used, and each of the four CPUs has its own: the *signal* (mailbox 0 of four, words in which bits
//! are set by whoever wants something and cleared by the owner) and the timer. A line that is told to stay away from
//! IRQ could still come as FIQ, so that is ruled out with it. What devices want goes to one CPU, by one line that
//! cannot be masked here: it is turned off at the controller behind, where the tree names that. The interrupts of the
//! CPUs' performance monitors, of the bus and of the chip's own timer come from this controller itself and are turned
//! off here: firmware may have left one on, and nobody would ever answer it. The prescaler of the CPUs' counter is
//! here, too, and stays as the firmware set it, since it told the CPUs the frequency. Linux:
//! `drivers/irqchip/irq-bcm2836.c`, `irq-bcm2835.c`; the manual is QA7 (rev 3.4).

use super::block::Block;
use super::error::IrqError;
use super::{ALL, NONE};

/// The local controller's registers. Of those for a CPU, one after another, the first CPU's.
pub(super) mod local {
    pub(crate) const TIMER_CONTROL: u64 = 0x40;
    pub(crate) const MAILBOX_CONTROL: u64 = 0x50;
    pub(crate) const PENDING: u64 = 0x60;
    /// Four words for each CPU, one a mailbox.
    pub(crate) const MAILBOX_SET: u64 = 0x80;
    /// Likewise; they read as what is set.
    pub(crate) const MAILBOX_CLEAR: u64 = 0xc0;
    pub(crate) const LOCAL_CONTROL: u64 = 0x00;
    /// Turns interrupts of the performance monitors off: a bit for each CPU's as IRQ, then as FIQ.
    pub(crate) const MONITORS_CLEAR: u64 = 0x14;
    /// The interrupt for accesses of the first CPUs to the bus that are not answered.
    pub(crate) const BUS_CONTROL: u64 = 0x30;
    /// The timer that all CPUs share, and its interrupt.
    pub(crate) const SHARED_TIMER_CONTROL: u64 = 0x34;
}

/// The registers of the controller of devices that turn interrupts off, 32 each.
pub(super) const DEVICES_DISABLE: [u64; 3] = [0x1c, 0x20, 0x24];

/// CPUs that there are registers for.
pub(super) const CPUS: u64 = 4;
/// Interrupts 0 to 3 are the timers'.
pub(super) const TIMERS: u32 = 4;
/// The virtual timer's, where the firmware does not say.
#[cfg(target_os = "none")]
pub(super) const USUAL_TIMER: u32 = 3;
/// Interrupt 4 is mailbox 0.
pub(super) const SIGNAL: u32 = 4;
/// Mailboxes of a CPU; the interrupts behind theirs are not a CPU's own.
const MAILBOXES: u32 = 4;
/// The bit of the mailbox that the signal sets.
const BELL: u32 = 1;

/// A BCM2836's controllers.
#[derive(Debug)]
pub(super) struct Bcm2836<B> {
    pub(super) local: B,
    pub(super) devices: Option<B>,
}

impl<B: Block> Bcm2836<B> {
    /// Turns every interrupt off that is not a CPU's own. Once, on one CPU.
    pub(super) fn init(&self) -> Result<(), IrqError> {
        self.local.probe(local::LOCAL_CONTROL).filter(|&control| control != ALL).ok_or(IrqError::NoAnswer)?;
        self.silence();
        Ok(())
    }

    fn silence(&self) {
        self.local.write(local::MONITORS_CLEAR, ALL);
        self.local.write(local::BUS_CONTROL, 0);
        self.local.write(local::SHARED_TIMER_CONTROL, 0);
        if let Some(devices) = &self.devices {
            DEVICES_DISABLE.into_iter().for_each(|disable| devices.write(disable, ALL));
        }
    }

    /// Lets the signal and the interrupt `timer` through to this CPU, number `cpu`. Returns what to write to be heard by
    /// it ([`Bcm2836::send`]).
    pub(super) fn init_cpu(&self, cpu: u64, timer: u32) -> Result<u32, IrqError> {
        if cpu >= CPUS {
            return Err(IrqError::NoLocalRegisters(cpu));
        }
        self.local.write(local::TIMER_CONTROL + 4 * cpu, 1 << timer);
        self.local.write(local::MAILBOX_CONTROL + 4 * cpu, 1);
        for mailbox in 0..u64::from(MAILBOXES) {
            self.local.write(local::MAILBOX_CLEAR + 16 * cpu + 4 * mailbox, ALL);
        }
        // Small, and never zero.
        Ok((local::MAILBOX_SET + 16 * cpu) as u32)
    }

    /// Signals the CPU that `target` belongs to.
    pub(super) fn send(&self, target: u32) {
        self.local.write(target.into(), BELL);
    }

    /// The number of the interrupt that waits for this CPU, number `cpu`; [`NONE`] when none does. A signal is taken
    /// with it: who rings from here on rings anew.
    pub(super) fn acknowledge(&self, cpu: u64) -> u32 {
        let waiting = self.local.read(local::PENDING + 4 * cpu);
        if waiting & 1 << SIGNAL != 0 {
            let bell = local::MAILBOX_CLEAR + 16 * cpu;
            self.local.write(bell, ALL);
            // The device has it when it answers.
            let _ = self.local.read(bell);
            return SIGNAL;
        }
        if waiting == 0 { NONE } else { waiting.trailing_zeros() }
    }

    /// Turns an interrupt off: one of CPU `cpu`'s own, or all that are none's.
    pub(super) fn mask(&self, number: u32, cpu: u64) {
        let (control, bit) = match number {
            0..TIMERS => (local::TIMER_CONTROL, 1 << number),
            SIGNAL..8 => (local::MAILBOX_CONTROL, 1 << (number - SIGNAL)),
            _ => return self.silence(),
        };
        let on = self.local.read(control + 4 * cpu);
        self.local.write(control + 4 * cpu, on & !bit);
    }
}
