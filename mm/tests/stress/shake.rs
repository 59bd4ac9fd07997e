//! A run from start to end, each CPU a thread.

use crate::up::{Kind, Managed};
use mm::addr::CpuId;
use mm::stress::{Config, Failure, Stress, Summary};
use mm_testkit::{run_on, with_interrupts};
use std::cell::Cell;
use std::thread;

/// Of so many chances for an interrupt, one is used.
const BETWEEN_INTERRUPTS: u64 = 61;

/// All CPUs of the run at once, each with interrupts. `meanwhile` is called from them, with how many came before on
/// that CPU.
pub(crate) fn shake_while<K: Kind, const SHIFT: u32>(
    mm: &Managed<'_, K, SHIFT>,
    config: Config,
    meanwhile: &(dyn Fn(u64) + Sync),
) -> Result<Summary, Failure> {
    let stress = Stress::new(mm, config)?;
    let one = |cpu| {
        let (chances, inside) = (Cell::new(0), Cell::new(false));
        let handler = || {
            let chance = chances.replace(chances.get() + 1);
            if chance % BETWEEN_INTERRUPTS == 0 && !inside.replace(true) {
                stress.interrupt();
                // Where there are fewer cores than CPUs, blocks should meet other CPUs all the same.
                thread::yield_now();
                meanwhile(chance / BETWEEN_INTERRUPTS);
                inside.set(false);
            }
        };
        run_on(CpuId::new(cpu), || with_interrupts(&handler, || stress.run(cpu)))
    };
    let ended: Vec<_> = thread::scope(|scope| {
        let one = &one;
        let threads: Vec<_> = (0..config.cpus).map(|cpu| scope.spawn(move || one(cpu))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    match stress.first_failure() {
        Some(first) => assert!(ended.contains(&Err(first)), "no CPU says what stopped all"),
        None => assert_eq!(stress.progress(), config.operations, "steps are missing"),
    }
    stress.finish()
}

/// As [`shake_while`], with nothing going on beside it.
pub(crate) fn shake<K: Kind, const SHIFT: u32>(mm: &Managed<'_, K, SHIFT>, config: Config) -> Summary {
    match shake_while::<K, SHIFT>(mm, config, &|_| {}) {
        Ok(summary) => summary,
        Err(failure) => panic!("{failure}"),
    }
}
