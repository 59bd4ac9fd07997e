//! One CPU: the same seed gives the same run.

use crate::shake::shake;
use crate::up::{OfVmemmap, up};
use mm::stress::{Config, Place, Problem, Stress, Summary};
use mm_testkit::Machine;

const MIB: u64 = 1 << 20;

const OPERATIONS: u64 = 20_000;

fn run(seed: u64) -> Summary {
    let machine = Machine::<12>::builder().ram(0, 640 << 10, 0).ram(MIB, 48 * MIB, 0).finish();
    let mm = up(&machine, &[]);
    shake::<OfVmemmap, 12>(&mm, Config { seed, operations: OPERATIONS, cpus: 1 })
}

#[test]
#[cfg_attr(miri, ignore = "too slow")]
fn the_same_seed_gives_the_same_run() {
    let (first, again, other) = (run(1), run(1), run(2));
    assert_eq!(first, again);
    assert_ne!(first.tally.digest, other.tally.digest);
}

#[test]
#[cfg_attr(miri, ignore = "too slow")]
fn a_run_does_everything_that_it_says() {
    let summary = run(3);
    let tally = summary.tally;
    assert_eq!(tally.operations, OPERATIONS);
    for (what, count) in [
        ("pages", tally.pages),
        ("objects", tally.objects),
        ("ranges", tally.areas),
        ("pages mapped once more", tally.mapped),
        ("refusals", tally.refused),
        ("refusals on purpose", tally.refused_on_purpose),
        ("wrong requests", tally.wrong),
        ("squeezes", tally.squeezes),
        ("squeezed blocks", tally.squeezed),
        ("interrupts", summary.interrupts),
    ] {
        assert!(count > 0, "no {what}: {summary}");
    }
    assert_eq!(tally.freed, tally.pages + tally.objects + tally.areas, "{summary}");
    assert!(tally.checked >= tally.freed);
}

#[test]
#[cfg_attr(miri, ignore = "too slow")]
fn a_second_run_uses_what_the_first_has_made() {
    let machine = Machine::<12>::builder().ram(0, 3 * MIB, 0).finish();
    let mm = up(&machine, &[]);
    let config = Config { seed: 5, operations: 200, cpus: 1 };
    let (first, second) = (shake::<OfVmemmap, 12>(&mm, config), shake::<OfVmemmap, 12>(&mm, config));
    // The second one's blocks lie elsewhere; caches, page tables and pages of records are those of the first.
    assert_eq!((first.verified, second.kept), (second.verified, 0));
    assert!(first.kept > 0, "{first}");
}

#[test]
#[cfg_attr(miri, ignore = "too slow")]
fn a_cpu_runs_once_and_only_if_it_takes_part() {
    let machine = Machine::<12>::builder().ram(0, 3 * MIB, 0).finish();
    let mm = up(&machine, &[]);
    let config = Config { seed: 5, operations: 10, cpus: 1 };
    let stress = Stress::new(&mm, config).unwrap();
    assert_eq!(stress.run(0).map(|tally| tally.operations), Ok(10));
    let again = stress.run(0).unwrap_err();
    assert_eq!((again.problem, again.place), (Problem::Busy, Place::Step { cpu: 0, step: 0 }));
    assert_eq!(stress.finish(), Err(again));
    let stress = Stress::new(&mm, config).unwrap();
    assert_eq!(stress.run(1).unwrap_err().problem, Problem::NoCpu);
}

#[test]
#[cfg_attr(miri, ignore = "too slow")]
fn a_machine_without_room_for_a_run_is_refused() {
    let machine = Machine::<12>::builder().ram(0, 3 * MIB, 0).finish();
    let mm = up(&machine, &[]);
    let refused = Stress::new(&mm, Config { seed: 5, operations: 10, cpus: 100_000 }).unwrap_err();
    assert!(matches!(refused.problem, Problem::Pages(_)), "{refused}");
    assert_eq!(refused.place, Place::Start);
    mm.verify().unwrap();
}

#[test]
#[cfg_attr(miri, ignore = "too slow")]
fn a_run_on_little_memory_makes_do_with_less() {
    let machine = Machine::<12>::builder().ram(0, 3 * MIB, 0).cpus(16).finish();
    let mm = up(&machine, &[]);
    shake::<OfVmemmap, 12>(&mm, Config { seed: 6, operations: 8000, cpus: 16 });
}
