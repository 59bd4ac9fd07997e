//! Calls, step by step.

use crate::wires::{LIMIT, Log, Wires, slots};
use mm::addr::CpuId;
use mm::smp::CallError;
use std::cell::Cell;

thread_local! {
    static SUM: Cell<usize> = const { Cell::new(0) };
}

fn add(value: usize) {
    SUM.set(SUM.get() + value);
}

fn call(from: Wires<'_>, to: u32, argument: usize) -> Result<(), CallError> {
    from.cpus.call(&from.pinned(), from, CpuId::new(to), add, argument, LIMIT)
}

#[test]
fn a_function_runs_there_once_and_here_without_a_signal() {
    let (slots, log) = (slots(3), Log::default());
    let wires = Wires::new(&slots, &log).all_online();
    call(wires, 1, 5).unwrap();
    call(wires.at(2), 1, 30).unwrap();
    assert_eq!((SUM.get(), log.signals()), (35, vec![1, 1]));
    call(wires.at(1), 1, 100).unwrap();
    assert_eq!((SUM.get(), log.signals()), (135, vec![]));
    wires.cpus.answer(CpuId::new(1), wires.at(1));
    assert_eq!(SUM.get(), 135);
}

#[test]
fn a_call_that_is_not_answered_is_never_run() {
    let (slots, log) = (slots(2), Log::default());
    let wires = Wires::new(&slots, &log).all_online();
    wires.cpus.drop_next_signal(CpuId::new(1));
    let begin = log.elapsed();
    assert_eq!(call(wires, 1, 5), Err(CallError::NoAnswer(CpuId::new(1))));
    assert!((LIMIT..LIMIT * 2).contains(&(log.elapsed() - begin)));
    wires.cpus.answer(CpuId::new(1), wires.at(1));
    assert_eq!(SUM.get(), 0);
    // The mailbox is free, and the next one is run.
    call(wires, 1, 7).unwrap();
    assert_eq!(SUM.get(), 7);
}

#[test]
fn who_is_not_online_is_not_called() {
    let (slots, log) = (slots(3), Log::default());
    let wires = Wires::new(&slots, &log);
    wires.cpus.expect(CpuId::new(2));
    for id in [1, 2, 3] {
        assert_eq!(call(wires, id, 1), Err(CallError::NotOnline(CpuId::new(id))));
    }
    assert_eq!((SUM.get(), log.signals()), (0, vec![]));
}

#[test]
fn a_called_function_flushes_but_does_not_call() {
    thread_local! {
        static REFUSED: Cell<Option<CallError>> = const { Cell::new(None) };
    }
    let (slots, log) = (slots(3), Log::default());
    let wires = Wires::new(&slots, &log).all_online();
    let there = wires.at(1);
    let function = |there: usize| {
        // SAFETY: the caller waits, and what it lends lives until the test ends.
        let here = *unsafe { &*std::ptr::with_exposed_provenance::<Wires<'_>>(there) };
        REFUSED.set(call(here, 2, 1).err());
        here.cpus.flush(&here.pinned(), here, crate::wires::pages(0, 1), LIMIT).unwrap();
    };
    let argument = (&raw const there).expose_provenance();
    wires.cpus.call(&wires.pinned(), wires, CpuId::new(1), function, argument, LIMIT).unwrap();
    assert_eq!(REFUSED.get(), Some(CallError::Nested));
    assert_eq!(log.flushes().len(), 3);
    assert_eq!(SUM.get(), 0);
    call(wires, 1, 1).unwrap();
    assert_eq!(SUM.get(), 1);
}

#[test]
fn errors_say_which_cpu_and_what_became_of_the_function() {
    let cpu = CpuId::new(7);
    let says = [
        (CallError::NotOnline(cpu), "CPU 7 is not online"),
        (CallError::Nested, "a call from inside a called function"),
        (CallError::Busy(cpu), "CPU 7 is busy with others' calls"),
        (CallError::NoAnswer(cpu), "CPU 7 does not answer"),
        (CallError::Unfinished(cpu), "CPU 7 runs the function and does not end"),
    ];
    for (error, text) in says {
        assert_eq!(error.to_string(), text);
    }
}
