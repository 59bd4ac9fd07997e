//! Coming up.

use crate::machine::{Machine, PATIENCE};
use crate::model;
use loom::cell::UnsafeCell;
use mm::smp::{CpuState, NoAnswer, TooLate};
use std::sync::Arc;
use std::time::Duration;

/// What a CPU has of its own, made by one CPU and used by another.
struct Area(UnsafeCell<u32>);

// SAFETY: the cell is loom's, which watches over it.
unsafe impl Sync for Area {}
// SAFETY: as above.
unsafe impl Send for Area {}

impl Area {
    fn new() -> Arc<Self> {
        Arc::new(Self(UnsafeCell::new(0)))
    }

    fn write(&self, value: u32) {
        // SAFETY: loom fails the model when somebody else reaches it meanwhile.
        self.0.with_mut(|area| unsafe { area.write(value) });
    }

    fn read(&self) -> u32 {
        // SAFETY: as above.
        self.0.with(|area| unsafe { area.read() })
    }
}

/// Either both say that it has arrived, or both that it has not.
#[test]
fn arrival_against_giving_up() {
    model(|| {
        let machine = Machine::new(2);
        let boot = machine.cpu(0);
        let late = machine.cpu(1).id();
        boot.cpus().expect(late);
        let other = machine.spawn(1, |here| here.cpus().arrive(here.id(), here));
        let awaited = boot.cpus().await_arrival(&boot.pinned(), late, boot, Duration::ZERO);
        let state = boot.cpus().state(late);
        match other.join().unwrap() {
            Ok(()) => assert_eq!((awaited, state), (Ok(()), CpuState::Online)),
            Err(TooLate) => assert_eq!((awaited, state), (Err(NoAnswer { cpu: late }), CpuState::Failed)),
        }
    });
}

/// What was made ready for a CPU is seen by it when it is expected, what it made ready itself is seen by whoever finds
/// it online: so a per-CPU area is never reached before it is whole.
#[test]
fn a_per_cpu_area_is_whole_for_who_finds_its_cpu_online() {
    model(|| {
        let machine = Machine::new(2);
        let (offset, area) = (Area::new(), Area::new());
        let other = machine.spawn(1, {
            let (offset, area) = (Arc::clone(&offset), Arc::clone(&area));
            move |here| {
                while here.cpus().state(here.id()) != CpuState::Starting {
                    loom::thread::yield_now();
                }
                area.write(offset.read() + 1);
                here.cpus().arrive(here.id(), here).unwrap();
            }
        });
        let boot = machine.cpu(0);
        offset.write(6);
        boot.cpus().expect(machine.cpu(1).id());
        boot.cpus().await_arrival(&boot.pinned(), machine.cpu(1).id(), boot, PATIENCE).unwrap();
        assert_eq!(area.read(), 7);
        other.join().unwrap();
    });
}

/// A third CPU that knows nothing of the start.
#[test]
fn a_bystander_finds_the_area_whole_too() {
    model(|| {
        let machine = Machine::new(2);
        let area = Area::new();
        let boot = machine.cpu(0);
        boot.cpus().expect(machine.cpu(1).id());
        let other = machine.spawn(1, {
            let area = Arc::clone(&area);
            move |here| {
                area.write(7);
                here.cpus().arrive(here.id(), here).unwrap();
            }
        });
        if boot.cpus().online().any(|id| id == machine.cpu(1).id()) {
            assert_eq!(area.read(), 7);
        }
        other.join().unwrap();
    });
}

/// A CPU that leaves has ended all that it did, for whoever does not wait for it any more.
#[test]
fn memory_is_free_when_its_user_has_left() {
    model(|| {
        let machine = Machine::all_online(2);
        let other = machine.spawn(1, |here| {
            here.touch(0);
            here.cpus().leave(here.id());
        });
        let boot = machine.cpu(0);
        boot.unmap(0);
        boot.flush(0);
        boot.reuse(0);
        other.join().unwrap();
    });
}
