//! What a run has done.

#![forbid(unsafe_code)]

use super::random::mix;
use crate::mm::Verified;
use core::fmt;
use core::ops::AddAssign;

/// What one CPU of a run has done, or all of them together.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Tally {
    /// Steps.
    pub operations: u64,
    /// Blocks of pages handed out.
    pub pages: u64,
    /// Objects handed out.
    pub objects: u64,
    /// Kernel virtual ranges handed out.
    pub areas: u64,
    /// Pages looked at through a kernel virtual range that was made for that.
    pub mapped: u64,
    /// Blocks, objects and ranges given back.
    pub freed: u64,
    /// Of these, those that another CPU or an interrupt had taken.
    pub freed_for_others: u64,
    /// Requests refused because memory ran out.
    pub refused: u64,
    /// Requests refused on purpose, see [`refuse`](crate::page_alloc::refuse).
    pub refused_on_purpose: u64,
    /// Requests that nobody can grant and frees that cannot be right, all refused by name.
    pub wrong: u64,
    /// Blocks whose contents were looked at.
    pub checked: u64,
    /// How often nearly all memory was taken.
    pub squeezes: u64,
    /// Blocks taken for that.
    pub squeezed: u64,
    /// What was done, in this order: equal for two runs that did the same.
    pub digest: u64,
}

impl Tally {
    /// Adds to the digest.
    pub(super) fn digest(&mut self, value: u64) {
        self.digest = mix(self.digest.rotate_left(1) ^ value);
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.operations += other.operations;
        self.pages += other.pages;
        self.objects += other.objects;
        self.areas += other.areas;
        self.mapped += other.mapped;
        self.freed += other.freed;
        self.freed_for_others += other.freed_for_others;
        self.refused += other.refused;
        self.refused_on_purpose += other.refused_on_purpose;
        self.wrong += other.wrong;
        self.checked += other.checked;
        self.squeezes += other.squeezes;
        self.squeezed += other.squeezed;
        self.digest ^= other.digest;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} operations: {} blocks, {} objects, {} ranges, {} freed ({} for others), {} checked; refused {} for lack, {} on \
             purpose, {} wrong; {} squeezes of {} blocks; digest {:016x}",
            self.operations,
            self.pages,
            self.objects,
            self.areas,
            self.freed,
            self.freed_for_others,
            self.checked,
            self.refused,
            self.refused_on_purpose,
            self.wrong,
            self.squeezes,
            self.squeezed,
            self.digest
        )
    }
}

/// How a run ended in which nothing was lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Summary {
    /// CPUs.
    pub cpus: u32,
    /// What they did together.
    pub tally: Tally,
    /// Interrupts in which memory was asked for or given back.
    pub interrupts: u64,
    /// Frames of memmap made for granules that were untouched before.
    pub described: u64,
    /// Frames that page tables and the records of kernel virtual ranges have taken for good.
    pub kept: u64,
    /// Where everything is now.
    pub verified: Verified,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} CPUs, {}; {} interrupts, {} frames kept for tables",
            self.cpus, self.tally, self.interrupts, self.kept
        )
    }
}
