//! How a CPU comes up: *expected*, then *here* or *given up*.
//!
//! The boot CPU says that it expects a CPU, kicks it, and waits. The CPU, when it runs, says that it is here. Both write
//! one word by compare-exchange from `Starting`, so exactly one of them has its way: a CPU that is given up hears
//! so when it arrives late, and must park for good, since nobody will wait for it or count on it.
//!
//! A CPU that arrives may have looked at page tables already that were changed while nobody waited for it. So it
//! becomes online first, and then forgets everything: who changes tables afterwards finds it online and waits for it,
//! who changed them before is covered by that flush (`shootdown` has the order that this rests on).
//!
//! All that the CPU wrote before it arrived is seen by whoever finds it online: its per-CPU area, its stack, its node.
//!
//! Costs: one atomic read-modify-write on each side. Linux: `kernel/cpu.c` (`bringup_wait_for_ap`,
//! `cpuhp_online_idle`), `arch/x86/kernel/smpboot.c` (`wait_for_master_cpu`).

use super::{Cpus, Deadline, NoAnswer, Signal};
use crate::addr::CpuId;
use crate::arch::{Cpu, Pinned};
use crate::sync::atomic::{AcqRel, Acquire, AtomicU32, Release, constant};
use core::fmt;
use core::time::Duration;

/// Where a CPU is on its way up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CpuState {
    /// Nobody has started it.
    Offline,
    /// It was started and is expected.
    Starting,
    /// It runs this kernel and answers.
    Online,
    /// It was given up, or has left. That is final.
    Failed,
}

/// This CPU was given up before it arrived: it must touch nothing and park for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooLate;

impl fmt::Display for TooLate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the CPU was given up before it arrived")
    }
}

impl core::error::Error for TooLate {}

const OFFLINE: u32 = 0;
const STARTING: u32 = 1;
const ONLINE: u32 = 2;
const FAILED: u32 = 3;

/// The word that decides.
pub(super) struct Presence(AtomicU32);

impl Presence {
    constant! {
        pub(super) const fn new(id: CpuId) -> Self {
            Self(AtomicU32::new(if id.as_u32() == CpuId::BOOT.as_u32() { ONLINE } else { OFFLINE }))
        }
    }

    pub(super) fn state(&self) -> CpuState {
        // Acquire: who finds the CPU online sees what it prepared, who finds it failed sees all that it did.
        match self.0.load(Acquire) {
            OFFLINE => CpuState::Offline,
            STARTING => CpuState::Starting,
            ONLINE => CpuState::Online,
            _ => CpuState::Failed,
        }
    }

    /// From one state to another, unless it is in a third.
    fn change(&self, from: u32, to: u32) -> bool {
        self.0.compare_exchange(from, to, AcqRel, Acquire).is_ok()
    }
}

impl Cpus<'_> {
    /// Where CPU `id` is. A CPU without a slot is offline.
    #[must_use]
    pub fn state(self, id: CpuId) -> CpuState {
        self.slot(id).map_or(CpuState::Offline, |slot| slot.presence.state())
    }

    /// For who starts CPU `id`, before: it is expected from now on. Only an offline CPU can be.
    pub fn expect(self, id: CpuId) {
        if let Some(slot) = self.slot(id) {
            slot.presence.change(OFFLINE, STARTING);
        }
    }

    /// For CPU `id` itself, with interrupts off, when all that others may want of it is ready: it is online from now on,
    /// and has forgotten all translations that it read before.
    ///
    /// # Errors
    /// [`TooLate`] when it was given up, or nobody expects it.
    pub fn arrive<S: Signal>(self, id: CpuId, signal: S) -> Result<(), TooLate> {
        let slot = self.slot(id).ok_or(TooLate)?;
        if !slot.presence.change(STARTING, ONLINE) {
            return Err(TooLate);
        }
        self.begin_to_answer(slot, signal);
        Ok(())
    }

    /// For who started CPU `id`: waits until it is online, and gives it up when it is not by then. The state is
    /// [`CpuState::Failed`] from then on, and the CPU hears of it if it arrives after all.
    ///
    /// # Errors
    /// [`NoAnswer`] when it was given up, now or before, or is not expected.
    pub fn await_arrival<C: Cpu, S: Signal>(
        self,
        from: &Pinned<C>,
        id: CpuId,
        signal: S,
        limit: Duration,
    ) -> Result<(), NoAnswer> {
        let slot = self.slot(id).ok_or(NoAnswer { cpu: id })?;
        let deadline = Deadline::after(signal, limit);
        loop {
            match slot.presence.state() {
                CpuState::Online => return Ok(()),
                CpuState::Offline | CpuState::Failed => return Err(NoAnswer { cpu: id }),
                CpuState::Starting if deadline.is_over(signal) => {
                    slot.presence.change(STARTING, FAILED);
                }
                CpuState::Starting => {
                    self.answer_flush(from.cpu(), signal);
                    signal.relax();
                }
            }
        }
    }

    /// For CPU `here` itself, when it stops for good and will reach no memory that anybody may take away: nobody waits
    /// for it any more.
    pub fn leave(self, here: CpuId) {
        if let Some(slot) = self.slot(here) {
            slot.presence.0.store(FAILED, Release);
        }
    }
}
