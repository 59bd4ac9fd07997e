//! Calls.

use crate::machine::{Here, Machine, PATIENCE};
use crate::{large_model, model};
use loom::cell::UnsafeCell;
use mm::smp::CallError;
use std::sync::Arc;
use std::time::Duration;

/// What caller and function share: how often the function ran.
#[derive(Debug)]
struct Count(UnsafeCell<u32>);

// SAFETY: the cell is loom's, which watches over it.
unsafe impl Sync for Count {}
// SAFETY: as above.
unsafe impl Send for Count {}

impl Count {
    fn new() -> Arc<Self> {
        Arc::new(Self(UnsafeCell::new(0)))
    }

    fn add(&self, value: u32) {
        // SAFETY: loom fails the model when somebody else reaches it meanwhile.
        self.0.with_mut(|count| unsafe { *count += value });
    }

    fn get(&self) -> u32 {
        // SAFETY: as above.
        self.0.with(|count| unsafe { *count })
    }

    fn address(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).expose_provenance()
    }
}

fn add_one(count: usize) {
    // SAFETY: each model keeps what it hands on until all threads have ended.
    unsafe { &*std::ptr::with_exposed_provenance::<Count>(count) }.add(1);
}

fn call(here: Here<'_>, to: usize, count: &Arc<Count>, limit: Duration) -> Result<(), CallError> {
    let to = here.machine.cpu(to).id();
    here.cpus().call(&here.pinned(), here, to, add_one, count.address(), limit)
}

/// What the caller did before is seen by the function, what the function did is seen by the caller.
#[test]
fn call_and_answer() {
    model(|| {
        let machine = Machine::all_online(2);
        let other = machine.spawn(1, |here| here.serve(2));
        let boot = machine.cpu(0);
        let count = Count::new();
        count.add(1);
        call(boot, 1, &count, PATIENCE).unwrap();
        count.add(1);
        call(boot, 1, &count, PATIENCE).unwrap();
        assert_eq!(count.get(), 4);
        boot.serve(2);
        other.join().unwrap();
    });
}

/// Two CPUs call each other, and nothing interrupts either.
#[test]
fn two_calls_cross() {
    large_model(|| {
        let machine = Machine::all_online(2);
        let (at_boot, at_other) = (Count::new(), Count::new());
        let other = machine.spawn(1, {
            let at_boot = Arc::clone(&at_boot);
            move |here| {
                call(here, 0, &at_boot, PATIENCE).unwrap();
                assert_eq!(at_boot.get(), 1);
                here.serve(2);
            }
        });
        call(machine.cpu(0), 1, &at_other, PATIENCE).unwrap();
        assert_eq!(at_other.get(), 1);
        machine.cpu(0).serve(2);
        other.join().unwrap();
    });
}

/// Two CPUs want one mailbox; the functions run one after the other, each as often as its caller was told, and with its
/// caller's argument. Three that wait for each other would be run in unfair orders for ever, so nobody waits here.
#[test]
fn two_callers_of_one_cpu() {
    model(|| {
        let machine = Machine::all_online(3);
        let callers = [1, 2].map(|id| {
            let count = Count::new();
            let told = Arc::clone(&count);
            let caller = machine.spawn(id, move |here| {
                matches!(call(here, 0, &told, Duration::ZERO), Ok(()) | Err(CallError::Unfinished(_)))
            });
            (caller, count)
        });
        let boot = machine.cpu(0);
        for _ in 0..2 {
            boot.cpus().answer(boot.id(), boot);
        }
        for (caller, count) in callers {
            let begun = caller.join().unwrap();
            assert_eq!(count.get(), u32::from(begun));
        }
    });
}

/// The time limit is over at once: the call is withdrawn, or it was begun, and never both.
#[test]
fn withdrawing_against_answering() {
    model(|| {
        let machine = Machine::all_online(2);
        let count = Count::new();
        let other = machine.spawn(1, |here| {
            here.take_interrupt();
            here.take_interrupt();
        });
        let result = call(machine.cpu(0), 1, &count, Duration::ZERO);
        if result == Ok(()) {
            assert_eq!(count.get(), 1);
        }
        other.join().unwrap();
        let ran = match result {
            Ok(()) | Err(CallError::Unfinished(_)) => 1,
            _ => 0,
        };
        assert_eq!(count.get(), ran, "{result:?}");
    });
}

/// A call to a CPU that leaves ends, and says which.
#[test]
fn call_against_leaving() {
    model(|| {
        let machine = Machine::all_online(2);
        let count = Count::new();
        let other = machine.spawn(1, |here| {
            here.take_interrupt();
            here.cpus().leave(here.id());
        });
        let result = call(machine.cpu(0), 1, &count, PATIENCE);
        other.join().unwrap();
        let gone = CallError::NotOnline(machine.cpu(1).id());
        assert_eq!(count.get(), u32::from(result.is_ok()));
        assert!(result == Ok(()) || result == Err(gone), "{result:?}");
    });
}
