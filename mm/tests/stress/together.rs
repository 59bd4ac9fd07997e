//! Threads as CPUs, on machines with nodes and holes, with every page size and every memory model.

use crate::shake::shake;
use crate::up::{Kind, OfDiscontig, OfFlat, OfSparseExtreme, OfSparseStatic, OfVmemmap, up_as};
use mm::stress::{Config, Summary};
use mm_testkit::Machine;
use std::time::Instant;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Of each of four CPUs.
const STEPS: u64 = 100_000;

fn on<K: Kind, const SHIFT: u32>(machine: &Machine<SHIFT>, config: Config) -> Summary {
    let mm = up_as::<K, SHIFT>(machine, &[(0x10_0000, 0x10_0000)]);
    shake::<K, SHIFT>(&mm, config)
}

fn with_4_kib_pages<K: Kind>(steps: u64) {
    let machine = Machine::<12>::builder()
        .ram(0, 640 << 10, 0)
        .ram(MIB, 127 * MIB, 0)
        .ram(128 * MIB, 64 * MIB + 0x5000, 1)
        .ram(200 * MIB, 313 * MIB, 0)
        .ram(4 * GIB, 600 * MIB, 1)
        .cpus(4)
        .finish();
    let summary = on::<K, 12>(&machine, Config { seed: 11, operations: 4 * steps, cpus: 4 });
    assert!(summary.tally.freed_for_others > 0 && summary.interrupts > 0, "{summary}");
}

fn with_16_kib_pages<K: Kind>(steps: u64) {
    let machine = Machine::<14>::builder().ram(0, 300 * MIB, 0).ram(32 * GIB, 700 * MIB, 1).cpus(4).finish();
    on::<K, 14>(&machine, Config { seed: 12, operations: 4 * steps, cpus: 4 });
}

fn with_64_kib_pages<K: Kind>(steps: u64) {
    let machine = Machine::<16>::builder().ram(0, GIB, 0).ram(2 * GIB, GIB, 1).ram(5 * GIB, GIB, 2).cpus(4).finish();
    on::<K, 16>(&machine, Config { seed: 13, operations: 4 * steps, cpus: 4 });
}

#[test]
#[cfg_attr(miri, ignore = "too much memory")]
fn four_cpus_with_4_kib_pages() {
    with_4_kib_pages::<OfVmemmap>(STEPS);
}

#[test]
#[cfg_attr(miri, ignore = "too much memory")]
fn four_cpus_with_16_kib_pages() {
    with_16_kib_pages::<OfVmemmap>(STEPS);
}

#[test]
#[cfg_attr(miri, ignore = "too much memory")]
fn four_cpus_with_64_kib_pages() {
    with_64_kib_pages::<OfVmemmap>(STEPS);
}

#[test]
#[cfg_attr(miri, ignore = "too much memory")]
fn every_other_memory_model() {
    fn all<K: Kind>() {
        with_4_kib_pages::<K>(STEPS / 20);
        with_16_kib_pages::<K>(STEPS / 40);
        with_64_kib_pages::<K>(STEPS / 40);
    }
    all::<OfFlat>();
    all::<OfDiscontig>();
    all::<OfSparseExtreme>();
    all::<OfSparseStatic>();
}

/// What Miri has time for: a few steps, with threads.
#[test]
fn four_cpus_on_a_small_machine() {
    let machine = Machine::<12>::builder().ram(0, 640 << 10, 0).ram(MIB, 4 * MIB, 1).cpus(4).finish();
    let steps = if cfg!(miri) { 50 } else { STEPS };
    on::<OfVmemmap, 12>(&machine, Config { seed: 14, operations: 4 * steps, cpus: 4 });
}

/// For a page that says how long it takes: `cargo test --release -p tessera-mm --test stress -- --ignored --nocapture`.
#[test]
#[ignore = "takes minutes"]
fn ten_million_operations() {
    let machine = Machine::<12>::builder().ram(0, GIB, 0).ram(4 * GIB, GIB, 1).cpus(4).finish();
    let start = Instant::now();
    let summary = on::<OfVmemmap, 12>(&machine, Config { seed: 15, operations: 10_000_000, cpus: 4 });
    println!("{summary}; {:.0} s", start.elapsed().as_secs_f64());
}
