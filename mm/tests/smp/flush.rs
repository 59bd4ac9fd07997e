//! Shootdown, step by step: what each CPU forgets, and who is waited for.

use crate::wires::{LIMIT, Log, Wires, pages, slots};
use mm::addr::CpuId;
use mm::layout::VirtRange;
use mm::smp::{EVERYTHING, NoAnswer};

fn flush(from: Wires<'_>, range: VirtRange) -> Result<(), NoAnswer> {
    from.cpus.flush(&from.pinned(), from, range, LIMIT)
}

#[test]
fn every_cpu_that_is_online_forgets_the_range_once() {
    let (slots, log) = (slots(4), Log::default());
    let wires = Wires::new(&slots, &log).all_online();
    wires.cpus.leave(CpuId::new(2));
    for page in 0..3 {
        let range = pages(page, 2);
        flush(wires.at(1), range).unwrap();
        assert_eq!(log.flushes(), [(1, range), (0, range), (3, range)]);
        assert_eq!(log.signals(), [0, 3]);
    }
    // Who is up to date does nothing.
    wires.cpus.answer(CpuId::new(3), wires.at(3));
    assert_eq!(log.flushes(), []);
}

#[test]
fn who_missed_a_request_forgets_everything() {
    let (slots, log) = (slots(3), Log::default());
    let wires = Wires::new(&slots, &log).all_online();
    log.deaf.borrow_mut().push(2);
    flush(wires, pages(0, 1)).unwrap_err();
    flush(wires, pages(8, 1)).unwrap_err();
    log.flushes();
    wires.cpus.answer_flush(CpuId::new(2), wires.at(2));
    assert_eq!(log.flushes(), [(2, EVERYTHING)]);
    // It is up to date again, and one behind is one range.
    flush(wires, pages(5, 1)).unwrap_err();
    log.flushes();
    wires.cpus.answer_flush(CpuId::new(2), wires.at(2));
    assert_eq!(log.flushes(), [(2, pages(5, 1))]);
}

#[test]
fn who_comes_late_has_missed_nothing() {
    let (slots, log) = (slots(3), Log::default());
    let wires = Wires::new(&slots, &log);
    for page in 0..5 {
        flush(wires, pages(page, 1)).unwrap();
    }
    log.flushes();
    wires.cpus.expect(CpuId::new(1));
    wires.cpus.arrive(CpuId::new(1), wires.at(1)).unwrap();
    assert_eq!(log.flushes(), [(1, EVERYTHING)]);
    wires.cpus.answer(CpuId::new(1), wires.at(1));
    assert_eq!(log.flushes(), []);
    flush(wires, pages(9, 1)).unwrap();
    assert_eq!(log.flushes(), [(0, pages(9, 1)), (1, pages(9, 1))]);
}

#[test]
fn a_lost_signal_ends_in_a_report_within_the_limit() {
    let (slots, log) = (slots(3), Log::default());
    let wires = Wires::new(&slots, &log).all_online();
    wires.cpus.drop_next_signal(CpuId::new(1));
    let begin = log.elapsed();
    assert_eq!(flush(wires, pages(0, 1)), Err(NoAnswer { cpu: CpuId::new(1) }));
    assert!((LIMIT..LIMIT * 2).contains(&(log.elapsed() - begin)));
    // CPU 2 was asked and has answered; only one signal is lost.
    assert_eq!(log.signals(), [2]);
    assert_eq!(log.flushes(), [(0, pages(0, 1)), (2, pages(0, 1))]);
    flush(wires, pages(1, 1)).unwrap();
    assert_eq!(log.flushes(), [(0, pages(1, 1)), (1, EVERYTHING), (2, pages(1, 1))]);
}

#[test]
fn the_first_cpu_that_does_not_answer_is_named() {
    let (slots, log) = (slots(4), Log::default());
    let wires = Wires::new(&slots, &log).all_online();
    log.deaf.borrow_mut().extend([1, 3]);
    assert_eq!(flush(wires, pages(0, 1)), Err(NoAnswer { cpu: CpuId::new(1) }));
    // When it is known to be gone it is not waited for.
    wires.cpus.leave(CpuId::new(1));
    assert_eq!(flush(wires, pages(0, 1)), Err(NoAnswer { cpu: CpuId::new(3) }));
    wires.cpus.leave(CpuId::new(3));
    flush(wires, pages(0, 1)).unwrap();
}
