//! Work and timers.

use mm::smp::{Full, Timers, Work, WorkQueue};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn nothing(_: usize) {}

fn work(argument: usize) -> Work {
    Work { function: nothing, argument }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 4 } else { 256 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_queue_is_first_in_first_out_and_bounded(steps in proptest::collection::vec(any::<bool>(), 0..100)) {
        let queue = WorkQueue::<8>::new();
        let mut model = VecDeque::new();
        for (number, is_push) in steps.into_iter().enumerate() {
            if is_push {
                let expected = if model.len() < 8 { model.push_back(number); Ok(()) } else { Err(Full) };
                prop_assert_eq!(queue.push(work(number)), expected);
            } else {
                prop_assert_eq!(queue.pop().map(|work| work.argument), model.pop_front());
            }
        }
    }

    #[test]
    fn timers_come_in_order(steps in proptest::collection::vec((0_u8..4, 0_u64..20), 0..100)) {
        let mut timers = Timers::<6>::new();
        // By time, then by number.
        let mut model: Vec<(u64, usize, _)> = Vec::new();
        for (number, (step, value)) in steps.into_iter().enumerate() {
            match step {
                0 | 1 => match timers.add(Duration::from_millis(value), work(number)) {
                    Ok(id) => {
                        model.push((value, number, id));
                        model.sort_by_key(|(at, number, _)| (*at, *number));
                    }
                    Err(Full) => prop_assert_eq!(model.len(), 6),
                },
                2 => {
                    let due = timers.due(Duration::from_millis(value)).map(|work| work.argument);
                    let expected = (model.first().is_some_and(|first| first.0 <= value)).then(|| model.remove(0).1);
                    prop_assert_eq!(due, expected);
                }
                _ => {
                    let Some(place) = (value as usize).checked_rem(model.len()) else { continue };
                    let (_, number, id) = model.remove(place);
                    prop_assert_eq!(timers.cancel(id).map(|work| work.argument), Some(number));
                    prop_assert!(timers.cancel(id).is_none());
                }
            }
            prop_assert_eq!(timers.next(), model.first().map(|first| Duration::from_millis(first.0)));
        }
    }
}

#[test]
fn threads_push_and_nothing_is_lost() {
    const EACH: usize = if cfg!(miri) { 50 } else { 20_000 };
    static SUM: AtomicUsize = AtomicUsize::new(0);
    fn add(value: usize) {
        SUM.fetch_add(value, Ordering::Relaxed);
    }
    let queue = WorkQueue::<16>::new();
    std::thread::scope(|scope| {
        for first in 0..3 {
            let queue = &queue;
            scope.spawn(move || {
                for argument in (first * EACH..).take(EACH) {
                    while queue.push(Work { function: add, argument }).is_err() {
                        std::thread::yield_now();
                    }
                }
            });
        }
        let mut left = 3 * EACH;
        while left > 0 {
            match queue.pop() {
                Some(work) => {
                    work.run();
                    left -= 1;
                }
                None => std::thread::yield_now(),
            }
        }
    });
    assert_eq!(SUM.load(Ordering::Relaxed), (0..3 * EACH).sum());
    assert!(queue.pop().is_none());
}
