//! A PC's memory map: what the BIOS, or EFI firmware in its place, says, and everything that changes it on the way.
//!
//! The raw entries ([`E820`], or [`EfiMap`] and [`LimineMap`] by what their types mean there) may come in any order,
//! twice, and overlapping. Where they overlap, the one with the greatest type number holds, and neighbours of one type become one;
//! so what goes to the sink ascends and does not overlap, and each bank names the entry or the change that made its
//! first byte what it is. Each odd entry is named once in a warning.
//!
//! Then come changes, in this order ([`Stage`]): `mem=` and `memmap=`; what the boot loader keeps for the kernel
//! (`setup_data`); those that a caller hands over; the PC's own rules (page 0 is the BIOS's, nothing from 640 KiB to 1
//! MiB is RAM); memory that the MTRRs leave uncached. Linux keeps three tables: what the firmware said, that with
//! `setup_data` for the next kernel, and the one that it works with. They are stages here.
//!
//! Nothing is stored. Entries and changes are two streams that are read again for every turn of the sweep, so neither
//! has a cap, and n of them cost O(n²/32) reads. Linux: `e820__memory_setup`, `e820__reserve_setup_data`,
//! `e820__finish_early_params`, `e820_end_pfn` in `arch/x86/kernel/e820.c`; `trim_bios_range` in `setup.c`;
//! `mtrr_trim_uncached_memory` in `kernel/cpu/mtrr/cleanup.c`.

mod bios;
mod edit;
mod faults;
mod kind;
mod raw;
mod setup_data;
mod steps;
mod sweep;
mod text;
mod user;

pub use edit::{Edit, Op};
pub use kind::Kind;
pub use raw::E820;

use super::efi::EfiMap;
use super::limine::{Holding, LimineMap};
use super::mtrr::Mtrr;
use crate::cmdline::Cmdline;
use crate::read::PhysRead;
use mm::addr::{PhysAddr, PhysRange};
use mm::machine::{MachineSink, RegionFlags};
use steps::Steps;
use sweep::Join;

/// An entry that can be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    /// Its number in its table.
    pub(super) index: u32,
    /// Its bytes, at least one.
    pub(super) range: PhysRange,
    /// Its type.
    pub(super) kind: Kind,
    /// What is special about it.
    pub(super) flags: RegionFlags,
}

/// The table that the firmware left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FirmwareMap {
    /// The BIOS's.
    E820(E820),
    /// EFI's.
    Efi(EfiMap),
    /// The one that a loader of the Limine protocol made of either.
    Limine(LimineMap),
}

/// How far the map has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
    /// What the firmware says, made consistent. The first of Linux's three tables.
    Firmware,
    /// That with what the boot loader keeps for the kernel: what a next kernel is given. The second.
    Kexec,
    /// What the firmware says, as the command line has it, with what the boot loader keeps. The working table begins.
    Extended,
    /// The same, made consistent.
    User,
    /// And with the rules of a PC.
    Pc,
    /// All of it: the third of Linux's tables, from which memory is made.
    Working,
}

/// A PC's memory map and what shapes it.
#[derive(Clone, Copy, Debug)]
pub struct PcMap<'a> {
    /// What the firmware says.
    pub firmware: FirmwareMap,
    /// The command line, for `mem=` and `memmap=`.
    pub cmdline: Option<&'a Cmdline>,
    /// The first of the boot loader's `setup_data`.
    pub setup_data: Option<PhysAddr>,
    /// More changes, after those of the command line.
    pub edits: &'a [Edit],
    /// What the CPU's range registers say.
    pub mtrr: Option<&'a Mtrr>,
}

impl FirmwareMap {
    /// Hands to `sink` what the firmware says, made consistent, for machines that are no PC: the banks, what the
    /// firmware and the boot loader hold of them, and a warning for each odd entry.
    pub fn describe(&self, read: &mut dyn PhysRead, sink: &mut dyn MachineSink) {
        self.tell(read, sink);
        let map = PcMap::from(*self);
        let steps = Steps::until(&map, Stage::Firmware, read);
        sweep::spans(&steps, read, Join::OneSource, &mut |span| sink.bank(span.bank()));
    }

    /// Hands to `sink` all that is no bank.
    fn tell(&self, read: &mut dyn PhysRead, sink: &mut dyn MachineSink) {
        match self {
            Self::E820(map) => map.tell(read, sink),
            Self::Efi(map) => map.describe_pc(read, sink),
            Self::Limine(map) => map.describe(Holding::All, read, sink),
        }
    }
}

impl From<E820> for PcMap<'_> {
    fn from(map: E820) -> Self {
        FirmwareMap::E820(map).into()
    }
}

impl From<FirmwareMap> for PcMap<'_> {
    fn from(firmware: FirmwareMap) -> Self {
        Self { firmware, cmdline: None, setup_data: None, edits: &[], mtrr: None }
    }
}

impl PcMap<'_> {
    /// Hands everything to `sink`: the banks of the working map, what the firmware and the boot loader hold of them,
    /// and a warning for each odd entry or item.
    pub fn describe(&self, read: &mut dyn PhysRead, sink: &mut dyn MachineSink) {
        self.firmware.tell(read, sink);
        if let Some(cmdline) = self.cmdline {
            user::edits(cmdline, &mut |edit| {
                if let Err(warning) = edit {
                    sink.warning(warning);
                }
            });
        }
        setup_data::reserve(self.setup_data, read, sink);
        let steps = Steps::until(self, Stage::Working, read);
        sweep::spans(&steps, read, Join::OneSource, &mut |span| sink.bank(span.bank()));
        bios::reserve(read, sink);
    }
}

#[cfg(test)]
mod tests;
