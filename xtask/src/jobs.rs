//! Many things of one kind, so many at once.

use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Does `work` on each item, `jobs` of them at once, and hands each result to `done` as it comes, one at a time.
pub(crate) fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    jobs: usize,
    work: impl Fn(&T) -> R + Sync,
    mut done: impl FnMut(&T, R),
) {
    let waiting = Mutex::new(items.iter());
    let (sender, finished) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..jobs {
            let (sender, waiting, work) = (sender.clone(), &waiting, &work);
            scope.spawn(move || {
                let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
                while let Some(item) = next() {
                    // The receiver lives until every sender is gone.
                    let _ = sender.send((item, work(item)));
                }
            });
        }
        drop(sender);
        for (item, result) in finished {
            done(item, result);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_item_is_done_once() {
        for jobs in [1, 3, 20] {
            let mut seen = Vec::new();
            in_parallel(&[1, 2, 3, 4, 5], jobs, |item| item * 10, |item, result| seen.push((*item, result)));
            seen.sort_unstable();
            assert_eq!(seen, [(1, 10), (2, 20), (3, 30), (4, 40), (5, 50)]);
        }
    }
}
