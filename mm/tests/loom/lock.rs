//! The interrupt-saving lock.

use crate::machine::{Here, Machine};
use crate::model;
use mm::sync::IrqLock;
use std::sync::Arc;

/// Its holder asks for a flush; who waits for it with interrupts off answers.
#[test]
fn who_waits_for_a_lock_answers_flushes() {
    model(|| {
        let machine = Machine::all_online(2);
        let lock = Arc::new(IrqLock::new(0));
        let holder = |here: Here<'_>, lock: &IrqLock<u32>, page: usize| {
            let mut guard = lock.lock(here);
            here.unmap(page);
            here.flush(page);
            here.reuse(page);
            *guard += 1;
            drop(guard);
            here.serve(2);
        };
        let other = machine.spawn(1, {
            let lock = Arc::clone(&lock);
            move |here| holder(here, &lock, 1)
        });
        holder(machine.cpu(0), &lock, 0);
        other.join().unwrap();
        assert_eq!(*lock.lock(machine.cpu(0)), 2);
    });
}
