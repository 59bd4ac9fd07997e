//! The queue of work.

use crate::model;
use loom::cell::UnsafeCell;
use loom::thread;
use mm::smp::{Full, Work, WorkQueue};
use std::sync::Arc;

/// A queue and what producers prepare for the taker.
struct Shared<const N: usize> {
    queue: WorkQueue<N>,
    prepared: [UnsafeCell<bool>; 3],
}

// SAFETY: the cells are loom's, which watches over them.
unsafe impl<const N: usize> Sync for Shared<N> {}
// SAFETY: as above.
unsafe impl<const N: usize> Send for Shared<N> {}

fn nothing(_: usize) {}

impl<const N: usize> Shared<N> {
    fn new() -> Arc<Self> {
        Arc::new(Self { queue: WorkQueue::new(), prepared: core::array::from_fn(|_| UnsafeCell::new(false)) })
    }

    fn push(&self, number: usize) -> Result<(), Full> {
        // SAFETY: loom fails the model when somebody else reaches it meanwhile.
        self.prepared[number].with_mut(|prepared| unsafe { *prepared = true });
        self.queue.push(Work { function: nothing, argument: number })
    }

    /// Takes one, which is as its producer has prepared it.
    fn pop(&self) -> Option<usize> {
        let number = self.queue.pop()?.argument;
        // SAFETY: as above.
        assert!(self.prepared[number].with(|prepared| unsafe { *prepared }));
        Some(number)
    }

    /// Takes until it has as many.
    fn pop_all(&self, mut taken: Vec<usize>, count: usize) -> Vec<usize> {
        while taken.len() < count {
            match self.pop() {
                Some(number) => taken.push(number),
                None => thread::yield_now(),
            }
        }
        taken.sort_unstable();
        taken
    }
}

/// Nothing is lost, and nothing comes twice.
#[test]
fn two_push_and_one_pops() {
    model(|| {
        let shared = Shared::<2>::new();
        let producers = [0, 1].map(|number| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.push(number).unwrap())
        });
        let taken: Vec<usize> = shared.pop().into_iter().collect();
        assert_eq!(shared.pop_all(taken, 2), [0, 1]);
        for producer in producers {
            producer.join().unwrap();
        }
        assert_eq!(shared.pop(), None);
    });
}

/// One cell, used again and again: what is refused is not in it, what is not refused comes out.
#[test]
fn a_full_queue_refuses() {
    model(|| {
        let shared = Shared::<1>::new();
        let producer = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || [0, 1, 2].map(|number| shared.push(number).is_ok()))
        };
        let taken: Vec<usize> = (0..2).filter_map(|_| shared.pop()).collect();
        let accepted = producer.join().unwrap();
        let accepted: Vec<usize> = (0..3).filter(|number| accepted[*number]).collect();
        assert_eq!(shared.pop_all(taken, accepted.len()), accepted);
        assert_eq!(shared.pop(), None);
    });
}

/// Two take at once.
#[test]
fn two_pop() {
    model(|| {
        let shared = Shared::<2>::new();
        shared.push(0).unwrap();
        shared.push(1).unwrap();
        let other = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.pop())
        };
        let mine = shared.pop();
        let theirs = other.join().unwrap();
        let mut taken: Vec<usize> = [mine, theirs].into_iter().flatten().collect();
        taken.sort_unstable();
        assert_eq!(taken, [0, 1]);
    });
}
