//! What a CPU that starts has to know, as the entry code reads it.
//!
//! The CPU comes with its MMU off, and so past every cache: a record is written once, cleaned to memory, and then
//! handed over or put into the list. Each CPU has one, in its own per-CPU area, and is started once; so a CPU that
//! comes when nobody waits for it any more still finds what was written for it, and nothing else.

use core::sync::atomic::{AtomicU64, Ordering};

/// The record of one CPU. entry.s spells the offsets out.
#[repr(C, align(64))]
pub(super) struct StartRecord {
    root: AtomicU64,
    tcr: AtomicU64,
    sctlr: AtomicU64,
    stack: AtomicU64,
    percpu: AtomicU64,
    cpu: AtomicU64,
    hardware_id: AtomicU64,
    next: AtomicU64,
}

/// What goes into a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    /// Physical address of the root of the kernel's half.
    pub(super) root: u64,
    /// The boot CPU's TCR_EL1.
    pub(super) tcr: u64,
    /// The boot CPU's SCTLR_EL1.
    pub(super) sctlr: u64,
    /// The top of the CPU's stack.
    pub(super) stack: u64,
    /// The distance from the per-CPU templates to its area.
    pub(super) percpu: u64,
    /// Its number.
    pub(super) cpu: u64,
    /// The affinity bits of its MPIDR.
    pub(super) hardware_id: u64,
}

impl StartRecord {
    pub(super) const fn new() -> Self {
        Self {
            root: AtomicU64::new(0),
            tcr: AtomicU64::new(0),
            sctlr: AtomicU64::new(0),
            stack: AtomicU64::new(0),
            percpu: AtomicU64::new(0),
            cpu: AtomicU64::new(0),
            hardware_id: AtomicU64::new(0),
            next: AtomicU64::new(0),
        }
    }

    /// Fills the record; `next` is the physical address of the one behind it in the list, 0 at its end.
    pub(super) fn fill(&self, start: &Start, next: u64) {
        let Start { root, tcr, sctlr, stack, percpu, cpu, hardware_id } = *start;
        let fields = [
            (&self.root, root),
            (&self.tcr, tcr),
            (&self.sctlr, sctlr),
            (&self.stack, stack),
            (&self.percpu, percpu),
            (&self.cpu, cpu),
            (&self.hardware_id, hardware_id),
            (&self.next, next),
        ];
        for (field, value) in fields {
            field.store(value, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::{offset_of, size_of};
    use std::string::String;

    const ENTRY: &str = include_str!("../entry.s");

    /// The value that entry.s gives the symbol.
    fn in_entry(symbol: &str) -> usize {
        let start = String::from(".set ") + symbol + ", ";
        let line = ENTRY.lines().find_map(|line| line.strip_prefix(start.as_str())).expect("entry.s sets it");
        line.split_whitespace().next().expect("a value").parse().expect("a number")
    }

    #[test]
    fn the_entry_code_reads_what_is_written() {
        // Pairs are loaded by one instruction: the second field lies right behind the first.
        assert_eq!(in_entry("RECORD_ROOT"), offset_of!(StartRecord, root));
        assert_eq!(offset_of!(StartRecord, tcr), offset_of!(StartRecord, root) + 8);
        assert_eq!(in_entry("RECORD_SCTLR"), offset_of!(StartRecord, sctlr));
        assert_eq!(offset_of!(StartRecord, stack), offset_of!(StartRecord, sctlr) + 8);
        assert_eq!(in_entry("RECORD_PERCPU"), offset_of!(StartRecord, percpu));
        assert_eq!(offset_of!(StartRecord, cpu), offset_of!(StartRecord, percpu) + 8);
        assert_eq!(in_entry("RECORD_HARDWARE_ID"), offset_of!(StartRecord, hardware_id));
        assert_eq!(in_entry("RECORD_NEXT"), offset_of!(StartRecord, next));
        assert_eq!(size_of::<StartRecord>(), 64);
    }

    #[test]
    fn each_value_lands_in_its_field() {
        let record = StartRecord::new();
        let start = Start { root: 1, tcr: 2, sctlr: 3, stack: 4, percpu: 5, cpu: 6, hardware_id: 7 };
        record.fill(&start, 8);
        let fields = [
            &record.root,
            &record.tcr,
            &record.sctlr,
            &record.stack,
            &record.percpu,
            &record.cpu,
            &record.hardware_id,
            &record.next,
        ];
        assert_eq!(fields.map(|field| field.load(Ordering::Relaxed)), [1, 2, 3, 4, 5, 6, 7, 8]);
    }
}
